//! The iterators a lazy call hands out: ordered, unordered, and the untyped one for callers that know tasks by name.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::figures::ItemFigures;
use crate::payload::Payload;
use crate::stream::{Stream, until};

macro_rules! typed_stream {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        ///
        /// The input is pulled on the thread that calls `next`, only while items in flight and results not yet taken
        /// are under the task's [`buffer`](crate::Task::buffer). Each item yields one `Result`; an `Err` is that
        /// item's alone, and the stream goes on. If the input panics, the items before it are yielded, then the
        /// panic resumes here. Dropping the stream drops what has not begun.
        #[must_use = "a lazy call does nothing until its results are taken"]
        pub struct $name<I: Iterator, R>(pub(crate) Stream<I, R>);

        impl<I: Iterator, R> $name<I, R> {
            /// The next result if it comes within `timeout`. The outer `None` means nothing came yet, and the stream
            /// is as before; the inner one that the stream has ended.
            pub fn next_timeout(&mut self, timeout: Duration) -> Option<Option<Result<R, Error>>> {
                let step = self.0.next_until(until(timeout));
                step.into_timed().map(|next| next.map(|(_, outcome)| outcome))
            }

            /// Stops the call. Items without an outcome yield [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled);
            /// a worker that runs one is stopped and replaced.
            pub fn cancel(&mut self) {
                self.0.cancel();
            }
        }

        impl<I: Iterator, R> Iterator for $name<I, R> {
            type Item = Result<R, Error>;

            #[inline]
            fn next(&mut self) -> Option<Result<R, Error>> {
                self.0.next_until(None).into_next().map(|(_, outcome)| outcome)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<I: Iterator, R> std::iter::FusedIterator for $name<I, R> {}

        impl<I: Iterator, R> fmt::Debug for $name<I, R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

typed_stream! {
    /// The results of [`Pool::imap`](crate::Pool::imap), in input order.
    Imap
}

typed_stream! {
    /// The results of [`Pool::imap_unordered`](crate::Pool::imap_unordered), as they come.
    ImapUnordered
}

/// The results of [`Pool::stream`](crate::Pool::stream): each with its item's index, still encoded.
#[must_use = "a lazy call does nothing until its results are taken"]
pub struct PayloadStream<I: Iterator>(pub(crate) Stream<I, Payload>);

impl<I: Iterator> PayloadStream<I> {
    /// As [`Imap::next_timeout`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Option<(u64, Result<Payload, Error>)>> {
        self.0.next_until(until(timeout)).into_timed()
    }

    /// What is known of what items took, since this was last called. Of every item that ended by itself the figures are
    /// there before its outcome is; in no order. Always empty without [`StreamOptions::figures`](crate::StreamOptions).
    pub fn take_figures(&mut self) -> Vec<ItemFigures> {
        self.0.take_figures()
    }

    /// From now on each item may run for so long, also those that run already. Only where
    /// [`StreamOptions::timeout`](crate::StreamOptions) was set: to [`Duration::MAX`], if there was to be no limit at first.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.0.set_timeout(timeout);
    }

    /// As [`Imap::cancel`].
    pub fn cancel(&mut self) {
        self.0.cancel();
    }

    /// Ends the call gently: no more input is pulled, what is running finishes, and items that had not begun yield
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub fn drain(&mut self) {
        self.0.drain();
    }
}

impl<I: Iterator> Iterator for PayloadStream<I> {
    type Item = (u64, Result<Payload, Error>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_until(None).into_next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<I: Iterator> std::iter::FusedIterator for PayloadStream<I> {}

impl<I: Iterator> fmt::Debug for PayloadStream<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadStream").finish_non_exhaustive()
    }
}
