//! Workers that die: exactly the items that killed them are lost, whatever the way, the verb and the chunk.

use std::collections::BTreeMap;

use procession::{Error, ErrorKind, Pool, PoolBuilder, Task, WorkerExit};
use procession_harness::Ledger;
use procession_tasks::faults;

use crate::scenes::{both, counts, outcomes};
use crate::tasks::{DEATHS, risky, risky_always, risky_at_first};

type Risky = fn(String, i64, Vec<i64>, String) -> i64;

const ITEMS: i64 = 250;
const BAD: [i64; 3] = [0, 130, 249];

/// Segfaults for every tenth.
#[procession::task]
fn one_in_ten(x: i64) -> i64 {
    if x % 10 == 7 {
        faults::segv();
    }
    3 * x
}

/// The two ways to cut the work.
fn chunked(task: Task<Risky>) -> [Task<Risky>; 2] {
    [task.chunk_size(100), task]
}

fn rows(ledger: &Ledger, items: i64, how: &str) -> Vec<(String, i64, Vec<i64>, String)> {
    let row = |x| (ledger.path(), x, BAD.to_vec(), how.to_owned());
    (0..items).map(row).collect()
}

/// Each item has its own value, or its own loss.
fn check_outcomes(outcomes: &[Result<i64, Error>], how: &str, told: &str, item_of: impl Fn(i64) -> u64) {
    assert_eq!(outcomes.len() as i64, ITEMS);
    for (x, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(value) => assert_eq!((*value, BAD.contains(&x)), (3 * x, false), "item {x}"),
            Err(error) => {
                assert!(BAD.contains(&x), "{how}: item {x} is innocent: {error}");
                check_loss(error, how, told, item_of(x));
            }
        }
    }
}

