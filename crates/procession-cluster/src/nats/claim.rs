//! Who may begin a chunk, where items start once at most: the first who says so to the broker, once.

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{AGAIN_AFTER, Broker, Published, is_missing, publish};
use crate::chunk::ChunkId;
use crate::leases::{Claimed, Delivery};
use crate::names::Names;

/// Where claims are, and what they are about.
pub(crate) struct Claims<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) names: &'a Names,
    pub(crate) work: &'a Stream,
    pub(crate) answers: &'a Stream,
}

/// A claim, as the broker keeps it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    /// Drawn anew for each: who claims a chunk again has begun it before.
    nonce: String,
    /// For people.
    who: String,
    /// The delivery that the chunk is begun with; none: nobody begins it.
    delivery: Option<Delivery>,
}

impl Claims<'_> {
    /// Tries to be the only one that ever begins the chunk. Without a delivery: so that nobody does.
    pub(crate) async fn claim(&self, id: ChunkId, who: &str, delivery: Option<Delivery>) -> Claimed {
        let nonce = format!("{:016x}", fastrand::u64(..));
        let name = format!("claim-{id}-{nonce}");
        let claim = Claim { nonce, who: who.to_owned(), delivery };
        let bytes = Bytes::from(serde_json::to_vec(&claim).expect("a claim is data"));
        let (stream, subject) = (self.names.answer_stream(), self.names.claim(id));
        match publish(self.broker, (&stream, &subject), &name, HeaderMap::new(), bytes).await {
            Published::Stored => Claimed::Ours,
            Published::Gone => Claimed::Gone,
            Published::Taken => self.taken(&claim, &subject).await,
        }
    }

    /// Who has claimed it instead of us.
    async fn taken(&self, ours: &Claim, subject: &str) -> Claimed {
        loop {
            self.broker.up().await;
            match self.answers.direct_get_last_for_subject(subject).await {
                Ok(message) => {
                    let theirs = serde_json::from_slice::<Claim>(&message.payload).ok();
                    return match theirs {
                        // Word of it was lost for longer than the broker knows messages again.
                        Some(theirs) if theirs.nonce == ours.nonce => Claimed::Ours,
                        Some(Claim { delivery: Some(by), .. }) => {
                            let is_ours = ours.delivery.is_some_and(|ours| ours.sequence == by.sequence);
                            Claimed::Theirs { by, is_there: is_ours || self.is_there(by.sequence).await }
                        }
                        Some(Claim { delivery: None, .. }) => Claimed::Nobodys,
                        // Somebody may have begun it, and nobody knows who.
                        None => Claimed::Theirs { by: Delivery { sequence: 0, number: 0 }, is_there: false },
                    };
                }
                Err(error) if is_missing(&error) => return Claimed::Gone,
                Err(_) if self.broker.is_missing(&self.names.answer_stream()).await => return Claimed::Gone,
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// Whether a chunk's message waits to be acknowledged.
    async fn is_there(&self, sequence: u64) -> bool {
        loop {
            self.broker.up().await;
            match self.work.direct_get(sequence).await {
                Ok(_) => return true,
                Err(error) if is_missing(&error) => return false,
                Err(_) if self.broker.is_missing(&self.names.work_stream()).await => return false,
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }
}
