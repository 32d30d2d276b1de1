//! The master's end of one worker: what is queued for it, what it has, and how much more it may be sent.
//!
//! It plans messages and checks replies; it sends nothing itself, so it can be used under the driver's lock.
//! It knows neither the scheduler's policies nor processes.

mod death;
mod in_flight;
mod life;
mod unsent;

use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) use death::{BootFailure, Death};
use in_flight::{InFlight, expect_frame};
pub(crate) use life::{SetupLimit, SetupStep};
use procession_core::{JobId, Time};
pub(crate) use unsent::Unsent;

use super::backlog::{Segment, Slice};
use super::ear::Ear;
use super::jobs::Jobs;
use super::message::{Handout, Message, WorkRun};
use crate::page::PageMaster;
use crate::slab::Block;
use crate::wire::{self, Demands, Outlet, ResultsHeader, Run};

/// Parts of a large payload under way: the frames a worker may have outstanding, less the one that announced them.
const PARTS_MAX: u32 = wire::CREDIT_FRAMES_MAX - 1;

/// A worker that has so many frames is not sent another one for less than [`FULL_ITEMS`]: a burst of single calls
/// would be a burst of system calls.
const FRAMES_AHEAD: usize = 2;
const FULL_ITEMS: u64 = 64;

/// Room that a frame's list of runs begins with, at most.
const RUNS_EXPECTED_MAX: usize = 256;

/// The connection to a worker process, shared with whoever is sending to it just now.
pub(crate) struct Link {
    pub(crate) sender: Outlet,
    /// A clone of the worker's own sending end, for the farewell and to wake a caller that listens.
    pub(crate) goodbye: Outlet,
    pub(crate) page: PageMaster,
    pub(crate) pid: u32,
}

/// One seat of the pool, and the worker that sits there.
#[derive(Default)]
pub(crate) struct Seat {
    pub(crate) generation: u32,
    /// Which of the pool's workers it is. Another seat may be for the same one, while workers are replaced.
    pub(crate) place: u32,
    pub(crate) link: Option<Arc<Link>>,
    /// Set by the supervisor when the process is dead and its status is read, before the farewell.
    pub(crate) death: Option<Death>,
    /// The worker took up its work: whatever ends it from now on is no failure to start.
    pub(crate) is_ready: bool,
    /// What it runs before it is ready, once it has come to that.
    pub(crate) setup: Option<SetupStep>,
    /// Why the worker can never become ready, when it told us or its start-up did.
    pub(crate) boot_failure: Option<BootFailure>,
    /// What a misbehaving worker did, once it did, or what was not sent to it.
    pub(crate) violation: Option<String>,
    /// Who listens to the worker.
    pub(crate) ear: Ear,
    /// The last to be alone with the worker was a caller that waits.
    pub(crate) callers_listen: bool,
    /// A thread is sending; whoever else has news leaves it in the queue.
    pub(crate) sending: bool,
    outbox: VecDeque<Handout>,
    outbox_items: u64,
    stop: bool,
    /// We have killed it, or are about to.
    pub(crate) is_killed: bool,
    /// The worker is being ended: what is still queued may have its outcome by now, its arguments gone.
    ending: bool,
    large: Option<LargeSend>,
    parts_out: u32,
    frames: VecDeque<InFlight>,
    bytes_out: usize,
    next_frame: u32,
    pages_seen: u32,
    early: Early,
    /// Replies heard so far, and how many of them were at the last look for results that are late.
    replies: u64,
    replies_at_look: u64,
}

/// What was taken from the shared page before the worker sent it: it will be sent again.
#[derive(Clone, Copy, Default)]
struct Early {
    items: u32,
    busy_ns: u64,
}

/// How results came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The content of the shared page, which is empty again.
    Page,
    /// Through the window, past the page.
    Window,
}

struct LargeSend {
    segment: Arc<Segment>,
    position: usize,
    sent: usize,
}

impl Seat {
    /// Takes its place for a new worker.
    pub(crate) fn begin(&mut self, generation: u32, place: u32) {
        *self = Seat { generation, place, ..Seat::default() };
    }

    pub(crate) fn queue(&mut self, handout: Handout) {
        self.outbox_items += handout.items;
        self.outbox.push_back(handout);
    }

    /// Whether to wait for company: the worker has a frame to work on and another one to go on with, and each reply
    /// asks again.
    pub(crate) fn is_supplied(&self) -> bool {
        self.frames.len() >= FRAMES_AHEAD && self.outbox_items < FULL_ITEMS
    }

    /// Whether that job is all the worker has to do, and nothing of it was sent yet.
    pub(crate) fn has_only(&self, job: JobId) -> bool {
        let is_next = self.outbox.len() == 1 && self.outbox[0].job == job;
        is_next && self.frames.is_empty() && self.parts_out == 0 && self.large.is_none()
    }

