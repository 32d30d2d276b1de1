//! The broker: what a program says to NATS. Nothing is decided here.

pub(crate) mod agent;
pub(crate) mod body;
mod claim;
pub(crate) mod jobs;
pub(crate) mod master;
mod publish;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetError, DirectGetErrorKind};
use async_nats::jetstream::{self, ErrorCode, stream};
use async_nats::{Client, ConnectOptions};
use tokio::sync::watch;

use crate::credentials::{Credentials, check_address};
use crate::error::{Error, ErrorKind};
use crate::leases::Delivery;

pub(crate) use publish::{Published, publish};

/// Older servers forget acknowledged messages when they are killed.
const VERSION_MIN: (u64, u64, u64) = (2, 10, 23);
/// A broker that is there answers sooner.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// What could not be read so often cannot be read.
const READS_MAX: u32 = 3;
/// What has failed so often may need somebody.
const TROUBLE_TRIES: u32 = 3;
/// A broker that is busy, or whose disk is full, is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// A connection, which comes back by itself.
#[derive(Clone)]
pub(crate) struct Broker {
    pub(crate) client: Client,
    pub(crate) stream: jetstream::Context,
    /// Whether it is connected now.
    pub(crate) is_up: watch::Receiver<bool>,
    troubles: Arc<Mutex<Troubles>>,
}

/// What does not succeed, for whoever looks.
#[derive(Default)]
struct Troubles {
    /// The last that was tried in vain.
    trouble: Option<String>,
    /// What the broker last refused. It does not say to whom: what was asked for gets no answer.
    refusal: Option<String>,
}

impl Broker {
    pub(crate) async fn connect(address: &str) -> Result<Broker, Error> {
        check_address(address)?;
        let credentials = Credentials::from_env()?;
        let (up, is_up) = watch::channel(true);
        let up = Arc::new(up);
        let troubles: Arc<Mutex<Troubles>> = Arc::default();
        let refused = Arc::clone(&troubles);
        let mut options = ConnectOptions::new()
            .name("procession")
            .connection_timeout(CONNECT_WITHIN)
            .ping_interval(Duration::from_secs(2))
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(50 << attempts.min(5)).min(Duration::from_secs(1))
            })
            .event_callback(move |event| {
                let (up, refused) = (Arc::clone(&up), Arc::clone(&refused));
                async move {
                    match event {
                        async_nats::Event::ServerError(error) => {
                            lock(&refused).refusal = Some(error.to_string());
                        }
                        async_nats::Event::Connected => note(&up, true),
                        async_nats::Event::Disconnected => note(&up, false),
                        _ => {}
                    }
                }
            });
        if let Some(token) = credentials.token {
            options = options.token(token);
        }
        if let Some(seed) = credentials.nkey {
            options = options.nkey(seed);
        }
        if let Some(path) = credentials.file {
            let shown = path.display().to_string();
            options = options
                .credentials_file(path)
                .await
                .map_err(|error| Error::new(ErrorKind::Usage, format!("credentials in {shown}: {error}")))?;
        }
        if let Some(path) = credentials.authorities {
            options = options.add_root_certificates(path);
        }
        let client = options.connect(address).await.map_err(|error| {
            let message = format!(
                "cannot reach a broker at {address}: {error}; is nats-server running there with --jetstream?"
            );
            Error::new(ErrorKind::Unreachable, message)
        })?;
        let stream = jetstream::new(client.clone());
        let broker = Broker { client, stream, is_up, troubles };
        broker.check(address).await?;
        Ok(broker)
    }

    /// Refuses what would lose chunks.
    async fn check(&self, address: &str) -> Result<(), Error> {
        let info = self.client.server_info();
        if version(&info.version).is_none_or(|version| version < VERSION_MIN) {
            let (major, minor, patch) = VERSION_MIN;
            let message = format!(
                "the nats-server at {address} is {}, and versions before {major}.{minor}.{patch} forget acknowledged messages when \
                 they are killed: install a newer one",
                info.version
            );
            return Err(Error::new(ErrorKind::Unsuitable, message));
        }
        self.stream.query_account().await.map_err(|error| {
            let message = format!(
                "the nats-server at {address} has no JetStream for us: {error}; start it with --jetstream"
            );
            Error::new(ErrorKind::Unsuitable, message)
        })?;
        Ok(())
    }

    /// Whether the broker says that it has no such stream.
    pub(crate) async fn is_missing(&self, stream: &str) -> bool {
        match self.stream.get_stream(stream).await {
            Ok(_) => false,
            Err(error) => names_no_stream(&error.kind()),
        }
    }

    /// Something does not succeed, and is tried again.
    pub(crate) fn complain(&self, what: &str, error: &dyn fmt::Display) {
        let trouble = format!("{what}: {}", self.with_refusal(error));
        lock(&self.troubles).trouble = Some(trouble);
    }

    /// What went wrong, and what the broker last refused: it does not say so to whoever waits for it.
    fn with_refusal(&self, error: &dyn fmt::Display) -> String {
        let troubles = lock(&self.troubles);
        let refusal = troubles.refusal.as_ref().map(|refusal| format!("; it said: {refusal}"));
        format!("{error}{}", refusal.unwrap_or_default())
    }

    /// What does not succeed, if anything was tried in vain since this was last called.
    pub(crate) fn take_trouble(&self) -> Option<String> {
        lock(&self.troubles).trouble.take()
    }

    /// Waits until there is a connection.
    pub(crate) async fn up(&self) {
        let mut is_up = self.is_up.clone();
        // Who tells lives as long as the client.
        let _ = is_up.wait_for(|is_up| *is_up).await;
    }

    /// Asks over the connection there is, or the next one. None: it was lost, and an answer would come late or never.
    pub(crate) async fn ask<T>(&self, asked: impl Future<Output = T>) -> Option<T> {
        let mut is_up = self.is_up.clone();
        let _ = is_up.wait_for(|is_up| *is_up).await;
        tokio::select! {
            // What has come counts, also where the connection was lost behind it.
            biased;
            answer = asked => Some(answer),
            _ = is_up.changed() => None,
        }
    }
}

