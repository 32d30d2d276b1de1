//! Runs a job: rows into the pool, values to the output, everything else to the books.
//!
//! This is the one loop of the program. Where items come from and where values go is decided elsewhere.

mod books;

use std::time::{Duration, Instant};

use procession::{Error, ErrorKind, Payload, PayloadStream, Pool, StreamOptions};

use self::books::Books;
use crate::diagnostic::Diagnostic;
use crate::exit::{Ending, Stop};
use crate::failures::{self, Failures, NOT_RUN};
use crate::intake::{Desk, Intake};
use crate::job::{Call, Job};
use crate::output::{Sink, Values};
use crate::progress::Progress;
use crate::reduce::Reducer;
use crate::signals::{self, Request, Watch};
use crate::summary::{Summary, counted};
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
}

/// Runs `job` to its end. Nothing has started when this returns a refusal.
pub(crate) fn run(job: &Job, talk: Talk) -> Result<Ending, Stop> {
    let total = job.source.check(job.task, job.skip_invalid)?;
    let rows = job.source.rows(job.task)?;
    let mut results = Results::open(job)?;
    let failures = job
        .results
        .failures
        .as_deref()
        .map(|path| Failures::open(path, job.task))
        .transpose()?;
    let keep_args = failures.is_some();

    let start = Instant::now();
    let pool = job
        .pool
        .configure(Pool::builder())
        .build()
        .map_err(|error| unstarted(&error))?;
    // Only now: until the workers stand, a signal may simply end the program.
    let watch = Watch::start().map_err(|error| {
        Stop::Broken(format!(
            "cannot watch for signals: {}",
            crate::output::reason(&error)
        ))
    })?;
    let books = Books::new(failures, Progress::new(talk.progress, total));
    let intake = Intake::new(rows, &books, watch.clone(), keep_args);
    let desk = intake.desk();
    let mut stream = pool.stream(job.task, intake, options(job));

    let mut stage = Request::Run;
    let done = loop {
        let request = watch.request();
        if request > stage {
            stage = request;
            obey(request, &watch, &pool, &mut stream, &books);
        }
        if let Some(stop) = books.stop() {
            break Err(stop);
        }
        let step = match stream.next_timeout(Duration::ZERO) {
            Some(step) => Some(step),
            None => {
                // Nothing at hand: let readers see what there is, and wait.
                if let Err(stop) = results.flush() {
                    break Err(stop);
                }
                stream.next_timeout(LOOK_UP_EVERY)
            }
        };
        match step {
            None => {}
            Some(None) => break Ok(()),
            Some(Some((payload, outcome))) => {
                let item = desk.borrow().item(payload);
                let args = desk.borrow_mut().settle(payload);
                let taken = match outcome {
                    Ok(value) => results.take(item, &value, args.as_ref(), &books),
                    Err(error) => lose(&books, &desk.borrow(), payload, args.as_ref(), &error),
                };
                if let Err(stop) = taken {
                    break Err(stop);
                }
            }
        }
        books.show_progress();
    };
    desk.borrow_mut().stop();
    let done = done.and_then(|()| books.stop().map_or(Ok(()), Err));
    let done = done
        .and_then(|()| results.finish(&books))
        .and_then(|()| books.flush());
    match &done {
        Ok(()) if stage < Request::Stop && !books.is_broken() => leave(&pool),
        _ => stop_now(&pool),
    }
    drop(stream);
    books.end_progress();
    conclude(
        job,
        talk,
        &books,
        total,
        &pool,
        start.elapsed(),
        done,
        watch.signal(),
    )
}

