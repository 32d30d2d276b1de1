//! What a run writes down: a row for every outcome, and the lives of its workers. The rows are made here, once, for the run
//! directory and the event stream alike.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};

use procession::{Error, ErrorKind, Event, Payload};
use procession_store::{Item, Key, Printed, Writer};

use super::again::Past;
use super::events::{End, Events, Retried};
use super::figures::Figure;
use crate::diagnostic::Diagnostic;
use crate::engine::News;
use crate::exec;
use crate::exit::Stop;
use crate::failures::{self, Flaw, INVALID, NOT_RUN};
use crate::job::Job;
use crate::reproduce::{Reproduction, args_json};
use crate::run_dir::{Earlier, Opened, stands};

/// The pool tells of the last worker's end after this at the latest, or its thread for that has other troubles.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// What is written down of a run under way.
pub(super) struct Record {
    /// The run directory, if it has one.
    store: Option<(Writer, Earlier)>,
    /// The event stream, if it has one.
    stream: Option<Events>,
    /// The run ends because something could not be written; that the stream cannot be, either, is no news.
    is_ending: bool,
    news: Receiver<News>,
    /// The processes of which no end was told.
    alive: HashSet<u32>,
    /// By process id: which of the workers it is, or was. Of agents' workers nothing is told.
    slots: HashMap<u32, u32>,
    reproduction: Reproduction,
    job: Described,
    start: (Instant, SystemTime),
}

/// What is known of an item beside its outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) figure: Option<Figure>,
    pub(super) past: Past,
}

/// What of a job matters here.
struct Described {
    task: &'static procession::TaskInfo,
    reduces: bool,
}

impl Record {
    /// Begins a session; `news` is what the engine tells of who runs items.
    pub(super) fn begin(
        (opened, mut stream): (Option<Opened>, Option<Events>),
        (job, total): (&Job, Option<u64>),
        news: Receiver<News>,
    ) -> Result<Record, Stop> {
        let store = opened.map(Opened::begin).transpose()?;
        if let Some(stream) = &mut stream {
            stream.begin(job, total)?;
            if let Some((_, earlier)) = &store {
                stream.recall(&earlier.agents()?);
            }
        }
        Ok(Record {
            store,
            stream,
            is_ending: false,
            news,
            slots: HashMap::new(),
            alive: HashSet::new(),
            reproduction: Reproduction::new(job),
            job: Described { task: job.task, reduces: job.reduce.is_some() },
            start: (Instant::now(), SystemTime::now()),
        })
    }

    /// Puts the workers that stand on record before they are given anything: should they, or what they start, outlive this
    /// process, the next one waits for them.
    pub(super) fn note_workers(&mut self, pids: &[u32]) -> Result<(), Stop> {
        while self.store.is_some()
            && !pids.iter().all(|pid| self.slots.contains_key(pid))
            && let Ok(news) = self.news.recv_timeout(TOLD_WITHIN)
        {
            self.heard(news)?;
        }
        self.flush()
    }

    /// The outcome that an item has from an earlier session, if it has one that stands.
    pub(super) fn earlier(&mut self, index: u64) -> Result<Option<Item>, Stop> {
        let Some((_, earlier)) = &mut self.store else { return Ok(None) };
        let item = earlier.take(index)?.filter(stands);
        if let Some(item) = &item {
            self.tell_events(|stream| stream.item(item, true))?;
        }
        Ok(item)
    }

    /// The values of the items from one to another, so many at most, that are on record, or about to be.
    pub(super) fn stored(&mut self, first: u64, last: u64, items: u64) -> Result<Vec<(u64, String)>, Stop> {
        let Some((writer, earlier)) = &mut self.store else { return Ok(Vec::new()) };
        writer.flush()?;
        earlier.values(first, last, items)
    }

