//! The handle of a call whose result is taken later: by blocking, by polling, by callback, or by `.await`.
//!
//! The result stays encoded until somebody takes it, and is decoded on that thread.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::coding::{Decode, undecodable};
use crate::driver::{Driver, deadline};
use crate::error::{Error, ErrorKind};
use crate::job::Job;

/// The result of an `apply_async`, `map_async` or `starmap_async`, some time.
///
/// ```no_run
/// # use procession::{Pool, task};
/// # #[task] fn square(x: i64) -> i64 { x * x }
/// # #[procession::main] fn main() -> Result<(), procession::Error> {
/// let pool = Pool::new()?;
/// let later = pool.apply_async(square, (12,));
/// assert_eq!(later.get()?, 144);
/// # pool.close() }
/// ```
///
/// It is also a [`Future`], for any executor. Dropping it loses the result, not the work: see
/// [`cancel`](AsyncResult::cancel).
#[must_use = "the result is lost with its handle"]
pub struct AsyncResult<T> {
    driver: Arc<Driver>,
    job: Arc<Job>,
    decode: fn(&Job) -> Result<T, Error>,
    value: Hold<T>,
}

/// Who may take the value: the handle, or its callbacks as well.
enum Hold<T> {
    Own(Value<T>),
    Shared(Arc<Value<T>>),
}

/// The decoded result, from when somebody needs it until somebody takes it. The lock is a leaf, and never held
/// while a callback runs.
struct Value<T>(Mutex<Slot<T>>);

enum Slot<T> {
    Encoded,
    Decoded(Result<T, Error>),
    /// A callback has it just now, or its owner took it.
    Taken,
}

impl<T> AsyncResult<T> {
    pub(crate) fn new(
        driver: Arc<Driver>,
        job: Arc<Job>,
        decode: fn(&Job) -> Result<T, Error>,
    ) -> AsyncResult<T> {
        let value = Hold::Own(Value(Mutex::new(Slot::Encoded)));
        AsyncResult { driver, job, decode, value }
    }

    /// Blocks until the result is there.
    ///
    /// # Errors
    /// What became of the call, if it has no value; of a map, the first failing item by index.
    pub fn get(self) -> Result<T, Error> {
        self.job.spin_or_wait();
        self.take()
    }

    /// The result if it comes within `timeout`, else `None`. The value can be taken once; after that it is
    /// [`ErrorKind::Usage`].
    pub fn get_timeout(&mut self, timeout: Duration) -> Option<Result<T, Error>> {
        self.job.wait_complete(deadline(Some(timeout))).then(|| self.take())
    }

    /// Blocks until the result is there (`true`) or the time is over (`false`); `None` waits for ever.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.job.wait_complete(deadline(timeout))
    }

    /// Whether the result is there, and its callbacks have run.
    pub fn is_ready(&self) -> bool {
        self.job.is_complete()
    }

    /// Whether the result is a value; `None` while it is not there, and once it was taken.
    pub fn is_successful(&self) -> Option<bool> {
        self.look(Result::is_ok)
    }

    /// The result is there, and it is an error other than having been cancelled.
    pub(crate) fn has_failed(&self) -> bool {
        let is_failure = |result: &Result<T, Error>| {
            result.as_ref().is_err_and(|error| error.kind() != ErrorKind::Cancelled)
        };
        self.look(is_failure) == Some(true)
    }

    /// Looks at the result, decoding it first if nobody has; `None` while it is not there, and once it was taken.
    fn look<V>(&self, view: impl FnOnce(&Result<T, Error>) -> V) -> Option<V> {
        if !self.is_ready() {
            return None;
        }
        let mut slot = self.value.get().0.lock();
        if let Slot::Encoded = *slot {
            *slot = Slot::Decoded(decode_job(self.decode, &self.job));
        }
        match &*slot {
            Slot::Decoded(result) => Some(view(result)),
            Slot::Encoded | Slot::Taken => None,
        }
    }

    /// Stops the call: queued, it never runs; running, its worker is stopped.
    ///
    /// `true` is final: the result is [`ErrorKind::Cancelled`], of a map for the call as a whole, even if a value was on
    /// its way. `false`: it has its outcome already, and keeps it.
    pub fn cancel(&self) -> bool {
        let is_cancelled = self.job.cancel();
        if is_cancelled {
            self.driver.cancel(&self.job);
        }
        is_cancelled
    }

    /// Calls `f` exactly once with the result, on the pool's callback thread and before
    /// [`wait`](AsyncResult::wait) returns; at once and here if the result is there already.
    ///
    /// A callback that panics is logged and changes nothing else. One that waits keeps back those of all other calls:
    /// it must not wait for a call that has a callback itself.
    pub fn on_done(mut self, f: impl FnOnce(Result<&T, &Error>) + Send + 'static) -> AsyncResult<T>
    where
        T: Send + 'static,
    {
        let job = Arc::clone(&self.job);
        let value = self.value.share();
        let decode = self.decode;
        let callback = Box::new(move || {
            let decoded = value.decode_with(|| decode_job(decode, &job));
            let result = catch_unwind(AssertUnwindSafe(|| match &decoded {
                Some(decoded) => f(decoded.as_ref()),
                None => f(Err(&taken_before())),
            }));
            value.put_back(decoded);
            if let Err(panic) = result {
                resume_unwind(panic);
            }
        });
        if let Some(callback) = self.job.on_complete(callback) {
            crate::driver::run_callback(callback);
        }
        self
    }

    fn take(&self) -> Result<T, Error> {
        match self.value.get().decode_with(|| decode_job(self.decode, &self.job)) {
            Some(decoded) => decoded,
            None => Err(taken_before()),
        }
    }

    pub(crate) fn register(&self, waker: &Waker) -> bool {
        self.job.register(waker)
    }

    pub(crate) fn forget(&self, waker: &Waker) {
        self.job.forget(waker);
    }
}

