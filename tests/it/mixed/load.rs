//! A load that takes every fast path at once: a burst of single calls, a stream of tiny items, and values of megabytes,
//! each of which reads a shared slice and a broadcast value and notes its start.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use fastrand::Rng;
use procession::{AsyncResult, Broadcast, Error, Pool, Shared, Task};
use procession_harness::wait_until;
use procession_tasks::faults;
use serde::{Deserialize, Serialize};

use crate::scenes::{FOR_EVER, LIMIT, outcomes};

/// How many items of each kind there are. The last are fewer, of 1 to 8 MiB.
pub(crate) const ITEMS: [u32; 3] = [3_000, 200_000, 12];

/// By what verb an item comes, and with how large a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    Single,
    Tiny,
    Large,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Single, Kind::Tiny, Kind::Large];

/// What all items of a load are told, as a broadcast value.
#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    starts: PathBuf,
    salt: u64,
    /// Items that end their process whenever they run.
    pub(crate) fatal: BTreeSet<(Kind, u32)>,
    /// Items that do not end.
    pub(crate) endless: BTreeSet<(Kind, u32)>,
}

/// One item; the large ones have their bytes beside it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Item {
    table: Shared<u64>,
    plan: Broadcast<Plan>,
    kind: Kind,
    x: u32,
}

/// What an item notes when it starts.
pub(crate) struct Start {
    pub(crate) kind: Kind,
    pub(crate) x: u32,
    pub(crate) pid: u32,
}

/// Its length in the file. It divides the size of a page: of a record on two of them a process that is killed may have
/// written the first part alone.
const START_BYTES: usize = 16;

/// Notes the start, then does as planned; the item's value.
fn run(item: &Item) -> u64 {
    thread_local! {
        // A worker serves one pool, and so one load: opened once, an item costs one write.
        static STARTS: OnceCell<File> = const { OnceCell::new() };
    }
    let record = [item.kind as u32, item.x, std::process::id(), 0].map(u32::to_le_bytes).concat();
    STARTS.with(|starts| {
        let open = || File::options().append(true).open(&item.plan.starts).expect("the load's file exists");
        starts.get_or_init(open).write_all(&record).expect("the load's file is writable");
    });
    if item.plan.fatal.contains(&(item.kind, item.x)) {
        faults::segv();
    }
    if item.plan.endless.contains(&(item.kind, item.x)) {
        faults::sleep(FOR_EVER);
    }
    value(&item.table, item.plan.salt, item.kind, item.x)
}

/// Depends on every input of an item, so that no other item's value can stand for it.
fn value(table: &[u64], salt: u64, kind: Kind, x: u32) -> u64 {
    table[x as usize % table.len()].rotate_left(x % 64) ^ salt ^ (u64::from(x) << 2 | kind as u64)
}

#[procession::task]
pub(crate) fn once(item: Item) -> u64 {
    run(&item)
}

#[procession::task(idempotent)]
pub(crate) fn again(item: Item) -> u64 {
    run(&item)
}

/// A large item's result: its value, and its bytes turned by that.
pub(crate) type Turned = (u64, Vec<u8>);

fn turn(item: &Item, mut bytes: Vec<u8>) -> Turned {
    let value = run(item);
    let by = value as usize % bytes.len();
    bytes.rotate_left(by);
    (value, bytes)
}

#[procession::task]
pub(crate) fn turn_once(item: Item, bytes: Vec<u8>) -> Turned {
    turn(&item, bytes)
}

#[procession::task(idempotent)]
pub(crate) fn turn_again(item: Item, bytes: Vec<u8>) -> Turned {
    turn(&item, bytes)
}

/// The tasks that a load's items are calls of.
#[derive(Clone, Copy)]
pub(crate) struct Tasks {
    pub(crate) single: Task<fn(Item) -> u64>,
    pub(crate) tiny: Task<fn(Item) -> u64>,
    pub(crate) large: Task<fn(Item, Vec<u8>) -> Turned>,
    pub(crate) verb: Verb,
}

/// Items that are started once at most.
pub(crate) const ONCE: Tasks = Tasks { single: once, tiny: once, large: turn_once, verb: Verb::Imap };

/// Items that may be started again.
pub(crate) const AGAIN: Tasks = Tasks { single: again, tiny: again, large: turn_again, verb: Verb::Imap };

/// How the tiny items are called.
#[derive(Clone, Copy)]
pub(crate) enum Verb {
    Imap,
    /// Every item must have a value.
    Map,
}

pub(crate) type Outcomes = [Vec<Result<u64, Error>>; 3];

/// The owner's side: what is shared, and what the items have noted.
pub(crate) struct Load {
    pub(crate) plan: Broadcast<Plan>,
    table: Shared<u64>,
    starts: PathBuf,
    bytes: Vec<u8>,
}

/// What goes on while a load is under way.
pub(crate) struct Scene<'a> {
    pub(crate) pool: &'a Pool,
    load: &'a Load,
    threads_left: &'a AtomicU32,
}

impl Load {
    pub(crate) fn new(pool: &Pool, seed: u64, fatal: &[(Kind, u32)], endless: &[(Kind, u32)]) -> Load {
        // Shown when the test fails.
        eprintln!("seed {seed}, {} workers:", pool.workers());
        let starts = std::env::temp_dir().join("starts");
        File::create(&starts).expect("the test's directory is writable");
        let mut random = Rng::with_seed(seed);
        let table: Vec<u64> = (0..100_003).map(|_| random.u64(..)).collect();
        let plan = Plan {
            starts: starts.clone(),
            salt: random.u64(..),
            fatal: fatal.iter().copied().collect(),
            endless: endless.iter().copied().collect(),
        };
        let bytes = (0..9 << 17).flat_map(|_| random.u64(..).to_le_bytes()).collect();
        Load {
            plan: pool.broadcast(&plan).expect("memory"),
            table: pool.share(&table).expect("memory"),
            starts,
            bytes,
        }
    }

