//! What a caller and the driver share about one job: the inbox its outcomes arrive in.
//!
//! The driver delivers outcomes as they come, still encoded; the caller's own thread takes and decodes them.
//! A job is complete when as many outcomes have arrived as it has items, whatever order they came in.
//! This file knows neither workers nor the scheduler.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use procession_core::JobId;

use crate::arrival::Arrival;
use crate::error::Error;
use crate::figures::ItemFigures;
use crate::region::Regions;
use crate::registry::TaskInfo;

/// How long a caller that waits for one short item keeps the processor before it parks: a wake-up costs about
/// as much as a whole round trip, so spinning a few round trips long is the cheaper way to wait.
pub(crate) const SPIN_MAX: Duration = Duration::from_micros(25);

/// The caller's and the driver's common view of a job.
pub(crate) struct Job {
    pub(crate) task: &'static TaskInfo,
    /// The thread that made a lazy call, and pulls its input; `None` for a call whose input is there.
    pub(crate) puller: Option<ThreadId>,
    /// A call of one item, which is there when the call is made.
    is_single: bool,
    /// Its name, from when the scheduler was told of it.
    id: OnceLock<JobId>,
    /// How many more items the scheduler would like to have encoded. A hint: stale by one event at most.
    wanted: AtomicU64,
    /// Counts deliveries, so that a spinning caller sees news without taking the lock.
    news: AtomicU32,
    complete: AtomicBool,
    /// Further input would not run. Set once: the first reason counts.
    stopped: OnceLock<StopReason>,
    /// Shared data that its items refer to, until they have ended and their results are decoded. A leaf.
    regions: Mutex<Regions>,
    /// What its items took, if its caller wants to know. A leaf.
    figures: Option<Mutex<Vec<ItemFigures>>>,
    /// Protects the fields of [`Inbox`]. A leaf: no other lock is taken while it is held.
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

#[derive(Default)]
struct Inbox {
    arrivals: VecDeque<Arrival>,
    /// The outcome of a job of one item, in place of a list.
    only: Option<Arrival>,
    delivered: u64,
    /// Outcomes the caller found itself, without the scheduler.
    own: u64,
    /// How many items the scheduler had, once every one of them is settled; of a single item from the start.
    scheduled: Option<u64>,
    /// Its caller was told that it is cancelled, before all outcomes were in: that is its outcome, whatever else arrives.
    is_cancelled: bool,
    /// The pool failed; outcomes that are missing never come.
    aborted: Option<Error>,
    callbacks: Vec<Box<dyn FnOnce() + Send>>,
    callbacks_running: bool,
    wakers: Vec<Waker>,
}

/// Why further input of a job would not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The pool ends or is broken.
    Pool,
    /// The call's deadline passed.
    Deadline,
    /// The thread that would have to pull it closed the pool instead.
    Closed,
}

/// What a delivery asks of the driver: the callbacks to run, on the callback thread, because the job is complete.
#[must_use]
pub(crate) struct Callbacks(pub(crate) Vec<Box<dyn FnOnce() + Send>>);

impl Job {
    pub(crate) fn new(task: &'static TaskInfo) -> Job {
        Job {
            task,
            puller: None,
            is_single: false,
            id: OnceLock::new(),
            wanted: AtomicU64::new(0),
            news: AtomicU32::new(0),
            complete: AtomicBool::new(false),
            stopped: OnceLock::new(),
            regions: Mutex::default(),
            figures: None,
            inbox: Mutex::new(Inbox::default()),
            arrived: Condvar::new(),
        }
    }

    /// A call of one item.
    pub(crate) fn single(task: &'static TaskInfo) -> Job {
        let inbox = Inbox { scheduled: Some(1), ..Inbox::default() };
        Job { is_single: true, inbox: Mutex::new(inbox), ..Job::new(task) }
    }

    /// A lazy call of this thread.
    pub(crate) fn pulled_here(task: &'static TaskInfo, keeps_figures: bool) -> Job {
        let figures = keeps_figures.then(Mutex::default);
        Job { puller: Some(thread::current().id()), figures, ..Job::new(task) }
    }

    pub(crate) fn set_id(&self, id: JobId) {
        self.id.get_or_init(|| id);
    }

