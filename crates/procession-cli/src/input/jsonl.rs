//! JSON Lines: a value a line. Where an item is one argument the value is it; otherwise an array of the arguments, or an
//! object of them by name. Blank lines are skipped; members that no parameter is named after are ignored.

use std::fmt;
use std::io::BufRead;
use std::ops::Range;

use procession::{Payload, TaskInfo};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::cell::{json, split_position};
use super::lines::Numbered;
use super::row;
use super::source::Row;
use crate::diagnostic::Diagnostic;

/// A refusal of part of a line: where, what, and perhaps what to do.
type Refusal = (Range<usize>, String, Option<String>);

/// Rows of JSON Lines.
#[derive(Debug)]
pub(crate) struct Reader<'a, R> {
    lines: Numbered<R>,
    task: &'a TaskInfo,
    unary: bool,
}

impl<'a, R: BufRead> Reader<'a, R> {
    pub(crate) fn new(reader: R, name: String, task: &'a TaskInfo, unary: bool) -> Reader<'a, R> {
        Reader { lines: Numbered::new(reader, name), task, unary }
    }
}

impl<R: BufRead> Iterator for Reader<'_, R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let name = self.lines.name().to_owned();
        loop {
            let (number, line) = match self.lines.next()? {
                Ok(line) => line,
                Err(refusal) => return Some(Err(refusal)),
            };
            if line.trim().is_empty() {
                continue;
            }
            let row = if self.unary { unary(self.task, line) } else { arguments(self.task, line) };
            return Some(row.map_err(|(span, what, help)| {
                Diagnostic::on_line(&name, number, line, span, what).maybe_help(help).of_row(line)
            }));
        }
    }
}

fn unary(task: &TaskInfo, line: &str) -> Result<Payload, Refusal> {
    well_formed(line)?;
    let mut payload = Payload::new();
    match json(task, 0, line, &mut payload) {
        Ok(()) => Ok(payload),
        Err((what, span)) => Err((span, what, None)),
    }
}

fn arguments(task: &TaskInfo, line: &str) -> Result<Payload, Refusal> {
    let whole = trimmed(line);
    let values: Vec<&RawValue> = match line.trim_start().as_bytes().first() {
        Some(b'[') => {
            let values =
                serde_json::from_str::<Vec<&RawValue>>(line).map_err(|error| malformed(line, &error))?;
            if values.len() != task.params().len() {
                return Err((whole, row::arity(task, values.len()), None));
            }
            values
        }
        Some(b'{') => {
            let members = members(line).map_err(|error| malformed(line, &error))?;
            by_name(task, &members, whole)?
        }
        _ => {
            well_formed(line)?;
            let what =
                format!("a row is an array of arguments, or an object of them by name; {}", row::takes(task));
            return Err((whole, what, Some(format!("write {}", example(task)))));
        }
    };
    let mut payload = Payload::new();
    for (index, value) in values.into_iter().enumerate() {
        let start = value.get().as_ptr() as usize - line.as_ptr() as usize;
        json(task, index, value.get(), &mut payload)
            .map_err(|(what, span)| (start + span.start..start + span.end, what, None))?;
    }
    Ok(payload)
}

fn by_name<'a>(
    task: &TaskInfo,
    members: &[(String, &'a RawValue)],
    whole: Range<usize>,
) -> Result<Vec<&'a RawValue>, Refusal> {
    let value = |(index, name): (usize, &str)| {
        let mut found = members.iter().filter(|(key, _)| key == name).map(|(_, value)| *value);
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value),
            (Some(_), Some(_)) => Err((whole.clone(), format!("`{name}` is given twice"), None)),
            (None, _) => {
                let names: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
                let (what, help) = row::missing(task, index, &names);
                Err((whole.clone(), what, Some(help)))
            }
        }
    };
    task.params().iter().map(|param| param.name()).enumerate().map(value).collect()
}

/// What a row could look like: `[x, n]`.
fn example(task: &TaskInfo) -> String {
    let names: Vec<&str> = task.params().iter().map(|param| param.name()).collect();
    format!("`[{}]`", names.join(", "))
}

fn well_formed(line: &str) -> Result<(), Refusal> {
    match serde_json::from_str::<serde::de::IgnoredAny>(line) {
        Ok(_) => Ok(()),
        Err(error) => Err(malformed(line, &error)),
    }
}

fn malformed(line: &str, error: &serde_json::Error) -> Refusal {
    let message = error.to_string();
    let (what, at) = split_position(line, &message);
    let start = at.unwrap_or(0);
    (start..start + 1, format!("not valid JSON: {what}"), None)
}

fn trimmed(line: &str) -> Range<usize> {
    let start = line.len() - line.trim_start().len();
    start..start + line.trim().len()
}

/// The members of a JSON object in order, duplicates included.
pub(crate) fn members(text: &str) -> serde_json::Result<Vec<(String, &RawValue)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((key, value)) = map.next_entry()? {
                members.push((key, value));
            }
            Ok(members)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let members = json.deserialize_map(Members)?;
    json.end()?;
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_order_and_duplicates() {
        let members = members(r#"{"b": 1, "a": [2], "b": 3}"#).unwrap();
        let shown: Vec<_> = members.iter().map(|(key, value)| (key.as_str(), value.get())).collect();
        assert_eq!(shown, [("b", "1"), ("a", "[2]"), ("b", "3")]);
        assert!(super::members("{} x").is_err());
    }
}
