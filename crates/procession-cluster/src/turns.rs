//! Which of the jobs of a broker an agent takes part in next. It knows only their names.

use std::collections::HashMap;
use std::time::Duration;

/// An agent that has had nothing to do for so long looks for another job.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// The same, where it had nothing to do the last time either: nobody may ever go on with that job.
const IDLE_MAX_AGAIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(crate) struct Turns {
    taken: u64,
    jobs: HashMap<String, Turn>,
}

struct Turn {
    number: u64,
    was_idle: bool,
}

impl Turns {
    /// The job that the agent has not been to for the longest, of those that there are. Whatever is the matter with one of them, the
    /// others have their turn.
    pub(crate) fn next<'a>(&mut self, open: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
        self.jobs.retain(|job, _| open.clone().any(|open| open == job));
        let job = open.min_by_key(|job| self.jobs.get(*job).map(|turn| turn.number))?;
        self.taken += 1;
        let turn = self.jobs.entry(job.to_owned()).or_insert(Turn { number: 0, was_idle: false });
        turn.number = self.taken;
        Some(job)
    }

    /// How long the agent may have nothing to do there.
    pub(crate) fn patience(&self, job: &str) -> Duration {
        if self.jobs.get(job).is_some_and(|turn| turn.was_idle) { IDLE_MAX_AGAIN } else { IDLE_MAX }
    }

    /// The agent was there; `was_idle`: it had nothing to do.
    pub(crate) fn been(&mut self, job: &str, was_idle: bool) {
        if let Some(turn) = self.jobs.get_mut(job) {
            turn.was_idle = was_idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_has_its_turn() {
        let mut turns = Turns::default();
        assert_eq!(turns.next([].into_iter()), None);
        let all = ["dead", "deaf", "alive"];
        let order: Vec<_> = (0..6).filter_map(|_| turns.next(all.into_iter())).collect();
        assert_eq!(order, [all, all].concat());
        assert_eq!(turns.next(["deaf", "new", "alive"].into_iter()), Some("new"));
        assert_eq!(turns.next(["deaf", "new", "alive", "dead"].into_iter()), Some("dead"), "it was away");
    }

    #[test]
    fn a_job_with_nothing_to_do_is_left_sooner_the_next_time() {
        let mut turns = Turns::default();
        let mut visit = |was_idle| {
            let job = turns.next(["a"].into_iter()).expect("there is one");
            let patience = turns.patience(job);
            turns.been(job, was_idle);
            patience
        };
        let patience = [true, true, false, true].map(&mut visit);
        assert_eq!(patience, [IDLE_MAX, IDLE_MAX_AGAIN, IDLE_MAX_AGAIN, IDLE_MAX]);
    }
}
