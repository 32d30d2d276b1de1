//! Every fault under a load that takes every fast path at once: what is lost, what is kept, and what is left behind.

mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use procession::{AsyncResult, ErrorKind, Pool, PoolBuilder, WorkerExit};
use procession_harness::{Signal, send_signal, wait_until};

use crate::scenes::{LIMIT, both, mapped_here, outcomes, wait_workers};
use crate::tasks::square;
use load::{AGAIN, ITEMS, KINDS, Kind, Load, ONCE, Outcomes, Scene, Tasks, Verb, draw_items};

/// More than the arena keeps when it is at rest.
const REST_BYTES: usize = 24 << 20;

/// The pool goes on, and neither descriptors nor memory are left of a load: `body` makes one and drops it.
fn leaves_nothing(pool: &Pool, body: impl FnOnce(&Pool)) {
    let workers = wait_workers(pool, pool.workers()).len();
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    let (descriptors, mapped) = (open_descriptors(), mapped_here());
    body(pool);
    pool.resize(workers).unwrap();
    wait_workers(pool, workers);
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    let left = || (open_descriptors(), mapped_here(), shared_bytes());
    let at_rest = wait_until(LIMIT, || {
        let (open, regions, bytes) = left();
        open <= descriptors && regions <= mapped && bytes < REST_BYTES
    });
    assert!(at_rest, "{:?}, where {:?} were before", left(), (descriptors, mapped));
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

/// What this process holds of memory that it shares with workers.
fn shared_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("RssShmem:")).expect("the kernel says so");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// A failure: of which item, and of what kind.
type Failure = (Kind, u32, ErrorKind);

/// Each outcome is the item's own value, or an error of one of these kinds that names it; none of the items was started
/// more often than `starts` times, and none that has a value was never started. The failures, in order.
fn check(load: &Load, outcomes: &Outcomes, kinds: &[ErrorKind], starts: u32) -> Vec<Failure> {
    let mut counts = BTreeMap::<(Kind, u32), u32>::new();
    for start in load.starts() {
        *counts.entry((start.kind, start.x)).or_default() += 1;
    }
    let most = counts.iter().max_by_key(|(_, count)| **count).expect("some were started");
    assert!(*most.1 <= starts, "{:?} was started {} times", most.0, most.1);
    let mut failures = Vec::new();
    for (kind, outcomes) in KINDS.into_iter().zip(outcomes) {
        for (x, outcome) in (0..).zip(outcomes) {
            let count = counts.get(&(kind, x)).copied().unwrap_or(0);
            match outcome {
                Ok(value) => {
                    assert_eq!(*value, load.value(kind, x), "{kind:?} {x}");
                    assert!(count > 0, "{kind:?} {x} has a value and was never started");
                }
                Err(error) => {
                    let failure = error.kind();
                    assert!(kinds.contains(&failure), "{kind:?} {x}: {error}");
                    let item = if kind == Kind::Tiny { u64::from(x) } else { 0 };
                    assert!(error.item().is_none_or(|named| named == item), "{kind:?} {x}: {error}");
                    assert!(
                        error.attempts() > 0 || count == 0,
                        "{kind:?} {x} was started, and is said not to have been: {error}"
                    );
                    if matches!(failure, ErrorKind::WorkerLost | ErrorKind::Quarantined) {
                        assert_eq!(
                            (error.item(), error.attempts()),
                            (Some(item), starts),
                            "{kind:?} {x}: {error}"
                        );
                    }
                    failures.push((kind, x, failure));
                }
            }
        }
    }
    failures
}

/// As [`check`], and no item is without an outcome.
fn check_all(load: &Load, outcomes: &Outcomes, kinds: &[ErrorKind], starts: u32) -> Vec<Failure> {
    assert_eq!(outcomes.each_ref().map(Vec::len), ITEMS.map(|items| items as usize), "one outcome each");
    check(load, outcomes, kinds, starts)
}

/// The failures that are to be expected of items that are planned to fail.
fn planned<'a>(items: impl IntoIterator<Item = &'a (Kind, u32)>, kind: ErrorKind) -> Vec<Failure> {
    items.into_iter().map(|(of, x)| (*of, *x, kind)).collect()
}

