//! What a master has the broker do: chunks put, answers released, chunks taken back.

use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::{Event, Job, PUTS_MAX, TIDIES_MAX};
use crate::chunk::{Chunk, ChunkId};
use crate::leases::Claimed;
use crate::manifest::JobState;
use crate::master::Command;
use crate::names::{CONSUMER, chunk_of};
use crate::nats::claim::Claims;
use crate::nats::{AGAIN_AFTER, Published, TROUBLE_TRIES, body, delivery_of, publish};
use crate::wire;

/// How often it is looked whether the last is done.
const TIDY_EVERY: Duration = Duration::from_millis(5);
/// Chunks taken back in one go.
const TAKE_BACK: usize = 256;

impl Job {
    /// Does as it is told until nobody tells it any more, and the rest of it.
    pub(super) async fn obey(self, mut commands: UnboundedReceiver<Command>, told: mpsc::Sender<Event>) {
        let (mut puts, mut tidies) = (JoinSet::new(), JoinSet::new());
        // The numbers of those on their way, and the answers that may go once all before a number are there: what was made of an
        // answer comes first.
        let (mut number, mut under_way) = (0_u64, BTreeSet::new());
        let mut releases: VecDeque<(u64, ChunkId)> = VecDeque::new();
        loop {
            let is_due = |behind: &u64| under_way.first().is_none_or(|first| first >= behind);
            while tidies.len() < TIDIES_MAX
                && let Some((_, id)) = releases.pop_front_if(|(behind, _)| is_due(behind))
            {
                let job = self.clone();
                tidies.spawn(async move { job.release(id).await });
            }
            let command = tokio::select! {
                Some(put) = puts.join_next() => {
                    if let Ok(put) = put {
                        under_way.remove(&put);
                    }
                    continue;
                }
                Some(_) = tidies.join_next() => continue,
                command = commands.recv(), if puts.len() < PUTS_MAX => command,
            };
            let Some(command) = command else {
                if puts.is_empty() && tidies.is_empty() && releases.is_empty() {
                    return;
                }
                // Until the rest is done.
                tokio::time::sleep(TIDY_EVERY).await;
                continue;
            };
            match command {
                Command::Put { chunk, copy } => {
                    let (put, put_number) = (self.clone().put(chunk, copy, told.clone()), number);
                    under_way.insert(put_number);
                    number += 1;
                    puts.spawn(async move {
                        put.await;
                        put_number
                    });
                }
                Command::Release(id) => releases.push_back((number, id)),
                Command::TakeBack => {
                    while puts.join_next().await.is_some() {}
                    under_way.clear();
                    self.take_back(&told).await;
                }
                Command::Drain => self.publish_state(JobState::Drains).await,
                Command::Stop => self.publish_state(JobState::Stops).await,
                // If that fails, it is asked for again.
                Command::MakeConsumer => drop(self.make_consumer().await),
                Command::Recreate => {
                    let _ = self.work.delete_consumer(CONSUMER).await;
                    let _ = self.make_consumer().await;
                }
            }
        }
    }

    async fn put(self, chunk: Chunk, copy: u32, told: mpsc::Sender<Event>) {
        // An earlier master may have put as many copies of it, and the broker takes no name twice within minutes.
        let name = format!("{}-{}-{}-{copy}", self.names.job(), self.manifest.session, chunk.id);
        let mut tries = 0;
        loop {
            match body::pack(&self.objects, &name, wire::encode_chunk(&chunk)).await {
                Ok((headers, payload)) => {
                    self.note_packed(chunk.id, Some(&headers));
                    let place = (&*self.names.work_stream(), &*self.names.work(chunk.id));
                    if publish(&self.broker, place, &name, headers, payload).await == Published::Gone {
                        let message =
                            format!("the stream {} is gone from the broker", self.names.work_stream());
                        let _ = told.send(Event::Failed(message));
                    }
                    return;
                }
                Err(what) => {
                    tries += 1;
                    if tries >= TROUBLE_TRIES && *self.broker.is_up.borrow() {
                        self.broker.complain("the broker takes no large chunks", &what);
                    }
                    self.broker.up().await;
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn release(&self, id: ChunkId) {
        // What stays is answered for all the same, and goes with the job. A connection that was lost meanwhile is not waited for.
        let purged = async { self.answers.purge().filter(self.names.answer(id)).await };
        let _ = self.broker.ask(purged).await;
        let packed = self.packed().remove(&id).unwrap_or_default();
        for headers in &packed {
            body::discard(&self.objects, Some(headers)).await;
        }
    }

    /// Takes every chunk that no agent has.
    async fn take_back(&self, told: &mpsc::Sender<Event>) {
        let Ok(consumer) = self.work.get_consumer::<pull::Config>(CONSUMER).await else { return };
        let Job { broker, names, work, answers, .. } = self;
        let claims = Claims { broker, names, work, answers };
        loop {
            let Ok(mut messages) = consumer.fetch().max_messages(TAKE_BACK).messages().await else { return };
            let mut taken = 0;
            while let Some(Ok(message)) = messages.next().await {
                taken += 1;
                let Some((id, delivery)) = chunk_of(&message.subject).zip(delivery_of(&message)) else {
                    continue;
                };
                let mut was_begun = false;
                if self.manifest.at_most_once
                    && let Claimed::Theirs { by, .. } = claims.claim(id, "master", None).await
                {
                    was_begun = delivery.tells_loss_of(by);
                    if !was_begun {
                        // Whoever has it says what became of it. A copy has nobody.
                        if by.sequence != delivery.sequence {
                            let _ = message.ack().await;
                        }
                        continue;
                    }
                }
                if message.ack().await.is_ok() {
                    let _ = told.send(Event::TakenBack(id, was_begun));
                }
            }
            if taken == 0 {
                return;
            }
        }
    }
}