/// Decodes the result of a complete job, which needs nothing any more that its arguments refer to.
fn decode_job<T>(decode: fn(&Job) -> Result<T, Error>, job: &Job) -> Result<T, Error> {
    let result = if job.is_cancelled() { Err(cancelled(job)) } else { decode(job) };
    job.release();
    result
}

/// In place of what has arrived.
fn cancelled(job: &Job) -> Error {
    let error = Error::new(ErrorKind::Cancelled, "");
    if job.takes_input() {
        drop(job.take_arrivals());
        return error.of_task(job.task);
    }
    let attempts = job.take_only().map_or(0, |arrival| arrival.attempts());
    error.of_item(job.task, 0, attempts)
}

fn taken_before() -> Error {
    Error::usage("the value of this handle was taken before")
}

impl<T> Hold<T> {
    fn get(&self) -> &Value<T> {
        match self {
            Hold::Own(value) => value,
            Hold::Shared(value) => value,
        }
    }

    fn share(&mut self) -> Arc<Value<T>> {
        let slot = match self {
            Hold::Shared(value) => return Arc::clone(value),
            Hold::Own(value) => std::mem::replace(&mut *value.0.lock(), Slot::Taken),
        };
        let shared = Arc::new(Value(Mutex::new(slot)));
        *self = Hold::Shared(Arc::clone(&shared));
        shared
    }
}

impl<T> Value<T> {
    /// Takes the value out, decoding it first if nobody has; `None` if it was taken before.
    fn decode_with(&self, decode: impl FnOnce() -> Result<T, Error>) -> Option<Result<T, Error>> {
        let slot = std::mem::replace(&mut *self.0.lock(), Slot::Taken);
        match slot {
            Slot::Encoded => Some(decode()),
            Slot::Decoded(value) => Some(value),
            Slot::Taken => None,
        }
    }

    fn put_back(&self, decoded: Option<Result<T, Error>>) {
        if let Some(value) = decoded {
            *self.0.lock() = Slot::Decoded(value);
        }
    }
}

impl<T> Future for AsyncResult<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        if self.job.register(context.waker()) { Poll::Pending } else { Poll::Ready(self.take()) }
    }
}

impl<T> Unpin for AsyncResult<T> {}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.is_ready(), self.is_successful()) {
            (false, _) => "pending",
            (true, Some(true)) => "finished",
            (true, _) if self.job.is_cancelled() => "cancelled",
            (true, _) => "failed",
        };
        f.debug_struct("AsyncResult").field("task", &self.job.task.path()).field("state", &state).finish()
    }
}

/// The one outcome of a job of one item.
pub(crate) fn decode_one<R>(
    job: &Job,
    decode: impl Fn(&[u8]) -> Result<R, crate::codec::CodecError>,
) -> Result<R, Error> {
    let decode = |bytes: &[u8]| decode(bytes).map_err(|error| undecodable(&error));
    if let Some(mut arrival) = job.take_only()
        && let Some((_, outcome)) = arrival.take_first(job.task, &mut 0, decode)
    {
        return outcome;
    }
    Err(job.aborted().unwrap_or_else(|| Error::new(ErrorKind::Broken, "no outcome arrived")))
}

/// All outcomes of a job in order, or the first failure by index.
pub(crate) fn decode_all<R>(job: &Job, decode: Decode<R>) -> Result<Vec<R>, Error> {
    let mut arrivals: Vec<_> = job.take_arrivals().into();
    arrivals.sort_unstable_by_key(crate::arrival::Arrival::first);
    let mut values = Vec::with_capacity(arrivals.iter().map(|arrival| arrival.items() as usize).sum());
    for mut arrival in arrivals {
        arrival.take_values(job.task, &mut 0, decode, &mut values)?;
    }
    match job.aborted() {
        Some(error) => Err(error),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests;
