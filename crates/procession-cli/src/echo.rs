//! What workers print, on stderr: in whole lines, beside the progress bar, and harmless.
//!
//! It knows neither jobs nor items.

use procession::{PoolBuilder, Printed};

use crate::progress::Screen;
use crate::summary::counted;
use crate::terminal;

/// Repeats what the workers of a pool print, as far as the pool is told of it.
pub(crate) fn repeat(pool: PoolBuilder, screen: Screen) -> PoolBuilder {
    pool.on_output(move |printed| match printed {
        Printed::Text { text, .. } => {
            let text = terminal::printable_lines(&String::from_utf8_lossy(text));
            screen.aside(|| terminal::write(&text));
        }
        Printed::LeftOut { lines } => {
            let lines = counted(*lines, "line");
            let warning = format!("workers print faster than stderr takes it: {lines} left out");
            screen.aside(|| terminal::say_warning(&warning));
        }
        // More may be told one day.
        _ => {}
    })
}
