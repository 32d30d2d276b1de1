//! Templated strings in a job spec: `{workers}` and `{index}` are the only names, `{{` and `}}` the braces themselves.
//!
//! A string that is one name and nothing else becomes that number; within other text it becomes its digits.

use super::document::{Entry, Node, Table, Value};
use crate::diagnostic::Diagnostic;

/// What the names stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) workers: u64,
    /// None where no item is being made, as in a count.
    pub(crate) index: Option<u64>,
}

/// Whether anything in `node` changes from item to item or with the number of workers.
pub(crate) fn is_templated(node: &Node) -> bool {
    match &node.value {
        Value::String(string) => string.contains(['{', '}']),
        Value::Array(elements) => elements.iter().any(is_templated),
        Value::Table(table) => table.entries.iter().any(|entry| is_templated(&entry.node)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => false,
    }
}

/// `node` with every name replaced.
pub(crate) fn fill(node: &Node, names: Names) -> Result<Node, Diagnostic> {
    let value = match &node.value {
        Value::String(string) => {
            fill_string(string, names).map_err(|(what, help)| node.at.error(what).help(help))?
        }
        Value::Array(elements) => {
            Value::Array(elements.iter().map(|element| fill(element, names)).collect::<Result<_, _>>()?)
        }
        Value::Table(table) => {
            let filled = table
                .entries
                .iter()
                .map(|entry| Ok(Entry { node: fill(&entry.node, names)?, ..entry.clone() }));
            Value::Table(Table { entries: filled.collect::<Result<_, Diagnostic>>()? })
        }
        other => other.clone(),
    };
    Ok(Node { value, at: node.at.clone() })
}

fn fill_string(string: &str, names: Names) -> Result<Value, (String, String)> {
    let mut filled = String::with_capacity(string.len());
    let mut rest = string;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let brace = &rest[at..];
        if let Some(after) = brace.strip_prefix("{{") {
            filled.push('{');
            rest = after;
        } else if let Some(after) = brace.strip_prefix("}}") {
            filled.push('}');
            rest = after;
        } else if let Some((name, after)) = brace.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            let number = number(name, names)?;
            if at == 0 && filled.is_empty() && after.is_empty() && rest.len() == string.len() {
                return Ok(Value::Integer(number.into()));
            }
            filled.push_str(&number.to_string());
            rest = after;
        } else {
            let what = format!("a lone `{}` in a templated string", &brace[..1]);
            return Err((what, "write `{{` or `}}` for the brace itself".to_owned()));
        }
    }
    filled.push_str(rest);
    Ok(Value::String(filled))
}

fn number(name: &str, names: Names) -> Result<u64, (String, String)> {
    match (name, names.index) {
        ("workers", _) => Ok(names.workers),
        ("index", Some(index)) => Ok(index),
        ("index", None) => Err((
            "`{index}` has no meaning here: there is no item yet".to_owned(),
            "use `{workers}` or a number".to_owned(),
        )),
        _ => Err((
            format!("unknown name `{{{name}}}` in a templated string"),
            "the names are `{workers}` and `{index}`; write `{{` for a brace itself".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names { workers: 4, index: Some(7) };

    fn filled(string: &str) -> String {
        match fill_string(string, NAMES) {
            Ok(Value::Integer(integer)) => format!("integer {integer}"),
            Ok(Value::String(string)) => format!("string {string}"),
            Ok(other) => panic!("{other:?}"),
            Err((what, _)) => format!("refused: {what}"),
        }
    }

    #[test]
    fn names_become_numbers() {
        assert_eq!(filled("{index}"), "integer 7");
        assert_eq!(filled("part {index} of {workers}"), "string part 7 of 4");
        assert_eq!(filled("{index}{index}"), "string 77");
        assert_eq!(filled("{{index}}"), "string {index}");
        assert_eq!(filled("plain"), "string plain");
    }

    #[test]
    fn everything_else_is_refused() {
        assert!(filled("{nope}").contains("unknown name `{nope}`"));
        assert!(filled("{index").contains("a lone `{`"));
        assert!(filled("index}").contains("a lone `}`"));
        assert!(fill_string("{index}", Names { workers: 1, index: None }).is_err());
    }
}
