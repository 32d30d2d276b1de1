//! What there is to see of a run: facts in, lines out. Nothing here knows a terminal, a pool or a clock.

use std::time::Duration;

use console::{measure_text_width, truncate_str};

use crate::engine::Present;
use crate::spec::units;
use crate::summary::{counted, short};

/// The bar takes what the figures beside it leave, within these limits, in columns.
const BAR_COLUMNS_MIN: usize = 8;
const BAR_COLUMNS_MAX: usize = 32;

/// A run at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    /// Of this machine.
    pub(crate) workers: Vec<Worker>,
    /// Where items run on others.
    pub(crate) agents: Vec<Present>,
    pub(crate) sum: Sum,
}

/// One worker.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) slot: u32,
    pub(crate) doing: Doing,
}

/// What a worker does.
#[derive(Clone, Debug)]
pub(crate) enum Doing {
    NoProcess,
    Starting,
    Idle,
    Runs {
        item: u64,
        /// For how long.
        ran: Duration,
        /// Which start of the item this is, from 1.
        attempt: u32,
        /// The call or the command, in one line.
        what: String,
    },
}

/// The run as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    /// Items a second of late.
    pub(crate) rate: f64,
    /// Items without a value, those lost not counted.
    pub(crate) failed: u64,
    /// Items that cost a worker its life.
    pub(crate) lost: u64,
    pub(crate) flaky: u64,
    /// For how long the run has been going on.
    pub(crate) running: Duration,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// How wide the columns of the workers' lines are.
#[derive(Clone, Copy, Default)]
struct Widths {
    item: usize,
    ran: usize,
}

impl Picture {
    /// A line a worker or agent and one for the whole, no more and no longer than there is room for.
    pub(crate) fn lines(&self, room: Room) -> Vec<String> {
        let all = self.workers.len() + self.agents.len();
        let rows = room.rows.saturating_sub(1).min(all);
        let shown = if rows < all { rows.saturating_sub(1) } else { rows };
        let workers = &self.workers[..shown.min(self.workers.len())];
        let slot = workers.iter().map(|worker| worker.slot.to_string().len()).max().unwrap_or_default();
        let widths = Widths::of(workers);
        let of_worker = |Worker { slot: number, doing }: &Worker| {
            format!("worker {number:>slot$}: {}", doing.padded(widths))
        };
        let mut lines: Vec<String> = workers.iter().map(of_worker).collect();
        lines.extend(self.agents.iter().take(shown - workers.len()).map(Present::words));
        if rows > shown {
            let what = if self.agents.is_empty() { "worker" } else { "agent" };
            let plural = if all - shown == 1 { "" } else { "s" };
            lines.push(format!("… and {} more {what}{plural}", all - shown));
        }
        lines.push(self.sum.bar(room.columns));
        lines.iter().map(|line| truncate_str(line, room.columns, "…").into_owned()).collect()
    }

    /// The item that has been running longest.
    pub(crate) fn longest(&self) -> Option<(u64, Duration)> {
        let running = self.workers.iter().filter_map(|worker| match worker.doing {
            Doing::Runs { item, ran, .. } => Some((item, ran)),
            Doing::NoProcess | Doing::Starting | Doing::Idle => None,
        });
        running.max_by_key(|(_, ran)| *ran)
    }
}

impl Widths {
    fn of(workers: &[Worker]) -> Widths {
        let each = workers.iter().filter_map(|worker| match &worker.doing {
            Doing::Runs { item, ran, .. } => {
                Some(Widths { item: item.to_string().len(), ran: clock(*ran).len() })
            }
            Doing::NoProcess | Doing::Starting | Doing::Idle => None,
        });
        each.fold(Widths::default(), |widest, one| Widths {
            item: widest.item.max(one.item),
            ran: widest.ran.max(one.ran),
        })
    }
}

impl Doing {
    /// What it does, in one line.
    pub(crate) fn words(&self) -> String {
        self.padded(Widths::default())
    }

    fn padded(&self, Widths { item: item_width, ran: ran_width }: Widths) -> String {
        match self {
            Doing::NoProcess => "no process".to_owned(),
            Doing::Starting => "starting".to_owned(),
            Doing::Idle => "idle".to_owned(),
            Doing::Runs { item, ran, attempt, what } => {
                let ran = clock(*ran);
                let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                format!("item {item:>item_width$} for {ran:>ran_width$}{again}: {what}")
            }
        }
    }
}

impl Sum {
    /// All of it, one after another.
    pub(crate) fn words(&self) -> String {
        let mut parts = match self.total {
            Some(total) => {
                let percent = (100 * u128::from(self.done) / u128::from(total.max(1))).min(100);
                vec![format!("{}/{total} {percent}%", self.done)]
            }
            None => vec![counted(self.done, "item")],
        };
        parts.push(format!("{}/s", short(self.rate)));
        parts.extend(self.left().map(|left| format!("{} left", clock(left))));
        for (count, what) in [(self.failed, "failed"), (self.lost, "lost"), (self.flaky, "flaky")] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.push(format!("running for {}", clock(self.running)));
        parts.join(", ")
    }

    /// How long the rest takes at this rate.
    fn left(&self) -> Option<Duration> {
        let rest = self.total?.checked_sub(self.done).filter(|rest| *rest > 0)?;
        Duration::try_from_secs_f64(rest as f64 / self.rate).ok()
    }

