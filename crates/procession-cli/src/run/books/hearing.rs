//! What the books say of rows before they are begun: known, held back, malformed, or again.

use std::time::Instant;

use procession::Payload;

use super::Books;
use crate::diagnostic::Diagnostic;
use crate::exit::Stop;
use crate::failures::INVALID;
use crate::intake::{Admission, Hearer};
use crate::policy::Readings;

impl Books {
    fn admission(&self, index: u64, args: &Payload) -> Result<Admission, Stop> {
        if self.is_known(index, Some(args))? {
            return Ok(Admission::Known);
        }
        self.on_record(|record| record.hand_out(self.place(index))).map(|()| Admission::Run)
    }
}

impl Hearer for Books {
    fn admit(&self, index: u64, args: &Payload) -> Admission {
        self.admission(index, args).unwrap_or_else(|stop| {
            self.stop.borrow_mut().get_or_insert(stop);
            Admission::Close
        })
    }

    fn holds(&self) -> bool {
        let (is_closed, reason) = self.gate.borrow_mut().is_closed(Instant::now(), Readings::now);
        if let Some(reason) = reason {
            let warning = format!("{reason}: nothing new is begun until that has changed; what runs goes on");
            self.warn(&warning);
            if let Err(stop) = self.on_record(|record| record.tell_events(|events| events.held(&reason))) {
                self.stop.borrow_mut().get_or_insert(stop);
            }
        }
        is_closed
    }

    fn again(&self) -> Option<(u64, Payload)> {
        self.again.borrow_mut().take_due(Instant::now())
    }

    fn is_full(&self) -> bool {
        self.again.borrow().is_full()
    }

    fn may_return(&self, under_way: u64) -> bool {
        self.again.borrow().may_come(under_way)
    }

    fn invalid(&self, index: u64, refusal: &Diagnostic) -> bool {
        self.say(&format!("invalid input: item {index}: {}", refusal.headline()));
        self.tally.lock().fail(INVALID);
        self.count(Some(INVALID));
        let recorded =
            self.on_record(|record| record.invalid(index, refusal)).and_then(|()| self.pass(index, None));
        match recorded.and_then(|()| self.write(|failures| failures.invalid(index, refusal))) {
            Ok(()) => true,
            Err(stop) => {
                self.stop.borrow_mut().get_or_insert(stop);
                false
            }
        }
    }
}