/// Nothing but what is killed from outside fails, and of that only what was running: `meanwhile` says how many workers
/// it has killed.
fn check_kills(builder: PoolBuilder, seed: u64, tasks: Tasks, meanwhile: impl Fn(&Scene<'_>) -> usize) {
    let pool = builder.build().unwrap();
    leaves_nothing(&pool, |pool| {
        let load = Load::new(pool, seed, &[], &[]);
        let mut killed = 0;
        let outcomes = load.run(pool, tasks, |scene| {
            load.wait_under_way();
            killed = meanwhile(scene);
        });
        let failures = match tasks.verb {
            Verb::Imap => check_all(&load, &outcomes, &[ErrorKind::WorkerLost], 1),
            Verb::Map => check_all(&load, &outcomes, &[], 3),
        };
        assert!(failures.len() <= killed, "{killed} workers were killed, and lost {failures:?}");
    });
    pool.close().unwrap();
}

fn kill_busy_workers(scene: &Scene<'_>) -> usize {
    let mut killed = 0;
    while killed < 6 && scene.is_on() {
        if let Some(pid) = scene.busy_worker() {
            send_signal(pid, Signal::SIGKILL);
            killed += 1;
        }
        scene.wait_more(5_000);
    }
    assert!(killed > 0, "a worker was busy");
    killed
}

fn crash(builder: PoolBuilder, seed: u64) {
    let pool = builder.build().unwrap();
    leaves_nothing(&pool, |pool| {
        let fatal = draw_items(&mut Rng::with_seed(seed), [8, 8, 2]);
        let load = Load::new(pool, seed, &fatal, &[]);
        let outcomes = load.run(pool, ONCE, |_| {});
        for error in outcomes.iter().flatten().filter_map(|outcome| outcome.as_ref().err()) {
            assert_eq!(error.exit(), Some(WorkerExit::Signal(11)), "{error}");
        }
        let lost = check_all(&load, &outcomes, &[ErrorKind::WorkerLost], 1);
        assert_eq!(lost, planned(&fatal, ErrorKind::WorkerLost), "those that crash, and no others");
        assert_eq!(load.starts().len(), ITEMS.iter().sum::<u32>() as usize);
    });
    pool.close().unwrap();
}

fn crash_again(builder: PoolBuilder, seed: u64) {
    let pool = builder.build().unwrap();
    leaves_nothing(&pool, |pool| {
        let fatal = draw_items(&mut Rng::with_seed(seed), [2, 2, 1]);
        let load = Load::new(pool, seed, &fatal, &[]);
        let outcomes = load.run(pool, AGAIN, |_| {});
        let lost = check_all(&load, &outcomes, &[ErrorKind::Quarantined], 3);
        assert_eq!(lost, planned(&fatal, ErrorKind::Quarantined), "those that crash, and no others");
        let again = load.starts().len() - ITEMS.iter().sum::<u32>() as usize;
        assert_eq!(again, 2 * fatal.len(), "nothing else was run again");
    });
    pool.close().unwrap();
}

fn kill(builder: PoolBuilder, seed: u64) {
    check_kills(builder, seed, ONCE, kill_busy_workers);
}

fn kill_again(builder: PoolBuilder, seed: u64) {
    check_kills(builder, seed, Tasks { verb: Verb::Map, ..AGAIN }, kill_busy_workers);
}

fn stop_and_continue(builder: PoolBuilder, seed: u64) {
    check_kills(builder, seed, ONCE, |scene| {
        let mut random = Rng::with_seed(seed);
        for _ in 0..6 {
            let pids = scene.pool.worker_pids();
            let stopped: Vec<u32> = pids.iter().copied().filter(|_| random.bool()).collect();
            stopped.iter().for_each(|pid| send_signal(*pid, Signal::SIGSTOP));
            if stopped.len() < pids.len() {
                scene.wait_more(2_000);
            }
            stopped.iter().for_each(|pid| send_signal(*pid, Signal::SIGCONT));
            scene.wait_more(2_000);
        }
        0
    });
}

fn resize(builder: PoolBuilder, seed: u64) {
    check_kills(builder, seed, ONCE, |scene| {
        for workers in [4, 1, 3, 2, 5, 1] {
            scene.pool.resize(workers).unwrap();
            scene.wait_more(5_000);
        }
        0
    });
}

fn time_limit(builder: PoolBuilder, seed: u64) {
    let pool = builder.build().unwrap();
    leaves_nothing(&pool, |pool| {
        let endless = draw_items(&mut Rng::with_seed(seed), [1, 0, 1]);
        let load = Load::new(pool, seed, &[], &endless);
        let limit = Duration::from_secs(3);
        let tasks = Tasks { single: ONCE.single.timeout(limit), large: ONCE.large.timeout(limit), ..ONCE };
        let outcomes = load.run(pool, tasks, |_| {});
        let late = check_all(&load, &outcomes, &[ErrorKind::TimedOut], 1);
        assert_eq!(late, planned(&endless, ErrorKind::TimedOut), "those that do not end, and no others");
    });
    pool.close().unwrap();
}

fn deadline(builder: PoolBuilder, seed: u64) {
    let pool = builder.build().unwrap();
    leaves_nothing(&pool, |pool| {
        let endless = draw_items(&mut Rng::with_seed(seed), [0, 1, 0]);
        let load = Load::new(pool, seed, &[], &endless);
        let tasks = Tasks { tiny: ONCE.tiny.deadline(Duration::from_millis(500)), ..ONCE };
        let outcomes = load.run(pool, tasks, |_| {});
        assert_eq!((outcomes[0].len() as u32, outcomes[2].len() as u32), (ITEMS[0], ITEMS[2]));
        let late = check(&load, &outcomes, &[ErrorKind::TimedOut], 1);
        assert!(!late.is_empty() && late.iter().all(|(kind, ..)| *kind == Kind::Tiny), "{late:?}");
    });
    pool.close().unwrap();
}

/// Cancels what it is told; whether that was in time, for each.
fn cancel_some<T>(handles: &[AsyncResult<T>], random: &mut Rng) -> Vec<bool> {
    handles
        .iter()
        .rev()
        .map(|handle| random.bool() && handle.cancel())
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect()
}

fn cancel(builder: PoolBuilder, seed: u64) {
    let pool = builder.build().unwrap();
    leaves_nothing(&pool, |pool| {
        let mut random = Rng::with_seed(seed);
        let load = Load::new(pool, seed, &[], &[]);
        let keep = ITEMS[1] as usize / 8 + random.u32(..ITEMS[1] / 4) as usize;
        let (outcomes, cancelled) = thread::scope(|scope| {
            let tiny = scope.spawn(|| {
                let mut stream = pool.imap(ONCE.tiny, load.tiny());
                let mut outcomes: Vec<_> = stream.by_ref().take(keep).collect();
                stream.cancel();
                outcomes.extend(stream);
                outcomes
            });
            let (larges, singles) = (load.larges(pool, ONCE), load.singles(pool, ONCE));
            load.wait_under_way();
            let cancelled = [cancel_some(&singles, &mut random), cancel_some(&larges, &mut random)];
            let (singles, larges) = (outcomes(singles), load.of_larges(larges));
            ([singles, tiny.join().expect("its own checks hold"), larges], cancelled)
        });
        assert!(outcomes[1].iter().take(keep).all(Result::is_ok), "what came before it was cancelled");
        let unwanted = check(&load, &outcomes, &[ErrorKind::Cancelled], 1);
        for (kind, cancelled) in [Kind::Single, Kind::Large].into_iter().zip(cancelled) {
            let found: BTreeSet<u32> =
                unwanted.iter().filter(|failure| failure.0 == kind).map(|failure| failure.1).collect();
            let told: BTreeSet<u32> =
                (0..).zip(cancelled).filter_map(|(x, cancelled)| cancelled.then_some(x)).collect();
            assert_eq!(found, told, "{kind:?}: those that are cancelled, and those that were said to be");
        }
    });
    pool.close().unwrap();
}

/// Everything that was accepted has its outcome, also if workers crash meanwhile; what comes too late is refused and
/// never started.
fn close(builder: PoolBuilder, seed: u64) {
    let pool = builder.build().unwrap();
    let fatal = draw_items(&mut Rng::with_seed(seed), [3, 0, 1]);
    let load = Load::new(&pool, seed, &fatal, &[]);
    let (larges, singles) = (load.larges(&pool, ONCE), load.singles(&pool, ONCE));
    let tiny = pool.map_async(ONCE.tiny, load.tiny());
    load.wait_under_way();
    let late = thread::scope(|scope| {
        let late = scope.spawn(|| {
            let (mut late, mut after_end) = (Vec::new(), 0);
            while after_end < 10 {
                after_end += usize::from(!pool.is_active());
                let x = ITEMS[0] + late.len() as u32;
                late.push(pool.apply_async(ONCE.single, (load.item(Kind::Single, x),)));
            }
            late
        });
        pool.close().unwrap();
        late.join().expect("the thread does not panic")
    });
    let tiny = tiny.get().unwrap().into_iter().map(Ok).collect();
    let outcomes = [outcomes(singles), tiny, load.of_larges(larges)];
    let lost = check_all(&load, &outcomes, &[ErrorKind::WorkerLost], 1);
    assert_eq!(lost, planned(&fatal, ErrorKind::WorkerLost), "those that crash, and no others");
    check_late(&load, late);
}

/// Calls made around the end of a pool: those before it have their values, those after it are refused and never start.
fn check_late(load: &Load, late: Vec<AsyncResult<u64>>) {
    let started: BTreeSet<u32> =
        load.starts().iter().filter(|start| start.kind == Kind::Single).map(|start| start.x).collect();
    let mut is_closed = false;
    for (x, outcome) in (ITEMS[0]..).zip(outcomes(late)) {
        match outcome {
            Ok(value) => assert!(value == load.value(Kind::Single, x) && !is_closed, "{x}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Closed, "{x}: {error}");
                assert!(!started.contains(&x), "{x} is refused and was started");
                is_closed = true;
            }
        }
    }
    assert!(is_closed, "the last came after the end");
}

fn terminate(builder: PoolBuilder, seed: u64) {
    let pool = builder.build().unwrap();
    // So that something is left to end. One that is met earlier would keep a lone worker from all others.
    let load = Load::new(&pool, seed, &[], &[(Kind::Tiny, ITEMS[1] - 1)]);
    let outcomes = load.run(&pool, ONCE, |_| {
        load.wait_under_way();
        pool.terminate();
        pool.join(Some(LIMIT)).unwrap();
    });
    assert_eq!((outcomes[0].len() as u32, outcomes[2].len() as u32), (ITEMS[0], ITEMS[2]));
    // Calls made after it are refused.
    let ended = check(&load, &outcomes, &[ErrorKind::Terminated, ErrorKind::Closed], 1);
    assert!(ended.iter().any(|failure| failure.2 == ErrorKind::Terminated), "it was under way");
}

/// Defines a test of each scene and number of workers, for both start methods.
macro_rules! scenes {
    ($($scene:ident: $($name:ident $workers:literal),+;)+) => {
        procession_harness::cases! {
            $($(
                fn $name() {
                    both($workers, |builder| $scene(builder.grace(Duration::from_millis(100)), $workers));
                }
            )+)+
        }
    };
}

scenes! {
    crash: mixed_crash_1 1, mixed_crash_2 2, mixed_crash_5 5;
    crash_again: mixed_crash_again_1 1, mixed_crash_again_2 2, mixed_crash_again_5 5;
    kill: mixed_kill_1 1, mixed_kill_2 2, mixed_kill_5 5;
    kill_again: mixed_kill_again_1 1, mixed_kill_again_2 2, mixed_kill_again_5 5;
    stop_and_continue: mixed_stop_1 1, mixed_stop_2 2, mixed_stop_5 5;
    resize: mixed_resize_1 1, mixed_resize_2 2, mixed_resize_5 5;
    time_limit: mixed_time_limit_1 1, mixed_time_limit_2 2, mixed_time_limit_5 5;
    deadline: mixed_deadline_1 1, mixed_deadline_2 2, mixed_deadline_5 5;
    cancel: mixed_cancel_1 1, mixed_cancel_2 2, mixed_cancel_5 5;
    close: mixed_close_1 1, mixed_close_2 2, mixed_close_5 5;
    terminate: mixed_terminate_1 1, mixed_terminate_2 2, mixed_terminate_5 5;
}
