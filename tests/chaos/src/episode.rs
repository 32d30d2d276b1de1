//! One episode: a pool is built, called from several threads, harmed, ended, and judged.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use procession::{Error, Event, Pool};
use procession_harness::{Descriptors, wait_until};

use crate::agitator::{Agitator, Harm};
use crate::board::Board;
use crate::calls;
use crate::check::{self, Invariant, Violation};
use crate::evidence::{Evidence, Exit, Seen, Told};
use crate::kinds::Data;
use crate::ledger::{LEDGER_VARIABLE, Ledger};
use crate::plan::{Call, End, Episode, Stop};
use crate::remains;
use crate::tally::Counts;
use crate::tasks;
use crate::watchdog::{self, Watched};

/// The calls that are not the callers' have the last numbers.
const POISON: u16 = u16::MAX;
const AFTERWARDS: u16 = u16::MAX - 1;

/// I13: how many trivial items the pool must map afterwards.
const TRIVIAL_ITEMS: u32 = 100;

/// By then every worker's end has been told.
const EVENTS_LIMIT: Duration = Duration::from_secs(10);

/// Within so long the last handle of an ended pool lets go of everything.
const END_LIMIT: Duration = Duration::from_secs(30);

type Events = Arc<Mutex<Vec<Event>>>;

/// What came of an episode.
pub(crate) struct Verdict {
    pub(crate) counts: Counts,
    pub(crate) violations: Vec<Violation>,
}

/// Runs an episode. `run` marks all processes that descend from this one, `directory` is theirs alone. One that takes
/// longer than `limit` ends the program.
pub(crate) fn run(plan: &Episode, run: &str, directory: &Path, title: &str, limit: Duration) -> Verdict {
    let before = Descriptors::open_now();
    let mut verdict = match play(plan, directory, title, limit) {
        Ok(verdict) => verdict,
        Err(why) => Verdict { counts: Counts::default(), violations: vec![remains(why)] },
    };
    let left = remains::check_system(&before, run, directory);
    // Start method `fork` needs a program of one thread, and nothing of a pool is left when it has ended.
    let threads = remains::wait_single_thread();
    verdict.violations.extend([left, threads].into_iter().filter_map(Result::err).map(remains));
    verdict
}

pub(crate) fn remains(what: String) -> Violation {
    Violation { invariant: Invariant::Remains, what }
}

fn play(plan: &Episode, directory: &Path, title: &str, limit: Duration) -> Result<Verdict, String> {
    let ledger = Ledger::create(directory.join("ledger")).map_err(|error| format!("no ledger: {error}"))?;
    let events = Events::default();
    // Before there is any other thread.
    let pool = build(plan, &ledger, &events).map_err(|error| format!("the pool cannot be built: {error}"))?;
    let board = Arc::new(Board::default());
    let mut violations = Vec::new();
    let (over, is_over) = mpsc::channel();
    let watched = Watched::new(Mutex::new(Some(pool.clone())));
    let (pool_watched, board_watched, title) = (Arc::clone(&watched), Arc::clone(&board), title.to_owned());
    let watchdog =
        thread::spawn(move || watchdog::watch(&is_over, limit, &pool_watched, &board_watched, &title));
    let acted = act(plan, &pool, &board);
    let ended = end(plan, &pool);
    // The last handle, which waits for what is left. The lock is let go before.
    let other = watched.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop((other, pool));
    drop(over);
    watchdog.join().map_err(|_| "the watchdog panicked".to_owned())?;
    let (seen, harm) = acted?;
    violations.extend(ended.err().map(remains));
    violations.extend(check_events(&events).err().map(remains));
    let starts = ledger.starts()?;
    let evidence = Evidence {
        calls: seen,
        starts,
        faults: harm.faults,
        exits: exits(&events),
        is_terminated: matches!(plan.end, End::Terminate(_)),
        is_frail: plan.options.initializer.is_some_and(|(dying, _)| dying > 0),
    };
    violations.extend(check::check(&evidence));
    Ok(Verdict { counts: count(&evidence, &events, harm.injected), violations })
}

fn build(plan: &Episode, ledger: &Ledger, events: &Events) -> Result<Pool, Error> {
    let options = &plan.options;
    let seen = Arc::clone(events);
    let mut builder = Pool::builder()
        .workers(plan.workers)
        .start_method(plan.method)
        .output(options.output)
        .grace(options.grace)
        .lazy_start(options.lazy_start)
        // Workers are killed before they are ready, too: that is no reason to give up.
        .restart_limit(1_000_000, Duration::from_secs(30))
        .env(LEDGER_VARIABLE, ledger.path())
        // To resolve the stack of a worker's first panic may take seconds, in which nothing but losses would be heard:
        // reason enough for the pool to give up.
        .env("RUST_BACKTRACE", "0")
        .on_event(move |event| seen.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone()));
    if let Some(items) = options.max_tasks_per_worker {
        builder = builder.max_tasks_per_worker(items);
    }
    if let Some(idle) = options.idle_timeout {
        builder = builder.idle_timeout(idle);
    }
    if let Some(timeout) = options.timeout {
        builder = builder.timeout(timeout);
    }
    if let Some((dying, slow)) = options.initializer {
        builder = builder.initializer(tasks::start_up, (plan.agitation, dying, slow));
    }
    builder.build()
}

