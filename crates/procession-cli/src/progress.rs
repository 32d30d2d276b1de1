//! How far a run is, while it runs: a bar on a terminal, a line every few seconds elsewhere, nothing if unwelcome.
//!
//! It only ever writes to stderr, and knows counts, not items.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::spec::units;
use crate::summary::{Tally, counted, short};
use crate::terminal;

/// Between two lines where there is no terminal: often enough to see life, seldom enough for a log.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How progress is shown.
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines(Lines),
    Silent,
}

/// A terminal that may show a bar.
pub(crate) struct Screen(Option<ProgressBar>);

impl Screen {
    /// One that shows no bar.
    pub(crate) fn bare() -> Screen {
        Screen(None)
    }

    /// Runs `write` while the bar is not there.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// Progress as lines of a log.
pub(crate) struct Lines {
    total: Option<u64>,
    start: Instant,
    last: Instant,
}

impl Progress {
    /// `beside_values` says that values are printed on the same terminal: they are all the progress one needs.
    pub(crate) fn new(welcome: bool, total: Option<u64>, beside_values: bool) -> Progress {
        if !welcome || beside_values {
            return Progress::Silent;
        }
        if !io::stderr().is_terminal() {
            let now = Instant::now();
            return Progress::Lines(Lines { total, start: now, last: now });
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
        let template = match total {
            Some(_) => "{bar:32} {human_pos}/{human_len} {percent}% {per_sec}, {eta} left{msg}",
            None => "{spinner} {human_pos} {per_sec}{msg}",
        };
        // Both templates are constants, and a test makes them.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress::Bar(bar)
    }

    /// Shows the tally, if it is time.
    pub(crate) fn update(&mut self, tally: &Tally) {
        match self {
            Progress::Silent => {}
            Progress::Bar(bar) => {
                bar.set_position(tally.items());
                if tally.failures() > 0 {
                    bar.set_message(format!(", {}", counted(tally.failures(), "failure")));
                }
            }
            Progress::Lines(lines) => {
                let now = Instant::now();
                if now.duration_since(lines.last) >= LINE_EVERY {
                    lines.last = now;
                    terminal::say(&lines.line(tally, now));
                }
            }
        }
    }

    /// Writes something else to the same terminal without tearing the bar.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.screen().aside(write)
    }

    /// What there is of it on the terminal, for other threads.
    pub(crate) fn screen(&self) -> Screen {
        match self {
            Progress::Bar(bar) => Screen(Some(bar.clone())),
            Progress::Lines(_) | Progress::Silent => Screen::bare(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Lines {
    fn line(&self, tally: &Tally, now: Instant) -> String {
        let items = tally.items();
        let elapsed = now.duration_since(self.start).as_secs_f64();
        let rate = items as f64 / elapsed.max(1e-9);
        let mut line = match self.total {
            Some(total) => {
                let percent = 100.0 * items as f64 / total.max(1) as f64;
                let mut line = format!("progress: {items}/{total} items ({percent:.0}%), {}/s", short(rate));
                if items > 0 {
                    let left = Duration::from_secs_f64((total.saturating_sub(items)) as f64 / rate);
                    line.push_str(&format!(", {} left", units::show(left)));
                }
                line
            }
            None => format!("progress: {}, {}/s", counted(items, "item"), short(rate)),
        };
        if tally.failures() > 0 {
            line.push_str(&format!(", {}", counted(tally.failures(), "failure")));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_rate_and_rest() {
        let start = Instant::now();
        let lines = Lines { total: Some(100), start, last: start };
        let tally = Tally::of_values(25);
        let line = lines.line(&tally, start + Duration::from_secs(5));
        assert_eq!(line, "progress: 25/100 items (25%), 5.00/s, 15.0 s left");
        let unknown = Lines { total: None, start, last: start };
        assert_eq!(unknown.line(&tally, start + Duration::from_secs(5)), "progress: 25 items, 5.00/s");
    }

    #[test]
    fn templates_are_sound() {
        for template in [
            "{bar:32} {human_pos}/{human_len} {percent}% {per_sec}, {eta} left{msg}",
            "{spinner} {human_pos} {per_sec}{msg}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
