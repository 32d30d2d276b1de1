//! Runs items and makes an outcome of whatever happens: a value, a fault, a panic.

use super::panics;
use super::quietly;
use crate::batch::Batch;
use crate::codec;
use crate::registry::{self, TaskFault};
use crate::wire::Status;

/// A result buffer that grew beyond this is given back before the next item.
const RESULT_CAPACITY_KEPT: usize = 8 << 20;

/// The tasks a worker can run.
pub(super) trait Tasks {
    /// Its path; `None`: there is no such task.
    fn path(&self, task: u32) -> Option<&'static str>;
    /// The type its function returns, as written.
    fn returns(&self, task: u32) -> &'static str;
    /// Decodes arguments, calls the function, appends the encoded result.
    fn run(&self, task: u32, args: &[u8], out: &mut Vec<u8>) -> Result<(), TaskFault>;
    /// As [`run`](Tasks::run), item by item; see `TaskInfo::run_batch`.
    fn run_batch(&self, task: u32, batch: &mut Batch<'_, '_>) -> Result<(), TaskFault>;
    /// Of the registry.
    fn fingerprint(&self) -> u64;
}

/// The tasks of this program.
pub(super) struct Registered;

impl Tasks for Registered {
    fn path(&self, task: u32) -> Option<&'static str> {
        registry::entry(task).map(|info| info.path())
    }

    fn returns(&self, task: u32) -> &'static str {
        registry::entry(task).map_or("()", |info| info.returns())
    }

    fn run(&self, task: u32, args: &[u8], out: &mut Vec<u8>) -> Result<(), TaskFault> {
        registry::entry(task).expect("the task was looked up").run(args, out)
    }

    fn run_batch(&self, task: u32, batch: &mut Batch<'_, '_>) -> Result<(), TaskFault> {
        registry::entry(task).expect("the task was looked up").run_batch(batch)
    }

    fn fingerprint(&self) -> u64 {
        registry::fingerprint()
    }
}

/// Runs items with one buffer for their results.
pub(super) struct Executor<'a, T> {
    tasks: &'a T,
    out: Vec<u8>,
}

/// How an item ended.
pub(super) struct Outcome<'a> {
    pub(super) status: Status,
    pub(super) payload: &'a [u8],
}

impl<'a, T: Tasks> Executor<'a, T> {
    pub(super) fn new(tasks: &'a T) -> Executor<'a, T> {
        Executor { tasks, out: Vec::new() }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.tasks.fingerprint()
    }

    /// `None`: there is no such task.
    pub(super) fn path(&self, task: u32) -> Option<&'static str> {
        self.tasks.path(task)
    }

    /// Runs the items of a batch of a known task. `Some`: the item under way has this outcome, which is no value.
    pub(super) fn run_batch(&mut self, task: u32, batch: &mut Batch<'_, '_>) -> Option<Outcome<'_>> {
        let caught = panics::capturing(|| quietly(|| self.tasks.run_batch(task, batch)));
        match self.status(caught) {
            Status::Ok => None,
            status => Some(Outcome { status, payload: &self.out }),
        }
    }

    /// Drops what is kept for speed.
    pub(super) fn give_back(&mut self) {
        self.out = Vec::new();
    }

    /// Runs one item.
    pub(super) fn run(&mut self, task: u32, args: &[u8]) -> Outcome<'_> {
        let status = self.run_into_buffer(task, args);
        Outcome { status, payload: &self.out }
    }

    /// Runs a preload task or an initializer. The error is what the master reports.
    pub(super) fn run_setup(&mut self, what: &str, task: u32, args: &[u8]) -> Result<(), String> {
        let path = self.path(task).unwrap_or("unknown task");
        let status = self.run_into_buffer(task, args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let reason = match status {
            Status::Ok => match setup_failure(self.tasks.returns(task), &self.out) {
                None => return Ok(()),
                Some(reason) => reason,
            },
            Status::Panicked => match crate::wire::PanicReport::decode(&self.out) {
                Ok(report) => format!("panicked at {}: {}", report.location, report.message),
                Err(error) => error.to_string(),
            },
            Status::DecodeArgs | Status::EncodeResult | Status::UnknownTask | Status::TooLarge => {
                text(&self.out)
            }
        };
        Err(format!("{what} `{path}` failed: {reason}"))
    }

    fn run_into_buffer(&mut self, task: u32, args: &[u8]) -> Status {
        let out = &mut self.out;
        out.clear();
        out.shrink_to(RESULT_CAPACITY_KEPT);
        if self.tasks.path(task).is_none() {
            out.extend_from_slice(format!("no task has index {task} here").as_bytes());
            return Status::UnknownTask;
        }
        let caught = panics::capturing(|| quietly(|| self.tasks.run(task, args, out)));
        self.status(caught)
    }

    /// What is not a value goes into the buffer.
    fn status(&mut self, caught: std::thread::Result<Result<(), TaskFault>>) -> Status {
        let fault = match caught {
            Ok(Ok(())) => return Status::Ok,
            Ok(Err(fault)) => fault,
            Err(panic) => {
                self.out.clear();
                panics::report(panic).encode(&mut self.out);
                return Status::Panicked;
            }
        };
        self.out.clear();
        self.out.extend_from_slice(fault.reason().as_bytes());
        match fault {
            TaskFault::Decode(_) => Status::DecodeArgs,
            TaskFault::Encode(_) => Status::EncodeResult,
            TaskFault::TooLarge(_) => Status::TooLarge,
        }
    }
}

/// Whether a setup task returned an `Err`, and what it says. `Ok(())` is encoded as a zero, `Err` as a one and its value.
fn setup_failure(returns: &str, result: &[u8]) -> Option<String> {
    const ERR: [u8; 4] = 1_u32.to_le_bytes();
    let value = result.strip_prefix(&ERR).filter(|_| returns.contains("Result"))?;
    let text = codec::decode::<String>(value);
    Some(text.unwrap_or_else(|_| format!("it returned an error (its type is `{returns}`)")))
}
