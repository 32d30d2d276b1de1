//! A master at its broker: chunks go out, answers come in, and what agents say is heard.

mod before;
mod hand;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::object_store::ObjectStore;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, Stream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};

use self::before::session_before;
use super::{AGAIN_AFTER, Broker, TROUBLE_TRIES, body, publish};
use crate::chunk::{Answer, Chunk, ChunkId};
use crate::error::{Error, ErrorKind};
use crate::manifest::{JobState, Manifest};
use crate::master::{Command, Hello};
use crate::names::{CONSUMER, JOBS_STREAM, Names, chunk_of};
use crate::wire;

/// How often the broker is asked what its queue has.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(500);
/// Chunks on their way to the broker at once.
pub(crate) const PUTS_MAX: usize = 64;
/// Answers that are released at once.
pub(crate) const TIDIES_MAX: usize = 16;
/// Requests for chunks that wait at the broker: one for each worker of all agents, and one for each agent. It has 512 by default.
const WAITING_MAX: i64 = 1 << 16;
/// What is still to be said to the broker at the end is said within this, or not at all.
const END_WITHIN: Duration = Duration::from_secs(5);
/// A job that the broker does not take within this does not begin.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// What the broker, or somebody through it, has said.
#[derive(Debug)]
pub(crate) enum Event {
    Answered(ChunkId, Answer),
    /// An answer is on its way, still.
    Arrives,
    /// A chunk that no agent has; and whether one that is gone had begun it, and it may not begin again.
    TakenBack(ChunkId, bool),
    Heard(Hello),
    /// What the queue has, and when that was asked.
    Queue {
        waiting: u64,
        has_consumer: bool,
        asked: Instant,
    },
    Connected(bool),
    /// Nothing more can come.
    Failed(String),
}

/// The job at the broker, for its master's thread.
pub(crate) struct Link {
    pub(crate) commands: UnboundedSender<Command>,
    pub(crate) events: mpsc::Receiver<Event>,
    /// What was there before.
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) answers: Vec<(ChunkId, Answer)>,
    job: Job,
    /// What listens at the broker; it ends with this.
    ears: JoinSet<()>,
    /// What does as it is told, to the last command.
    hand: JoinHandle<()>,
}

#[derive(Clone)]
struct Job {
    broker: Broker,
    names: Names,
    manifest: Manifest,
    work: Stream,
    answers: Stream,
    objects: ObjectStore,
    /// Where the large parts of chunks and answers are that have not been released.
    packed: Arc<Mutex<HashMap<ChunkId, Vec<HeaderMap>>>>,
}

impl Link {
    /// Describes a job to the broker, or goes on with it.
    pub(crate) async fn open(broker: Broker, manifest: Manifest) -> Result<Link, Error> {
        let names = Names::new(&manifest.job);
        // From here on it is seen that the job has a master.
        let _ear = broker.client.subscribe(names.hello()).await;
        let described = session_before(&broker.jobs_stream().await?, &names).await?;
        let objects = body::make_bucket(&broker, &names).await?;
        let make = |config: stream::Config| {
            let (context, name) = (broker.stream.clone(), config.name.clone());
            async move {
                let made = context.get_or_create_stream(config).await;
                made.map_err(|error| Error::refused(&format!("cannot make the stream {name}"), error))
            }
        };
        let work = make(stream::Config {
            name: names.work_stream(),
            subjects: vec![names.all_work()],
            retention: RetentionPolicy::WorkQueue,
            allow_direct: true,
            ..stream::Config::default()
        })
        .await?;
        // The first answer of a chunk wins, and the first claim on it: a subject has one message, and keeps it.
        let answers = make(stream::Config {
            name: names.answer_stream(),
            subjects: vec![names.all_answers(), names.all_claims()],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            discard_new_per_subject: true,
            allow_direct: true,
            ..stream::Config::default()
        })
        .await?;
        let mut job = Job { broker, names, manifest, work, answers, objects, packed: Arc::default() };
        // In this order: an agent answers before it lets go of a chunk.
        let chunks = job.chunks_before().await?;
        let (answers, last) = job.answers_before().await?;
        // The description may be gone, and names must not come twice.
        let ids = chunks.iter().map(|chunk| chunk.id).chain(answers.iter().map(|(id, _)| *id));
        let session = ids.map(ChunkId::session).fold(described, u32::max);
        job.manifest.session = session.saturating_add(1);
        job.make_consumer().await?;
        let (commands, received) = unbounded_channel();
        let (told, events) = mpsc::channel();
        let mut ears = JoinSet::new();
        ears.spawn(job.clone().hear_answers(last, told.clone()));
        ears.spawn(job.clone().hear_agents(told.clone()));
        ears.spawn(job.clone().watch(told.clone()));
        let hand = tokio::spawn(job.clone().obey(received, told));
        if tokio::time::timeout(OPEN_WITHIN, job.publish_state(JobState::Open)).await.is_err() {
            let trouble = job.broker.take_trouble().unwrap_or_else(|| "it does not answer".to_owned());
            return Err(Error::refused("the broker does not take the job", trouble));
        }
        Ok(Link { commands, events, chunks, answers, job, ears, hand })
    }

