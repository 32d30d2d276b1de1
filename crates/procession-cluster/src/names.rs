//! What subjects, streams and consumers of a job are called. Permissions are written against these names: `docs/cluster.md`.

use crate::chunk::ChunkId;

/// Describes the jobs that there are: a message for each.
pub(crate) const JOBS_STREAM: &str = "PROCESSION_JOBS";
/// The durable consumer that hands chunks out.
pub(crate) const CONSUMER: &str = "agents";
/// Where a payload is that is too large for a message.
pub(crate) const OBJECT_HEADER: &str = "Procession-Object";

/// The names of one job.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    job: String,
}

impl Names {
    pub(crate) fn new(job: &str) -> Names {
        Names { job: job.to_owned() }
    }

    /// Those of the job that has this stream for its chunks.
    pub(crate) fn of_work_stream(stream: &str) -> Option<Names> {
        let job = stream.strip_prefix("PROCESSION_")?.strip_suffix("_WORK")?;
        is_name(job).then(|| Names::new(job))
    }

    pub(crate) fn job(&self) -> &str {
        &self.job
    }

    pub(crate) fn jobs() -> String {
        "procession.jobs.*".to_owned()
    }

    pub(crate) fn manifest(&self) -> String {
        format!("procession.jobs.{}", self.job)
    }

    pub(crate) fn work_stream(&self) -> String {
        format!("PROCESSION_{}_WORK", self.job)
    }

    pub(crate) fn answer_stream(&self) -> String {
        format!("PROCESSION_{}_ANSWERS", self.job)
    }

    pub(crate) fn bucket(&self) -> String {
        format!("PROCESSION_{}", self.job)
    }

    /// What keeps the bucket.
    pub(crate) fn object_stream(&self) -> String {
        format!("OBJ_PROCESSION_{}", self.job)
    }

    pub(crate) fn all_work(&self) -> String {
        format!("procession.{}.work.*", self.job)
    }

    pub(crate) fn work(&self, id: ChunkId) -> String {
        format!("procession.{}.work.{id}", self.job)
    }

    pub(crate) fn all_answers(&self) -> String {
        format!("procession.{}.answer.*", self.job)
    }

    pub(crate) fn answer(&self, id: ChunkId) -> String {
        format!("procession.{}.answer.{id}", self.job)
    }

    pub(crate) fn all_claims(&self) -> String {
        format!("procession.{}.claim.*", self.job)
    }

    pub(crate) fn claim(&self, id: ChunkId) -> String {
        format!("procession.{}.claim.{id}", self.job)
    }

    /// That a chunk is begun alone, the how-many-th time. For permissions it is a claim.
    pub(crate) fn charge(&self, id: ChunkId, number: u32) -> String {
        format!("procession.{}.claim.{id}-{number}", self.job)
    }

    /// What agents say of themselves. Nobody keeps it.
    pub(crate) fn hello(&self) -> String {
        format!("procession.{}.hello", self.job)
    }
}

/// Whether a job can be called so: it is part of the names of streams, and of subjects.
pub(crate) fn is_name(job: &str) -> bool {
    !job.is_empty() && job.chars().all(|letter| letter.is_ascii_alphanumeric())
}

/// The chunk that a subject is about.
pub(crate) fn chunk_of(subject: &str) -> Option<ChunkId> {
    ChunkId::parse(subject.rsplit('.').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_names_its_chunk() {
        let names = Names::new("1f");
        let id = ChunkId::first(3).next();
        assert_eq!(names.work(id), "procession.1f.work.30000000001");
        for subject in [names.work(id), names.answer(id), names.claim(id)] {
            assert_eq!(chunk_of(&subject), Some(id));
        }
        assert_eq!(chunk_of("procession.1f.work.what"), None);
        let found = Names::of_work_stream(&names.work_stream());
        assert_eq!(found.as_ref().map(Names::job), Some("1f"));
        assert!(
            [JOBS_STREAM, "WORK", &names.answer_stream()]
                .iter()
                .all(|other| Names::of_work_stream(other).is_none())
        );
    }
}
