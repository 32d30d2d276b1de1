//! The jobs that a broker has: described, looked at, and deleted.

use std::time::{Duration, SystemTime};

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::stream::{Config, Stream};
use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::{Broker, names_no_stream, next_message};
use crate::error::Error;
use crate::manifest::{JobState, Manifest};
use crate::names::{CONSUMER, JOBS_STREAM, Names};

/// Jobs that nobody has gone on with for so long are forgotten.
const JOBS_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// A broker says sooner that nobody listens; who does listen says nothing.
const LISTEN_FOR: Duration = Duration::from_millis(500);

/// What a broker has of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobSummary {
    /// What it is called at the broker.
    pub name: String,
    /// The full path of its task. None: its description is too old and gone, and its chunks and answers are not.
    pub task: Option<String>,
    /// When its master began, or last stopped, it.
    pub since: Option<SystemTime>,
    /// Whether a master listens to its agents. One whose machine was cut off counts for as long as the broker takes to notice.
    pub has_master: bool,
    /// Chunks that no agent has.
    pub waiting: u64,
    /// Chunks that agents have.
    pub leased: u64,
    /// Answers that no master has put on record.
    pub answers: u64,
    /// The room that all of it takes at the broker.
    pub bytes: u64,
}

impl Broker {
    /// The stream that describes the jobs that there are.
    pub(crate) async fn jobs(&self) -> Result<Stream, Error> {
        let config = Config {
            name: JOBS_STREAM.to_owned(),
            subjects: vec![Names::jobs()],
            max_messages_per_subject: 1,
            max_age: JOBS_AGE_MAX,
            allow_direct: true,
            ..Config::default()
        };
        let made = self.stream.get_or_create_stream(config).await;
        made.map_err(|error| Error::refused(&format!("cannot make the stream {JOBS_STREAM}"), error))
    }

    /// Whether a job of this name has its streams here.
    pub(crate) async fn has_job(&self, name: &str) -> bool {
        let names = Names::new(name);
        let (work, answers) = (names.work_stream(), names.answer_stream());
        self.stream.get_stream(work).await.is_ok() && self.stream.get_stream(answers).await.is_ok()
    }

    /// Every job, the latest last.
    pub(crate) async fn summaries(&self) -> Result<Vec<JobSummary>, Error> {
        let unread =
            |error: &dyn std::fmt::Display| Error::refused("the broker does not say its jobs", error);
        let mut streams: Vec<String> =
            self.stream.stream_names().try_collect().await.map_err(|error| unread(&error))?;
        streams.sort_unstable();
        let mut described = Vec::new();
        if streams.iter().any(|stream| stream == JOBS_STREAM) {
            let (jobs, mut from) = (self.jobs().await?, 1);
            while let Some(message) =
                next_message(&jobs, Names::jobs(), from).await.map_err(|error| unread(&error))?
            {
                from = message.sequence + 1;
                // What cannot be read is of another version. Its streams are there all the same.
                if let Ok(manifest) = serde_json::from_slice::<Manifest>(&message.payload) {
                    described.push((manifest, SystemTime::from(message.time)));
                }
            }
        }
        let bare = streams.iter().filter_map(|stream| Names::of_work_stream(stream));
        let bare = bare.filter(|names| described.iter().all(|(manifest, _)| manifest.job != names.job()));
        let bare: Vec<Names> = bare.collect();
        let mut summaries = Vec::new();
        for names in bare {
            summaries.push(self.summary(&names, None).await);
        }
        for (manifest, since) in described {
            let names = Names::new(&manifest.job);
            summaries.push(self.summary(&names, Some((manifest.task, since))).await);
        }
        Ok(summaries)
    }

    async fn summary(&self, names: &Names, described: Option<(String, SystemTime)>) -> JobSummary {
        let (task, since) = described.unzip();
        let has_master = self.has_master(names).await;
        let (mut waiting, mut leased, mut answers, mut bytes) = (0, 0, 0, 0);
        // A job may end while somebody looks at it.
        if let Ok(work) = self.stream.get_stream(names.work_stream()).await {
            bytes += work.cached_info().state.bytes;
            if let Ok(queue) = work.consumer_info(CONSUMER).await {
                (waiting, leased) = (queue.num_pending, queue.num_ack_pending as u64);
            }
        }
        if let Ok(stream) = self.stream.get_stream(names.answer_stream()).await {
            bytes += stream.cached_info().state.bytes;
            if let Ok(subjects) = stream.info_with_subjects(names.all_answers()).await {
                let counted = subjects.try_fold(0, |sum, (_, count)| async move { Ok(sum + count as u64) });
                answers = counted.await.unwrap_or_default();
            }
        }
        if let Ok(objects) = self.stream.get_stream(names.object_stream()).await {
            bytes += objects.cached_info().state.bytes;
        }
        JobSummary { name: names.job().to_owned(), task, since, has_master, waiting, leased, answers, bytes }
    }

    /// Whether somebody listens to the job's agents.
    pub(crate) async fn has_master(&self, names: &Names) -> bool {
        // A master cannot read this, and lets it be.
        let asked = self.client.request(names.hello(), Bytes::new());
        match tokio::time::timeout(LISTEN_FOR, asked).await {
            Ok(Err(error)) => error.kind() != RequestErrorKind::NoResponders,
            Ok(Ok(_)) | Err(_) => true,
        }
    }

    /// Deletes all that there is of a job: whether there was anything.
    pub(crate) async fn delete(&self, names: &Names) -> Result<bool, Error> {
        let (mut was_there, mut failed) = (false, None);
        // What cannot be deleted keeps nothing else from going.
        for name in [names.work_stream(), names.answer_stream(), names.object_stream()] {
            match self.stream.delete_stream(&name).await {
                Ok(_) => was_there = true,
                Err(error) if names_no_stream(&error.kind()) => {}
                Err(error) => {
                    failed.get_or_insert(Error::refused(&format!("cannot delete the stream {name}"), error));
                }
            }
        }
        let purged = self.jobs().await?.purge().filter(names.manifest()).await;
        let purged =
            purged.map_err(|error| Error::refused("cannot delete the description of the job", error))?;
        failed.map_or(Ok(was_there || purged.purged > 0), Err)
    }
}

/// The jobs that the broker knows of and that go on; those that it has told of by then.
pub(crate) async fn open_jobs(jobs: &Stream, within: Duration) -> Vec<Manifest> {
    let until = tokio::time::Instant::now() + within;
    let (mut manifests, mut from) = (Vec::new(), 1);
    // The others are found another time.
    while let Ok(Ok(Some(message))) =
        tokio::time::timeout_at(until, next_message(jobs, Names::jobs(), from)).await
    {
        from = message.sequence + 1;
        // What cannot be read is of another program, or of another version.
        manifests.extend(serde_json::from_slice::<Manifest>(&message.payload));
    }
    manifests.retain(|manifest| manifest.state == JobState::Open);
    manifests
}
