//! Everything a report says, gathered in two passes over the rows: the first finds how far it reaches, the second
//! counts.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use procession_store::{Item, Job, OK, Order, Reader, Session, Tally};

use crate::agents::{Agents, workers_at_most};
use crate::axis::{Axis, Span};
use crate::causes::Causes;
use crate::error::Error;
use crate::kind::Kind;
use crate::lanes::{Lanes, death};
use crate::quantiles::Quantiles;
use crate::run_times::RunTimes;
use crate::throughput::Throughput;

/// Items in the table of the slowest.
const SLOWEST_MAX: u32 = 100;
/// A clock may differ so much from itself, in seconds, before it is worth a word.
const CLOCK_SLACK_S: f64 = 1.0;

/// What is known of a run.
pub(crate) struct Survey {
    pub(crate) job: Job,
    pub(crate) sessions: Vec<Session>,
    pub(crate) tally: Tally,
    pub(crate) facts: Facts,
    pub(crate) axis: Axis,
    pub(crate) lanes: Lanes,
    pub(crate) throughput: Throughput,
    pub(crate) run_times: RunTimes,
    pub(crate) causes: Causes,
    pub(crate) slowest: Vec<Item>,
    /// What agents did, where there were some.
    pub(crate) agents: Agents,
}

/// Numbers over all items.
#[derive(Default)]
pub(crate) struct Facts {
    /// Items that have an outcome.
    pub(crate) items: u64,
    /// Items of each kind, as in [`Kind::ALL`].
    pub(crate) kinds: [u64; 4],
    /// Items that a worker ran, with whatever outcome.
    pub(crate) ran: u64,
    /// Items with a value that needed more than one attempt.
    pub(crate) retried: u64,
    /// The time of all sessions, in seconds.
    pub(crate) wall_s: f64,
    /// That of all their workers.
    pub(crate) seats_s: f64,
    /// Of that, the time in which items ran.
    pub(crate) busy_s: f64,
    /// Processor time of the items, and the run time of those of which it is known.
    pub(crate) cpu_s: f64,
    pub(crate) cpu_of_s: f64,
    pub(crate) peak_rss: Option<u64>,
    /// Workers that there were at once, at most.
    pub(crate) workers: u64,
    pub(crate) processes: u64,
    pub(crate) deaths: u64,
    /// What the reader of the report should know about the data.
    pub(crate) notes: Vec<String>,
}

impl Facts {
    /// The share of the workers' time in which items ran; None where there was no time.
    pub(crate) fn efficiency(&self) -> Option<f64> {
        (self.seats_s > 0.0 && self.busy_s > 0.0).then(|| (self.busy_s / self.seats_s).min(1.0))
    }

    /// Items a second.
    pub(crate) fn rate(&self) -> Option<f64> {
        (self.wall_s > 0.0).then(|| self.ran as f64 / self.wall_s)
    }
}

