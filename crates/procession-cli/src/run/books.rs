//! The books of a run: what became of every item, in the tally and in the failures file.

mod hearing;
mod turns;

use std::cell::{Cell, RefCell};

use procession::{Error, Payload};
use procession_store::{Item, Selection};

use super::again::{Again, Failure, Past};
use super::figures::Figure;
use super::record::{Record, Told};
use super::results::Results;
use super::sequence::{Held, Sequence};
use super::spill::Spill;
use crate::activity::{Activity, SharedTally};
use crate::exec;
use crate::exit::Stop;
use crate::failures::{self, Failures, Flaw, NOT_RUN, Outcome};
use crate::policy::{Backoff, Counts, FIRST_DELAY, Gate, Policies};
use crate::progress::{Progress, Screen};
use crate::summary::Tally;
use crate::terminal;

/// Written by the loop that reads outcomes and by the input it pulls, hence the cells.
pub(super) struct Books {
    /// Other threads look at it.
    tally: SharedTally,
    failures: RefCell<Option<Failures>>,
    progress: RefCell<Progress>,
    /// Why the run must stop, found while the input was pulled.
    stop: RefCell<Option<Stop>>,
    /// Why the pool gave up.
    broken: RefCell<Option<String>>,
    /// Why the pool took no more items although it is well.
    cut_short: RefCell<Option<String>>,
    /// A failure could not be written, and with it nobody knows which before.
    unrecorded: Cell<bool>,
    first_lost: RefCell<Option<Lost>>,
    /// Where values go.
    results: RefCell<Results>,
    /// The run directory and the event stream, once the run has begun, if it has any.
    record: RefCell<Option<Record>>,
    /// With a record, values on their way to the output.
    sequence: RefCell<Sequence>,
    /// Which items run. The output knows them by their place among these.
    selection: Selection,
    /// Those of them that memory has no room for, where there is no run directory.
    spill: RefCell<Spill>,
    /// Outcomes come in another order than the output has.
    reorders: Cell<bool>,
    /// What comes goes to the run directory alone.
    is_left_to_record: Cell<bool>,
    again: RefCell<Again>,
    gate: RefCell<Gate>,
    counts: Cell<Counts>,
    /// Why the run ends before its items do, by its own policy.
    halted: RefCell<Option<String>>,
}

/// An item that failed by itself.
pub(super) struct Lost {
    pub(super) item: u64,
    /// If they were kept.
    pub(super) args: Option<Payload>,
    /// Where it was when it ended, if that is known.
    pub(super) backtrace: Option<String>,
}

impl Books {
    pub(super) fn new(
        (results, failures): (Results, Option<Failures>),
        progress: Progress,
        policies: &Policies,
        selection: &Selection,
    ) -> Books {
        let backoff = Backoff::new(policies.retry_delay.unwrap_or(FIRST_DELAY));
        Books {
            tally: SharedTally::default(),
            failures: RefCell::new(failures),
            progress: RefCell::new(progress),
            stop: RefCell::default(),
            broken: RefCell::default(),
            cut_short: RefCell::default(),
            unrecorded: Cell::default(),
            first_lost: RefCell::default(),
            results: RefCell::new(results),
            record: RefCell::default(),
            sequence: RefCell::default(),
            selection: selection.clone(),
            spill: RefCell::default(),
            reorders: Cell::new(false),
            is_left_to_record: Cell::default(),
            again: RefCell::new(Again::new(policies.retries(), backoff)),
            gate: RefCell::new(Gate::new(policies.gates)),
            counts: Cell::default(),
            halted: RefCell::default(),
        }
    }

    /// From here on every outcome is on record, and the output has an order of its own.
    pub(super) fn keep_record(&self, record: Record, unordered: bool) {
        self.record.replace(Some(record));
        self.reorder(unordered);
    }

    /// From here on the output has an order of its own, whatever that of the outcomes.
    pub(super) fn reorder(&self, unordered: bool) {
        self.reorders.set(true);
        self.sequence.borrow_mut().unordered = unordered;
    }

