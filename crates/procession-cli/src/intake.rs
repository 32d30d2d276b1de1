//! The way of rows into the pool: those that are malformed or done already are set aside, the rest keep their item numbers.
//!
//! The pool counts the payloads it is given; items are counted from the input. This file is the map between the two.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use procession::Payload;

use crate::diagnostic::Diagnostic;
use crate::input::Rows;
use crate::signals::{Request, Watch};

/// What is to be done with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Run,
    /// It has its outcome already.
    Known,
    /// Neither it nor any that follows is to run.
    Close,
}

/// Who decides of rows, and hears of malformed ones.
pub(crate) trait Hearer {
    /// Item `index` has arguments.
    fn admit(&self, index: u64) -> Admission;
    /// Item `index` has no arguments. False: take nothing more in.
    fn invalid(&self, index: u64, refusal: &Diagnostic) -> bool;
}

/// The payloads of a run: an iterator for the pool. The rows are only lent: what the pool does not take can be read on.
pub(crate) struct Intake<'a, 's, H> {
    rows: &'a RefCell<Rows<'s>>,
    hearer: &'a H,
    watch: Watch,
    desk: Rc<RefCell<Desk>>,
    closed: bool,
}

/// What is known of the items taken in and not yet answered. Shared with whoever reads the answers.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Items read so far.
    items: u64,
    /// Payloads handed over so far.
    payloads: u64,
    numbers: Numbers,
    /// Copies of the arguments under way, if they may be asked for.
    kept: Option<Kept>,
}

/// Which item a payload belongs to. Cheap to clone; other threads may ask, too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// From payload `.0` on, an item's number is `.1` more than the payload's: an entry for each run of rows set aside.
    shifts: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Numbers {
    /// The item that payload number `payload` belongs to.
    pub(crate) fn item(&self, payload: u64) -> u64 {
        let shifts = self.shifts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shifts.partition_point(|(from, _)| *from <= payload);
        payload + before.checked_sub(1).map_or(0, |at| shifts[at].1)
    }

    /// An item comes that has no payload: those from `payload` on belong to later ones.
    fn set_aside(&self, payload: u64) {
        let mut shifts = self.shifts.lock().unwrap_or_else(PoisonError::into_inner);
        match shifts.last_mut() {
            Some((from, shift)) if *from == payload => *shift += 1,
            last => {
                let shift = last.map_or(0, |(_, shift)| *shift) + 1;
                shifts.push((payload, shift));
            }
        }
    }
}

/// Payloads by number, as long as they are unanswered.
#[derive(Debug, Default)]
struct Kept {
    first: u64,
    payloads: VecDeque<Option<Payload>>,
}

impl<'a, 's, H: Hearer> Intake<'a, 's, H> {
    /// `keep` says whether the arguments of a failed item will be asked for.
    pub(crate) fn new(
        rows: &'a RefCell<Rows<'s>>,
        hearer: &'a H,
        watch: Watch,
        keep: bool,
    ) -> Intake<'a, 's, H> {
        let desk = Desk { kept: keep.then(Kept::default), ..Desk::default() };
        Intake { rows, hearer, watch, desk: Rc::new(RefCell::new(desk)), closed: false }
    }

    pub(crate) fn desk(&self) -> Rc<RefCell<Desk>> {
        Rc::clone(&self.desk)
    }
}

impl<H: Hearer> Iterator for Intake<'_, '_, H> {
    type Item = Payload;

    fn next(&mut self) -> Option<Payload> {
        while !self.closed && self.watch.request() == Request::Run {
            match self.rows.borrow_mut().next() {
                Some(Ok(payload)) => {
                    let index = self.desk.borrow().items();
                    match self.hearer.admit(index) {
                        Admission::Run => {
                            self.desk.borrow_mut().take_in(&payload);
                            return Some(payload);
                        }
                        Admission::Known => {
                            self.desk.borrow_mut().set_aside();
                        }
                        // It was read, and has no outcome all the same.
                        Admission::Close => self.closed = true,
                    }
                }
                Some(Err(refusal)) => {
                    let index = self.desk.borrow_mut().set_aside();
                    self.closed = !self.hearer.invalid(index, &refusal);
                }
                None => self.closed = true,
            }
        }
        None
    }
}

