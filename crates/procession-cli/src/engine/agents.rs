//! Agents on other machines, through a broker: the job's end of it.

mod agent;
mod jobs;
mod sight;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use procession::{ErrorKind, ErrorReport, ItemFigures, Payload, Stats, StreamOptions, TaskInfo};
use procession_cluster::{
    Cluster, ClusterStream, Error, ErrorKind as BrokerErrorKind, JobOptions, Notice, PoolSettings, Seats,
};
use procession_store::AgentStay;

pub(crate) use self::agent::agent;
pub(crate) use self::jobs::jobs;
use self::sight::Sight;
use super::{NAME_FILE, News, Present, Step};
use crate::diagnostic::Diagnostic;
use crate::exit::Stop;
use crate::intake::Numbers;
use crate::job::Job;
use crate::output::reason;
use crate::progress::Screen;
use crate::summary::counted;
use crate::terminal;

/// A job's connection to its broker.
#[derive(Clone)]
pub(crate) struct Agents {
    cluster: Cluster,
    name: String,
    knows_of_job: bool,
    is_resumable: bool,
    /// Those of agents that earlier sessions had.
    seats: Vec<Seats>,
    /// Those before are of workers that earlier sessions had here.
    first_slot: u32,
    sight: Sight,
}

/// A job's items on their way through a broker.
pub(crate) struct AgentsCall<I: Iterator<Item = Option<Payload>>> {
    stream: ClusterStream<Indexed<I>>,
    task: &'static TaskInfo,
    sight: Sight,
    screen: Screen,
    deadline: Option<Instant>,
}

/// Payloads with the indices of their items.
struct Indexed<I> {
    input: I,
    numbers: Numbers,
    payloads: u64,
}

impl<I: Iterator<Item = Option<Payload>>> Iterator for Indexed<I> {
    type Item = Option<(u64, Payload)>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(payload) = self.input.next()? else { return Some(None) };
        // Whoever gave it has said by now which item it is.
        let index = self.numbers.item(self.payloads);
        self.payloads += 1;
        Some(Some((index, payload)))
    }
}

fn stop(error: &Error) -> Stop {
    let message = terminal::printable(&error.to_string());
    match error.kind() {
        BrokerErrorKind::Usage | BrokerErrorKind::Unsuitable => Diagnostic::new(message).into(),
        _ => Stop::Broken(message),
    }
}

/// Whether there could be some.
pub(super) fn available() -> Result<(), Diagnostic> {
    Ok(())
}

impl Agents {
    /// Reaches the broker of a job that has one. Nothing is changed there.
    pub(crate) fn connect(job: &Job) -> Result<Option<Agents>, Stop> {
        let Some(remote) = &job.engine else { return Ok(None) };
        let cluster = Cluster::connect(&remote.address).map_err(|error| stop(&error))?;
        let kept = job.run_dir.as_ref().filter(|settings| settings.resume);
        let kept = kept.and_then(|settings| fs::read_to_string(name_file(&settings.path)).ok());
        let name = kept.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let known = match name {
            Some(name) => cluster.has_job(&name).map_err(|error| stop(&error))?.then_some(name),
            None => None,
        };
        let knows_of_job = known.is_some();
        // Agents may still have chunks of a job that the broker has no more: it is another one.
        let name = known.unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)));
        let (is_resumable, seats, sight) = (job.run_dir.is_some(), Vec::new(), Sight::default());
        Ok(Some(Agents { cluster, name, knows_of_job, is_resumable, seats, first_slot: 0, sight }))
    }

    /// Whether the broker has the rest of an earlier session: what was handed out then is still answered.
    pub(crate) fn knows_of_job(&self) -> bool {
        self.knows_of_job
    }

    /// Workers of agents that took part in earlier sessions are numbered as they were, those of others from `first_slot` on.
    pub(crate) fn recall(&mut self, stays: Vec<AgentStay>, first_slot: u32) {
        let seats =
            |stay: AgentStay| Seats { agent: stay.name, first: stay.first_slot, workers: stay.workers };
        (self.seats, self.first_slot) = (stays.into_iter().map(seats).collect(), first_slot);
    }

    /// From here on somebody is told of agents.
    pub(crate) fn tell(&mut self, told: Sender<News>) {
        self.sight.tell(told);
    }

    /// Lets a run that goes on find the job at the broker.
    pub(crate) fn keep_name(&self, run_dir: &Path) -> Result<(), Stop> {
        let path = name_file(run_dir);
        fs::write(&path, &self.name)
            .map_err(|error| Stop::Unwritable(format!("cannot write {}: {}", path.display(), reason(&error))))
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats::default()
    }

    /// How many workers agents had, at most.
    pub(crate) fn workers(&self) -> usize {
        self.sight.workers()
    }

    pub(crate) fn present(&self) -> Vec<Present> {
        self.sight.present()
    }

    /// Items that have an outcome.
    pub(crate) fn answered(&self) -> u64 {
        self.sight.answered()
    }

    pub(super) fn call<I: Iterator<Item = Option<Payload>>>(
        &self,
        job: &Job,
        input: I,
        stream: StreamOptions,
        (numbers, screen): (Numbers, Screen),
    ) -> Result<AgentsCall<I>, Stop> {
        if self.knows_of_job && !self.cluster.has_job(&self.name).map_err(|error| stop(&error))? {
            let message =
                format!("the broker has forgotten job {} meanwhile: go on with it once more", self.name);
            return Err(Stop::Broken(message));
        }
        let deadline = stream.deadline.and_then(|deadline| Instant::now().checked_add(deadline));
        let mut options = JobOptions::default();
        (options.stream, options.pool) = (stream, pool_settings(job));
        (options.name, options.is_resumable) = (Some(self.name.clone()), self.is_resumable);
        options.seats.clone_from(&self.seats);
        options.first_slot = self.first_slot;
        let input = Indexed { input, numbers, payloads: 0 };
        let stream = self.cluster.stream(job.task, input, options).map_err(|error| stop(&error))?;
        Ok(AgentsCall { stream, task: job.task, sight: self.sight.clone(), screen, deadline })
    }
}

