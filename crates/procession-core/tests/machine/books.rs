//! What is known of every item, from what was said about it: where it is, what it was charged, that it ended once.

use procession_core::{JobId, JobOptions, Outcome, Time, WorkerId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Waiting,
    Held(WorkerId),
    /// It had begun when its worker died, and the scheduler has to say what comes of that.
    Charged,
    Ended,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) place: Place,
    starts: u32,
    charges: u32,
    /// Its worker was sent a signal before it died.
    was_signalled: bool,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: JobId,
    options: JobOptions,
    deadline: Option<Time>,
    pub(crate) items: Vec<Item>,
    pub(crate) is_open: bool,
    pub(crate) is_cancelled: bool,
    pub(crate) is_abandoned: bool,
    /// It was made when the pool took no more.
    is_refused: bool,
    pub(crate) is_settled: bool,
}

impl Call {
    pub(crate) fn new(id: JobId, options: JobOptions, now: Time, is_refused: bool) -> Call {
        let deadline = options.deadline.map(|deadline| now + deadline);
        Call {
            id,
            options,
            deadline,
            items: Vec::new(),
            is_open: true,
            is_cancelled: false,
            is_abandoned: false,
            is_refused,
            is_settled: false,
        }
    }

    pub(crate) fn input(&mut self, items: u64) {
        let waiting = Item { place: Place::Waiting, starts: 0, charges: 0, was_signalled: false };
        self.items.resize(self.items.len() + items as usize, waiting);
    }

    fn is_late(&self, now: Time) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    fn item(&mut self, item: u64) -> &mut Item {
        &mut self.items[item as usize]
    }

    /// It is handed out.
    pub(crate) fn dispatch(&mut self, item: u64, attempt: u32, worker: WorkerId, now: Time) {
        let is_over =
            self.is_cancelled || self.is_abandoned || self.is_refused || self.is_settled || self.is_late(now);
        assert!(!is_over, "{} item {item} is handed out though its call is over", self.id);
        let max = self.options.max_attempts;
        let it = self.item(item);
        assert_eq!(it.place, Place::Waiting, "item {item} is handed out from there");
        assert_eq!(attempt, it.charges + 1, "item {item}: attempt");
        assert!(attempt <= max, "item {item} has no attempt left");
        it.place = Place::Held(worker);
    }

    /// It starts.
    pub(crate) fn begin(&mut self, item: u64) {
        let max = self.options.max_attempts;
        let it = self.item(item);
        it.starts += 1;
        assert!(matches!(it.place, Place::Held(_)), "item {item} starts from {:?}", it.place);
        assert_eq!(it.starts, it.charges + 1, "item {item} starts twice in one attempt");
        assert!(it.starts <= max, "item {item} starts too often");
    }

    /// It was taken back, or its worker died before it began.
    pub(crate) fn give_back(&mut self, item: u64) {
        let it = self.item(item);
        assert!(matches!(it.place, Place::Held(_)), "item {item} comes back from {:?}", it.place);
        it.place = Place::Waiting;
    }

    /// Its worker died after it began.
    pub(crate) fn charge(&mut self, item: u64, was_signalled: bool) {
        let it = self.item(item);
        assert!(matches!(it.place, Place::Held(_)), "item {item} is charged at {:?}", it.place);
        it.charges += 1;
        it.was_signalled = was_signalled;
        it.place = Place::Charged;
    }

    /// It is to be started again.
    pub(crate) fn retry(&mut self, item: u64, attempt: u32) {
        let max = self.options.max_attempts;
        let it = self.item(item);
        assert_eq!((it.place, attempt), (Place::Charged, it.charges), "item {item} is tried again");
        assert!(it.charges < max, "item {item} has no attempt left");
        it.place = Place::Waiting;
    }

    /// It has a value.
    pub(crate) fn done(&mut self, item: u64) {
        let it = self.item(item);
        assert!(matches!(it.place, Place::Held(_)), "item {item} has a value at {:?}", it.place);
        it.place = Place::Ended;
    }

    /// It ends without one. `verdict`: what the pool's own end makes of an item.
    pub(crate) fn settle(
        &mut self,
        item: u64,
        outcome: Outcome,
        attempts: u32,
        now: Time,
        verdict: Option<Outcome>,
    ) {
        let (max, it) = (self.options.max_attempts, self.items[item as usize]);
        assert_ne!(it.place, Place::Ended, "{} item {item} ends again", self.id);
        assert_eq!(attempts, it.charges, "{} item {item}: attempts", self.id);
        let is_charged = it.place == Place::Charged;
        let is_just = match outcome {
            Outcome::Lost => is_charged && (max == 1 || self.is_abandoned),
            Outcome::Quarantined => is_charged && max > 1 && attempts == max,
            Outcome::TimedOut => {
                self.is_late(now) || (is_charged && it.was_signalled && self.options.timeout.is_some())
            }
            Outcome::Cancelled => self.is_cancelled || self.is_abandoned,
            Outcome::NotRun | Outcome::Terminated => verdict == Some(outcome) || self.is_refused,
        };
        assert!(is_just, "{} item {item} at {:?} ends as {outcome:?}", self.id, it.place);
        self.item(item).place = Place::Ended;
    }

    /// The last word about the call.
    pub(crate) fn settled(&mut self) {
        assert!(!self.is_settled, "{} is settled twice", self.id);
        assert!(!self.is_open, "{} is settled while its input is open", self.id);
        let open = self.items.iter().position(|item| item.place != Place::Ended);
        assert_eq!(open, None, "{} is settled before this item", self.id);
        self.is_settled = true;
    }
}
