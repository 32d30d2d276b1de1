//! Runs a job: rows into the pool, values to the output, everything else to the books.
//!
//! This is the one loop of the program. Where items come from and where values go is decided elsewhere.

mod books;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use procession::{Error, ErrorKind, Payload, PayloadStream, Pool, StreamOptions};

use self::books::{Books, Lost};
use crate::diagnostic::Diagnostic;
use crate::exit::{Ending, Stop};
use crate::failures::{self, Failures, NOT_RUN};
use crate::host::Host;
use crate::input::Rows;
use crate::intake::{Desk, Intake};
use crate::job::{Call, Job};
use crate::output::{Sink, Values};
use crate::progress::Progress;
use crate::reduce::Reducer;
use crate::reproduce::{self, Reproduction};
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
    let keep_args = failures.is_some() || job.results.streams.is_some();
    let progress = Progress::new(talk.progress, total, results.go_to_terminal());
    let books = Books::new(failures, progress);

    let start = Instant::now();
    let pool = job.pool.configure(Pool::builder(), books.screen()).build();
    let pool = pool.map_err(|error| unstarted(&error))?;
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
        let mut stream = self.pool.stream(self.job.task, intake, options(self.job));
        loop {
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
                    match outcome {
                        Ok(value) => self.results.take(item, &value, args.as_ref(), self.books)?,
                        Err(error) => self.lose((payload, item), args.as_ref(), &error)?,
                    }
                }
            }
            self.books.show_progress();
        }
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
                return self.books.not_run(item, args, &self.why_not_run());
            }
            ErrorKind::Cancelled | ErrorKind::Terminated | ErrorKind::Closed => {}
            _ => self.books.aside(|| terminal::say(&terminal::printable(&message))),
        }
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

/// Where values end: written, reduced, or both.
struct Results {
    values: Option<Values>,
    reducer: Option<Reducer>,
}

impl Results {
    fn open(job: &Job) -> Result<Results, Stop> {
        let reducer = job.reduce.map(|reduction| Reducer::new(reduction, job.task));
        // A reduction is the result on stdout; the values themselves are written only where a file is named for them.
        let writes = reducer.is_none() || job.results.file.is_some();
        let values = writes.then(|| Values::open(job.task, &job.results)).transpose()?;
        Ok(Results { values, reducer })
    }

    /// The run has begun: values of an earlier one go.
    fn begin(&mut self) -> Result<(), Stop> {
        self.values.as_mut().map_or(Ok(()), Values::begin)
    }

    fn take(
        &mut self,
        item: u64,
        value: &Payload,
        args: Option<&Payload>,
        books: &Books,
    ) -> Result<(), Stop> {
        if let Some(reducer) = &mut self.reducer
            && let Err(what) = reducer.add(value)
        {
            return books.flawed(item, args, &what.into());
        }
        if let Some(values) = &mut self.values
            && let Err(flaw) = values.write(item, value, args, &books.screen())?
        {
            return books.flawed(item, args, &flaw);
        }
        books.value();
        Ok(())
    }

    /// Whether values appear where progress does.
    fn go_to_terminal(&self) -> bool {
        self.values.as_ref().is_some_and(Values::go_to_terminal)
    }

    /// How many values have certainly been written. A reduction that has no result has none.
    fn certain(&self) -> u64 {
        self.values.as_ref().map_or(0, Values::certain)
    }

    fn flush(&mut self) -> Result<(), Stop> {
        self.values.as_mut().map_or(Ok(()), Values::flush)
    }

    fn finish(&mut self, books: &Books, tally: &Tally) -> Result<(), Stop> {
        if let Some(values) = &mut self.values {
            values.finish()?;
        }
        let Some(reducer) = &self.reducer else {
            return Ok(());
        };
        let without = tally.failures();
        if without > 0 {
            books.aside(|| {
                let values = counted(reducer.count(), "value");
                let items = counted(without, "item");
                terminal::say_warning(&match reducer.count() {
                    0 => format!("there is no result: {items} had no value"),
                    _ => format!("the result is over {values}: {items} had none"),
                });
            });
        }
        // The sum of nothing is a number only where nothing was all there was.
        if without > 0 && reducer.count() == 0 {
            return Ok(());
        }
        let mut stdout = Sink::stdout();
        stdout.write(format!("{reducer}\n").as_bytes())?;
        stdout.flush()
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
