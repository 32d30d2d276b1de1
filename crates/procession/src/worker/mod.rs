//! The worker's loop: takes frames of work, runs their items one after another, sends what became of them.
//!
//! It is given its streams, its page and the tasks, so tests drive it without a process. It knows no scheduling, and
//! it never fails an item by itself: what a task does wrong becomes the item's outcome.

mod execute;
#[expect(unsafe_code, reason = "tells the C library how much freed memory to keep")]
mod heap;
mod outbox;
mod panics;
mod streams;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use execute::{Executor, Registered, Tasks};
use heap::Heap;
use outbox::{Outbox, SendFailed};
pub(crate) use streams::{ReplySink, WorkSource};

use crate::current::{clear_current, set_current};
use crate::page::{PageWorker, monotonic_ns};
use crate::slab::{ArenaReader, WindowWriter};
use crate::wire::{self, Item, LargeWork, PartAssembler, Received, Run, ToWorker, WireError, WorkView};

/// A task index and encoded arguments.
pub(crate) type EncodedCall = (u32, Vec<u8>);

/// Frames with more items than this are stamped at every [`STAMP_EVERY`]th item only, unless they have a time limit.
const STAMP_EACH_ITEMS_MAX: u32 = 64;
const STAMP_EVERY: u32 = 16;

/// Finished results wait at most this long for company, if items are short enough for the clock to be read meanwhile.
const FLUSH_AFTER_NS: u64 = 500_000;

/// A worker that had large items gives memory back when it has had nothing to do for so long.
const IDLE: Duration = Duration::from_secs(1);

/// What a worker does before it takes work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) slot: u32,
    pub(crate) preload: Option<EncodedCall>,
    pub(crate) initializer: Option<EncodedCall>,
}

/// The memory it shares with the master.
pub(crate) struct Shared {
    pub(crate) page: PageWorker,
    pub(crate) window: WindowWriter,
    pub(crate) arena: ArenaReader,
}

/// Why a worker stopped working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WorkerEnd {
    /// It was told to.
    Stopped,
    /// The master is gone.
    Disconnected,
    /// It could not prepare itself, and said so.
    InitFailed,
    /// Its channels do not work: a task closed them, or the master is gone.
    ChannelClosed,
    /// The master sent something that makes no sense.
    Protocol(String),
}

/// Works until told to stop.
pub(crate) fn run_worker(
    source: &impl WorkSource,
    sink: &impl ReplySink,
    shared: Shared,
    setup: &Setup,
) -> WorkerEnd {
    run_with(source, sink, shared, setup, &Registered)
}

/// Runs a preload task or an initializer, and says what went wrong.
pub(crate) fn run_setup(what: &str, task: u32, args: &[u8]) -> Result<(), String> {
    panics::install_hook();
    Executor::new(&Registered).run_setup(what, task, args)
}

fn run_with(
    source: &impl WorkSource,
    sink: &impl ReplySink,
    shared: Shared,
    setup: &Setup,
    tasks: &impl Tasks,
) -> WorkerEnd {
    panics::install_hook();
    let Shared { page, window, arena } = shared;
    let mut worker = Worker {
        source,
        outbox: Outbox::new(sink, page, window),
        arena: &arena,
        executor: Executor::new(tasks),
        slot: setup.slot,
        heap: Heap::default(),
    };
    let result = worker.prepare(setup).and_then(|()| {
        loop {
            worker.serve_frame()?;
        }
    });
    match result {
        Ok(never) => never,
        Err(end) => end,
    }
}

struct Worker<'a, S, K, T> {
    source: &'a S,
    outbox: Outbox<'a, K>,
    arena: &'a ArenaReader,
    executor: Executor<'a, T>,
    slot: u32,
    heap: Heap,
}

/// The end of the loop travels as an error, so that `?` leaves it.
type Step = Result<(), WorkerEnd>;

impl From<SendFailed> for WorkerEnd {
    fn from(SendFailed: SendFailed) -> WorkerEnd {
        WorkerEnd::ChannelClosed
    }
}

impl From<WireError> for WorkerEnd {
    fn from(error: WireError) -> WorkerEnd {
        WorkerEnd::Protocol(error.to_string())
    }
}

