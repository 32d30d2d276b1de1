//! What a run does about an outcome: books it, lets its item run again, or halts.

use std::cell::RefCell;
use std::time::Instant;

use procession::{Error, Payload};

use super::Run;
use super::again::{Again, Cause, Failure};
use super::events::{How, Retried};
use super::figures::Figure;
use super::steering::Verdict;
use crate::engine::Call;
use crate::exit::Stop;
use crate::intake::Desk;
use crate::policy::When;
use crate::signals::Request;
use crate::spec::units;
use crate::terminal;

impl Run<'_> {
    /// Books what became of a payload, or lets its item run again.
    pub(super) fn settle<I: Iterator<Item = Option<Payload>>>(
        &mut self,
        call: &mut Call<I>,
        desk: &RefCell<Desk>,
        (payload, outcome): (u64, Result<Payload, Error>),
    ) -> Result<(), Stop> {
        let item = desk.borrow().item(payload);
        let args = desk.borrow_mut().settle(payload);
        self.figures.add(call.take_figures());
        let figure = self.figures.take(payload);
        if self.steering.judges {
            let verdict = self.steering.judge(self.job, args.as_ref(), &outcome);
            if let Some(limit) = self.steering.limit(&verdict, figure) {
                call.set_timeout(limit);
            }
            let may_begin = self.stage == Request::Run && self.books.why_cut_short().is_none();
            if verdict.is_passing()
                && may_begin
                && let Some(args) = &args
                && self.books.with_again(|again| again.allows(item))
            {
                return self.retry((payload, item), (args, figure), outcome, &verdict);
            }
            if verdict != Verdict::NotRun {
                self.books.with_again(|again| again.settle(item, verdict == Verdict::Value));
                self.books.count(match verdict {
                    Verdict::Failed { outcome, .. } => Some(outcome),
                    Verdict::Value | Verdict::Returned | Verdict::NotRun => None,
                });
            }
        }
        match (outcome, &args) {
            (Ok(value), Some(args)) if self.books.reorders() => self.books.keep(item, figure, args, &value),
            (Ok(value), _) => self.books.value(item, args.as_ref(), &value),
            (Err(error), _) => {
                self.lose(item, figure, args.as_ref(), (&error, &message(&error, payload, item)))
            }
        }
    }

    /// Lets an item run again that failed by itself, and says so.
    fn retry(
        &self,
        (payload, item): (u64, u64),
        (args, figure): (&Payload, Option<Figure>),
        outcome: Result<Payload, Error>,
        verdict: &Verdict,
    ) -> Result<(), Stop> {
        let (cause, what) = match outcome {
            Ok(value) => {
                let what = match verdict {
                    Verdict::Failed { what, .. } => what.as_str(),
                    Verdict::Value | Verdict::Returned | Verdict::NotRun => "returned an error",
                };
                (Cause::Value(value), format!("item {item}: {what}"))
            }
            Err(error) => {
                let message = message(&error, payload, item);
                (Cause::Error(error, message.clone()), message)
            }
        };
        self.books.shared_tally().lock().retried += 1;
        let failure = Failure { cause, args: args.clone(), figure };
        let chance = (Instant::now(), fastrand::f64());
        let (pause, retry) = self.books.with_again(|again| again.put(item, failure, chance));
        let (attempts, retries) =
            (self.books.with_again(|again| again.past(item).starts), self.job.pool.policies.retries());
        let told = format!("{what}; again in {}, retry {retry} of {retries}", units::show(pause));
        self.books.say(&terminal::printable(&told));
        let (outcome, after_s) = (verdict.id(), pause.as_secs_f64());
        let retried = Retried { index: item, outcome, attempts, error: &what, retry, after_s };
        self.books.on_record(|record| record.retried(&retried))
    }

    /// Nothing runs again any more: the last failure of each item that was to is its outcome.
    pub(super) fn end_retries(&self) -> Result<(), Stop> {
        let waiting = self.books.with_again(Again::take_waiting);
        waiting.into_iter().try_for_each(|item| self.book_failure(item).map(drop))
    }

    /// Books the failure that an item was to run again for; false: it has none.
    pub(super) fn book_failure(&self, item: u64) -> Result<bool, Stop> {
        let Some(Failure { cause, args, figure }) = self.books.take_failure(item) else { return Ok(false) };
        match cause {
            Cause::Error(error, message) => self.lose(item, figure, Some(&args), (&error, &message)),
            Cause::Value(value) => self.books.keep(item, figure, &args, &value),
        }?;
        Ok(true)
    }

    /// Why the run is to end before its items do, if it is and some are left.
    pub(super) fn reason_to_halt(&self) -> Option<String> {
        let halt = self.job.pool.policies.halt.filter(|_| self.stage == Request::Run)?;
        let counts = self.books.counts();
        let why = halt.reason(counts, self.total).filter(|_| self.books.why_cut_short().is_none())?;
        let done = counts.ended + self.books.tally().earlier;
        self.total.is_none_or(|total| done < total).then(|| format!("{why} (--halt {halt})"))
    }

    pub(super) fn halt<I: Iterator<Item = Option<Payload>>>(
        &self,
        call: &mut Call<I>,
        why: &str,
    ) -> Result<(), Stop> {
        let (how, what) = match self.job.pool.policies.halt.map(|halt| halt.when) {
            Some(When::Now) => {
                call.cancel();
                (How::Stop, "stopping what runs")
            }
            Some(When::Soon) | None => {
                call.drain();
                (How::Drain, "finishing what runs")
            }
        };
        self.books.halt(why);
        self.books.warn(&format!("{why}: {what}, beginning nothing new"));
        self.stopping(how, why)
    }
}

/// What an error says, of the item: the pool counts payloads.
fn message(error: &Error, payload: u64, item: u64) -> String {
    let message = error.to_string();
    if item == payload {
        return message;
    }
    message.replacen(&format!(", item {payload}"), &format!(", item {item}"), 1)
}
