//! Rows on their way into the database: gathered by the master, written by a thread of their own.
//!
//! A transaction holds what came within a moment, so that what is lost with the program is that moment's outcomes and no
//! more, and a row costs about a microsecond. What may be begun is written before it is: see [`Writer::hand_out`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{CachedStatement, Connection, params};

use crate::agent::{self, AgentNews};
use crate::error::{Error, ErrorKind};
use crate::handing::Handing;
use crate::host::birth_of;
use crate::item::{Item, seconds};
use crate::job::Ending;
use crate::place::Place;
use crate::row::Rows;
use crate::schema::NOTHING_UNDER_WAY;

/// Rows that travel together.
const BATCH_ROWS: usize = 512;

/// A batch with so many bytes goes at once, and waits as long as the thread has more than so many before it.
const BATCH_BYTES: usize = 4 << 20;

/// They wait for company for so long at most.
const BATCH_TIME: Duration = Duration::from_millis(10);

/// Batches that wait for the thread. More, and the master waits: a disk that is slower than the workers slows them down
/// instead of filling memory.
const BATCHES_MAX: usize = 64;

/// A transaction lasts no longer, so that other programs see a run go on.
const TRANSACTION_TIME: Duration = Duration::from_millis(100);

/// What the master sends to the thread.
enum Message {
    /// And how many bytes they have.
    Items(Vec<Item>, u64),
    /// This item was handed out and not begun.
    NotBegun(u64),
    /// So many of the run's items, from the first on, may be begun.
    HandOut(u64),
    WorkerStarted {
        slot: u32,
        pid: u32,
        birth: i64,
        at: f64,
    },
    WorkerEnded {
        pid: u32,
        exit: Option<i32>,
        signal: Option<i32>,
        at: f64,
    },
    /// And when.
    Agent(AgentNews, f64),
    /// How many items there are turned out.
    Total(u64),
    Flush,
    /// `is_settled`: nothing is under way whose fate is not known.
    Finish {
        ending: Ending,
        is_settled: bool,
    },
}

/// What the thread tells the master.
#[derive(Default)]
struct Progress {
    /// How many announcements of what may be begun are on record.
    announcements: AtomicU64,
    /// Outcomes that are on record.
    recorded: AtomicU64,
    /// Flushes that are done.
    flushed: AtomicU64,
    /// Workers that began, on record.
    workers: AtomicU64,
    /// Bytes in items that the thread has given to the database, on record or about to be.
    taken: AtomicU64,
    failure: OnceLock<Error>,
}

/// Takes the rows of a session.
pub struct Writer {
    messages: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
    progress: Arc<Progress>,
    batch: Vec<Item>,
    batch_bytes: usize,
    /// Bytes in items that were sent.
    sent: u64,
    /// Workers that began.
    workers: u64,
    batch_since: Instant,
    given: u64,
    flushes: u64,
    handing: Handing,
    session: i64,
    place: Place,
}

impl Writer {
    pub(crate) fn start(connection: Connection, session: i64, place: Place) -> Result<Writer, Error> {
        let (messages, heard) = mpsc::sync_channel(BATCHES_MAX);
        let progress = Arc::new(Progress::default());
        let master = thread::current();
        let told = Arc::clone(&progress);
        let thread = thread::Builder::new()
            .name("run store".to_owned())
            .spawn(move || {
                let scribe = Scribe { connection: &connection, session, told: &told, master: &master };
                if let Err(error) = scribe.serve(&heard) {
                    let _ = told.failure.set(error);
                }
                master.unpark();
            })
            .map_err(|error| Error::io("cannot start the run store's thread", error))?;
        Ok(Writer {
            messages,
            thread: Some(thread),
            progress,
            batch: Vec::with_capacity(BATCH_ROWS),
            batch_bytes: 0,
            sent: 0,
            workers: 0,
            batch_since: Instant::now(),
            given: 0,
            flushes: 0,
            handing: Handing::new(Instant::now()),
            session,
            place,
        })
    }

    /// The number of this session.
    pub fn session(&self) -> i64 {
        self.session
    }

    /// The item at this place among the run's items ([`Selection::position`](crate::Selection::position)) is about to be handed
    /// out. Returns once it is on record that it may have been begun, so that a master that goes on after a kill knows it. Call it
    /// in their order, from the thread that made the writer.
    ///
    /// Some more are put on record with it, as many as end in a moment. The workers that it was told of are on record as well.
    ///
    /// # Errors
    /// The store cannot be written: the item must not be handed out.
    pub fn hand_out(&mut self, position: u64) -> Result<(), Error> {
        if let Some(upto) = self.handing.announce(position, Instant::now) {
            self.send(Message::HandOut(upto))?;
        }
        while !self.handing.allows(position, self.progress.announcements.load(Ordering::Acquire)) {
            let awaited = self.handing.awaited();
            self.wait(|progress| progress.announcements.load(Ordering::Acquire) >= awaited)?;
        }
        let workers = self.workers;
        self.wait(|progress| progress.workers.load(Ordering::Acquire) >= workers)?;
        self.handing.handed_out(position);
        Ok(())
    }

