//! Whether two runs of a job came to the same result.
//!
//! The rule: where the job has a `reduce`, the reduced numbers must be equal, floats up to rounding; the items themselves may
//! differ, as they do where they are made from `{workers}`. Otherwise, where the items were the same, every item must have the
//! same value. In any case no item may be without a value in one run only.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use procession::Payload;

use crate::job::Job;
use crate::reduce::{Number, Reducer};

/// Numbers may differ by this part of the larger one: parts of a whole are rounded differently when it is cut differently.
const TOLERANCE: f64 = 1e-9;

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) failures: u64,
    items: u64,
    /// Of all items, and of all values with their indices.
    items_hash: u64,
    values_hash: u64,
    /// Where the job has a `reduce`.
    reduced: Option<Option<Number>>,
}

impl Outcome {
    /// Whether their values can be compared.
    pub(super) fn is_comparable_to(&self, other: &Outcome) -> bool {
        self.reduced.is_some() || (self.items, self.items_hash) == (other.items, other.items_hash)
    }
}

/// What is different about the second; `None` if nothing is, as far as they can be compared.
pub(super) fn differs(first: &Outcome, second: &Outcome) -> Option<String> {
    if first.failures != second.failures {
        return Some(format!("{} items without a value instead of {}", second.failures, first.failures));
    }
    if let (Some(one), Some(other)) = (first.reduced, second.reduced) {
        let show = |number: Option<Number>| number.map_or("nothing".to_owned(), |number| number.to_string());
        return (!is_close(one, other)).then(|| format!("{} instead of {}", show(other), show(one)));
    }
    let is_same = !second.is_comparable_to(first) || first.values_hash == second.values_hash;
    (!is_same).then(|| "other values for the same items".to_owned())
}

fn is_close(one: Option<Number>, other: Option<Number>) -> bool {
    match (one, other) {
        (Some(Number::Integer(one)), Some(Number::Integer(other))) => one == other,
        (Some(one), Some(other)) => {
            let (one, other) = (one.as_float(), other.as_float());
            // Also where both are infinite, or no number at all.
            one.to_bits() == other.to_bits() || (one - other).abs() <= TOLERANCE * one.abs().max(other.abs())
        }
        (None, None) => true,
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// An outcome in the making.
pub(super) struct Digest {
    outcome: Outcome,
    reducer: Option<Reducer>,
}

impl Digest {
    pub(super) fn new(job: &Job) -> Digest {
        let outcome = Outcome { failures: 0, items: 0, items_hash: 0, values_hash: 0, reduced: None };
        Digest { outcome, reducer: job.reduce.map(|reduction| Reducer::new(reduction, job.task)) }
    }

    pub(super) fn item(&mut self, item: &Payload) {
        let hash = hash(self.outcome.items, item);
        self.outcome.items_hash = self.outcome.items_hash.wrapping_add(hash);
        self.outcome.items += 1;
    }

    /// Values may come in any order.
    pub(super) fn value(&mut self, index: u64, value: &Payload) {
        self.outcome.values_hash = self.outcome.values_hash.wrapping_add(hash(index, value));
        if let Some(reducer) = &mut self.reducer
            && reducer.add(value).is_err()
        {
            self.outcome.failures += 1;
        }
    }

    /// An item has no value; how many have none by now.
    pub(super) fn failure(&mut self) -> u64 {
        self.outcome.failures += 1;
        self.outcome.failures
    }

    pub(super) fn finish(mut self) -> Outcome {
        self.outcome.reduced = self.reducer.map(|reducer| reducer.result());
        self.outcome
    }
}

fn hash(index: u64, payload: &Payload) -> u64 {
    let mut hasher = DefaultHasher::new();
    (index, payload.as_bytes()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(items_hash: u64, values_hash: u64, reduced: Option<f64>) -> Outcome {
        let reduced = reduced.map(|float| Some(Number::Float(float)));
        Outcome { failures: 0, items: 4, items_hash, values_hash, reduced }
    }

    #[test]
    fn other_items_with_the_same_sum_are_the_same() {
        let pi = std::f64::consts::PI;
        let first = outcome(1, 1, Some(pi));
        assert_eq!(differs(&first, &outcome(2, 2, Some(pi + 1e-15))), None);
        assert_eq!(
            differs(&first, &outcome(2, 2, Some(3.0))).as_deref(),
            Some("3.0 instead of 3.141592653589793")
        );
        let nan = outcome(1, 1, Some(f64::NAN));
        assert_eq!(differs(&nan, &nan), None);
        assert!(differs(&nan, &first).is_some());
    }

    #[test]
    fn the_same_items_need_the_same_values() {
        assert_eq!(differs(&outcome(1, 1, None), &outcome(1, 1, None)), None);
        assert!(differs(&outcome(1, 1, None), &outcome(1, 2, None)).is_some());
        assert_eq!(differs(&outcome(1, 1, None), &outcome(2, 2, None)), None, "nothing to compare");
    }

    #[test]
    fn a_loss_in_one_run_is_a_difference() {
        let lost = Outcome { failures: 1, ..outcome(1, 1, Some(1.0)) };
        assert!(differs(&outcome(1, 1, Some(1.0)), &lost).is_some());
    }
}
