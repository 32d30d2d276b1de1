//! A lazy call: pulls the input on the caller's thread, encodes it as the workers need it, and hands out what comes
//! back. Every verb over many items is this one mechanism.
//!
//! It knows items and bytes; how items reach workers is the driver's business.

mod step;

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_core::JobId;

use crate::arrival::Arrival;
use crate::codec::{CodecError, Sink};
use crate::coding::{BATCH_BYTES, Coding, Decode, Pulled, arguments_error, undecodable};
use crate::driver::{CallOptions, Driver, Segment, deadline};
use crate::error::{Error, ErrorKind};
use crate::figures::ItemFigures;
use crate::job::{Job, StopReason};
use crate::pages;
use crate::region::{HeldRegions, Regions};
use crate::registry::TaskInfo;
use crate::reorder::Reorder;

pub(crate) use step::Step;

/// Items in flight plus results unread, unless the caller says otherwise: enough that tiny items keep every worker
/// busy between two visits of the caller, little enough to hold in memory.
const BUFFER_ITEMS: u64 = 65_536;

/// Encoded arguments under way at most, for the same reason; one item is always allowed.
const BUFFER_BYTES: usize = 32 << 20;

/// Items encoded before they are handed over, at most; [`BATCH_BYTES`] bounds their size.
const BATCH_ITEMS: u64 = 8_192;

/// With many quick items the buffer is filled up by such a part at least: little by little would mean many small
/// hand-outs.
const ROOM_PARTS: u64 = 8;

/// An input that takes longer than this to yield must not keep back the items before it.
const BATCH_TIME: Duration = Duration::from_micros(200);

/// How many items of a quick input are pulled between two looks at the clock.
const CLOCK_STRIDE: u64 = 16;

/// As [`CLOCK_STRIDE`], once this many were pulled quickly one after another.
const CLOCK_STRIDE_MAX: u64 = 64;
const QUICK_ITEMS: u64 = 256;

/// An input that has nothing for now is asked again after this time at the latest.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// One call over many items.
pub(crate) struct Stream<I: Iterator, R> {
    source: Source<I>,
    decode: Decode<R>,
    ready: Ready,
    current: Option<(Arrival, usize)>,
    yielded: u64,
    /// The call was refused as a whole; said once.
    refused: Option<Error>,
    ended: bool,
}

/// The input side.
struct Source<I: Iterator> {
    driver: Arc<Driver>,
    job: Arc<Job>,
    id: Option<JobId>,
    input: Option<I>,
    pull: fn(&mut I, u64, &mut Segment) -> Pulled,
    pulled: u64,
    buffer: u64,
    /// Average size of an item's encoding so far, for the bound in bytes.
    bytes: u64,
    /// What the input panicked with; resumed once everything before it was delivered.
    panic: Option<Box<dyn Any + Send>>,
    /// The clock is looked at after every item.
    slow: bool,
    /// The input had nothing when it was last asked, and has not ended.
    waits: bool,
    regions: HeldRegions,
}

enum Ready {
    Ordered(Reorder),
    Unordered(VecDeque<Arrival>),
}

/// Everything a stream is made from.
pub(crate) struct Call<I: Iterator, R> {
    pub(crate) driver: Arc<Driver>,
    pub(crate) task: &'static TaskInfo,
    pub(crate) options: Result<CallOptions, Error>,
    pub(crate) input: I,
    pub(crate) coding: Coding<I, R>,
    pub(crate) ordered: bool,
    pub(crate) buffer: Option<usize>,
    pub(crate) figures: bool,
}

impl<I: Iterator, R> Stream<I, R> {
    pub(crate) fn open(call: Call<I, R>) -> Stream<I, R> {
        let Call { driver, task, options, input, coding, ordered, buffer, figures } = call;
        let job = Arc::new(Job::pulled_here(task, figures));
        let opened =
            options.and_then(|options| driver.open(&job, options)).map_err(|error| error.of_task(task));
        let (id, refused) = match opened {
            Ok(id) => (Some(id), None),
            Err(error) => (None, Some(error)),
        };
        let ready =
            if ordered { Ready::Ordered(Reorder::default()) } else { Ready::Unordered(VecDeque::new()) };
        Stream {
            source: Source {
                driver,
                job,
                id,
                input: refused.is_none().then_some(input),
                pull: coding.pull,
                pulled: 0,
                buffer: buffer.map_or(BUFFER_ITEMS, |items| items as u64),
                bytes: 0,
                panic: None,
                slow: false,
                waits: false,
                regions: HeldRegions::default(),
            },
            decode: coding.decode,
            ready,
            current: None,
            yielded: 0,
            refused,
            ended: false,
        }
    }