/// The callers, the agitator and the load, until the callers are through.
fn act(plan: &Episode, pool: &Pool, board: &Board) -> Result<(Vec<Seen>, Harm), String> {
    let data = Data::new(pool, plan.agitation).map_err(|error| format!("nothing can be shared: {error}"))?;
    let is_on = AtomicBool::new(true);
    thread::scope(|scope| {
        let (calm, calmed) = mpsc::channel();
        let agitator = scope.spawn(move || Agitator::new(pool, plan, POISON).run(&calmed));
        for _ in 0..plan.load {
            scope.spawn(|| {
                while is_on.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let (over, is_over) = mpsc::channel::<()>();
        if let End::Terminate(after) = plan.end {
            scope.spawn(move || {
                // Whether the callers are through before or not, it is terminated.
                let _ = is_over.recv_timeout(after);
                pool.terminate();
            });
        }
        let callers: Vec<_> = plan
            .callers
            .iter()
            .map(|calls| {
                scope.spawn(|| {
                    let make = |call| board.show(call, |entry| calls::make(pool, call, &data, entry));
                    calls.iter().map(make).collect::<Vec<Seen>>()
                })
            })
            .collect();
        let results: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        drop((calm, over));
        let harm = agitator.join();
        is_on.store(false, Ordering::Relaxed);
        let mut seen = Vec::new();
        for result in results {
            seen.extend(result.map_err(|_| "a caller panicked".to_owned())?);
        }
        let mut harm = harm.map_err(|_| "the agitator panicked".to_owned())?;
        seen.push(std::mem::replace(&mut harm.poison, nothing(POISON)));
        if !matches!(plan.end, End::Terminate(_)) {
            let call = Call { items: TRIVIAL_ITEMS, ..Call::plain(AFTERWARDS) };
            seen.push(board.show(&call, |entry| calls::make(pool, &call, &data, entry)));
        }
        Ok((seen, harm))
    })
}

fn nothing(call: u16) -> Seen {
    Seen {
        call: Call { items: 0, ..Call::plain(call) },
        taken: 0,
        told: Told::Each(Vec::new()),
        cancelled: None,
        callbacks: (0, 0),
        took: Duration::ZERO,
    }
}

/// Ends the pool as planned. The last handle is dropped by the caller.
fn end(plan: &Episode, pool: &Pool) -> Result<(), String> {
    match plan.end {
        End::Close => pool.close().map_err(|error| format!("the pool does not close: {error}")),
        End::Drop => Ok(()),
        End::Terminate(_) => {
            pool.join(Some(END_LIMIT)).map_err(|error| format!("the pool does not end: {error}"))
        }
    }
}

/// Every worker that was started has ended, in the pool's own words, and the pool did not break.
fn check_events(events: &Events) -> Result<(), String> {
    let lives = || {
        let events = events.lock().unwrap_or_else(PoisonError::into_inner);
        let pids = |is_wanted: fn(&Event) -> Option<u32>| -> Vec<u32> {
            let mut pids: Vec<u32> = events.iter().filter_map(is_wanted).collect();
            pids.sort_unstable();
            pids
        };
        let started = pids(|event| match event {
            Event::WorkerStarted { pid, .. } => Some(*pid),
            _ => None,
        });
        let exited = pids(|event| match event {
            Event::WorkerExited { pid, .. } => Some(*pid),
            _ => None,
        });
        (started, exited)
    };
    let agree = || {
        let (started, exited) = lives();
        started == exited
    };
    if !wait_until(EVENTS_LIMIT, agree) {
        let (started, exited) = lives();
        return Err(format!("workers {started:?} were started, and {exited:?} have ended"));
    }
    let events = events.lock().unwrap_or_else(PoisonError::into_inner);
    let broken = events.iter().find_map(|event| match event {
        Event::PoolBroken { reason } => Some(reason),
        _ => None,
    });
    broken.map_or(Ok(()), |reason| Err(format!("the pool gave up: {reason}")))
}

fn exits(events: &Events) -> Vec<Exit> {
    let events = events.lock().unwrap_or_else(PoisonError::into_inner);
    let exit = |event: &Event| match *event {
        Event::WorkerExited { pid, exit, running, .. } => Some(Exit { pid, exit, running }),
        _ => None,
    };
    events.iter().filter_map(exit).collect()
}

fn count(evidence: &Evidence, events: &Events, injected: u64) -> Counts {
    let events = events.lock().unwrap_or_else(PoisonError::into_inner);
    let started = events.iter().filter_map(|event| match event {
        Event::WorkerStarted { slot, .. } => Some(*slot),
        _ => None,
    });
    let seats: BTreeSet<u32> = started.clone().collect();
    let deeds = evidence.starts.iter().filter(|start| start.tag.is_fault()).count() as u64;
    let stops: u64 = evidence.calls.iter().map(stops).sum();
    Counts {
        faults: injected + deeds + stops,
        items: evidence.calls.iter().map(|seen| u64::from(seen.taken)).sum(),
        respawns: (started.count() - seats.len()) as u64,
        restarts: evidence.starts.iter().filter(|start| start.attempt > 1).count() as u64,
    }
}

/// How often a call was cancelled or dropped.
fn stops(seen: &Seen) -> u64 {
    match (&seen.told, seen.call.stop) {
        (_, Stop::Never) => 0,
        (Told::Each(outcomes), Stop::Cancel(_)) => {
            outcomes.iter().filter(|outcome| outcome.cancelled.is_some()).count().max(1) as u64
        }
        (_, Stop::Cancel(_) | Stop::Drop(_)) => 1,
    }
}
