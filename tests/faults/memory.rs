//! What grows: F11, tasks that leak, in workers that are replaced; and I10, a stream of a million items in the master.

use std::collections::BTreeMap;

use procession::Pool;
use procession_harness::{Account, Ledger, Report, Start, Told};
use procession_tasks::faults;

use crate::matrix::{REPORT_LIMIT, goes_on, scenes, triple};

/// Items that a leaking worker may run.
const ITEMS_PER_WORKER: usize = 5;

const ITEMS: u32 = 60;

/// How much the master may grow from ten thousand items to a million.
const GROWTH_MAX: usize = 16 << 20;

/// Notes its start, and keeps a mebibyte for ever.
#[procession::task]
fn leak(path: String, x: u32) -> u32 {
    Start::note(&path, x);
    faults::leak(1 << 20);
    x
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number of pages") * 4096
}

procession_harness::cases! {
    fn f11_leaks_end_with_their_worker() {
        let mut report = Report::new("f11_leaks_end_with_their_worker");
        scenes(|builder, _| {
            let pool = builder.max_tasks_per_worker(ITEMS_PER_WORKER).build().unwrap();
            let ledger = Ledger::new("starts");
            let outcomes: Vec<_> = pool.istarmap(leak, (0..ITEMS).map(|x| (ledger.path(), x))).collect();
            let starts = Start::all(ledger.path());
            let account = Account { starts_max: 1, ..Account::of(ITEMS, &|x| x) };
            report.add(account.check(&Told::Each(outcomes), &starts), None);
            let mut lives = BTreeMap::<u32, usize>::new();
            starts.iter().for_each(|start| *lives.entry(start.pid).or_default() += 1);
            assert!(lives.values().all(|items| *items <= ITEMS_PER_WORKER), "{lives:?}");
            goes_on(&pool);
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }

    fn a_million_streamed_items_take_no_memory() {
        let pool = Pool::builder().workers(2).build().unwrap();
        let (mut seen, mut before) = (0, 0);
        for value in pool.imap(triple, 0..1_000_000) {
            assert_eq!(value.unwrap(), 3 * seen);
            seen += 1;
            if seen == 10_000 {
                before = resident();
            }
        }
        assert_eq!(seen, 1_000_000);
        let after = resident();
        assert!(after <= before + GROWTH_MAX, "{before} bytes, then {after}");
        pool.close().unwrap();
    }
}
