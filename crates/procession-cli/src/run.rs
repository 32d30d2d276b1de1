//! Runs a job: rows into the pool, values to the output, everything else to the books.
//!
//! This is the one loop of the program. Where items come from and where values go is decided elsewhere.

mod books;
mod figures;
mod record;
mod results;
mod sequence;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use procession::{Error, ErrorKind, Payload, PayloadStream, Pool, StreamOptions};

use self::books::{Books, Lost};
use self::record::Record;
use self::results::Results;
use self::sequence::Held;
use crate::diagnostic::Diagnostic;
use crate::exit::{Ending, Stop};
use crate::failures::{self, Failures, NOT_RUN};
use crate::host::Host;
use crate::input::Rows;
use crate::intake::{Desk, Intake};
use crate::job::{Call, Job};
use crate::output::encode_json;
use crate::progress::Progress;
use crate::reproduce::{self, Reproduction};
use crate::run_dir;
use crate::signals::{self, Request, Watch};
use crate::summary::{Summary, Tally, counted};
use crate::terminal;

/// How long to wait for an outcome before looking at signals and progress again.
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);
/// How long workers may take to leave once they have nothing left to do.
const LEAVE_WITHIN: Duration = Duration::from_secs(12);

/// How much a run says on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Talk {
    pub(crate) progress: bool,
    pub(crate) summary: bool,
    /// Where the first item that was lost had been.
    pub(crate) backtrace: bool,
}

/// Runs `job` to its end. Nothing has started when this returns a refusal.
pub(crate) fn run(job: &Job, talk: Talk) -> Result<Ending, Stop> {
    let total = job.source.check(job.task, job.skip_invalid)?;
    let rows = RefCell::new(job.source.rows(job.task)?);
    job.refuse_overwriting()?;
    job.refuse_mixing()?;
    job.remark();
    let mut results = Results::open(job)?;
    let path = job.results.failures.as_deref();
    let failures = path.map(|path| Failures::open(path, job)).transpose()?;
    // Last of all that may be refused: it is there, and locked, once there is a run.
    let opened = job.run_dir.as_ref().map(|settings| run_dir::open(job, settings, total)).transpose()?;
    let record = opened.map(|opened| Record::new(opened, job));
    let keep_args = failures.is_some() || record.is_some();
    let progress = Progress::new(talk.progress, total, results.go_to_terminal());
    let books = Books::new(failures, record, progress);
    books.sequence.borrow_mut().unordered = job.results.unordered;

    let start = Instant::now();
    let mut builder = job.pool.configure(Pool::builder(), books.screen());
    if let Some(record) = &mut *books.record.borrow_mut() {
        builder = record.listen(builder);
    }
    let pool = builder.build().map_err(|error| unstarted(&error))?;
    // Only now: until the workers stand, a signal may simply end the program.
    let watch = Watch::start().map_err(|error| {
        Stop::Broken(format!("cannot watch for signals: {}", crate::output::reason(&error)))
    })?;
    // Nor is anything lost of an earlier run's results.
    results.begin().and_then(|()| books.begin())?;
    let _hosting = watch.host(Host::new(pool.clone(), books.screen()));
    let mut run = Run { job, books: &books, results, pool, watch, stage: Request::Run };
    let intake = Intake::new(&rows, &books, run.watch.clone(), keep_args);
    let desk = intake.desk();

    let mut done = run.drive(intake, &desk);
    done = done.and_then(|()| run.show_rest());
    // A source that was not counted may never end: its rest stays unread.
    if total.is_some() && keep_args && run.stage < Request::Stop && done.is_ok() {
        done = run.record_rest(&rows, &desk);
    }
    // The bar goes before the last results come: they may share its terminal.
    books.end_progress();
    let mut tally = books.tally();
    // What was never taken in, because a signal or a failure came first, was not run either.
    tally.fail_many(NOT_RUN, total.map_or(0, |total| total.saturating_sub(tally.items())));
    let done = done.and_then(|()| run.results.finish(&books, &tally)).and_then(|()| books.flush());
    let done = done.map_err(|stop| {
        let items = total.unwrap_or_else(|| desk.borrow().items());
        run.count_unrecorded(stop, items)
    });
    run.end_pool(&done);
    let done = run.end_record(done, &tally, total.is_none().then(|| desk.borrow().items()));

    if talk.summary && done.is_ok() {
        let restarts = run.pool.stats().workers.iter().map(|worker| u64::from(worker.restarts)).sum();
        let workers = job.pool.workers();
        let wall = start.elapsed();
        terminal::say(&Summary { name: &job.name, tally: &tally, wall, workers, restarts }.to_string());
    }
    if done.is_ok()
        && let Some(lost) = books.take_first_lost()
    {
        explain(job, talk, lost);
    }
    run.ending(done, &tally)
}