    pub(super) fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// Writes down what became of an item.
    fn write(&mut self, row: Item) -> Result<(), Stop> {
        // It is in the run directory whatever became of the stream.
        let told = self.tell(&row);
        if let Some((writer, _)) = &mut self.store {
            writer.item(row)?;
        }
        told
    }

    /// Lets the event stream alone know what became of an item.
    fn tell(&mut self, row: &Item) -> Result<(), Stop> {
        // Whoever ran it is known before.
        self.hear()?;
        self.tell_events(|stream| stream.item(row, false))
    }

    /// Puts on record that the item at this place among those that run may be begun.
    pub(super) fn hand_out(&mut self, place: u64) -> Result<(), Stop> {
        // A worker that was told of by now is on record before: a master that goes on waits for what this one leaves. A successor
        // that begins what the pool held already is so within moments, once that is heard.
        self.hear()?;
        match &mut self.store {
            Some((writer, _)) => Ok(writer.hand_out(place)?),
            None => Ok(()),
        }
    }

    /// An item has a value.
    pub(super) fn value(
        &mut self,
        index: u64,
        told: Told,
        args: &Payload,
        value: &Payload,
        json: &str,
    ) -> Result<(), Stop> {
        let row = Item {
            // The event stream has no values.
            value: self.has_store().then(|| json.to_owned()),
            payload: self.job.reduces.then(|| value.as_bytes().to_vec()),
            ..self.told(told, Item::value(index, self.key(args)))
        };
        self.write(row)
    }

    /// An item has a value that counts as a failure.
    pub(super) fn flawed(&mut self, index: u64, told: Told, args: &Payload, flaw: &Flaw) -> Result<(), Stop> {
        let row = self.flaw(index, told, args, flaw);
        self.write(row)
    }

    /// A command has ended; `flaw` is why it counts as failed, if it does.
    pub(super) fn command(
        &mut self,
        (index, told): (u64, Told),
        (args, value): (&Payload, &Payload),
        flaw: Option<&Flaw>,
    ) -> Result<(), Stop> {
        let row = match flaw {
            Some(flaw) => self.flaw(index, told, args, flaw),
            None => self.told(told, Item::value(index, self.key(args))),
        };
        let told = self.tell(&row);
        let Some((writer, _)) = &mut self.store else { return told };
        let args_of = |args| args_json(self.job.task, args).map(|json| json.get().to_owned());
        let row = Item { args: args_of(args), reproduce: self.reproduction.line(args), ..row };
        writer.item(exec::kept(row, value))?;
        told
    }

    /// What a command of an earlier session printed.
    pub(super) fn printed(&self, index: u64) -> Result<Option<Printed>, Stop> {
        self.store.as_ref().map_or(Ok(None), |(_, earlier)| earlier.printed(index))
    }

    fn flaw(&self, index: u64, told: Told, args: &Payload, flaw: &Flaw) -> Item {
        Item {
            outcome: flaw.outcome.id.into(),
            exit: flaw.exit,
            signal: flaw.signal,
            error: Some(flaw.what.clone()),
            stderr_tail: flaw.stderr.clone(),
            args: args_json(self.job.task, args).map(|json| json.get().to_owned()),
            ..self.told(told, Item::value(index, self.key(args)))
        }
    }

    fn key(&self, args: &Payload) -> Key {
        exec::key_of(self.job.task, args)
    }

