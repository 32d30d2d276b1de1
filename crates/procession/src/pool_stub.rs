//! Stands in for the pool until it is here: runs every item in this process.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Payload, TaskInfo};

/// Stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "stub")]
pub enum ErrorKind {
    Panicked, WorkerLost, OutOfMemory, TimedOut, Quarantined, Cancelled, Encode, Decode, TooLarge, UnknownTask,
    Initializer, Closed, Terminated, Broken, NotInitialized, Spawn, Usage,
}
/// Stub.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "stub")]
pub enum WorkerExit { Code(i32), Signal(i32), Unknown }
/// Stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "stub")]
pub enum StartMethod { ForkServer, Spawn, Fork }
/// Stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "stub")]
pub enum Output { Inherit, Null, Capture }
/// Stub.
#[derive(Debug)]
pub struct Error(String, ErrorKind);
impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
}
impl std::error::Error for Error {}
#[expect(missing_docs, reason = "stub")]
impl Error {
    pub fn kind(&self) -> ErrorKind { self.1 }
    pub fn attempts(&self) -> u32 { 1 }
    pub fn exit(&self) -> Option<WorkerExit> { None }
    pub fn stderr_tail(&self) -> Option<&str> { None }
}
/// Stub.
#[derive(Clone, Debug)]
pub struct Pool;
/// Stub.
#[derive(Debug)]
pub struct PoolBuilder;
/// Stub.
#[derive(Debug)]
pub struct Stats { #[expect(missing_docs, reason = "stub")] pub workers: Vec<WorkerStats> }
/// Stub.
#[derive(Debug)]
pub struct WorkerStats { #[expect(missing_docs, reason = "stub")] pub restarts: u64 }
#[expect(missing_docs, reason = "stub")]
impl PoolBuilder {
    pub fn workers(self, _: usize) -> Self { self }
    pub fn start_method(self, _: StartMethod) -> Self { self }
    pub fn worker_program(self, _: impl Into<PathBuf>) -> Self { self }
    pub fn max_tasks_per_worker(self, _: usize) -> Self { self }
    pub fn max_rss(self, _: u64) -> Self { self }
    pub fn memory_limit(self, _: u64) -> Self { self }
    pub fn grace(self, _: Duration) -> Self { self }
    pub fn restart_limit(self, _: u32, _: Duration) -> Self { self }
    pub fn cpu_affinity(self, _: Vec<Vec<usize>>) -> Self { self }
    pub fn env(self, _: impl Into<std::ffi::OsString>, _: impl Into<std::ffi::OsString>) -> Self { self }
    pub fn nice(self, _: i32) -> Self { self }
    pub fn idle_timeout(self, _: Duration) -> Self { self }
    pub fn lazy_start(self, _: bool) -> Self { self }
    pub fn output(self, _: Output) -> Self { self }
    pub fn build(self) -> Result<Pool, Error> { Ok(Pool) }
}
#[expect(missing_docs, reason = "stub")]
impl Pool {
    pub fn builder() -> PoolBuilder { PoolBuilder }
    pub fn close(&self) -> Result<(), Error> { Ok(()) }
    pub fn terminate(&self) {}
    pub fn join(&self, _: Option<Duration>) -> Result<(), Error> { Ok(()) }
    pub fn stats(&self) -> Stats { Stats { workers: Vec::new() } }
    pub fn stream<I: IntoIterator<Item = Payload>>(&self, task: &'static TaskInfo, items: I, _: StreamOptions) -> Stream<I::IntoIter> {
        Stream { task, items: items.into_iter(), index: 0 }
    }
}
/// Stub.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "stub")]
pub struct StreamOptions {
    pub ordered: bool, pub chunk_size: Option<usize>, pub timeout: Option<Duration>, pub deadline: Option<Duration>,
    pub max_attempts: Option<u32>, pub priority: i32, pub buffer: Option<usize>,
}
/// Stub.
#[derive(Debug)]
pub struct Stream<I> { task: &'static TaskInfo, items: I, index: u64 }
#[expect(missing_docs, reason = "stub")]
impl<I: Iterator<Item = Payload>> Stream<I> {
    pub fn drain(&mut self) {}
    pub fn next_timeout(&mut self, _: Duration) -> Option<Option<(u64, Result<Payload, Error>)>> { Some(self.next()) }
}
impl<I: Iterator<Item = Payload>> Iterator for Stream<I> {
    type Item = (u64, Result<Payload, Error>);
    fn next(&mut self) -> Option<Self::Item> {
        let args = self.items.next()?;
        let index = self.index;
        self.index += 1;
        let mut out = Vec::new();
        let task = self.task;
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.run(args.as_bytes(), &mut out)));
        Some((index, match done {
            Ok(Ok(())) => Ok(out.into()),
            Ok(Err(fault)) => Err(Error(format!("fault: `{}`, item {index}: {fault}", task.short_path()), ErrorKind::Decode)),
            Err(_) => Err(Error(format!("task panicked: `{}`, item {index}", task.short_path()), ErrorKind::Panicked)),
        }))
    }
}
