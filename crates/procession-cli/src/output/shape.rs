//! What the values of a column have in common, so that each kind has a place of its own: read from the text of a type,
//! and found in values.
//!
//! It knows JSON and the words of Rust's types, and nothing of files.

use serde_json::Value;

/// The shape of values. Any of them may be missing: JSON's `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Not known yet: nothing but `null` so far.
    Unknown,
    Bool,
    /// Integers from 0 that an `i64` holds, too.
    Natural,
    /// An `i64`.
    Int,
    /// A `u64`.
    UInt,
    /// An `f64`.
    Float,
    Text,
    List(Box<Shape>),
    /// Fields by name, in the order in which they appeared.
    Fields(Vec<(String, Shape)>),
    /// Anything, written as JSON.
    Json,
}

impl Shape {
    /// What a type promises, by its text as the source has it. Of types that a task's crate defines nothing is known.
    pub(super) fn of_type(text: &str) -> Shape {
        let text = text.trim();
        let (name, inside) = match text.split_once('<') {
            Some((name, rest)) => (name, rest.strip_suffix('>').unwrap_or_default()),
            None => (text, ""),
        };
        if let Some(element) = text.strip_prefix('[').and_then(|rest| rest.split(';').next()) {
            return Shape::List(Box::new(Shape::of_type(element)));
        }
        let arguments = arguments(inside);
        match (name.trim().rsplit("::").next().unwrap_or_default(), arguments.as_slice()) {
            ("bool", _) => Shape::Bool,
            ("i8" | "i16" | "i32" | "i64" | "isize", _) => Shape::Int,
            ("u8" | "u16" | "u32" | "u64" | "usize", _) => Shape::UInt,
            ("f32" | "f64", _) => Shape::Float,
            ("String" | "char" | "PathBuf", _) => Shape::Text,
            ("i128" | "u128", _) | ("HashMap" | "BTreeMap", _) => Shape::Json,
            ("Option" | "Box", [inner]) => Shape::of_type(inner),
            ("Vec" | "VecDeque" | "HashSet" | "BTreeSet", [element, ..]) => {
                Shape::List(Box::new(Shape::of_type(element)))
            }
            ("Result", [value, error]) => Shape::Fields(vec![
                ("Ok".to_owned(), Shape::of_type(value)),
                ("Err".to_owned(), Shape::of_type(error)),
            ]),
            _ => Shape::Unknown,
        }
    }

    /// What one value says.
    pub(super) fn of_value(value: &Value) -> Shape {
        match value {
            Value::Null => Shape::Unknown,
            Value::Bool(_) => Shape::Bool,
            Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => Shape::Int,
            Value::Number(number) if number.is_i64() => Shape::Natural,
            Value::Number(number) if number.is_u64() => Shape::UInt,
            Value::Number(_) => Shape::Float,
            Value::String(_) => Shape::Text,
            Value::Array(elements) => Shape::List(Box::new(Shape::of_values(elements))),
            Value::Object(fields) => Shape::Fields(
                fields.iter().map(|(name, value)| (name.clone(), Shape::of_value(value))).collect(),
            ),
        }
    }

