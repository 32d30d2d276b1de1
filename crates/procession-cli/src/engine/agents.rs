//! Agents on other machines, through a broker: the job's end of it, and what an agent is as a command.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use procession::{ErrorKind, ErrorReport, ItemFigures, Output, Payload, Stats, StreamOptions, TaskInfo};
use procession_cluster::{
    Agent, Cluster, ClusterStream, Error, ErrorKind as BrokerErrorKind, JobOptions, News, Notice,
    PoolSettings, Request as Asked,
};

use super::{NAME_FILE, Step};
use crate::cli;
use crate::diagnostic::Diagnostic;
use crate::echo;
use crate::exit::{Ending, Stop};
use crate::intake::Numbers;
use crate::job::Job;
use crate::output::reason;
use crate::progress::Screen;
use crate::signals::{Request, Watch};
use crate::summary::counted;
use crate::terminal;

/// A job's connection to its broker.
#[derive(Clone)]
pub(crate) struct Agents {
    cluster: Cluster,
    name: String,
    knows_of_job: bool,
    is_resumable: bool,
    /// As many as there were at most.
    workers: Arc<AtomicU32>,
}

/// A job's items on their way through a broker.
pub(crate) struct AgentsCall<I: Iterator<Item = Option<Payload>>> {
    stream: ClusterStream<Indexed<I>>,
    task: &'static TaskInfo,
    workers: Arc<AtomicU32>,
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
        let knows_of_job = name.as_ref().is_some_and(|name| cluster.has_job(name));
        let name = name.unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)));
        let (is_resumable, workers) = (job.run_dir.is_some(), Arc::default());
        Ok(Some(Agents { cluster, name, knows_of_job, is_resumable, workers }))
    }

    /// Whether the broker has the rest of an earlier session: what was handed out then is still answered.
    pub(crate) fn knows_of_job(&self) -> bool {
        self.knows_of_job
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
        self.workers.load(Ordering::Relaxed) as usize
    }

    pub(super) fn call<I: Iterator<Item = Option<Payload>>>(
        &self,
        job: &Job,
        input: I,
        stream: StreamOptions,
        (numbers, screen): (Numbers, Screen),
    ) -> Result<AgentsCall<I>, Stop> {
        let deadline = stream.deadline.and_then(|deadline| Instant::now().checked_add(deadline));
        let mut options = JobOptions::default();
        (options.stream, options.pool) = (stream, pool_settings(job));
        (options.name, options.is_resumable) = (Some(self.name.clone()), self.is_resumable);
        let input = Indexed { input, numbers, payloads: 0 };
        let stream = self.cluster.stream(job.task, input, options).map_err(|error| stop(&error))?;
        let (task, workers) = (job.task, Arc::clone(&self.workers));
        Ok(AgentsCall { stream, task, workers, screen, deadline })
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
        let notices = self.stream.take_notices();
        for notice in &notices {
            let said = words(notice);
            self.screen.aside(|| match notice {
                Notice::Joined { .. } | Notice::Left { .. } => terminal::say(&said),
                _ => terminal::say_warning(&said),
            });
        }
        self.workers.fetch_max(self.stream.fleet().1, Ordering::Relaxed);
        for is_connected in self.stream.take_connections() {
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
            format!("no agent is there yet: start some with `{} agent --engine URL`", terminal::program())
        }
        Notice::Joined { agent, workers } => {
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

/// Takes part in jobs until a signal asks to leave.
pub(crate) fn agent(command: &cli::Agent) -> Result<Ending, Stop> {
    let mut agent = Agent::connect(&command.engine).map_err(|error| stop(&error))?;
    if let Some(workers) = command.workers {
        agent = agent.workers(workers);
    }
    agent = agent.configure(|pool| echo::repeat(pool.output(Output::Capture), Screen::bare()));
    let watch = Watch::start()
        .map_err(|error: io::Error| Stop::Broken(format!("cannot watch for signals: {}", reason(&error))))?;
    let say = |said: &str| {
        if !command.quiet {
            terminal::say(&terminal::printable(said));
        }
    };
    say(&format!("agent {} is there", agent.name()));
    let heard = RefCell::new(Request::Run);
    let request = || {
        let request = watch.request();
        if heard.replace(request) != request {
            watch.hear();
            say(match request {
                Request::Drain => "finishing what runs, then leaving; once more to stop it",
                Request::Run | Request::Stop => "stopping what runs",
            });
        }
        match request {
            Request::Run => Asked::Work,
            Request::Drain => Asked::Drain,
            Request::Stop => Asked::Stop,
        }
    };
    agent.run(request, |news| say(&told(&news))).map_err(|error| stop(&error))?;
    Ok(watch.signal().map_or(Ending::Complete, Ending::Signalled))
}

/// What an agent says of what happens to it.
fn told(news: &News) -> String {
    match news {
        News::Joined { job, task, workers } => {
            format!("job {job}: {task}, with {}", counted(*workers as u64, "worker"))
        }
        News::Left { job, items } => format!("job {job}: {} answered, left", counted(*items, "item")),
        News::Refused { job, why } => format!("job {job}: this agent takes no part: {why}"),
        News::Broken { job, why } => format!("job {job}: this agent cannot run anything: {why}"),
        News::Unreadable(what) => format!("a message that cannot be read: {what}"),
        News::Trouble(what) => format!("{what}; trying on"),
        News::Connected(true) => "the broker is there again".to_owned(),
        News::Connected(false) => "the broker is gone: keeping what there is until it is back".to_owned(),
        // More may be told one day.
        _ => String::new(),
    }
}
