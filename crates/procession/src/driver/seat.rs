//! The master's end of one worker: what is queued for it, what it has, and how much more it may be sent.
//!
//! It plans messages and checks replies; it sends nothing itself, so it can be used under the driver's lock.
//! It knows neither the scheduler's policies nor processes.

use std::collections::VecDeque;
use std::sync::Arc;

use ipc_channel::ipc::IpcBytesSender;
use procession_core::{JobId, Time};

use super::backlog::{Segment, Slice};
use super::jobs::Jobs;
use crate::error::{Error, Loss, WorkerExit};
use crate::page::PageMaster;
use crate::wire::{self, FRAME_MAX, PART_MAX, ResultsHeader};

/// Frames a worker may have unread or unfinished. Four frames of [`FRAME_MAX`] bytes fit the smallest socket buffer
/// Linux gives by default (208 KiB, counted with the kernel's own overhead), so a send within this bound never
/// blocks; one runs while the others wait, so more would gain nothing.
const FRAMES_MAX: usize = 4;

/// Parts of a large payload under way: the same bound, less the frame that announced them.
const PARTS_MAX: u32 = 3;

/// The connection to a worker process, shared with whoever is sending to it just now.
pub(crate) struct Link {
    pub(crate) sender: IpcBytesSender,
    /// A clone of the worker's own sending end, for the farewell.
    pub(crate) goodbye: IpcBytesSender,
    pub(crate) page: PageMaster,
    pub(crate) pid: u32,
}

/// One seat of the pool, and the worker that sits there.
#[derive(Default)]
pub(crate) struct Seat {
    pub(crate) generation: u32,
    pub(crate) link: Option<Arc<Link>>,
    /// Set by the supervisor when the process is dead and its status is read, before the farewell.
    pub(crate) death: Option<Death>,
    /// Why the worker can never become ready, when it told us or its start-up did.
    pub(crate) boot_failure: Option<BootFailure>,
    /// What a misbehaving worker did, once it did.
    pub(crate) violation: Option<String>,
    /// A thread is sending; whoever else has news leaves it in the queue.
    pub(crate) sending: bool,
    pub(crate) starts: u64,
    outbox: VecDeque<Handout>,
    stop: bool,
    large: Option<LargeSend>,
    parts_out: u32,
    frames: VecDeque<InFlight>,
    next_frame: u32,
    results_seen: u32,
}

/// How a worker process ended.
#[derive(Clone)]
pub(crate) struct Death {
    pub(crate) exit: WorkerExit,
    pub(crate) peak_rss: Option<u64>,
    pub(crate) output_tail: Option<String>,
    pub(crate) at: Time,
}

/// Why a worker never became ready.
pub(crate) struct BootFailure {
    pub(crate) error: Error,
    pub(crate) fatal: bool,
}

/// Items the scheduler gave to this worker, not yet in a message.
pub(crate) struct Handout {
    pub(crate) job: JobId,
    pub(crate) first: u64,
    pub(crate) items: u64,
    pub(crate) attempt: u32,
}

/// A message, planned under the lock and built outside it.
pub(crate) enum Message {
    Work { frame: u32, runs: Vec<WorkRun> },
    LargeWork { frame: u32, run: WorkRun },
    Part { segment: Arc<Segment>, position: usize, start: usize, end: usize },
    Stop,
}

pub(crate) struct WorkRun {
    pub(crate) header: wire::RunHeader,
    pub(crate) slice: Slice,
}

struct LargeSend {
    segment: Arc<Segment>,
    position: usize,
    sent: usize,
}

struct InFlight {
    number: u32,
    items: u32,
    done: u32,
    reclaimed: u32,
}

impl Seat {
    /// Takes its place for a new worker.
    pub(crate) fn begin(&mut self, generation: u32) {
        let starts = self.starts + 1;
        *self = Seat { generation, starts, ..Seat::default() };
    }

    pub(crate) fn queue(&mut self, handout: Handout) {
        self.outbox.push_back(handout);
    }

    pub(crate) fn queue_stop(&mut self) {
        self.stop = true;
    }

    /// The next message the worker may be sent now, with everything accounted for as if it were sent.
    pub(crate) fn plan(&mut self, jobs: &Jobs) -> Option<Message> {
        let link = Arc::clone(self.link.as_ref()?);
        if let Some(large) = &mut self.large {
            return (self.parts_out < PARTS_MAX).then(|| {
                self.parts_out += 1;
                let total = large.segment.item(large.position).len();
                let start = large.sent;
                let end = total.min(start + PART_MAX);
                large.sent = end;
                let segment = Arc::clone(&large.segment);
                let position = large.position;
                if end == total {
                    self.large = None;
                }
                Message::Part { segment, position, start, end }
            });
        }
        if self.outbox.is_empty() {
            let stop = std::mem::take(&mut self.stop);
            return stop.then_some(Message::Stop);
        }
        if self.frames.len() >= FRAMES_MAX || self.parts_out > 0 {
            return None;
        }
        let message = self.plan_work(jobs);
        let in_flight = self.frames.back().expect("a planned frame is in flight");
        link.page.open_slot(in_flight.number, in_flight.items);
        Some(message)
    }

