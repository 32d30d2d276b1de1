//! The one number in a result, taken straight from the task's own type.
//!
//! Going through JSON would lose what JSON cannot say: NaN, infinities, and the difference between `3` and `3.0`.

use std::cmp::Ordering;
use std::fmt;

use serde::ser::{Error as _, Impossible, Serialize, Serializer};

/// A value of a reduction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    pub(crate) fn as_float(self) -> f64 {
        match self {
            Number::Integer(integer) => integer as f64,
            Number::Float(float) => float,
        }
    }

    pub(crate) fn is_nan(self) -> bool {
        matches!(self, Number::Float(float) if float.is_nan())
    }

    pub(crate) fn is_less(self, other: Number) -> bool {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => a < b,
            (a, b) => a.as_float().partial_cmp(&b.as_float()) == Some(Ordering::Less),
        }
    }
}

/// Integers in full, floats with the fewest digits that read back as the same float.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Integer(integer) => integer.fmt(f),
            Number::Float(float) => write!(f, "{float:?}"),
        }
    }
}

/// Takes one number and refuses everything else.
#[derive(Debug, Default)]
pub(crate) struct NumberSink(Option<Number>);

impl NumberSink {
    pub(crate) fn take(self) -> Option<Number> {
        self.0
    }
}

type Error = serde::de::value::Error;
type Never = Impossible<(), Error>;

fn not(what: &str) -> Error {
    Error::custom(format_args!("this value is {what}"))
}

macro_rules! integers {
    ($($method:ident($ty:ty))*) => {$(
        fn $method(self, integer: $ty) -> Result<(), Error> {
            self.0 = Some(Number::Integer(i128::from(integer)));
            Ok(())
        }
    )*};
}

impl Serializer for &mut NumberSink {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    integers! {
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
    }

    fn serialize_u128(self, integer: u128) -> Result<(), Error> {
        let number = i128::try_from(integer).map_or(Number::Float(integer as f64), Number::Integer);
        self.0 = Some(number);
        Ok(())
    }

    fn serialize_f32(self, float: f32) -> Result<(), Error> {
        self.serialize_f64(float.into())
    }

    fn serialize_f64(self, float: f64) -> Result<(), Error> {
        self.0 = Some(Number::Float(float));
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_bool(self, _: bool) -> Result<(), Error> {
        Err(not("a boolean"))
    }

    fn serialize_char(self, _: char) -> Result<(), Error> {
        Err(not("a character"))
    }

    fn serialize_str(self, _: &str) -> Result<(), Error> {
        Err(not("a string"))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Error> {
        Err(not("bytes"))
    }

    fn serialize_none(self) -> Result<(), Error> {
        Err(not("absent"))
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Err(not("a unit"))
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Error> {
        Err(not("a unit"))
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
    ) -> Result<(), Error> {
        Err(not("an enum"))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), Error> {
        Err(not("an enum"))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Never, Error> {
        Err(not("a sequence"))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Never, Error> {
        Err(not("a tuple"))
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Never, Error> {
        Err(not("a tuple"))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Never, Error> {
        Err(not("an enum"))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Never, Error> {
        Err(not("a map"))
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Never, Error> {
        Err(not("a struct"))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Never, Error> {
        Err(not("an enum"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: impl Serialize) -> Result<Option<Number>, String> {
        let mut sink = NumberSink::default();
        value.serialize(&mut sink).map_err(|error| error.to_string())?;
        Ok(sink.take())
    }

    #[test]
    fn takes_numbers_and_nothing_else() {
        assert_eq!(number(3_u8), Ok(Some(Number::Integer(3))));
        assert_eq!(number(u64::MAX), Ok(Some(Number::Integer(i128::from(u64::MAX)))));
        assert_eq!(number(Some(0.5)), Ok(Some(Number::Float(0.5))));
        assert_eq!(number("3"), Err("this value is a string".to_owned()));
        assert_eq!(number(vec![3]), Err("this value is a sequence".to_owned()));
    }

    #[test]
    fn floats_print_shortest() {
        assert_eq!(Number::Float(0.1 + 0.2).to_string(), "0.30000000000000004");
        assert_eq!(Number::Float(3.0).to_string(), "3.0");
        assert_eq!(Number::Float(1e300).to_string(), "1e300");
    }
}
