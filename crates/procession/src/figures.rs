//! What items took: who ran them, when, and what that cost.

use std::time::{Duration, Instant};

/// Figures of consecutive items of a stream that ended in one worker and were reported together.
///
/// An item that runs longer than half a millisecond is reported by itself. Shorter ones share a report, so that what is
/// said here is said of all of them together. Items whose worker was lost have none: their errors say what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemFigures {
    /// Index of the first of the items.
    pub first: u64,
    /// How many there are.
    pub items: u32,
    /// Which start of them this was, from 1.
    pub attempt: u32,
    /// Which of the pool's workers ran them, from 0.
    pub slot: u32,
    /// Its process id.
    pub pid: u32,
    /// When the pool heard that they had ended.
    pub ended: Instant,
    /// How long they ran, together.
    pub busy: Duration,
    /// User and system time they used together, of the worker and of the commands it waited for. It counts all threads of
    /// the worker, to the resolution of the kernel's accounting: a microsecond at best, a timer tick at worst.
    pub cpu: Duration,
    /// The most memory that the worker, or one of its commands, has had so far, in bytes.
    pub peak_rss: u64,
}

impl ItemFigures {
    /// Figures of which nothing else is known, for who tells of items that another pool ran.
    ///
    /// ```
    /// let figures = procession::ItemFigures::new(3, 1, std::time::Instant::now());
    /// assert_eq!((figures.first, figures.attempt), (3, 1));
    /// ```
    #[must_use]
    pub fn new(first: u64, items: u32, ended: Instant) -> ItemFigures {
        let none = Duration::ZERO;
        ItemFigures { first, items, attempt: 1, slot: 0, pid: 0, ended, busy: none, cpu: none, peak_rss: 0 }
    }
}
