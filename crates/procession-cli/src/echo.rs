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
            screen.say(text.strip_suffix('\n').unwrap_or(&text));
        }
        Printed::LeftOut { lines } => {
            let lines = counted(*lines, "line");
            screen.say(&terminal::warning(&format!(
                "workers print faster than stderr takes it: {lines} left out"
            )));
        }
        // More may be told one day.
        _ => {}
    })
}
