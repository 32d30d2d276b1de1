//! A job under way: items are pulled on the caller's thread, outcomes come back in order.
//!
//! It is for a cluster what [`procession::PayloadStream`] is for a pool.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use procession::{Error as ItemError, ItemFigures, Payload, TaskInfo};
use tokio::runtime::Runtime;

use crate::chunk::Item;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::master::{AgentStatus, Master, Notice, Outcome, Queue, Seats, Settings};
use crate::nats::Broker;
use crate::nats::master::{Event, Link};

/// How often the master looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// An input that has nothing for now is asked again after this time.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// An input that takes longer than this must not keep back the items before it.
pub(crate) const PULL_TIME: Duration = Duration::from_millis(1);

/// Everything a stream is made from.
pub(crate) struct Job {
    pub(crate) task: &'static TaskInfo,
    pub(crate) manifest: Manifest,
    pub(crate) settings: Settings,
    pub(crate) is_resumable: bool,
    pub(crate) seats: Vec<Seats>,
    pub(crate) first_slot: u32,
}

/// The outcomes of a job over a cluster: each with its payload's number, still encoded.
#[must_use = "a lazy call does nothing until its results are taken"]
pub struct ClusterStream<I: Iterator> {
    runtime: Arc<Runtime>,
    link: Option<Link>,
    master: Master,
    input: Option<I>,
    task: &'static TaskInfo,
    job: String,
    is_resumable: bool,
    start: Instant,
    queue: Option<Queue>,
    ticked: Duration,
    asks_again: Option<Instant>,
    connections: Vec<bool>,
    failed: Option<Error>,
}

impl<I: Iterator<Item = Option<(u64, Payload)>>> ClusterStream<I> {
    pub(crate) fn open(
        runtime: Arc<Runtime>,
        broker: Broker,
        input: I,
        job: Job,
    ) -> Result<ClusterStream<I>, Error> {
        let Job { task, manifest, settings, is_resumable, seats, first_slot } = job;
        let job = manifest.job.clone();
        let mut link = runtime.block_on(Link::open(broker, manifest))?;
        let mut master = Master::new(Settings { session: link.session(), ..settings });
        master.recall(seats, first_slot);
        let (chunks, answers) = (std::mem::take(&mut link.chunks), std::mem::take(&mut link.answers));
        master.recover(chunks, answers, Duration::ZERO);
        Ok(ClusterStream {
            runtime,
            link: Some(link),
            master,
            input: Some(input),
            task,
            job,
            is_resumable,
            start: Instant::now(),
            queue: None,
            ticked: Duration::ZERO,
            asks_again: None,
            connections: Vec::new(),
            failed: None,
        })
    }