    /// Whether nothing is to be heard of the worker, as far as it depends on us.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.outbox.is_empty() && self.frames.is_empty() && self.parts_out == 0 && self.large.is_none()
    }

    /// What waits here has its outcome already: it is not sent.
    pub(crate) fn drop_queue(&mut self) {
        self.outbox.clear();
        self.outbox_items = 0;
    }

    pub(crate) fn queue_stop(&mut self) {
        self.stop = true;
    }

    /// The worker is being ended.
    pub(crate) fn send_no_more(&mut self) {
        self.ending = true;
    }

    /// The next message the worker may be sent now, with everything accounted for as if it were sent.
    pub(crate) fn plan(&mut self, jobs: &Jobs) -> Option<Message> {
        let link = Arc::clone(self.link.as_ref()?);
        if self.ending {
            return None;
        }
        if self.large.is_some() {
            return self.plan_part();
        }
        if self.outbox.is_empty() {
            let stop = std::mem::take(&mut self.stop);
            return stop.then_some(Message::Stop);
        }
        if self.frames.len() >= wire::CREDIT_FRAMES_MAX as usize
            || self.bytes_out > wire::CREDIT_BYTES_MAX - wire::FRAME_BYTES_MAX
            || self.parts_out > 0
            || self.is_supplied()
        {
            return None;
        }
        let message = self.plan_work(jobs);
        let in_flight = self.frames.back().expect("a planned frame is in flight");
        link.page.open_slot(in_flight.number, in_flight.items);
        Some(message)
    }

    fn plan_part(&mut self) -> Option<Message> {
        if self.parts_out >= PARTS_MAX {
            return None;
        }
        let large = self.large.as_mut()?;
        let total = large.segment.item(large.position).len();
        let start = large.sent;
        let end = total.min(start + wire::PART_BYTES_MAX);
        let (segment, position) = (Arc::clone(&large.segment), large.position);
        large.sent = end;
        self.parts_out += 1;
        if end == total {
            self.large = None;
        }
        Some(Message::Part { segment, position, start, end })
    }

    fn plan_work(&mut self, jobs: &Jobs) -> Message {
        let mut runs: Vec<WorkRun> = Vec::with_capacity(self.outbox.len().min(RUNS_EXPECTED_MAX));
        let mut room = wire::WORK_BYTES_MAX;
        let (mut items, mut demands) = (0, Demands::default());
        while let Some(handout) = self.outbox.front_mut() {
            let entry = jobs.entry(handout.job).expect("a handed-out job is open");
            let mut slice = entry.backlog.slice(handout.first, handout.items);
            let (fitting, bytes) = fitting(&slice, room.saturating_sub(wire::RUN_HEADER_BYTES));
            if fitting == 0 && !runs.is_empty() {
                break;
            }
            let run = Run {
                task: entry.task,
                first: slice.input_index,
                attempt: handout.attempt,
                timeout_ns: entry.timeout_ns(),
            };
            slice.items = fitting.max(1);
            handout.first += slice.items as u64;
            handout.items -= slice.items as u64;
            self.outbox_items -= slice.items as u64;
            if handout.items == 0 {
                self.outbox.pop_front();
            }
            if fitting == 0 {
                let segment = Arc::clone(&slice.segment);
                let place = segment.shared(slice.start).map(Block::offset);
                let held = if place.is_some() {
                    Some(segment)
                } else {
                    self.large = Some(LargeSend { segment, position: slice.start, sent: 0 });
                    None
                };
                let frame = self.open_frame(1, 0, held);
                let demands = entry.demands();
                return Message::LargeWork { frame, demands, run: WorkRun { run, slice }, place };
            }
            items += slice.items as u32;
            demands = demands.and(entry.demands());
            room -= wire::RUN_HEADER_BYTES + bytes;
            runs.push(WorkRun { run, slice });
        }
        let frame = self.open_frame(items, wire::FRAME_BYTES_MAX - room, None);
        Message::Work { frame, demands, runs }
    }

    fn open_frame(&mut self, items: u32, bytes: usize, held: Option<Arc<Segment>>) -> u32 {
        let number = self.next_frame;
        self.next_frame = number.wrapping_add(1);
        self.bytes_out += bytes;
        self.frames.push_back(InFlight { number, bytes, items, done: 0, reclaimed: 0, _held: held });
        number
    }

    /// Checks a reply against what the worker was sent and accounts for it. Returns what is new in it: all but its
    /// first records, if those were taken early.
    pub(crate) fn accept(
        &mut self,
        results: &ResultsHeader,
        origin: Origin,
    ) -> Result<ResultsHeader, String> {
        let mut results = *results;
        if origin == Origin::Page {
            let early = self.early;
            results.items = results
                .items
                .checked_sub(early.items)
                .ok_or("results that were in the shared page are not in the reply")?;
            results.first = results.first.saturating_add(early.items);
            results.busy_ns = results.busy_ns.saturating_sub(early.busy_ns);
        }
        self.account(&results)?;
        // Only now: a reply that is refused is not the page's content.
        if origin == Origin::Page {
            self.early = Early::default();
            self.pages_seen = self.pages_seen.wrapping_add(1);
        }
        Ok(results)
    }

    /// Accounts for results of the frame that is first in turn.
    fn account(&mut self, results: &ResultsHeader) -> Result<(), String> {
        let frame = expect_frame(&mut self.frames, results.frame_no)?;
        if results.first != frame.done {
            return Err(format!(
                "results of frame {} from item {}, expected from item {}",
                frame.number, results.first, frame.done
            ));
        }
        let owed = frame.owed();
        if results.items > owed {
            return Err(format!("{} results where {owed} are owed", results.items));
        }
        frame.done += results.items;
        let is_finished = frame.done == frame.items;
        self.replies += 1;
        if is_finished {
            self.retire_frame();
        }
        Ok(())
    }

    /// The worker is past a frame of which something was taken back.
    pub(crate) fn frame_done(&mut self, number: u32) -> Result<(), String> {
        let frame = expect_frame(&mut self.frames, number)?;
        let missing = frame.owed();
        if missing > 0 {
            return Err(format!("frame {number} ended with {missing} items missing"));
        }
        self.retire_frame();
        Ok(())
    }

    fn retire_frame(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes_out -= frame.bytes;
        }
    }

    pub(crate) fn part_taken(&mut self) -> Result<(), String> {
        self.parts_out = self.parts_out.checked_sub(1).ok_or("acknowledged a part it was never sent")?;
        Ok(())
    }

    /// Takes back every item the worker has not begun: from the queue, and from its frames by the shared page.
    pub(crate) fn reclaim(&mut self) -> u64 {
        let mut taken: u64 = self.outbox.drain(..).map(|handout| handout.items).sum();
        self.outbox_items = 0;
        let Some(link) = &self.link else { return taken };
        for frame in self.frames.iter_mut().rev() {
            let end = frame.items - frame.reclaimed;
            if end == 0 {
                continue;
            }
            let Some((first_unstarted, _)) = link.page.reclaim(frame.number) else {
                break;
            };
            // The page is the worker's to scribble on. One that knows less than was answered does not tell what was
            // begun beyond that, and there is nothing to take where nothing is.
            if first_unstarted < frame.done {
                break;
            }
            let first_unstarted = first_unstarted.min(end);
            taken += u64::from(end - first_unstarted);
            frame.reclaimed += end - first_unstarted;
            if first_unstarted > 0 {
                break;
            }
        }
        taken
    }

    /// The worker is dead and everything about its frames is known: what it might have been reading is free.
    pub(crate) fn let_go(&mut self) {
        self.frames.clear();
        self.large = None;
    }

    /// When the front item started, by the page; `None` if it has not.
    pub(crate) fn running_since(&self) -> Option<Time> {
        let link = self.link.as_ref()?;
        self.is_running().then(|| Time::from_nanos(link.page.started_ns()))
    }

    /// The same for whoever thinks of stopping it. A dead one runs nothing, although nobody was told of its death yet: it was
    /// not a limit that ended it.
    pub(crate) fn alive_since(&self) -> Option<Time> {
        self.running_since().filter(|_| self.death.is_none())
    }

    /// Whether the first item without a reply has been started.
    pub(crate) fn is_running(&self) -> bool {
        self.may_have_begun() > 0
    }

    /// How many of the items it owes, from the first on, the worker has begun or cannot be shown not to have begun. Of a
    /// dead one it is one at most, unless results of it could not be had.
    pub(crate) fn may_have_begun(&self) -> u64 {
        let Some(link) = &self.link else { return 0 };
        let (mut before, mut begun) = (0, 0);
        for frame in self.frames.iter().filter(|frame| frame.owed() > 0) {
            // It comes to the next frame only once it has sent all results of this one. If nothing of it was refused, a
            // later frame counts by a sound note alone: what was sent before went elsewhere, over a replaced descriptor.
            let is_next = before == 0;
            let here = match frame.noted(&link.page) {
                Some(noted) => noted,
                None if is_next || self.violation.is_some() => u64::from(frame.owed()),
                None => 0,
            };
            if here > 0 {
                begun = before + here;
            }
            before += u64::from(frame.owed());
        }
        begun
    }

    /// Whether results are to come.
    pub(crate) fn owes_results(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Why it was not ready when we killed it, if what it ran before had a limit of its own and was over that.
    pub(crate) fn overslept(&self) -> Option<BootFailure> {
        let death = self.death.as_ref().filter(|_| self.is_killed && self.violation.is_none())?;
        self.setup.as_ref()?.outlasted(death.at)
    }
}

/// How many items of the slice fit into `room` bytes, and how many bytes they take there. Those in the arena stay there.
fn fitting(slice: &Slice, room: usize) -> (usize, usize) {
    if let Some(each) = slice.segment.each() {
        let items = slice.items.min(room / each);
        return (items, items * each);
    }
    let (mut items, mut bytes) = (0, 0);
    for position in slice.start..slice.start + slice.items {
        if slice.segment.shared(position).is_some() {
            break;
        }
        let with_next = bytes + wire::ITEM_HEADER_BYTES + slice.segment.item(position).len();
        if with_next > room {
            break;
        }
        (items, bytes) = (items + 1, with_next);
    }
    (items, bytes)
}

#[cfg(test)]
mod tests;
