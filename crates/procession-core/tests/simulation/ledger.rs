//! The model's own books: where each item is, how often it started, and whether what was said about it is just.

use procession_core::{JobId, JobOptions, Outcome, WorkerId};

/// What an item does when it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// Takes that many nanoseconds.
    Run(u64),
    /// Takes its worker down in its first so many starts; after that it is an ordinary item.
    Crash { starts: u32, after: u64 },
    /// Never ends.
    Hang,
    /// Breaks the protocol, then hangs.
    Misbehave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Waiting,
    Held(WorkerId),
    /// It was running when its worker died; `overdue`: the worker was stopped because of it.
    Charged {
        overdue: bool,
    },
    Final,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) starts: u32,
    pub(crate) charges: u32,
    pub(crate) deed: Deed,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: JobId,
    pub(crate) options: JobOptions,
    pub(crate) deadline: Option<u64>,
    pub(crate) closed: bool,
    pub(crate) cancelled: bool,
    pub(crate) abandoned: bool,
    pub(crate) refused: bool,
    pub(crate) settled: bool,
    pub(crate) items: Vec<Item>,
    waiting: usize,
}

impl Call {
    pub(crate) fn new(id: JobId, options: JobOptions, now: u64, refused: bool) -> Call {
        let deadline = options.deadline.map(|d| now + d.as_nanos() as u64);
        Call {
            id,
            options,
            deadline,
            closed: false,
            cancelled: false,
            abandoned: false,
            refused,
            settled: false,
            items: Vec::new(),
            waiting: 0,
        }
    }

    pub(crate) fn input(&mut self, deed: Deed) {
        self.items.push(Item { place: Place::Waiting, starts: 0, charges: 0, deed });
        self.waiting += 1;
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) fn is_expired(&self, now: u64) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Whether a worker may be stopped because it runs an item of this call.
    pub(crate) fn is_doomed(&self, now: u64) -> bool {
        self.cancelled || self.is_expired(now)
    }

    pub(crate) fn may_run(&self, now: u64) -> bool {
        !self.refused && !self.abandoned && !self.is_doomed(now)
    }

    pub(crate) fn place(&mut self, item: u64, place: Place) {
        let old = std::mem::replace(&mut self.items[item as usize].place, place);
        assert_ne!(old, Place::Final, "{} item {item} had its outcome already", self.id);
        self.waiting -= usize::from(old == Place::Waiting);
        self.waiting += usize::from(place == Place::Waiting);
    }

    pub(crate) fn dispatch(&mut self, item: u64, attempt: u32, worker: WorkerId, now: u64) {
        assert!(self.may_run(now), "{} is handed out although it is over", self.id);
        let it = &self.items[item as usize];
        assert_eq!(it.place, Place::Waiting, "{} item {item} is handed out from there", self.id);
        assert_eq!(attempt, it.charges + 1, "{} item {item}: attempt", self.id);
        assert!(attempt <= self.options.max_attempts, "{} item {item} has no attempt left", self.id);
        self.place(item, Place::Held(worker));
    }

    /// The item starts; says what it does.
    pub(crate) fn start(&mut self, item: u64, now: u64) -> Deed {
        assert!(self.abandoned || self.may_run(now), "{} item {item} starts although it is over", self.id);
        let it = &mut self.items[item as usize];
        it.starts += 1;
        assert_eq!(it.starts, it.charges + 1, "{} item {item} starts twice in one attempt", self.id);
        assert!(it.starts <= self.options.max_attempts, "{} item {item} starts too often", self.id);
        it.deed
    }

    pub(crate) fn charge(&mut self, item: u64, overdue: bool) {
        self.items[item as usize].charges += 1;
        self.place(item, Place::Charged { overdue });
    }

    pub(crate) fn retry(&mut self, item: u64, attempt: u32) {
        let it = &self.items[item as usize];
        assert_eq!(it.place, Place::Charged { overdue: false }, "{} item {item} is tried again", self.id);
        assert_eq!(attempt, it.charges, "{} item {item}: attempt that was lost", self.id);
        assert!(it.charges < self.options.max_attempts, "{} item {item} has no attempt left", self.id);
        self.place(item, Place::Waiting);
    }

    /// Whether that outcome is just. `over`: what the pool's own end would make of an item.
    pub(crate) fn settle(
        &mut self,
        item: u64,
        outcome: Outcome,
        attempts: u32,
        now: u64,
        over: Option<Outcome>,
    ) {
        let it = &self.items[item as usize];
        assert_eq!(attempts, it.charges, "{} item {item}: attempts", self.id);
        let max = self.options.max_attempts;
        let charged = matches!(it.place, Place::Charged { .. });
        let just = match outcome {
            Outcome::Lost => charged && (max == 1 || self.abandoned),
            Outcome::Quarantined => charged && max > 1 && attempts == max,
            Outcome::TimedOut => it.place == Place::Charged { overdue: true } || self.is_expired(now),
            Outcome::Cancelled => self.cancelled || self.abandoned,
            Outcome::NotRun | Outcome::Terminated => over == Some(outcome) || self.refused,
        };
        assert!(just, "{} item {item} from {:?} settles {outcome:?}", self.id, it.place);
        self.place(item, Place::Final);
    }

    pub(crate) fn settle_job(&mut self) {
        assert!(!self.settled, "{} settles twice", self.id);
        assert!(self.closed || self.abandoned, "{} settles while its input is open", self.id);
        let open = self.items.iter().position(|item| item.place != Place::Final);
        assert_eq!(open, None, "{} settles before this item", self.id);
        self.settled = true;
    }
}
