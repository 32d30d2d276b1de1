//! Which workers share a lane, and what lanes are called: a worker by its number, an agent's by its agent.

use std::collections::BTreeSet;

use procession_store::{AgentStay, Seating};

/// More workers than this share lanes: a lane must be seen.
pub(crate) const LANES_MAX: usize = 128;
/// A label has room for so many letters of an agent's name.
const LABEL_NAME_MAX: usize = 10;

/// The workers of a lane, one or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// How many they are.
    pub(crate) slots: usize,
    pub(crate) name: String,
    /// The same where there is little room.
    pub(crate) label: String,
}

/// What the workers of a run are called.
pub(crate) struct Names(Seating);

impl Names {
    pub(crate) fn of(stays: &[AgentStay]) -> Names {
        Names(Seating::of(stays))
    }

    /// What a worker is called.
    pub(crate) fn worker(&self, slot: u32) -> String {
        match self.0.of_slot(slot) {
            Some((agent, worker)) => format!("{agent}, worker {worker}"),
            None => format!("worker {slot}"),
        }
    }

    fn label(&self, slot: u32) -> String {
        match self.0.of_slot(slot) {
            Some((agent, worker)) => format!("{} · {worker}", short(agent)),
            None => format!("worker {slot}"),
        }
    }

    /// One lane for each worker; if they are too many, for each agent; if these are, for as many workers as it takes.
    pub(crate) fn groups(&self, slots: &BTreeSet<u32>) -> Vec<Group> {
        let slots: Vec<u32> = slots.iter().copied().collect();
        if slots.len() > LANES_MAX && (1..=LANES_MAX).contains(&self.0.agents()) {
            let agent = |slot: u32| self.0.of_slot(slot).map_or("", |(agent, _)| agent);
            return slots
                .chunk_by(|one, other| agent(*one) == agent(*other))
                .map(|slots| self.group(slots))
                .collect();
        }
        let a_lane = slots.len().div_ceil(LANES_MAX).max(1);
        slots.chunks(a_lane).map(|slots| self.group(slots)).collect()
    }

    fn group(&self, slots: &[u32]) -> Group {
        let (first, last) = (slots[0], slots[slots.len() - 1]);
        let (name, label) = match (self.0.of_slot(first), self.0.of_slot(last)) {
            _ if first == last => (self.worker(first), self.label(first)),
            (Some((one, _)), Some((other, _))) if one == other => (one.to_owned(), short(one)),
            _ => (format!("{first}–{last}"), format!("{first}–{last}")),
        };
        Group { first, last, slots: slots.len(), name, label }
    }
}

/// An agent's name without its last digits and, where that is too long, with the middle left out: the process tells agents of one
/// machine apart.
fn short(agent: &str) -> String {
    let (name, _) = agent.rsplit_once('-').unwrap_or((agent, ""));
    if name.chars().count() <= LABEL_NAME_MAX {
        return name.to_owned();
    }
    let (host, process) = name.rsplit_once('-').unwrap_or((name, ""));
    let room = LABEL_NAME_MAX.saturating_sub(process.chars().count() + 1);
    let host: String = host.chars().take(room).collect();
    let process: String = process.chars().take(LABEL_NAME_MAX - 1).collect();
    format!("{host}…{process}")
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn agents(count: u32, workers: u32) -> Names {
        let stay = |agent: u32| AgentStay {
            session: 1,
            name: format!("node{agent}-17-ab12"),
            first_slot: agent * workers,
            workers,
            joined_at: UNIX_EPOCH,
            left_at: None,
            leaving: None,
            chunks: 0,
        };
        Names::of(&(0..count).map(stay).collect::<Vec<_>>())
    }

    fn names(agents: &Names, slots: u32) -> Vec<(String, String)> {
        agents.groups(&(0..slots).collect()).into_iter().map(|group| (group.name, group.label)).collect()
    }

    #[test]
    fn lanes_are_called_by_their_workers() {
        let own = names(&Names::of(&[]), 2);
        assert_eq!(
            own,
            [("worker 0".to_owned(), "worker 0".to_owned()), ("worker 1".to_owned(), "worker 1".to_owned())]
        );
        let of_agents = names(&agents(2, 2), 4);
        assert_eq!(of_agents[3], ("node1-17-ab12, worker 1".to_owned(), "node1-17 · 1".to_owned()));
    }

    #[test]
    fn workers_share_lanes_where_they_are_many() {
        let by_agent = names(&agents(3, 64), 192);
        assert_eq!(by_agent.len(), 3);
        assert_eq!(by_agent[2], ("node2-17-ab12".to_owned(), "node2-17".to_owned()));
        for (agents, slots) in [(agents(1000, 64), 64_000), (Names::of(&[]), 1_000)] {
            let groups = agents.groups(&(0..slots).collect());
            assert!(
                groups.len() <= LANES_MAX
                    && groups.iter().map(|group| group.slots).sum::<usize>() == slots as usize
            );
            assert_eq!(groups[0].name, format!("0–{}", groups[0].last));
        }
    }

    #[test]
    fn long_names_keep_their_process() {
        assert_eq!(short("compute-node-0017-4711-ab12"), "compu…4711");
        assert_eq!(short("vm-4711-ab12"), "vm-4711");
        assert_eq!(short("whatever"), "whatever");
        assert_eq!(short("averyveryverylongname"), "averyvery…");
    }
}