    /// An item ended without a value.
    pub(super) fn failure(
        &mut self,
        index: u64,
        told: Told,
        args: Option<&Payload>,
        error: &Error,
        message: &str,
    ) -> Result<(), Stop> {
        let heard = self.hear();
        let outcome = failures::outcome(error);
        let (exit, signal) = failures::exit_of(error.exit());
        // Agents tell how long ago it ended; of a pool of this machine it is told at once.
        let figure = told.figure;
        let began = || error.run_time().and_then(|ran| Instant::now().checked_sub(ran));
        let began = figure.and_then(|figure| figure.began).or_else(began);
        let row = Item {
            index,
            key: args.map(|args| self.key(args)),
            outcome: outcome.id.into(),
            attempts: error.attempts() + told.past.starts,
            slot: error
                .pid()
                .and_then(|pid| self.slots.get(&pid).copied())
                .or(figure.map(|figure| figure.slot)),
            pid: error.pid(),
            started_at: began.map(|began| self.wall_clock(began)),
            wall: error.run_time(),
            cpu: None,
            peak_rss: error.peak_rss(),
            exit,
            signal,
            error: Some(message.to_owned()),
            args: args.and_then(|args| args_json(self.job.task, args)).map(|json| json.get().to_owned()),
            stderr_tail: error.stderr_tail().filter(|tail| !tail.is_empty()).map(str::to_owned),
            backtrace: error.backtrace().map(str::to_owned),
            reproduce: args
                .filter(|_| failures::is_reproducible(error))
                .and_then(|args| self.reproduction.line(args)),
            ..Item::default()
        };
        // Of a panic the pool has figures, as of a value.
        let row = if row.pid.is_none() { self.told(told, row) } else { row };
        let written = if self.is_final(error) { self.write(row) } else { self.tell(&row) };
        written.and(heard)
    }

    /// Lets the event stream know something. One that could not be written is told nothing more: that it could not has been
    /// returned, and ends the run.
    pub(super) fn tell_events(
        &mut self,
        tell: impl FnOnce(&mut Events) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let told = self.stream.as_mut().map_or(Ok(()), tell);
        if told.is_err() {
            self.stream = None;
        }
        if self.is_ending { Ok(()) } else { told }
    }

    /// From here on it is the run directory that matters.
    pub(super) fn expect_the_end(&mut self) {
        self.is_ending = true;
    }

    /// An item failed, and runs again after a pause.
    pub(super) fn retried(&mut self, retry: &Retried<'_>) -> Result<(), Stop> {
        self.tell_events(|stream| stream.retried(retry))
    }

    /// An item has no arguments.
    pub(super) fn invalid(&mut self, index: u64, refusal: &Diagnostic) -> Result<(), Stop> {
        let error = Some(refusal.plain_headline());
        self.write(Item { index, outcome: INVALID.id.into(), error, ..Item::default() })
    }

    /// To be called now and then.
    pub(super) fn tick(&mut self) -> Result<(), Stop> {
        self.hear()?;
        let told = self.tell_events(Events::tick);
        if let Some((writer, _)) = &mut self.store {
            writer.tick()?;
        }
        told
    }

    /// Lets who reads the event stream see everything so far.
    pub(super) fn flush_events(&mut self) -> Result<(), Stop> {
        self.tell_events(Events::flush)
    }

    pub(super) fn total(&mut self, items: u64) -> Result<(), Stop> {
        match &mut self.store {
            Some((writer, _)) => Ok(writer.total(items)?),
            None => Ok(()),
        }
    }

