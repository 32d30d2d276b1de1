//! Waiting for several handles at once.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::async_result::AsyncResult;
use crate::driver::deadline;
use crate::error::{Error, ErrorKind};

/// When [`wait`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// When every handle is done.
    All,
    /// When at least one handle is done.
    First,
    /// When at least one handle has failed, or all are done. A cancelled call has not failed: somebody wanted it so.
    FirstError,
}

/// Which handles were done when [`wait`] returned, by their position in its slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// Done: with a value, an error, or cancelled.
    pub done: Vec<usize>,
    /// Not done.
    pub pending: Vec<usize>,
}

/// Waits until enough of `handles` are done or the time is over, whichever is first; `None` waits for ever.
pub fn wait<T>(handles: &[AsyncResult<T>], when: When, timeout: Option<Duration>) -> Waited {
    let until = deadline(timeout);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut pending: Vec<usize> = (0..handles.len()).collect();
    let mut failed = false;
    loop {
        let mark = bell.mark();
        // Done before it is registered, or the bell rings later: nothing falls between.
        pending.retain(|&position| {
            let handle = &handles[position];
            let is_pending = handle.register(&waker);
            failed |= !is_pending && when == When::FirstError && handle.has_failed();
            is_pending
        });
        let enough = match when {
            When::All => false,
            When::First => pending.len() < handles.len(),
            When::FirstError => failed,
        };
        if enough || pending.is_empty() || !bell.wait(mark, until) {
            for &position in &pending {
                handles[position].forget(&waker);
            }
            let done =
                (0..handles.len()).filter(|position| pending.binary_search(position).is_err()).collect();
            return Waited { done, pending };
        }
    }
}

/// Yields each handle's position and result as it gets done.
///
/// When `timeout` (for the whole iteration) is over, the results that are there are still yielded; then one
/// [`ErrorKind::TimedOut`] says how many are unfinished, under the position of the first of them, and the iteration
/// ends.
pub fn as_completed<T>(handles: Vec<AsyncResult<T>>, timeout: Option<Duration>) -> AsCompleted<T> {
    let bell = Arc::new(Bell::default());
    AsCompleted {
        waker: Waker::from(Arc::clone(&bell)),
        bell,
        until: deadline(timeout),
        total: handles.len(),
        pending: handles.into_iter().enumerate().collect(),
        done: Vec::new(),
    }
}

/// See [`as_completed`]. A yielded handle is not kept.
#[must_use = "it waits only when it is iterated"]
pub struct AsCompleted<T> {
    bell: Arc<Bell>,
    waker: Waker,
    until: Option<Instant>,
    total: usize,
    pending: Vec<(usize, AsyncResult<T>)>,
    /// Done, not yet yielded; the next one last.
    done: Vec<(usize, AsyncResult<T>)>,
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (usize, Result<T, Error>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((position, handle)) = self.done.pop() {
                return Some((position, handle.get()));
            }
            if self.pending.is_empty() {
                return None;
            }
            let mark = self.bell.mark();
            let waker = &self.waker;
            let (pending, mut done) = std::mem::take(&mut self.pending)
                .into_iter()
                .partition(|(_, handle): &(usize, AsyncResult<T>)| handle.register(waker));
            self.pending = pending;
            std::mem::swap(&mut self.done, &mut done);
            self.done.reverse();
            if self.done.is_empty() && !self.bell.wait(mark, self.until) {
                let first = self.pending.first().map_or(0, |(position, _)| *position);
                let reason = format!("{} (of {}) handles unfinished", self.pending.len(), self.total);
                self.pending.clear();
                return Some((first, Err(Error::new(ErrorKind::TimedOut, reason))));
            }
        }
    }
}

impl<T> std::fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsCompleted").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

/// Rings when any of several jobs has news.
#[derive(Default)]
struct Bell {
    /// Counts the rings. A leaf lock.
    rings: Mutex<u64>,
    rang: Condvar,
}

impl Bell {
    fn mark(&self) -> u64 {
        *self.rings.lock()
    }

    fn wait(&self, mark: u64, until: Option<Instant>) -> bool {
        let mut rings = self.rings.lock();
        while *rings == mark {
            match until {
                Some(until) => {
                    if self.rang.wait_until(&mut rings, until).timed_out() {
                        return *rings != mark;
                    }
                }
                None => self.rang.wait(&mut rings),
            }
        }
        true
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rings.lock() += 1;
        self.rang.notify_all();
    }
}
