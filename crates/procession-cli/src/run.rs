//! Runs a job: rows into the pool, values to the output, everything else to the books.
//!
//! This is the one loop of the program. Where items come from and where values go is decided elsewhere.

mod again;
mod books;
mod events;
mod figures;
mod outcomes;
mod record;
mod results;
mod sequence;
mod spill;
mod steering;
mod winding_up;

use std::cell::RefCell;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use procession::{Error, ErrorKind, Payload, StreamOptions};

use self::books::{Books, Lost};
use self::events::{End, Events, How, Stopping};
use self::figures::{Figure, Figures};
use self::record::Record;
use self::results::Results;
use self::steering::Steering;
use crate::activity::Activity;
use crate::diagnostic::Diagnostic;
use crate::engine::{self, Agents, Call as Handed, Engine, unstarted};
use crate::exit::{Ending, Stop};
use crate::failures::{self, Failures, NOT_RUN};
use crate::host::{Away, Host};
use crate::input::{Counted, Rows};
use crate::intake::{Desk, Intake};
use crate::job::{Call, Job, WorkerOutput};
use crate::progress::Progress;
use crate::reproduce::{self, Reproduction};
use crate::run_dir;
use crate::signals::{self, Request, Watch};
use crate::summary::{Summary, Tally, counted};
use crate::terminal;

/// How long to wait for an outcome before looking at signals again.
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);
/// How often whoever keeps outcomes until they are on record hears that they are.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How much a run says on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Talk {
    pub(crate) progress: bool,
    pub(crate) summary: bool,
    /// Where the first item that was lost had been.
    pub(crate) backtrace: bool,
}

/// Refuses a job that cannot be run. How many items there are, and how many of them run.
pub(crate) fn check(job: &Job) -> Result<(Counted, Counted), Diagnostic> {
    engine::refuse_local_settings(job)?;
    let (items, total) = job.check()?;
    if let Some(halt) = job.pool.policies.halt.filter(|halt| halt.wants_total() && total.is_none()) {
        let refusal = Diagnostic::new(format!("--halt {halt} is a share of items that nobody has counted"));
        return Err(refusal.help("name a number of items, or leave out --skip-invalid"));
    }
    job.refuse_overwriting()?;
    job.refuse_mixing()?;
    Ok((items, total))
}

