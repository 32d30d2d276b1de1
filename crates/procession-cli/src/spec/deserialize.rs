//! Lets a task's typed argument read itself from a node of a document.
//!
//! Where that fails, the deepest node that did not fit is remembered beside the error, because the error itself passes
//! through erased types that keep only its text.

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor, value::StrDeserializer,
};
use serde::forward_to_deserialize_any;

use super::document::{Entry, Node, Value};
use crate::diagnostic::Place;

/// Where the deepest misfit stands, once there is one.
pub(crate) type Blame = RefCell<Option<Place>>;

/// Reads from `node`, blaming into `blame`.
#[derive(Clone, Copy)]
pub(crate) struct NodeReader<'a> {
    pub(crate) node: &'a Node,
    pub(crate) blame: &'a Blame,
}

/// What did not fit, in words.
#[derive(Debug)]
pub(crate) struct Misfit(String);

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misfit {}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Misfit {
        Misfit(message.to_string())
    }
}

impl<'a> NodeReader<'a> {
    fn child(self, node: &'a Node) -> NodeReader<'a> {
        NodeReader { node, blame: self.blame }
    }

    /// Remembers this node unless one inside it is already to blame.
    fn or_blame<T>(self, result: Result<T, Misfit>) -> Result<T, Misfit> {
        if result.is_err() {
            self.blame.borrow_mut().get_or_insert_with(|| self.node.at.clone());
        }
        result
    }
}

impl<'de> Deserializer<'de> for NodeReader<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let result = match &self.node.value {
            Value::String(string) | Value::Datetime(string) => visitor.visit_str(string),
            Value::Integer(integer) => visit_integer(*integer, visitor),
            Value::Float(float) => visitor.visit_f64(*float),
            Value::Boolean(boolean) => visitor.visit_bool(*boolean),
            Value::Array(elements) => visitor.visit_seq(Elements { reader: self, rest: elements.iter() }),
            Value::Table(table) => {
                visitor.visit_map(Entries { reader: self, rest: table.entries.iter(), value: None })
            }
        };
        self.or_blame(result)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let result = match &self.node.value {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            Value::Table(table) if table.entries.len() == 1 => {
                visitor.visit_enum(Variant { reader: self, entry: &table.entries[0] })
            }
            other => Err(serde::de::Error::custom(format_args!(
                "invalid type: {}, expected a variant's name, or a table of one variant",
                other.kind()
            ))),
        };
        self.or_blame(result)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Hands an integer over in the narrowest of serde's widths, so that every integer and float type takes it.
pub(crate) fn visit_integer<'de, V, E>(integer: i128, visitor: V) -> Result<V::Value, E>
where
    V: Visitor<'de>,
    E: serde::de::Error,
{
    if let Ok(integer) = i64::try_from(integer) {
        visitor.visit_i64(integer)
    } else if let Ok(integer) = u64::try_from(integer) {
        visitor.visit_u64(integer)
    } else {
        visitor.visit_i128(integer)
    }
}

struct Elements<'a> {
    reader: NodeReader<'a>,
    rest: std::slice::Iter<'a, Node>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        self.rest.next().map(|node| seed.deserialize(self.reader.child(node))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Entries<'a> {
    reader: NodeReader<'a>,
    rest: std::slice::Iter<'a, Entry>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some(entry) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(&entry.node);
        let key: StrDeserializer<'_, Misfit> = entry.key.as_str().into_deserializer();
        let result = seed.deserialize(key);
        if result.is_err() {
            self.reader.blame.borrow_mut().get_or_insert_with(|| entry.key_at.clone());
        }
        result.map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Misfit> {
        let node = self.value.take().expect("serde asks for a value only after its key");
        seed.deserialize(self.reader.child(node))
    }
}

struct Variant<'a> {
    reader: NodeReader<'a>,
    entry: &'a Entry,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Misfit;
    type Variant = NodeReader<'a>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, NodeReader<'a>), Misfit> {
        let name: StrDeserializer<'_, Misfit> = self.entry.key.as_str().into_deserializer();
        Ok((seed.deserialize(name)?, self.reader.child(&self.entry.node)))
    }
}

impl<'de> VariantAccess<'de> for NodeReader<'_> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        serde::Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Misfit> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::diagnostic::Text;
    use crate::spec::document;

    #[derive(Debug, Deserialize, PartialEq)]
    enum Shape {
        Point,
        Circle { radius: f64 },
        Pair(i64, i64),
    }

    fn read<T: DeserializeOwned>(value: &str) -> Result<T, (String, String)> {
        let table = document::parse(&Text::new("t", format!("v = {value}"))).unwrap();
        let blame = Blame::default();
        let reader = NodeReader { node: &table.entries[0].node, blame: &blame };
        T::deserialize(reader).map_err(|misfit| {
            (misfit.to_string(), blame.take().map_or_else(String::new, |at| at.as_str().to_owned()))
        })
    }

    #[test]
    fn reads_what_serde_can_ask_for() {
        assert_eq!(read::<f64>("3"), Ok(3.0));
        assert_eq!(read::<u64>("0x7fff_ffff_ffff_ffff"), Ok(i64::MAX as u64));
        assert_eq!(read::<Option<i64>>("7"), Ok(Some(7)));
        assert_eq!(read::<(i64, String)>("[1, 'x']"), Ok((1, "x".to_owned())));
        assert_eq!(read::<BTreeMap<String, i64>>("{a = 1}"), Ok([("a".to_owned(), 1)].into()));
        assert_eq!(read::<Shape>("'Point'"), Ok(Shape::Point));
        assert_eq!(read::<Shape>("{Circle = {radius = 2}}"), Ok(Shape::Circle { radius: 2.0 }));
        assert_eq!(read::<Shape>("{Pair = [1, 2]}"), Ok(Shape::Pair(1, 2)));
        assert!(read::<f64>("nan").unwrap().is_nan());
    }

    #[test]
    fn blames_the_deepest_misfit() {
        let (message, blamed) = read::<Vec<Vec<i64>>>("[[1, 2], [3, 'x']]").unwrap_err();
        assert_eq!(message, "invalid type: string \"x\", expected i64");
        assert_eq!(blamed, "'x'");
        let (_, blamed) = read::<u8>("300").unwrap_err();
        assert_eq!(blamed, "300");
        let (_, blamed) = read::<Shape>("{Circle = {radius = 'r'}}").unwrap_err();
        assert_eq!(blamed, "'r'");
    }
}