    /// What values have in common.
    pub(super) fn of_values<'a>(values: impl IntoIterator<Item = &'a Value>) -> Shape {
        values.into_iter().map(Shape::of_value).fold(Shape::Unknown, Shape::with)
    }

    /// What holds for values of both shapes.
    fn with(self, other: Shape) -> Shape {
        match (self, other) {
            (shape, Shape::Unknown) | (Shape::Unknown, shape) => shape,
            (Shape::Natural, shape @ (Shape::Natural | Shape::Int | Shape::UInt | Shape::Float))
            | (shape @ (Shape::Int | Shape::UInt | Shape::Float), Shape::Natural) => shape,
            (Shape::Int, Shape::Float) | (Shape::Float, Shape::Int) => Shape::Float,
            (Shape::List(a), Shape::List(b)) => Shape::List(Box::new(a.with(*b))),
            (Shape::Fields(mut fields), Shape::Fields(others)) => {
                for (name, shape) in others {
                    match fields.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => *known = std::mem::replace(known, Shape::Unknown).with(shape),
                        None => fields.push((name, shape)),
                    }
                }
                Shape::Fields(fields)
            }
            (a, b) if a == b => a,
            _ => Shape::Json,
        }
    }

    /// What is known of a type has the last word; values fill in what is not.
    pub(super) fn filled(self, found: Shape) -> Shape {
        match (self, found) {
            (Shape::Unknown, found) => found,
            (Shape::List(known), Shape::List(found)) => Shape::List(Box::new(known.filled(*found))),
            (Shape::Fields(known), Shape::Fields(found)) => {
                let mut found = found;
                let take = |found: &mut Vec<(String, Shape)>, name: &str| {
                    let at = found.iter().position(|(other, _)| other == name)?;
                    Some(found.remove(at).1)
                };
                let mut fields = Vec::new();
                for (name, shape) in known {
                    let shape = shape.filled(take(&mut found, &name).unwrap_or(Shape::Unknown));
                    fields.push((name, shape));
                }
                fields.extend(found);
                Shape::Fields(fields)
            }
            (known, _) => known,
        }
    }

    /// With nothing left open.
    pub(super) fn settled(self) -> Shape {
        match self {
            Shape::Unknown => Shape::Json,
            Shape::Natural => Shape::Int,
            Shape::List(element) => Shape::List(Box::new(element.settled())),
            // No file format has a column without columns.
            Shape::Fields(fields) if fields.is_empty() => Shape::Json,
            Shape::Fields(fields) => {
                Shape::Fields(fields.into_iter().map(|(name, shape)| (name, shape.settled())).collect())
            }
            shape => shape,
        }
    }

    /// Why a value has no place in a column of this shape, which is `name`.
    pub(super) fn refuse(&self, name: &str, value: &Value) -> Result<(), String> {
        match (self, value) {
            (_, Value::Null) | (Shape::Json | Shape::Unknown, _) => Ok(()),
            (Shape::Bool, Value::Bool(_)) | (Shape::Text, Value::String(_)) => Ok(()),
            (Shape::Int | Shape::Natural, Value::Number(number)) if number.is_i64() => Ok(()),
            (Shape::UInt, Value::Number(number)) if number.is_u64() => Ok(()),
            (Shape::Float, Value::Number(_)) => Ok(()),
            (Shape::List(element), Value::Array(elements)) => {
                elements.iter().try_for_each(|value| element.refuse(name, value))
            }
            (Shape::Fields(columns), Value::Object(fields)) => {
                fields.iter().try_for_each(|(field, value)| {
                    let within = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                    match columns.iter().find(|(column, _)| column == field) {
                        Some((_, shape)) => shape.refuse(&within, value),
                        None => {
                            Err(format!("there is no column `{within}`: no value before had such a field"))
                        }
                    }
                })
            }
            _ => {
                let column =
                    if name.is_empty() { "the column".to_owned() } else { format!("column `{name}`") };
                let (holds, has) = (self.words(), Shape::of_value(value));
                Err(format!("{column} holds {holds}, and this value has {} there", has.words()))
            }
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Shape::Unknown => "nothing",
            Shape::Bool => "true or false",
            Shape::Natural | Shape::Int | Shape::UInt => "integers",
            Shape::Float => "floats",
            Shape::Text => "text",
            Shape::List(_) => "a list",
            Shape::Fields(_) => "fields",
            Shape::Json => "anything",
        }
    }
}

