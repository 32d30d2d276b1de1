//! `status`: how far a run is, how fast, and who worked on it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use procession_store::{AgentStay, Job, Reader, Seating, Session, Tally};
use serde_json::json;

use crate::cli::Status;
use crate::exit::{Ending, Stop};
use crate::failures;
use crate::moment::moment;
use crate::output::Sink;
use crate::spec::units;
use crate::summary::{counted, short};
use crate::terminal::printable;

/// The rate of late is that of so long.
const LATELY: Duration = Duration::from_secs(60);

/// What there is to say.
struct Facts {
    job: Job,
    sessions: Vec<Session>,
    tally: Tally,
    /// Who has the directory.
    holder: Option<String>,
    pace: Option<Pace>,
    /// Of all sessions.
    stays: Vec<AgentStay>,
    /// Of the last one.
    agents: Vec<Agent>,
}

/// How fast the last session is, or was.
struct Pace {
    is_running: bool,
    items: u64,
    /// For so long.
    time: Duration,
    /// Items that ended of late, and in how long.
    lately: (u64, Duration),
}

/// An agent of the last session: all its stays.
struct Agent {
    /// The last one.
    stay: AgentStay,
    items: u64,
    /// For how long it has been, or was, there; None: nobody knows.
    time: Option<Duration>,
    is_there: bool,
}

/// Prints it.
pub(crate) fn status(command: &Status) -> Result<Ending, Stop> {
    let facts = Facts::gather(command)?;
    let text = if command.json { as_json(&facts) } else { as_text(&facts) };
    let mut stdout = Sink::stdout();
    stdout.write(text.as_bytes())?;
    stdout.flush()?;
    Ok(Ending::Complete)
}

/// Items that have no outcome yet.
fn left(job: &Job, tally: &Tally) -> Option<u64> {
    job.selected().map(|items| items.saturating_sub(tally.items()))
}

impl Facts {
    fn gather(command: &Status) -> Result<Facts, Stop> {
        let reader = Reader::open(&command.dir)?;
        // All of it as of one moment.
        let moment = reader.hold()?;
        let (job, sessions, tally) = (reader.job()?, reader.sessions()?, reader.tally()?);
        let holder = procession_store::holder(&command.dir);
        let (mut pace, mut agents, all) = (None, Vec::new(), reader.agents()?);
        if let Some(last) = sessions.last() {
            let (is_running, now) = (is_running(last, holder.as_deref()), SystemTime::now());
            pace = Pace::of(last, is_running, reader.done(last.id, now - LATELY)?, now);
            let stays: Vec<AgentStay> = all.iter().filter(|stay| stay.session == last.id).cloned().collect();
            if !stays.is_empty() {
                let end = last.ended_at.or(is_running.then_some(now));
                agents = Agent::all(stays, &reader.done_by_slot(last.id)?, end, is_running);
            }
        }
        drop(moment);
        Ok(Facts { job, sessions, tally, holder, pace, stays: all, agents })
    }
}

impl Pace {
    /// None where nobody knows for how long the session went on.
    fn of(session: &Session, is_running: bool, (items, lately): (u64, u64), now: SystemTime) -> Option<Pace> {
        let end = session.ended_at.or(is_running.then_some(now))?;
        let time = span(session.started_at, end);
        Some(Pace { is_running, items, time, lately: (lately, time.min(LATELY)) })
    }

    fn lately(&self) -> Option<f64> {
        self.is_running.then(|| rate(self.lately.0, self.lately.1))
    }
}

impl Agent {
    /// `end`: of what goes on; None: nobody knows when it was.
    fn all(
        stays: Vec<AgentStay>,
        done: &[(u32, u64)],
        end: Option<SystemTime>,
        is_running: bool,
    ) -> Vec<Agent> {
        let seating = Seating::of(&stays);
        let mut items: HashMap<&str, u64> = HashMap::new();
        for (slot, count) in done {
            if let Some((agent, _)) = seating.of_slot(*slot) {
                *items.entry(agent).or_default() += count;
            }
        }
        let mut agents: BTreeMap<u32, Agent> = BTreeMap::new();
        for stay in stays {
            let time = stay.left_at.or(end).map(|end| span(stay.joined_at, end));
            let is_there = is_running && stay.left_at.is_none();
            let items = items.get(&*stay.name).copied().unwrap_or_default();
            let first_slot = stay.first_slot;
            let before = agents.insert(first_slot, Agent { stay, items, time, is_there });
            if let (Some(before), Some(agent)) = (before, agents.get_mut(&first_slot)) {
                agent.time = agent.time.zip(before.time).map(|(time, before)| time + before);
            }
        }
        agents.into_values().collect()
    }

    fn rate(&self) -> Option<f64> {
        self.time.map(|time| rate(self.items, time))
    }

    fn described(&self) -> String {
        let AgentStay { name, workers, leaving, chunks, .. } = &self.stay;
        let mut text = format!("{name}: {}", counted(u64::from(*workers), "worker"));
        if self.is_there {
            let _ = write!(text, ", {} in hand", counted(*chunks, "chunk"));
        }
        let _ = write!(text, ", {}", counted(self.items, "item"));
        if let Some(rate) = self.rate() {
            let _ = write!(text, " at {}/s", short(rate));
        }
        if let (Some(leaving), Some(time)) = (leaving, self.time) {
            let _ = write!(text, ", {leaving} after {}", units::show(time));
        }
        text
    }
}