/// Says of a lost item where it was, and how to run it alone.
fn explain(job: &Job, talk: Talk, lost: Lost) {
    let Lost { item, args, backtrace } = lost;
    if let Some(backtrace) = backtrace.filter(|_| talk.backtrace) {
        terminal::say(&format!("item {item} was in:"));
        backtrace.lines().for_each(|line| terminal::say(&terminal::printable(line)));
    }
    if talk.summary
        && let Some(args) = args.or_else(|| reproduce::read_again(job, item))
        && let Some(line) = Reproduction::new(job).line(&args)
    {
        terminal::say(&format!("reproduce item {item} with: {line}"));
    }
}

/// A run under way.
struct Run<'a> {
    job: &'a Job,
    books: &'a Books,
    results: Results,
    pool: Pool,
    watch: Watch,
    /// What the signals so far have led to.
    stage: Request,
}

impl Run<'_> {
    /// Takes outcome after outcome until there are no more.
    fn drive(&mut self, intake: Intake<'_, '_, Books>, desk: &RefCell<Desk>) -> Result<(), Stop> {
        let is_recorded = self.books.record.borrow().is_some();
        let mut options = options(self.job);
        if is_recorded {
            // An outcome is on record as soon as it is there. The output has an order of its own.
            (options.ordered, options.figures) = (false, true);
        }
        let mut stream = self.pool.stream(self.job.task, intake, options);
        loop {
            if is_recorded {
                self.show()?;
                self.books.on_record(Record::tick)?;
            }
            let request = self.watch.request();
            if request > self.stage {
                self.stage = request;
                self.watch.hear();
                self.obey(&mut stream);
            }
            if let Some(stop) = self.books.stop() {
                return Err(stop);
            }
            let step = match stream.next_timeout(Duration::ZERO) {
                Some(step) => Some(step),
                None => {
                    // Nothing at hand: let readers see what there is, and wait.
                    self.results.flush()?;
                    stream.next_timeout(LOOK_UP_EVERY)
                }
            };
            match step {
                None => {}
                Some(None) => return self.books.stop().map_or(Ok(()), Err),
                Some(Some((payload, Err(error)))) if !desk.borrow().has(payload) => {
                    // Not an item's: the call as a whole was refused, ran out of time or was given up.
                    self.cut_short(&error)?;
                }
                Some(Some((payload, outcome))) => {
                    let item = desk.borrow().item(payload);
                    let args = desk.borrow_mut().settle(payload);
                    self.books.on_record(|record| {
                        record.figures.add(stream.take_figures());
                        Ok(())
                    })?;
                    match (outcome, &args) {
                        (Ok(value), Some(args)) if is_recorded => self.keep(item, payload, args, &value)?,
                        (Ok(value), _) => self.results.take(item, &value, args.as_ref(), self.books)?,
                        (Err(error), _) => self.lose((payload, item), args.as_ref(), &error)?,
                    }
                }
            }
            self.books.show_progress();
        }
    }

    /// Puts a value on record; the output has it in its turn.
    fn keep(&mut self, item: u64, payload: u64, args: &Payload, value: &Payload) -> Result<(), Stop> {
        let mut json = Vec::new();
        let encoded = encode_json(self.job.task, value, &mut json)
            .and_then(|()| String::from_utf8(json).map_err(|error| error.to_string()))
            .and_then(|json| self.results.reduce(value).map(|()| json));
        match encoded {
            Ok(json) => {
                self.books.on_record(|record| record.value(item, payload, args, value, &json))?;
                self.books.pass(item, Held::Value(json));
                Ok(())
            }
            Err(what) => {
                self.books.on_record(|record| record.unwritten(item, payload, args, &what))?;
                self.books.pass(item, Held::Nothing);
                self.books.unwritten(item, Some(args), &what)
            }
        }
    }

    /// Writes the values whose turn it is.
    fn show(&mut self) -> Result<(), Stop> {
        for payload in self.books.earlier_payloads.take() {
            // It was a number when it was put on record.
            let _ = self.results.reduce(&payload);
        }
        loop {
            let next = self.books.sequence.borrow_mut().pop();
            let json = match next {
                None => return Ok(()),
                Some((_, Held::Nothing)) => continue,
                Some((item, Held::Value(json))) => (item, json),
                Some((item, Held::Stored)) => {
                    let mut json = String::new();
                    self.books.on_record(|record| {
                        json = record.stored_value(item)?;
                        Ok(())
                    })?;
                    (item, json)
                }
            };
            let (item, json) = json;
            match self.results.show(item, &json) {
                Ok(Ok(())) => self.books.value(),
                Ok(Err(what)) => self.books.unwritten(item, None, &what)?,
                Err(Stop::Unread) => {
                    // Every outcome is in the run directory: the run goes on for that.
                    self.results.mute();
                    self.books.value();
                    let warning = "nobody reads stdout any more: values go to the run directory alone";
                    self.books.aside(|| terminal::say_warning(warning));
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// What is missing does not come: what is there is in order without it.
    fn show_rest(&mut self) -> Result<(), Stop> {
        if self.books.record.borrow().is_none() {
            return Ok(());
        }
        loop {
            self.show()?;
            let mut sequence = self.books.sequence.borrow_mut();
            if sequence.is_empty() {
                return Ok(());
            }
            sequence.skip();
        }
    }

    /// Ends the session in the run directory, and says how to go on.
    fn end_record(&self, done: Result<(), Stop>, tally: &Tally, items: Option<u64>) -> Result<(), Stop> {
        let Some(mut record) = self.books.record.take() else {
            return done;
        };
        let ending = match (&done, self.books.broken(), self.watch.signal()) {
            (Err(_), ..) => procession_store::Ending::Unwritable,
            (Ok(()), Some(_), _) => procession_store::Ending::Broken,
            (Ok(()), None, Some(_)) => procession_store::Ending::Signalled,
            (Ok(()), None, None) if tally.failures() > 0 => procession_store::Ending::Incomplete,
            (Ok(()), None, None) => procession_store::Ending::Complete,
        };
        let unrecorded = record.unrecorded();
        // A source that was cut short was not counted either.
        let counted_items = items.filter(|_| self.stage == Request::Run && done.is_ok());
        let ended =
            counted_items.map_or(Ok(()), |items| record.total(items)).and_then(|()| record.finish(ending));
        let done = done.and(ended.map_err(|stop| match stop {
            Stop::Unwritable(what) => {
                Stop::Unwritable(format!("{what}; {} unrecorded", counted(unrecorded, "outcome")))
            }
            other => other,
        }));
        let is_over =
            matches!(ending, procession_store::Ending::Complete | procession_store::Ending::Incomplete);
        if done.is_err() || !is_over {
            let settings = self.job.run_dir.as_ref();
            let command = settings.map(|settings| run_dir::resuming(&settings.typed)).unwrap_or_default();
            terminal::say(&format!("go on with: {command}"));
        }
        done
    }

    /// The pool takes no more items, and says why.
    fn cut_short(&self, error: &Error) -> Result<(), Stop> {
        match (error.kind(), unstarted(error)) {
            (ErrorKind::TimedOut, _) => {
                let why = "the deadline of the run passed".to_owned();
                self.books
                    .aside(|| terminal::say_warning(&format!("{why}; what was not begun does not run")));
                self.books.cut_short(why);
            }
            (_, Stop::Broken(message)) => self.books.broke(&message),
            (_, stop) => return Err(stop),
        }
        Ok(())
    }

    /// Does what the signals ask for, and says so.
    fn obey<I: Iterator<Item = Payload>>(&self, stream: &mut PayloadStream<I>) {
        let name = self.watch.signal().map_or("signal", signals::name);
        match self.stage {
            Request::Run => {}
            Request::Drain => {
                stream.drain();
                let warning =
                    format!("{name}: finishing what runs, beginning nothing new; once more to stop it");
                self.books.aside(|| terminal::say_warning(&warning));
            }
            Request::Stop => {
                self.pool.terminate();
                // Whatever comes now may come at any time: the bar is in its way.
                self.books.end_progress();
                terminal::say_warning(&format!("{name}: stopping what runs; once more to kill it"));
            }
        }
    }

    /// Books the items that were never taken in, so that every item without a value is in the failures.
    fn record_rest(&self, rows: &RefCell<Rows<'_>>, desk: &RefCell<Desk>) -> Result<(), Stop> {
        let why = self.why_not_run();
        for (item, args) in desk.borrow_mut().unanswered() {
            self.books.not_run(item, Some(&args), &why)?;
        }
        for row in rows.borrow_mut().by_ref() {
            let item = desk.borrow_mut().next_item();
            self.books.not_run(item, row.as_ref().ok(), &why)?;
        }
        Ok(())
    }

    fn why_not_run(&self) -> String {
        let signal = || self.watch.signal().map(|signal| format!("stopped by {}", signals::name(signal)));
        let why = self.books.broken().or_else(|| self.books.why_cut_short()).or_else(signal);
        format!("not run: {}", why.as_deref().unwrap_or("the run ended early"))
    }

    /// Books an item that ended without a value. The pool counts payloads, the books count items.
    fn lose(&self, (payload, item): (u64, u64), args: Option<&Payload>, error: &Error) -> Result<(), Stop> {
        let mut message = error.to_string();
        if item != payload {
            message = message.replacen(&format!(", item {payload}"), &format!(", item {item}"), 1);
        }
        let outcome = failures::outcome(error);
        match error.kind() {
            ErrorKind::Broken | ErrorKind::Spawn | ErrorKind::Initializer | ErrorKind::NotInitialized => {
                self.books.broke(&message);
            }
            ErrorKind::Usage => return Err(Diagnostic::new(message).into()),
            // Whoever stopped the run knows why; the tally counts them.
            ErrorKind::Cancelled | ErrorKind::Terminated if outcome == NOT_RUN => {
                self.books.pass(item, Held::Nothing);
                return self.books.not_run(item, args, &self.why_not_run());
            }
            ErrorKind::Cancelled | ErrorKind::Terminated | ErrorKind::Closed => {}
            _ => self.books.aside(|| terminal::say(&terminal::printable(&message))),
        }
        self.books.on_record(|record| record.failure(item, payload, args, error, &message))?;
        self.books.pass(item, Held::Nothing);
        self.books.failed(item, args, error, &message)
    }

    /// Says for how many items nothing was written.
    fn count_unrecorded(&self, stop: Stop, items: u64) -> Stop {
        match stop {
            Stop::Unwritable(what) => {
                let unrecorded = items.saturating_sub(self.results.certain() + self.books.recorded());
                Stop::Unwritable(format!("{what}; {unrecorded} of {} unrecorded", counted(items, "outcome")))
            }
            other => other,
        }
    }

    /// Lets the workers leave, or makes them.
    fn end_pool(&self, done: &Result<(), Stop>) {
        let in_order = done.is_ok() && self.stage < Request::Stop && self.books.broken().is_none();
        // A pool that does not close is not worth failing a finished run for.
        if in_order && self.pool.close().is_ok() {
            return;
        }
        self.pool.terminate();
        if let Err(error) = self.pool.join(Some(LEAVE_WITHIN)) {
            terminal::say_warning(&terminal::printable(&error.to_string()));
        }
    }

    fn ending(&self, done: Result<(), Stop>, tally: &Tally) -> Result<Ending, Stop> {
        match (done, self.books.broken()) {
            // Nobody reads on: what was not run is nobody's loss, what failed is.
            (Err(Stop::Unread), _) if self.books.tally().failures() > 0 => Ok(Ending::Incomplete),
            (Err(stop), _) => Err(stop),
            (Ok(()), Some(message)) => Err(Stop::Broken(message)),
            (Ok(()), None) => Ok(match self.watch.signal() {
                Some(signal) => Ending::Signalled(signal),
                None if tally.failures() > 0 => Ending::Incomplete,
                None => Ending::Complete,
            }),
        }
    }
}

/// How the pool is to run the job's items.
pub(crate) fn options(job: &Job) -> StreamOptions {
    let mut options = StreamOptions::default();
    options.ordered = !job.results.unordered;
    options.chunk_size = match job.call {
        Call::ApplyAsync => Some(1),
        Call::Map | Call::Starmap | Call::Imap | Call::ImapUnordered => job.pool.chunk_size,
    };
    options.timeout = job.pool.timeout;
    options.deadline = job.pool.deadline;
    options.max_attempts = job.pool.max_attempts;
    options.buffer = job.pool.buffer;
    options
}

/// Why a pool could not be started, or a call not be made.
pub(crate) fn unstarted(error: &Error) -> Stop {
    let message = error.to_string();
    match error.kind() {
        ErrorKind::Usage => Diagnostic::new(message).into(),
        _ => Stop::Broken(message),
    }
}
