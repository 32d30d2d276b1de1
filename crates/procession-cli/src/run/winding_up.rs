//! The end of a run that cannot go on because something could not be written: what the pool still tells goes on record, so that
//! whoever goes on with the run knows what never began. And how many outcomes are lost where nothing takes them any more.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use procession::Payload;

use super::Run;
use crate::engine::{Call, LEAVE_WITHIN};
use crate::exit::Stop;
use crate::intake::Desk;
use crate::signals::Request;
use crate::summary::counted;

/// What runs may end by itself for so long.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Brings the run directory up to date with a pool that is to end: nothing more is begun, what runs finishes or is stopped, and
    /// each gets its row. False: it is not known what became of everything, or there is no run directory that can be written.
    pub(super) fn wind_up<I: Iterator<Item = Option<Payload>>>(
        &mut self,
        call: &mut Call<I>,
        desk: &RefCell<Desk>,
    ) -> bool {
        if !self.books.has_store() || self.books.on_record(|record| record.flush()).is_err() {
            return false;
        }
        // What is stopped now is no failure of an item's, and the outputs have had their last line.
        let tally = self.books.tally();
        self.books.leave_to_record();
        self.books.cut_short("the run ended early".to_owned());
        let is_settled = self.take_the_rest(call, desk).is_ok_and(|is_over| is_over);
        *self.books.shared_tally().lock() = tally;
        is_settled && self.books.on_record(|record| record.flush()).is_ok()
    }

    /// Settles what the stream still gives; whether it has ended within its limit.
    fn take_the_rest<I: Iterator<Item = Option<Payload>>>(
        &mut self,
        call: &mut Call<I>,
        desk: &RefCell<Desk>,
    ) -> Result<bool, Stop> {
        call.drain();
        let start = Instant::now();
        let mut is_stopped = false;
        while start.elapsed() < LEAVE_WITHIN {
            if !is_stopped && start.elapsed() >= FINISH_WITHIN {
                is_stopped = true;
                call.terminate(&self.engine);
            }
            match call.results(super::LOOK_UP_EVERY)? {
                None => self.books.on_record(|record| record.tick())?,
                Some(None) => return self.end_retries().map(|()| true),
                Some(Some((payload, Err(_)))) if !desk.borrow().has(payload) => {}
                Some(Some(answer)) => self.settle(call, desk, answer)?,
            }
        }
        Ok(false)
    }

    /// There are no more outcomes, and all are on record before anybody forgets them.
    pub(super) fn end_call<I: Iterator<Item = Option<Payload>>>(&self, call: Call<I>) -> Result<(), Stop> {
        if call.awaits_record() {
            self.books.on_record(|record| record.flush())?;
        }
        call.end(self.stage == Request::Run && self.books.why_cut_short().is_none());
        Ok(())
    }

    /// Says for how many items nothing was written.
    pub(super) fn count_unrecorded(&self, stop: Stop, items: u64) -> Stop {
        let mut unrecorded = Some(items.saturating_sub(self.books.certain() + self.books.recorded()));
        let _ = self.books.on_record(|record| {
            let kept = record.unrecorded();
            unrecorded = if kept.is_some() { kept.filter(|items| *items > 0) } else { unrecorded };
            Ok(())
        });
        match (stop, unrecorded) {
            (Stop::Unwritable(what), Some(unrecorded)) => {
                Stop::Unwritable(format!("{what}; {unrecorded} of {} unrecorded", counted(items, "outcome")))
            }
            (other, _) => other,
        }
    }
}

pub(super) fn with_unrecorded(stop: Stop, unrecorded: u64) -> Stop {
    match stop {
        Stop::Unwritable(what) => {
            Stop::Unwritable(format!("{what}; {} unrecorded", counted(unrecorded, "outcome")))
        }
        other => other,
    }
}
