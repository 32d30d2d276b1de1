//! A line for each worker, above the bar: what it runs, and since when.

use std::time::{Duration, Instant};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Between two looks at the workers. A run that is over sooner shows none.
const EVERY: Duration = Duration::from_millis(500);

/// Rows of the terminal that are left to the bar, and to what was there before.
const ROWS_LEFT: usize = 4;

pub(super) struct Fleet {
    screen: MultiProgress,
    /// What the lines stand above.
    whole: ProgressBar,
    lines: Vec<ProgressBar>,
    due: Instant,
}

impl Fleet {
    pub(super) fn new(screen: MultiProgress, whole: ProgressBar) -> Fleet {
        Fleet { screen, whole, lines: Vec::new(), due: Instant::now() + EVERY }
    }

    /// Shows what the workers do, if it is time to look at them.
    pub(super) fn update(&mut self, now: Instant, workers: impl FnOnce() -> Vec<String>) {
        if now < self.due {
            return;
        }
        self.due = now + EVERY;
        let rows = usize::from(Term::stderr().size().0);
        let texts = fitting(workers(), rows.saturating_sub(ROWS_LEFT));
        while self.lines.len() > texts.len() {
            let line = self.lines.pop().expect("it was counted");
            line.finish_and_clear();
            self.screen.remove(&line);
        }
        while self.lines.len() < texts.len() {
            let line = self.screen.insert_before(&self.whole, ProgressBar::no_length());
            line.set_style(style());
            self.lines.push(line);
        }
        for (line, text) in self.lines.iter().zip(texts) {
            line.set_message(text);
        }
    }

    /// Takes the lines away.
    pub(super) fn clear(&self) {
        self.lines.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// Cut at the edge of the terminal.
fn style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// As many lines as there is room for: the last one counts those that have none.
fn fitting(mut lines: Vec<String>, room: usize) -> Vec<String> {
    if lines.len() > room {
        let shown = room.saturating_sub(1);
        let rest = lines.len() - shown;
        lines.truncate(shown);
        lines.extend((room > 0).then(|| format!("… and {rest} more workers")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_without_room_are_counted() {
        let lines: Vec<String> = (0..5).map(|worker| format!("worker {worker}")).collect();
        assert_eq!(fitting(lines.clone(), 5), lines);
        assert_eq!(fitting(lines.clone(), 3), ["worker 0", "worker 1", "… and 3 more workers"]);
        assert_eq!(fitting(lines.clone(), 1), ["… and 5 more workers"]);
        assert!(fitting(lines, 0).is_empty());
    }

    #[test]
    fn the_style_is_sound() {
        assert!(ProgressStyle::with_template("{wide_msg}").is_ok());
    }
}
