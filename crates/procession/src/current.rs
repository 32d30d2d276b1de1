//! What a task can ask about itself: which item it is, and what its worker's initializer left for it.
//!
//! Everything lives in thread-locals of the worker's one thread, so a task that starts threads of its own passes on
//! what they need. This file must not know processes, channels or frames.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

thread_local! {
    static RUNNING: Running = const { Running { shared: Cell::new(None), index: Cell::new(0) } };
    static STATE: RefCell<Vec<(TypeId, &'static dyn Any)>> = const { RefCell::new(Vec::new()) };
}

/// What is known of the running item: what it shares with those that run next to it, and its index.
struct Running {
    shared: Cell<Option<Shared>>,
    index: Cell<u64>,
}

#[derive(Clone, Copy)]
struct Shared {
    attempt: u32,
    worker_id: u32,
    task: &'static str,
    deadline: Option<Instant>,
}

/// The item that is running. [`current`] returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    index: u64,
    attempt: u32,
    worker_id: u32,
    task: &'static str,
    deadline: Option<Instant>,
}

impl Current {
    /// Position of the item in its call's input, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Which start of this item this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// A number that is the same for every attempt of this item, also in a later run of the program: made from the
    /// task's path and the item's index alone. Good for naming files, and as an idempotency key.
    #[must_use]
    pub fn key(&self) -> u64 {
        // FNV-1a: fixed for ever, unlike std's hashers.
        let index = self.index.to_le_bytes();
        self.task.bytes().chain([0]).chain(index).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// The seat of this worker in its pool, from 0. A replacement has the seat of the worker it replaces.
    #[must_use]
    pub fn worker_id(&self) -> u32 {
        self.worker_id
    }

    /// When the item's time limit is over, if it has one and the pool is not paused meanwhile.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// The item that this task runs for. `None` outside a worker, and in threads that a task started by itself.
///
/// ```
/// assert!(procession::current().is_none()); // this is no task
/// ```
#[must_use]
pub fn current() -> Option<Current> {
    RUNNING.with(|running| {
        let Shared { attempt, worker_id, task, deadline } = running.shared.get()?;
        Some(Current { index: running.index.get(), attempt, worker_id, task, deadline })
    })
}

/// Leaves a value for the tasks of this worker. Called in an initializer or a preload task.
///
/// There is one value of each type; a later one takes the place of the earlier, which stays valid and is never
/// dropped. After a preload, all workers share the value's memory until they write to it.
pub fn set_worker_state<T: Any + Send>(value: T) {
    let value: &'static T = Box::leak(Box::new(value));
    STATE.with_borrow_mut(|states| {
        states.retain(|(id, _)| *id != TypeId::of::<T>());
        states.push((TypeId::of::<T>(), value));
    });
}

/// What this worker's initializer, or the preload task, set for this type. `None`: nothing, or this is another thread
/// than the worker's own.
#[must_use]
pub fn worker_state<T: Any>() -> Option<&'static T> {
    STATE.with_borrow(|states| {
        let (_, value) = states.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    })
}

/// Runs items that are alike. `run` is given the place where each one's index is to be noted before it begins; a limit
/// counts from now, so items that have one are run one by one.
pub(crate) fn with_current<R>(
    task: &'static str,
    attempt: u32,
    worker_id: u32,
    timeout_ns: u64,
    run: impl FnOnce(&Cell<u64>) -> R,
) -> R {
    // The clock is read only where there is a limit.
    let deadline = match timeout_ns {
        0 => None,
        limit => Instant::now().checked_add(Duration::from_nanos(limit)),
    };
    RUNNING.with(|running| {
        running.shared.set(Some(Shared { attempt, worker_id, task, deadline }));
        let result = run(&running.index);
        running.shared.set(None);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_task_and_index_only() {
        let key = |task, index, attempt, worker| {
            with_current(task, attempt, worker, 0, |noted| {
                noted.set(index);
                current().unwrap().key()
            })
        };
        let first = key("a::b", 1, 1, 1);
        assert_eq!(first, key("a::b", 1, 3, 4));
        assert_ne!(first, key("a::b", 2, 1, 1));
        assert_ne!(first, key("a::c", 1, 1, 1));
        // Written down: keys outlive the program that computed them.
        assert_eq!(key("a::b", 1, 1, 1), 0x8156_f6d3_5bfd_1b7b);
        assert_eq!(current(), None);
    }

    #[test]
    fn a_deadline_exists_where_there_is_a_limit() {
        let deadline_of = |timeout_ns| with_current("a", 1, 0, timeout_ns, |_| current().unwrap().deadline());
        assert_eq!(deadline_of(0), None);
        let before = Instant::now();
        let deadline = deadline_of(1_000_000_000).unwrap();
        assert!(deadline >= before + Duration::from_secs(1));
        assert!(deadline <= Instant::now() + Duration::from_secs(1));
    }

    #[test]
    fn state_is_kept_by_type_and_the_latest_wins() {
        set_worker_state(7_u32);
        set_worker_state("text".to_owned());
        set_worker_state(8_u32);
        assert_eq!(worker_state::<u32>(), Some(&8));
        assert_eq!(worker_state::<String>().map(String::as_str), Some("text"));
        assert_eq!(worker_state::<i8>(), None);
        std::thread::spawn(|| assert_eq!(worker_state::<u32>(), None)).join().unwrap();
    }
}
