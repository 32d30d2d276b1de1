//! The worker's loop: takes frames of work, runs their items one after another, sends what became of them.
//!
//! It is given its streams, its page and the tasks, so tests drive it without a process. It knows no scheduling, and
//! it never fails an item by itself: what a task does wrong becomes the item's outcome.

mod execute;
#[expect(unsafe_code, reason = "tells the C library how much freed memory to keep")]
mod heap;
mod meter;
mod outbox;
mod pace;
mod panics;
mod streams;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use execute::{Executor, Outcome, Registered, Tasks};
use heap::Heap;
use outbox::{Outbox, SendFailed};
use pace::Pace;
pub(crate) use streams::{ReplySink, WorkSource};

use crate::broadcast;
use crate::current::with_current;
use crate::page::{Begun, PageWorker};
use crate::region;
use crate::slab::{ArenaReader, WindowWriter};
use crate::wire::{
    self, Demands, LargeWork, PartAssembler, Payloads, Received, Run, ToWorker, WireError, WorkRun, WorkView,
};

/// A task index and encoded arguments.
pub(crate) type EncodedCall = (u32, Vec<u8>);

/// Finished results wait at most this long for company, if items are short enough for the clock to be read meanwhile.
const FLUSH_AFTER_NS: u64 = 500_000;

/// A worker that had large items or shared data gives memory back when it has had nothing to do for so long.
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
    region::enter_worker();
    run_with(source, sink, shared, setup, &Registered)
}

/// What is done once per process, and need not be done anew in one that is forked from it.
pub(crate) fn prepare() {
    panics::install_hook();
    Registered.fingerprint();
}

/// Runs a preload task or an initializer, and says what went wrong.
pub(crate) fn run_setup(what: &str, task: u32, args: &[u8]) -> Result<(), String> {
    region::enter_worker();
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
        pace: Pace::default(),
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
    pace: Pace,
    slot: u32,
    heap: Heap,
}

/// What is left of a run in a frame.
struct Section<'a> {
    frame_no: u32,
    demands: Demands,
    /// As it would be if it began with the next item.
    run: Run,
    /// Of the next item in the frame.
    position: u32,
    /// Behind the run's last item.
    end: u32,
    payloads: Payloads<'a>,
}

