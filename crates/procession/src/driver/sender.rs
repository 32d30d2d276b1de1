//! Sending to workers: plan under the lock, build and send outside it, one sender a worker at a time.
//!
//! Order matters (a large payload's parts follow its head), so the thread that finds a seat without a sender sends
//! everything planned for it until nothing is left; whoever comes meanwhile only leaves its work in the queue.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use procession_core::WorkerId;

use super::Driver;
use super::message::{Message, WorkRun};
use super::seat::Link;
use crate::wire::{self, WorkBuilder};

thread_local! {
    /// The frame being built: one buffer a sending thread, so that sending allocates nothing.
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Driver {
    /// Sends what the worker in `slot` may be sent now.
    pub(super) fn pump(&self, slot: u32) {
        let Some((generation, mut link, mut message)) = self.plan(slot, None) else {
            return;
        };
        loop {
            match transmit(&link, &message) {
                Ok(()) => {}
                // Its death is noticed, and what it had is moved, elsewhere.
                Err(error) if is_gone(&error) => {
                    tracing::debug!(slot, %error, "could not send to the worker")
                }
                // It counts as sent, and nobody would ever look for it again.
                Err(error) => {
                    let worker = WorkerId { slot, generation };
                    self.with_state(|state, now, effects| state.unsent(now, worker, &error, effects));
                }
            }
            match self.plan(slot, Some(generation)) {
                Some((_, next_link, next)) => (link, message) = (next_link, next),
                None => break,
            }
        }
        // It may have been the last to hold a large argument.
        drop((link, message));
        self.look_after_arena();
    }

    /// The next message for the seat. A caller that is the sender of generation `mine` stops being it when nothing
    /// is left; any other becomes the sender, unless there is one.
    fn plan(&self, slot: u32, mine: Option<u32>) -> Option<(u32, Arc<Link>, Message)> {
        let mut state = self.state.lock();
        let (seat, jobs) = state.seat_and_jobs(slot)?;
        match mine {
            None if seat.sending => return None,
            // Another worker sits there by now, with a sender of its own.
            Some(generation) if generation != seat.generation => return None,
            None | Some(_) => {}
        }
        // What is queued for a worker that is still being started waits for its link.
        let link = Arc::clone(seat.link.as_ref()?);
        let planned = seat.plan(jobs);
        seat.sending = planned.is_some();
        let (generation, message) = (seat.generation, planned?);
        let summoned = seat.ear.summon();
        let is_earlier = message.holds_several_items() && state.expect_late_results();
        drop(state);
        if let Some(reader) = summoned {
            reader.unpark();
        }
        if is_earlier {
            self.mailbox.post(Vec::new());
        }
        Some((generation, link, message))
    }
}

/// Whether a send failed because nobody receives any more.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | NotConnected)
}

fn transmit(link: &Link, message: &Message) -> io::Result<()> {
    FRAME.with_borrow_mut(|frame| {
        match message {
            Message::Work { frame: number, demands, runs } => {
                let mut builder = WorkBuilder::begin(frame, *number, *demands);
                for WorkRun { run, slice } in runs {
                    if let Some((each, payloads)) = slice.uniform() {
                        builder.uniform_run(run, each, payloads);
                        continue;
                    }
                    builder.run(run);
                    for position in slice.start..slice.start + slice.items {
                        builder.push(slice.segment.item(position));
                    }
                }
                builder.finish();
            }
            Message::LargeWork { frame: number, demands, run: WorkRun { run, slice }, place } => {
                let length = slice.segment.item(slice.start).len();
                wire::large_work(frame, *number, *demands, run, length, *place).map_err(io::Error::other)?;
            }
            Message::Part { segment, position, start, end } => {
                wire::part(frame, &segment.item(*position)[*start..*end]);
            }
            Message::Stop => wire::stop(frame),
        }
        link.sender.send(frame)
    })
}