fn rate(items: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { items as f64 / time.as_secs_f64() }
}

fn as_text(Facts { job, sessions, tally, holder, pace, stays, agents }: &Facts) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {}", printable(value));
    };
    line("job", &job.name);
    line("task", &format!("{}  {}", job.task, job.signature));
    let total = match (job.selected(), job.items, job.selection.flags()) {
        (Some(selected), Some(items), Some(flags)) => {
            format!("{selected} of {items} ({}; {flags})", job.source)
        }
        (Some(items), ..) => format!("{items} ({})", job.source),
        (None, _, flags) => {
            let flags = flags.map(|flags| format!("; {flags}")).unwrap_or_default();
            format!("not counted ({}{flags})", job.source)
        }
    };
    line("items", &total);
    let flaky = if tally.flaky > 0 { format!(" ({} flaky)", tally.flaky) } else { String::new() };
    line("values", &format!("{}{flaky}", tally.values));
    for (outcome, items) in &tally.without {
        line("without", &format!("{items} {}", failures::named(outcome).words));
    }
    if let Some(left) = left(job, tally) {
        line("to go", &left.to_string());
    }
    if let Some(pace) = pace.as_ref().filter(|pace| pace.is_running || pace.items > 0) {
        let whole = format!("{}/s in the last session", short(rate(pace.items, pace.time)));
        let lately = |rate| {
            format!(
                "{}/s in the last minute, {}/s since it began",
                short(rate),
                short(self::rate(pace.items, pace.time))
            )
        };
        line("rate", &pace.lately().map_or(whole, lately));
    }
    for session in sessions {
        line("session", &described(session, holder.as_deref(), stays));
    }
    for agent in agents {
        line("agent", &agent.described());
    }
    text
}

fn described(session: &Session, holder: Option<&str>, stays: &[AgentStay]) -> String {
    let Session { id, started_at, workers, .. } = session;
    // Those that it had to the end, or has.
    let here = || stays.iter().filter(|stay| stay.session == *id && stay.leaving.is_none());
    let who = match *workers {
        0 if here().count() > 0 => {
            let all = here().map(|stay| u64::from(stay.workers)).sum();
            format!("{} with {}, master", counted(here().count() as u64, "agent"), counted(all, "worker"))
        }
        0 => "no agents, master".to_owned(),
        workers => counted(u64::from(workers), "worker"),
    };
    let start = format!("{id}: {}, {who} on {}", moment(*started_at), session.host);
    match (&session.ended_at, &session.ending) {
        (Some(end), Some(ending)) => {
            format!("{start}, {ending} after {}", units::show(span(*started_at, *end)))
        }
        _ if is_running(session, holder) => {
            let so_far = units::show(span(*started_at, SystemTime::now()));
            format!("{start}, running for {so_far} as process {}", session.pid)
        }
        _ => format!("{start}, cut off"),
    }
}

fn is_running(session: &Session, holder: Option<&str>) -> bool {
    holder.is_some_and(|holder| holder.starts_with(&format!("process {} ", session.pid)))
}

fn span(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

fn as_json(Facts { job, sessions, tally, holder, pace, agents, .. }: &Facts) -> String {
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    };
    let session = |session: &Session| {
        let without_end = if is_running(session, holder.as_deref()) { "running" } else { "cut_off" };
        json!({
            "id": session.id,
            "pid": session.pid,
            "host": session.host,
            "workers": session.workers,
            "started_at": seconds(session.started_at),
            "ended_at": session.ended_at.map(seconds),
            "ending": session.ending.as_deref().unwrap_or(without_end),
        })
    };
    let agent = |agent: &Agent| {
        let AgentStay { name, first_slot, workers, joined_at, left_at, leaving, chunks, .. } = &agent.stay;
        json!({
            "name": name,
            "first_worker": first_slot,
            "workers": workers,
            "joined_at": seconds(*joined_at),
            "left_at": left_at.map(seconds),
            "leaving": leaving,
            "chunks": chunks,
            "items": agent.items,
            "rate": agent.rate(),
        })
    };
    let without: serde_json::Map<_, _> =
        tally.without.iter().map(|(outcome, items)| (outcome.clone(), json!(items))).collect();
    let status = json!({
        "name": job.name,
        "task": job.task,
        "signature": job.signature,
        "items": job.selected(),
        "items_of_job": job.items,
        "selection": job.selection.flags(),
        "values": tally.values,
        "flaky": tally.flaky,
        "without": without,
        "left": left(job, tally),
        "running": holder.is_some(),
        "rate": pace.as_ref().map(|pace| rate(pace.items, pace.time)),
        "rate_of_last_minute": pace.as_ref().and_then(Pace::lately),
        "sessions": sessions.iter().map(session).collect::<Vec<_>>(),
        "agents": agents.iter().map(agent).collect::<Vec<_>>(),
    });
    format!("{status:#}\n")
}
