//! What earlier masters of a job have left with the broker: its number, chunks without an answer, and answers.

use std::time::SystemTime;

use async_nats::jetstream::stream::Stream;

use super::Job;
use crate::chunk::{Answer, Chunk, ChunkId};
use crate::error::{Error, ErrorKind};
use crate::manifest::Manifest;
use crate::names::Names;
use crate::nats::{AGAIN_AFTER, READS_MAX, body, next_message};
use crate::wire;

/// The latest master of the job that the broker knows of.
pub(super) async fn session_before(jobs: &Stream, names: &Names) -> Result<u32, Error> {
    match next_message(jobs, names.manifest(), 1).await {
        Ok(Some(message)) => {
            let manifest = serde_json::from_slice::<Manifest>(&message.payload);
            let manifest = manifest.map_err(|error| Error::unread("description", error))?;
            Ok(manifest.session)
        }
        Ok(None) => Ok(0),
        Err(error) => Err(Error::unread("description", error)),
    }
}

impl Job {
    /// Chunks of an earlier master that have no answer.
    pub(super) async fn chunks_before(&self) -> Result<Vec<Chunk>, Error> {
        let (mut chunks, mut from) = (Vec::new(), 1);
        while let Some(message) = next_message(&self.work, self.names.all_work(), from)
            .await
            .map_err(|error| Error::unread("chunks", error))?
        {
            from = message.sequence + 1;
            let bytes = body::unpack(&self.objects, Some(&message.headers), message.payload).await;
            let bytes = match bytes {
                Err(body::Fault::Missing) => continue,
                bytes => bytes.map_err(|fault| Error::unread("chunks", fault))?,
            };
            match wire::decode_chunk(&bytes) {
                Ok(chunk) => {
                    self.note_packed(chunk.id, Some(&message.headers));
                    chunks.push(chunk);
                }
                Err(flaw) => return Err(Error::unread("chunks", flaw)),
            }
        }
        Ok(chunks)
    }

    /// Answers that no earlier master has put on record, and where the stream goes on behind them.
    pub(super) async fn answers_before(&self) -> Result<(Vec<(ChunkId, Answer)>, u64), Error> {
        let (mut answers, mut from) = (Vec::new(), 1);
        while let Some(message) = next_message(&self.answers, self.names.all_answers(), from)
            .await
            .map_err(|error| Error::unread("answers", error))?
        {
            from = message.sequence + 1;
            let (subject, headers) = (&message.subject, Some(&message.headers));
            let mut tries = 1;
            let answer = loop {
                match self.read(subject, headers, message.payload.clone()).await {
                    Ok(answer) => break answer,
                    Err(what) if tries >= READS_MAX => return Err(Error::unread("answers", what)),
                    Err(_) => tries += 1,
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            };
            let age = SystemTime::now().duration_since(message.time.into()).unwrap_or_default();
            answers.extend(answer.map(|(id, mut answer)| {
                // They count from when it was given.
                answer
                    .figures
                    .iter_mut()
                    .for_each(|figures| figures.since = figures.since.saturating_add(age));
                (id, answer)
            }));
        }
        Ok((answers, from))
    }
}

impl Error {
    /// What an earlier master has left is not known, and without it items would run twice.
    fn unread(what: &str, error: impl std::fmt::Display) -> Error {
        let message = format!(
            "the job's {what} at the broker cannot be read: {error}; nothing was begun: try again, or forget the job and begin anew"
        );
        Error::new(ErrorKind::Refused, message)
    }
}
