//! The way of rows into the pool: those that are malformed or done already are set aside, the rest keep their item numbers.
//!
//! The pool counts the payloads it is given; items are counted from the input, of which a part may be all that runs. This file is
//! the map between the two.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procession::Payload;
use procession_store::Selection;

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
    /// Item `index` has these arguments.
    fn admit(&self, index: u64, args: &Payload) -> Admission;
    /// Whether nothing may be begun for now.
    fn holds(&self) -> bool {
        false
    }
    /// An item that is to run again, and now.
    fn again(&self) -> Option<(u64, Payload)> {
        None
    }
    /// Whether so many wait to run again that no others may be begun.
    fn is_full(&self) -> bool {
        false
    }
    /// Whether items may come that run again, where so many payloads have no answer.
    fn may_return(&self, _under_way: u64) -> bool {
        false
    }
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
    /// Items read so far; of a part of a job its own.
    items: u64,
    /// Payloads handed over so far.
    payloads: u64,
    /// Of these, how many have no answer.
    under_way: u64,
    /// A row that was read and may not be begun for now.
    held: Option<Payload>,
    numbers: Numbers,
}

/// Which item a payload belongs to, and its arguments as long as they are kept. Cheap to clone; other threads may ask, too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    map: Arc<Mutex<NumberMap>>,
    selection: Arc<Selection>,
}

#[derive(Debug, Default)]
struct NumberMap {
    /// From payload `.0` on, the number of an item among those that run is `.1` more than the payload's: an entry for each run of rows set aside, or
    /// of payloads of items that run again.
    shifts: Vec<(u64, i64)>,
    /// The items of unanswered payloads that are none of the input's.
    again: BTreeMap<u64, u64>,
    /// How many items have no payload.
    set_aside: u64,
    /// Copies of the arguments under way, if they may be asked for.
    kept: Option<Kept>,
}

impl Numbers {
    /// The item that payload number `payload` belongs to.
    pub(crate) fn item(&self, payload: u64) -> u64 {
        let map = self.map();
        let read = || self.index(payload.saturating_add_signed(map.shift(payload)));
        map.again.get(&payload).copied().unwrap_or_else(read)
    }

    /// The index of an item in the job, from its number among those that run.
    fn index(&self, position: u64) -> u64 {
        self.selection.nth(position).unwrap_or(position)
    }

    /// An item comes that has no payload: those from `payload` on belong to later ones.
    fn set_aside(&self, payload: u64) {
        let mut map = self.map();
        map.move_on(payload, payload, 1);
        map.set_aside += 1;
    }

    /// How many items were set aside so far: they were malformed, or had their outcome.
    pub(crate) fn set_aside_items(&self) -> u64 {
        self.map().set_aside
    }

    /// The arguments of an unanswered payload, if they are kept.
    pub(crate) fn args(&self, payload: u64) -> Option<Payload> {
        let map = self.map();
        let kept = map.kept.as_ref()?;
        let at = usize::try_from(payload.checked_sub(kept.first)?).ok()?;
        kept.payloads.get(at)?.clone()
    }

    /// A payload is that of an item that runs again: the one behind it belongs to the item that it would have had.
    fn insert(&self, payload: u64, item: u64) {
        let mut map = self.map();
        map.move_on(payload, payload + 1, -1);
        map.again.insert(payload, item);
    }

    /// A payload is handed over: the next one.
    fn hand_over(&self, payload: &Payload) {
        if let Some(kept) = &mut self.map().kept {
            kept.payloads.push_back(Some(payload.clone()));
        }
    }

    /// A payload has its answer: its arguments, if they were kept; they are not kept any longer.
    fn answered(&self, payload: u64) -> Option<Payload> {
        let mut map = self.map();
        map.again.remove(&payload);
        let kept = map.kept.as_mut()?;
        let at = usize::try_from(payload.checked_sub(kept.first)?).ok()?;
        let args = kept.payloads.get_mut(at)?.take();
        while matches!(kept.payloads.front(), Some(None)) {
            kept.payloads.pop_front();
            kept.first += 1;
        }
        args
    }

    fn map(&self) -> MutexGuard<'_, NumberMap> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NumberMap {
    fn shift(&self, payload: u64) -> i64 {
        let before = self.shifts.partition_point(|(from, _)| *from <= payload);
        before.checked_sub(1).map_or(0, |at| self.shifts[at].1)
    }

