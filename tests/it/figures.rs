//! What a pool says of its items beside their outcomes: who ran them, for how long, and what that took.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use procession::{ItemFigures, Payload, Pool, StreamOptions, TaskInfo};
use procession_harness::{Gate, Ledger, wait_until};

use crate::scenes::{LIMIT, both, wait_lines};
use crate::tasks::{pid_at_gate, square};

/// Uses so many milliseconds of a processor, however busy that is, and that much more memory.
#[procession::task]
fn toil(ms: u64, bytes: usize) -> usize {
    let memory = std::hint::black_box(vec![1_u8; bytes]);
    let start = cpu_time();
    while cpu_time() < start + Duration::from_millis(ms) {
        std::hint::spin_loop();
    }
    memory.len()
}

/// What this thread has had of a processor.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("it is this thread's own");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::from_micros(time.num_microseconds().unsigned_abs()))
        .sum()
}

#[procession::task]
fn blob(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

/// Arguments that are integers of eight bytes.
fn row(args: &[u64]) -> Payload {
    Payload::from(args.iter().flat_map(|arg| arg.to_le_bytes()).collect::<Vec<u8>>())
}

/// Runs a stream to its end; all figures.
fn figures_of(pool: &Pool, task: &'static TaskInfo, rows: &[Vec<u64>], ordered: bool) -> Vec<ItemFigures> {
    let mut options = StreamOptions::default();
    (options.figures, options.ordered) = (true, ordered);
    let mut stream = pool.stream(task, rows.iter().map(|args| row(args)), options);
    let (mut figures, mut known) = (Vec::new(), vec![false; rows.len()]);
    while let Some((index, outcome)) = stream.next() {
        outcome.unwrap();
        for fresh in stream.take_figures() {
            let items = fresh.first as usize..fresh.first as usize + fresh.items as usize;
            assert!(items.clone().all(|item| !known[item]), "{fresh:?} is told twice");
            known[items].fill(true);
            figures.push(fresh);
        }
        assert!(
            known.is_empty() || known.get(index as usize) != Some(&false),
            "item {index} came without figures"
        );
    }
    assert!(stream.take_figures().is_empty());
    figures
}

procession_harness::cases! {
    fn every_item_has_figures_before_its_outcome() {
        both(3, |builder| {
            let pool = builder.build().unwrap();
            for ordered in [true, false] {
                let rows: Vec<Vec<u64>> = (0..20_000).map(|x| vec![x]).collect();
                let figures = figures_of(&pool, square.info(), &rows, ordered);
                let items: u64 = figures.iter().map(|figures| u64::from(figures.items)).sum();
                assert_eq!(items, 20_000);
                let pids = pool.worker_pids();
                for told in figures {
                    assert!(told.slot < 3 && pids.contains(&told.pid) && told.attempt == 1, "{told:?}");
                    assert!(told.peak_rss > 1 << 20 && told.busy < LIMIT, "{told:?}");
                }
            }
            assert_eq!(figures_of_none(&pool), 0);
        });
    }

    fn a_long_item_has_figures_of_its_own() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let rows = [[30_u64, 1], [1, 1], [60, 64 << 20], [1, 1]].map(Vec::from);
            let started = Instant::now();
            let figures = figures_of(&pool, toil.info(), &rows, false);
            let of = |item: u64| figures.iter().find(|told| told.first == item).expect("it has figures");
            for (item, ms) in [(0, 30), (2, 60)] {
                let told = of(item);
                assert_eq!(told.items, 1, "{told:?}");
                assert!(told.busy >= Duration::from_millis(ms), "{told:?}");
                // The kernel may count in ticks of ten milliseconds.
                assert!(told.cpu >= Duration::from_millis(ms / 3) && told.cpu <= told.busy * 2, "{told:?}");
                assert!(told.ended > started && told.ended <= Instant::now(), "{told:?}");
            }
            assert!(of(2).peak_rss >= 64 << 20, "{:?}", of(2));
        });
    }

    fn large_results_have_figures() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let rows = [10, 3 << 20, 200_000, 5].map(|bytes| vec![bytes]);
            let figures = figures_of(&pool, blob.info(), &rows, true);
            assert_eq!(figures.iter().map(|told| told.items).sum::<u32>(), 4);
            assert!(figures.iter().all(|told| told.peak_rss > 1 << 20), "{figures:?}");
        });
    }

    fn what_a_worker_runs_is_told() {
        both(2, |builder| {
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let pool = builder.build().unwrap();
            let running = || {
                let mut running: Vec<_> =
                    pool.stats().workers.into_iter().filter_map(|worker| worker.running).collect();
                running.sort_by_key(|item| item.item);
                running
            };
            assert!(running().is_empty());
            let rows = (0..2).map(|_| (ledger.path(), gate.path()));
            let handle = pool.starmap_async(pid_at_gate.chunk_size(1), rows);
            wait_lines(&ledger, 2);
            let seen = running();
            assert_eq!(seen.iter().map(|item| item.item).collect::<Vec<_>>(), [0, 1]);
            assert!(seen.iter().all(|item| item.task.ends_with("pid_at_gate") && item.attempt == 1));
            assert!(wait_until(LIMIT, || running().iter().all(|item| item.ran > Duration::from_millis(20))));
            gate.open();
            handle.get().unwrap();
            assert!(wait_until(LIMIT, || running().is_empty()));
        });
    }
}

/// Nobody asked.
fn figures_of_none(pool: &Pool) -> usize {
    let mut stream = pool.stream(square.info(), [row(&[3])], StreamOptions::default());
    assert_eq!(stream.by_ref().count(), 1);
    stream.take_figures().len()
}