/// Runs `job` to its end. Nothing has started when this returns a refusal.
pub(crate) fn run(job: &Job, talk: Talk) -> Result<Ending, Stop> {
    let (items, total) = check(job)?;
    let policies = &job.pool.policies;
    let rows = RefCell::new(job.rows()?);
    job.caution().iter().for_each(|caution| terminal::say_warning(caution));
    job.remark();
    let progress = Progress::new(talk.progress, job.pool.output == WorkerOutput::Inherit);
    let results = Results::open(job, &progress.screen())?;
    let path = job.results.failures.as_deref();
    let failures = path.map(|path| Failures::open(path, job)).transpose()?;
    let stream =
        job.results.events.as_deref().map(|path| Events::open(path, &progress.screen())).transpose()?;
    let is_recorded = job.run_dir.is_some() || stream.is_some();
    let keep_args = failures.is_some() || is_recorded || job.results.streams.is_some() || policies.reorders();
    let mut agents = Agents::connect(job)?;
    // Last of all that may be refused: it is there, and locked, once there is a run.
    let opened = job.run_dir.as_ref().map(|settings| run_dir::open(job, settings, items, agents.as_mut()));
    let opened = opened.transpose()?;
    let shows_items = progress.shows_items();
    let books = Books::new((results, failures), progress, policies, &job.part.selection);
    if policies.reorders() {
        books.reorder(job.results.unordered);
    }

    let start = Instant::now();
    let (told, events) = mpsc::channel();
    let engine = Engine::start(job, agents, is_recorded.then_some(told), books.screen())?;
    // Only now: it has a thread, and a pool may have to be started without.
    if is_recorded {
        books.keep_record(Record::begin((opened, stream), (job, total), events)?, job.results.unordered);
        books.on_record(|record| record.note_workers(&engine.worker_pids()))?;
    }
    // Only now: until the workers stand, a signal may simply end the program.
    let watch = Watch::start().map_err(|error| {
        Stop::Broken(format!("cannot watch for signals: {}", crate::output::reason(&error)))
    })?;
    // Nor is anything lost of an earlier run's results.
    books.begin()?;
    let keeps = keep_args || shows_items;
    let intake = Intake::new(&rows, &books, watch.clone(), keeps, &job.part.selection);
    let desk = intake.desk();
    let numbers = desk.borrow().numbers();
    let whole = (job.name.as_str(), job.task, total);
    let activity = Activity::of_run(engine.clone(), numbers, whole, books.shared_tally());
    books.watch(activity.clone());
    let pauses = Pauses { away: activity.away(), told: Duration::ZERO };
    let _hosting = watch.host(Host::new(engine.clone(), books.screen(), activity));
    let steering = Steering::new(job);
    let figures = Figures::default();
    let stage = Request::Run;
    let mut run = Run { job, books: &books, engine, watch, stage, total, figures, steering, pauses };

    let (driven, is_settled) = run.drive(intake, &desk);
    let is_read = driven.is_ok();
    let mut done = driven.and_then(|()| run.end_retries());
    // A source that was not counted may never end: its rest stays unread. What has a run directory is a file.
    let reads_rest = (total.is_some() && run.stage < Request::Stop) || books.has_store();
    if reads_rest && keep_args && done.is_ok() {
        done = run.record_rest(&rows, &desk);
    }
    done = done.and_then(|()| books.show_rest());
    // Progress goes before the last results come: they may share its terminal.
    books.end_progress();
    let mut tally = books.tally();
    // What was never taken in, because a signal or a failure came first, was not run either.
    tally.fail_many(NOT_RUN, total.map_or(0, |total| total.saturating_sub(tally.items())));
    let done = done.and_then(|()| books.finish(&tally));
    let done = done.map_err(|stop| {
        let items = total.unwrap_or_else(|| desk.borrow().items());
        run.count_unrecorded(stop, items)
    });
    run.engine.end(done.is_ok() && run.stage < Request::Stop && books.broken().is_none());
    let items = desk.borrow().items();
    if total.is_none() && is_read && run.stage == Request::Run && books.why_cut_short().is_none() {
        job.part.shortfall(items).iter().for_each(|what| terminal::say_warning(what));
    }
    // Of a part it is not told how many there are in all.
    let items = (total.is_none() && is_read && job.part.selection.is_whole()).then_some(items);
    let done = run.end_record(done, (&tally, start.elapsed()), items, is_settled);

    if talk.summary && done.is_ok() {
        let restarts = run.engine.stats().workers.iter().map(|worker| u64::from(worker.restarts)).sum();
        let workers = run.engine.workers(job.pool.workers());
        let wall = start.elapsed();
        terminal::say(&Summary { name: &job.name, tally: &tally, wall, workers, restarts }.to_string());
    }
    if let Some(why) = books.halted() {
        let left = counted(tally.of(NOT_RUN), "item");
        terminal::say(&format!("halted: {why}; {left} not begun"));
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
    engine: Engine,
    watch: Watch,
    /// What the signals so far have led to.
    stage: Request,
    /// How many items there are, if they were counted.
    total: Option<u64>,
    figures: Figures,
    steering: Steering,
    pauses: Pauses,
}

/// For how long a run was suspended, and how much of that the event stream knows.
struct Pauses {
    away: Away,
    told: Duration,
}

impl Run<'_> {
    /// Takes outcome after outcome until there are no more. And whether it is known what became of everything that was handed out.
    fn drive(&mut self, intake: Intake<'_, '_, Books>, desk: &RefCell<Desk>) -> (Result<(), Stop>, bool) {
        let mut options = options(self.job);
        // An outcome is on record as soon as it is there, or its item runs again. The output has an order of its own.
        options.ordered &= !self.books.reorders();
        options.figures = self.books.has_record() || self.steering.judges;
        let policies = &self.job.pool.policies;
        if policies.timeout_percent.is_some() {
            options.timeout = Some(Duration::MAX);
        }
        if !policies.gates.is_empty() || self.books.keeps_commands() {
            // Each start is asked for: what the pool holds ready would be begun whatever the machine does, and of commands
            // nobody would know after a kill which of them have run.
            options.buffer = options.buffer.or(Some(self.job.pool.workers()));
        }
        let about = (desk.borrow().numbers(), self.books.screen());
        let mut call = match self.engine.call(self.job, intake, options, about) {
            Ok(call) => call,
            // Nothing was handed out.
            Err(stop) => return (Err(stop), true),
        };
        let driven = self.follow(&mut call, desk);
        let is_settled = driven.is_ok() || self.wind_up(&mut call, desk);
        (driven.and_then(|()| self.end_call(call)), is_settled)
    }

    fn follow<I: Iterator<Item = Option<Payload>>>(
        &mut self,
        call: &mut Handed<I>,
        desk: &RefCell<Desk>,
    ) -> Result<(), Stop> {
        let mut committed = Instant::now();
        loop {
            self.books.on_record(Record::tick)?;
            if call.awaits_record() && committed.elapsed() >= COMMIT_EVERY {
                committed = Instant::now();
                self.books.on_record(Record::flush)?;
                call.on_record();
            }
            self.tell_pauses()?;
            let request = self.watch.request();
            if request > self.stage {
                self.stage = request;
                self.watch.hear();
                self.obey(call)?;
            }
            if let Some(stop) = self.books.stop() {
                return Err(stop);
            }
            let step = match call.results(Duration::ZERO)? {
                Some(step) => Some(step),
                None => {
                    // Nothing at hand: let readers see what there is, and wait.
                    self.books.flush_values()?;
                    call.results(LOOK_UP_EVERY)?
                }
            };
            match step {
                None => {}
                Some(None) => return self.books.stop().map_or(Ok(()), Err),
                Some(Some((payload, Err(error)))) if !desk.borrow().has(payload) => {
                    // Not an item's: the call as a whole was refused, ran out of time or was given up.
                    self.cut_short(&error)?;
                }
                Some(Some(answer)) => self.settle(call, desk, answer)?,
            }
            if let Some(why) = self.reason_to_halt() {
                self.halt(call, &why)?;
            }
        }
    }

    /// Ends the session in the run directory and the event stream, and says how to go on.
    fn end_record(
        &self,
        done: Result<(), Stop>,
        (tally, wall): (&Tally, Duration),
        items: Option<u64>,
        is_settled: bool,
    ) -> Result<(), Stop> {
        let Some(mut record) = self.books.take_record() else {
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
        let ended = items.map_or(Ok(()), |items| record.total(items)).and_then(|()| {
            let (signal, halted) = (self.watch.signal(), self.books.halted());
            record.finish(End { ending, signal, tally, wall, halted: halted.as_deref() }, is_settled)
        });
        let done = done.and(ended.map_err(|stop| match unrecorded {
            Some(unrecorded) if unrecorded > 0 => winding_up::with_unrecorded(stop, unrecorded),
            _ => stop,
        }));
        let has_rest = self.books.halted().is_some() && tally.of(NOT_RUN) > 0;
        let is_over =
            matches!(ending, procession_store::Ending::Complete | procession_store::Ending::Incomplete);
        if let Some(settings) = self.job.run_dir.as_ref().filter(|_| done.is_err() || !is_over || has_rest) {
            terminal::say(&format!("go on with: {}", run_dir::resuming(&settings.typed)));
        }
        done
    }

    /// The pool takes no more items, and says why.
    fn cut_short(&self, error: &Error) -> Result<(), Stop> {
        match (error.kind(), unstarted(error)) {
            (ErrorKind::TimedOut, _) => self.deadline_passed()?,
            (_, Stop::Broken(message)) => self.books.broke(&message),
            (_, stop) => return Err(stop),
        }
        Ok(())
    }

    /// Says once that the run ends by its deadline.
    fn deadline_passed(&self) -> Result<(), Stop> {
        if self.books.why_cut_short().is_some() {
            return Ok(());
        }
        let why = "the deadline of the run passed".to_owned();
        self.books.warn(&format!("{why}; what was not begun does not run"));
        self.books.cut_short(why.clone());
        self.stopping(How::Stop, &why)
    }

    /// Does what the signals ask for, and says so.
    fn obey<I: Iterator<Item = Option<Payload>>>(&self, call: &mut Handed<I>) -> Result<(), Stop> {
        let name = self.watch.signal().map_or("signal", signals::name);
        match self.stage {
            Request::Run => Ok(()),
            Request::Drain => {
                call.drain();
                let warning =
                    format!("{name}: finishing what runs, beginning nothing new; once more to stop it");
                self.books.warn(&warning);
                self.stopping(How::Drain, name)
            }
            Request::Stop => {
                call.terminate(&self.engine);
                // Nobody waits for what is stopped, and a word on each item is to come.
                self.books.end_progress();
                terminal::say_warning(&format!("{name}: stopping what runs; once more to kill it"));
                self.stopping(How::Stop, name)
            }
        }
    }

    /// Lets the event stream know that the run ends before its items do.
    fn stopping(&self, how: How, reason: &str) -> Result<(), Stop> {
        let stopping = Stopping { how, reason, signal: self.watch.signal() };
        self.books.on_record(|record| record.tell_events(|events| events.stopping(&stopping)))
    }

    /// Lets the event stream know that the run was suspended and goes on.
    fn tell_pauses(&mut self) -> Result<(), Stop> {
        let paused = self.pauses.away.time();
        let more = paused.saturating_sub(self.pauses.told);
        if more.is_zero() {
            return Ok(());
        }
        self.pauses.told = paused;
        self.books.on_record(|record| record.tell_events(|events| events.resumed(more)))
    }

    /// Books the items that were never taken in, so that every item without a value is in the failures.
    fn record_rest(&self, rows: &RefCell<Rows<'_>>, desk: &RefCell<Desk>) -> Result<(), Stop> {
        let why = self.why_not_run();
        let unanswered = desk.borrow_mut().unanswered();
        for (item, args) in unanswered {
            if self.book_failure(item)? {
                continue;
            }
            self.books.not_run(item, Some(&args), &why)?;
        }
        let held = desk.borrow_mut().take_held().map(Ok);
        for row in held.into_iter().chain(rows.borrow_mut().by_ref()) {
            let item = desk.borrow_mut().next_item();
            if self.books.is_known(item, row.as_ref().ok())? {
                continue;
            }
            self.books.not_run(item, row.as_ref().ok(), &why)?;
        }
        Ok(())
    }

    fn why_not_run(&self) -> String {
        let signal = || self.watch.signal().map(|signal| format!("stopped by {}", signals::name(signal)));
        let why = self.books.broken().or_else(|| self.books.why_cut_short()).or_else(signal);
        format!("not run: {}", why.as_deref().unwrap_or("the run ended early"))
    }

    /// Books an item that ended without a value.
    fn lose(
        &self,
        item: u64,
        figure: Option<Figure>,
        args: Option<&Payload>,
        (error, message): (&Error, &str),
    ) -> Result<(), Stop> {
        let outcome = failures::outcome(error);
        // That the call is over is told on its own only if rows are left that were not taken in.
        let is_over = error.kind() == ErrorKind::TimedOut && message.contains("the call's deadline of ");
        let told = if is_over { self.deadline_passed() } else { Ok(()) };
        match error.kind() {
            ErrorKind::Broken | ErrorKind::Spawn | ErrorKind::Initializer | ErrorKind::NotInitialized => {
                self.books.broke(message);
            }
            ErrorKind::Usage => return Err(Diagnostic::new(message).into()),
            // Whoever stopped the run knows why; the tally counts them.
            ErrorKind::Cancelled | ErrorKind::Terminated if outcome == NOT_RUN => {
                if self.book_failure(item)? {
                    return Ok(());
                }
                self.books.on_record(|record| record.take_back(item))?;
                self.books.pass(item, None)?;
                return self.books.not_run(item, args, &self.why_not_run());
            }
            ErrorKind::Cancelled | ErrorKind::Terminated | ErrorKind::Closed => {}
            _ => self.books.say(&terminal::printable(message)),
        }
        self.books.record_failure(item, figure, args, (error, message))?;
        self.books.pass(item, None)?;
        self.books.failed(item, args, error, message)?;
        told
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
                // Of what nobody has counted, some may be left.
                None if self.books.halted().is_some() && self.total.is_none() => Ending::Incomplete,
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