impl<S: WorkSource, K: ReplySink, T: Tasks> Worker<'_, S, K, T> {
    fn prepare(&mut self, setup: &Setup) -> Step {
        for (what, call) in [("preload", &setup.preload), ("initializer", &setup.initializer)] {
            if let Some((task, args)) = call
                && let Err(message) = self.executor.run_setup(what, *task, args)
            {
                self.outbox.send_with(|frame| wire::init_failed(frame, &message))?;
                return Err(WorkerEnd::InitFailed);
            }
        }
        let fingerprint = self.executor.fingerprint();
        Ok(self.outbox.send_with(|frame| wire::ready(frame, fingerprint))?)
    }

    fn serve_frame(&mut self) -> Step {
        if self.heap.is_kept_warm() && !self.source.is_ready_within(IDLE) {
            self.executor.give_back();
            self.heap.give_back();
        }
        let frame = self.receive()?;
        match ToWorker::parse(&frame)? {
            ToWorker::Work(work) => self.run_work(&work),
            ToWorker::LargeWork(large) => self.run_large(&large),
            ToWorker::Part(_) => Err(WorkerEnd::Protocol("a part belongs to no item".to_owned())),
            ToWorker::Stop => Err(WorkerEnd::Stopped),
        }
    }

    fn receive(&self) -> Result<Vec<u8>, WorkerEnd> {
        match self.source.receive() {
            Received::Frame(frame) => Ok(frame),
            Received::Disconnected => Err(WorkerEnd::Disconnected),
            // The master sends frames only, so the channel itself is broken: a task closed or replaced it.
            Received::Violation(_) => Err(WorkerEnd::ChannelClosed),
        }
    }

    fn run_work(&mut self, work: &WorkView<'_>) -> Step {
        let stamps_each = work.timed || work.items <= STAMP_EACH_ITEMS_MAX;
        self.outbox.begin_segment(monotonic_ns());
        let mut taken_back = false;
        let mut last_task = None;
        for (position, item) in (0..).zip(work.items()) {
            let item = item?;
            if taken_back {
                continue;
            }
            if last_task.replace(item.run.task).is_some_and(|last| last != item.run.task) {
                // Another task may take much longer, and results that are ready must not wait for it.
                self.outbox.flush()?;
            }
            let is_stamped = stamps_each || position % STAMP_EVERY == 0;
            taken_back = !self.run_item(work.frame_no, position, item, is_stamped)?;
        }
        self.outbox.flush()?;
        if taken_back {
            self.outbox.send_with(|frame| wire::frame_done(frame, work.frame_no))?;
        }
        Ok(())
    }

    /// Runs one item, if it is still ours. False: it and all that follow were taken back.
    fn run_item(
        &mut self,
        frame_no: u32,
        position: u32,
        item: Item<'_>,
        is_stamped: bool,
    ) -> Result<bool, WorkerEnd> {
        if is_stamped {
            let now_ns = monotonic_ns();
            if self.outbox.is_waiting_since(now_ns) >= FLUSH_AFTER_NS {
                self.outbox.flush()?;
            } else {
                self.outbox.note_busy(now_ns);
            }
        }
        if is_stamped {
            // Before the claim: between the two the master would take the stamp of the item before for this one's,
            // and could find it overdue as it begins.
            self.outbox.page().stamp(monotonic_ns());
        }
        match self.outbox.page().claim(frame_no) {
            None => return Ok(false),
            Some(claimed) if claimed != position => {
                return Err(WorkerEnd::Protocol(format!(
                    "item {position} of frame {frame_no} was claimed as {claimed}"
                )));
            }
            Some(_) => {}
        }
        let Run { task, first: index, attempt, timeout_ns } = item.run;
        set_current(self.executor.path(task), index, attempt, self.slot, timeout_ns);
        let outcome = self.executor.run(task, item.payload);
        clear_current();
        if outcome.payload.len() > wire::FRAME_BYTES_MAX {
            self.heap.keep_warm();
        }
        self.outbox.record(frame_no, position, outcome.status, outcome.payload)?;
        Ok(true)
    }

    fn run_large(&mut self, large: &LargeWork) -> Step {
        self.heap.keep_warm();
        match large.place {
            None => {
                let payload = self.receive_parts(large.total)?;
                self.run_large_item(large, &payload)
            }
            Some(place) => {
                let Some(payload) = self.arena.bytes(place, large.total) else {
                    return Err(WorkerEnd::Protocol("a large item lies nowhere".to_owned()));
                };
                self.run_large_item(large, payload)
            }
        }
    }

    fn receive_parts(&mut self, total: u32) -> Result<Vec<u8>, WorkerEnd> {
        let mut parts = PartAssembler::new(total);
        while !parts.is_complete() {
            let frame = self.receive()?;
            let ToWorker::Part(part) = ToWorker::parse(&frame)? else {
                return Err(WorkerEnd::Protocol("a large item was interrupted by another frame".to_owned()));
            };
            parts.push(part)?;
            self.outbox.send_with(wire::part_taken)?;
        }
        Ok(parts.into_bytes())
    }

    fn run_large_item(&mut self, large: &LargeWork, payload: &[u8]) -> Step {
        self.outbox.begin_segment(monotonic_ns());
        let is_ours = self.run_item(large.frame_no, 0, Item { run: large.run, payload }, true)?;
        self.outbox.flush()?;
        if !is_ours {
            self.outbox.send_with(|frame| wire::frame_done(frame, large.frame_no))?;
        }
        Ok(())
    }
}

/// For `catch_unwind` around what does not outlive a panic.
fn quietly<R>(run: impl FnOnce() -> R) -> std::thread::Result<R> {
    std::panic::catch_unwind(AssertUnwindSafe(run))
}
