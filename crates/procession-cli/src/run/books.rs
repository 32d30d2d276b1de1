//! The books of a run: what became of every item, in the tally, in the failures file and on the progress bar.

use std::cell::{Cell, RefCell};

use procession::{Error, Payload};

use crate::diagnostic::Diagnostic;
use crate::exit::Stop;
use crate::failures::{self, Failures, Flaw, INVALID, NOT_RUN};
use crate::intake::Hearer;
use crate::progress::{Progress, Screen};
use crate::summary::Tally;
use crate::terminal;

/// Written by the loop that reads outcomes and by the input it pulls, hence the cells.
pub(super) struct Books {
    tally: RefCell<Tally>,
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
    pub(super) fn new(failures: Option<Failures>, progress: Progress) -> Books {
        Books {
            tally: RefCell::default(),
            failures: RefCell::new(failures),
            progress: RefCell::new(progress),
            stop: RefCell::default(),
            broken: RefCell::default(),
            cut_short: RefCell::default(),
            unrecorded: Cell::default(),
            first_lost: RefCell::default(),
        }
    }

    /// The run has begun: failures of an earlier one go.
    pub(super) fn begin(&self) -> Result<(), Stop> {
        self.record(Failures::begin)
    }

    /// One more value was written.
    pub(super) fn value(&self) {
        self.tally.borrow_mut().values += 1;
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
        self.tally.borrow_mut().fail(outcome);
        let mut first = self.first_lost.borrow_mut();
        if failures::is_reproducible(error) && first.as_ref().is_none_or(|first| item < first.item) {
            // Of a crash: the worker prints that of a panic itself, if it is to.
            let backtrace = error.exit().and_then(|_| error.backtrace()).map(str::to_owned);
            *first = Some(Lost { item, args: args.cloned(), backtrace });
        }
        drop(first);
        self.record(|failures| failures.item(item, args, error, message))
    }

    /// An item has a value that counts as a failure: it cannot be written, or tells of one.
    pub(super) fn flawed(&self, item: u64, args: Option<&Payload>, flaw: &Flaw) -> Result<(), Stop> {
        let what = format!("item {item}: {}", flaw.what);
        self.aside(|| terminal::say(&terminal::printable(&what)));
        self.tally.borrow_mut().fail(flaw.outcome);
        let mut first = self.first_lost.borrow_mut();
        if flaw.is_reproducible && first.as_ref().is_none_or(|first| item < first.item) {
            *first = Some(Lost { item, args: args.cloned(), backtrace: None });
        }
        drop(first);
        self.record(|failures| failures.flawed(item, args, flaw, &what))
    }

    /// An item was never handed out.
    pub(super) fn not_run(&self, item: u64, args: Option<&Payload>, why: &str) -> Result<(), Stop> {
        self.tally.borrow_mut().fail(NOT_RUN);
        self.record(|failures| failures.not_run(item, args, why))
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
        if self.unrecorded.get() { 0 } else { self.tally.borrow().failures() }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    pub(super) fn flush(&self) -> Result<(), Stop> {
        self.record(Failures::flush)
    }

    pub(super) fn show_progress(&self) {
        self.progress.borrow_mut().update(&self.tally.borrow());
    }

    /// Where the progress is shown.
    pub(super) fn screen(&self) -> Screen {
        self.progress.borrow().screen()
    }

    pub(super) fn end_progress(&self) {
        self.progress.borrow().finish();
    }

    /// Says something without tearing the progress bar.
    pub(super) fn aside(&self, say: impl FnOnce()) {
        self.progress.borrow().aside(say);
    }

    fn record(&self, write: impl FnOnce(&mut Failures) -> Result<(), Stop>) -> Result<(), Stop> {
        let done = self.failures.borrow_mut().as_mut().map_or(Ok(()), write);
        self.unrecorded.set(self.unrecorded.get() || done.is_err());
        done
    }
}

impl Hearer for Books {
    fn invalid(&self, index: u64, refusal: &Diagnostic) -> bool {
        self.aside(|| terminal::say(&format!("invalid input: item {index}: {}", refusal.headline())));
        self.tally.borrow_mut().fail(INVALID);
        match self.record(|failures| failures.invalid(index, refusal)) {
            Ok(()) => true,
            Err(stop) => {
                self.stop.borrow_mut().get_or_insert(stop);
                false
            }
        }
    }
}
