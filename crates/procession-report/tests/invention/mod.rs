//! A run that never was: its rows are made up, so that there is something to report on without running anything.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use procession_store::{Ending, Item, Job, Key, RunDir, Writer};
use rusqlite::{Connection, params};

const SPEC: &str = "\
name = \"galaxies\"
task = \"sky::fit_profile\"

[pool]
workers = 8
timeout = \"30s\"
memory_limit = \"2 GiB\"

[input]
file = \"catalogue.csv\"
";

/// When it began, in seconds since 1970.
const START_S: f64 = 1_795_600_000.0;
/// What lies between two sessions, in seconds.
const PAUSE_S: f64 = 7_200.0;

/// Writes a run of about five minutes into a new directory.
pub(crate) fn write(run: &Path, items: u64, workers: u32, sessions: u32) -> Result<(), Box<dyn Error>> {
    let job = Job {
        name: "galaxies".to_owned(),
        task: "sky::fit_profile".to_owned(),
        signature: "fit_profile(row: Galaxy, tolerance: f64) -> Profile".to_owned(),
        idempotent: true,
        source: "catalogue.csv".to_owned(),
        items: Some(items),
        spec: Some(SPEC.to_owned()),
        argv: ["procession", "run", "galaxies.toml", "--run-dir", "galaxies"].map(str::to_owned).to_vec(),
        cwd: "/home/ada/sky".into(),
        ..Job::default()
    };
    let writer = RunDir::create(run, &job)?.begin(env!("CARGO_PKG_VERSION"), workers)?;
    let (lives, end_s) = Invention::new(writer, items, workers).write()?;
    settle(&run.join("run.sqlite"), &lives, end_s, sessions)
}

