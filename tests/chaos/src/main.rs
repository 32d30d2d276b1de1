//! Seeded chaos: pools under load from several threads, harmed in every way at once, and judged after each episode.
//!
//! `cargo xtask chaos` runs it. An episode is planned from the seed and its number (`plan`), so `--seed N --episode K`
//! makes the same decisions again; what they meet depends on time. It builds a pool, makes calls of all kinds
//! (`kinds`, `calls`), some of whose items crash (`tag`, `tasks`), while another thread kills, stops and resizes
//! (`agitator`). Then a judge (`check`) compares what every caller was told with what the workers wrote down as they
//! started (`ledger`) and with what was done to them. Each episode ends with a look at what it leaves (`remains`);
//! one that does not end is shown (`watchdog`).
//!
//! Two processes: this one, which looks at what the other leaves behind, and the one that has the pools.

#![forbid(unsafe_code)]

mod agitator;
mod arguments;
mod board;
mod calls;
mod check;
mod episode;
mod evidence;
mod kinds;
mod ledger;
mod plan;
mod remains;
mod supervision;
mod tag;
mod tally;
mod tasks;
mod watchdog;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use procession_harness::RUN_VARIABLE;
use signal_hook::consts::{SIGINT, SIGTERM};

use arguments::Arguments;
use plan::{Episode, Mixture};
use tally::Tally;

/// How often a soak says how it gets on.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);

/// No more violations of an episode are shown: they have one cause.
const SHOWN_MAX: usize = 20;

fn main() -> ExitCode {
    procession::init();
    let arguments = Arguments::parse();
    let ended = match std::env::var(RUN_VARIABLE) {
        Ok(run) => run_episodes(&arguments, &run),
        Err(_) => supervision::run(),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Set once somebody wants the program to end.
fn interruption() -> Result<Arc<AtomicBool>, Box<dyn Error>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

fn run_episodes(arguments: &Arguments, run: &str) -> Result<ExitCode, Box<dyn Error>> {
    let is_interrupted = interruption()?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("chaos: seed {seed}");
    let mut tally = Tally::new(seed);
    let mut growth = remains::Growth::default();
    let directory = std::env::temp_dir();
    let mut progress_at = PROGRESS_EVERY;
    for number in arguments.episode.unwrap_or(0).. {
        let mut plan = Episode::new(seed, number, arguments.workers.get(), Mixture::of(seed, number));
        if arguments.hang {
            plan.hang();
        }
        let title = format!("episode {number} of seed {seed}");
        if arguments.episode.is_some() {
            println!("{plan:#?}");
        }
        let mut verdict = episode::run(&plan, run, &directory, &title, arguments.episode_limit());
        let grown = growth.check(remains::rss()).err();
        verdict.violations.extend(grown.map(episode::remains));
        for violation in verdict.violations.iter().take(SHOWN_MAX) {
            println!("{title}: {violation}");
        }
        tally.add(verdict.counts, &verdict.violations);
        if arguments.soak && tally.elapsed() >= progress_at {
            println!("{}", tally.progress());
            progress_at += PROGRESS_EVERY;
        }
        let is_over = match arguments.time() {
            Some(time) => tally.elapsed() >= time,
            None => tally.is_soaked(),
        };
        if is_over || arguments.episode.is_some() || is_interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    println!("{tally}");
    Ok(if tally.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