    /// Returns once everything so far is in the run directory.
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        match &mut self.store {
            Some((writer, _)) => Ok(writer.flush()?),
            None => Ok(()),
        }
    }

    /// Outcomes that are not in the run directory, and will not be.
    pub(super) fn unrecorded(&self) -> Option<u64> {
        self.store.as_ref().map(|(writer, _)| writer.unrecorded())
    }

    /// Ends the session. `is_settled`: of everything that was handed out it is known what became of it.
    pub(super) fn finish(mut self, end: End<'_>, is_settled: bool) -> Result<(), Stop> {
        let heard = self.hear_the_end();
        let told = heard.and_then(|()| self.tell_events(|stream| stream.finish(end)));
        // The run directory is ended in order whatever became of the stream.
        match self.store {
            Some((writer, _)) if is_settled => writer.finish(end.ending)?,
            Some((writer, _)) => writer.cut_short(end.ending)?,
            None => {}
        }
        told
    }

    /// An item that was handed out was not begun, and will not be.
    pub(super) fn take_back(&mut self, index: u64) -> Result<(), Stop> {
        match &mut self.store {
            Some((writer, _)) => Ok(writer.not_run(index)?),
            None => Ok(()),
        }
    }

    /// An item does not run: whoever reads events hears of it, a run that goes on runs it.
    pub(super) fn not_run(&mut self, index: u64, why: &str) -> Result<(), Stop> {
        let error = Some(why.to_owned());
        self.tell(&Item { index, outcome: NOT_RUN.id.into(), error, ..Item::default() })
    }

    /// Whether an item that came to this is not run again by a run that goes on. What was stopped while it ran may have
    /// done its work: only what may be run twice is. What was not begun is, unless it never can be.
    fn is_final(&self, error: &Error) -> bool {
        match failures::outcome(error) {
            failures::NOT_RUN => false,
            failures::TERMINATED | failures::CANCELLED => !self.job.task.is_idempotent(),
            _ if error.attempts() > 0 => true,
            _ => matches!(error.kind(), ErrorKind::Encode | ErrorKind::TooLarge | ErrorKind::UnknownTask),
        }
    }

    fn told(&self, Told { figure, past }: Told, row: Item) -> Item {
        let is_flaky = past.is_flaky && row.is_ok();
        let Some(figure) = figure else { return Item { is_flaky, ..row } };
        Item {
            attempts: figure.attempt + past.starts,
            is_flaky,
            slot: Some(figure.slot),
            pid: Some(figure.pid),
            started_at: figure.began.map(|began| self.wall_clock(began)),
            wall: Some(figure.wall),
            cpu: Some(figure.cpu),
            peak_rss: Some(figure.peak_rss),
            ..row
        }
    }

    /// By the clock as it was when the run began: one that is set meanwhile reorders nothing.
    fn wall_clock(&self, at: Instant) -> SystemTime {
        let (instant, time) = self.start;
        match at.checked_duration_since(instant) {
            Some(since) => time + since,
            // With an agent it may have begun long before, in an earlier session.
            None => time - instant.saturating_duration_since(at),
        }
    }

    /// Hears how the workers of a pool that has ended did: its observer may be told a little later.
    fn hear_the_end(&mut self) -> Result<(), Stop> {
        self.hear()?;
        while !self.alive.is_empty()
            && let Ok(news) = self.news.recv_timeout(TOLD_WITHIN)
        {
            self.heard(news)?;
        }
        Ok(())
    }

    fn heard(&mut self, news: News) -> Result<(), Stop> {
        match news {
            News::Worker(event) => self.heard_of_worker(event),
            News::Broker(is_there) => self.tell_events(|stream| stream.broker(is_there)),
            News::Agent(news) => {
                let told = self.tell_events(|stream| stream.agent(&news));
                if let Some((writer, _)) = &mut self.store {
                    writer.agent(news)?;
                }
                told
            }
        }
    }

    fn heard_of_worker(&mut self, event: Event) -> Result<(), Stop> {
        match event {
            Event::WorkerStarted { slot, pid } => {
                self.slots.insert(pid, slot);
                self.alive.insert(pid);
            }
            Event::WorkerExited { pid, .. } => {
                self.alive.remove(&pid);
            }
            _ => {}
        }
        let told = self.tell_events(|stream| stream.heard(&event));
        let Some((writer, _)) = &mut self.store else { return told };
        match event {
            Event::WorkerStarted { slot, pid } => writer.worker_started(slot, pid)?,
            Event::WorkerExited { pid, exit, .. } => {
                let (exit, signal) = failures::exit_of(Some(exit));
                writer.worker_ended(pid, exit, signal)?;
            }
            _ => {}
        }
        told
    }

    /// Writes down what the engine told of who runs items.
    fn hear(&mut self) -> Result<(), Stop> {
        while let Ok(news) = self.news.try_recv() {
            self.heard(news)?;
        }
        Ok(())
    }
}
