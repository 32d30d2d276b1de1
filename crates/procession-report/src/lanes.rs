//! What happened on each worker's seat: how busy it was, which processes sat there, or which agent was there, how they ended.

use std::collections::BTreeSet;

use procession_store::{AgentStay, Brief, Leaving, Session, WorkerLife};

use crate::axis::{Axis, Bins};
use crate::kind::Kind;
use crate::names::{Group, Names};

/// As many workers have a place in it although they had nothing to do.
const SLOTS_MAX: usize = 1 << 16;
/// As many items are drawn one by one.
const BARS_MAX: u64 = 1_500;
/// As many processes are drawn one by one.
const LIVES_MAX: usize = 2_000;

/// All lanes, from the first worker to the last.
pub(crate) struct Lanes {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) bins: Bins,
    /// Each item, where they are few.
    pub(crate) bars: Vec<Bar>,
    /// Whether they are.
    pub(crate) has_bars: bool,
    /// Workers are agents'.
    pub(crate) has_agents: bool,
    /// Processes, or stays of agents, and how they ended; without their lives where they are many.
    pub(crate) lives: Vec<Life>,
    pub(crate) has_lives: bool,
    /// Items with neither a start nor a worker on record.
    pub(crate) unplaced: u64,
}

/// One worker's seat, or several.
pub(crate) struct Lane {
    pub(crate) group: Group,
    pub(crate) processes: u64,
    pub(crate) deaths: u64,
    pub(crate) items: u64,
    pub(crate) without: u64,
    pub(crate) busy_s: f64,
    /// Seconds of work in each bin.
    pub(crate) busy: Vec<f32>,
    /// The worst that became of an item in each bin.
    pub(crate) worst: Vec<Option<Kind>>,
    /// The most memory that a worker of it had until then, in bytes; 0 where nobody knows.
    pub(crate) peak_rss: Vec<u64>,
}

/// One item.
pub(crate) struct Bar {
    pub(crate) lane: usize,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) index: u64,
    pub(crate) outcome: String,
    pub(crate) attempts: u32,
    pub(crate) wall_s: f64,
    /// Since its session began.
    pub(crate) after_s: f64,
}

/// One process, or one stay of an agent.
pub(crate) struct Life {
    pub(crate) lane: usize,
    pub(crate) bin: usize,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) who: String,
    /// How it died, if it did not just end.
    pub(crate) death: Option<String>,
}

impl Lanes {
    /// `items` is how many there are, `slots` which workers they name.
    pub(crate) fn new(
        axis: &Axis,
        items: u64,
        mut slots: BTreeSet<u32>,
        sessions: &[Session],
        (workers, stays): (&[WorkerLife], &[AgentStay]),
    ) -> Lanes {
        slots.extend(workers.iter().map(|life| life.slot));
        // Workers that had nothing to do are part of the picture.
        let planned = sessions.iter().map(|session| session.workers).max().unwrap_or(0);
        let ranges = stays.iter().map(|stay| stay.first_slot..stay.first_slot.saturating_add(stay.workers));
        for range in ranges.chain(std::iter::once(0..planned)) {
            if slots.len() + range.len() <= SLOTS_MAX {
                slots.extend(range);
            }
        }
        let groups = Names::of(stays).groups(&slots);
        let are_single = groups.len() == slots.len();
        let bins = Bins::new(axis, if groups.len() > 64 { 300 } else { 450 });
        let lanes = groups.into_iter().map(|group| Lane {
            group,
            processes: 0,
            deaths: 0,
            items: 0,
            without: 0,
            busy_s: 0.0,
            busy: vec![0.0; bins.len()],
            worst: vec![None; bins.len()],
            peak_rss: vec![0; bins.len()],
        });
        let lanes = lanes.collect();
        let has_bars = items <= BARS_MAX && are_single;
        let lives = stays.iter().map(|stay| stay.workers as usize).sum::<usize>() + workers.len();
        let has_lives = lives <= LIVES_MAX && are_single;
        let (has_agents, bars, lives) = (!stays.is_empty(), Vec::new(), Vec::new());
        let mut lanes = Lanes { lanes, bins, bars, has_bars, has_agents, lives, has_lives, unplaced: 0 };
        workers.iter().for_each(|life| lanes.live(axis, life));
        stays.iter().for_each(|stay| lanes.stay(axis, stay));
        lanes
    }