    /// From here on what comes goes to the run directory alone: another output could not be written.
    pub(super) fn leave_to_record(&self) {
        let _ = self.flush();
        self.failures.replace(None);
        let _ = self.on_record(|record| {
            record.expect_the_end();
            Ok(())
        });
        self.is_left_to_record.set(true);
    }

    pub(super) fn is_left_to_record(&self) -> bool {
        self.is_left_to_record.get()
    }

    pub(super) fn reorders(&self) -> bool {
        self.reorders.get()
    }

    /// Does something with the items that run again.
    pub(super) fn with_again<T>(&self, ask: impl FnOnce(&mut Again) -> T) -> T {
        ask(&mut self.again.borrow_mut())
    }

    /// The failure that is an item's last word although it was to run again.
    pub(super) fn take_failure(&self, item: u64) -> Option<Failure> {
        self.again.borrow_mut().take_failure(item)
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// An item has ended in this session; `failed`: without a value, and how.
    pub(super) fn count(&self, failed: Option<Outcome>) {
        let Counts { ended, failed: failures, lost } = self.counts.get();
        let is_loss = failed.is_some_and(Outcome::is_loss);
        self.counts.set(Counts {
            ended: ended + 1,
            failed: failures + u64::from(failed.is_some()),
            lost: lost + u64::from(is_loss),
        });
    }

    pub(super) fn halt(&self, why: &str) {
        self.halted.replace(Some(why.to_owned()));
        self.cut_short(why.to_owned());
    }

    pub(super) fn halted(&self) -> Option<String> {
        self.halted.borrow().clone()
    }

    fn told(&self, item: u64, figure: Option<Figure>) -> Told {
        Told { figure, past: self.again.borrow().past(item) }
    }

    pub(super) fn has_record(&self) -> bool {
        self.record.borrow().is_some()
    }

    pub(super) fn has_store(&self) -> bool {
        self.record.borrow().as_ref().is_some_and(Record::has_store)
    }

    /// Whether items are commands that a run directory keeps.
    pub(super) fn keeps_commands(&self) -> bool {
        self.has_store() && self.results.borrow().are_raw()
    }

    pub(super) fn take_record(&self) -> Option<Record> {
        self.record.take()
    }

    /// The run has begun: values and failures of an earlier one go.
    pub(super) fn begin(&self) -> Result<(), Stop> {
        self.results.borrow_mut().begin()?;
        self.write(Failures::begin)
    }

    /// An item has a value, and it is its turn.
    pub(super) fn value(&self, item: u64, args: Option<&Payload>, value: &Payload) -> Result<(), Stop> {
        let take = || self.results.borrow_mut().take(item, value, args, &self.screen());
        let taken = match self.mute_if_unread(take())? {
            Some(taken) => taken,
            None => take()?,
        };
        self.written(item, args, taken)
    }

    /// An item has a value, which is JSON by now, and it is its turn.
    fn show_value(&self, item: u64, json: &str) -> Result<(), Stop> {
        let shown = self.results.borrow_mut().show(item, json);
        let shown = self.mute_if_unread(shown)?.unwrap_or(Ok(()));
        self.written(item, None, shown.map_err(Flaw::from))
    }

    fn written(&self, item: u64, args: Option<&Payload>, written: Result<(), Flaw>) -> Result<(), Stop> {
        match written {
            Ok(()) => {
                let Past { is_flaky, .. } = self.again.borrow_mut().forget(item);
                let mut tally = self.tally.lock();
                tally.values += 1;
                tally.flaky += u64::from(is_flaky);
                Ok(())
            }
            Err(flaw) => self.flawed(item, args, &flaw),
        }
    }

    /// A value is on record; the output has it in its turn.
    pub(super) fn keep(
        &self,
        item: u64,
        figure: Option<Figure>,
        args: &Payload,
        value: &Payload,
    ) -> Result<(), Stop> {
        let told = self.told(item, figure);
        let mut results = self.results.borrow_mut();
        if results.are_raw() {
            // What was printed is not JSON, and whether it counts as a failure is known all the same.
            drop(results);
            let flaw = exec::flaw_of(args, value);
            self.on_record(|record| record.command((item, told), (args, value), flaw.as_ref()))?;
            return self.pass(item, Some(Held::Raw { args: args.clone(), value: value.clone() }));
        }
        let encoded = results.json(value).and_then(|json| results.reduce(value).map(|()| json));
        drop(results);
        match encoded {
            Ok(json) => {
                self.on_record(|record| record.value(item, told, args, value, &json))?;
                self.pass(item, Some(Held::Json(json)))
            }
            Err(what) => {
                let flaw = Flaw::from(what);
                self.on_record(|record| record.flawed(item, told, args, &flaw))?;
                self.flawed(item, Some(args), &flaw)?;
                self.pass(item, None)
            }
        }
    }

    /// An item ended without a value.
    pub(super) fn failed(
        &self,
        item: u64,
        args: Option<&Payload>,
        error: &Error,
        message: &str,
    ) -> Result<(), Stop> {
        let outcome = failures::outcome(error);
        self.tally.lock().fail(outcome);
        let mut first = self.first_lost.borrow_mut();
        if failures::is_reproducible(error) && first.as_ref().is_none_or(|first| item < first.item) {
            // Of a crash: the worker prints that of a panic itself, if it is to.
            let backtrace = error.exit().and_then(|_| error.backtrace()).map(str::to_owned);
            *first = Some(Lost { item, args: args.cloned(), backtrace });
        }
        drop(first);
        let Past { starts, .. } = self.again.borrow_mut().forget(item);
        self.write(|failures| failures.item(item, args, (error, starts), message))
    }

    /// An item has a value that counts as a failure: it cannot be written, or tells of one.
    pub(super) fn flawed(&self, item: u64, args: Option<&Payload>, flaw: &Flaw) -> Result<(), Stop> {
        let what = format!("item {item}: {}", flaw.what);
        self.say(&terminal::printable(&what));
        self.tally.lock().fail(flaw.outcome);
        let mut first = self.first_lost.borrow_mut();
        if flaw.is_reproducible && first.as_ref().is_none_or(|first| item < first.item) {
            *first = Some(Lost { item, args: args.cloned(), backtrace: None });
        }
        drop(first);
        let Past { starts, .. } = self.again.borrow_mut().forget(item);
        self.write(|failures| failures.flawed(item, args, (flaw, starts), &what))
    }

    /// An item ended without a value: for the record.
    pub(super) fn record_failure(
        &self,
        item: u64,
        figure: Option<Figure>,
        args: Option<&Payload>,
        (error, message): (&Error, &str),
    ) -> Result<(), Stop> {
        let told = self.told(item, figure);
        self.on_record(|record| record.failure(item, told, args, error, message))
    }

    /// An item was never handed out.
    pub(super) fn not_run(&self, item: u64, args: Option<&Payload>, why: &str) -> Result<(), Stop> {
        self.tally.lock().fail(NOT_RUN);
        self.on_record(|record| record.not_run(item, why))?;
        self.write(|failures| failures.not_run(item, args, why))
    }

    /// The pool gave up; the first reason is the one to tell.
    pub(super) fn broke(&self, message: &str) {
        self.broken.borrow_mut().get_or_insert_with(|| message.to_owned());
    }

    pub(super) fn cut_short(&self, why: String) {
        self.cut_short.borrow_mut().get_or_insert(why);
    }

    /// The one with the lowest number.
    pub(super) fn take_first_lost(&self) -> Option<Lost> {
        self.first_lost.borrow_mut().take()
    }

    pub(super) fn why_cut_short(&self) -> Option<String> {
        self.cut_short.borrow().clone()
    }

    pub(super) fn broken(&self) -> Option<String> {
        self.broken.borrow().clone()
    }

    /// Why the run must stop, once.
    pub(super) fn stop(&self) -> Option<Stop> {
        self.stop.borrow_mut().take()
    }

    /// How many failures have certainly been told.
    pub(super) fn recorded(&self) -> u64 {
        if self.unrecorded.get() { 0 } else { self.tally.lock().failures() }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    pub(super) fn shared_tally(&self) -> SharedTally {
        self.tally.clone()
    }

    pub(super) fn flush(&self) -> Result<(), Stop> {
        self.write(Failures::flush)
    }

    /// Shows the progress of a run from here on.
    pub(super) fn watch(&self, activity: Activity) {
        self.progress.borrow_mut().watch(activity);
    }

    /// Where the progress is shown.
    pub(super) fn screen(&self) -> Screen {
        self.progress.borrow().screen()
    }

    pub(super) fn end_progress(&self) {
        self.progress.borrow_mut().finish();
    }

    /// Says a line beside the progress.
    pub(super) fn say(&self, line: &str) {
        self.screen().say(line);
    }

    /// Says a warning beside the progress.
    pub(super) fn warn(&self, warning: &str) {
        self.screen().say(&terminal::warning(warning));
    }

    /// Does something with the run directory, if there is one.
    pub(super) fn on_record(&self, write: impl FnOnce(&mut Record) -> Result<(), Stop>) -> Result<(), Stop> {
        self.record.borrow_mut().as_mut().map_or(Ok(()), write)
    }

    /// An item has its outcome from an earlier session.
    fn known(&self, item: Item, args: Option<&Payload>) -> Result<(), Stop> {
        self.tally.lock().earlier += 1;
        self.tally.lock().flaky += u64::from(item.is_flaky);
        let is_command = self.results.borrow().are_raw();
        if !item.is_ok() {
            self.tally.lock().fail(failures::named(&item.outcome));
            self.write(|failures| failures.earlier(&item))?;
        }
        if is_command {
            let mut printed = None;
            self.on_record(|record| {
                printed = record.printed(item.index)?;
                Ok(())
            })?;
            let held = self.results.borrow().again(&item, args, printed);
            return self.pass(item.index, held);
        }
        if !item.is_ok() {
            return self.pass(item.index, None);
        }
        if let Some(payload) = item.payload.map(Payload::from)
            && let Err(what) = self.results.borrow_mut().reduce(&payload)
        {
            return Err(Stop::Unwritable(format!("item {} of the run store: {what}", item.index)));
        }
        self.pass(item.index, Some(Held::Json(item.value.unwrap_or_else(|| "null".to_owned()))))
    }

    /// Lets readers see everything so far.
    pub(super) fn flush_values(&self) -> Result<(), Stop> {
        self.on_record(Record::flush_events)?;
        let flushed = self.results.borrow_mut().flush();
        self.mute_if_unread(flushed).map(drop)
    }

    /// Ends the output.
    pub(super) fn finish(&self, tally: &Tally) -> Result<(), Stop> {
        let finished = self.results.borrow_mut().finish(tally, |warning| {
            self.warn(warning);
        });
        self.mute_if_unread(finished)?;
        self.flush()
    }

    /// How many values have certainly been written.
    pub(super) fn certain(&self) -> u64 {
        self.results.borrow().certain()
    }

    /// Nobody reads stdout any more: where every outcome is on record, the run goes on for that.
    fn mute_if_unread<T>(&self, done: Result<T, Stop>) -> Result<Option<T>, Stop> {
        match done {
            Err(Stop::Unread) if self.has_store() => {
                self.results.borrow_mut().mute();
                let warning = "nobody reads stdout any more: values go to the run directory alone";
                self.warn(warning);
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// The outcome that an item has already goes where it would have gone; false: it has none.
    pub(super) fn is_known(&self, index: u64, args: Option<&Payload>) -> Result<bool, Stop> {
        let earlier = match &mut *self.record.borrow_mut() {
            None => return Ok(false),
            Some(record) => record.earlier(index)?,
        };
        earlier.map_or(Ok(false), |item| self.known(item, args).map(|()| true))
    }

    fn write(&self, write: impl FnOnce(&mut Failures) -> Result<(), Stop>) -> Result<(), Stop> {
        let done = self.failures.borrow_mut().as_mut().map_or(Ok(()), write);
        self.unrecorded.set(self.unrecorded.get() || done.is_err());
        done
    }
}
