//! A TOML document in which every key and every value remembers where it stands.
//!
//! The `toml` crate parses; this file keeps its positions, so that a wrong value can be pointed at long after parsing. It
//! knows no key of a job spec.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Place, Text};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Place,
}

/// What TOML can say. Dates are kept as the text they were written as.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    String(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// A table: its entries in the order they were written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// A key, where it stands, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Place,
    pub(crate) node: Node,
}

impl Value {
    /// What kind of value this is, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Parses a whole document.
pub(crate) fn parse(text: &Arc<Text>) -> Result<Table, Diagnostic> {
    match DeTable::parse(&text.content) {
        Ok(table) => convert_table(text, table.get_ref()),
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            Err(text
                .place(span)
                .error(format!("not valid TOML: {}", error.message().trim_end_matches(", expected nothing"))))
        }
    }
}

/// Applies one `--set key.path=value` to a document. The value is TOML; a bare word is a string.
pub(crate) fn set(table: &mut Table, assignment: &str) -> Result<(), Diagnostic> {
    let text = Text::new("--set", assignment);
    let Some(equals) = equals_sign(assignment) else {
        let refusal = text.whole().error("`--set` takes KEY=VALUE");
        return Err(refusal.help("for example `--set pool.workers=4`"));
    };
    if text.content[equals + 1..].trim().is_empty() {
        let refusal =
            text.place(equals..equals + 1).error("`--set` takes KEY=VALUE, and the value is missing");
        return Err(refusal.help("an empty string is KEY='\"\"'"));
    }
    let change = match parse(&text) {
        Ok(change) => change,
        Err(refusal) => bare_word(&text, equals).ok_or(refusal)?,
    };
    merge(table, change, equals);
    Ok(())
}

/// Reads `key.path=word`, where the word is no TOML and not the beginning of any: it is a string.
fn bare_word(text: &Arc<Text>, equals: usize) -> Option<Table> {
    let (path, word) = (&text.content[..equals], text.content[equals + 1..].trim());
    // A newline could smuggle in a second assignment.
    if word.is_empty() || word.starts_with(['"', '\'', '[', '{', '#']) || text.content.contains('\n') {
        return None;
    }
    // The same path with a value that is TOML: its keys stand where they stand in the assignment.
    let stand_in = format!("{path}=0");
    let mut change = convert_table(text, DeTable::parse(&stand_in).ok()?.get_ref()).ok()?;
    let at = text.place(equals + 1..text.content.len());
    *leaf(&mut change) = Node { value: Value::String(word.to_owned()), at };
    Some(change)
}

/// Puts the entries of `change` into `table`; tables that are only the path to a value are gone through, not replaced.
fn merge(table: &mut Table, change: Table, equals: usize) {
    for entry in change.entries {
        let is_path = matches!(&entry.node.value, Value::Table(inner) if inner.entries.iter().all(|e| e.key_at.span.start < equals) && !inner.entries.is_empty());
        match table.entries.iter_mut().find(|old| old.key == entry.key) {
            Some(old) => match (&mut old.node.value, entry.node.value) {
                (Value::Table(old), Value::Table(new)) if is_path => merge(old, new, equals),
                (_, value) => {
                    old.node = Node { value, at: entry.node.at };
                    old.key_at = entry.key_at;
                }
            },
            None => table.entries.push(entry),
        }
    }
}

/// The value at the end of a table that is one path.
fn leaf(table: &mut Table) -> &mut Node {
    let node = &mut table.entries.first_mut().expect("an assignment that parsed has one key").node;
    if matches!(node.value, Value::Table(_)) {
        let Value::Table(inner) = &mut node.value else { unreachable!("just matched") };
        return leaf(inner);
    }
    node
}

/// Where the key ends: the first `=` outside quotes.
fn equals_sign(assignment: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in assignment.char_indices() {
        match (quote, c) {
            (None, '=') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

fn convert_table(text: &Arc<Text>, table: &DeTable<'_>) -> Result<Table, Diagnostic> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        entries.push(Entry {
            key: key.get_ref().to_string(),
            key_at: text.place(key.span()),
            node: convert(text, value)?,
        });
    }
    // The parser sorts by name; a person reads from top to bottom.
    entries.sort_by_key(|entry| entry.key_at.span.start);
    Ok(Table { entries })
}

fn convert(text: &Arc<Text>, value: &Spanned<DeValue<'_>>) -> Result<Node, Diagnostic> {
    let at = text.place(value.span());
    let value = match value.get_ref() {
        DeValue::String(string) => Value::String(string.to_string()),
        DeValue::Integer(integer) => Value::Integer(
            i128::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| at.error("this integer is too large"))?,
        ),
        DeValue::Float(float) => Value::Float(
            float.as_str().parse().map_err(|_| at.error("this is not a number that a float can hold"))?,
        ),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
        DeValue::Array(array) => {
            Value::Array(array.iter().map(|element| convert(text, element)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Value::Table(convert_table(text, table)?),
    };
    Ok(Node { value, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(content: &str) -> Table {
        parse(&Text::new("job.toml", content)).unwrap()
    }

    fn at<'a>(table: &'a Table, path: &str) -> &'a Value {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        match (&table.get(first).unwrap_or_else(|| panic!("no {first}")).node.value, rest) {
            (Value::Table(inner), Some(rest)) => at(inner, rest),
            (value, _) => value,
        }
    }

    #[test]
    fn keeps_positions_and_order() {
        let table = document("b = 1\na = [2, \"x\"]\n");
        let keys: Vec<_> = table.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["b", "a"]);
        let Value::Array(elements) = at(&table, "a") else { panic!("not an array") };
        assert_eq!(elements[1].at.as_str(), "\"x\"");
    }

    #[test]
    fn malformed_text_is_pointed_at() {
        let refusal = parse(&Text::new("job.toml", "a = 1\nb = = 2\n")).unwrap_err().to_string();
        assert!(refusal.starts_with("job.toml:2:5: not valid TOML"), "{refusal}");
    }

    #[test]
    fn set_goes_through_paths_and_replaces_values() {
        let mut table = document("[pool]\nworkers = 1\n[input]\nrange = { start = 5, stop = 9 }\n");
        set(&mut table, "pool.workers=4").unwrap();
        set(&mut table, "pool.timeout=30s").unwrap();
        set(&mut table, "input.range={stop=3}").unwrap();
        set(&mut table, "output.file=x.jsonl").unwrap();
        assert!(matches!(at(&table, "pool.workers"), Value::Integer(4)));
        assert!(matches!(at(&table, "pool.timeout"), Value::String(word) if word == "30s"));
        assert!(matches!(at(&table, "input.range"), Value::Table(range) if range.entries.len() == 1));
        assert!(matches!(at(&table, "output.file"), Value::String(word) if word == "x.jsonl"));
    }

    #[test]
    fn set_refuses_what_is_no_assignment() {
        for (assignment, what) in [
            ("pool.workers", "KEY=VALUE"),
            ("=3", "not valid TOML"),
            ("a=[1", "not valid TOML"),
            ("a=", "the value is missing"),
        ] {
            let refusal = set(&mut Table::default(), assignment).unwrap_err().to_string();
            assert!(refusal.starts_with("--set:1:") && refusal.contains(what), "{assignment}: {refusal}");
        }
    }
}