/// Puts sessions and processes on the invented clock: whoever writes them otherwise looks at the machine's.
fn settle(database: &Path, lives: &[Life], end_s: f64, sessions: u32) -> Result<(), Box<dyn Error>> {
    let connection = Connection::open(database)?;
    let transaction = connection.unchecked_transaction()?;
    let piece_s = end_s / f64::from(sessions);
    // The last one first: what is left belongs to those before it.
    for session in (1..=sessions).rev() {
        let nth = f64::from(session - 1);
        let (from_s, to_s) = (nth * piece_s, if session == sessions { end_s } else { (nth + 1.0) * piece_s });
        let shift_s = START_S + nth * PAUSE_S;
        // All but the last master were killed.
        let ended_at = (session == sessions).then_some(to_s + shift_s + 0.1);
        transaction.execute(
            "INSERT OR REPLACE INTO session (id, pid, host, boot, version, workers, started_at, ended_at, ending)
             SELECT ?1, pid, 'observatory', boot, version, workers, ?2, ?3, iif(?3 IS NULL, NULL, 'incomplete')
             FROM session WHERE id = 1",
            params![session, from_s + shift_s, ended_at],
        )?;
        transaction.execute(
            "UPDATE item SET session = ?1, started_at = started_at + ?2 - ?3
             WHERE session = 1 AND started_at >= ?3 + ?4",
            params![session, shift_s, START_S, from_s],
        )?;
        for life in lives.iter().filter(|life| life.from_s < to_s && life.to_s.is_none_or(|end| end > from_s))
        {
            let died = life.to_s.filter(|end| *end < to_s);
            transaction.execute(
                "INSERT INTO worker (session, slot, pid, birth, started_at, ended_at, exit, signal)
                 VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7)",
                params![
                    session,
                    life.slot,
                    life.pid,
                    life.from_s.max(from_s) + shift_s,
                    died.unwrap_or(to_s) + shift_s,
                    died.is_none().then_some(0),
                    died.and(life.signal),
                ],
            )?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// A process that never was.
struct Life {
    slot: u32,
    pid: u32,
    from_s: f64,
    to_s: Option<f64>,
    signal: Option<i32>,
}

/// A run that never was: each worker takes the next item as soon as it is free.
struct Invention {
    writer: Writer,
    random: fastrand::Rng,
    items: u64,
    free: Vec<Seat>,
    /// Seconds that an item takes in the middle.
    median_s: f64,
    lives: Vec<Life>,
}

struct Seat {
    at_s: f64,
    born_s: f64,
    pid: u32,
    peak_rss: u64,
}

impl Invention {
    fn new(writer: Writer, items: u64, workers: u32) -> Invention {
        // The run takes about five minutes, however many items there are.
        let median_s = 300.0 * f64::from(workers) / items as f64 / 1.6;
        let seat = |slot| Seat {
            at_s: 0.05 + 0.01 * f64::from(slot),
            born_s: 0.01,
            pid: 41_000 + slot,
            peak_rss: 90 << 20,
        };
        let free = (0..workers).map(seat).collect();
        Invention { writer, random: fastrand::Rng::with_seed(7), items, free, median_s, lives: Vec::new() }
    }

    fn write(mut self) -> Result<(Vec<Life>, f64), Box<dyn Error>> {
        // As rare as it takes for a few dozen of them.
        let rare = (25.0 / self.items as f64).min(0.03);
        for index in 0..self.items {
            self.writer.hand_out(index)?;
            let slot = (0..self.free.len())
                .min_by(|a, b| self.free[*a].at_s.total_cmp(&self.free[*b].at_s))
                .unwrap_or(0);
            let item = self.item(index, slot, rare);
            self.writer.item(item)?;
        }
        self.writer.finish(Ending::Incomplete)?;
        let last = self.free.iter().zip(0..).map(|(seat, slot)| Life {
            slot,
            pid: seat.pid,
            from_s: seat.born_s,
            to_s: None,
            signal: None,
        });
        self.lives.extend(last);
        let end_s = self.free.iter().map(|seat| seat.at_s).fold(0.0, f64::max);
        Ok((self.lives, end_s))
    }

    fn item(&mut self, index: u64, slot: usize, rare: f64) -> Item {
        // Log-normal, by the sum of a few uniform numbers.
        let normal: f64 = (0..12).map(|_| self.random.f64()).sum::<f64>() - 6.0;
        let drift = 1.0 + 0.5 * (index as f64 / self.items as f64 * 9.0).sin();
        let mut wall_s = self.median_s * (0.8 * normal).exp() * drift;
        if self.random.f64() < rare / 2.0 {
            wall_s *= 8.0;
        }
        let seat = &mut self.free[slot];
        seat.peak_rss += (self.random.f64() * 3e9 / (self.items as f64 + 200.0)) as u64;
        let mut item = Item {
            slot: Some(slot as u32),
            pid: Some(seat.pid),
            started_at: Some(UNIX_EPOCH + Duration::from_secs_f64(START_S + seat.at_s)),
            wall: Some(Duration::from_secs_f64(wall_s)),
            cpu: Some(Duration::from_secs_f64(wall_s * 0.93)),
            peak_rss: Some(seat.peak_rss),
            value: Some("[0.1,2.5]".to_owned()),
            ..Item::value(index, Key::of(&index.to_le_bytes()))
        };
        seat.at_s += wall_s + self.median_s * 0.01;
        let fate = self.random.f64();
        if fate < rare * 2.0 {
            item = self.spoil(item, slot, fate / rare);
        } else if fate < rare * 2.4 {
            item.attempts = 2;
        }
        item
    }

    /// Takes the item's value and says why.
    fn spoil(&mut self, item: Item, slot: usize, how: f64) -> Item {
        let index = item.index;
        let item = Item {
            value: None,
            args: Some(format!("[{{\"id\":{index},\"ra\":{:.4}}},1e-7]", index as f64 * 0.01)),
            reproduce: Some(format!("procession apply sky::fit_profile '{{\"id\":{index}}}' 1e-7")),
            ..item
        };
        if how < 1.2 {
            return Item {
                outcome: "panicked".into(),
                error: Some(format!("row {index}: chi² = {:.2} <nan> after 200 steps", how * 1e3)),
                backtrace: Some(
                    "sky::fit_profile\n  at src/fit.rs:88:13\nsky::solve::newton\n  at src/solve.rs:41:9"
                        .to_owned(),
                ),
                ..item
            };
        }
        // Its worker goes with it.
        let seat = &mut self.free[slot];
        let pid = seat.pid;
        let signal = Some(if how < 1.8 { 11 } else { 9 });
        self.lives.push(Life { slot: slot as u32, pid, from_s: seat.born_s, to_s: Some(seat.at_s), signal });
        seat.pid += 1_000;
        seat.born_s = seat.at_s + 0.05;
        seat.at_s += 0.2;
        seat.peak_rss = 90 << 20;
        let tail =
            Some(format!("reading tile {}\n\x1b[31mfits: cannot map plane {index}\x1b[0m\n", index % 40));
        if how < 1.8 {
            Item {
                outcome: "worker_lost".into(),
                error: Some(format!(
                    "worker {slot} (pid {pid}) was killed by SIGSEGV while it ran item {index}"
                )),
                signal,
                attempts: 3,
                backtrace: Some(
                    "fits_map_plane\n  libcfitsio.so.10+0x3f2a1\nsky::read_tile\n  at src/tile.rs:19:5"
                        .to_owned(),
                ),
                stderr_tail: tail,
                ..item
            }
        } else {
            let error = Some("ran for longer than its limit of 30 s".to_owned());
            Item { outcome: "timed_out".into(), error, signal, stderr_tail: tail, ..item }
        }
    }
}