    /// Takes an outcome. It is on record within about a tenth of a second, and replaces the one that the item had; but that its
    /// arguments cannot be read ([`INVALID`](crate::INVALID)) replaces no other outcome.
    ///
    /// # Errors
    /// The store could not be written some time ago.
    pub fn item(&mut self, item: Item) -> Result<(), Error> {
        if self.batch.is_empty() {
            self.batch_since = Instant::now();
        }
        self.batch_bytes += item.bulk();
        self.batch.push(item);
        self.given += 1;
        self.handing.ended();
        let is_full = self.batch.len() >= BATCH_ROWS || self.batch_bytes >= BATCH_BYTES;
        if is_full { self.send_batch() } else { Ok(()) }
    }

    /// To be called now and then: rows that have waited for company go without it.
    ///
    /// # Errors
    /// As [`item`](Writer::item).
    pub fn tick(&mut self) -> Result<(), Error> {
        // Nothing is handed out just now: what was announced ahead is not begun after all.
        let on_record = self.progress.announcements.load(Ordering::Acquire);
        let now = Instant::now();
        if let Some(upto) = self.handing.take_back(on_record, now) {
            self.send(Message::HandOut(upto))?;
        }
        if !self.batch.is_empty() && now.duration_since(self.batch_since) >= BATCH_TIME {
            self.send_batch()
        } else {
            Ok(())
        }
    }

    /// A worker process has begun.
    ///
    /// # Errors
    /// As [`item`](Writer::item).
    pub fn worker_started(&mut self, slot: u32, pid: u32) -> Result<(), Error> {
        let birth = birth_of(pid).unwrap_or(0);
        self.workers += 1;
        self.send(Message::WorkerStarted { slot, pid, birth, at: seconds(SystemTime::now()) })
    }

    /// A worker process has ended.
    ///
    /// # Errors
    /// As [`item`](Writer::item).
    pub fn worker_ended(&mut self, pid: u32, exit: Option<i32>, signal: Option<i32>) -> Result<(), Error> {
        self.send(Message::WorkerEnded { pid, exit, signal, at: seconds(SystemTime::now()) })
    }

    /// Something became of an agent.
    ///
    /// # Errors
    /// As [`item`](Writer::item).
    pub fn agent(&mut self, news: AgentNews) -> Result<(), Error> {
        self.send(Message::Agent(news, seconds(SystemTime::now())))
    }

    /// How many items there are, once that is known.
    ///
    /// # Errors
    /// As [`item`](Writer::item).
    pub fn total(&mut self, items: u64) -> Result<(), Error> {
        self.send(Message::Total(items))
    }

    /// Returns once everything so far is on record.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.send_batch()?;
        self.flushes += 1;
        let flushes = self.flushes;
        self.send(Message::Flush)?;
        self.wait(|progress| progress.flushed.load(Ordering::Acquire) >= flushes)
    }

    /// Ends the session in order: what was handed out has its outcome by now, or was not begun.
    ///
    /// # Errors
    /// The store cannot be written, or the directory or its database was removed or replaced meanwhile.
    pub fn finish(self, ending: Ending) -> Result<(), Error> {
        self.end(ending, true)
    }

    fn end(mut self, ending: Ending, is_settled: bool) -> Result<(), Error> {
        self.send_batch()?;
        self.send(Message::Finish { ending, is_settled })?;
        self.join();
        // A database that is gone is the better reason.
        self.place.check().and_then(|()| self.check())
    }

    /// Ends the session although it is not known what became of everything that was handed out.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn cut_short(self, ending: Ending) -> Result<(), Error> {
        self.end(ending, false)
    }

    /// Item `index` was handed out and not begun. It has no outcome; after a kill it is known not to have run.
    ///
    /// # Errors
    /// As [`item`](Writer::item).
    pub fn not_run(&mut self, index: u64) -> Result<(), Error> {
        self.send(Message::NotBegun(index))
    }

    /// How many of the outcomes it was given are not on record.
    pub fn unrecorded(&self) -> u64 {
        self.given - self.progress.recorded.load(Ordering::Acquire)
    }

    fn send_batch(&mut self) -> Result<(), Error> {
        if self.batch.is_empty() {
            return self.check();
        }
        // However slow the disk: what waits for the thread is no more than this batch and one such.
        let before = self.sent;
        self.wait(|progress| before - progress.taken.load(Ordering::Acquire) <= BATCH_BYTES as u64)?;
        let bytes = std::mem::take(&mut self.batch_bytes) as u64;
        self.sent += bytes;
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_ROWS));
        self.send(Message::Items(batch, bytes))
    }

    fn send(&self, message: Message) -> Result<(), Error> {
        // The thread only leaves early after a failure.
        self.messages.send(message).or_else(|_| self.check().and_then(|()| Err(gone())))
    }

    fn check(&self) -> Result<(), Error> {
        self.progress.failure.get().map_or(Ok(()), |error| Err(error.duplicate()))
    }

    fn wait(&self, is_done: impl Fn(&Progress) -> bool) -> Result<(), Error> {
        while !is_done(&self.progress) {
            self.check()?;
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) && !is_done(&self.progress) {
                return self.check().and_then(|()| Err(gone()));
            }
            // It is unparked for whatever it waits for; the limit is for a thread that ends between the look and the wait.
            thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    /// What was given so far goes on record; the session has no end, as if the master had been killed.
    fn drop(&mut self) {
        let _ = self.send_batch();
        let _ = self.send(Message::Flush);
        let (closed, _) = mpsc::sync_channel(0);
        self.messages = closed;
        self.join();
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Io, "the run store's thread has ended")
}

