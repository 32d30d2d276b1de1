//! The judge: from what was seen of an episode alone it says which invariants do not hold. It injects nothing, and
//! believes the pool only where the ledger or the faults bear it out.
//!
//! | | must hold |
//! |---|---|
//! | I1 | a call has exactly one outcome for each item it took |
//! | I2 | a value is its own item's, and an item that was to fail has none |
//! | I3 | an item is started as often as its call allows at most, each attempt once; never if its outcome says so |
//! | I4 | an item fails, or is started again, only if a fault has hit it |
//! | I5 | the error names that fault, and that item |
//! | | no limit ends an item before its time, none is kept waiting long after it |
//!
//! A fault has hit an item if it was the last to start in its process, and that process died of the item's own deed or
//! of a signal from outside.

mod lives;
#[cfg(test)]
mod tests;
mod times;

use std::collections::HashMap;
use std::fmt;

use procession::ErrorKind;

use crate::evidence::{Evidence, Failure, Outcome, Said, Seen, Told};
use crate::ledger::Start;
use crate::plan::{Call, Stop, Verb};
use crate::tag::{Deed, Tag};
use lives::Lives;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
}

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// I1: an item has no outcome.
    Lost,
    /// I1, I3: an item has two outcomes, or was started too often.
    Duplicated,
    /// I2: a value is not its item's.
    Value,
    /// I4, I5: an innocent item failed, or the error names the wrong fault.
    Blame,
    /// A limit came too early or too late.
    Time,
    /// I6 to I10, I13: something is left behind, or the pool is of no use any more.
    Remains,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.invariant {
            Invariant::Lost => "lost",
            Invariant::Duplicated => "duplicated",
            Invariant::Value => "wrong value",
            Invariant::Blame => "blamed wrongly",
            Invariant::Time => "at the wrong time",
            Invariant::Remains => "left behind",
        };
        write!(f, "{name}: {}", self.what)
    }
}

/// Judges an episode.
pub(crate) fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut court = Court {
        evidence,
        lives: Lives::new(evidence),
        starts: HashMap::new(),
        unnoted: 0,
        violations: Vec::new(),
    };
    for start in &evidence.starts {
        court.starts.entry(start.tag).or_default().push(*start);
    }
    court.check_starts();
    for seen in &evidence.calls {
        court.check_call(seen);
    }
    court.check_unnoted();
    court.check_ends();
    court.violations
}

/// How an error says which limit has passed: the item's, only if it ran for as long, or its call's.
const LIMIT_WORDS: &str = "per item";
const DEADLINE_WORDS: &str = "the call's deadline";
const ENDED_WORDS: &str = "told to stop, its worker ended with";

struct Court<'e> {
    evidence: &'e Evidence,
    lives: Lives,
    starts: HashMap<Tag, Vec<Start>>,
    /// Attempts that are said to have been lost and that the ledger does not know: their workers were killed before they
    /// could write them down.
    unnoted: u32,
    violations: Vec<Violation>,
}

