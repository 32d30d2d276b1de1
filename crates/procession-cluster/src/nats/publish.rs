//! One message into a stream, whatever the broker goes through meanwhile.

use std::error::Error as _;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, context::PublishErrorKind};
use bytes::Bytes;

use super::{AGAIN_AFTER, Broker, TROUBLE_TRIES};

/// What the broker says where a subject has its one message already.
const SLOT_TAKEN: u64 = 10_077;
/// A stream that is not there so often may be on its way back with its broker; after that it is gone.
const MISSING_MAX: u32 = 5;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    Stored,
    /// Its subject has a message already.
    Taken,
    /// There is no such stream any more.
    Gone,
}

/// Publishes until the broker has said what became of it. `id` lets it know a second try from a second message.
pub(crate) async fn publish(
    broker: &Broker,
    (stream, subject): (&str, &str),
    id: &str,
    mut headers: HeaderMap,
    payload: Bytes,
) -> Published {
    headers.insert("Nats-Msg-Id", id);
    let (mut missing, mut tries) = (0, 0);
    loop {
        let sent = broker.stream.publish_with_headers(subject.to_owned(), headers.clone(), payload.clone());
        let acknowledged = async { sent.await?.await };
        // The broker knows it again if it has it, so nothing is gained by waiting for an answer to the first try.
        let Some(acknowledged) = broker.ask(acknowledged).await else { continue };
        tries += 1;
        match acknowledged {
            Ok(_) => return Published::Stored,
            Err(error) if is_taken(&error) => return Published::Taken,
            // Nobody takes messages on the subject: there is no stream, or no JetStream for now.
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                missing += u32::from(broker.is_missing(stream).await);
                if missing > MISSING_MAX {
                    return Published::Gone;
                }
            }
            Err(error) if tries >= TROUBLE_TRIES && *broker.is_up.borrow() => {
                broker.complain(&format!("the broker takes nothing into the stream {stream}"), &error);
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn is_taken(error: &jetstream::context::PublishError) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<jetstream::Error>() {
            return error.error_code() == jetstream::ErrorCode(SLOT_TAKEN);
        }
        source = error.source();
    }
    false
}