/// The thread's side.
struct Scribe<'a> {
    connection: &'a Connection,
    session: i64,
    told: &'a Progress,
    /// Woken after every commit.
    master: &'a Thread,
}

/// What a transaction that is open will have put on record.
#[derive(Default)]
struct Open {
    since: Option<Instant>,
    items: u64,
    announcements: u64,
    flushes: u64,
    workers: u64,
    ends: bool,
}

impl Scribe<'_> {
    fn serve(&self, messages: &Receiver<Message>) -> Result<(), Error> {
        let mut open = Open::default();
        loop {
            let left = open.since.map(|since| TRANSACTION_TIME.saturating_sub(since.elapsed()));
            let next = match left {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(left) => messages.recv_timeout(left),
            };
            match next {
                Ok(message) => {
                    self.take(message, &mut open)?;
                    // Whoever waits shall not wait for company, but what is there already is company.
                    while open.is_urgent()
                        && let Ok(more) = messages.try_recv()
                    {
                        self.take(more, &mut open)?;
                    }
                    if open.is_urgent() || open.is_due() {
                        self.commit(&mut open)?;
                    }
                    if open.ends {
                        self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.commit(&mut open)?,
                Err(RecvTimeoutError::Disconnected) => return self.commit(&mut open),
            }
        }
    }

    fn take(&self, message: Message, open: &mut Open) -> Result<(), Error> {
        if open.since.is_none() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            open.since = Some(Instant::now());
        }
        let session = self.session;
        match message {
            Message::Items(items, bytes) => {
                open.items += items.len() as u64;
                Rows::new(self.connection, session).insert(&items)?;
                drop(items);
                self.told.taken.fetch_add(bytes, Ordering::AcqRel);
                if bytes > 0 {
                    self.master.unpark();
                }
            }
            Message::NotBegun(index) => {
                self.statement("INSERT OR REPLACE INTO not_begun (idx, session) VALUES (?1, ?2)")?
                    .execute(params![index, session])?;
            }
            Message::HandOut(upto) => {
                open.announcements += 1;
                self.statement("UPDATE session SET handed_out = ?1 WHERE id = ?2")?
                    .execute(params![upto, session])?;
            }
            Message::WorkerStarted { slot, pid, birth, at } => {
                open.workers += 1;
                let insert = "INSERT OR REPLACE INTO worker (session, slot, pid, birth, started_at)
                              VALUES (?1, ?2, ?3, ?4, ?5)";
                self.statement(insert)?.execute(params![session, slot, pid, birth, at])?;
            }
            Message::WorkerEnded { pid, exit, signal, at } => {
                let update = "UPDATE worker SET ended_at = ?3, exit = ?4, signal = ?5
                              WHERE session = ?1 AND pid = ?2 AND ended_at IS NULL";
                self.statement(update)?.execute(params![session, pid, at, exit, signal])?;
            }
            Message::Agent(news, at) => agent::write(self.connection, session, (&news, at))?,
            Message::Total(items) => {
                self.statement("UPDATE job SET items = ?1")?.execute([items])?;
            }
            Message::Flush => open.flushes += 1,
            Message::Finish { ending, is_settled } => {
                if is_settled {
                    self.connection.execute_batch(NOTHING_UNDER_WAY)?;
                }
                let update = "UPDATE session SET ended_at = ?2, ending = ?3 WHERE id = ?1";
                let at = seconds(SystemTime::now());
                self.statement(update)?.execute(params![session, at, ending.name()])?;
                agent::end(self.connection, session, at)?;
                open.ends = true;
            }
        }
        Ok(())
    }

    fn commit(&self, open: &mut Open) -> Result<(), Error> {
        if open.since.is_some() {
            self.connection.execute_batch("COMMIT")?;
        }
        let Open { items, announcements, flushes, workers, ends, .. } = std::mem::take(open);
        open.ends = ends;
        self.told.recorded.fetch_add(items, Ordering::AcqRel);
        self.told.announcements.fetch_add(announcements, Ordering::AcqRel);
        self.told.flushed.fetch_add(flushes, Ordering::AcqRel);
        self.told.workers.fetch_add(workers, Ordering::AcqRel);
        if announcements > 0 || flushes > 0 || workers > 0 {
            self.master.unpark();
        }
        Ok(())
    }

    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        Ok(self.connection.prepare_cached(sql)?)
    }
}

impl Open {
    fn is_urgent(&self) -> bool {
        self.announcements > 0 || self.flushes > 0 || self.workers > 0 || self.ends
    }

    fn is_due(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= TRANSACTION_TIME)
    }
}
