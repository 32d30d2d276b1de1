//! What a stream has next, and how its callers see that.

use crate::error::Error;

/// What a stream has next.
pub(crate) enum Step<R> {
    Item(u64, Result<R, Error>),
    End,
    NotYet,
}

impl<R> Step<R> {
    /// The iterator's view: it waits for ever, so there is always something.
    pub(crate) fn into_next(self) -> Option<(u64, Result<R, Error>)> {
        match self {
            Step::Item(index, outcome) => Some((index, outcome)),
            Step::End => None,
            Step::NotYet => unreachable!("a wait without limit ended without news"),
        }
    }

    /// The view of `next_timeout`: the outer `None` means not yet.
    pub(crate) fn into_timed(self) -> Option<Option<(u64, Result<R, Error>)>> {
        match self {
            Step::Item(index, outcome) => Some(Some((index, outcome))),
            Step::End => Some(None),
            Step::NotYet => None,
        }
    }
}
