//! The jobs that a broker has: described, looked at, and deleted.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::{Config, Stream};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;

use super::{Broker, names_no_stream, next_message};
use crate::error::Error;
use crate::manifest::{JobState, Manifest};
use crate::names::{CONSUMER, JOBS_STREAM, Names};

/// A job that nobody has gone on with for so long is described no more, and no agent looks at it.
const JOBS_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// A broker says sooner that nobody listens; who does listen says nothing.
const LISTEN_FOR: Duration = Duration::from_millis(500);
/// How often it is looked for a master before what it works on is deleted. One that has lost its connection is back sooner.
const LOOKS: u32 = 5;

/// What a broker has of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobSummary {
    /// What it is called at the broker.
    pub name: String,
    /// The full path of its task. None: its description is gone, or of another version.
    pub task: Option<String>,
    /// When its master began, or last stopped, it.
    pub since: Option<SystemTime>,
    /// Whether somebody listens to its agents, as its master does while it is connected. One that was cut off counts until the
    /// broker has noticed.
    pub has_master: bool,
    /// Chunks that have not been handed out.
    pub waiting: u64,
    /// Chunks that were handed out and have no answer, whether or not an agent still has them.
    pub handed_out: u64,
    /// Answers that no master has put on record.
    pub answers: u64,
    /// The room that all of it takes at the broker.
    pub bytes: u64,
}

impl Broker {
    /// The stream that describes the jobs that there are.
    pub(crate) async fn jobs_stream(&self) -> Result<Stream, Error> {
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
    pub(crate) async fn has_job(&self, names: &Names) -> Result<bool, Error> {
        Ok(self.find(names.work_stream()).await?.is_some()
            && self.find(names.answer_stream()).await?.is_some())
    }

    /// Every job; those that were described last come last.
    pub(crate) async fn summaries(&self) -> Result<Vec<JobSummary>, Error> {
        let mut streams: Vec<String> =
            self.stream.stream_names().try_collect().await.map_err(|error| self.unread(error))?;
        streams.sort_unstable();
        let mut described = Vec::new();
        if streams.iter().any(|stream| stream == JOBS_STREAM) {
            let (jobs, mut from) = (self.jobs_stream().await?, 1);
            while let Some(message) =
                next_message(&jobs, Names::jobs(), from).await.map_err(|error| self.unread(error))?
            {
                from = message.sequence + 1;
                // What cannot be read is of another version. Its streams are there all the same.
                if let Ok(manifest) = serde_json::from_slice::<Manifest>(&message.payload) {
                    described.push((
                        Names::new(&manifest.job),
                        manifest.task,
                        SystemTime::from(message.time),
                    ));
                }
            }
        }
        let bare = streams.iter().filter_map(|stream| Names::of_work_stream(stream));
        let bare =
            bare.filter(|names| described.iter().all(|(described, ..)| described.job() != names.job()));
        let mut jobs: Vec<(Names, Option<(String, SystemTime)>)> = bare.map(|names| (names, None)).collect();
        jobs.extend(described.into_iter().map(|(names, task, since)| (names, Some((task, since)))));
        let summaries = jobs.iter().map(|(names, described)| self.summary(names, described.clone()));
        let summaries = try_join_all(summaries).await?;
        Ok(summaries.into_iter().flatten().collect())
    }

    /// None: it ended meanwhile.
    async fn summary(
        &self,
        names: &Names,
        described: Option<(String, SystemTime)>,
    ) -> Result<Option<JobSummary>, Error> {
        let (work, answers) =
            (self.find(names.work_stream()).await?, self.find(names.answer_stream()).await?);
        let objects = self.find(names.object_stream()).await?;
        let streams = [&work, &answers, &objects];
        if streams.iter().all(|stream| stream.is_none()) {
            return Ok(None);
        }
        let bytes = streams.into_iter().flatten().map(|stream| stream.cached_info().state.bytes).sum();
        let (mut waiting, mut handed_out) = (0, 0);
        if let Some(work) = work {
            handed_out = match work.consumer_info(CONSUMER).await {
                Ok(queue) => queue.num_ack_pending as u64,
                Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => 0,
                Err(error) => return Err(self.unread(error)),
            };
            waiting = work.cached_info().state.messages.saturating_sub(handed_out);
        }
        let mut answered = 0;
        if let Some(answers) = answers {
            let subjects =
                answers.info_with_subjects(names.all_answers()).await.map_err(|error| self.unread(error))?;
            let counted = subjects.try_fold(0, |sum, (_, count)| async move { Ok(sum + count as u64) });
            answered = counted.await.map_err(|error| self.unread(error))?;
        }
        let has_master = self.has_master(names).await;
        let ((task, since), name) = (described.unzip(), names.job().to_owned());
        Ok(Some(JobSummary { name, task, since, has_master, waiting, handed_out, answers: answered, bytes }))
    }

    /// A stream, if there is one of this name.
    async fn find(&self, name: String) -> Result<Option<Stream>, Error> {
        match self.stream.get_stream(name).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if names_no_stream(&error.kind()) => Ok(None),
            Err(error) => Err(self.unread(error)),
        }
    }

    /// Whether somebody listens to the job's agents.
    async fn has_master(&self, names: &Names) -> bool {
        // A master cannot read this, and lets it be.
        let asked = self.client.request(names.hello(), Bytes::new());
        match tokio::time::timeout(LISTEN_FOR, asked).await {
            Ok(Err(error)) => error.kind() != RequestErrorKind::NoResponders,
            Ok(Ok(_)) | Err(_) => true,
        }
    }

    /// The same for as long as a master takes that has lost its connection.
    pub(crate) async fn keeps_master(&self, names: &Names) -> bool {
        for _ in 0..LOOKS {
            if self.has_master(names).await {
                return true;
            }
            tokio::time::sleep(LISTEN_FOR).await;
        }
        false
    }

    /// Deletes all that there is of a job: whether there was anything.
    pub(crate) async fn delete(&self, names: &Names) -> Result<bool, Error> {
        let denied = |what: &str, error: &dyn fmt::Display| Error::refused(what, self.with_refusal(error));
        // First: who goes on with the job meanwhile finds it gone, and no agent is sent to what is left.
        let purged = self.jobs_stream().await?.purge().filter(names.manifest()).await;
        let purged = purged.map_err(|error| denied("cannot delete the description of the job", &error))?;
        let (mut was_there, mut failed) = (purged.purged > 0, None);
        // What cannot be deleted keeps nothing else from going. What a job is known by goes last.
        for name in [names.object_stream(), names.answer_stream(), names.work_stream()] {
            match self.stream.delete_stream(&name).await {
                Ok(_) => was_there = true,
                Err(error) if names_no_stream(&error.kind()) => {}
                Err(error) => {
                    failed.get_or_insert(denied(&format!("cannot delete the stream {name}"), &error));
                }
            }
        }
        failed.map_or(Ok(was_there), Err)
    }

    fn unread(&self, error: impl fmt::Display) -> Error {
        Error::refused("the broker does not say which jobs it has", self.with_refusal(&error))
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
