//! How a pool is described before it exists. Only `build` can fail; it checks everything before anything runs.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use procession_core::Policy;

use crate::codec::Sink;
use crate::cpu::cpu_count;
use crate::driver::{Listener, SetupLimit};
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Printed};
use crate::pool::Pool;
use crate::process::{self, LaunchSettings, Output, StartMethod};
use crate::region::Regions;
use crate::registry::{self, TaskInfo};
use crate::task::{Task, TaskFn, TaskOptions};

/// Describes a pool. Made by [`Pool::builder`].
///
/// ```no_run
/// # use std::time::Duration;
/// # #[procession::main] fn main() -> Result<(), procession::Error> {
/// let pool = procession::Pool::builder()
///     .workers(4)
///     .timeout(Duration::from_secs(30))
///     .max_tasks_per_worker(1_000)
///     .build()?;
/// # pool.close() }
/// ```
#[must_use = "a builder makes a pool only when it is built"]
pub struct PoolBuilder {
    pub(crate) workers: Option<usize>,
    pub(crate) start_method: StartMethod,
    worker_program: Option<PathBuf>,
    preload: Option<SetupCall>,
    initializer: Option<SetupCall>,
    max_tasks_per_worker: Option<usize>,
    recycle_after_panic: bool,
    pub(crate) max_rss: Option<u64>,
    memory_limit: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    grace: Option<Duration>,
    pub(crate) max_attempts: Option<u32>,
    restart_limit: Option<(u32, Duration)>,
    cpu_affinity: Vec<Vec<usize>>,
    env: Vec<(OsString, OsString)>,
    nice: Option<i32>,
    idle_timeout: Option<Duration>,
    lazy_start: bool,
    pub(crate) output: Output,
    crash_reports: bool,
    pub(crate) observer: Option<Arc<dyn Fn(&Event) + Send + Sync>>,
    pub(crate) listener: Option<Listener>,
    /// Shared data that the arguments here refer to.
    pub(crate) regions: Regions,
}

/// A preload or an initializer, with its encoded arguments or the reason why they have no encoding.
struct SetupCall {
    task: &'static TaskInfo,
    args: Result<Vec<u8>, String>,
    options: TaskOptions,
}

/// How long a preload may take, unless its task says otherwise: it loads models and tables, yet a hang is reported.
const PRELOAD_LIMIT: Duration = Duration::from_secs(600);