    /// The same behind a bar, where there is room for one.
    fn bar(&self, columns: usize) -> String {
        let words = self.words();
        let room = columns.saturating_sub(measure_text_width(&words) + 1).min(BAR_COLUMNS_MAX);
        match self.total {
            Some(total) if room >= BAR_COLUMNS_MIN => {
                let full = room as u128 * u128::from(self.done) / u128::from(total.max(1));
                let full = usize::try_from(full).map_or(room, |full| full.min(room));
                format!("{}{} {words}", "█".repeat(full), "░".repeat(room - full))
            }
            Some(_) | None => words,
        }
    }
}

/// A time that goes on while one looks: in tenths as long as they can be read.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 99.95 { format!("{seconds:.1} s") } else { units::show(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Room = Room { rows: 40, columns: 120 };

    fn runs(slot: u32, item: u64, ran_ms: u64, what: &str) -> Worker {
        let ran = Duration::from_millis(ran_ms);
        Worker { slot, doing: Doing::Runs { item, ran, attempt: 1, what: what.to_owned() } }
    }

    fn sum(done: u64, total: Option<u64>, rate: f64) -> Sum {
        Sum { done, total, rate, running: Duration::from_secs(66), ..Sum::default() }
    }

    fn idlers(count: u32) -> Picture {
        let workers = (0..count).map(|slot| Worker { slot, doing: Doing::Idle }).collect();
        Picture { workers, sum: sum(1, Some(2), 1.0), ..Picture::default() }
    }

    #[test]
    fn a_line_a_worker_and_one_for_the_whole() {
        let mut workers = vec![runs(0, 7, 12_340, "sleep 30"), runs(1, 1234, 120, "sleep 4")];
        workers.extend(
            [(9, Doing::Idle), (10, Doing::Starting), (11, Doing::NoProcess)]
                .map(|(slot, doing)| Worker { slot, doing }),
        );
        if let Doing::Runs { attempt, .. } = &mut workers[1].doing {
            *attempt = 2;
        }
        let picture = Picture {
            workers,
            sum: Sum { failed: 3, lost: 1, flaky: 2, ..sum(250, Some(1000), 25.0) },
            ..Picture::default()
        };
        assert_eq!(
            picture.lines(WIDE),
            [
                "worker  0: item    7 for 12.3 s: sleep 30",
                "worker  1: item 1234 for  0.1 s, attempt 2: sleep 4",
                "worker  9: idle",
                "worker 10: starting",
                "worker 11: no process",
                "████████░░░░░░░░░░░░░░░░░░░░░░░░ 250/1000 25%, 25/s, 30.0 s left, 3 failed, 1 lost, 2 flaky, \
                 running for 66.0 s",
            ]
        );
        assert_eq!(picture.longest(), Some((7, Duration::from_millis(12_340))));
    }

    #[test]
    fn lines_end_where_the_terminal_does() {
        let lines = idlers(20).lines(Room { rows: 9, columns: 120 });
        assert_eq!(lines.len(), 9);
        assert_eq!(lines[6], "worker 6: idle");
        assert_eq!(lines[7], "… and 13 more workers");
        assert_eq!(idlers(8).lines(Room { rows: 9, columns: 120 }).len(), 9);
        // Where there is no room for anything else there is room for the whole.
        for rows in [0, 1] {
            assert_eq!(idlers(20).lines(Room { rows, columns: 120 }).len(), 1);
        }
        assert_eq!(idlers(20).lines(Room { rows: 2, columns: 120 })[0], "… and 20 more workers");
    }

    #[test]
    fn agents_have_a_line_each() {
        let agent = |number: u64| Present { name: format!("node{number}-17"), workers: 4, chunks: number };
        let picture =
            Picture { agents: (1..=4).map(agent).collect(), sum: sum(1, Some(2), 1.0), ..Picture::default() };
        assert_eq!(
            picture.lines(Room { rows: 4, columns: 120 })[..3],
            [
                "agent node1-17: 4 workers, 1 chunk in hand",
                "agent node2-17: 4 workers, 2 chunks in hand",
                "… and 2 more agents",
            ]
        );
    }

    #[test]
    fn columns_are_counted_as_they_are_shown() {
        let picture = Picture {
            workers: vec![runs(0, 1, 1000, "echo 日本語のコマンド")],
            sum: sum(1, Some(9), 1.0),
            ..Picture::default()
        };
        for columns in 1..60 {
            for line in picture.lines(Room { rows: 5, columns }) {
                assert!(measure_text_width(&line) <= columns, "{line:?} in {columns}");
            }
        }
        let line = &picture.lines(Room { rows: 5, columns: 38 })[0];
        assert_eq!(line, "worker 0: item 1 for 1.0 s: echo 日本…");
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        assert_eq!(sum(25, None, 5.0).words(), "25 items, 5.00/s, running for 66.0 s");
        assert_eq!(sum(0, Some(10), 0.0).words(), "0/10 0%, 0.00/s, running for 66.0 s");
        assert_eq!(sum(10, Some(10), 5.0).words(), "10/10 100%, 5.00/s, running for 66.0 s");
        let more_than_all = sum(u64::MAX, Some(0), 5.0).bar(80);
        assert!(more_than_all.starts_with("█") && !more_than_all.contains('░'), "{more_than_all}");
    }
}
