//! A worker process and its channels: frames under way, one item at a time, replies now and then.

use std::collections::VecDeque;
use std::ops::Range;

/// Messages of work that a worker may have outstanding, as in the driver.
pub(crate) const FRAMES_MAX: usize = 2;

/// Results wait this long for company, at most; looked at between items.
const FLUSH_AFTER_NS: u64 = 500_000;

/// Of a frame with many items, only every so many look at the clock.
const STAMP_EACH_ITEMS_MAX: u64 = 64;
const STAMP_EVERY: u64 = 16;

/// One message of work, as both sides know it: the shared page is what keeps them in step.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) runs: VecDeque<Range<u64>>,
    pub(crate) items: u64,
    /// From its front: items that were started, and whose replies were heard.
    pub(crate) claimed: u64,
    pub(crate) done: u64,
    /// From its back: taken back before they were started.
    pub(crate) reclaimed: u64,
    arrived: bool,
}

/// What a worker sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Results {
        items: u64,
        busy_ns: u64,
    },
    /// It is past a frame of which something was taken back.
    FrameDone,
}

/// What a worker does next.
pub(crate) enum Step {
    /// It is busy until then.
    Until(u64),
    /// It waits for a message.
    Wait,
}

#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// Handed out, not sent: for want of credit, or not yet.
    pub(crate) outbox: VecDeque<Range<u64>>,
    pub(crate) frames: VecDeque<Frame>,
    /// How many frames from the front it is past, of those whose end the master has not heard of.
    past: usize,
    is_running: bool,
    /// Items of the present frame that ended and were not sent.
    unsent: u64,
    segment_start: u64,
}

impl Worker {
    /// Packs all that waits into the next frame, if there is credit. `None`: there is none, or nothing waits.
    pub(crate) fn pack(&mut self) -> Option<u64> {
        if self.outbox.is_empty() || self.frames.len() >= FRAMES_MAX {
            return None;
        }
        let runs = std::mem::take(&mut self.outbox);
        let items = runs.iter().map(|run| run.end - run.start).sum();
        self.frames.push_back(Frame { runs, items, claimed: 0, done: 0, reclaimed: 0, arrived: false });
        Some(items)
    }

    /// The oldest frame under way is there. `true`: the worker was waiting for it.
    pub(crate) fn arrive(&mut self) -> bool {
        let frame = self.frames.iter_mut().find(|frame| !frame.arrived).expect("a frame was under way");
        frame.arrived = true;
        !self.is_running
    }

    /// Takes back all that was not started.
    pub(crate) fn reclaim(&mut self) -> u64 {
        let mut taken: u64 = self.outbox.drain(..).map(|run| run.end - run.start).sum();
        for frame in self.frames.iter_mut().rev() {
            let back = frame.items - frame.reclaimed - frame.claimed;
            taken += back;
            frame.reclaimed += back;
            if frame.claimed > 0 {
                break;
            }
        }
        taken
    }

    /// The master heard of it.
    pub(crate) fn hear(&mut self, reply: &Reply) {
        let front = self.frames.front_mut().expect("a reply is about a frame");
        if let Reply::Results { items, .. } = reply {
            front.done += items;
        }
        if front.done == front.items || *reply == Reply::FrameDone {
            self.frames.pop_front();
            self.past -= 1;
        }
    }

    /// Goes on at `now`: the running item, if any, has ended. Replies that are sent meanwhile are put into `sent`, each
    /// with the moment at which it left.
    pub(crate) fn go_on(
        &mut self,
        mut now: u64,
        times: &[u64],
        frame_ns: u64,
        item_ns: u64,
        sent: &mut Vec<(u64, Reply)>,
    ) -> Step {
        if std::mem::take(&mut self.is_running) {
            self.unsent += 1;
        }
        loop {
            let Some(frame) = self.frames.get_mut(self.past).filter(|frame| frame.arrived) else {
                return Step::Wait;
            };
            let position = frame.claimed;
            if position == 0 {
                self.segment_start = now;
            }
            if position == frame.items - frame.reclaimed {
                let is_cut = frame.reclaimed > 0;
                now = self.flush(now, frame_ns, sent);
                if is_cut {
                    sent.push((now, Reply::FrameDone));
                }
                self.past += 1;
                continue;
            }
            let is_stamped = frame.items <= STAMP_EACH_ITEMS_MAX || position.is_multiple_of(STAMP_EVERY);
            let item = frame.claim();
            if is_stamped && self.unsent > 0 && now - self.segment_start >= FLUSH_AFTER_NS {
                now = self.flush(now, frame_ns, sent);
            }
            self.is_running = true;
            return Step::Until(now + item_ns + times[item as usize]);
        }
    }

    /// Sends what has been collected; when that is done.
    fn flush(&mut self, now: u64, frame_ns: u64, sent: &mut Vec<(u64, Reply)>) -> u64 {
        let items = std::mem::take(&mut self.unsent);
        let busy_ns = now - self.segment_start;
        if items > 0 {
            sent.push((now + frame_ns, Reply::Results { items, busy_ns }));
        }
        self.segment_start = now;
        now + frame_ns
    }
}

impl Frame {
    /// Starts the next item.
    fn claim(&mut self) -> u64 {
        self.claimed += 1;
        let run = self.runs.front_mut().expect("an item is left");
        let item = run.start;
        run.start += 1;
        if run.is_empty() {
            self.runs.pop_front();
        }
        item
    }
}
