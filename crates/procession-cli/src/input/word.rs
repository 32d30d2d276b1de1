//! Reads a bare word as whatever the parameter wants: a number, a flag, a text; anything nested is JSON.
//!
//! Words are the cells of a CSV file, the lines of a text file and the arguments of the command line. A word that is wanted
//! as a string is that string, whatever it looks like.

use serde::de::value::Error;
use serde::de::{self, Deserializer, IntoDeserializer, Unexpected, Visitor};

use super::cell::split_position;
use crate::spec::deserialize::visit_integer;

/// Reads from one word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordReader<'a> {
    text: &'a str,
    unquote: bool,
}

impl<'de> WordReader<'de> {
    pub(crate) fn new(text: &'de str) -> WordReader<'de> {
        WordReader { text, unquote: false }
    }

    /// Takes `"…"` as the JSON string it spells: for the command line, whose words come without quotes of their own.
    pub(crate) fn unquoting(self) -> WordReader<'de> {
        WordReader { unquote: true, ..self }
    }

    fn json<V: Visitor<'de>>(
        self,
        read: impl FnOnce(
            &mut serde_json::Deserializer<serde_json::de::StrRead<'de>>,
            V,
        ) -> serde_json::Result<V::Value>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut json = serde_json::Deserializer::from_str(self.text);
        let value = read(&mut json, visitor).and_then(|value| json.end().map(|()| value));
        value.map_err(|error| {
            let message = error.to_string();
            let what = split_position(self.text, &message).0;
            if error.is_data() {
                de::Error::custom(what)
            } else {
                de::Error::custom(format_args!("not valid JSON: {what}"))
            }
        })
    }

    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let word = self.text.trim();
        if let Ok(integer) = word.parse::<i128>() {
            return visit_integer(integer, visitor);
        }
        if let Ok(integer) = word.parse::<u128>() {
            return visitor.visit_u128(integer);
        }
        match word.parse::<f64>() {
            Ok(float) => visitor.visit_f64(float),
            Err(_) => Err(de::Error::invalid_type(Unexpected::Str(self.text), &visitor)),
        }
    }

    fn is_empty(self) -> bool {
        matches!(self.text.trim(), "" | "null")
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for WordReader<'de> {
    type Error = Error;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // Whatever JSON it is; a word that is none is a text.
        if serde_json::from_str::<de::IgnoredAny>(self.text).is_ok() {
            self.json(|json, visitor| json.deserialize_any(visitor), visitor)
        } else {
            visitor.visit_str(self.text)
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text.trim() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(de::Error::invalid_type(Unexpected::Str(self.text), &"`true` or `false`")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.unquote && self.text.starts_with('"') {
            return self.json(|json, visitor| json.deserialize_str(visitor), visitor);
        }
        visitor.visit_str(self.text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_empty() { visitor.visit_unit() } else { self.deserialize_any(visitor) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.json(|json, visitor| json.deserialize_seq(visitor), visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.json(|json, visitor| json.deserialize_map(visitor), visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.json(|json, visitor| json.deserialize_tuple(len, visitor), visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.json(|json, visitor| json.deserialize_struct(name, fields, visitor), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.text.trim_start().starts_with(['{', '"']) {
            self.json(|json, visitor| json.deserialize_enum(name, variants, visitor), visitor)
        } else {
            visitor.visit_enum(self.text.into_deserializer())
        }
    }

    serde::forward_to_deserialize_any! {
        bytes byte_buf unit_struct tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::*;

    fn read<T: DeserializeOwned>(word: &str) -> Result<T, String> {
        T::deserialize(WordReader::new(word)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_word_is_what_the_parameter_wants() {
        assert_eq!(read::<i64>("-7"), Ok(-7));
        assert_eq!(read::<f64>("3"), Ok(3.0));
        assert_eq!(read::<f64>("1e-7"), Ok(1e-7));
        assert_eq!(read::<u64>("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(read::<String>("007"), Ok("007".to_owned()));
        assert_eq!(read::<String>("\"q\""), Ok("\"q\"".to_owned()));
        assert_eq!(String::deserialize(WordReader::new("\"q\"").unquoting()), Ok("q".to_owned()));
        assert_eq!(read::<Option<i64>>(""), Ok(None));
        assert_eq!(read::<Option<i64>>("4"), Ok(Some(4)));
        assert_eq!(read::<Vec<i64>>("[1, 2]"), Ok(vec![1, 2]));
        assert_eq!(read::<(i64, String)>("[1, \"x\"]"), Ok((1, "x".to_owned())));
        assert_eq!(read::<bool>("true"), Ok(true));
        assert_eq!(read::<serde_json::Value>("plain"), Ok("plain".into()));
    }

    #[test]
    fn misfits_say_what_was_found_and_wanted() {
        assert_eq!(read::<i64>("two").unwrap_err(), "invalid type: string \"two\", expected i64");
        assert_eq!(read::<i64>("1.5").unwrap_err(), "invalid type: floating point `1.5`, expected i64");
        assert_eq!(read::<u32>("-3").unwrap_err(), "invalid value: integer `-3`, expected u32");
        assert_eq!(read::<Vec<i64>>("[1, x]").unwrap_err(), "not valid JSON: expected value");
        assert!(read::<bool>("yes").unwrap_err().contains("expected `true` or `false`"));
    }
}