    /// From payload `from` on it is `by` more. What was said of those from `payload` on has had no effect yet.
    fn move_on(&mut self, payload: u64, from: u64, by: i64) {
        let shift = self.shift(payload) + by;
        match self.shifts.last_mut() {
            Some(last) if last.0 == payload => *last = (from, shift),
            _ => self.shifts.push((from, shift)),
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
        selection: &Selection,
    ) -> Intake<'a, 's, H> {
        let numbers = Numbers { selection: Arc::new(selection.clone()), ..Numbers::default() };
        numbers.map().kept = keep.then(Kept::default);
        let desk = Desk { numbers, ..Desk::default() };
        Intake { rows, hearer, watch, desk: Rc::new(RefCell::new(desk)), closed: false }
    }

    pub(crate) fn desk(&self) -> Rc<RefCell<Desk>> {
        Rc::clone(&self.desk)
    }
}

/// `None` within is nothing for now.
impl<H: Hearer> Iterator for Intake<'_, '_, H> {
    type Item = Option<Payload>;

    fn next(&mut self) -> Option<Option<Payload>> {
        while !self.closed && self.watch.request() == Request::Run {
            let holds = self.hearer.holds();
            if !holds && let Some((item, payload)) = self.hearer.again() {
                self.desk.borrow_mut().take_again(item, &payload);
                return Some(Some(payload));
            }
            let under_way = self.desk.borrow().under_way;
            if self.hearer.is_full() {
                return Some(None);
            }
            let held = self.desk.borrow_mut().held.take();
            match held.map(Ok).or_else(|| self.rows.borrow_mut().next()) {
                Some(Ok(payload)) if holds => {
                    self.desk.borrow_mut().held = Some(payload);
                    return Some(None);
                }
                Some(Ok(payload)) => {
                    let index = self.desk.borrow().next_index();
                    match self.hearer.admit(index, &payload) {
                        Admission::Run => {
                            self.desk.borrow_mut().take_in(&payload);
                            return Some(Some(payload));
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
                None if self.hearer.may_return(under_way) => return Some(None),
                None => self.closed = true,
            }
        }
        None
    }
}

impl Desk {
    fn take_in(&mut self, payload: &Payload) {
        self.next_item();
        self.hand_over(payload);
    }

    /// Takes in an item that has been before.
    fn take_again(&mut self, item: u64, payload: &Payload) {
        self.numbers.insert(self.payloads, item);
        self.hand_over(payload);
    }

    fn hand_over(&mut self, payload: &Payload) {
        self.payloads += 1;
        self.under_way += 1;
        self.numbers.hand_over(payload);
    }

    /// The index of the item that is read next.
    fn next_index(&self) -> u64 {
        self.numbers.index(self.items)
    }

    /// The index of one more item.
    pub(crate) fn next_item(&mut self) -> u64 {
        let index = self.next_index();
        self.items += 1;
        index
    }

    fn set_aside(&mut self) -> u64 {
        let index = self.next_item();
        self.numbers.set_aside(self.payloads);
        index
    }

    /// How many items were read so far; of a part of a job its own.
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

    /// The row that was read and not taken in, if there is one.
    pub(crate) fn take_held(&mut self) -> Option<Payload> {
        self.held.take()
    }

    /// The kept payloads that have no answer, with their items' numbers; they are not kept any longer.
    pub(crate) fn unanswered(&mut self) -> Vec<(u64, Payload)> {
        let Some(kept) = self.numbers.map().kept.take() else {
            return Vec::new();
        };
        let numbered = (kept.first..).zip(kept.payloads);
        numbered.filter_map(|(number, payload)| Some((self.item(number), payload?))).collect()
    }

    /// The arguments of an answered payload, if they were kept; they are not kept any longer.
    pub(crate) fn settle(&mut self, payload: u64) -> Option<Payload> {
        self.under_way = self.under_way.saturating_sub(1);
        self.numbers.answered(payload)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[derive(Default)]
    struct Heard(RefCell<Vec<u64>>);

    impl Hearer for Heard {
        fn admit(&self, _: u64, _: &Payload) -> Admission {
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
        let intake = Intake::new(&rows, &heard, Watch::default(), true, &Selection::default());
        let desk = intake.desk();
        let payloads: Vec<Payload> = intake.flatten().collect();
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
    fn items_of_a_part_have_their_numbers_in_the_whole() {
        let shard = Selection::of(None, Some("2/3".parse().unwrap()), None);
        let good = [true, false, true, true];
        let rows: RefCell<Rows<'_>> = RefCell::new(Box::new(good.into_iter().map(|good| row(good, 0))));
        let heard = Heard::default();
        let intake = Intake::new(&rows, &heard, Watch::default(), false, &shard);
        let desk = intake.desk();
        let payloads = intake.flatten().count() as u64;
        assert_eq!(*heard.0.borrow(), [4]);
        let items: Vec<u64> = (0..payloads).map(|payload| desk.borrow().item(payload)).collect();
        assert_eq!((items, desk.borrow().items()), (vec![1, 7, 10], 4));
    }

    #[test]
    fn items_that_run_again_keep_their_numbers() {
        let numbers = Numbers::default();
        numbers.insert(2, 0);
        numbers.insert(3, 1);
        numbers.set_aside(5);
        numbers.insert(5, 2);
        let items: Vec<u64> = (0..8).map(|payload| numbers.item(payload)).collect();
        // Item 3 was malformed.
        assert_eq!(items, [0, 1, 0, 1, 2, 2, 4, 5]);
        numbers.set_aside(8);
        numbers.insert(8, 5);
        numbers.insert(9, 0);
        // So was item 6.
        assert_eq!([8, 9, 10].map(|payload| numbers.item(payload)), [5, 0, 7]);
        (0..10).for_each(|payload| drop(numbers.answered(payload)));
        assert!(numbers.map().again.is_empty());
    }

    #[test]
    fn what_may_not_be_begun_is_held_and_runs_out_last() {
        #[derive(Default)]
        struct Shy {
            holds: Cell<bool>,
            again: RefCell<Option<(u64, Payload)>>,
        }
        impl Hearer for Shy {
            fn admit(&self, _: u64, _: &Payload) -> Admission {
                Admission::Run
            }

            fn invalid(&self, _: u64, _: &Diagnostic) -> bool {
                true
            }

            fn holds(&self) -> bool {
                self.holds.get()
            }

            fn again(&self) -> Option<(u64, Payload)> {
                self.again.take()
            }

            fn may_return(&self, under_way: u64) -> bool {
                under_way > 0
            }
        }
        let rows: RefCell<Rows<'_>> = RefCell::new(Box::new((0..2).map(|i| row(true, i))));
        let shy = Shy::default();
        let mut intake = Intake::new(&rows, &shy, Watch::default(), true, &Selection::default());
        let desk = intake.desk();
        let byte = |i: u8| Some(Some(Payload::from(vec![i])));
        assert_eq!(intake.next(), byte(0));
        shy.holds.set(true);
        shy.again.replace(Some((0, Payload::from(vec![0]))));
        assert_eq!(intake.next(), Some(None));
        assert_eq!(desk.borrow().items(), 1, "it is not taken in");
        shy.holds.set(false);
        assert_eq!(intake.next(), byte(0), "what runs again goes first");
        assert_eq!(intake.next(), byte(1));
        assert_eq!(intake.next(), Some(None), "they may come back");
        assert_eq!([0, 1, 2].map(|payload| desk.borrow().item(payload)), [0, 0, 1]);
        for payload in [1, 2, 0] {
            assert!(desk.borrow_mut().settle(payload).is_some());
        }
        assert_eq!(intake.next(), None);
    }

    #[test]
    fn a_hearer_that_has_heard_enough_ends_the_input() {
        struct Once;
        impl Hearer for Once {
            fn admit(&self, index: u64, _: &Payload) -> Admission {
                assert!(index < 9);
                Admission::Run
            }

            fn invalid(&self, _: u64, _: &Diagnostic) -> bool {
                false
            }
        }
        let rows: RefCell<Rows<'_>> = RefCell::new(Box::new((0..9).map(|i| row(i != 2, i))));
        let intake = Intake::new(&rows, &Once, Watch::default(), false, &Selection::default());
        assert_eq!(intake.count(), 2);
        // The rest is still there for whoever has to account for it.
        assert_eq!(rows.borrow_mut().by_ref().count(), 6);
    }
}