    /// The next outcome, waiting for it until `until`.
    #[inline]
    pub(crate) fn next_until(&mut self, until: Option<Instant>) -> Step<R> {
        match self.take_current() {
            Some((index, outcome)) => Step::Item(index, outcome),
            None => self.next_batch(until),
        }
    }

    #[inline]
    fn take_current(&mut self) -> Option<(u64, Result<R, Error>)> {
        let (arrival, position) = self.current.as_mut()?;
        let decode = self.decode;
        // Counted first: whoever catches the panic of a decoder must not wait for that item for ever.
        self.yielded += u64::from(arrival.items() > 0);
        let taken = arrival.take_first(self.source.job.task, position, |bytes| {
            (decode.one)(bytes).map_err(|error| undecodable(&error))
        });
        if let Some((index, _)) = &taken {
            self.source.regions.release(*index, 1);
        }
        taken
    }

    fn next_batch(&mut self, until: Option<Instant>) -> Step<R> {
        if let Some(error) = self.refused.take() {
            self.ended = true;
            return Step::Item(0, Err(error));
        }
        while !self.ended {
            let mark = self.source.job.mark();
            // What is there must not wait for an input that takes its time; a quick one goes first, for the workers.
            if !self.source.slow || !self.advance() {
                self.source.feed(self.yielded);
                self.source.end_if_stopped();
                self.advance();
            }
            if let Some((index, outcome)) = self.take_current() {
                return Step::Item(index, outcome);
            }
            if self.source.input.is_none() && self.yielded == self.source.pulled {
                self.ended = true;
                if let Some(panic) = self.source.panic.take() {
                    resume_unwind(panic);
                }
            } else if let Some(error) = self.source.job.aborted() {
                self.ended = true;
                return Step::Item(self.yielded, Err(error.of_task(self.source.job.task)));
            } else if !self.source.is_hungry(self.yielded) {
                let (wait, is_all) = self.source.patience(until);
                if !self.source.job.wait_news(mark, wait) && is_all {
                    return Step::NotYet;
                }
            }
        }
        Step::End
    }

    /// All values in order, or the first failure by index.
    pub(crate) fn collect(mut self) -> Result<Vec<R>, Error> {
        let mut values = pages::vec_if_room(self.size_hint().0);
        while let Some((_, outcome)) = self.next_until(None).into_next() {
            values.push(outcome?);
            if let Some((arrival, position)) = &mut self.current {
                let (first, items) = (arrival.first(), arrival.items());
                self.yielded += items;
                arrival.take_values(self.source.job.task, position, self.decode, &mut values)?;
                self.source.regions.release(first, items);
            }
        }
        Ok(values)
    }

    /// Moves on to the next batch that is there, if the last one is used up; `false`: none is there.
    fn advance(&mut self) -> bool {
        for arrival in self.source.job.take_arrivals() {
            match &mut self.ready {
                Ready::Ordered(reorder) => reorder.push(arrival),
                Ready::Unordered(queue) => queue.push_back(arrival),
            }
        }
        self.current = self.ready.pop().map(|arrival| (arrival, 0));
        self.current.is_some()
    }

    /// How many items the input has at least, to make room for.
    pub(crate) fn size_hint(&self) -> (usize, Option<usize>) {
        let under_way = (self.source.pulled - self.yielded) as usize;
        // A call that was stopped pulls no more, whatever its input has.
        let input = self.source.input.as_ref().filter(|_| self.source.job.stopped().is_none());
        let (least, most) = input.map_or((0, Some(0)), Iterator::size_hint);
        (least.saturating_add(under_way), most.and_then(|most| most.checked_add(under_way)))
    }