fn name_file(run_dir: &Path) -> PathBuf {
    run_dir.join(NAME_FILE)
}

/// What agents' pools are to be like.
fn pool_settings(job: &Job) -> PoolSettings {
    let (from, mut settings) = (&job.pool, PoolSettings::default());
    settings.grace = from.grace;
    settings.max_tasks_per_worker = from.max_tasks_per_worker;
    settings.max_rss = from.max_rss;
    settings.memory_limit = from.memory_limit;
    settings.restart_limit = from.restart_limit;
    settings.env = from.env.clone();
    settings.nice = from.nice;
    settings.crash_reports = from.crash_reports;
    settings.recycle_after_panic = from.recycle_after_panic;
    settings
}

impl<I: Iterator<Item = Option<Payload>>> AgentsCall<I> {
    pub(super) fn results(&mut self, timeout: Duration) -> Result<Step, Stop> {
        if self.deadline.take_if(|deadline| *deadline <= Instant::now()).is_some() {
            self.stream.cancel();
            // No item's: it concerns the call.
            let report = ErrorReport::new(ErrorKind::TimedOut, 0, "the call's deadline passed");
            return Ok(Some(Some((u64::MAX, Err(report.into_error(self.task, u64::MAX))))));
        }
        let step = self.stream.next_timeout(timeout).map_err(|error| stop(&error));
        for notice in &self.stream.take_notices() {
            self.sight.notice(notice);
            let said = words(notice);
            self.screen.aside(|| match notice {
                Notice::Joined(_) | Notice::Left { .. } => terminal::say(&said),
                _ => terminal::say_warning(&said),
            });
        }
        self.sight.look(Instant::now(), || self.stream.agents());
        self.sight.note_answered(self.stream.answered_items());
        for is_connected in self.stream.take_connections() {
            self.sight.connected(is_connected);
            let said = if is_connected {
                "the broker is there again"
            } else {
                "the broker is gone: waiting for it; agents keep what they have until it is there again"
            };
            self.screen.aside(|| terminal::say_warning(said));
        }
        step
    }

    pub(super) fn take_figures(&mut self) -> Vec<ItemFigures> {
        self.stream.take_figures()
    }

    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.stream.set_timeout(timeout);
    }

    pub(super) fn drain(&mut self) {
        self.stream.drain();
    }

    pub(super) fn cancel(&mut self) {
        self.stream.cancel();
    }

    pub(super) fn awaits_record(&self) -> bool {
        self.stream.has_answers()
    }

    pub(super) fn on_record(&mut self) {
        self.stream.on_record();
    }

    pub(super) fn end(self, is_over: bool) {
        self.stream.end(is_over);
    }
}

/// What people should know of agents.
fn words(notice: &Notice) -> String {
    terminal::printable(&match notice {
        Notice::Alone => {
            let program = terminal::program();
            format!(
                "no agent takes part in this job: start some with `{program} agent --engine URL`, unless those at this broker are busy \
                 with another"
            )
        }
        Notice::Joined(Seats { agent, workers, .. }) => {
            format!("agent {agent} takes part, with {}", counted(u64::from(*workers), "worker"))
        }
        Notice::Left { agent } => format!("agent {agent} has left"),
        Notice::Silent { agent } => format!("agent {agent} is not heard of any more: others run what it had"),
        Notice::Trouble { what } => format!("{what}; trying on"),
        Notice::Refused { agent, why } => format!("agent {agent} takes no part: {why}"),
        Notice::Broken { agent, why } => format!("agent {agent} cannot run anything: {why}"),
        // More may be told one day.
        _ => return String::new(),
    })
}
