//! Workers that cannot be started: F17, no descriptors; F18, a crash loop; F30, around the descriptors a pool needs.

use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use procession::{ErrorKind, Pool, StartMethod};
use procession_harness::{
    Account, Blame, Fate, Ledger, Report, Signal, Start, Told, repetitions, send_signal, wait_until,
};
use procession_tasks::faults;

use crate::deaths::{SEGV, segfault};
use crate::fault::{ANY, Fault};
use crate::matrix::{LIMIT, REPORT_LIMIT, WORKERS, check_on, goes_on, scenes};

/// Items of a call.
const ITEMS: u32 = 100;

static SEGFAULT: Fault = Fault::deadly(segfault, SEGV);

#[procession::task]
fn die_at_start(path: String) {
    Ledger::note(path, "born");
    faults::segv();
}

#[procession::task]
fn note(path: String, x: u32) -> u32 {
    Start::note(&path, x);
    x
}

fn open_descriptors() -> u64 {
    // Without the one that the listing itself has.
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count() as u64 - 1
}

/// Both limits, so that nobody can raise the one that counts. They only ever sink.
fn limit_descriptors(most: u64) {
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("a limit may be lowered");
}

/// Takes every descriptor that there is or becomes free, until told not to. Says when there are none for the first time.
fn take_descriptors(are_none: &Sender<()>, is_over: &AtomicBool) {
    let mut taken = Vec::new();
    while !is_over.load(Ordering::Acquire) {
        match File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(_) => {
                // It is heard once.
                let _ = are_none.send(());
                thread::yield_now();
            }
        }
    }
}

/// What a pool says it needs.
fn descriptors_needed(workers: usize) -> u64 {
    32 + 12 * workers as u64
}

procession_harness::cases! {
    /// Nothing is charged, and once there are descriptors again the pool goes on.
    fn f17_no_descriptors_for_replacements() {
        let mut report = Report::new("f17_no_descriptors_for_replacements");
        limit_descriptors(300);
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            goes_on(&pool);
            let ledger = Ledger::new("starts");
            let victims = pool.worker_pids();
            let is_over = AtomicBool::new(false);
            let mut handle = thread::scope(|scope| {
                let (sender, are_none) = channel();
                scope.spawn(|| take_descriptors(&{ sender }, &is_over));
                are_none.recv_timeout(LIMIT).expect("there are only so many");
                victims.iter().for_each(|pid| send_signal(*pid, Signal::SIGKILL));
                let gone = wait_until(LIMIT, || !victims.iter().any(|pid| pool.worker_pids().contains(pid)));
                let rows: Vec<_> = (0..ITEMS).map(|x| (ledger.path(), x)).collect();
                let handle = pool.starmap_async(note, rows);
                // Long enough for some vain starts.
                let _ = handle.wait(Some(Duration::from_millis(150)));
                is_over.store(true, Ordering::Release);
                assert!(gone, "{victims:?}, then {:?}", pool.worker_pids());
                handle
            });
            let values = handle.get_timeout(LIMIT).expect("it goes on").unwrap();
            let told = Told::Each(values.into_iter().map(Ok).collect());
            report.add(Account::of(ITEMS, &|x| x).check(&told, &Start::all(ledger.path())), None);
            goes_on(&pool);
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }

    fn f18_crash_loop_at_start() {
        let mut report = Report::new("f18_crash_loop_at_start");
        scenes(|builder, workers| {
            let (born, ledger) = (Ledger::new("born"), Ledger::new("starts"));
            let pool = builder.initializer(die_at_start, (born.path(),)).build().unwrap();
            let handles: Vec<_> = (0..ITEMS).map(|x| pool.apply_async(note, (ledger.path(), x))).collect();
            let outcomes = handles.into_iter().map_while(|mut handle| handle.get_timeout(LIMIT)).collect();
            // It says what the last one died of. None was started.
            let broken = Blame { kind: ErrorKind::Broken, exits: ANY, words: "signal 11 (SIGSEGV)" };
            let account = Account {
                fate: &|_| Fate::Fails(broken),
                starts_max: 0,
                is_single: true,
                ..Account::of(ITEMS, &|x| x)
            };
            report.add(account.check(&Told::Each(outcomes), &Start::all(ledger.path())), None);
            let limit = (3 * workers).max(5);
            let starts = born.lines().len();
            assert!((limit..=limit + workers + 1).contains(&starts), "{starts} starts of {workers} workers");
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Broken);
        });
        report.finish(REPORT_LIMIT);
    }

    /// One more, and as many as it needs, are enough, whoever dies; one less is refused in words. From many workers to
    /// few, as a limit that was lowered cannot be raised again.
    fn f30_descriptors_around_what_is_needed() {
        let mut report = Report::new("f30_descriptors_around_what_is_needed");
        for workers in [40].into_iter().chain(WORKERS.into_iter().rev()) {
            let all = open_descriptors() + descriptors_needed(workers);
            for spare in [1, 0] {
                limit_descriptors(all + spare);
                let methods = [StartMethod::ForkServer, StartMethod::Spawn].into_iter();
                for method in methods.flat_map(|method| (0..repetitions()).map(move |_| method)) {
                    eprintln!("{workers} workers, {method:?}, {spare} to spare, {} open", open_descriptors());
                    let pool = Pool::builder().workers(workers).start_method(method).build().unwrap();
                    check_on(&pool, "f01_segfault", &SEGFAULT, &mut report);
                    pool.close().unwrap();
                    drop(pool);
                    let at_rest = wait_until(LIMIT, || open_descriptors() + descriptors_needed(workers) <= all);
                    assert!(at_rest, "{} descriptors are open", open_descriptors());
                }
            }
            limit_descriptors(all - 1);
            let error = Pool::builder().workers(workers).build().expect_err("one is missing");
            assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
            let need = format!("{workers} workers need {} more descriptors", descriptors_needed(workers));
            assert!(error.to_string().contains(&need), "{error}");
        }
        report.finish(REPORT_LIMIT);
    }
}