/// The next message on a subject, from a place in the stream on; none: there are no more. Only the broker can say that: what goes
/// wrong is tried again, and then an error.
async fn next_message(
    stream: &stream::Stream,
    subject: String,
    from: u64,
) -> Result<Option<StreamMessage>, DirectGetError> {
    let mut tries = 1;
    loop {
        match stream.direct_get_next_for_subject(&*subject, Some(from)).await {
            Ok(message) => return Ok(Some(message)),
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) if tries >= READS_MAX => return Err(error),
            Err(_) => {
                tries += 1;
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// Which handing-out of a chunk this is.
fn delivery_of(message: &jetstream::Message) -> Option<Delivery> {
    let info = message.info().ok()?;
    let number = u32::try_from(info.delivered).unwrap_or(u32::MAX);
    Some(Delivery { sequence: info.stream_sequence, number })
}

/// Whether the broker says that it has no such stream.
fn names_no_stream(error: &GetStreamErrorKind) -> bool {
    match error {
        GetStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
        GetStreamErrorKind::EmptyName
        | GetStreamErrorKind::Request
        | GetStreamErrorKind::InvalidStreamName => false,
    }
}

/// Whether the broker says that it has no such message.
fn is_missing(error: &DirectGetError) -> bool {
    match error.kind() {
        DirectGetErrorKind::NotFound => true,
        DirectGetErrorKind::ErrorResponse(status, _) => status.as_u16() == 404,
        DirectGetErrorKind::InvalidSubject
        | DirectGetErrorKind::TimedOut
        | DirectGetErrorKind::Request
        | DirectGetErrorKind::Other => false,
    }
}

/// The first connection is told of as well, and is no news: whoever asks over it would ask again.
fn note(up: &watch::Sender<bool>, is_up: bool) {
    up.send_if_modified(|was_up| std::mem::replace(was_up, is_up) != is_up);
}

fn lock(troubles: &Mutex<Troubles>) -> MutexGuard<'_, Troubles> {
    troubles.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `2.10.23-RC.1` is 2.10.23.
fn version(text: &str) -> Option<(u64, u64, u64)> {
    let numbers = text.split('-').next()?;
    let mut numbers = numbers.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("2.15.1"), Some((2, 15, 1)));
        assert_eq!(version("2.10.23-RC.1"), Some(VERSION_MIN));
        assert!(version("2.9.10") < Some(VERSION_MIN) && version("2.10.3") < Some(VERSION_MIN));
        assert_eq!(version("newest"), None);
    }
}