    pub(crate) fn take_figures(&self) -> Vec<ItemFigures> {
        self.source.job.take_figures()
    }

    /// Gives the items of a call that has a time limit another one.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.source.id.iter().for_each(|id| self.source.driver.limit(*id, timeout));
    }

    /// Stops the call: what is queued never runs, what is running is stopped; outcomes so far are still yielded.
    pub(crate) fn cancel(&mut self) {
        self.source.input = None;
        if let Some(id) = self.source.id {
            self.source.driver.cancel(&self.source.job);
            self.source.driver.close_input(id);
        }
    }
}

impl<I: Iterator, R> Stream<I, R> {
    /// Lets the call run out: what is running finishes and is yielded, what has not begun never runs.
    pub(crate) fn drain(&mut self) {
        self.source.input = None;
        if let Some(id) = self.source.id {
            self.source.driver.abandon(id);
            self.source.driver.close_input(id);
        }
    }
}

impl<I: Iterator, R> Drop for Stream<I, R> {
    fn drop(&mut self) {
        // What still runs needs it.
        self.source.job.hold(self.source.regions.take());
        let unheard = self.source.input.is_some() || self.yielded < self.source.pulled;
        if let Some(id) = self.source.id
            && unheard
        {
            self.source.driver.abandon(id);
            self.source.driver.close_input(id);
        }
    }
}

impl<I: Iterator> Source<I> {
    /// More input is welcome, and there is room for it.
    fn is_hungry(&self, yielded: u64) -> bool {
        self.input.is_some() && !self.waits && self.quota(yielded) > 0
    }

    /// Until when to wait for news, and whether that is as long as the caller waits.
    fn patience(&self, until: Option<Instant>) -> (Option<Instant>, bool) {
        let again = self.waits.then(|| Instant::now() + ASK_AGAIN);
        match (again, until) {
            (Some(again), until) if until.is_none_or(|until| again < until) => (Some(again), false),
            _ => (until, true),
        }
    }

    fn quota(&self, yielded: u64) -> u64 {
        let under_way = self.pulled - yielded;
        let average = self.bytes.checked_div(self.pulled).unwrap_or(0).max(1);
        let by_bytes = (BUFFER_BYTES as u64 / average).max(1);
        let buffer = self.buffer.min(by_bytes);
        let (room, wanted) = (buffer.saturating_sub(under_way), self.job.wanted());
        if wanted >= BATCH_ITEMS && room < buffer / ROOM_PARTS {
            return 0;
        }
        wanted.min(room).min(BATCH_ITEMS)
    }

    /// Pulls, encodes and hands over as many items as the workers want and the buffer has room for.
    fn feed(&mut self, yielded: u64) {
        let Some(id) = self.id else { return };
        self.waits = false;
        let quota = self.quota(yielded);
        if quota == 0 || self.input.is_none() {
            return;
        }
        let first = self.pulled;
        let mut segment = self.driver.segment();
        let mut regions = Regions::default();
        let pulled = catch_unwind(AssertUnwindSafe(|| self.pull(&mut segment, &mut regions, quota)));
        let encoded = segment.items() as u64;
        self.regions.hold(first, encoded, regions);
        self.bytes += segment.bytes() as u64;
        self.pulled = first + encoded;
        if encoded > 0 && !self.driver.input(id, segment, first) {
            let error = self.stopped();
            self.reject(first, encoded, error);
        }
        match pulled {
            Ok(Pulled::More) => {}
            Ok(Pulled::Exhausted) => self.end_input(id),
            Ok(Pulled::NotYet) => self.waits = true,
            Ok(Pulled::Unencodable(error)) => {
                let item = self.pulled;
                self.pulled += 1;
                self.reject(item, 1, arguments_error(&error));
            }
            Err(panic) => {
                self.panic = Some(panic);
                self.end_input(id);
            }
        }
    }

    /// The pool ends, or the call is out of time: what the input still has gets one error that says so.
    fn end_if_stopped(&mut self) {
        if let Some(id) = self.id
            && self.input.is_some()
            && self.job.stopped().is_some()
        {
            let error = self.stopped();
            self.end_input(id);
            self.reject(self.pulled, 1, error);
            self.pulled += 1;
        }
    }