impl Desk {
    fn take_in(&mut self, payload: &Payload) {
        self.next_item();
        self.payloads += 1;
        if let Some(kept) = &mut self.kept {
            kept.payloads.push_back(Some(payload.clone()));
        }
    }

    /// The number of one more item.
    pub(crate) fn next_item(&mut self) -> u64 {
        let index = self.items;
        self.items += 1;
        index
    }

    fn set_aside(&mut self) -> u64 {
        let index = self.next_item();
        self.numbers.set_aside(self.payloads);
        index
    }

    /// How many items were read so far.
    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// The item that payload number `payload` belongs to.
    pub(crate) fn item(&self, payload: u64) -> u64 {
        self.numbers.item(payload)
    }

    pub(crate) fn numbers(&self) -> Numbers {
        self.numbers.clone()
    }

    /// Whether that payload was handed over: an answer to one that was not concerns the call as a whole.
    pub(crate) fn has(&self, payload: u64) -> bool {
        payload < self.payloads
    }

    /// The kept payloads that have no answer, with their items' numbers; they are not kept any longer.
    pub(crate) fn unanswered(&mut self) -> Vec<(u64, Payload)> {
        let Some(kept) = self.kept.take() else {
            return Vec::new();
        };
        let numbered = (kept.first..).zip(kept.payloads);
        numbered.filter_map(|(number, payload)| Some((self.item(number), payload?))).collect()
    }

    /// The arguments of an answered payload, if they were kept; they are not kept any longer.
    pub(crate) fn settle(&mut self, payload: u64) -> Option<Payload> {
        let kept = self.kept.as_mut()?;
        let at = usize::try_from(payload.checked_sub(kept.first)?).ok()?;
        let args = kept.payloads.get_mut(at)?.take();
        while matches!(kept.payloads.front(), Some(None)) {
            kept.payloads.pop_front();
            kept.first += 1;
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[derive(Default)]
    struct Heard(RefCell<Vec<u64>>);

    impl Hearer for Heard {
        fn admit(&self, _: u64) -> Admission {
            Admission::Run
        }

        fn invalid(&self, index: u64, _: &Diagnostic) -> bool {
            self.0.borrow_mut().push(index);
            true
        }
    }

    fn row(good: bool, byte: u8) -> Result<Payload, Diagnostic> {
        if good { Ok(Payload::from(vec![byte])) } else { Err(Diagnostic::new("odd")) }
    }

    #[test]
    fn items_keep_their_numbers_around_malformed_rows() {
        let good = [false, true, true, false, false, true, true, false];
        let rows: RefCell<Rows<'_>> =
            RefCell::new(Box::new(good.into_iter().enumerate().map(|(i, good)| row(good, i as u8))));
        let heard = Heard::default();
        let intake = Intake::new(&rows, &heard, Watch::default(), true);
        let desk = intake.desk();
        let payloads: Vec<Payload> = intake.collect();
        assert_eq!(*heard.0.borrow(), [0, 3, 4, 7]);
        let items: Vec<u64> = (0..payloads.len() as u64).map(|payload| desk.borrow().item(payload)).collect();
        assert_eq!(items, [1, 2, 5, 6]);
        // Out of order, and each once.
        assert!(desk.borrow().has(3) && !desk.borrow().has(4));
        for payload in [2, 0, 1] {
            let args = desk.borrow_mut().settle(payload).unwrap();
            assert_eq!(u64::from(args.as_bytes()[0]), desk.borrow().item(payload));
            assert!(desk.borrow_mut().settle(payload).is_none());
        }
        let left = desk.borrow_mut().unanswered();
        assert_eq!(left, [(6, Payload::from(vec![6]))]);
    }

    #[test]
    fn a_hearer_that_has_heard_enough_ends_the_input() {
        struct Once;
        impl Hearer for Once {
            fn admit(&self, index: u64) -> Admission {
                assert!(index < 9);
                Admission::Run
            }

            fn invalid(&self, _: u64, _: &Diagnostic) -> bool {
                false
            }
        }
        let rows: RefCell<Rows<'_>> = RefCell::new(Box::new((0..9).map(|i| row(i != 2, i))));
        let intake = Intake::new(&rows, &Once, Watch::default(), false);
        assert_eq!(intake.count(), 2);
        // The rest is still there for whoever has to account for it.
        assert_eq!(rows.borrow_mut().by_ref().count(), 6);
    }
}