    /// Ends the job. `keep`: somebody may go on with it.
    pub(crate) async fn end(self, keep: bool) {
        let Link { commands, job, ears, hand, .. } = self;
        drop((commands, ears));
        // A broker that is away must not keep a run from ending.
        let _ = tokio::time::timeout(END_WITHIN, hand).await;
        if keep || !*job.broker.is_up.borrow() {
            return;
        }
        let closing = async {
            // What is not deleted costs room, and nobody has a use for a failure to do so.
            job.publish_state(JobState::Ended).await;
            let _ = job.broker.delete(&job.names).await;
            let _ = job.broker.client.flush().await;
        };
        let _ = tokio::time::timeout(END_WITHIN, closing).await;
    }

    /// What does not succeed at the broker, if anything was tried in vain since this was last called.
    pub(crate) fn take_trouble(&self) -> Option<String> {
        self.job.broker.take_trouble()
    }

    /// Which of the job's masters this is.
    pub(crate) fn session(&self) -> u32 {
        self.job.manifest.session
    }
}

impl Job {
    async fn make_consumer(&self) -> Result<(), Error> {
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.manifest.lease,
            max_ack_pending: -1,
            max_waiting: WAITING_MAX,
            ..pull::Config::default()
        };
        let made = self.work.create_consumer(config).await;
        made.map(drop).map_err(|error| Error::refused("cannot make the consumer of the job's chunks", error))
    }

    async fn publish_state(&self, state: JobState) {
        let manifest = Manifest { state, ..self.manifest.clone() };
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is data");
        // A job may be begun again under its name.
        let id = format!("{}-{:016x}", manifest.job, fastrand::u64(..));
        publish(
            &self.broker,
            (JOBS_STREAM, &self.names.manifest()),
            &id,
            HeaderMap::new(),
            Bytes::from(bytes),
        )
        .await;
    }

    /// An answer; none: it is no answer, and whoever sent it is not to be trusted with the slot. An error: it cannot be read now.
    async fn read(
        &self,
        subject: &str,
        headers: Option<&HeaderMap>,
        payload: Bytes,
    ) -> Result<Option<(ChunkId, Answer)>, String> {
        let Some(id) = chunk_of(subject) else { return Ok(None) };
        let bytes = match body::unpack(&self.objects, headers, payload).await {
            Err(body::Fault::Unread(what)) => return Err(what),
            Err(body::Fault::Missing | body::Fault::Large(_)) => None,
            Ok(bytes) => Some(bytes),
        };
        if let Some(answer) = bytes.and_then(|bytes| wire::decode_answer(&bytes).ok()) {
            self.note_packed(id, headers);
            return Ok(Some((id, answer)));
        }
        // The chunk is silent now, and is put again.
        let _ = self.answers.purge().filter(subject).await;
        Ok(None)
    }

    /// The same, however long the broker cannot say what it is.
    async fn read_in_time(
        &self,
        subject: &str,
        headers: Option<&HeaderMap>,
        payload: Bytes,
    ) -> Option<(ChunkId, Answer)> {
        let mut tries = 0;
        loop {
            self.broker.up().await;
            match self.read(subject, headers, payload.clone()).await {
                Ok(answer) => return answer,
                Err(what) => {
                    tries += 1;
                    if tries >= TROUBLE_TRIES {
                        self.broker.complain("a large answer cannot be fetched from the broker", &what);
                    }
                }
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    fn note_packed(&self, id: ChunkId, headers: Option<&HeaderMap>) {
        if let Some(headers) = headers.filter(|headers| body::is_packed(headers)) {
            self.packed().entry(id).or_default().push(headers.clone());
        }
    }

    fn packed(&self) -> MutexGuard<'_, HashMap<ChunkId, Vec<HeaderMap>>> {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn hear_answers(self, mut from: u64, told: mpsc::Sender<Event>) {
        let mut is_up = self.broker.is_up.clone();
        'connections: loop {
            self.broker.up().await;
            is_up.borrow_and_update();
            let config = pull::OrderedConfig {
                filter_subject: self.names.all_answers(),
                deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
                ..pull::OrderedConfig::default()
            };
            if let Ok(consumer) = self.answers.create_consumer(config).await
                && let Ok(mut messages) = consumer.messages().await
            {
                loop {
                    let next = tokio::select! {
                        next = messages.next() => next,
                        // A broker that was killed knows the consumer no more, which the client would find out after 15 s.
                        _ = is_up.changed() => continue 'connections,
                    };
                    let Some(Ok(message)) = next else { break };
                    let Ok((sequence, behind)) =
                        message.info().map(|info| (info.stream_sequence, info.pending))
                    else {
                        break;
                    };
                    from = from.max(sequence + 1);
                    // A master that is behind has not heard of chunks whose answers are there.
                    if behind > 0 && told.send(Event::Arrives).is_err() {
                        return;
                    }
                    let (message, _) = message.split();
                    let (subject, headers) = (&message.subject, message.headers.as_ref());
                    let mut read = std::pin::pin!(self.read_in_time(subject, headers, message.payload));
                    let answer = loop {
                        match tokio::time::timeout(self.manifest.lease, &mut read).await {
                            Ok(answer) => break answer,
                            Err(_) if told.send(Event::Arrives).is_err() => return,
                            Err(_) => {}
                        }
                    };
                    if let Some((id, answer)) = answer
                        && told.send(Event::Answered(id, answer)).is_err()
                    {
                        return;
                    }
                }
            }
            if self.is_gone(&told).await {
                return;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn hear_agents(self, told: mpsc::Sender<Event>) {
        loop {
            if let Ok(mut hellos) = self.broker.client.subscribe(self.names.hello()).await {
                while let Some(message) = hellos.next().await {
                    let Ok(hello) = serde_json::from_slice::<Hello>(&message.payload) else { continue };
                    if told.send(Event::Heard(hello)).is_err() {
                        return;
                    }
                }
            }
            self.broker.up().await;
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Says what the queue has, and whether there is a connection.
    async fn watch(self, told: mpsc::Sender<Event>) {
        let mut is_up = self.broker.is_up.clone();
        let mut was_up = true;
        loop {
            let event = tokio::select! {
                // What is heard of the queue over a new connection counts after it.
                biased;
                changed = is_up.changed() => {
                    let now = *is_up.borrow_and_update();
                    if changed.is_err() {
                        return;
                    }
                    if std::mem::replace(&mut was_up, now) == now {
                        continue;
                    }
                    Event::Connected(now)
                }
                queue = self.ask() => queue,
            };
            if told.send(event).is_err() {
                return;
            }
        }
    }

    /// What the queue has, in a while.
    async fn ask(&self) -> Event {
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            self.broker.up().await;
            let asked = Instant::now();
            match self.work.consumer_info(CONSUMER).await {
                Ok(info) => return Event::Queue { waiting: info.num_pending, has_consumer: true, asked },
                Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
                    return Event::Queue { waiting: 0, has_consumer: false, asked };
                }
                Err(_) => {}
            }
        }
    }

    /// Whether somebody has deleted the job.
    async fn is_gone(&self, told: &mpsc::Sender<Event>) -> bool {
        if !self.broker.is_missing(&self.names.answer_stream()).await {
            return false;
        }
        let message = format!("the stream {} is gone from the broker", self.names.answer_stream());
        let _ = told.send(Event::Failed(message));
        true
    }
}

impl Error {
    /// The broker said that the job cannot go on.
    pub(crate) fn failed(message: String) -> Error {
        Error::new(ErrorKind::Refused, message)
    }
}
