//! The scheduler's verdicts in words: what became of an item without a reply, and why the pool is broken.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use procession_core::{BrokenReason, JobId, Outcome, Run};

use super::{Effects, State};
use crate::arrival::Arrival;
use crate::driver::jobs::JobEntry;
use crate::error::{Error, ErrorKind, Loss};

/// A worker that is gone, and what its end tells of the items it had begun. Other items that end in the same breath,
/// because a deadline passed meanwhile, have nothing to do with it.
pub(super) struct Departed {
    loss: Loss,
    begun: Vec<(JobId, Range<u64>)>,
}

impl Departed {
    /// The first `begun` items of what it had.
    pub(super) fn new(loss: Loss, runs: impl IntoIterator<Item = Run>, begun: u64) -> Departed {
        Departed { loss, begun: front(runs, begun).collect() }
    }

    pub(super) fn loss_of(&self, job: JobId, item: u64) -> Option<&Loss> {
        self.begun.iter().any(|(id, items)| *id == job && items.contains(&item)).then_some(&self.loss)
    }
}

/// The first `items` of those runs.
pub(super) fn front(
    runs: impl IntoIterator<Item = Run>,
    mut items: u64,
) -> impl Iterator<Item = (JobId, Range<u64>)> {
    runs.into_iter().map_while(move |run| {
        let here = items.min(u64::from(run.items));
        items -= here;
        (here > 0).then(|| (run.job, run.first..run.first + here))
    })
}

impl State {
    pub(super) fn broken_error(&self, reason: BrokenReason) -> Error {
        let last = self.broken.as_ref();
        match last {
            // A start that can never succeed says best itself what is wrong.
            Some(error) if reason == BrokenReason::StartRefused => error.duplicate(),
            Some(error) => Error::new(
                ErrorKind::Broken,
                format!("{}; the last one: {}", describe(reason), error.reason()),
            ),
            None => Error::new(ErrorKind::Broken, describe(reason)),
        }
    }

    /// Items that end without a reply.
    pub(super) fn settle(
        &mut self,
        id: JobId,
        mut first: u64,
        mut items: u64,
        outcome: Outcome,
        attempts: u32,
        effects: &mut Effects,
    ) {
        self.touched.push(id);
        while items > 0 {
            // Each lost item is told apart by its arguments.
            let items_alike = if is_loss(outcome, attempts) { 1 } else { items };
            let (piece, starts) = self.alike(id, first, items_alike, outcome);
            let Some(entry) = self.jobs.entry(id) else { return };
            let loss = self.departed.as_ref().and_then(|departed| departed.loss_of(id, first));
            let error = self.outcome_error(entry, first, loss, outcome, attempts + starts);
            let (input_first, piece) = entry.backlog.input_range(first, piece);
            let arrival = Arrival::Failed { first: input_first, items: piece, error };
            if is_loss(outcome, attempts) {
                effects.lost.push((effects.deliveries.len(), entry.backlog.slice(first, 1)));
            }
            effects.deliveries.push((Arc::clone(&entry.job), arrival));
            if let Some(entry) = self.jobs.entry_mut(id) {
                entry.settle(first, piece);
            }
            first += piece;
            items -= piece;
        }
    }

    /// How many items from `first` on have started equally often, and how often beyond what the scheduler knows: when
    /// the pool ends, it cannot tell which of the items that workers hold were begun.
    fn alike(&self, id: JobId, first: u64, items: u64, outcome: Outcome) -> (u64, u32) {
        if !matches!(outcome, Outcome::Terminated | Outcome::NotRun) {
            return (items, 0);
        }
        let started =
            self.started.iter().filter(|(job, run)| *job == id && run.end > first).map(|(_, run)| run);
        match started.min_by_key(|run| run.start) {
            Some(run) if run.start <= first => (items.min(run.end - first), 1),
            Some(run) => (items.min(run.start - first), 0),
            None => (items, 0),
        }
    }

