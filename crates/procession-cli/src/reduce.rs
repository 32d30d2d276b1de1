//! Many values to one number: sum, min, max, mean or count.
//!
//! The sum of floats is exact before its single rounding, so it depends neither on the order of the items nor on how the
//! work was cut. The method is Shewchuk's ("Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric
//! Predicates", 1997, section 2.4), with the final rounding of Python's `math.fsum`.

mod number;

use std::fmt;

use erased_serde::Serializer as Erased;
use procession::{Payload, TaskInfo};

pub(crate) use self::number::Number;
use self::number::NumberSink;
use crate::exit::Stop;
use crate::output::Sink;
use crate::summary::counted;

/// What to make of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduction {
    Sum,
    Min,
    Max,
    Mean,
    Count,
}

impl Reduction {
    pub(crate) const NAMES: [(&'static str, Reduction); 5] = [
        ("sum", Reduction::Sum),
        ("min", Reduction::Min),
        ("max", Reduction::Max),
        ("mean", Reduction::Mean),
        ("count", Reduction::Count),
    ];

    pub(crate) fn wants_numbers(self) -> bool {
        self != Reduction::Count
    }

    pub(crate) fn name(self) -> &'static str {
        let named = Reduction::NAMES.iter().find(|(_, reduction)| *reduction == self);
        named.map_or("reduce", |(name, _)| name)
    }
}

/// Whether a result type, as the source writes it, certainly is no number. An alias gets the benefit of the doubt.
pub(crate) fn is_never_a_number(ty: &str) -> bool {
    let ty = ty.trim();
    matches!(ty, "String" | "bool" | "char" | "()")
        || ty.starts_with(['(', '['])
        || ["Vec<", "Option<", "Result<", "HashMap<", "BTreeMap<"].iter().any(|start| ty.starts_with(start))
}

/// A reduction under way.
#[derive(Debug)]
pub(crate) struct Reducer {
    reduction: Reduction,
    task: &'static TaskInfo,
    count: u64,
    /// Exact as long as all values are integers and it does not overflow.
    integers: Option<i128>,
    floats: ExactSum,
    extreme: Option<Number>,
}

impl Reducer {
    pub(crate) fn new(reduction: Reduction, task: &'static TaskInfo) -> Reducer {
        Reducer { reduction, task, count: 0, integers: Some(0), floats: ExactSum::default(), extreme: None }
    }

    /// Takes one value in. An error says why it is no number.
    pub(crate) fn add(&mut self, result: &Payload) -> Result<(), String> {
        if self.reduction.wants_numbers() {
            let mut sink = NumberSink::default();
            self.task
                .decode_result(result.as_bytes(), &mut <dyn Erased>::erase(&mut sink))
                .map_err(|error| format!("`{}` needs numbers: {error}", self.reduction.name()))?;
            let number = sink.take().ok_or("this value is no number")?;
            self.add_number(number);
        }
        self.count += 1;
        Ok(())
    }

    /// Prints the result, if there is one. `say` is told what so many items `without` a value mean for it.
    pub(crate) fn print(&self, without: u64, say: impl FnOnce(&str)) -> Result<(), Stop> {
        if without > 0 {
            let (values, items) = (counted(self.count, "value"), counted(without, "item"));
            say(&match self.count {
                0 => format!("there is no result: {items} had no value"),
                _ => format!("the result is over {values}: {items} had none"),
            });
        }
        // The sum of nothing is a number only where nothing was all there was.
        if without > 0 && self.count == 0 {
            return Ok(());
        }
        let mut stdout = Sink::stdout();
        stdout.write(format!("{self}\n").as_bytes())?;
        stdout.flush()
    }

    fn add_number(&mut self, number: Number) {
        match self.reduction {
            Reduction::Sum | Reduction::Mean => {
                self.integers = match (self.integers, number) {
                    (Some(sum), Number::Integer(integer)) => sum.checked_add(integer),
                    _ => None,
                };
                self.floats.add(number);
            }
            Reduction::Min => self.keep(number, Number::is_less),
            Reduction::Max => self.keep(number, |new, old| old.is_less(new)),
            Reduction::Count => {}
        }
    }

    fn keep(&mut self, number: Number, is_better: fn(Number, Number) -> bool) {
        // A value that is not a number makes the whole extreme none, as it makes a sum.
        let keeps = match self.extreme {
            None => true,
            Some(old) => !old.is_nan() && (number.is_nan() || is_better(number, old)),
        };
        if keeps {
            self.extreme = Some(number);
        }
    }

    /// The number; None where there was no value to choose from.
    pub(crate) fn result(&self) -> Option<Number> {
        match self.reduction {
            Reduction::Count => Some(Number::Integer(self.count.into())),
            Reduction::Sum => Some(self.sum()),
            Reduction::Mean if self.count == 0 => None,
            Reduction::Mean => Some(Number::Float(self.sum().as_float() / self.count as f64)),
            Reduction::Min | Reduction::Max => self.extreme,
        }
    }

    fn sum(&self) -> Number {
        self.integers.map_or_else(|| Number::Float(self.floats.sum()), Number::Integer)
    }
}

