//! One fault under every verb, number of workers and start method, and the one check of what came of it.
//!
//! In each call most items do nothing, and some commit the fault: at their only start, at the first of several, or
//! at every one. It does not know which faults there are.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use procession::{Error, ErrorKind, Pool, PoolBuilder, StartMethod, Task};
use procession_harness::{
    Account, Blame, Failure, Fate, Ledger, Report, Start, Tally, Told, hear, now, repetitions, wait_until,
    worst_report,
};
use serde::{Deserialize, Serialize};

use crate::fault::{Again, Fault};

/// No event that a test waits for takes as long, on the busiest machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Items of a call.
const ITEMS: u32 = 30;

/// How many workers there are, from one to more than there are cores.
pub(crate) const WORKERS: [usize; 4] = [1, 2, 5, 13];

/// A crash is reported within 250 ms; ten times that where tests share a machine with others.
pub(crate) const REPORT_LIMIT: Duration = Duration::from_millis(2_500);

/// The verbs.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Map,
    Starmap,
    ApplyAsync,
    Imap,
}

const VERBS: [Verb; 4] = [Verb::Map, Verb::Starmap, Verb::ApplyAsync, Verb::Imap];

/// What items are declared to be, and when those that commit the fault do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Declared {
    /// Run once at most.
    Once,
    /// May be run again, and fails at first only.
    Again,
    /// May be run again, and fails every time.
    Poison,
}

const DECLARED: [Declared; 3] = [Declared::Once, Declared::Again, Declared::Poison];

/// One item's argument.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Item {
    ledger: String,
    salt: u64,
    x: u32,
    /// Its fault among [`Fault`]s, and up to which attempt it is committed.
    fault: Option<(u32, u32)>,
}

