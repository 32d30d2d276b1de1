//! What a real broker does in a second when it is asked as a master and its agents ask it: what its streams cost at least.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::stream;
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::nats::master::{PUTS_MAX, TIDIES_MAX};
use crate::nats::{Broker, publish};

const STREAM: &str = "PROCESSION_RATES";
/// As in the broker's published figures.
const MESSAGE_BYTES: usize = 128;

/// How long so many messages take that are stored as chunks are, and how long it takes to delete them as answers are.
///
/// # Errors
/// What the broker says.
pub fn store_and_purge(address: &str, messages: u64) -> Result<(Duration, Duration), Error> {
    crate::runtime()?.block_on(async {
        let broker = Broker::connect(address).await?;
        let subjects = vec![format!("{STREAM}.*")];
        let config = stream::Config { name: STREAM.to_owned(), subjects, ..stream::Config::default() };
        let made = broker.stream.get_or_create_stream(config).await;
        let stream = made.map_err(|error| Error::refused("cannot make a stream", error))?;
        let start = Instant::now();
        at_once(PUTS_MAX, messages, |number| {
            let broker = broker.clone();
            async move {
                let (id, subject) = (number.to_string(), format!("{STREAM}.{number}"));
                let bytes = Bytes::from_static(&[7; MESSAGE_BYTES]);
                publish(&broker, (STREAM, &subject), &id, HeaderMap::new(), bytes).await;
            }
        })
        .await;
        let (stored, start) = (start.elapsed(), Instant::now());
        at_once(TIDIES_MAX, messages, |number| {
            let stream = stream.clone();
            async move { drop(stream.purge().filter(format!("{STREAM}.{number}")).await) }
        })
        .await;
        let purged = start.elapsed();
        let _ = broker.stream.delete_stream(STREAM).await;
        Ok((stored, purged))
    })
}

/// Does so many things, so many at once.
async fn at_once<F>(most: usize, count: u64, work: impl Fn(u64) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    for number in 0..count {
        if under_way.len() >= most {
            under_way.join_next().await;
        }
        under_way.spawn(work(number));
    }
    while under_way.join_next().await.is_some() {}
}
