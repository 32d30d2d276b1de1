//! One argument on its way into a payload: from TOML, from JSON, or from a bare word.
//!
//! Whether it fits is the task's parameter type's decision; this file finds the words and the place when it does not.

use std::ops::Range;

use erased_serde::Deserializer as Erased;
use procession::{Payload, TaskInfo};
use serde_json::value::RawValue;

use super::word::WordReader;
use crate::diagnostic::{Diagnostic, Place};
use crate::spec::deserialize::{Blame, NodeReader, visit_integer};
use crate::spec::document::Node;

/// One argument and where it came from.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// A value of a job spec.
    Node(Node),
    /// A JSON text.
    Json(Place),
    /// A word of the command line: JSON, or the text itself where the parameter is a string.
    Word(Place),
}

impl Cell {
    /// Appends this as argument `index` of `task`.
    pub(crate) fn encode(&self, task: &TaskInfo, index: usize, out: &mut Payload) -> Result<(), Diagnostic> {
        match self {
            Cell::Node(node) => {
                let blame = Blame::default();
                let reader = NodeReader { node, blame: &blame };
                task.encode_arg(index, &mut <dyn Erased<'_>>::erase(reader), out).map_err(|error| {
                    let at = blame.take().unwrap_or_else(|| node.at.clone());
                    at.error(misfit(task, index, &error.to_string()))
                })
            }
            Cell::Json(at) => json(task, index, at.as_str(), out).map_err(|(what, span)| {
                let start = at.span.start;
                at.text.place(start + span.start..start + span.end).error(what)
            }),
            Cell::Word(at) => {
                let reader = WordReader::new(at.as_str()).unquoting();
                task.encode_arg(index, &mut <dyn Erased<'_>>::erase(reader), out)
                    .map_err(|error| at.error(misfit(task, index, &error.to_string())))
            }
        }
    }
}

/// Appends an integer as argument `index`; the words only, because the caller knows where the integer came from.
pub(crate) fn integer_argument(
    task: &TaskInfo,
    index: usize,
    integer: i128,
    out: &mut Payload,
) -> Result<(), String> {
    task.encode_arg(index, &mut <dyn Erased<'_>>::erase(IntegerReader(integer)), out)
        .map_err(|error| misfit(task, index, &error.to_string()))
}

/// Appends one well-formed JSON value as argument `index`. An error comes with the bytes of `text` it is about.
pub(crate) fn json(
    task: &TaskInfo,
    index: usize,
    text: &str,
    out: &mut Payload,
) -> Result<(), (String, Range<usize>)> {
    let mut json = serde_json::Deserializer::from_str(text);
    task.encode_arg(index, &mut <dyn Erased<'_>>::erase(&mut json), out).map_err(|error| {
        let message = error.to_string();
        let (what, at) = split_position(text, &message);
        (misfit(task, index, what), at.map_or(0..text.len(), |at| narrow(text, at)))
    })
}

/// `argument `x` of `square`: …`.
pub(crate) fn misfit(task: &TaskInfo, index: usize, what: &str) -> String {
    let name = task.params().get(index).map_or("?", |param| param.name());
    format!("argument `{name}` of `{}`: {}", task.name(), what.trim_end())
}

/// Takes serde_json's ` at line L column C` off a message; erased errors keep nothing else of the position.
pub(crate) fn split_position<'m>(text: &str, message: &'m str) -> (&'m str, Option<usize>) {
    let parse = || {
        let (what, position) = message.rsplit_once(" at line ")?;
        let (line, column) = position.split_once(" column ")?;
        let (line, column): (usize, usize) = (line.parse().ok()?, column.trim_end().parse().ok()?);
        let line_start = match line.checked_sub(2) {
            None => 0,
            Some(nth) => text.match_indices('\n').nth(nth)?.0 + 1,
        };
        Some((what, (line_start + column.saturating_sub(1)).min(text.len())))
    };
    parse().map_or((message, None), |(what, at)| (what, Some(at)))
}

/// The innermost element of a JSON text that reaches over byte `at`.
///
/// serde_json reports where it stood when a value did not fit, which is the value's end; a reader wants its start.
fn narrow(text: &str, at: usize) -> Range<usize> {
    let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let mut element: &str = text.trim();
    'deeper: loop {
        for inner in elements(element) {
            let span = offset(inner)..offset(inner) + inner.len();
            if span.contains(&at) || span.end == at {
                element = inner;
                continue 'deeper;
            }
        }
        return offset(element)..offset(element) + element.len();
    }
}

fn elements(text: &str) -> Vec<&str> {
    match text.as_bytes().first() {
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text)
            .map(|elements| elements.into_iter().map(RawValue::get).collect())
            .unwrap_or_default(),
        Some(b'{') => super::jsonl::members(text)
            .map(|members| members.into_iter().map(|(_, value)| value.get()).collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

struct IntegerReader(i128);

impl<'de> serde::Deserializer<'de> for IntegerReader {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visit_integer(self.0, visitor)
    }

    fn deserialize_option<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: serde::de::Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_off_messages() {
        assert_eq!(split_position("[1, 2]", "odd at line 1 column 3"), ("odd", Some(2)));
        assert_eq!(split_position("[1,\n2]", "odd at line 2 column 1"), ("odd", Some(4)));
        assert_eq!(split_position("x", "odd"), ("odd", None));
    }

    #[test]
    fn blame_narrows_to_the_innermost_element() {
        let text = r#"[[1, 2], {"k": [3, "x"]}]"#;
        let at = text.find("\"x\"").unwrap() + 2;
        assert_eq!(&text[narrow(text, at)], "\"x\"");
        assert_eq!(narrow("12", 1), 0..2);
    }
}
