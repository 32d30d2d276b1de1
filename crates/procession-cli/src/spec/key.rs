//! The keys of a job spec: what each may hold and what it is for.
//!
//! The parser knows its keys from here, and the schema for editors and the reference are made of the same rows.

use super::units;
use crate::nearest;

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) wants: Wants,
    /// A sentence or two, in Markdown.
    pub(crate) docs: &'static str,
}

/// What a key may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wants {
    /// A string that is not empty.
    Text,
    /// A string of this form, and how to say that.
    Form(&'static str, &'static str),
    Flag,
    /// An integer of at least and at most so much.
    Integer(i64, Option<i64>),
    /// More than zero.
    Number,
    Duration,
    Size,
    Choice(fn() -> Vec<&'static str>),
    /// An array of at least so many of these.
    Array(&'static Wants, usize),
    /// Any keys, all of which hold this.
    Columns(&'static Wants),
    /// These keys, of which some must be there.
    Table(&'static [Key], &'static [&'static str]),
    Either(&'static [Wants]),
    Anything,
}

pub(crate) const fn key(name: &'static str, wants: Wants, docs: &'static str) -> Key {
    Key { name, wants, docs }
}

/// The names of named choices.
pub(crate) fn names<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(name, _)| *name).collect()
}

impl Wants {
    /// In words, for the reference.
    pub(crate) fn words(self) -> String {
        match self {
            Wants::Text => "a string".to_owned(),
            Wants::Form(_, words) => words.to_owned(),
            Wants::Flag => "`true` or `false`".to_owned(),
            Wants::Integer(i64::MIN, None) => "an integer".to_owned(),
            Wants::Integer(least, None) => format!("an integer of at least {least}"),
            Wants::Integer(least, Some(most)) => format!("an integer from {least} to {most}"),
            Wants::Number => "a number".to_owned(),
            Wants::Duration => "a duration".to_owned(),
            Wants::Size => "a size".to_owned(),
            Wants::Choice(names) => format!("one of {}", nearest::list(&names())),
            Wants::Array(element, _) => format!("an array; of each: {}", element.words()),
            Wants::Columns(value) => format!("a table; of each key: {}", value.words()),
            Wants::Table(keys, _) => {
                format!("a table of {}", nearest::list(&keys.iter().map(|key| key.name).collect::<Vec<_>>()))
            }
            Wants::Either(kinds) => kinds.iter().map(|kind| kind.words()).collect::<Vec<_>>().join(", or "),
            Wants::Anything => "any value".to_owned(),
        }
    }

    /// As a JSON schema, of draft 7: the newest that editors of TOML know.
    pub(crate) fn schema(self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Wants::Text => json!({ "type": "string", "minLength": 1 }),
            Wants::Form(pattern, _) => json!({ "type": "string", "pattern": pattern }),
            Wants::Flag => json!({ "type": "boolean" }),
            Wants::Integer(i64::MIN, None) => json!({ "type": "integer" }),
            Wants::Integer(least, None) => json!({ "type": "integer", "minimum": least }),
            Wants::Integer(least, Some(most)) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Wants::Number => json!({ "type": "number", "exclusiveMinimum": 0 }),
            Wants::Duration => json!({ "anyOf": [
                { "type": "string", "pattern": units::duration_pattern() },
                { "type": "number", "exclusiveMinimum": 0 },
            ] }),
            Wants::Size => json!({ "anyOf": [
                { "type": "string", "pattern": units::size_pattern() },
                { "type": "integer", "minimum": 1 },
            ] }),
            Wants::Choice(names) => json!({ "enum": names() }),
            Wants::Array(element, least) => {
                json!({ "type": "array", "items": element.schema(), "minItems": least })
            }
            Wants::Columns(value) => json!({ "type": "object", "additionalProperties": value.schema() }),
            Wants::Table(keys, required) => table(keys, required),
            Wants::Either(kinds) => {
                json!({ "anyOf": kinds.iter().map(|kind| kind.schema()).collect::<Vec<_>>() })
            }
            Wants::Anything => json!({}),
        }
    }
}

/// The schema of a table of these keys and no others.
pub(super) fn table(keys: &[Key], required: &[&str]) -> serde_json::Value {
    let mut properties = serde_json::Map::new();
    for key in keys {
        let mut schema = key.wants.schema();
        schema["description"] = key.docs.replace('`', "").into();
        properties.insert(key.name.to_owned(), schema);
    }
    serde_json::json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}