impl Survey {
    pub(crate) fn take(reader: &Reader) -> Result<Survey, Error> {
        let job = reader.job()?;
        let sessions = reader.sessions()?;
        let workers = reader.workers()?;
        let mut spans = spans(&sessions);
        let mut facts = Facts::default();
        for life in &workers {
            facts.processes += 1;
            facts.deaths += u64::from(death(life).is_some());
            if let Some(span) = spans.iter_mut().find(|span| span.session == life.session) {
                span.include(seconds(life.started_at));
                life.ended_at.into_iter().for_each(|end| span.include(seconds(end)));
            }
        }
        let stays = reader.agents()?;
        for stay in &stays {
            if let Some(span) = spans.iter_mut().find(|span| span.session == stay.session) {
                span.include(seconds(stay.joined_at));
            }
        }
        let mut slots = BTreeSet::new();
        let mut quantiles = Quantiles::new();
        reader.briefs::<Error>(Order::Input, |item| {
            let kind = Kind::of(item.outcome);
            facts.items += 1;
            facts.kinds[kind as usize] += 1;
            facts.ran += u64::from(item.attempts > 0 && kind != Kind::Absent);
            facts.retried += u64::from(item.outcome == OK && item.attempts > 1);
            facts.peak_rss = facts.peak_rss.max(item.peak_rss);
            slots.extend(item.slot);
            if let Some(wall) = item.wall_s {
                facts.busy_s += wall;
                quantiles.add(wall);
                if let Some(cpu) = item.cpu_s {
                    facts.cpu_s += cpu;
                    facts.cpu_of_s += wall;
                }
            }
            if let Some(start) = item.started_at
                && let Ok(at) = spans.binary_search_by_key(&item.session, |span| span.session)
            {
                // What agents ran while no master was there began, and may have ended, before its session.
                let begun = if sessions[at].workers == 0 { seconds(sessions[at].started_at) } else { start };
                spans[at].include(start.max(begun));
                spans[at].include((start + item.wall_s.unwrap_or(0.0)).max(begun));
            }
            Ok(())
        })?;
        for (span, session) in spans.iter().zip(&sessions) {
            facts.wall_s += span.end - span.start;
            facts.seats_s += (span.end - span.start) * f64::from(session.workers);
        }
        let mut agents = Agents::new(&stays, &spans);
        facts.seats_s += agents.seats_s();
        let here = sessions.iter().map(|session| u64::from(session.workers)).max().unwrap_or(0);
        facts.workers = here.max(workers_at_most(&stays, &spans));
        facts.notes = notes(&sessions, &spans);
        let axis = Axis::new(&spans);
        let mut lanes = Lanes::new(&axis, facts.items, slots, &sessions, (&workers, &stays));
        let mut throughput = Throughput::new(&axis, facts.items);
        let mut run_times = RunTimes::new(quantiles);
        reader.briefs::<Error>(Order::Input, |item| {
            agents.add(&item);
            lanes.add(&axis, &item);
            throughput.add(&axis, &item);
            run_times.add(&item);
            Ok(())
        })?;
        Ok(Survey {
            tally: reader.tally()?,
            causes: Causes::find(reader)?,
            slowest: reader.slowest(SLOWEST_MAX)?,
            job,
            sessions,
            facts,
            axis,
            lanes,
            throughput,
            run_times,
            agents,
        })
    }

    /// Items of the run that have no outcome; None where nobody knows how many there are.
    pub(crate) fn outstanding(&self) -> Option<u64> {
        self.job.selected().map(|items| items.saturating_sub(self.facts.items))
    }
}

/// What the sessions say of themselves; items and workers may know more.
pub(crate) fn spans(sessions: &[Session]) -> Vec<Span> {
    let span = |session: &Session| {
        let start = seconds(session.started_at);
        let mut span = Span { session: session.id, start, end: start };
        session.ended_at.into_iter().for_each(|end| span.include(seconds(end)));
        span
    };
    sessions.iter().map(span).collect()
}

fn notes(sessions: &[Session], spans: &[Span]) -> Vec<String> {
    let mut notes = Vec::new();
    for (session, span) in sessions.iter().zip(spans) {
        if span.start < seconds(session.started_at) - CLOCK_SLACK_S {
            let back = crate::words::duration(seconds(session.started_at) - span.start);
            notes.push(format!(
                "The machine's clock went back by {back} or more in session {}: times there are as it gave them.",
                session.id
            ));
        }
    }
    let open: Vec<String> = sessions
        .iter()
        .filter(|session| session.ended_at.is_none())
        .map(|session| session.id.to_string())
        .collect();
    if let Some((last, others)) = open.split_last() {
        let whose = match others {
            [] => format!("Session {last} has"),
            _ => format!("Sessions {} and {last} have", others.join(", ")),
        };
        notes.push(format!(
            "{whose} no end on record: the master was killed, or goes on. \
             What is drawn ends with the last sign of life."
        ));
    }
    notes
}

/// Seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
