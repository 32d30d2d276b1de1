//! An item's name, which says what the item does: call, index and deed in one number. It knows no pool.

use std::fmt;
use std::time::Duration;

use procession::WorkerExit;
use serde::{Deserialize, Serialize};

/// How a worker ends itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Death {
    Segv,
    Abort,
    Kill,
    ExitZero,
    ExitThree,
}

pub(crate) const DEATHS: [Death; 5] =
    [Death::Segv, Death::Abort, Death::Kill, Death::ExitZero, Death::ExitThree];

/// What an item does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    /// Answers at once.
    Work,
    /// Answers after a sleep.
    Sleep(Duration),
    /// Keeps a core busy, then answers.
    Spin(Duration),
    /// Ends its worker, at every attempt.
    Die(Death),
    /// Ends its worker at its first attempt, answers at others.
    DieAtFirst(Death),
    Panic,
    /// Does not end while its episode lasts.
    Overrun,
    /// Leaves a process behind, then answers.
    Leave,
    /// Writes much to stderr, then answers.
    Flood,
}

/// A name. Call in 16 bits, index in 32, deed in 8, and how much of it in 8.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Tag(u64);

/// Makes an answer differ from its question in about half of its bits.
const ANSWER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Tag {
    /// Sleeps and spins are of up to 255 ms.
    pub(crate) fn new(call: u16, index: u32, deed: Deed) -> Tag {
        let millis = |time: Duration| time.as_millis().min(255) as u64;
        let (code, amount) = match deed {
            Deed::Work => (0, 0),
            Deed::Sleep(time) => (1, millis(time)),
            Deed::Spin(time) => (2, millis(time)),
            Deed::Die(death) => (3, death as u64),
            Deed::DieAtFirst(death) => (4, death as u64),
            Deed::Panic => (5, 0),
            Deed::Overrun => (6, 0),
            Deed::Leave => (7, 0),
            Deed::Flood => (8, 0),
        };
        Tag(u64::from(call) << 48 | u64::from(index) << 16 | code << 8 | amount)
    }

    pub(crate) fn call(self) -> u16 {
        (self.0 >> 48) as u16
    }

    pub(crate) fn index(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// # Panics
    /// If the number is no name.
    pub(crate) fn deed(self) -> Deed {
        let amount = self.0 & 0xff;
        let time = Duration::from_millis(amount);
        match self.0 >> 8 & 0xff {
            0 => Deed::Work,
            1 => Deed::Sleep(time),
            2 => Deed::Spin(time),
            3 => Deed::Die(DEATHS[amount as usize]),
            4 => Deed::DieAtFirst(DEATHS[amount as usize]),
            5 => Deed::Panic,
            6 => Deed::Overrun,
            7 => Deed::Leave,
            8 => Deed::Flood,
            _ => panic!("{:#x} names no item", self.0),
        }
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    pub(crate) fn from_number(number: u64) -> Tag {
        Tag(number)
    }

    /// The value of the item: another for each item.
    pub(crate) fn answer(self) -> u64 {
        self.0.rotate_left(23) ^ ANSWER
    }

    /// The item that a value answers.
    pub(crate) fn answered_by(answer: u64) -> Tag {
        Tag((answer ^ ANSWER).rotate_right(23))
    }

    /// What it panics with.
    pub(crate) fn panic_message(self) -> String {
        format!("item {self} panics on purpose")
    }

    /// How its worker ends by its own doing at that attempt.
    pub(crate) fn death_at(self, attempt: u32) -> Option<WorkerExit> {
        match self.deed() {
            Deed::Die(death) => Some(death.exit()),
            Deed::DieAtFirst(death) if attempt == 1 => Some(death.exit()),
            _ => None,
        }
    }

    /// Whether its deed is a fault.
    pub(crate) fn is_fault(self) -> bool {
        !matches!(self.deed(), Deed::Work | Deed::Sleep(_) | Deed::Spin(_))
    }
}

impl Death {
    /// How it looks from outside.
    pub(crate) fn exit(self) -> WorkerExit {
        match self {
            Death::Segv => WorkerExit::Signal(11),
            Death::Abort => WorkerExit::Signal(6),
            Death::Kill => WorkerExit::Signal(9),
            Death::ExitZero => WorkerExit::Code(0),
            Death::ExitThree => WorkerExit::Code(3),
        }
    }
}

/// `call/index`
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.call(), self.index())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {:?}", self.deed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_what_it_was_made_of() {
        let deeds = [
            Deed::Work,
            Deed::Sleep(Duration::from_millis(255)),
            Deed::Spin(Duration::from_millis(3)),
            Deed::Die(Death::Abort),
            Deed::DieAtFirst(Death::ExitThree),
            Deed::Panic,
            Deed::Overrun,
            Deed::Leave,
            Deed::Flood,
        ];
        for deed in deeds {
            for (call, index) in [(0, 0), (7, 417), (u16::MAX, u32::MAX)] {
                let tag = Tag::new(call, index, deed);
                assert_eq!((tag.call(), tag.index(), tag.deed()), (call, index, deed));
                assert_eq!(Tag::from_number(tag.number()), tag);
                assert_eq!(Tag::answered_by(tag.answer()), tag);
                assert_ne!(tag.answer(), tag.number());
            }
        }
    }
}