/// The parts of `A, B<C, D>` that commas outside of brackets divide.
fn arguments(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, letter) in text.char_indices() {
        match letter {
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// Whether JSON has an integer that 64 bits do not hold, and that only its text has with all digits.
pub(super) fn is_wide(bytes: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let (mut at, mut in_text) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'-' | b'0'..=b'9' if !in_text => {
                let digits = bytes[at + 1..].iter().take_while(|byte| is_digit(byte)).count();
                let number = std::str::from_utf8(&bytes[at..=at + digits]).unwrap_or_default();
                at += digits;
                let is_integer = !matches!(bytes.get(at + 1), Some(b'.' | b'e' | b'E'));
                // Behind a point there is no integer, nor is one to be looked for in an exponent.
                let skipped = bytes[at + 1..].iter().take_while(|byte| b".eE+-0123456789".contains(byte));
                let skipped = skipped.count();
                if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return true;
                }
                at += skipped;
            }
            _ => {}
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    fn found(values: &[&str]) -> Shape {
        let values: Vec<Value> = values.iter().map(|json| value(json)).collect();
        Shape::of_values(&values)
    }

    fn fields(fields: &[(&str, Shape)]) -> Shape {
        Shape::Fields(fields.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone())).collect())
    }

    fn list(element: Shape) -> Shape {
        Shape::List(Box::new(element))
    }

    #[test]
    fn texts_of_types_are_understood() {
        let strings = fields(&[("Ok", list(Shape::Float)), ("Err", Shape::Text)]);
        for (text, shape) in [
            ("i64", Shape::Int),
            ("usize", Shape::UInt),
            ("std::string::String", Shape::Text),
            ("Option<Vec<bool>>", list(Shape::Bool)),
            ("Result<Vec<f32>, String>", strings),
            ("[u8; 4]", list(Shape::UInt)),
            ("BTreeMap<String, u32>", Shape::Json),
            ("u128", Shape::Json),
            ("Fall", Shape::Unknown),
            ("(i64, f64)", Shape::Unknown),
            ("()", Shape::Unknown),
            ("Result<Fall, (String, i64)>", fields(&[("Ok", Shape::Unknown), ("Err", Shape::Unknown)])),
        ] {
            assert_eq!(Shape::of_type(text), shape, "{text}");
        }
    }

    #[test]
    fn values_have_something_in_common() {
        for (values, shape) in [
            (&["1", "null", "2"][..], Shape::Natural),
            (&["1", "-2"], Shape::Int),
            (&["1", "18446744073709551615"], Shape::UInt),
            (&["-1", "18446744073709551615"], Shape::Json),
            (&["1", "0.5"], Shape::Float),
            (&["1", "\"a\""], Shape::Json),
            (&["[]", "[1]", "[-1]"], list(Shape::Int)),
            (&["{\"a\": 1}", "{\"b\": \"x\"}"], fields(&[("a", Shape::Natural), ("b", Shape::Text)])),
            (&["{\"a\": 1}", "2"], Shape::Json),
            (&["null"], Shape::Unknown),
        ] {
            assert_eq!(found(values), shape, "{values:?}");
        }
    }

    #[test]
    fn values_fill_what_a_type_leaves_open() {
        let known = Shape::of_type("Result<Fall, String>");
        let filled = known.filled(found(&["{\"Ok\": {\"s\": 1.5}}"])).settled();
        assert_eq!(filled, fields(&[("Ok", fields(&[("s", Shape::Float)])), ("Err", Shape::Text)]));
        assert_eq!(Shape::UInt.filled(found(&["7"])), Shape::UInt);
        assert_eq!(found(&["[]", "{}"]).settled(), Shape::Json);
    }

    #[test]
    fn what_has_no_place_is_named() {
        let shape = fields(&[("a", fields(&[("b", Shape::Int)])), ("c", list(Shape::Text))]);
        let refused = |json: &str| shape.refuse("", &value(json)).unwrap_err();
        assert_eq!(shape.refuse("", &value("{\"a\": {\"b\": 1}, \"c\": [\"x\", null]}")), Ok(()));
        assert_eq!(
            refused("{\"a\": {\"b\": 0.5}}"),
            "column `a.b` holds integers, and this value has floats there"
        );
        assert_eq!(refused("{\"c\": [1]}"), "column `c` holds text, and this value has integers there");
        assert_eq!(refused("{\"d\": 1}"), "there is no column `d`: no value before had such a field");
        assert_eq!(refused("3"), "the column holds fields, and this value has integers there");
    }

    #[test]
    fn wide_integers_are_seen() {
        for json in [
            "18446744073709551616",
            "[1, -9223372036854775809]",
            "{\"a\": 340282366920938463463374607431768211455}",
        ] {
            assert!(is_wide(json.as_bytes()), "{json}");
        }
        for json in [
            "18446744073709551615",
            "-9223372036854775808",
            "1e300",
            "0.12345678901234567890123",
            "\"18446744073709551616\"",
            "\"\\\"\", 1",
        ] {
            assert!(!is_wide(json.as_bytes()), "{json}");
        }
    }
}
