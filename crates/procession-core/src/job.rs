//! One call, as ranges of item indices: what may still be handed out and how much of it workers hold.
//!
//! It must not know workers. Its size is that of the ranges that came back, never that of the input.

use std::collections::VecDeque;

use crate::{JobId, JobOptions, Outcome, Time};

/// A call that is not settled yet.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) options: JobOptions,
    /// What was decided about everything that has not started; `None` while the job runs.
    pub(crate) fate: Option<Fate>,
    pub(crate) input_open: bool,
    /// When the whole call must be over.
    pub(crate) deadline: Option<Time>,
    /// Items that workers hold.
    pub(crate) held: u64,
    /// Ranges that came back from workers, to be handed out before anything else.
    returned: VecDeque<Piece>,
    returned_items: u64,
    /// First item that was never handed out.
    next: u64,
    /// Items that were input so far.
    end: u64,
    /// What they weigh together.
    bytes: u64,
}

/// Consecutive items that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) first: u64,
    pub(crate) items: u64,
    /// Which start the next one will be.
    pub(crate) attempt: u32,
}

/// Why the rest of a job never starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Abandoned,
    Cancelled,
    Expired,
    /// Submitted to a pool that takes no more work.
    Refused(Outcome),
}

impl Fate {
    /// What items that never start settle as.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Fate::Abandoned | Fate::Cancelled => Outcome::Cancelled,
            Fate::Expired => Outcome::TimedOut,
            Fate::Refused(outcome) => outcome,
        }
    }

    /// Whether a running item is stopped too.
    pub(crate) fn stops_running(self) -> bool {
        match self {
            Fate::Cancelled | Fate::Expired => true,
            Fate::Abandoned | Fate::Refused(_) => false,
        }
    }
}

impl Job {
    pub(crate) fn new(id: JobId, options: JobOptions) -> Job {
        Job {
            id,
            options,
            fate: None,
            input_open: true,
            deadline: None,
            held: 0,
            returned: VecDeque::new(),
            returned_items: 0,
            next: 0,
            end: 0,
            bytes: 0,
        }
    }

    /// Items to hand out.
    pub(crate) fn waiting(&self) -> u64 {
        self.returned_items + (self.end - self.next)
    }

    /// Whether ranges came back that go before everything else.
    pub(crate) fn has_returned(&self) -> bool {
        !self.returned.is_empty()
    }

    /// Whether nothing more will be said about it.
    pub(crate) fn is_settled(&self) -> bool {
        !self.input_open && self.held == 0 && self.waiting() == 0
    }

    /// Whether the next item was started before: it then runs alone.
    pub(crate) fn next_is_retry(&self) -> bool {
        self.returned.front().is_some_and(|piece| piece.attempt > 1)
    }

    /// Mean bytes of an item, rounded up.
    pub(crate) fn item_bytes(&self) -> u64 {
        self.bytes.div_ceil(self.end.max(1))
    }

    pub(crate) fn input(&mut self, items: u64, bytes: u64) {
        self.end += items;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Takes up to `items` of the consecutive items that are next, and counts them as held.
    pub(crate) fn hand_out(&mut self, items: u64) -> Piece {
        let piece = self.take(items);
        self.held += piece.items;
        piece
    }

    /// Takes up to `items` of the consecutive items that are next; at least one must wait.
    pub(crate) fn take(&mut self, items: u64) -> Piece {
        let Some(front) = self.returned.front_mut() else {
            let piece = Piece { first: self.next, items: items.min(self.end - self.next), attempt: 1 };
            self.next += piece.items;
            return piece;
        };
        let piece = Piece { items: items.min(front.items), ..*front };
        front.first += piece.items;
        front.items -= piece.items;
        if front.items == 0 {
            self.returned.pop_front();
        }
        self.returned_items -= piece.items;
        piece
    }

    /// Puts items that a worker held back in front of all that wait.
    pub(crate) fn put_back(&mut self, piece: Piece) {
        self.held -= piece.items;
        self.returned_items += piece.items;
        match self.returned.front_mut() {
            Some(front) if front.attempt == piece.attempt && piece.first + piece.items == front.first => {
                front.first = piece.first;
                front.items += piece.items;
            }
            Some(_) | None => self.returned.push_front(piece),
        }
    }

    /// How many ranges it keeps.
    pub(crate) fn pieces(&self) -> usize {
        self.returned.len()
    }

    pub(crate) fn check_invariants(&self) {
        let mut ranges: Vec<(u64, u64)> =
            self.returned.iter().map(|p| (p.first, p.first + p.items)).collect();
        ranges.sort_unstable();
        assert!(ranges.iter().all(|(first, end)| first < end), "{}: an empty range waits", self.id);
        assert!(ranges.windows(2).all(|w| w[0].1 <= w[1].0), "{}: an item waits twice", self.id);
        assert!(self.next <= self.end, "{}: more was handed out than came in", self.id);
        assert!(
            ranges.last().is_none_or(|last| last.1 <= self.next),
            "{}: an item came back that never left",
            self.id
        );
        let items: u64 = ranges.iter().map(|(first, end)| end - first).sum();
        assert_eq!(items, self.returned_items, "{}: items that came back", self.id);
        assert!(self.held <= self.next, "{}: more is held than was handed out", self.id);
        if self.fate.is_some() {
            assert_eq!(self.waiting(), 0, "{}: its fate is decided, yet items wait", self.id);
        }
        assert!(!self.is_settled(), "{}: settled, yet not forgotten", self.id);
    }
}
