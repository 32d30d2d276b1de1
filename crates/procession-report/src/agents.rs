//! What each agent did, where items ran on several machines: when it was there, how many items it ran, how busy it was.

use std::collections::BTreeMap;

use procession_store::{AgentStay, Brief, OK};

use crate::axis::Span;
use crate::survey::seconds;
use crate::words;

/// Of all agents.
pub(crate) struct Agents {
    by_first_slot: BTreeMap<u32, Part>,
}

/// One agent's.
struct Part {
    name: String,
    workers: u32,
    stays: u64,
    /// For how long it was there, in seconds, as far as anybody knows.
    there_s: f64,
    /// How it left last.
    leaving: Option<String>,
    items: u64,
    without: u64,
    busy_s: f64,
}

impl Agents {
    /// `spans` are those of the sessions.
    pub(crate) fn new(stays: &[AgentStay], spans: &[Span]) -> Agents {
        let mut by_first_slot = BTreeMap::new();
        for stay in stays {
            let part = by_first_slot.entry(stay.first_slot).or_insert_with(|| Part {
                name: stay.name.clone(),
                workers: stay.workers,
                stays: 0,
                there_s: 0.0,
                leaving: None,
                items: 0,
                without: 0,
                busy_s: 0.0,
            });
            part.stays += 1;
            part.there_s += length(stay, spans);
            part.leaving.clone_from(&stay.leaving);
        }
        Agents { by_first_slot }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_first_slot.is_empty()
    }

    /// The time of all their workers, in seconds.
    pub(crate) fn seats_s(&self) -> f64 {
        self.by_first_slot.values().map(|part| part.there_s * f64::from(part.workers)).sum()
    }

    /// Takes an item in.
    pub(crate) fn add(&mut self, item: &Brief<'_>) {
        let Some(slot) = item.slot else { return };
        let Some((first, part)) = self.by_first_slot.range_mut(..=slot).next_back() else { return };
        if slot - first < part.workers {
            part.items += 1;
            part.without += u64::from(item.outcome != OK);
            part.busy_s += item.wall_s.unwrap_or(0.0);
        }
    }

    /// What is known of each, as a table: agent, workers, there for, left, items, without a value, busy.
    pub(crate) fn rows(&self) -> Vec<[String; 7]> {
        let row = |part: &Part| {
            let there = words::duration(part.there_s);
            let busy = part.busy_s / (part.there_s * f64::from(part.workers)).max(f64::MIN_POSITIVE);
            [
                part.name.clone(),
                words::grouped(u64::from(part.workers)),
                if part.stays > 1 { format!("{there} in {} stays", part.stays) } else { there },
                part.leaving.clone().unwrap_or_else(|| "–".to_owned()),
                words::grouped(part.items),
                words::grouped(part.without),
                words::percent(busy.min(1.0)),
            ]
        };
        self.by_first_slot.values().map(row).collect()
    }
}

/// For how long an agent was there, in seconds; to the end of its session, where it did not leave before.
fn length(stay: &AgentStay, spans: &[Span]) -> f64 {
    let end = spans.iter().find(|span| span.session == stay.session).map(|span| span.end);
    let end = stay.left_at.map(seconds).or(end).unwrap_or(0.0);
    (end - seconds(stay.joined_at)).max(0.0)
}

/// Workers that agents had at once, at most.
pub(crate) fn workers_at_most(stays: &[AgentStay], spans: &[Span]) -> u64 {
    let mut changes: Vec<(f64, i64)> = Vec::new();
    for stay in stays {
        let (joined, workers) = (seconds(stay.joined_at), i64::from(stay.workers));
        changes.extend([(joined, workers), (joined + length(stay, spans), -workers)]);
    }
    // Whoever leaves goes before whoever comes.
    changes.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let sums = changes.iter().scan(0_i64, |sum, (_, change)| {
        *sum += change;
        Some(*sum)
    });
    sums.max().unwrap_or(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn stay(name: &str, first_slot: u32, joined: u64, left: Option<u64>) -> AgentStay {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        AgentStay {
            session: 1,
            name: name.to_owned(),
            first_slot,
            workers: 2,
            joined_at: at(joined),
            left_at: left.map(at),
            leaving: left.map(|_| "silent".to_owned()),
            chunks: 0,
        }
    }

    #[test]
    fn an_agent_has_its_items_and_its_time() {
        let stays = [stay("a", 0, 0, Some(10)), stay("b", 2, 0, None), stay("a", 0, 20, None)];
        let mut agents = Agents::new(&stays, &[Span { session: 1, start: 0.0, end: 30.0 }]);
        let item = |index: u64, slot| Brief {
            index,
            outcome: if index == 1 { "panicked" } else { OK },
            attempts: 1,
            session: 1,
            slot: Some(slot),
            pid: None,
            started_at: None,
            wall_s: Some(8.0),
            cpu_s: None,
            peak_rss: None,
        };
        for (index, slot) in [(0, 0), (1, 1), (2, 3), (3, 4)] {
            agents.add(&item(index, slot));
        }
        let rows = agents.rows();
        assert_eq!(rows[0], ["a", "2", "20.0 s in 2 stays", "–", "2", "1", "40.0 %"].map(str::to_owned));
        assert_eq!(rows[1], ["b", "2", "30.0 s", "–", "1", "0", "13.3 %"].map(str::to_owned));
        assert!((agents.seats_s() - 100.0).abs() < 1e-9 && !agents.is_empty());
    }

    #[test]
    fn workers_are_counted_where_they_were_there_together() {
        let spans =
            [(1, 0.0, 30.0), (2, 40.0, 50.0)].map(|(session, start, end)| Span { session, start, end });
        let again = AgentStay { session: 2, ..stay("c", 4, 40, None) };
        let stays = [stay("a", 0, 0, Some(10)), stay("b", 2, 10, Some(30)), stay("c", 4, 20, None), again];
        assert_eq!((workers_at_most(&stays, &spans), workers_at_most(&[], &spans)), (4, 0));
    }
}