    /// The next outcome, waiting for so long. `None`: nothing yet; `Some(None)`: there are no more.
    ///
    /// # Errors
    /// Nothing more can come: the job was deleted at the broker, or no agent can run it.
    pub fn next_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<Option<(u64, Result<Payload, ItemError>)>>, Error> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(link) = &self.link {
                while let Ok(event) = link.events.try_recv() {
                    Self::hear(
                        &mut self.master,
                        (&mut self.queue, &mut self.failed),
                        &mut self.connections,
                        self.start,
                        event,
                    );
                }
            }
            self.feed();
            self.tick();
            self.send();
            if let Some((payload, outcome)) = self.master.next_outcome() {
                let outcome = match outcome {
                    Outcome::Value(value) => Ok(value),
                    Outcome::Failed(report) => Err(report.into_error(self.task, payload)),
                };
                return Ok(Some(Some((payload, outcome))));
            }
            if self.input.is_none() && self.master.is_settled() {
                return Ok(Some(None));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if let Some(why) = self.master.broken() {
                let message = format!("no agent can run the job: {why}");
                return Err(Error::new(crate::ErrorKind::Broken, message));
            }
            let now = Instant::now();
            if now >= until {
                return Ok(None);
            }
            let next = (now + TICK).min(until).min(self.asks_again.unwrap_or(until));
            let Some(link) = &self.link else { return Ok(Some(None)) };
            match link.events.recv_timeout(next.saturating_duration_since(now)) {
                Ok(event) => {
                    Self::hear(
                        &mut self.master,
                        (&mut self.queue, &mut self.failed),
                        &mut self.connections,
                        self.start,
                        event,
                    );
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let message = "the connection to the broker has ended".to_owned();
                    return Err(Error::failed(message));
                }
            }
        }
    }

    fn hear(
        master: &mut Master,
        (queue, failed): (&mut Option<Queue>, &mut Option<Error>),
        connections: &mut Vec<bool>,
        start: Instant,
        event: Event,
    ) {
        let now = start.elapsed();
        match event {
            Event::Answered(id, answer) => master.answered(id, answer, now),
            Event::Arrives => master.arrives(now),
            Event::TakenBack(id, was_begun) => master.taken_back(id, was_begun),
            Event::Heard(hello) => master.heard(hello, now),
            Event::Queue { waiting, has_consumer, asked } => {
                let asked = asked.saturating_duration_since(start);
                *queue = Some(Queue { waiting, has_consumer, asked });
            }
            Event::Connected(is_connected) => {
                if is_connected {
                    master.connected(now);
                } else {
                    master.disconnected();
                }
                connections.push(is_connected);
            }
            Event::Failed(message) => *failed = Some(Error::failed(message)),
        }
    }

    /// Takes in as many items as are welcome.
    fn feed(&mut self) {
        if self.asks_again.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.asks_again = None;
        let begun = Instant::now();
        while let Some(input) = self.input.as_mut().filter(|_| self.master.wants() > 0) {
            let now = self.start.elapsed();
            match input.next() {
                Some(Some((index, args))) => self.master.push(Item { index, args }, now),
                Some(None) => {
                    self.asks_again = Some(Instant::now() + ASK_AGAIN);
                    return self.master.cut(now);
                }
                None => {
                    self.input = None;
                    return self.master.cut(now);
                }
            }
            if begun.elapsed() >= PULL_TIME {
                // It is asked again as soon as what has happened meanwhile is seen to.
                self.asks_again = Some(Instant::now());
                return self.master.cut(now);
            }
        }
    }

    fn tick(&mut self) {
        let now = self.start.elapsed();
        if now >= self.ticked + TICK {
            self.ticked = now;
            if let Some(what) = self.link.as_ref().and_then(Link::take_trouble) {
                self.master.trouble(what, now);
            }
            // What was heard of the queue counts once.
            self.master.tick(self.queue.take(), now);
        }
    }

    fn send(&mut self) {
        let Some(link) = &self.link else { return };
        while let Some(command) = self.master.poll_command() {
            // A broker that does not listen any more says so itself.
            let _ = link.commands.send(command);
        }
    }

    /// What is known of what items took, since this was last called. Slots are those of all agents: see [`Seats`].
    pub fn take_figures(&mut self) -> Vec<ItemFigures> {
        let now = Instant::now();
        let figures = self.master.take_figures().into_iter();
        figures
            .map(|(first, slot, figures)| {
                let ended = now.checked_sub(figures.since).unwrap_or(now);
                let mut told = ItemFigures::new(first, figures.items, ended);
                (told.attempt, told.slot, told.pid) = (figures.attempt, slot, figures.pid);
                (told.busy, told.cpu, told.peak_rss) = (figures.busy, figures.cpu, figures.peak_rss);
                told
            })
            .collect()
    }

    /// What people should know of agents, since this was last called.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.master.take_notices()
    }

    /// Whether the broker went or came, since this was last called.
    pub fn take_connections(&mut self) -> Vec<bool> {
        std::mem::take(&mut self.connections)
    }

    /// The agents that there are now, by name.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentStatus> {
        self.master.status()
    }

    /// Items that have an outcome, whether it was their turn or not.
    #[must_use]
    pub fn answered_items(&self) -> u64 {
        self.master.answered_items()
    }

    /// What the job is called at the broker.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Answers wait until it is known that they are on record: see [`on_record`](ClusterStream::on_record).
    #[must_use]
    pub fn has_answers(&self) -> bool {
        self.master.has_answers()
    }

    /// Every outcome yielded so far is on record somewhere else: the broker need not keep it any longer.
    pub fn on_record(&mut self) {
        self.master.on_record();
        self.send();
    }

    /// As [`PayloadStream::set_timeout`](procession::PayloadStream::set_timeout), for chunks that are yet to be made.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.master.set_timeout(timeout);
    }

    /// As [`PayloadStream::drain`](procession::PayloadStream::drain).
    pub fn drain(&mut self) {
        self.input = None;
        self.master.drain();
        self.send();
    }

    /// As [`PayloadStream::cancel`](procession::PayloadStream::cancel).
    pub fn cancel(&mut self) {
        self.input = None;
        self.master.stop(self.start.elapsed());
        self.send();
    }
}

impl<I: Iterator> ClusterStream<I> {
    /// Ends the job at the broker. `is_over`: nobody will go on with it.
    pub fn end(mut self, is_over: bool) {
        self.end_link(is_over);
    }

    fn end_link(&mut self, is_over: bool) {
        if let Some(link) = self.link.take() {
            self.runtime.block_on(link.end(!is_over && self.is_resumable));
        }
    }
}

impl<I: Iterator> Drop for ClusterStream<I> {
    fn drop(&mut self) {
        self.end_link(false);
    }
}

impl<I: Iterator<Item = Option<(u64, Payload)>>> Iterator for ClusterStream<I> {
    type Item = (u64, Result<Payload, ItemError>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_timeout(Duration::from_secs(3600)) {
                Ok(Some(next)) => return next,
                Ok(None) => {}
                // What is not an item's ends the call.
                Err(error) => {
                    let report =
                        procession::ErrorReport::new(procession::ErrorKind::Broken, 0, error.to_string());
                    self.input = None;
                    self.link = None;
                    return Some((0, Err(report.into_error(self.task, 0))));
                }
            }
        }
    }
}

impl<I: Iterator> std::fmt::Debug for ClusterStream<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterStream").field("job", &self.job).finish_non_exhaustive()
    }
}