fn check_loss(error: &Error, how: &str, told: &str, item: u64) {
    let exit = match how {
        "segv" => WorkerExit::Signal(11),
        "abort" => WorkerExit::Signal(6),
        "kill" => WorkerExit::Signal(9),
        "exit0" => WorkerExit::Code(0),
        _ => WorkerExit::Code(3),
    };
    assert_eq!((error.kind(), error.exit()), (ErrorKind::WorkerLost, Some(exit)), "{error}");
    assert_eq!((error.item(), error.attempts()), (Some(item), 1), "{error}");
    assert!(error.task().is_some_and(|task| task.ends_with("::risky")), "{error}");
    let text = error.to_string();
    for part in [told, "risky`", &format!("item {item}"), "attempt 1"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

/// Every item was started once, or not at all where a map ended before it.
fn check_starts(ledger: &Ledger, all: bool) {
    let counts = counts(ledger);
    assert!(counts.values().all(|starts| *starts == 1), "{counts:?}");
    assert!(!all || counts.len() as i64 == ITEMS, "{} items were started", counts.len());
}

fn check(how: &str) {
    let told = DEATHS.iter().find(|(name, _)| *name == how).expect("a way to die").1;
    both(3, |builder| {
        let pool = builder.build().unwrap();
        for task in chunked(risky) {
            check_map(&pool, task, how, told);
            check_imap(&pool, task, how, told);
        }
        check_apply_async(&pool, how, told);
        pool.close().unwrap();
    });
}

fn check_map(pool: &Pool, task: Task<Risky>, how: &str, told: &str) {
    let ledger = Ledger::new("map");
    // The first failing one by index.
    let error = pool.starmap(task, rows(&ledger, ITEMS, how)).unwrap_err();
    check_loss(&error, how, told, 0);
    check_starts(&ledger, false);
    let ledger = Ledger::new("map_async");
    let error = pool.starmap_async(task, rows(&ledger, ITEMS, how)).get().unwrap_err();
    check_loss(&error, how, told, 0);
    check_starts(&ledger, true);
}

fn check_imap(pool: &Pool, task: Task<Risky>, how: &str, told: &str) {
    let ledger = Ledger::new("imap");
    let outcomes: Vec<_> = pool.istarmap(task, rows(&ledger, ITEMS, how)).collect();
    check_outcomes(&outcomes, how, told, |x| x as u64);
    check_starts(&ledger, true);

    let ledger = Ledger::new("unordered");
    let outcomes = pool.istarmap_unordered(task, rows(&ledger, ITEMS, how));
    let by_item: BTreeMap<i64, _> = outcomes
        .map(|outcome| match &outcome {
            Ok(value) => (value / 3, outcome),
            Err(error) => (error.item().expect("it names its item") as i64, outcome),
        })
        .collect();
    let in_order: Vec<_> = by_item.into_values().collect();
    check_outcomes(&in_order, how, told, |x| x as u64);
    check_starts(&ledger, true);
}

fn check_apply_async(pool: &Pool, how: &str, told: &str) {
    let ledger = Ledger::new("apply_async");
    let rows = rows(&ledger, ITEMS, how);
    let handles = rows.into_iter().map(|row| pool.apply_async(risky, row)).collect();
    // A call of its own has one item.
    check_outcomes(&outcomes(handles), how, told, |_| 0);
    check_starts(&ledger, true);
}

/// Runs `body` on a pool of each kind, for each way to die and to cut the work.
fn each_death(task: Task<Risky>, body: impl Fn(&[Result<i64, Error>], &Ledger, &str)) {
    both(2, |builder: PoolBuilder| {
        let pool = builder.build().unwrap();
        for (how, told) in DEATHS {
            for task in chunked(task) {
                let ledger = Ledger::new("ledger");
                let outcomes: Vec<_> = pool.istarmap(task, rows(&ledger, ITEMS, how)).collect();
                body(&outcomes, &ledger, told);
            }
        }
        pool.close().unwrap();
    });
}

fn expected_starts(bad: u32) -> BTreeMap<String, u32> {
    (0..ITEMS).map(|x| (x.to_string(), if BAD.contains(&x) { bad } else { 1 })).collect()
}

procession_harness::cases! {
    fn crash_by_segv() { check("segv") }
    fn crash_by_abort() { check("abort") }
    fn crash_by_kill() { check("kill") }
    fn crash_by_exit_0() { check("exit0") }
    fn crash_by_exit_3() { check("exit3") }

    fn idempotent_items_are_run_again() {
        each_death(risky_at_first, |outcomes, ledger, _| {
            for (x, outcome) in (0..).zip(outcomes) {
                assert_eq!(outcome.as_ref().map_err(Error::to_string), Ok(&(3 * x)));
            }
            assert_eq!(counts(ledger), expected_starts(2), "nothing else was run again");
        });
    }

    fn items_that_kill_every_worker_are_quarantined() {
        each_death(risky_always, |outcomes, ledger, told| {
            for (x, outcome) in (0..).zip(outcomes) {
                match outcome {
                    Ok(value) => assert_eq!((*value, BAD.contains(&x)), (3 * x, false)),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Quarantined, "{error}");
                        assert_eq!((error.item(), error.attempts()), (Some(x as u64), 3), "{error}");
                        let text = error.to_string();
                        assert_eq!(text.matches(told).count(), 3, "every cause is named: {text}");
                    }
                }
            }
            assert_eq!(counts(ledger), expected_starts(3), "nothing else was run again");
        });
    }

    /// A tenth of them, so that most chunks lose their worker several times, whoever cuts them.
    fn one_item_in_ten_of_many_is_lost() {
        const MANY: i64 = 10_000;
        let pool = Pool::builder().workers(2).build().unwrap();
        for task in [one_in_ten, one_in_ten.chunk_size(100)] {
            let outcomes: Vec<_> = pool.imap(task, 0..MANY).collect();
            assert_eq!(outcomes.len() as i64, MANY);
            for (x, outcome) in (0..).zip(&outcomes) {
                match outcome {
                    Ok(value) => assert_eq!((*value, x % 10 == 7), (3 * x, false), "item {x}"),
                    Err(error) => {
                        assert_eq!(x % 10, 7, "item {x} is innocent: {error}");
                        let found = (error.kind(), error.exit(), error.item(), error.attempts());
                        let lost = (ErrorKind::WorkerLost, Some(WorkerExit::Signal(11)), Some(x as u64), 1);
                        assert_eq!(found, lost, "{error}");
                        assert!(error.to_string().contains(&format!("item {x},")), "{error}");
                    }
                }
            }
            let values = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            assert_eq!((values, outcomes.len() - values), (9_000, 1_000));
        }
        let handle = pool.map_async(one_in_ten.chunk_size(100), 0..MANY);
        let error = handle.get().unwrap_err();
        assert_eq!((error.kind(), error.item()), (ErrorKind::WorkerLost, Some(7)), "the first by index");
        pool.close().unwrap();
    }

    fn the_number_of_attempts_can_be_chosen() {
        both(2, |builder| {
            let pool = builder.max_attempts(2).build().unwrap();
            let ledger = Ledger::new("ledger");
            let row = |x| (ledger.path(), x, vec![0], "kill".to_owned());
            let error = pool.apply(risky_always, row(0)).unwrap_err();
            assert_eq!((error.kind(), error.attempts()), (ErrorKind::Quarantined, 2), "the pool's");
            let error = pool.apply(risky_always.max_attempts(1), row(0)).unwrap_err();
            assert_eq!((error.kind(), error.attempts()), (ErrorKind::WorkerLost, 1), "the call's");
            assert_eq!(counts(&ledger)["0"], 3);
            pool.close().unwrap();
        });
    }

    fn every_task_kills_its_worker() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let ledger = Ledger::new("ledger");
            let all: Vec<i64> = (0..ITEMS).collect();
            let rows = (0..ITEMS).map(|x| (ledger.path(), x, all.clone(), "abort".to_owned()));
            let outcomes: Vec<_> = pool.istarmap(risky, rows).collect();
            assert!(outcomes.len() <= ITEMS as usize);
            let lost = outcomes
                .iter()
                .take_while(|outcome| matches!(outcome, Err(error) if error.kind() == ErrorKind::WorkerLost))
                .count();
            assert!((1..=30).contains(&lost), "{lost} were lost before it was given up");
            let last = outcomes.last().expect("outcomes").as_ref().unwrap_err();
            assert_eq!(last.kind(), ErrorKind::Broken, "{last}");
            assert!(last.to_string().contains("every task kills its worker"), "{last}");
            assert!(ledger.lines().len() <= 30);
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Broken);
        });
    }
}