impl Court<'_> {
    fn complain(&mut self, invariant: Invariant, what: impl fmt::Display) {
        self.violations.push(Violation { invariant, what: what.to_string() });
    }

    /// What can be said of starts whatever the outcomes are.
    fn check_starts(&mut self) {
        let calls: HashMap<u16, &Seen> =
            self.evidence.calls.iter().map(|seen| (seen.call.id, seen)).collect();
        for (tag, starts) in std::mem::take(&mut self.starts) {
            match calls.get(&tag.call()) {
                Some(seen) if tag.index() < seen.taken => self.check_attempts(&seen.call, tag, &starts),
                _ => self.complain(Invariant::Duplicated, format!("{tag:?} was started and never taken")),
            }
            self.starts.insert(tag, starts);
        }
    }

    fn check_attempts(&mut self, call: &Call, tag: Tag, starts: &[Start]) {
        let mut attempts: Vec<u32> = starts.iter().map(|start| start.attempt).collect();
        attempts.sort_unstable();
        if attempts.windows(2).any(|pair| pair[0] == pair[1]) {
            self.complain(Invariant::Duplicated, format!("{tag:?} was started twice: attempts {attempts:?}"));
        }
        let most = call.attempts_max();
        if attempts.last().is_some_and(|&last| last > most) || attempts.first() == Some(&0) {
            self.complain(Invariant::Duplicated, format!("{tag:?} has {most} attempts, made {attempts:?}"));
        }
        // Whatever came of the last one, those before it were lost.
        for start in &starts[..starts.len() - 1] {
            self.check_loss(start);
        }
    }

    /// A start without a result: a fault must have hit it.
    fn check_loss(&mut self, start: &Start) {
        if let Err(why) = self.lives.explain(start) {
            self.complain(
                Invariant::Blame,
                format!(
                    "{:?}, attempt {}, was lost in process {}: {why}",
                    start.tag, start.attempt, start.pid
                ),
            );
        }
    }

    fn check_call(&mut self, seen: &Seen) {
        if let Err(why) = times::check_deadline(seen) {
            self.complain(Invariant::Time, format!("{why}: {:?}", seen.call));
        }
        let (called, expected) = seen.callbacks;
        if called < expected {
            self.complain(
                Invariant::Lost,
                format!("{} of {expected} callbacks were called: {:?}", called, seen.call),
            );
        } else if called > expected {
            self.complain(
                Invariant::Duplicated,
                format!("{called} callbacks were called instead of {expected}: {:?}", seen.call),
            );
        }
        match &seen.told {
            Told::Each(outcomes) => {
                self.check_count(seen, outcomes, true);
                outcomes.iter().for_each(|outcome| self.check_outcome(seen, outcome));
                if seen.cancelled == Some(true) {
                    self.complain(
                        Invariant::Blame,
                        format!("it was cancelled and has values: {:?}", seen.call),
                    );
                }
            }
            Told::Some(outcomes) => {
                self.check_count(seen, outcomes, false);
                outcomes.iter().for_each(|outcome| self.check_outcome(seen, outcome));
            }
            Told::Failure(failure) => self.check_failed_call(seen, failure),
        }
    }

    /// One outcome an item, no more and, of a call that was heard to its end, no less.
    fn check_count(&mut self, seen: &Seen, outcomes: &[Outcome], to_the_end: bool) {
        let Seen { call, taken, .. } = seen;
        let mut counts = vec![0_u32; *taken as usize];
        let mut rests = 0;
        for outcome in outcomes {
            match outcome.item(call).map(|index| counts.get_mut(index as usize)) {
                Some(Some(count)) => *count += 1,
                _ if outcome.said().is_some_and(|said| self.is_of_rest(seen, said)) => rests += 1,
                _ => self.complain(Invariant::Duplicated, format!("{outcome:?} is of no item of {call:?}")),
            }
        }
        if let Some(index) = counts.iter().position(|&count| count > 1) {
            self.complain(
                Invariant::Duplicated,
                format!("{:?} has {} outcomes: {call:?}", call.tag(index as u32), counts[index]),
            );
        }
        if rests > 1 {
            self.complain(
                Invariant::Duplicated,
                format!("the rest of its input has {rests} outcomes: {call:?}"),
            );
        }
        if !to_the_end {
            return;
        }
        let missing: Vec<usize> = (0..counts.len()).filter(|&index| counts[index] == 0).take(5).collect();
        if !missing.is_empty() {
            self.complain(Invariant::Lost, format!("items {missing:?} have no outcome: {call:?}"));
        }
        let ended_early = self.evidence.is_terminated
            || matches!(call.stop, Stop::Cancel(_))
            || call.limits.deadline.is_some();
        if *taken < call.items && !ended_early {
            self.complain(Invariant::Lost, format!("only {taken} items were taken: {call:?}"));
        }
    }

    /// Whether it speaks of the input that was not taken, since the pool or the call has ended: once for all of it.
    fn is_of_rest(&self, seen: &Seen, said: &Said) -> bool {
        let has_ended = match said.kind {
            ErrorKind::Closed | ErrorKind::Terminated => self.evidence.is_terminated,
            ErrorKind::TimedOut => seen.call.limits.deadline.is_some(),
            _ => false,
        };
        let is_beyond = said.item.is_none_or(|item| item == u64::from(seen.taken));
        has_ended && is_beyond && said.attempts == 0
    }

    fn check_outcome(&mut self, seen: &Seen, outcome: &Outcome) {
        let call = &seen.call;
        let Some(index) = outcome.item(call) else { return };
        let tag = call.tag(index);
        match &outcome.result {
            Ok(value) if *value != tag => {
                self.complain(Invariant::Value, format!("{tag:?} has the value of {value:?}: {call:?}"));
            }
            Ok(_) => self.check_value(call, tag),
            Err(failure) => {
                self.check_failure(seen, tag, failure, matches!(call.verb, Verb::Apply | Verb::ApplyAsync));
            }
        }
        let is_cancelled = outcome.said().is_some_and(|said| said.kind == ErrorKind::Cancelled);
        // Of a burst each handle answers for itself; a stream is cancelled as a whole.
        let unasked = (call.verb == Verb::ApplyAsync).then_some(false);
        if outcome.cancelled.or(unasked).is_some_and(|answer| answer != is_cancelled) {
            self.complain(
                Invariant::Blame,
                format!("`cancel` said {:?} of what became {:?}", outcome.cancelled, outcome.result),
            );
        }
    }

    fn check_value(&mut self, call: &Call, tag: Tag) {
        let starts = self.starts.get(&tag).cloned().unwrap_or_default();
        let Some(last) = starts.iter().map(|start| start.attempt).max() else {
            return self.complain(Invariant::Value, format!("{tag:?} has a value and was never started"));
        };
        self.unnoted += last - (starts.len() as u32).min(last);
        let must_fail = tag.death_at(last).is_some() || matches!(tag.deed(), Deed::Panic | Deed::Overrun);
        if must_fail {
            self.complain(Invariant::Value, format!("{tag:?} has a value at attempt {last}: {call:?}"));
        }
    }

    /// A call that has one outcome for all its items.
    fn check_failed_call(&mut self, seen: &Seen, failure: &Failure) {
        let call = &seen.call;
        let said = match failure {
            Failure::Error(said) => said,
            Failure::Wrong(_) | Failure::Missing => {
                return self.complain(Invariant::Lost, format!("the call has no outcome: {call:?}"));
            }
        };
        let is_cancelled = said.kind == ErrorKind::Cancelled && said.item.is_none();
        if seen.cancelled.unwrap_or(false) != is_cancelled {
            self.complain(
                Invariant::Blame,
                format!("`cancel` said {:?} of what became {}: {call:?}", seen.cancelled, said.text),
            );
        }
        if is_cancelled || self.is_of_rest(seen, said) {
            return;
        }
        let Some(index) =
            said.item.and_then(|item| u32::try_from(item).ok()).filter(|&index| index < seen.taken)
        else {
            return self.complain(Invariant::Blame, format!("{}: of no item of {call:?}", said.text));
        };
        self.check_failure(seen, call.tag(index), failure, false);
        let certain = |tag: &Tag| matches!(tag.deed(), Deed::Die(_) | Deed::Panic | Deed::Overrun);
        if let Some(first) = (0..index).map(|index| call.tag(index)).find(certain) {
            self.complain(Invariant::Blame, format!("{first:?} failed before: {}: {call:?}", said.text));
        }
    }

    /// An item without a value. `is_alone`: its call has no other item.
    fn check_failure(&mut self, seen: &Seen, tag: Tag, failure: &Failure, is_alone: bool) {
        let call = &seen.call;
        let said = match failure {
            Failure::Error(said) => said,
            Failure::Wrong(why) => {
                return self.complain(Invariant::Value, format!("{tag:?}: {why}: {call:?}"));
            }
            Failure::Missing => {
                return self.complain(Invariant::Lost, format!("{tag:?} has no outcome: {call:?}"));
            }
        };
        let named = if is_alone { 0 } else { u64::from(tag.index()) };
        if said.item.is_some_and(|item| item != named) {
            self.complain(Invariant::Blame, format!("{tag:?} is given the name of another: {}", said.text));
        }
        let starts = self.starts.get(&tag).cloned().unwrap_or_default();
        if let Some(start) = starts.iter().find(|start| start.attempt > said.attempts) {
            self.complain(
                Invariant::Duplicated,
                format!(
                    "{tag:?} was started as attempt {}, and its error says {}: {}",
                    start.attempt, said.attempts, said.text
                ),
            );
        }
        if let Err(why) = times::check_limit(call, said) {
            self.complain(Invariant::Time, format!("{tag:?}: {}: {why}: {call:?}", said.text));
        }
        if let Err(why) = self.explain(seen, tag, said, &starts) {
            self.complain(Invariant::Blame, format!("{tag:?}: {}: {why}: {starts:?}: {call:?}", said.text));
        }
    }

    /// Why the item failed in this way.
    fn explain(&mut self, seen: &Seen, tag: Tag, said: &Said, starts: &[Start]) -> Result<(), String> {
        let call = &seen.call;
        let most = call.attempts_max();
        let noted = starts.len() as u32;
        // Each attempt but the last was lost.
        let lost_before = said.attempts.saturating_sub(1);
        match said.kind {
            ErrorKind::WorkerLost | ErrorKind::Quarantined => {
                let kind = if most > 1 { ErrorKind::Quarantined } else { ErrorKind::WorkerLost };
                if said.kind != kind || said.attempts != most {
                    return Err(format!("{kind:?} after {most} attempts was to be expected"));
                }
                self.unnoted += said.attempts.saturating_sub(noted);
                let last = starts.iter().find(|start| start.attempt == said.attempts);
                let Some(last) = last else {
                    // Killed before it could note its start. Not by the item, which begins with the note.
                    return self.lives.is_by_signal(said.exit);
                };
                self.lives.explain(last)?;
                self.lives.agree(last.pid, said.exit)
            }
            ErrorKind::Panicked => {
                self.unnoted += said.attempts.saturating_sub(noted);
                if tag.deed() != Deed::Panic || said.panic_message != Some(tag.panic_message()) {
                    return Err("it does not panic like this".to_owned());
                }
                if starts.last().is_none_or(|start| start.attempt != said.attempts) {
                    return Err("that attempt was never started".to_owned());
                }
                Ok(())
            }
            ErrorKind::TimedOut => {
                // The last one may have been stopped before it could write down that it started.
                self.unnoted += lost_before.saturating_sub(noted);
                self.explain_timeout(call, tag, said, starts)
            }
            ErrorKind::Cancelled => {
                self.unnoted += lost_before.saturating_sub(noted);
                match call.stop {
                    Stop::Cancel(_) => Ok(()),
                    Stop::Never | Stop::Drop(_) => Err("nobody cancelled it".to_owned()),
                }
            }
            ErrorKind::Terminated | ErrorKind::Closed => {
                self.unnoted += lost_before.saturating_sub(noted);
                if self.evidence.is_terminated { Ok(()) } else { Err("nobody ended the pool".to_owned()) }
            }
            _ => Err("no fault has this effect".to_owned()),
        }
    }

    /// Why the item ran for too long: by its own limit, which it says it has reached, or by its call's deadline.
    fn explain_timeout(&self, call: &Call, tag: Tag, said: &Said, starts: &[Start]) -> Result<(), String> {
        let dies = tag.death_at(said.attempts).is_some();
        let start = starts.iter().find(|start| start.attempt == said.attempts);
        if let Some(start) = start {
            if said.exit.is_some() {
                self.lives.agree(start.pid, said.exit)?;
            }
            // It answers nothing, so its worker cannot have gone on.
            if dies || tag.deed() == Deed::Overrun {
                self.lives.ended_in(start)?;
            }
        }
        if call.limits.deadline.is_some() && said.text.contains(DEADLINE_WORDS) {
            return Ok(());
        }
        if call.limits.timeout.is_none() || said.attempts == 0 {
            return Err("it had no time limit".to_owned());
        }
        // Whoever is stopped, or dies, may take longer than it has. One that dies as its time ends may have run for less.
        let was_hit = said.pid.or(start.map(|start| start.pid)).is_some_and(|pid| self.lives.was_hit(pid));
        let died = was_hit && said.text.contains(ENDED_WORDS);
        if !(said.text.contains(LIMIT_WORDS) || died) {
            return Err("it says that it ran for less".to_owned());
        }
        if was_hit || dies || tag.deed() == Deed::Overrun {
            Ok(())
        } else {
            Err("it had time enough".to_owned())
        }
    }

    /// A worker that is killed between its claim of an item and the note loses one item that nobody saw start. There are
    /// as many such items as there are killed workers at most, less those that are known to have lost another.
    fn check_unnoted(&mut self) {
        let possible = self.lives.silent_deaths();
        if self.unnoted > possible {
            self.complain(
                Invariant::Blame,
                format!(
                    "{} attempts are said to have been lost that nobody saw start; faults explain {possible}",
                    self.unnoted
                ),
            );
        }
    }

    /// No worker dies of nothing.
    fn check_ends(&mut self) {
        for (pid, exit) in self.lives.unexplained_ends(self.evidence.is_frail) {
            self.complain(Invariant::Blame, format!("process {pid} ended with {exit:?} for no reason"));
        }
    }
}

impl Outcome {
    /// The item it is of, if that can be told.
    fn item(&self, call: &Call) -> Option<u32> {
        let own = match &self.result {
            Ok(tag) if tag.call() == call.id => Some(tag.index()),
            Ok(_) => None,
            Err(_) => self.said().and_then(|said| u32::try_from(said.item?).ok()),
        };
        self.index.or(own)
    }

    fn said(&self) -> Option<&Said> {
        match self.result.as_ref().err().map(|failure| &**failure) {
            Some(Failure::Error(said)) => Some(said),
            Some(Failure::Wrong(_) | Failure::Missing) | None => None,
        }
    }
}
