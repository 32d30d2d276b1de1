//! What a message says: in itself, or in the object store where it is too large for one.

use std::fmt;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::object_store::{self, GetErrorKind, ObjectStore};
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use super::Broker;
use crate::error::Error;
use crate::names::{Names, OBJECT_HEADER};

/// Larger payloads go through the object store: the broker's messages have at most 1 MiB unless somebody said otherwise.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512 << 10;
/// What is put aside may be on its way for so long: a broker that forbids what fetching it takes says nothing at all.
const FETCH_WITHIN: Duration = Duration::from_secs(600);
/// No chunk and no answer is larger than this.
const OBJECT_BYTES_MAX: usize = 4 << 30;

/// Makes the bucket of a job.
pub(crate) async fn make_bucket(broker: &Broker, names: &Names) -> Result<ObjectStore, Error> {
    let bucket = names.bucket();
    if let Ok(store) = broker.stream.get_object_store(&bucket).await {
        return Ok(store);
    }
    let config = object_store::Config { bucket: bucket.clone(), ..object_store::Config::default() };
    let made = broker.stream.create_object_store(config).await;
    made.map_err(|error| Error::refused(&format!("cannot make the object store {bucket}"), error))
}

/// Puts what is large aside: headers and payload of the message that says it.
pub(crate) async fn pack(
    store: &ObjectStore,
    name: &str,
    bytes: Vec<u8>,
) -> Result<(HeaderMap, Bytes), String> {
    let mut headers = HeaderMap::new();
    if bytes.len() <= MESSAGE_BYTES_MAX {
        return Ok((headers, Bytes::from(bytes)));
    }
    // What is left of a try that failed goes with the bucket.
    let name = format!("{name}-{:08x}", fastrand::u32(..));
    store.put(&*name, &mut bytes.as_slice()).await.map_err(|error| error.to_string())?;
    headers.insert(OBJECT_HEADER, name);
    Ok((headers, Bytes::new()))
}

/// Why a message says nothing.
#[derive(Debug)]
pub(crate) enum Fault {
    /// What it put aside was deleted: whoever wanted it has had it.
    Missing,
    /// What it put aside has so many bytes, which nobody has sent in good faith.
    Large(usize),
    /// For now.
    Unread(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Missing => f.write_str("its object is gone"),
            Fault::Large(bytes) => write!(f, "its object has {bytes} bytes"),
            Fault::Unread(what) => f.write_str(what),
        }
    }
}

/// What a message says.
pub(crate) async fn unpack(
    store: &ObjectStore,
    headers: Option<&HeaderMap>,
    payload: Bytes,
) -> Result<Bytes, Fault> {
    let Some(name) = headers.and_then(|headers| headers.get(OBJECT_HEADER)) else {
        return Ok(payload);
    };
    let fetched = tokio::time::timeout(FETCH_WITHIN, fetch(store, name.as_str())).await;
    fetched.unwrap_or_else(|_| {
        Err(Fault::Unread(format!("the object {name} did not come within {FETCH_WITHIN:?}")))
    })
}

async fn fetch(store: &ObjectStore, name: &str) -> Result<Bytes, Fault> {
    let mut object = store.get(name).await.map_err(|error| match error.kind() {
        GetErrorKind::NotFound => Fault::Missing,
        _ => Fault::Unread(error.to_string()),
    })?;
    let size = object.info().size;
    if size > OBJECT_BYTES_MAX {
        return Err(Fault::Large(size));
    }
    let mut bytes = Vec::new();
    let read = object.read_to_end(&mut bytes).await;
    read.map(|_| Bytes::from(bytes)).map_err(|error| Fault::Unread(error.to_string()))
}

/// Whether a message put something aside.
pub(crate) fn is_packed(headers: &HeaderMap) -> bool {
    headers.get(OBJECT_HEADER).is_some()
}

/// Deletes what a message put aside, if it did.
pub(crate) async fn discard(store: &ObjectStore, headers: Option<&HeaderMap>) {
    if let Some(name) = headers.and_then(|headers| headers.get(OBJECT_HEADER)) {
        // It goes with its bucket otherwise.
        let _ = store.delete(name.as_str()).await;
    }
}