/// Depends on every input of an item, so that no other item's value can stand for it.
fn value(salt: u64, x: u32) -> u64 {
    (u64::from(x) ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn run(item: &Item) -> u64 {
    Start::note(&item.ledger, item.x);
    let attempt = procession::current().expect("this is a task").attempt();
    if let Some((fault, until)) = item.fault
        && attempt <= until
    {
        (FAULTS[fault as usize].1.commit)();
    }
    value(item.salt, item.x)
}

#[procession::task]
fn once(item: Item) -> u64 {
    run(&item)
}

#[procession::task(idempotent)]
fn repeatable(item: Item) -> u64 {
    run(&item)
}

#[procession::task]
fn once_of_two(item: Item, x: u32) -> u64 {
    assert_eq!(item.x, x, "arguments stay together");
    run(&item)
}

#[procession::task(idempotent)]
fn repeatable_of_two(item: Item, x: u32) -> u64 {
    assert_eq!(item.x, x, "arguments stay together");
    run(&item)
}

/// All faults that items commit, with their names; filled by [`matrix!`](crate::matrix!).
#[procession_harness::linkme::distributed_slice]
#[linkme(crate = procession_harness::linkme)]
pub(crate) static FAULTS: [(&'static str, Fault)];

/// Defines a test for each fault.
#[macro_export]
macro_rules! matrix {
    ($($(#[$meta:meta])* $name:ident = $fault:expr;)*) => {
        $(
            const _: () = {
                #[procession_harness::linkme::distributed_slice($crate::matrix::FAULTS)]
                #[linkme(crate = procession_harness::linkme)]
                static FAULT: (&str, $crate::fault::Fault) = (stringify!($name), $fault);
            };
        )*
        procession_harness::cases! {
            $($(#[$meta])* fn $name() { $crate::matrix::check(stringify!($name)) })*
        }
    };
}

/// A pool's call and its books.
struct Call<'a> {
    pool: &'a Pool,
    fault: (u32, &'static Fault),
    verb: Verb,
    declared: Declared,
    seed: u32,
}

/// As [`check`], on one pool that a test has made in its own way, with every verb and declaration.
pub(crate) fn check_on(pool: &Pool, name: &str, fault: &'static Fault, report: &mut Report) {
    let index = FAULTS.iter().position(|(of, _)| *of == name).expect("the fault is in the list");
    for (seed, declared) in (0..).zip(DECLARED) {
        for verb in VERBS {
            let (tally, worst) = Call { pool, fault: (index as u32, fault), verb, declared, seed }.run();
            report.add(tally, worst);
        }
    }
    goes_on(pool);
}

/// Runs `body` with a description of a pool for each number of workers and each start method that any program can use,
/// as often as is wanted.
pub(crate) fn scenes(mut body: impl FnMut(PoolBuilder, usize)) {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        for workers in WORKERS {
            for _ in 0..repetitions() {
                // Shown when the test fails.
                eprintln!("with {method:?}, {workers} workers:");
                let builder = Pool::builder().workers(workers).start_method(method);
                body(builder.grace(Duration::from_millis(100)), workers);
            }
        }
    }
}

/// Commits the fault in every scene, as often as is wanted.
pub(crate) fn check(name: &'static str) {
    let index = FAULTS.iter().position(|(of, _)| *of == name).expect("the fault is in the list");
    let fault = (index as u32, &FAULTS[index].1);
    let mut report = Report::new(name);
    let mut scene = index as u32;
    for method in [StartMethod::Fork, StartMethod::ForkServer, StartMethod::Spawn] {
        for workers in WORKERS {
            scene += 1;
            // Shown when the test fails.
            eprintln!("with {method:?}, {workers} workers:");
            let pool = build(fault.1, method, workers);
            for repetition in 0..repetitions() {
                let call = |verb: Verb| {
                    let seed = scene * 1_000 + repetition * 7 + verb as u32;
                    let declared = DECLARED[(scene + repetition + verb as u32) as usize % DECLARED.len()];
                    Call { pool: &pool, fault, verb, declared, seed }
                };
                let tallies: Vec<_> = if fault.1.is_slow {
                    thread::scope(|scope| {
                        let calls = VERBS.map(|verb| scope.spawn(move || call(verb).run()));
                        calls.map(|call| call.join().expect("the caller's thread does not panic")).into()
                    })
                } else {
                    VERBS.map(|verb| call(verb).run()).into()
                };
                tallies.into_iter().for_each(|(tally, worst)| report.add(tally, worst));
            }
            if fault.1.bystanders == 0 {
                goes_on(&pool);
            } else {
                // A worker may not have been found out yet, and cost what runs in it then.
                assert_eq!(
                    pool.map(triple_again, 0..100).unwrap(),
                    (0..100).map(|x| 3 * x).collect::<Vec<_>>()
                );
            }
            pool.close().unwrap();
        }
    }
    report.finish(REPORT_LIMIT);
}

/// The pool of a scene.
fn build(fault: &Fault, method: StartMethod, workers: usize) -> Pool {
    if method == StartMethod::Fork {
        wait_single();
    }
    let builder = Pool::builder().workers(workers).start_method(method).grace(Duration::from_millis(100));
    (fault.options)(builder).build().unwrap()
}

/// Waits until the threads of the last pool are gone, as start method `fork` needs.
pub(crate) fn wait_single() {
    let threads = || std::fs::read_dir("/proc/self/task").expect("/proc is mounted").count();
    assert!(wait_until(LIMIT, || threads() == 1), "{} threads are left", threads());
}

#[procession::task]
pub(crate) fn triple(x: i64) -> i64 {
    3 * x
}

#[procession::task(idempotent)]
fn triple_again(x: i64) -> i64 {
    3 * x
}

/// The pool maps a hundred items that do nothing.
pub(crate) fn goes_on(pool: &Pool) {
    assert_eq!(pool.map(triple, 0..100).unwrap(), (0..100).map(|x| 3 * x).collect::<Vec<_>>());
}

/// What the caller was told, and when it was told of failures.
type Heard = (Told<u64>, Vec<Failure>);

impl Call<'_> {
    /// Makes the call and checks what came of it; the longest time from a start to the failure it led to, if any did.
    fn run(&self) -> (Tally, Option<Duration>) {
        let ledger = Ledger::new(&format!("starts-{:?}", self.verb));
        let items: Vec<Item> = (0..ITEMS).map(|x| self.item(&ledger, x)).collect();
        let (told, heard) = self.make(items);
        let starts = Start::all(ledger.path());
        let salt = u64::from(self.seed);
        let bad = (0..ITEMS).filter(|x| self.is_bad(*x)).count() as u32;
        let account = Account {
            items: ITEMS,
            fate: &|x| self.fate(x),
            value: &|x| value(salt, x),
            starts_max: if self.declared == Declared::Once { 1 } else { 3 },
            is_single: matches!(self.verb, Verb::ApplyAsync),
            bystanders_max: if self.declared == Declared::Once { bad * self.fault.1.bystanders } else { 0 },
            bystander: self.fault.1.bystander,
            is_overcharged: self.fault.1.is_overcharged,
        };
        let mut tally = account.check(&told, &starts);
        let scene = format!("{:?}, {:?}, seed {}: ", self.verb, self.declared, self.seed);
        tally.violations.iter_mut().for_each(|violation| violation.insert_str(0, &scene));
        (tally, worst_report(&heard, &starts))
    }

    fn item(&self, ledger: &Ledger, x: u32) -> Item {
        let until = if self.declared == Declared::Again { 1 } else { u32::MAX };
        let fault = self.is_bad(x).then_some((self.fault.0, until));
        Item { ledger: ledger.path(), salt: u64::from(self.seed), x, fault }
    }

    fn is_bad(&self, x: u32) -> bool {
        let first = self.seed % ITEMS;
        // A poison item takes several workers with it.
        x == first || (self.declared != Declared::Poison && x == (first + ITEMS / 3) % ITEMS)
    }

    fn fate(&self, x: u32) -> Fate {
        let Fault { fate, again, .. } = *self.fault.1;
        match (self.declared, again, fate) {
            _ if !self.is_bad(x) => Fate::Value,
            (Declared::Once, ..) | (_, Again::Never, _) => fate,
            (Declared::Again, ..) => Fate::Value,
            (Declared::Poison, Again::Quarantined, Fate::Fails(blame)) => {
                let words =
                    if blame.words == "worker lost" { "every attempt lost its worker" } else { blame.words };
                Fate::Fails(Blame { kind: ErrorKind::Quarantined, words, ..blame })
            }
            (Declared::Poison, Again::Quarantined, Fate::ValueOr(blame)) => {
                Fate::ValueOr(Blame { kind: ErrorKind::Quarantined, ..blame })
            }
            (Declared::Poison, Again::Quarantined, Fate::Value) => Fate::Value,
        }
    }

    fn make(&self, items: Vec<Item>) -> Heard {
        let one = if self.declared == Declared::Once { once } else { repeatable };
        let two = if self.declared == Declared::Once { once_of_two } else { repeatable_of_two };
        let (one, two) = (self.with_options(one), self.with_options(two));
        match self.verb {
            Verb::Map => (of_all(self.pool.map(one, items)), Vec::new()),
            Verb::Starmap => {
                let rows: Vec<_> = items.into_iter().map(|item| (item.clone(), item.x)).collect();
                (of_all(self.pool.starmap(two, rows)), Vec::new())
            }
            Verb::ApplyAsync => self.apply_async(one, items),
            Verb::Imap => hear(self.pool.imap(one, items)),
        }
    }

    /// Some in chunks, some as the pool has it.
    fn with_options<F>(&self, task: Task<F>) -> Task<F> {
        let task = match self.fault.1.limit {
            Some(limit) => task.timeout(limit),
            None => task,
        };
        if self.seed.is_multiple_of(2) { task.chunk_size(10) } else { task }
    }

    fn apply_async(&self, task: Task<fn(Item) -> u64>, items: Vec<Item>) -> Heard {
        let (sender, heard) = channel();
        let call = |item: Item| {
            let (x, sender) = (item.x, sender.clone());
            let tell = move |outcome: Result<&u64, &Error>| {
                if outcome.is_err() {
                    let failure = Failure { item: x, at: now(), turn: Duration::ZERO };
                    sender.send(failure).expect("the other end is there until all have been heard");
                }
            };
            self.pool.apply_async(task, (item,)).on_done(tell)
        };
        let handles: Vec<_> = items.into_iter().map(call).collect();
        // One that never comes is missing, which is what the check looks for.
        let outcomes = handles.into_iter().map_while(|mut handle| handle.get_timeout(LIMIT)).collect();
        (Told::Each(outcomes), heard.try_iter().collect())
    }
}

/// A map tells all values, or the first failure.
fn of_all(result: Result<Vec<u64>, Error>) -> Told<u64> {
    match result {
        Ok(values) => Told::Each(values.into_iter().map(Ok).collect()),
        Err(error) => Told::First(error),
    }
}
