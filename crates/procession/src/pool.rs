//! The pool as its users see it: the verbs, each a thin cover of one mechanism.
//!
//! Arguments are encoded and results decoded here, on the caller's own thread.

mod pauses;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use procession_core::Policy;

use crate::arrival::Arrival;
use crate::async_result::{AsyncResult, decode_all, decode_one};
use crate::builder::PoolBuilder;
use crate::codec;
use crate::coding::{Coding, Decode, arguments_error};
use crate::driver::{CallOptions, Destination, Driver, NewCall, Phase, Settings, Supervisor, deadline};
use crate::error::{Error, ErrorKind};
use crate::imap::{Imap, ImapUnordered, PayloadStream};
use crate::job::Job;
use crate::memory;
use crate::payload::Payload;
use crate::process::{LaunchSettings, Launcher, Output, StartMethod};
use crate::region::Regions;
use crate::registry::TaskInfo;
use crate::slab::Arena;
use crate::stats::Stats;
use crate::stream::{Call, Stream, encode_all};
use crate::stream_options::StreamOptions;
use crate::task::{Argument, Task, TaskFn, TaskOptions, TaskOutput};

/// How long dropping the last handle waits for the workers to be gone.
const DROP_PATIENCE: Duration = Duration::from_secs(10);

/// A pool of worker processes.
///
/// It is a handle: clones are the same pool, usable from any thread. Dropping the last one terminates the pool;
/// [`close`](Pool::close) ends it in good order.
///
/// ```no_run
/// use procession::{Pool, task};
///
/// #[task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// #[procession::main]
/// fn main() -> Result<(), procession::Error> {
///     let pool = Pool::new()?;
///     assert_eq!(pool.map(square, 0..5)?, [0, 1, 4, 9, 16]);
///     pool.close()
/// }
/// ```
#[derive(Clone)]
pub struct Pool {
    handle: Arc<Handle>,
}

/// What all handles of a pool share.
struct Handle {
    driver: Arc<Driver>,
    /// Protects the taking of the thread's handle alone.
    supervisor: Mutex<Option<JoinHandle<()>>>,
    workers: std::sync::atomic::AtomicUsize,
    timeout: Option<Duration>,
    max_attempts: Option<u32>,
    /// What the arguments of the preload and of the initializer refer to, for whoever takes a worker's place.
    _regions: Regions,
}

impl Pool {
    /// A pool of one worker a usable core.
    ///
    /// # Errors
    /// As [`PoolBuilder::build`].
    pub fn new() -> Result<Pool, Error> {
        Pool::builder().build()
    }

