//! What a key of a job spec may hold: each reader says what it wants and points at what it got.
//!
//! It knows types and ranges, not which keys there are.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::{Entry, Node, Table, Value};
use super::key::Key;
use super::units;
use crate::diagnostic::Diagnostic;
use crate::nearest;

impl Table {
    /// Refuses every key that is not among `known`. `name` is how the table is written: `[pool]`.
    pub(crate) fn only(&self, name: &str, known: &[Key]) -> Result<(), Diagnostic> {
        let known: Vec<&str> = known.iter().map(|key| key.name).collect();
        match self.entries.iter().find(|entry| !known.contains(&entry.key.as_str())) {
            None => Ok(()),
            Some(entry) => {
                let refusal = entry.key_at.error(format!("unknown key `{}` in {name}", entry.key));
                Err(refusal.help(nearest::suggest(&entry.key, &known)))
            }
        }
    }
}

impl Entry {
    /// A refusal that points at the value.
    pub(crate) fn error(&self, what: impl AsRef<str>) -> Diagnostic {
        self.node.at.error(format!("`{}`: {}", self.key, what.as_ref()))
    }

    fn wrong_type(&self, wanted: &str) -> Diagnostic {
        self.node.at.error(format!("`{}` must be {wanted}, not {}", self.key, self.node.value.kind()))
    }

    pub(crate) fn string(&self) -> Result<&str, Diagnostic> {
        match &self.node.value {
            Value::String(string) if string.is_empty() => Err(self.error("must not be empty")),
            Value::String(string) => Ok(string),
            _ => Err(self.wrong_type("a string")),
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool, Diagnostic> {
        match self.node.value {
            Value::Boolean(boolean) => Ok(boolean),
            _ => Err(self.wrong_type("`true` or `false`")),
        }
    }

    pub(crate) fn table(&self) -> Result<&Table, Diagnostic> {
        match &self.node.value {
            Value::Table(table) => Ok(table),
            _ => Err(self.wrong_type("a table")),
        }
    }

    pub(crate) fn array(&self) -> Result<&[Node], Diagnostic> {
        match &self.node.value {
            Value::Array(elements) => Ok(elements),
            _ => Err(self.wrong_type("an array")),
        }
    }

    /// An integer within `range`.
    pub(crate) fn integer<T>(&self, range: RangeInclusive<T>) -> Result<T, Diagnostic>
    where
        T: TryFrom<i128> + PartialOrd + Copy + std::fmt::Display,
    {
        let Value::Integer(integer) = self.node.value else {
            return Err(self.wrong_type("an integer"));
        };
        match T::try_from(integer) {
            Ok(value) if range.contains(&value) => Ok(value),
            Ok(value) if value > *range.end() => {
                Err(self.error(format!("must be at most {}, not {integer}", range.end())))
            }
            Err(_) if integer > 0 => {
                Err(self.error(format!("must be at most {}, not {integer}", range.end())))
            }
            Ok(_) | Err(_) => Err(self.error(format!("must be at least {}, not {integer}", range.start()))),
        }
    }

    /// A count of at least one.
    pub(crate) fn count(&self) -> Result<usize, Diagnostic> {
        match self.node.value {
            Value::Integer(..1) => Err(self.error("must be at least 1")),
            _ => self.integer(1..=usize::MAX),
        }
    }

    /// A duration: `"30s"`, or a number of seconds.
    pub(crate) fn duration(&self) -> Result<Duration, Diagnostic> {
        let duration = match &self.node.value {
            Value::String(text) => units::duration(text),
            Value::Integer(seconds) => units::seconds(*seconds as f64),
            Value::Float(seconds) => units::seconds(*seconds),
            _ => return Err(self.wrong_type("a duration").help(units::DURATION_HELP)),
        };
        duration.map_err(|what| self.error(what).help(units::DURATION_HELP))
    }

    /// A size: `"512 MiB"`, or a number of bytes.
    pub(crate) fn size(&self) -> Result<u64, Diagnostic> {
        match &self.node.value {
            Value::String(text) => units::size(text).map_err(|what| self.error(what).help(units::SIZE_HELP)),
            Value::Integer(_) => self.integer(1..=u64::MAX),
            _ => Err(self.wrong_type("a size").help(units::SIZE_HELP)),
        }
    }

    /// One of the named choices.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Diagnostic> {
        let word = self.string()?;
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        match choices.iter().find(|(name, _)| *name == word) {
            Some((_, choice)) => Ok(*choice),
            None => {
                let refusal = self.error(format!("unknown choice `{word}`"));
                Err(refusal.help(nearest::suggest(word, &names)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Text;
    use crate::spec::document;

    fn refusal<T: std::fmt::Debug>(line: &str, read: impl Fn(&Entry) -> Result<T, Diagnostic>) -> String {
        let table = document::parse(&Text::new("t", line)).unwrap();
        read(&table.entries[0]).unwrap_err().headline()
    }

    #[test]
    fn refusals_name_the_key_and_the_value() {
        assert_eq!(refusal("workers = 0", Entry::count), "t:1:11: `workers`: must be at least 1");
        assert_eq!(
            refusal("workers = 'x'", Entry::count),
            "t:1:11: `workers` must be an integer, not a string"
        );
        assert_eq!(
            refusal("nice = 40", |entry| entry.integer(-20..=19)),
            "t:1:8: `nice`: must be at most 19, not 40"
        );
        assert!(refusal("timeout = 'x'", Entry::duration).contains("`x` is not a duration (help: write"));
        assert!(
            refusal("max_rss = '5 mb'", Entry::size).contains("unknown unit `mb` (help: write a size as")
        );
        assert!(refusal("max_rss = 0", Entry::size).contains("must be at least 1, not 0"));
        assert!(refusal("timeout = -1", Entry::duration).contains("not a duration"));
        assert!(
            refusal("call = 'maps'", |entry| entry.choice(&[("map", 1), ("starmap", 2)]))
                .contains("unknown choice `maps` (help: did you mean `map`?)")
        );
    }
}
