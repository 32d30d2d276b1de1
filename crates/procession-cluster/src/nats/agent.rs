//! An agent at its broker: jobs are found, chunks leased, renewed and answered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::object_store::ObjectStore;
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc::UnboundedSender};
use tokio::task::JoinSet;

use super::claim::Claims;
use super::jobs::open_jobs;
use super::{AGAIN_AFTER, Broker, Published, TROUBLE_TRIES, body, delivery_of, is_missing, publish};
use crate::agent::Event;
use crate::chunk::{Answer, Chunk, ChunkId};
use crate::error::Error;
use crate::leases::{Delivery, LOSSES_MAX};
use crate::manifest::{JobState, Manifest};
use crate::master::Hello;
use crate::names::{CONSUMER, Names, chunk_of};
use crate::wire;

/// A request for a chunk waits so long at the broker. Short: what comes back to the queue is handed out to new requests at the
/// latest.
const PULL_FOR: Duration = Duration::from_secs(1);
/// An acknowledgement that the broker has not heard of after so many tries is left to the next delivery.
const ACKS_MAX: u32 = 5;
/// A broker that knows of a delivery says within this that it has heard of its end. One that was killed may have forgotten that it handed
/// the chunk out: it never says so, however often it is told, and hands it out again.
const ACK_WITHIN: Duration = Duration::from_millis(500);
const SAY_WITHIN: Duration = Duration::from_millis(500);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How often the state of a job is read, in case that news of it was lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells a master of this agent.
pub(crate) async fn say(broker: &Broker, names: &Names, hello: &Hello) {
    // A broker that is away takes some messages for later, and then keeps whoever has another one.
    if !*broker.is_up.borrow() {
        return;
    }
    let bytes = serde_json::to_vec(hello).expect("a hello is data");
    // The next one says the same.
    let said = broker.client.publish(names.hello(), Bytes::from(bytes));
    let _ = tokio::time::timeout(SAY_WITHIN, said).await;
}

/// One job, for an agent that takes part in it.
#[derive(Clone)]
pub(crate) struct Post {
    broker: Broker,
    names: Names,
    agent: Arc<str>,
    lease: Duration,
    consumer: Consumer<pull::Config>,
    work: Stream,
    answers: Stream,
    jobs: Stream,
    objects: ObjectStore,
    /// Chunks whose arguments are on their way.
    fetched: Arc<Mutex<BTreeSet<ChunkId>>>,
    /// No more chunks for now.
    pauses: Arc<AtomicBool>,
}

/// A chunk that was handed out, and the place of the agent's that it takes up.
pub(crate) struct Leased {
    pub(crate) chunk: Chunk,
    pub(crate) delivery: Delivery,
    pub(crate) acker: Arc<Acker>,
    pub(crate) place: OwnedSemaphorePermit,
    /// How long its arguments took to come, once it was handed out.
    pub(crate) fetched_in: Duration,
}

impl Post {
    pub(crate) async fn open(
        broker: &Broker,
        names: &Names,
        agent: &str,
        lease: Duration,
    ) -> Result<Post, Error> {
        let stream = &broker.stream;
        let work = stream.get_stream(names.work_stream()).await;
        let work = work.map_err(|error| Error::refused("the job's chunks", error))?;
        let consumer = work.get_consumer(CONSUMER).await;
        let consumer = consumer.map_err(|error| Error::refused("the consumer of the job's chunks", error))?;
        let answers = stream.get_stream(names.answer_stream()).await;
        let answers = answers.map_err(|error| Error::refused("the job's answers", error))?;
        let objects = body::make_bucket(broker, names).await?;
        let jobs = broker.jobs_stream().await?;
        let (broker, names, agent) = (broker.clone(), names.clone(), Arc::from(agent));
        let (fetched, pauses) = (Arc::default(), Arc::default());
        Ok(Post { broker, names, agent, lease, consumer, work, answers, jobs, objects, fetched, pauses })
    }

