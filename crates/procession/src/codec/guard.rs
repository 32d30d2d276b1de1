//! A layer between a value's `Deserialize` and the decoder, so that a length nobody should trust allocates nothing.
//!
//! The decoder reserves a string or byte buffer before it looks whether the bytes are there; here they are borrowed
//! first and copied afterwards, and byte vectors with them. Sequences and maps never announce more elements than there are bytes of input.
//! Nor may values be nested as deep as the bytes like: each level takes stack, and where that ends, so does the process.
//! This file must not know which decoder is below it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{bulk, inside};
use crate::pages;

/// Most elements that a sequence may have. Only elements that take no bytes could exceed the input's own limit, and
/// without this a length of u64::MAX would be counted through.
const ELEMENTS_MAX: usize = u32::MAX as usize;

/// Most levels of options, sequences, maps and enums within each other: a type that contains itself does so through one
/// of these. A level takes about a kilobyte of stack without optimisation, and threads have two megabytes.
const DEPTH_MAX: u32 = 500;

/// Anything of the decoder's side (a deserializer, an access) or of the value's side (a visitor, a seed).
#[derive(Clone, Copy)]
pub(super) struct Guard<T> {
    inner: T,
    /// Bytes of the whole input: no honest size hint is larger, but for elements without bytes.
    input: u32,
    /// Levels that may follow.
    depth: u32,
}

impl<T> Guard<T> {
    /// `input` is no more than a payload may be.
    pub(super) fn new(inner: T, input: usize) -> Guard<T> {
        Guard { inner, input: input as u32, depth: DEPTH_MAX }
    }

    fn wrap<U>(&self, inner: U) -> Guard<U> {
        Guard { inner, input: self.input, depth: self.depth }
    }

    /// As [`wrap`](Guard::wrap), one level further in.
    fn enter<U, E: Error>(&self, inner: U) -> Result<Guard<U>, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Guard { inner, input: self.input, depth }),
            None => Err(too_deep()),
        }
    }

    fn cap(&self, hint: Option<usize>) -> Option<usize> {
        hint.map(|elements| elements.min(self.input as usize))
    }
}

#[cold]
fn too_deep<E: Error>() -> E {
    E::custom(format_args!("its parts are nested more than {DEPTH_MAX} deep"))
}

fn check_elements<E: Error>(elements: Option<usize>) -> Result<(), E> {
    match elements {
        Some(elements) if elements > ELEMENTS_MAX => Err(E::custom(format_args!(
            "it claims {elements} elements, more than the limit of {ELEMENTS_MAX}"
        ))),
        _ => Ok(()),
    }
}

/// Values without parts pass through as they are.
macro_rules! pass_through {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guard<D> {
    type Error = D::Error;

    pass_through! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_bytes deserialize_unit
        deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_str(Owned(visitor))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_bytes(Owned(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor)?;
        self.inner.deserialize_option(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        inside::announce(name);
        let visitor = self.wrap(visitor);
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor)?;
        self.inner.deserialize_seq(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.wrap(visitor);
        self.inner.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.wrap(visitor);
        self.inner.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor)?;
        self.inner.deserialize_map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.wrap(visitor);
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor)?;
        self.inner.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Sees only values with parts: the others never get a guarded visitor.
impl<'de, V: Visitor<'de>> Visitor<'de> for Guard<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<V::Value, D::Error> {
        let some = self.wrap(some);
        self.inner.visit_some(some)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inside: D) -> Result<V::Value, D::Error> {
        let inside = self.wrap(inside);
        self.inner.visit_newtype_struct(inside)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        check_elements(elements.size_hint())?;
        let elements = self.wrap(elements);
        self.inner.visit_seq(elements)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        check_elements(entries.size_hint())?;
        let entries = self.wrap(entries);
        self.inner.visit_map(entries)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let variant = self.wrap(variant);
        self.inner.visit_enum(variant)
    }
}

/// Vectors of numbers are read in one go: serde's own way lets them grow step by step.
macro_rules! numbers {
    ($guard:ident, $from:ident, $seed:ident: $($number:ty)*) => {$(
        if bulk::decodes::<$seed, Vec<$number>>() {
            let most = $guard.input as usize / size_of::<$number>();
            return $from.deserialize_seq(Numbers::<$number> { most, of: PhantomData }).map(bulk::identity);
        }
    )*};
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Guard<S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        if bulk::decodes::<S, Vec<u8>>() {
            return from.deserialize_bytes(Owned(AsBytes)).map(bulk::identity);
        }
        numbers!(self, from, S: i8 u16 i16 u32 i32 u64 i64 f32 f64);
        let from = self.wrap(from);
        self.inner.deserialize(from)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Guard<A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.cap(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Guard<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.cap(self.inner.size_hint())
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Guard<A> {
    type Error = A::Error;
    type Variant = Guard<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (seed, rest) = (self.wrap(seed), self.wrap(()));
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, rest.wrap(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Guard<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.wrap(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.wrap(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

/// A visitor that asked for an owned string or buffer, and gets a copy of what was found to be there.
struct Owned<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Owned<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.0.visit_string(text.to_owned())
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<V::Value, E> {
        let mut copy = pages::vec(bytes.len());
        copy.extend_from_slice(bytes);
        self.0.visit_byte_buf(copy)
    }
}

/// A visitor for a vector of numbers, of which the input holds so many at most.
struct Numbers<T> {
    most: usize,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Numbers<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let hint = elements.size_hint();
        check_elements(hint)?;
        let mut numbers = pages::vec(hint.unwrap_or(0).min(self.most));
        while let Some(number) = elements.next_element()? {
            numbers.push(number);
        }
        Ok(numbers)
    }
}

/// A visitor for a whole byte vector.
struct AsBytes;

impl Visitor<'_> for AsBytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}
