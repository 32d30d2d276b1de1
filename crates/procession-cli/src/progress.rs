//! How far a run is, while it runs: on a terminal a bar below a line for each worker, elsewhere a line now and then, nothing
//! if unwelcome.
//!
//! It only ever writes to stderr, and knows counts and lines, not items.

mod fleet;

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::fleet::Fleet;

use crate::spec::units;
use crate::summary::{Tally, counted, short};
use crate::terminal;

/// Until the first line where there is no terminal, and between two of them at most: often enough to see life, seldom
/// enough for the log of a night.
const FIRST_LINE: Duration = Duration::from_secs(1);
const LINE_EVERY: Duration = Duration::from_secs(60);

/// How progress is shown.
pub(crate) enum Progress {
    Bar(Bar),
    Lines(Lines),
    Silent,
}

/// Progress on a terminal.
pub(crate) struct Bar {
    whole: ProgressBar,
    fleet: Fleet,
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
    due: Instant,
    pause: Duration,
}

impl Progress {
    /// `beside_values` says that values are printed on the same terminal: they are all the progress one needs.
    pub(crate) fn new(welcome: bool, total: Option<u64>, beside_values: bool) -> Progress {
        if !welcome || beside_values {
            return Progress::Silent;
        }
        if !io::stderr().is_terminal() {
            let now = Instant::now();
            return Progress::Lines(Lines { total, start: now, due: now + FIRST_LINE, pause: FIRST_LINE });
        }
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let whole = screen.add(match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        });
        let template = match total {
            Some(_) => "{wide_bar} {human_pos}/{human_len} {percent}% {per_sec}, {eta} left{msg}",
            None => "{spinner} {human_pos} {per_sec}{msg}",
        };
        // Both templates are constants, and a test makes them.
        if let Ok(style) = ProgressStyle::with_template(template) {
            whole.set_style(style);
        }
        Progress::Bar(Bar { fleet: Fleet::new(screen, whole.clone()), whole })
    }

    /// Shows the tally, and what the workers do, if it is time.
    pub(crate) fn update(&mut self, tally: &Tally, workers: impl FnOnce() -> Vec<String>) {
        match self {
            Progress::Silent => {}
            Progress::Bar(Bar { whole, fleet }) => {
                whole.set_position(tally.items());
                whole.set_message(troubles(tally));
                fleet.update(Instant::now(), workers);
            }
            Progress::Lines(lines) => {
                let now = Instant::now();
                if now >= lines.due {
                    lines.pause = (2 * lines.pause).min(LINE_EVERY);
                    lines.due = now + lines.pause;
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
            Progress::Bar(bar) => Screen(Some(bar.whole.clone())),
            Progress::Lines(_) | Progress::Silent => Screen::bare(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Progress::Bar(bar) = self {
            bar.fleet.clear();
            bar.whole.finish_and_clear();
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
        line.push_str(&troubles(tally));
        line
    }
}

/// What has not gone well, behind a comma.
fn troubles(tally: &Tally) -> String {
    let mut troubles = String::new();
    if tally.failures() > 0 {
        troubles.push_str(&format!(", {}", counted(tally.failures(), "failure")));
    }
    if tally.flaky > 0 {
        troubles.push_str(&format!(", {} flaky", tally.flaky));
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_rate_and_rest() {
        let start = Instant::now();
        let lines = Lines { total: Some(100), start, due: start, pause: FIRST_LINE };
        let mut tally = Tally::of_values(25);
        let line = lines.line(&tally, start + Duration::from_secs(5));
        assert_eq!(line, "progress: 25/100 items (25%), 5.00/s, 15.0 s left");
        tally.flaky = 2;
        let unknown = Lines { total: None, ..lines };
        assert_eq!(
            unknown.line(&tally, start + Duration::from_secs(5)),
            "progress: 25 items, 5.00/s, 2 flaky"
        );
    }

    #[test]
    fn templates_are_sound() {
        for template in [
            "{wide_bar} {human_pos}/{human_len} {percent}% {per_sec}, {eta} left{msg}",
            "{spinner} {human_pos} {per_sec}{msg}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