/// What the rest of the pool's life says about the run.
#[expect(
    clippy::too_many_arguments,
    reason = "the last step of `run`, split off to be read on its own"
)]
fn conclude(
    job: &Job,
    talk: Talk,
    books: &Books,
    total: Option<u64>,
    pool: &Pool,
    wall: Duration,
    done: Result<(), Stop>,
    signal: Option<i32>,
) -> Result<Ending, Stop> {
    let mut tally = books.tally();
    // What was never taken in, because a signal or a failure came first, was not run either.
    let unread = total.map_or(0, |total| total.saturating_sub(tally.items()));
    tally.fail_many(NOT_RUN, unread);
    if talk.summary && done.is_ok() {
        let restarts = pool
            .stats()
            .workers
            .iter()
            .map(|worker| u64::from(worker.restarts))
            .sum();
        let workers = job.pool.workers();
        terminal::say(
            &Summary {
                name: &job.name,
                tally: &tally,
                wall,
                workers,
                restarts,
            }
            .to_string(),
        );
    }
    match (done, books.broken()) {
        (Err(Stop::Unread), _) if books.tally().failures() > 0 => Ok(Ending::Incomplete),
        (Err(stop), _) => Err(stop),
        (Ok(()), Some(message)) => Err(Stop::Broken(message)),
        (Ok(()), None) => Ok(match signal {
            Some(signal) => Ending::Signalled(signal),
            None if tally.failures() > 0 => Ending::Incomplete,
            None => Ending::Complete,
        }),
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
            return books.unwritten(item, args, &what);
        }
        if let Some(values) = &mut self.values
            && let Err(what) = values.write(item, value)?
        {
            return books.unwritten(item, args, &what);
        }
        books.value();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Stop> {
        self.values.as_mut().map_or(Ok(()), Values::flush)
    }

    fn finish(&mut self, books: &Books) -> Result<(), Stop> {
        if let Some(values) = &mut self.values {
            values.finish()?;
        }
        let Some(reducer) = &self.reducer else {
            return Ok(());
        };
        let without = books.tally().failures();
        if without > 0 {
            books.aside(|| {
                let values = counted(reducer.count(), "value");
                terminal::say_warning(&format!(
                    "the result is over {values}: {} had none",
                    counted(without, "item")
                ));
            });
        }
        let mut stdout = Sink::stdout();
        stdout.write(format!("{reducer}\n").as_bytes())?;
        stdout.flush()
    }
}

fn options(job: &Job) -> StreamOptions {
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

/// Does what a signal asks for, and says so.
fn obey<I: Iterator<Item = Payload>>(
    request: Request,
    watch: &Watch,
    pool: &Pool,
    stream: &mut PayloadStream<I>,
    books: &Books,
) {
    let name = watch.signal().map_or("signal", signals::name);
    match request {
        Request::Run => {}
        Request::Drain => {
            stream.drain();
            books.aside(|| {
                terminal::say_warning(&format!("{name}: finishing what runs; once more to stop it"))
            });
        }
        Request::Stop => {
            pool.terminate();
            books.aside(|| terminal::say_warning("stopping what runs; once more to kill it"));
        }
    }
}

/// Books an item that ended without a value.
fn lose(books: &Books, desk: &Desk, payload: u64, args: Option<&Payload>, error: &Error) -> Result<(), Stop> {
    let item = desk.item(payload);
    let mut message = error.to_string();
    if item != payload {
        // The pool counts only the rows it was given.
        message = message.replacen(&format!(", item {payload}"), &format!(", item {item}"), 1);
    }
    let message = terminal::printable(&message);
    match error.kind() {
        ErrorKind::Broken | ErrorKind::Spawn | ErrorKind::Initializer | ErrorKind::NotInitialized => {
            books.broke(&message);
        }
        ErrorKind::Usage => return Err(Diagnostic::new(message).into()),
        // Whoever stopped the run knows why; the tally counts them.
        kind if failures::outcome(kind) == NOT_RUN => {}
        _ => books.aside(|| terminal::say(&message)),
    }
    books.failed(item, args, error, &message)
}

fn unstarted(error: &Error) -> Stop {
    let message = terminal::printable(&error.to_string());
    match error.kind() {
        ErrorKind::Usage => Diagnostic::new(message).into(),
        _ => Stop::Broken(message),
    }
}

/// Lets the workers leave. A pool that does not close is not worth failing a finished run for.
fn leave(pool: &Pool) {
    if pool.close().is_err() {
        stop_now(pool);
    }
}

fn stop_now(pool: &Pool) {
    pool.terminate();
    if let Err(error) = pool.join(Some(LEAVE_WITHIN)) {
        terminal::say_warning(&terminal::printable(&error.to_string()));
    }
}