impl fmt::Display for Reducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result() {
            Some(number) => number.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// A sum of floats as a list of floats that do not overlap, smallest first: their exact sum is the sum so far.
#[derive(Debug, Default)]
struct ExactSum {
    partials: Vec<f64>,
    /// Infinities and what is not a number cannot be summed exactly; they decide the result.
    special: Option<f64>,
}

impl ExactSum {
    fn add(&mut self, number: Number) {
        match number {
            Number::Float(float) => self.add_float(float),
            Number::Integer(integer) => {
                // Up to three floats hold an i128 exactly.
                let mut rest = integer;
                while rest != 0 {
                    let part = rest as f64;
                    self.add_float(part);
                    match rest.checked_sub(part as i128) {
                        Some(less) if less != rest => rest = less,
                        _ => break,
                    }
                }
            }
        }
    }

    fn add_float(&mut self, mut x: f64) {
        if !x.is_finite() {
            self.special = Some(self.special.unwrap_or(0.0) + x);
            return;
        }
        let mut kept = 0;
        for i in 0..self.partials.len() {
            let mut y = self.partials[i];
            if x.abs() < y.abs() {
                std::mem::swap(&mut x, &mut y);
            }
            // Dekker's two-sum: `high + low` is `x + y` exactly.
            let high = x + y;
            let low = y - (high - x);
            if low != 0.0 {
                self.partials[kept] = low;
                kept += 1;
            }
            x = high;
        }
        self.partials.truncate(kept);
        if x.is_finite() {
            self.partials.push(x);
        } else {
            self.special = Some(self.special.unwrap_or(0.0) + x);
        }
    }

    fn sum(&self) -> f64 {
        if let Some(special) = self.special {
            return special;
        }
        let mut partials = self.partials.iter().rev().copied();
        let Some(mut high) = partials.next() else {
            return 0.0;
        };
        let mut low = 0.0;
        let mut rest = 0.0;
        for partial in partials.by_ref() {
            let x = high;
            high = x + partial;
            low = partial - (high - x);
            if low != 0.0 {
                rest = partials.next().unwrap_or(0.0);
                break;
            }
        }
        // A tie was rounded to even; what is left below it may say otherwise.
        if (low < 0.0 && rest < 0.0) || (low > 0.0 && rest > 0.0) {
            let twice = low * 2.0;
            let rounded = high + twice;
            if twice == rounded - high {
                high = rounded;
            }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add_float(*value));
        sum.sum()
    }

    #[test]
    fn float_sums_are_exact_in_any_order() {
        let values = [1e100, 1.0, -1e100, 1e-3, 1e16, 1.0, -1e16];
        let mut backwards = values;
        backwards.reverse();
        assert_eq!(sum(&values), 2.001);
        assert_eq!(sum(&values).to_bits(), sum(&backwards).to_bits());
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[]), 0.0);
        // The cases of CPython's test_math.testFsum that round at a tie.
        assert_eq!(sum(&[1e16, 1.0, 1e-16]), 10_000_000_000_000_002.0);
        assert_eq!(sum(&[1e16 - 2.0, 1.0 - 2f64.powi(-53), -(1e16 - 2.0), -(1.0 - 2f64.powi(-53))]), 0.0);
    }

    #[test]
    fn specials_decide() {
        assert!(sum(&[1.0, f64::NAN]).is_nan());
        assert_eq!(sum(&[1.0, f64::INFINITY]), f64::INFINITY);
        assert!(sum(&[f64::NEG_INFINITY, f64::INFINITY]).is_nan());
    }

    fn reduced(reduction: Reduction, numbers: &[Number]) -> String {
        let task = procession::tasks()[0];
        let mut reducer = Reducer::new(reduction, task);
        for number in numbers {
            reducer.add_number(*number);
            reducer.count += 1;
        }
        reducer.to_string()
    }

    #[test]
    fn integers_stay_integers() {
        use Number::{Float, Integer};
        let integers = [Integer(3), Integer(-1), Integer(i128::from(u64::MAX))];
        assert_eq!(reduced(Reduction::Sum, &integers), "18446744073709551617");
        assert_eq!(reduced(Reduction::Min, &integers), "-1");
        assert_eq!(reduced(Reduction::Max, &integers), "18446744073709551615");
        assert_eq!(reduced(Reduction::Mean, &[Integer(1), Integer(2)]), "1.5");
        assert_eq!(reduced(Reduction::Sum, &[Integer(1), Float(0.5)]), "1.5");
        assert_eq!(reduced(Reduction::Sum, &[Float(1.0), Float(2.0)]), "3.0");
        assert_eq!(reduced(Reduction::Count, &integers), "3");
    }

    #[test]
    fn nothing_has_no_extreme() {
        for (reduction, shown) in [
            (Reduction::Sum, "0"),
            (Reduction::Count, "0"),
            (Reduction::Min, "null"),
            (Reduction::Max, "null"),
            (Reduction::Mean, "null"),
        ] {
            assert_eq!(reduced(reduction, &[]), shown);
        }
    }

    #[test]
    fn what_is_not_a_number_stays() {
        let numbers = [Number::Float(1.0), Number::Float(f64::NAN), Number::Float(2.0)];
        assert_eq!(reduced(Reduction::Max, &numbers), "NaN");
        assert_eq!(reduced(Reduction::Min, &numbers), "NaN");
    }
}