impl<'a> Section<'a> {
    fn advance(&mut self, items: u32, payloads: Payloads<'a>) {
        self.position += items;
        self.run.first = self.run.first.wrapping_add(u64::from(items));
        self.payloads = payloads;
    }
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
        for (step, what, call) in [(0, "preload", &setup.preload), (1, "initializer", &setup.initializer)] {
            let Some((task, args)) = call else { continue };
            self.outbox.send_with(|frame| wire::setting_up(frame, step))?;
            if let Err(message) = self.executor.run_setup(what, *task, args) {
                self.outbox.send_with(|frame| wire::init_failed(frame, &message))?;
                return Err(WorkerEnd::InitFailed);
            }
        }
        let fingerprint = self.executor.fingerprint();
        Ok(self.outbox.send_with(|frame| wire::ready(frame, fingerprint))?)
    }

    fn serve_frame(&mut self) -> Step {
        let frame = self.next_frame()?;
        broadcast::forget_retired();
        match ToWorker::parse(&frame)? {
            ToWorker::Work(work) => self.run_work(work),
            ToWorker::LargeWork(large) => self.run_large(&large),
            ToWorker::Part(_) => Err(WorkerEnd::Protocol("a part belongs to no item".to_owned())),
            ToWorker::Stop => Err(WorkerEnd::Stopped),
        }
    }

    /// Once each time it falls idle: an idle pool sleeps. What is retired later goes with the next frame.
    fn give_back(&mut self) {
        broadcast::forget_retired();
        if self.heap.is_kept_warm() {
            self.executor.give_back();
            self.outbox.give_back();
            self.heap.give_back();
        }
    }

    fn next_frame(&mut self) -> Result<Vec<u8>, WorkerEnd> {
        if self.heap.is_kept_warm() || region::has_mapped() {
            match self.source.receive_within(IDLE) {
                Some(received) => return frame_of(received),
                None => self.give_back(),
            }
        }
        self.receive()
    }

    fn receive(&self) -> Result<Vec<u8>, WorkerEnd> {
        frame_of(self.source.receive())
    }

    fn run_work(&mut self, mut work: WorkView<'_>) -> Step {
        let mut clock = self.outbox.begin_frame(work.demands.measured);
        let (mut position, mut payloads) = (0_u32, None);
        while let Some(WorkRun { run, items, payloads: fresh }) = work.next_run(payloads)? {
            let end = position.saturating_add(items);
            if end > work.items {
                return Err(WorkerEnd::Protocol("a frame has more items than it says".to_owned()));
            }
            if self.pace.turn_to(run.task) {
                // It may take much longer, and results that are ready must not wait for it.
                self.outbox.flush()?;
            }
            let mut section = Section {
                frame_no: work.frame_no,
                demands: work.demands,
                run,
                position,
                end,
                payloads: fresh,
            };
            while section.position < end {
                if !self.run_stride(&mut section, &mut clock)? {
                    self.outbox.flush()?;
                    return Ok(self.outbox.send_with(|frame| wire::frame_done(frame, work.frame_no))?);
                }
            }
            (position, payloads) = (end, Some(section.payloads));
        }
        if position != work.items {
            return Err(WorkerEnd::Protocol("a frame has fewer items than it says".to_owned()));
        }
        Ok(self.outbox.flush()?)
    }

    /// Runs as many of the section's next items as may go by between two looks at the clock. False: what is left was
    /// taken back.
    fn run_stride(&mut self, section: &mut Section<'_>, clock: &mut u64) -> Result<bool, WorkerEnd> {
        let Section { frame_no, run, position, .. } = *section;
        let Some(path) = self.executor.path(run.task) else {
            return self.run_unknown(section);
        };
        if self.outbox.waiting_ns(*clock) >= FLUSH_AFTER_NS {
            self.outbox.flush()?;
            *clock = self.outbox.page().now_ns();
        } else {
            self.outbox.note_busy(*clock);
        }
        // Before an item is claimed: between the two the master would take the stamp of the item before for this
        // one's, and could find it overdue as it begins.
        self.outbox.page().stamp(*clock);
        let items = if section.demands.timed { 1 } else { self.pace.items };
        let end = section.end.min(position.saturating_add(items));
        let (executor, outbox) = (&mut self.executor, &mut self.outbox);
        let (progress, outcome) = with_current(path, run.attempt, self.slot, run.timeout_ns, |index| {
            let mut batch = outbox.batch(frame_no, section.payloads, position, end, run.first, index);
            let outcome = executor.run_batch(run.task, &mut batch);
            (batch.finish(), outcome)
        });
        let done = progress.position - position + u32::from(progress.is_under_way);
        section.advance(done, progress.payloads);
        self.outbox.resume(&progress);
        if let Some(damage) = progress.damage {
            return Err(damage.into());
        }
        match outcome {
            Some(Outcome { status, payload }) => {
                self.outbox.record(frame_no, progress.position, status, payload)?;
            }
            None if progress.is_aside => {
                if self.outbox.is_large_aside() {
                    self.heap.keep_warm();
                }
                self.outbox.record_aside(frame_no, progress.position)?;
            }
            None => self.outbox.flush_if_full()?,
        }
        let now = self.outbox.page().now_ns();
        self.pace.note(done, now.saturating_sub(*clock));
        *clock = now;
        Ok(!progress.is_taken_back)
    }

    /// The next item of a task that is not here.
    fn run_unknown(&mut self, section: &mut Section<'_>) -> Result<bool, WorkerEnd> {
        let payload = section.payloads.next()?;
        let is_ours = self.run_alone(section.frame_no, section.position, section.run, payload)?;
        section.advance(1, section.payloads);
        Ok(is_ours)
    }

    /// Runs one item without a batch, if it is still ours. False: it and all that follow were taken back.
    fn run_alone(
        &mut self,
        frame_no: u32,
        position: u32,
        run: Run,
        payload: &[u8],
    ) -> Result<bool, WorkerEnd> {
        let page = self.outbox.page();
        page.stamp(page.now_ns());
        if self.outbox.page().claims(frame_no).begin(position) == Begun::No {
            return Ok(false);
        }
        let path = self.executor.path(run.task).unwrap_or("unknown task");
        let outcome = with_current(path, run.attempt, self.slot, run.timeout_ns, |index| {
            index.set(run.first);
            self.executor.run(run.task, payload)
        });
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
        self.outbox.begin_frame(large.demands.measured);
        let is_ours = self.run_alone(large.frame_no, 0, large.run, payload)?;
        self.outbox.flush()?;
        if !is_ours {
            self.outbox.send_with(|frame| wire::frame_done(frame, large.frame_no))?;
        }
        Ok(())
    }
}

/// What a worker can be sent is a frame, or the end.
fn frame_of(received: Received) -> Result<Vec<u8>, WorkerEnd> {
    match received {
        Received::Frame(frame) => Ok(frame),
        Received::Disconnected => Err(WorkerEnd::Disconnected),
        // The master sends frames only, so the channel itself is broken: a task closed or replaced it.
        Received::Violation(_) => Err(WorkerEnd::ChannelClosed),
    }
}

/// For `catch_unwind` around what does not outlive a panic.
fn quietly<R>(run: impl FnOnce() -> R) -> std::thread::Result<R> {
    std::panic::catch_unwind(AssertUnwindSafe(run))
}