    /// `None`: the scheduler was not told of it yet, or never is because the pool refused it.
    pub(crate) fn id(&self) -> Option<JobId> {
        self.id.get().copied()
    }

    /// Whether more items may come, and only the end of its input tells how many they are.
    pub(crate) fn takes_input(&self) -> bool {
        !self.is_single
    }

    /// Keeps shared data for as long as its items need it.
    pub(crate) fn hold(&self, regions: Regions) {
        if !regions.is_empty() {
            self.regions.lock().append(regions);
        }
    }

    /// All items have ended, and what they returned is decoded.
    pub(crate) fn release(&self) {
        let regions = std::mem::take(&mut *self.regions.lock());
        // Unlocked by now: giving much memory back takes a while.
        drop(regions);
    }

    // Driver's side.

    pub(crate) fn set_wanted(&self, items: u64) {
        self.wanted.store(items, Ordering::Relaxed);
    }

    pub(crate) fn keeps_figures(&self) -> bool {
        self.figures.is_some()
    }

    /// Before the outcomes are delivered, so that whoever has an outcome can have its figures.
    pub(crate) fn note(&self, figures: ItemFigures) {
        if let Some(noted) = &self.figures {
            noted.lock().push(figures);
        }
    }

    /// Hands outcomes in and wakes whoever waits for them.
    pub(crate) fn deliver(&self, arrival: Arrival) -> Callbacks {
        let mut inbox = self.inbox.lock();
        self.put(&mut inbox, arrival);
        self.announce(inbox)
    }

    /// Hands in outcomes of inputs the scheduler never had.
    pub(crate) fn deliver_own(&self, arrival: Arrival) -> Callbacks {
        let mut inbox = self.inbox.lock();
        inbox.own += arrival.items();
        self.put(&mut inbox, arrival);
        self.announce(inbox)
    }

    fn put(&self, inbox: &mut Inbox, arrival: Arrival) {
        inbox.delivered += arrival.items();
        if self.is_single {
            inbox.only = Some(arrival);
        } else {
            inbox.arrivals.push_back(arrival);
        }
    }

    /// The scheduler had exactly `items` items of this job; their outcomes are delivered, or about to be.
    pub(crate) fn settled(&self, items: u64) -> Callbacks {
        let mut inbox = self.inbox.lock();
        inbox.scheduled = Some(items);
        self.announce(inbox)
    }

    /// Outcomes that are missing never come.
    pub(crate) fn abort(&self, error: Error) -> Callbacks {
        let mut inbox = self.inbox.lock();
        inbox.aborted.get_or_insert(error);
        self.announce(inbox)
    }

    fn announce(&self, mut inbox: parking_lot::MutexGuard<'_, Inbox>) -> Callbacks {
        // While some run, later ones wait for them to end.
        let callbacks = if inbox.is_all_in() && !inbox.callbacks_running {
            std::mem::take(&mut inbox.callbacks)
        } else {
            Vec::new()
        };
        inbox.callbacks_running |= !callbacks.is_empty();
        self.wake(inbox);
        Callbacks(callbacks)
    }