    /// Asks for chunks, as many as there are places, until the set is dropped or `places` are closed.
    pub(crate) fn lease(
        &self,
        places: &Arc<Semaphore>,
        told: &UnboundedSender<Event>,
        pulls: &mut JoinSet<()>,
    ) {
        let (post, places, told) = (self.clone(), Arc::clone(places), told.clone());
        pulls.spawn(async move {
            let mut waiting = JoinSet::new();
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                while waiting.try_join_next().is_some() {}
                waiting.spawn(post.clone().pull(place, Arc::clone(&places), told.clone()));
            }
            // A chunk that is on its way would count as one that was lost.
            while waiting.join_next().await.is_some() {}
        });
    }

    async fn pull(self, place: OwnedSemaphorePermit, places: Arc<Semaphore>, told: UnboundedSender<Event>) {
        let mut place = Some(place);
        while !places.is_closed() && !told.is_closed() {
            if self.pauses.load(Ordering::Relaxed) {
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                continue;
            }
            let pulled = self.consumer.fetch().max_messages(1).expires(PULL_FOR).messages();
            let pulled = async {
                let mut messages = pulled.await.ok()?;
                messages.next().await?.ok()
            };
            // A broker that goes answers nothing any more, also where nobody says that it has gone.
            let pulled = async { tokio::time::timeout(PULL_FOR * 3, pulled).await };
            let pulled = self.broker.ask(pulled).await;
            let Some(Ok(message)) = pulled else { continue };
            let Some(message) = message else {
                // Nothing, or no consumer: it may be made anew.
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                continue;
            };
            let Some(delivery) = delivery_of(&message) else { continue };
            let (message, acker) = message.split();
            let handed_out = Instant::now();
            let bytes = self
                .fetch(&message.subject, (&acker, &places), message.headers.as_ref(), message.payload)
                .await;
            if let Err(body::Fault::Missing) = bytes {
                // A copy of a chunk that has been answered.
                let _ = acker.ack_with(AckKind::Term).await;
                continue;
            }
            let chunk = bytes.map_err(|fault| fault.to_string());
            let chunk = chunk.and_then(|bytes| wire::decode_chunk(&bytes).map_err(|flaw| flaw.to_string()));
            match chunk {
                Ok(chunk) => {
                    let place = place.take().expect("the loop ends with it");
                    let (acker, fetched_in) = (Arc::new(acker), handed_out.elapsed());
                    let _ = told.send(Event::Leased(Box::new(Leased {
                        chunk,
                        delivery,
                        acker,
                        place,
                        fetched_in,
                    })));
                    return;
                }
                // It comes again once its lease has run out, to somebody who may be able to read it.
                Err(what) => drop(told.send(Event::Unreadable(format!("{}: {what}", message.subject)))),
            }
        }
    }

    /// What a message says. However long its way is, the lease does not run out meanwhile.
    async fn fetch(
        &self,
        subject: &str,
        (acker, places): (&Acker, &Semaphore),
        headers: Option<&HeaderMap>,
        payload: Bytes,
    ) -> Result<Bytes, body::Fault> {
        let id = chunk_of(subject).filter(|_| headers.is_some_and(body::is_packed));
        self.fetched().extend(id);
        let mut unpacked = std::pin::pin!(body::unpack(&self.objects, headers, payload));
        let bytes = loop {
            match tokio::time::timeout(self.lease / 3, &mut unpacked).await {
                Ok(bytes) => break bytes,
                Err(_) if places.is_closed() => {
                    // Somebody else may have it at once.
                    let _ = acker.ack_with(AckKind::Nak(None)).await;
                    break Err(body::Fault::Unread("the agent leaves".to_owned()));
                }
                // One that is lost is followed by others.
                Err(_) => drop(acker.ack_with(AckKind::Progress).await),
            }
        };
        if let Some(id) = id {
            self.fetched().remove(&id);
        }
        bytes
    }

    /// Asks for no more chunks until this is taken back. Those that were asked for before may still come.
    pub(crate) fn pause(&self, pauses: bool) {
        self.pauses.store(pauses, Ordering::Relaxed);
    }

    /// The chunks whose arguments are on their way.
    pub(crate) fn fetched(&self) -> MutexGuard<'_, BTreeSet<ChunkId>> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a chunk is still in hand.
    pub(crate) fn renew(&self, acker: &Arc<Acker>) {
        if !*self.broker.is_up.borrow() {
            return;
        }
        let acker = Arc::clone(acker);
        // A renewal that is lost is followed by others.
        tokio::spawn(async move { acker.ack_with(AckKind::Progress).await });
    }

    /// Says that a chunk need not come again.
    pub(crate) fn acknowledge(&self, acker: Arc<Acker>) {
        let post = self.clone();
        tokio::spawn(async move { post.acknowledged(&acker).await });
    }

    /// The same, until the broker has heard it, as far as that can be told.
    async fn acknowledged(&self, acker: &Acker) {
        for _ in 0..ACKS_MAX {
            let acknowledged = async { tokio::time::timeout(ACK_WITHIN, acker.double_ack()).await };
            // Over a connection that stands, what was said once has come.
            if let Some(Ok(Ok(())) | Err(_)) = self.broker.ask(acknowledged).await {
                break;
            }
        }
    }

    /// Tries to be the only one that ever begins a chunk.
    pub(crate) fn claim(&self, id: ChunkId, delivery: Delivery, told: &UnboundedSender<Event>) {
        let (post, told) = (self.clone(), told.clone());
        tokio::spawn(async move {
            let Post { broker, names, work, answers, .. } = &post;
            let claims = Claims { broker, names, work, answers };
            let claimed = claims.claim(id, &post.agent, Some(delivery)).await;
            let _ = told.send(Event::Claimed(id, claimed));
        });
    }

    /// Notes that a chunk is begun alone, unless that was noted too often: each note without an answer is an agent lost with it.
    pub(crate) fn charge(&self, id: ChunkId, told: &UnboundedSender<Event>) {
        let (post, told) = (self.clone(), told.clone());
        tokio::spawn(async move {
            let nonce = format!("{} {:016x}", post.agent, fastrand::u64(..));
            let mut is_noted = false;
            for number in 1..=LOSSES_MAX {
                let subject = post.names.charge(id, number);
                let name = format!("charge-{id}-{number}-{nonce}");
                let place = (&*post.names.answer_stream(), &*subject);
                let bytes = Bytes::copy_from_slice(nonce.as_bytes());
                is_noted = match publish(&post.broker, place, &name, HeaderMap::new(), bytes).await {
                    Published::Stored => true,
                    // Ours, if word of it was lost for longer than the broker knows messages again.
                    Published::Taken => {
                        let noted = post.answers.direct_get_last_for_subject(subject).await;
                        noted.is_ok_and(|noted| noted.payload == nonce.as_bytes())
                    }
                    Published::Gone => false,
                };
                if is_noted {
                    break;
                }
            }
            let _ = told.send(Event::Charged(id, is_noted));
        });
    }

    /// Publishes what became of a chunk, and ends its leases.
    pub(crate) fn finish(
        &self,
        id: ChunkId,
        answer: &Answer,
        ackers: Vec<Arc<Acker>>,
        told: &UnboundedSender<Event>,
    ) {
        let bytes = wire::encode_answer(answer);
        let (post, told) = (self.clone(), told.clone());
        tokio::spawn(async move {
            // Another answer of ours, should the first be refused, is another message.
            let name = format!("answer-{id}-{}-{:08x}", post.agent, fastrand::u32(..));
            let mut tries = 0;
            let published = loop {
                post.broker.up().await;
                match body::pack(&post.objects, &name, bytes.clone()).await {
                    Ok((headers, payload)) => {
                        let place = (&*post.names.answer_stream(), &*post.names.answer(id));
                        // What was put aside for an answer that came too late goes with the bucket: so agents need no right
                        // to delete anything.
                        break publish(&post.broker, place, &name, headers, payload).await;
                    }
                    Err(_) if post.state().await == Some(JobState::Ended) => break Published::Gone,
                    Err(what) => {
                        tries += 1;
                        if tries >= TROUBLE_TRIES {
                            post.broker.complain("the broker takes no large answers", &what);
                        }
                        tokio::time::sleep(AGAIN_AFTER).await;
                    }
                }
            };
            if published != Published::Gone {
                for acker in &ackers {
                    post.acknowledged(acker).await;
                }
            }
            let _ = told.send(Event::Answered(id));
        });
    }

    /// The state of the job; none: the broker does not say.
    async fn state(&self) -> Option<JobState> {
        match self.jobs.direct_get_last_for_subject(self.names.manifest()).await {
            Ok(message) => {
                serde_json::from_slice::<Manifest>(&message.payload).ok().map(|manifest| manifest.state)
            }
            Err(error) if is_missing(&error) => Some(JobState::Ended),
            Err(_) => None,
        }
    }

    /// The open jobs that there are beside this one.
    pub(crate) async fn others(&self, within: Duration) -> Vec<Manifest> {
        let mut all = open_jobs(&self.jobs, within).await;
        all.retain(|manifest| manifest.job != self.names.job());
        all
    }

    /// Tells of every change of the job's state.
    pub(crate) fn watch(&self, told: &UnboundedSender<Event>, watchers: &mut JoinSet<()>) {
        let (post, told) = (self.clone(), told.clone());
        watchers.spawn(async move {
            let mut news = post.broker.client.subscribe(post.names.manifest()).await.ok();
            loop {
                if let Some(state) = post.state().await
                    && told.send(Event::State(state)).is_err()
                {
                    return;
                }
                let next = async {
                    match &mut news {
                        Some(news) => drop(news.next().await),
                        None => std::future::pending().await,
                    }
                };
                let _ = tokio::time::timeout(LOOK_EVERY, next).await;
            }
        });
    }

    pub(crate) async fn say(&self, hello: &Hello) {
        say(&self.broker, &self.names, hello).await;
    }
}