    fn outcome_error(
        &self,
        entry: &JobEntry,
        item: u64,
        loss: Option<&Loss>,
        outcome: Outcome,
        attempts: u32,
    ) -> Error {
        let none = Loss::default();
        let loss = loss.unwrap_or(&none);
        let error = match outcome {
            Outcome::Lost => Error::new(loss.kind(), loss.describe()).with_loss(loss),
            Outcome::Quarantined => {
                let before = entry.losses.iter().filter(|(lost, _)| *lost == item).map(|(_, loss)| loss);
                let causes: Vec<String> = before
                    .chain([loss])
                    .enumerate()
                    .map(|(attempt, loss)| format!("({}) {}", attempt + 1, loss.describe()))
                    .collect();
                let reason = format!("every attempt lost its worker: {}", causes.join("; "));
                Error::new(ErrorKind::Quarantined, reason).with_loss(loss)
            }
            Outcome::TimedOut => {
                // An item that was never started, or waited to be run again as the call's time was over, has no loss.
                let ran_over = |limit: &Duration| match loss.ran {
                    Some(ran) => ran >= *limit,
                    None => loss.exit.is_some() || entry.deadline.is_none(),
                };
                let per_item = entry.timeout.filter(|limit| attempts > 0 && ran_over(limit));
                let limit = match (per_item, entry.deadline) {
                    (Some(limit), _) => format!("limit {limit:?} per item"),
                    (None, Some(deadline)) => format!("the call's deadline of {deadline:?} passed"),
                    (None, None) => "time limit passed".to_owned(),
                };
                let reason = match loss.exit {
                    Some(_) if loss.is_by_order() => format!("{limit}, stopped by {}", loss.describe()),
                    Some(_) => format!("{limit}; told to stop, its worker ended with {}", loss.describe()),
                    None => limit,
                };
                Error::new(ErrorKind::TimedOut, reason).with_loss(loss)
            }
            Outcome::Cancelled => Error::new(ErrorKind::Cancelled, ""),
            Outcome::NotRun => {
                let why = self.broken.as_ref().map_or("the pool is closed", Error::reason);
                let what = if attempts == 0 { "not run" } else { "stopped while it ran" };
                Error::new(
                    self.broken.as_ref().map_or(ErrorKind::Broken, Error::kind),
                    format!("{what}: {why}"),
                )
            }
            Outcome::Terminated => {
                let what = if attempts == 0 { "it had not been started" } else { "stopped while it ran" };
                Error::new(ErrorKind::Terminated, what)
            }
        };
        error.of_item(entry.job.task, item, attempts)
    }
}

/// Whether the items were running when their worker ended.
fn is_loss(outcome: Outcome, attempts: u32) -> bool {
    match outcome {
        Outcome::Lost | Outcome::Quarantined => true,
        Outcome::TimedOut => attempts > 0,
        Outcome::Cancelled | Outcome::NotRun | Outcome::Terminated => false,
    }
}

fn describe(reason: BrokenReason) -> &'static str {
    match reason {
        BrokenReason::CrashLoop => "too many workers ended before they were of any use",
        BrokenReason::StartRefused => "workers cannot be started",
        BrokenReason::NoWorkers => "no worker lives and none could be started for a minute",
        BrokenReason::EveryTaskKills => "every task kills its worker",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_worker_had_begun_is_explained_by_its_end() {
        let job = |index| JobId { index, generation: 1 };
        let run = |job, first, items| Run { job, first, items, attempt: 1 };
        let departed = Departed::new(Loss::default(), [run(job(0), 5, 2), run(job(1), 0, 4)], 3);
        let is_explained = |job, item| departed.loss_of(job, item).is_some();
        assert!(is_explained(job(0), 5) && is_explained(job(0), 6) && is_explained(job(1), 0));
        assert!(!is_explained(job(0), 4) && !is_explained(job(0), 7) && !is_explained(job(1), 1));
        assert!(!is_explained(job(2), 5), "another call's");
        let later = JobId { index: 0, generation: 2 };
        assert!(!is_explained(later, 5), "a later call's in the same place");
    }
}