    pub(crate) fn item(&self, kind: Kind, x: u32) -> Item {
        Item { table: self.table.clone(), plan: self.plan.clone(), kind, x }
    }

    pub(crate) fn value(&self, kind: Kind, x: u32) -> u64 {
        value(&self.table, self.plan.salt, kind, x)
    }

    fn bytes(&self, x: u32) -> &[u8] {
        let length = ((x as usize * 5) % 8 + 1) << 20;
        &self.bytes[x as usize..][..length + x as usize]
    }

    /// A burst of single calls.
    pub(crate) fn singles(&self, pool: &Pool, tasks: Tasks) -> Vec<AsyncResult<u64>> {
        let singles = 0..ITEMS[0];
        singles.map(|x| pool.apply_async(tasks.single, (self.item(Kind::Single, x),))).collect()
    }

    /// The tiny items, to be streamed or mapped.
    pub(crate) fn tiny(&self) -> impl Iterator<Item = Item> {
        (0..ITEMS[1]).map(|x| self.item(Kind::Tiny, x))
    }

    pub(crate) fn larges(&self, pool: &Pool, tasks: Tasks) -> Vec<AsyncResult<Turned>> {
        let call = |x| pool.apply_async(tasks.large, (self.item(Kind::Large, x), self.bytes(x).to_vec()));
        (0..ITEMS[2]).map(call).collect()
    }

    /// Their outcomes, with the bytes looked at and dropped.
    pub(crate) fn of_larges(&self, handles: Vec<AsyncResult<Turned>>) -> Vec<Result<u64, Error>> {
        let look = |(x, outcome): (u32, Result<Turned, Error>)| {
            outcome.map(|(value, turned)| {
                let bytes = self.bytes(x);
                let by = value as usize % bytes.len();
                let (tail, head) = turned.split_at(turned.len() - by);
                assert!((head, tail) == bytes.split_at(by), "large item {x} has its own bytes");
                value
            })
        };
        (0..).zip(outcomes(handles)).map(look).collect()
    }

    /// Runs all of it, each kind on a thread of its own, and `meanwhile` beside it.
    pub(crate) fn run(&self, pool: &Pool, tasks: Tasks, meanwhile: impl FnOnce(&Scene<'_>)) -> Outcomes {
        let threads_left = AtomicU32::new(3);
        thread::scope(|scope| {
            let threads_left = &threads_left;
            let left = || threads_left.fetch_sub(1, Ordering::AcqRel);
            let larges = scope.spawn(move || {
                let outcomes = self.of_larges(self.larges(pool, tasks));
                left();
                outcomes
            });
            let singles = scope.spawn(move || {
                let outcomes = outcomes(self.singles(pool, tasks));
                left();
                outcomes
            });
            let tiny = scope.spawn(move || {
                let outcomes = match tasks.verb {
                    Verb::Imap => pool.imap(tasks.tiny, self.tiny()).collect(),
                    Verb::Map => pool.map(tasks.tiny, self.tiny()).unwrap().into_iter().map(Ok).collect(),
                };
                left();
                outcomes
            });
            meanwhile(&Scene { pool, load: self, threads_left });
            [singles, tiny, larges].map(|thread| thread.join().expect("the thread's own checks hold"))
        })
    }

    /// Waits until items of every kind have started.
    pub(crate) fn wait_under_way(&self) {
        let reached = wait_until(LIMIT, || {
            let starts = self.starts();
            KINDS.iter().all(|kind| starts.iter().any(|start| start.kind == *kind))
        });
        assert!(reached, "every kind of item is begun in time");
    }

    /// All starts so far, in their order.
    pub(crate) fn starts(&self) -> Vec<Start> {
        let bytes = std::fs::read(&self.starts).expect("the load's file exists");
        let word = |record: &[u8], at: usize| {
            u32::from_le_bytes(record[4 * at..][..4].try_into().expect("the length of a word"))
        };
        let start = |record: &[u8]| Start {
            kind: KINDS[word(record, 0) as usize],
            x: word(record, 1),
            pid: word(record, 2),
        };
        bytes.chunks_exact(START_BYTES).map(start).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.starts);
    }
}

impl Scene<'_> {
    /// Whether some items have no outcome yet.
    pub(crate) fn is_on(&self) -> bool {
        self.threads_left.load(Ordering::Acquire) > 0
    }

    /// The process that began an item last, if it is still a worker's.
    pub(crate) fn busy_worker(&self) -> Option<u32> {
        let pids = self.pool.worker_pids();
        self.load.starts().iter().rev().map(|start| start.pid).find(|pid| pids.contains(pid))
    }

    /// Waits until so many more items have been started, or none is left.
    pub(crate) fn wait_more(&self, items: usize) {
        let now = self.load.starts().len();
        assert!(wait_until(LIMIT, || !self.is_on() || self.load.starts().len() >= now + items));
    }
}

/// So many different items of each kind, in order.
pub(crate) fn draw_items(random: &mut Rng, counts: [usize; 3]) -> Vec<(Kind, u32)> {
    let mut all = Vec::new();
    for (kind, count) in KINDS.into_iter().zip(counts) {
        let mut items = BTreeSet::new();
        while items.len() < count {
            items.insert((kind, random.u32(..ITEMS[kind as usize])));
        }
        all.extend(items);
    }
    all
}