    fn wake(&self, mut inbox: parking_lot::MutexGuard<'_, Inbox>) {
        if inbox.is_all_in() && !inbox.callbacks_running {
            self.complete.store(true, Ordering::Release);
        }
        let wakers = std::mem::take(&mut inbox.wakers);
        self.news.fetch_add(1, Ordering::Release);
        drop(inbox);
        self.arrived.notify_all();
        for waker in wakers {
            // It is foreign code, and this may be a thread that all calls depend on.
            if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
                tracing::error!("a waker panicked; the call it waits for goes on");
            }
        }
    }

    /// Further input would not run: the caller need not wait for a wish for more.
    pub(crate) fn stop(&self, reason: StopReason) {
        self.stopped.get_or_init(|| reason);
        self.wake(self.inbox.lock());
    }

    /// The callbacks have run. Those that were registered meanwhile are to run next; without any the job is complete.
    pub(crate) fn callbacks_done(&self) -> Callbacks {
        let mut inbox = self.inbox.lock();
        let late = std::mem::take(&mut inbox.callbacks);
        inbox.callbacks_running = !late.is_empty();
        self.wake(inbox);
        Callbacks(late)
    }

    // Caller's side.

    pub(crate) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn stopped(&self) -> Option<StopReason> {
        self.stopped.get().copied()
    }

    /// Every item has its outcome, and the callbacks have run.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Registers a callback for completion; gives it back when it is too late: the job is complete.
    pub(crate) fn on_complete(&self, callback: Box<dyn FnOnce() + Send>) -> Option<Box<dyn FnOnce() + Send>> {
        let mut inbox = self.inbox.lock();
        if inbox.is_all_in() && !inbox.callbacks_running {
            return Some(callback);
        }
        inbox.callbacks.push(callback);
        None
    }

    /// Decides that the call as a whole is cancelled, unless it has its outcome already (`false`). The decision and the
    /// arrival of the last outcome exclude each other, and nobody decodes before the latter: so whoever looks at the
    /// result, a callback or the handle, finds the same.
    pub(crate) fn cancel(&self) -> bool {
        let mut inbox = self.inbox.lock();
        inbox.is_cancelled |= !inbox.is_all_in();
        inbox.is_cancelled
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.inbox.lock().is_cancelled
    }

    /// Takes everything that has arrived.
    pub(crate) fn take_arrivals(&self) -> VecDeque<Arrival> {
        std::mem::take(&mut self.inbox.lock().arrivals)
    }

    /// Takes what was noted of items since it was last asked.
    pub(crate) fn take_figures(&self) -> Vec<ItemFigures> {
        self.figures.as_ref().map_or_else(Vec::new, |noted| std::mem::take(&mut *noted.lock()))
    }

    /// Takes what has arrived of a job of one item.
    pub(crate) fn take_only(&self) -> Option<Arrival> {
        self.inbox.lock().only.take()
    }

    /// A mark for [`wait_news`](Job::wait_news): take it before looking at the inbox.
    pub(crate) fn mark(&self) -> u32 {
        self.news.load(Ordering::Acquire)
    }

    /// Blocks until something was delivered after `mark`, or the time is over (`false`).
    pub(crate) fn wait_news(&self, mark: u32, until: Option<Instant>) -> bool {
        let mut inbox = self.inbox.lock();
        while self.news.load(Ordering::Acquire) == mark {
            let timed_out = match until {
                Some(until) => self.arrived.wait_until(&mut inbox, until).timed_out(),
                None => {
                    self.arrived.wait(&mut inbox);
                    false
                }
            };
            if timed_out {
                return self.news.load(Ordering::Acquire) != mark;
            }
        }
        true
    }

    /// Blocks until the job is complete, or the time is over (`false`).
    pub(crate) fn wait_complete(&self, until: Option<Instant>) -> bool {
        loop {
            let mark = self.mark();
            if self.is_complete() {
                return true;
            }
            if !self.wait_news(mark, until) {
                return self.is_complete();
            }
        }
    }

    /// Blocks until the job is complete, at first without giving the processor away.
    pub(crate) fn spin_or_wait(&self) {
        if !self.spin() {
            self.wait_complete(None);
        }
    }

    fn spin(&self) -> bool {
        if self.is_complete() {
            return true;
        }
        let start = Instant::now();
        loop {
            for _ in 0..32 {
                if self.is_complete() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() > SPIN_MAX {
                return false;
            }
        }
    }

    /// Calls `waker` at the next delivery; `false` when the job is complete already.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        let mut inbox = self.inbox.lock();
        if self.is_complete() {
            return false;
        }
        if !inbox.wakers.iter().any(|known| known.will_wake(waker)) {
            inbox.wakers.push(waker.clone());
        }
        true
    }

    /// Takes back what [`register`](Job::register) did: somebody waits no longer, and may wait again any number of
    /// times before the job has news.
    pub(crate) fn forget(&self, waker: &Waker) {
        self.inbox.lock().wakers.retain(|known| !known.will_wake(waker));
    }

    /// Why outcomes are missing, if they are.
    pub(crate) fn aborted(&self) -> Option<Error> {
        self.inbox.lock().aborted.as_ref().map(Error::duplicate)
    }
}

impl Inbox {
    fn is_all_in(&self) -> bool {
        self.aborted.is_some() || self.scheduled.is_some_and(|items| items + self.own == self.delivered)
    }
}