    fn lane(&self, slot: u32) -> Option<usize> {
        let lane = self.lanes.partition_point(|lane| lane.group.first <= slot).checked_sub(1)?;
        (slot <= self.lanes[lane].group.last).then_some(lane)
    }

    /// An agent was there: each of its workers' lanes shows it.
    fn stay(&mut self, axis: &Axis, stay: &AgentStay) {
        let mut lanes: Vec<usize> = (stay.first_slot..stay.first_slot.saturating_add(stay.workers))
            .filter_map(|slot| self.lane(slot))
            .collect();
        lanes.dedup();
        let death = match stay.leaving.as_deref() {
            Some(leaving) if leaving == Leaving::Silent.name() => Some("not heard of any more"),
            Some(leaving) if leaving == Leaving::Broken.name() => Some("its pool could run nothing"),
            _ => None,
        };
        let left_at = stay.left_at.map_or(f64::INFINITY, crate::survey::seconds);
        for lane in lanes {
            let span = (crate::survey::seconds(stay.joined_at), left_at);
            let death = death.map(str::to_owned);
            self.show(axis, (lane, stay.session), span, (format!("agent {}", stay.name), death));
        }
    }

    fn live(&mut self, axis: &Axis, life: &WorkerLife) {
        let Some(lane) = self.lane(life.slot) else { return };
        self.lanes[lane].processes += 1;
        let death = death(life);
        self.lanes[lane].deaths += u64::from(death.is_some());
        let start = crate::survey::seconds(life.started_at);
        let end = life.ended_at.map_or(f64::INFINITY, crate::survey::seconds);
        self.show(axis, (lane, life.session), (start, end), (format!("process {}", life.pid), death));
    }

    fn show(
        &mut self,
        axis: &Axis,
        (lane, session): (usize, i64),
        (start, end): (f64, f64),
        (who, death): (String, Option<String>),
    ) {
        let ends = (axis.at(session, start), axis.at(session, end), self.bins.at(axis, session, end));
        let (Some(left), Some(right), Some(bin)) = ends else { return };
        if self.has_lives || death.is_some() {
            self.lives.push(Life { lane, bin, left, right: right.max(left), who, death });
        }
    }

    /// Takes an item in.
    pub(crate) fn add(&mut self, axis: &Axis, item: &Brief<'_>) {
        let kind = Kind::of(item.outcome);
        let Some(lane) = item.slot.and_then(|slot| self.lane(slot)) else {
            self.unplaced += 1;
            return;
        };
        let wall_s = item.wall_s.unwrap_or(0.0);
        {
            let lane = &mut self.lanes[lane];
            lane.items += 1;
            lane.without += u64::from(kind != Kind::Value);
            lane.busy_s += wall_s;
        }
        let Some(start) = item.started_at else {
            self.unplaced += 1;
            return;
        };
        let Lane { busy, worst, peak_rss, .. } = &mut self.lanes[lane];
        let (mut last, peak) = (None, item.peak_rss.unwrap_or(0));
        self.bins.spread(axis, item.session, start, wall_s, |bin, seconds| {
            busy[bin] += seconds as f32;
            last = Some(bin);
        });
        if let Some(bin) = last {
            peak_rss[bin] = peak_rss[bin].max(peak);
            if kind != Kind::Value {
                worst[bin] = worst[bin].max(Some(kind));
            }
        }
        let ends = (axis.at(item.session, start), axis.at(item.session, start + wall_s));
        if let (true, (Some(left), Some(right))) = (self.has_bars, ends) {
            let began = axis.pieces().iter().find(|piece| piece.span.session == item.session);
            let after_s = began.map_or(0.0, |piece| start - piece.span.start);
            let (index, outcome, attempts) = (item.index, item.outcome.to_owned(), item.attempts);
            self.bars.push(Bar { lane, left, right, index, outcome, attempts, wall_s, after_s });
        }
    }
}

/// How a process died, in words; None if it ended as it should, or if nobody saw it.
pub(crate) fn death(life: &WorkerLife) -> Option<String> {
    match (life.signal, life.exit) {
        (Some(signal), _) => Some(format!("killed by {}", signal_name(signal))),
        (None, Some(status)) if status != 0 => Some(format!("exit status {status}")),
        _ => None,
    }
}

/// `SIGSEGV`; a signal without a name by its number.
pub(crate) fn signal_name(signal: i32) -> String {
    const NAMES: [(i32, &str); 12] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (15, "SIGTERM"),
    ];
    let name = NAMES.iter().find(|(number, _)| *number == signal);
    name.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}
