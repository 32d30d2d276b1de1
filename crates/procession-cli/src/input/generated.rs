//! Items made from a rule: a templated row repeated, or a range of integers.
//!
//! A rule's first and last item stand for all between them, so a check costs the same for ten items as for ten billion.

use std::fmt;

use procession::{Payload, TaskInfo};

use super::cell::{Cell, integer_argument};
use super::row::{self, CellRow};
use super::source::Row;
use crate::diagnostic::{Diagnostic, Place};
use crate::spec::document::Node;
use crate::spec::template::{self, Names};

/// The same row again and again, with `{index}` and `{workers}` filled in.
#[derive(Debug)]
pub(crate) struct Repeat {
    pub(crate) count: u64,
    pub(crate) args: Vec<Node>,
    pub(crate) workers: u64,
    /// Where `repeat` stands.
    pub(crate) at: Place,
}

impl Repeat {
    pub(crate) fn check(&self, task: &TaskInfo) -> Result<u64, Diagnostic> {
        for index in [0, self.count.saturating_sub(1)] {
            self.row(task, index)?;
        }
        Ok(self.count)
    }

    pub(crate) fn rows<'a>(&'a self, task: &'static TaskInfo) -> impl Iterator<Item = Row> + 'a {
        (0..self.count).map(move |index| self.row(task, index))
    }

    pub(super) fn row(&self, task: &TaskInfo, index: u64) -> Row {
        let names = Names { workers: self.workers, index: Some(index) };
        let cells = self.args.iter().map(|node| match template::is_templated(node) {
            true => template::fill(node, names).map(Cell::Node),
            false => Ok(Cell::Node(node.clone())),
        });
        let cells = cells.collect::<Result<Vec<Cell>, Diagnostic>>()?;
        CellRow { cells, at: self.at.clone() }.encode(task)
    }
}

/// `start`, `start + step`, … as long as `stop` is not reached.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) start: i64,
    pub(crate) stop: i64,
    pub(crate) step: i64,
    pub(crate) at: Place,
}

impl Series {
    /// Parses `0..20`, `0..20:2`, `-5..5` or `10..0:-1`.
    pub(crate) fn parse(text: &str, at: Place) -> Result<Series, Diagnostic> {
        let bad = |what: &str| {
            at.error(format!("{what} in range `{text}`"))
                .help("write a range as START..STOP or START..STOP:STEP")
        };
        let (start, rest) = text.split_once("..").ok_or_else(|| bad("no `..`"))?;
        let (stop, step) = rest.split_once(':').unwrap_or((rest, "1"));
        let number = |word: &str| {
            word.trim().parse::<i64>().map_err(|_| bad(&format!("`{}` is not an integer", word.trim())))
        };
        Series { start: number(start)?, stop: number(stop)?, step: number(step)?, at: at.clone() }.sound()
    }

    /// Refuses a range that cannot be meant.
    pub(crate) fn sound(self) -> Result<Series, Diagnostic> {
        if self.step == 0 {
            return Err(self.at.error("a range with step 0 never ends").help("use a step other than 0"));
        }
        if (self.start < self.stop) != (self.step > 0) && self.start != self.stop {
            let refusal = self.at.error(format!("range {self} has no items: it steps away from its stop"));
            return Err(refusal.help(if self.step > 0 {
                "swap start and stop, or count down with a negative step"
            } else {
                "swap start and stop, or use a positive step"
            }));
        }
        Ok(self)
    }

    pub(crate) fn len(&self) -> u64 {
        let distance = (i128::from(self.stop) - i128::from(self.start)).unsigned_abs();
        let step = u128::from(self.step.unsigned_abs());
        // Two i64 are less than 2^64 apart.
        distance.div_ceil(step) as u64
    }

    /// Number `index` of it.
    pub(crate) fn item(&self, index: u64) -> i128 {
        i128::from(self.start) + i128::from(index) * i128::from(self.step)
    }

    pub(crate) fn check(&self, task: &TaskInfo) -> Result<u64, Diagnostic> {
        if task.params().len() != 1 {
            return Err(self.at.error(row::arity(task, 1)));
        }
        let count = self.len();
        if count > 0 {
            self.row(task, 0)?;
            self.row(task, count - 1)?;
        }
        Ok(count)
    }

    pub(crate) fn rows<'a>(&'a self, task: &'static TaskInfo) -> impl Iterator<Item = Row> + 'a {
        (0..self.len()).map(move |index| self.row(task, index))
    }

    pub(super) fn row(&self, task: &TaskInfo, index: u64) -> Row {
        let mut payload = Payload::new();
        match integer_argument(task, 0, self.item(index), &mut payload) {
            Ok(()) => Ok(payload),
            Err(what) => Err(self.at.error(what)),
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.stop)?;
        if self.step != 1 {
            write!(f, ":{}", self.step)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Text;

    fn series(text: &str) -> Result<Series, String> {
        Series::parse(text, Text::new("--range", text).whole()).map_err(|refusal| refusal.headline())
    }

    #[test]
    fn ranges_count_as_pythons_do() {
        for (text, items) in [
            ("0..5", vec![0, 1, 2, 3, 4]),
            ("0..5:2", vec![0, 2, 4]),
            ("-2..2", vec![-2, -1, 0, 1]),
            ("3..0:-1", vec![3, 2, 1]),
            ("3..3", vec![]),
        ] {
            let series = series(text).unwrap();
            assert_eq!((0..series.len()).map(|i| series.item(i)).collect::<Vec<_>>(), items, "{text}");
        }
        let widest = series("-9223372036854775808..9223372036854775807").unwrap();
        assert_eq!(widest.len(), u64::MAX);
        assert_eq!(widest.item(u64::MAX - 1), i128::from(i64::MAX) - 1);
    }

    #[test]
    fn impossible_ranges_are_refused() {
        for text in ["5", "a..b", "0..", "0..5:0", "5..0", "0..5:-1", "0..99999999999999999999"] {
            let refusal = series(text).unwrap_err();
            assert!(refusal.starts_with("--range:1:1: "), "{refusal}");
        }
    }
}