    /// A pool with options.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    pub(crate) fn start(
        builder: PoolBuilder,
        workers: usize,
        policy: Policy,
        launch: LaunchSettings,
    ) -> Result<Pool, Error> {
        let setup_limits = builder.setup_limits();
        let settings = Settings {
            output: match (builder.listener, builder.output) {
                (Some(listener), _) => Destination::Listener(listener),
                (None, Output::Inherit) => Destination::Stderr,
                (None, Output::Null | Output::Capture) => Destination::Nowhere,
            },
            max_rss: builder.max_rss,
            setup_limits,
            memory_limit: launch.memory_limit,
        };
        let arena = Arena::create().map_err(|error| {
            Error::new(ErrorKind::Spawn, format!("no shared memory for arguments to be had: {error}"))
        })?;
        let launch = LaunchSettings { arena: Some(Arc::clone(&arena)), ..launch };
        let driver = Arc::new(Driver::new(policy, builder.observer, settings, arena)?);
        // A forked server must be forked while this process still has one thread; any other belongs to the thread
        // that lives as long as the pool.
        let forked = match builder.start_method {
            StartMethod::Fork => Some(Launcher::new(launch.clone())?),
            StartMethod::ForkServer | StartMethod::Spawn => None,
        };
        let launcher = move || forked.map_or_else(|| Launcher::new(launch), Ok);
        let supervisor = Supervisor::start(Arc::clone(&driver), launcher)?;
        let handle = Handle {
            driver,
            supervisor: Mutex::new(Some(supervisor)),
            workers: workers.into(),
            timeout: builder.timeout,
            max_attempts: builder.max_attempts,
            _regions: builder.regions,
        };
        handle.driver.wait_started()?;
        Ok(Pool { handle: Arc::new(handle) })
    }

    /// Runs one call in a worker and waits for its result.
    ///
    /// # Errors
    /// What became of the call, if it has no value.
    pub fn apply<F: TaskFn>(&self, task: Task<F>, args: F::Args) -> Result<F::Output, Error> {
        self.call(task, args, Driver::call).get()
    }

    /// Runs one call in a worker; the result is taken from the handle, later.
    pub fn apply_async<F: TaskFn>(&self, task: Task<F>, args: F::Args) -> AsyncResult<F::Output> {
        self.call(task, args, Driver::submit)
    }

    fn call<F: TaskFn>(
        &self,
        task: Task<F>,
        args: F::Args,
        make: impl FnOnce(&Driver, NewCall),
    ) -> AsyncResult<F::Output> {
        let driver = &self.handle.driver;
        let job = Arc::new(Job::single(task.info()));
        let mut segment = driver.segment();
        let mut regions = Regions::default();
        let options = self.options(task.options(), task.info()).and_then(|options| {
            let encoded = regions.collect(|| segment.push(|sink| F::encode_args(&args, sink)));
            encoded.map_err(|error| arguments_error(&error))?;
            job.hold(regions);
            Ok(options)
        });
        match options {
            Ok(options) => {
                let segment = segment.complete();
                make(driver, NewCall { job: Arc::clone(&job), options, segment });
            }
            Err(error) => self.refuse(&job, error),
        }
        AsyncResult::new(Arc::clone(driver), job, |job| decode_one(job, F::decode_output))
    }

    /// Runs the task on every item and collects the results in input order.
    ///
    /// The input is pulled as the workers need it.
    ///
    /// # Errors
    /// The first failing item's, by index; what had not begun by then never runs. For one result an item, failed or
    /// not, use [`imap`](Pool::imap).
    pub fn map<A: Argument, R: TaskOutput>(
        &self,
        task: Task<fn(A) -> R>,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, Error> {
        self.imap(task, items).0.collect()
    }

    /// As [`map`](Pool::map), with a tuple of arguments an item.
    ///
    /// # Errors
    /// As [`map`](Pool::map).
    pub fn starmap<F: TaskFn>(
        &self,
        task: Task<F>,
        items: impl IntoIterator<Item = F::Args>,
    ) -> Result<Vec<F::Output>, Error> {
        self.istarmap(task, items).0.collect()
    }

    /// Encodes every item here and now, and returns a handle of the results.
    pub fn map_async<A: Argument, R: TaskOutput>(
        &self,
        task: Task<fn(A) -> R>,
        items: impl IntoIterator<Item = A>,
    ) -> AsyncResult<Vec<R>> {
        let items = items.into_iter();
        self.collect_async(task.info(), task.options(), items, codec::encode_into::<A>, |job| {
            decode_all(job, Decode::new())
        })
    }

    /// As [`map_async`](Pool::map_async), with a tuple of arguments an item.
    pub fn starmap_async<F: TaskFn>(
        &self,
        task: Task<F>,
        items: impl IntoIterator<Item = F::Args>,
    ) -> AsyncResult<Vec<F::Output>> {
        let items = items.into_iter();
        self.collect_async(task.info(), task.options(), items, F::encode_args, |job| {
            decode_all(job, Decode::new())
        })
    }

    /// A lazy map: one `Result` an item, in input order.
    pub fn imap<A: Argument, R: TaskOutput, I: IntoIterator<Item = A>>(
        &self,
        task: Task<fn(A) -> R>,
        items: I,
    ) -> Imap<I::IntoIter, R> {
        Imap(self.open(task.info(), task.options(), items.into_iter(), Coding::typed(), true, false))
    }

    /// A lazy map: one `Result` an item, as they are ready.
    pub fn imap_unordered<A: Argument, R: TaskOutput, I: IntoIterator<Item = A>>(
        &self,
        task: Task<fn(A) -> R>,
        items: I,
    ) -> ImapUnordered<I::IntoIter, R> {
        ImapUnordered(self.open(
            task.info(),
            task.options(),
            items.into_iter(),
            Coding::typed(),
            false,
            false,
        ))
    }

    /// As [`imap`](Pool::imap), with a tuple of arguments an item.
    pub fn istarmap<F: TaskFn, I: IntoIterator<Item = F::Args>>(
        &self,
        task: Task<F>,
        items: I,
    ) -> Imap<I::IntoIter, F::Output> {
        Imap(self.open(task.info(), task.options(), items.into_iter(), Coding::spread::<F>(), true, false))
    }

    /// As [`imap_unordered`](Pool::imap_unordered), with a tuple of arguments an item.
    pub fn istarmap_unordered<F: TaskFn, I: IntoIterator<Item = F::Args>>(
        &self,
        task: Task<F>,
        items: I,
    ) -> ImapUnordered<I::IntoIter, F::Output> {
        ImapUnordered(self.open(
            task.info(),
            task.options(),
            items.into_iter(),
            Coding::spread::<F>(),
            false,
            false,
        ))
    }

    /// Runs a task known by its registry entry on encoded arguments, for callers that know no types.
    ///
    /// An input of `Option<Payload>` may have nothing for now: at a `None` it is left alone, and asked again when an outcome
    /// has come, and within some 20 ms. It is such an item that has no index.
    pub fn stream<I: IntoIterator<Item: Into<Option<Payload>>>>(
        &self,
        task: &'static TaskInfo,
        items: I,
        options: StreamOptions,
    ) -> PayloadStream<I::IntoIter> {
        let StreamOptions { ordered, figures, .. } = options;
        PayloadStream(self.open(
            task,
            options.of_call(),
            items.into_iter(),
            Coding::encoded(),
            ordered,
            figures,
        ))
    }

    /// Takes no more calls, finishes what is queued, stops and reaps the workers. Idempotent.
    ///
    /// It waits for the lazy calls of other threads to come to the end of their input. Those of this thread get no more
    /// of theirs, as nobody could pull it: what was pulled has its outcome, the rest one [`ErrorKind::Closed`].
    ///
    /// Called inside a callback it does not wait.
    ///
    /// # Errors
    /// Why the pool is broken, if it is.
    pub fn close(&self) -> Result<(), Error> {
        self.handle.driver.close();
        self.handle.wait_stopped(None);
        match self.handle.driver.broken() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Stops now: every handle without a result resolves with [`ErrorKind::Terminated`], the workers are stopped.
    /// Idempotent; does not wait (see [`join`](Pool::join)).
    pub fn terminate(&self) {
        self.handle.driver.terminate();
    }

    /// Waits until a closed or terminated pool has reaped its workers.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is neither closed nor terminated, [`ErrorKind::TimedOut`] if the time is over.
    pub fn join(&self, timeout: Option<Duration>) -> Result<(), Error> {
        if self.handle.driver.phase() == Phase::Open {
            return Err(Error::usage(
                "`join` before `close` or `terminate` would never return: call one of them first",
            ));
        }
        if self.handle.wait_stopped(timeout) {
            Ok(())
        } else {
            let waited = timeout.unwrap_or_default();
            Err(Error::new(ErrorKind::TimedOut, format!("the pool is still busy after {waited:?}")))
        }
    }

    /// Changes the number of workers. Growing starts new ones; shrinking stops idle ones first, busy ones when what
    /// they run is done.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for 0, [`ErrorKind::Closed`] for a pool that is ending.
    pub fn resize(&self, workers: usize) -> Result<(), Error> {
        let count = u32::try_from(workers).ok().filter(|&count| count > 0).ok_or_else(|| {
            Error::usage(format!(
                "a pool cannot have {workers} workers: use at least 1 and fewer than 4,294,967,296"
            ))
        })?;
        if !self.is_active() {
            return Err(Error::new(ErrorKind::Closed, "it cannot be resized once it is ending"));
        }
        crate::process::ensure_descriptors(workers.saturating_sub(self.workers()))?;
        self.handle.workers.store(workers, std::sync::atomic::Ordering::Relaxed);
        self.handle.driver.resize(count);
        Ok(())
    }

    /// How many workers the pool is meant to have.
    pub fn workers(&self) -> usize {
        self.handle.workers.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The process ids of the workers that exist now, by slot: one each. While a worker is being replaced there is a
    /// second process for a moment, which is not listed before it takes over.
    pub fn worker_pids(&self) -> Vec<u32> {
        self.handle.driver.inspect(|state| state.pids())
    }

    /// Whether the pool takes calls.
    pub fn is_active(&self) -> bool {
        self.handle.driver.phase() == Phase::Open && self.handle.driver.broken().is_none()
    }

    /// Figures of the pool and its workers, as of now.
    pub fn stats(&self) -> Stats {
        let mut stats = self.handle.driver.inspect(|state| state.stats());
        let living = || stats.workers.iter().filter_map(|worker| worker.pid);
        let mut resident = memory::resident(&living().collect::<Vec<_>>()).into_iter();
        for worker in &mut stats.workers {
            if let Some(pid) = worker.pid {
                worker.rss = resident.next().flatten();
                worker.peak_rss = memory::peak_resident(pid);
            }
        }
        stats
    }

    #[cfg(test)]
    pub(crate) fn driver(&self) -> &Arc<Driver> {
        &self.handle.driver
    }

    fn open<I: Iterator, R>(
        &self,
        task: &'static TaskInfo,
        options: TaskOptions,
        input: I,
        coding: Coding<I, R>,
        ordered: bool,
        figures: bool,
    ) -> Stream<I, R> {
        let buffer = options.buffer;
        let options = self.options(options, task);
        let driver = Arc::clone(&self.handle.driver);
        Stream::open(Call { driver, task, options, input, coding, ordered, buffer, figures })
    }

    fn collect_async<I: Iterator, T>(
        &self,
        task: &'static TaskInfo,
        options: TaskOptions,
        items: I,
        encode: fn(&I::Item, &mut codec::Sink<'_>) -> Result<(), codec::CodecError>,
        decode: fn(&Job) -> Result<T, Error>,
    ) -> AsyncResult<T> {
        let driver = &self.handle.driver;
        let job = Arc::new(Job::new(task));
        let opened = self.options(options, task).and_then(|options| driver.open(&job, options));
        let id = opened.map_err(|error| self.refuse(&job, error)).ok();
        let handle = AsyncResult::new(Arc::clone(driver), Arc::clone(&job), decode);
        if let Some(id) = id {
            let cancel = CancelOnPanic { driver, id };
            encode_all(driver, &job, id, items, encode);
            std::mem::forget(cancel);
        }
        handle
    }

    /// The job ends at once, with one outcome that says why.
    fn refuse(&self, job: &Arc<Job>, error: Error) {
        let driver = &self.handle.driver;
        driver.deliver(job, Arrival::Failed { first: 0, items: 1, error });
        let callbacks = job.settled(0);
        driver.run_callbacks(job, callbacks);
    }

    /// Checks a call's options and fills in the pool's defaults.
    fn options(&self, options: TaskOptions, task: &TaskInfo) -> Result<CallOptions, Error> {
        options.validate().map_err(Error::usage)?;
        Ok(CallOptions {
            chunk_size: options.chunk_size.map(|items| u32::try_from(items).unwrap_or(u32::MAX)),
            timeout: options.timeout.or(self.handle.timeout),
            deadline: options.deadline,
            max_attempts: match task.is_idempotent() {
                true => {
                    options.max_attempts.or(self.handle.max_attempts).unwrap_or(task.default_max_attempts())
                }
                // Whatever is asked for: what is not declared to be safe to repeat is not repeated.
                false => 1,
            },
            priority: options.priority,
        })
    }
}

/// Ends the job if its input panics while it is being encoded.
struct CancelOnPanic<'a> {
    driver: &'a Driver,
    id: procession_core::JobId,
}

impl Drop for CancelOnPanic<'_> {
    fn drop(&mut self) {
        self.driver.abandon(self.id);
        self.driver.close_input(self.id);
    }
}

impl Handle {
    /// `true` once every worker is reaped. A callback must not wait for itself.
    fn wait_stopped(&self, timeout: Option<Duration>) -> bool {
        if self.driver.callbacks().is_current() {
            return false;
        }
        let stopped = self.driver.wait_stopped(deadline(timeout));
        if stopped && let Some(supervisor) = self.supervisor.lock().take() {
            // It has done everything already; a panic in it was reported to every job.
            let _ = supervisor.join();
        }
        stopped
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if matches!(self.driver.phase(), Phase::Open | Phase::Closing) {
            tracing::warn!("a running pool was dropped: it is terminated; call `close` to let it finish");
            self.driver.terminate();
        }
        self.driver.resume();
        self.wait_stopped(Some(DROP_PATIENCE));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("workers", &self.workers()).field("active", &self.is_active()).finish()
    }
}