    fn pull(&mut self, segment: &mut Segment, regions: &mut Regions, quota: u64) -> Pulled {
        let Some(input) = &mut self.input else {
            return Pulled::Exhausted;
        };
        let start = Instant::now();
        let mut count = 0;
        while count < quota {
            let stride = match count {
                _ if self.slow => 1,
                0..QUICK_ITEMS => CLOCK_STRIDE,
                _ => CLOCK_STRIDE_MAX,
            };
            let stride = stride.min(quota - count);
            match regions.collect(|| (self.pull)(input, stride, segment)) {
                Pulled::More => {}
                ended => return ended,
            }
            count += stride;
            let elapsed = start.elapsed();
            // A few items alone tell nothing: the first of them may have met a cold cache.
            if self.slow || count >= CLOCK_STRIDE {
                self.slow = elapsed.as_nanos() / u128::from(count) > 1_000;
            }
            if segment.bytes() >= BATCH_BYTES || elapsed > BATCH_TIME {
                break;
            }
        }
        Pulled::More
    }

    fn end_input(&mut self, id: JobId) {
        self.input = None;
        self.driver.close_input(id);
    }

    /// These inputs have their outcome without any worker.
    fn reject(&self, first: u64, items: u64, error: Error) {
        self.driver.deliver(&self.job, Arrival::Failed { first, items, error });
    }

    /// Why the job takes no more input.
    fn stopped(&mut self) -> Error {
        self.input = None;
        stop_error(&self.driver, &self.job)
    }
}

/// What further input of a stopped job would settle as.
fn stop_error(driver: &Driver, job: &Job) -> Error {
    match job.stopped() {
        Some(StopReason::Deadline) => Error::new(
            ErrorKind::TimedOut,
            "the call's deadline passed before the rest of its input was pulled",
        ),
        Some(StopReason::Closed) => Error::new(
            ErrorKind::Closed,
            "the rest of its input was not pulled: finish or drop a lazy call before closing its pool",
        ),
        Some(StopReason::Pool) => {
            driver.broken().unwrap_or_else(|| Error::new(ErrorKind::Terminated, "it had no outcome yet"))
        }
        None => driver.broken().unwrap_or_else(|| Error::new(ErrorKind::Cancelled, "")),
    }
}

impl Ready {
    fn pop(&mut self) -> Option<Arrival> {
        match self {
            Ready::Ordered(reorder) => reorder.pop(),
            Ready::Unordered(queue) => queue.pop_front(),
        }
    }
}

/// Encodes a whole input at once, for the calls that return before their items have run.
pub(crate) fn encode_all<I: Iterator>(
    driver: &Driver,
    job: &Arc<Job>,
    id: JobId,
    mut input: I,
    encode: fn(&I::Item, &mut Sink<'_>) -> Result<(), CodecError>,
) {
    let mut first = 0;
    loop {
        let mut segment = driver.segment();
        let mut regions = Regions::default();
        let end = loop {
            if segment.bytes() >= BATCH_BYTES || segment.items() as u64 >= BATCH_ITEMS {
                break None;
            }
            let Some(item) = input.next() else {
                break Some(Ok(()));
            };
            if let Err(error) = regions.collect(|| segment.push(|sink| encode(&item, sink))) {
                break Some(Err(error));
            }
        };
        job.hold(regions);
        let items = segment.items() as u64;
        if items > 0 && !driver.input(id, segment, first) {
            // The pool has forgotten the job, and said why in every outcome it still had.
            let error = stop_error(driver, job);
            driver.deliver(job, Arrival::Failed { first, items, error });
            return;
        }
        first += items;
        if end.is_none() && job.stopped().is_some() {
            let error = stop_error(driver, job);
            driver.deliver(job, Arrival::Failed { first, items: 1, error });
            return driver.close_input(id);
        }
        match end {
            None => {}
            Some(Ok(())) => return driver.close_input(id),
            Some(Err(error)) => {
                let error = arguments_error(&error);
                driver.deliver(job, Arrival::Failed { first, items: 1, error });
                first += 1;
            }
        }
    }
}

/// See [`Stream::next_until`].
pub(crate) fn until(timeout: Duration) -> Option<Instant> {
    deadline(Some(timeout))
}