    fn plan_work(&mut self, jobs: &Jobs) -> Message {
        let mut runs: Vec<WorkRun> = Vec::new();
        let mut items = 0;
        let mut room = FRAME_MAX - wire::WORK_HEADER;
        while let Some(handout) = self.outbox.front_mut() {
            let Some(left) = room.checked_sub(wire::RUN_HEADER) else { break };
            let entry = jobs.entry(handout.job).expect("a handed-out job is open");
            let mut slice = entry.backlog.slice(handout.first, handout.items);
            let fitting = fitting(&slice, left);
            if fitting == 0 && !runs.is_empty() {
                break;
            }
            let large = fitting == 0;
            slice.items = fitting.max(1);
            let bytes: usize = if large {
                0
            } else {
                (slice.start..slice.start + slice.items)
                    .map(|position| slice.segment.item(position).len() + wire::ITEM_HEADER)
                    .sum()
            };
            let taken = slice.items as u64;
            let header = wire::RunHeader {
                task: entry.job.task.index(),
                job: handout.job,
                first: slice.input_index,
                items: slice.items as u32,
                attempt: handout.attempt,
                timeout: entry.timeout,
            };
            handout.first += taken;
            handout.items -= taken;
            if handout.items == 0 {
                self.outbox.pop_front();
            }
            items += taken as u32;
            if large {
                let frame = self.open_frame(1);
                self.large =
                    Some(LargeSend { segment: Arc::clone(&slice.segment), position: slice.start, sent: 0 });
                return Message::LargeWork { frame, run: WorkRun { header, slice } };
            }
            room = left - bytes;
            runs.push(WorkRun { header, slice });
        }
        Message::Work { frame: self.open_frame(items), runs }
    }

    fn open_frame(&mut self, items: u32) -> u32 {
        let number = self.next_frame;
        self.next_frame = number.wrapping_add(1);
        self.frames.push_back(InFlight { number, items, done: 0, reclaimed: 0 });
        number
    }

    /// Checks a reply against what the worker was sent and accounts for it.
    pub(crate) fn accept(&mut self, results: &ResultsHeader) -> Result<(), String> {
        let Some(frame) = self.frames.front_mut() else {
            return Err(format!("results of frame {}, which it was never sent", results.frame));
        };
        if results.frame != frame.number || results.offset != frame.done {
            return Err(format!(
                "results of frame {} from item {}, expected frame {} from item {}",
                results.frame, results.offset, frame.number, frame.done
            ));
        }
        let owed = frame.items - frame.done - frame.reclaimed;
        if results.items > owed {
            return Err(format!("{} results where {owed} are owed", results.items));
        }
        if results.finished && results.items < owed {
            return Err(format!("frame {} ended with {} items missing", frame.number, owed - results.items));
        }
        frame.done += results.items;
        self.results_seen = self.results_seen.wrapping_add(1);
        if results.finished {
            self.frames.pop_front();
        }
        Ok(())
    }

    pub(crate) fn part_taken(&mut self) -> Result<(), String> {
        self.parts_out = self.parts_out.checked_sub(1).ok_or("acknowledged a part it was never sent")?;
        Ok(())
    }

    /// Takes back every item the worker has not begun: from the queue, and from its frames by the shared page.
    pub(crate) fn reclaim(&mut self) -> u64 {
        let mut taken: u64 = self.outbox.drain(..).map(|handout| handout.items).sum();
        let Some(link) = &self.link else { return taken };
        for frame in self.frames.iter_mut().rev() {
            let end = frame.items - frame.reclaimed;
            let Some(first_unstarted) = link.page.reclaim(frame.number) else { break };
            // The page is the worker's to scribble on: never take back what is done or was never there.
            let first_unstarted = first_unstarted.clamp(frame.done, end);
            taken += u64::from(end - first_unstarted);
            frame.reclaimed += end - first_unstarted;
            if first_unstarted > 0 {
                break;
            }
        }
        taken
    }

    /// When the front item started, by the page; `None` if it has not.
    pub(crate) fn running_since(&self) -> Option<Time> {
        let link = self.link.as_ref()?;
        self.is_running().then(|| Time::from_nanos(link.page.started_ns()))
    }

    /// Whether the first item without a reply has been started.
    pub(crate) fn is_running(&self) -> bool {
        let Some(link) = &self.link else { return false };
        let unfinished = self.frames.iter().find(|frame| frame.done + frame.reclaimed < frame.items);
        unfinished.is_some_and(|frame| link.page.claimed(frame.number) > frame.done)
    }

    /// Results the worker had ready and did not get to send. Only when it is dead and its channel is drained.
    pub(crate) fn salvage(&self) -> Option<Vec<u8>> {
        self.link.as_ref()?.page.salvage(self.results_seen)
    }

    /// What a death tells about the item that was running.
    pub(crate) fn loss(&self) -> Loss {
        let death = self.death.as_ref();
        Loss {
            exit: death.map(|death| death.exit),
            note: self.violation.clone(),
            ran: death.and_then(|death| {
                let since = self.running_since()?;
                (since.as_nanos() > 0 && since <= death.at).then(|| death.at.saturating_since(since))
            }),
            peak_rss: death.and_then(|death| death.peak_rss),
            stderr_tail: death.and_then(|death| death.output_tail.clone()),
        }
    }
}

/// How many items of the slice fit into `room` bytes.
fn fitting(slice: &Slice, room: usize) -> usize {
    let mut used = 0;
    (slice.start..slice.start + slice.items)
        .take_while(|&position| {
            used += slice.segment.item(position).len() + wire::ITEM_HEADER;
            used <= room
        })
        .count()
}