/// A longer limit is as good as none, and clocks can count so far.
const SETUP_LIMIT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl PoolBuilder {
    pub(crate) fn new() -> PoolBuilder {
        PoolBuilder {
            workers: None,
            start_method: StartMethod::default(),
            worker_program: None,
            preload: None,
            initializer: None,
            max_tasks_per_worker: None,
            recycle_after_panic: false,
            max_rss: None,
            memory_limit: None,
            timeout: None,
            grace: None,
            max_attempts: None,
            restart_limit: None,
            cpu_affinity: Vec::new(),
            env: Vec::new(),
            nice: None,
            idle_timeout: None,
            lazy_start: false,
            output: Output::default(),
            crash_reports: true,
            observer: None,
            listener: None,
            regions: Regions::default(),
        }
    }

    /// How many worker processes. Default: [`cpu_count`].
    pub fn workers(mut self, workers: usize) -> PoolBuilder {
        self.workers = Some(workers);
        self
    }

    /// How workers are made. Default: [`StartMethod::ForkServer`].
    pub fn start_method(mut self, method: StartMethod) -> PoolBuilder {
        self.start_method = method;
        self
    }

    /// The program that workers run, for hosts that cannot run themselves again. It must link the same tasks and
    /// call [`init`](crate::init) first. Default: this program.
    pub fn worker_program(mut self, program: impl Into<PathBuf>) -> PoolBuilder {
        self.worker_program = Some(program.into());
        self
    }

    /// A task that runs once, before there is any worker, and leaves with
    /// [`set_worker_state`](crate::set_worker_state) what all workers are to have: a table, a model, an index. Workers are
    /// forked from the process in which it ran, so they share its memory, whatever type it is made of, until they write
    /// to it; an item reads it with [`worker_state`](crate::worker_state).
    ///
    /// ```no_run
    /// use procession::{Pool, set_worker_state, task, worker_state};
    ///
    /// struct Words(Vec<String>);
    ///
    /// #[task]
    /// fn load(path: String) -> Result<(), String> {
    ///     let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    ///     set_worker_state(Words(text.lines().map(str::to_owned).collect()));
    ///     Ok(())
    /// }
    ///
    /// #[task]
    /// fn contains(word: String) -> bool {
    ///     worker_state::<Words>().is_some_and(|words| words.0.contains(&word))
    /// }
    ///
    /// #[procession::main]
    /// fn main() -> Result<(), procession::Error> {
    ///     let pool = Pool::builder().preload(load, ("/usr/share/dict/words".to_owned(),)).build()?;
    ///     println!("{}", pool.apply(contains, ("quince".to_owned(),))?);
    ///     pool.close()
    /// }
    /// ```
    ///
    /// | start method | it runs |
    /// |---|---|
    /// | [`ForkServer`](StartMethod::ForkServer) | in the server process, while the pool is built; again if that process is lost and replaced |
    /// | [`Fork`](StartMethod::Fork) | in the copy of the program that workers are forked from, while the pool is built; the program itself never has what it loads |
    /// | [`Spawn`](StartMethod::Spawn) | in each worker, before its initializer: nothing is shared, but programs work the same |
    ///
    /// It may take 10 minutes, or as long as the [`timeout`](Task::timeout) of its task. If it fails, panics, takes
    /// longer, or ends its process, [`build`](PoolBuilder::build) returns an error that says so
    /// ([`ErrorKind::Initializer`]); with `Spawn` the pool is broken, and every call says why. With the other start methods it must
    /// leave no thread running, which forked workers would not have.
    pub fn preload<F: TaskFn>(mut self, task: Task<F>, args: F::Args) -> PoolBuilder {
        self.preload = Some(self.setup_call(task, &args));
        self
    }

    /// A task that each worker runs once before its first item, also each replacement. It may call
    /// [`set_worker_state`](crate::set_worker_state). If it fails, or takes longer than the [`timeout`](Task::timeout) of its
    /// task, the pool is broken, and every call says why ([`ErrorKind::Initializer`]). Without such a limit a worker whose
    /// initializer takes longer than 10 s is started again, as one that crashes is.
    pub fn initializer<F: TaskFn>(mut self, task: Task<F>, args: F::Args) -> PoolBuilder {
        self.initializer = Some(self.setup_call(task, &args));
        self
    }

    /// Replaces a worker after this many items, between two items. Default: never. Its successor is started before it has
    /// left, so for a moment there may be one process more than workers; it gets no item before then.
    pub fn max_tasks_per_worker(mut self, items: usize) -> PoolBuilder {
        self.max_tasks_per_worker = Some(items);
        self
    }

    /// Replaces a worker in which a task panicked, for tasks that may leave its memory in disorder when they do. Default: no.
    ///
    /// The panic is delivered, no attempt is charged, and the worker's successor is started before it has left. Items that
    /// it had begun by the time the pool heard of the panic are finished and delivered; with a
    /// [`chunk_size`](Task::chunk_size) of 1 that is the next one at most.
    ///
    /// ```no_run
    /// # #[procession::main] fn main() -> Result<(), procession::Error> {
    /// let pool = procession::Pool::builder().recycle_after_panic(true).build()?;
    /// # pool.close() }
    /// ```
    pub fn recycle_after_panic(mut self, recycle: bool) -> PoolBuilder {
        self.recycle_after_panic = recycle;
        self
    }

    /// Replaces a worker that has more resident memory than this many bytes, between two items: it delivers what it is
    /// running, no attempt is charged, and its successor is started before it has left. Default: never.
    ///
    /// Workers are weighed ten times a second while they have work, so one may grow beyond this before it is noticed;
    /// [`memory_limit`](PoolBuilder::memory_limit) is the bound that holds. What counts is resident memory as the
    /// system reports it, with all that is shared, such as what the preload loaded: a worker that is too large from
    /// its start is replaced after each item.
    ///
    /// ```no_run
    /// # #[procession::main] fn main() -> Result<(), procession::Error> {
    /// let pool = procession::Pool::builder().max_rss(512 << 20).memory_limit(2 << 30).build()?;
    /// # pool.close() }
    /// ```
    pub fn max_rss(mut self, bytes: u64) -> PoolBuilder {
        self.max_rss = Some(bytes);
        self
    }

    /// The most private writable memory a worker may have, in bytes, whether used or not (`RLIMIT_DATA`): heap, thread
    /// stacks, private anonymous maps. Shared data and the program's text are free. Default: as the program itself.
    ///
    /// An allocation beyond it fails. In Rust that ends the process, so that item is lost with
    /// [`ErrorKind::OutOfMemory`] and no other is; what C code makes of it is up to that code. It holds for each process:
    /// one that a task starts has the same limit for itself.
    ///
    /// Where control groups are delegated to the program, each worker has one of its own besides, and the limit holds there
    /// for all it has and starts together, what it writes to shared memory included: the kernel kills the worker that is over
    /// it, with all that it has started. That is with version 2 below a unit that systemd started with `Delegate=yes` and
    /// `DelegateSubgroup=` and that sets no limits for that subgroup, with version 1 wherever the program owns its group. A
    /// worker gets there right after its start: what its initializer has by then may count as the program's.
    pub fn memory_limit(mut self, bytes: u64) -> PoolBuilder {
        self.memory_limit = Some(bytes);
        self
    }

    /// Stops an item that has run for this long, counted from its start. Default: never. A task's own
    /// [`timeout`](Task::timeout) goes before it.
    pub fn timeout(mut self, per_item: Duration) -> PoolBuilder {
        self.timeout = Some(per_item);
        self
    }

    /// How long a worker has between SIGTERM and SIGKILL. Default: 2 s.
    pub fn grace(mut self, grace: Duration) -> PoolBuilder {
        self.grace = Some(grace);
        self
    }

    /// Starts an item of a task registered `idempotent` up to this many times if its worker is lost. Default: 3. A task's
    /// own [`max_attempts`](Task::max_attempts) goes before it. Items of other tasks start at most once, whatever it is.
    pub fn max_attempts(mut self, starts: u32) -> PoolBuilder {
        self.max_attempts = Some(starts);
        self
    }

    /// Gives up when more than `starts` workers within `window` end before they are ready, or within a second of it without
    /// having done an item.
    /// Default: 3 a worker, at least 5, in 30 s.
    pub fn restart_limit(mut self, starts: u32, window: Duration) -> PoolBuilder {
        self.restart_limit = Some((starts, window));
        self
    }

    /// The cores each worker may use: worker `i` gets the list at `i` modulo the length. Default: all.
    pub fn cpu_affinity(mut self, cores: Vec<Vec<usize>>) -> PoolBuilder {
        self.cpu_affinity = cores;
        self
    }

    /// Sets an environment variable in the workers, and only there.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> PoolBuilder {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Adds to the workers' niceness.
    pub fn nice(mut self, increment: i32) -> PoolBuilder {
        self.nice = Some(increment);
        self
    }

    /// Stops a worker that had nothing to do for this long; it is started again when there is work. Default: never.
    pub fn idle_timeout(mut self, idle: Duration) -> PoolBuilder {
        self.idle_timeout = Some(idle);
        self
    }

    /// Starts workers only as work needs them. Default: all at once.
    pub fn lazy_start(mut self, lazy: bool) -> PoolBuilder {
        self.lazy_start = lazy;
        self
    }

    /// What becomes of the workers' stdout and stderr. Default: [`Output::Inherit`].
    pub fn output(mut self, output: Output) -> PoolBuilder {
        self.output = output;
        self
    }

    /// Calls `listener` with what workers print, as far as it passes through the pool: both streams with
    /// [`Output::Capture`], standard error with [`Output::Inherit`], of which it is told instead of the program's own
    /// standard error. It has a thread of its own. While it does not keep up, 4 MiB wait for it; then it is told how
    /// much it missed. At the end of the pool it has a second for what waits.
    ///
    /// ```no_run
    /// use procession::{Output, Pool, Printed};
    ///
    /// # #[procession::main] fn main() -> Result<(), procession::Error> {
    /// let pool = Pool::builder()
    ///     .output(Output::Capture)
    ///     .on_output(|printed| {
    ///         if let Printed::Text { pid, text } = printed {
    ///             eprint!("worker {pid}: {}", String::from_utf8_lossy(text));
    ///         }
    ///     })
    ///     .build()?;
    /// # pool.close() }
    /// ```
    pub fn on_output(mut self, listener: impl Fn(&Printed) + Send + Sync + 'static) -> PoolBuilder {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Whether a worker that dies of SIGSEGV, SIGBUS, SIGILL, SIGFPE or SIGABRT says where, for
    /// [`Error::backtrace`](crate::Error::backtrace). Default: yes. It takes signal handlers in the workers, which hand on to
    /// those that were there before: a preload's, or Rust's own. Handlers that a task installs later take their place.
    pub fn crash_reports(mut self, reports: bool) -> PoolBuilder {
        self.crash_reports = reports;
        self
    }

    /// Calls `observer` with everything that happens to workers, in order, on the pool's callback thread.
    pub fn on_event(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> PoolBuilder {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Checks the description and starts the pool.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an option out of range, [`ErrorKind::NotInitialized`] if the program never called
    /// [`init`](crate::init), [`ErrorKind::Initializer`] if the preload fails, [`ErrorKind::Spawn`] if workers cannot be
    /// started.
    pub fn build(self) -> Result<Pool, Error> {
        self.check()?;
        registry::check().map_err(Error::usage)?;
        let workers = self.worker_count();
        let policy = self.policy(workers)?;
        let launch = self.launch_settings()?;
        launch.check()?;
        process::ensure_descriptors(workers)?;
        if self.max_tasks_per_worker.is_some() || self.max_rss.is_some() || self.recycle_after_panic {
            // For successors, each beside its predecessor. Where there is no room they start later.
            let _ = process::ensure_descriptors(workers.saturating_mul(2));
        }
        Pool::start(self, workers, policy, launch)
    }

    fn check(&self) -> Result<(), Error> {
        let zero = [
            ("workers", self.workers == Some(0), "at least 1, or leave it out for one per core"),
            ("max_tasks_per_worker", self.max_tasks_per_worker == Some(0), "at least 1"),
            ("max_rss", self.max_rss == Some(0), "a number of bytes that a worker needs"),
            ("memory_limit", self.memory_limit == Some(0), "a number of bytes that a worker needs"),
            ("timeout", self.timeout == Some(Duration::ZERO), "more than nothing"),
            ("max_attempts", self.max_attempts == Some(0), "at least 1"),
            ("idle_timeout", self.idle_timeout == Some(Duration::ZERO), "more than nothing"),
        ];
        if let Some((name, _, instead)) = zero.iter().find(|(_, is_zero, _)| *is_zero) {
            return Err(Error::usage(format!("option `{name}` is 0: use {instead}")));
        }
        if let Some(slot) = self.cpu_affinity.iter().position(Vec::is_empty) {
            return Err(Error::usage(format!(
                "option `cpu_affinity`: the list for worker {slot} has no core"
            )));
        }
        for call in [&self.preload, &self.initializer].into_iter().flatten() {
            call.options.validate().map_err(|reason| Error::usage(reason).of_task(call.task))?;
        }
        if self.worker_program.is_some() && self.start_method == StartMethod::Fork {
            return Err(Error::usage(
                "option `worker_program` has no effect with start method `fork`: leave one out",
            ));
        }
        Ok(())
    }

    fn setup_call<F: TaskFn>(&mut self, task: Task<F>, args: &F::Args) -> SetupCall {
        let mut payload = Vec::new();
        let encoded = self.regions.collect(|| F::encode_args(args, &mut Sink::new(&mut payload)));
        let args = encoded.map(|()| payload).map_err(|error| error.to_string());
        SetupCall { task: task.info(), args, options: task.options() }
    }

    fn preload_limit(&self) -> Duration {
        let chosen = self.preload.as_ref().and_then(|preload| preload.options.timeout);
        chosen.unwrap_or(PRELOAD_LIMIT).min(SETUP_LIMIT_MAX)
    }

    /// Of the preload, where workers run it, and of the initializer.
    pub(crate) fn setup_limits(&self) -> [Option<SetupLimit>; 2] {
        let limit_of = |what, call: &Option<SetupCall>, default: Option<Duration>| {
            let call = call.as_ref()?;
            let limit = call.options.timeout.or(default)?.min(SETUP_LIMIT_MAX);
            Some(SetupLimit { what, task: call.task.path(), limit })
        };
        [
            limit_of("preload", &self.preload, Some(PRELOAD_LIMIT)),
            limit_of("initializer", &self.initializer, None),
        ]
    }

    fn worker_count(&self) -> usize {
        self.workers.unwrap_or_else(cpu_count)
    }

    fn policy(&self, workers: usize) -> Result<Policy, Error> {
        let count = u32::try_from(workers).map_err(|_| {
            Error::usage(format!("option `workers` is {workers}: use fewer than 4,294,967,296"))
        })?;
        let mut policy = Policy::new(count);
        policy.max_tasks_per_worker = self.max_tasks_per_worker.map(|items| items as u64);
        policy.recycle_after_panic = self.recycle_after_panic;
        policy.idle_timeout = self.idle_timeout;
        policy.lazy_start = self.lazy_start;
        if let Some(grace) = self.grace {
            policy.grace = grace;
        }
        if let Some(limit) = self.restart_limit {
            policy.restart_limit = Some(limit);
        }
        Ok(policy)
    }

    fn launch_settings(&self) -> Result<LaunchSettings, Error> {
        Ok(LaunchSettings {
            method: self.start_method,
            program: self.worker_program.clone(),
            env: self.env.clone(),
            nice: self.nice,
            cpu_affinity: self.cpu_affinity.clone(),
            memory_limit: self.memory_limit,
            preload: self.preload.as_ref().map(|call| call.encoded("the preload")).transpose()?,
            preload_limit: self.preload_limit(),
            initializer: self.initializer.as_ref().map(|call| call.encoded("the initializer")).transpose()?,
            output: self.output,
            crash_reports: self.crash_reports,
            ..LaunchSettings::default()
        })
    }
}

impl SetupCall {
    fn encoded(&self, what: &str) -> Result<(u32, Vec<u8>), Error> {
        match &self.args {
            Ok(args) => Ok((self.task.index() as u32, args.clone())),
            Err(reason) => {
                let reason = format!("arguments of {what}: {reason}");
                Err(Error::new(ErrorKind::Encode, reason).of_task(self.task))
            }
        }
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("workers", &self.workers)
            .field("start_method", &self.start_method)
            .finish_non_exhaustive()
    }
}
