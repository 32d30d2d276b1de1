//! How a region passes from process to process: as a token within encoded arguments, values and results.
//!
//! Whoever encodes arguments keeps the regions they name, until the items that were given the arguments have ended.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::{Kind, Region, Token, known};
use crate::codec::inside;

/// Regions that encoded arguments name, each once.
#[derive(Debug, Default)]
pub(crate) struct Regions(pub(super) Vec<Arc<Region>>);

/// Whether this thread encodes arguments, and whether they have named a region.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Collecting {
    No,
    NothingYet,
    Something,
}

thread_local! {
    static COLLECTING: Cell<Collecting> = const { Cell::new(Collecting::No) };
    static COLLECTED: RefCell<Vec<Arc<Region>>> = const { RefCell::new(Vec::new()) };
}

impl Regions {
    /// Runs an encoder of arguments, and adds the regions they name.
    #[inline]
    pub(crate) fn collect<R>(&mut self, encode: impl FnOnce() -> R) -> R {
        let turn = Turn::begin();
        let result = encode();
        if COLLECTING.get() == Collecting::Something {
            self.add(turn.take());
        }
        result
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those that are not there yet.
    #[cold]
    fn add(&mut self, more: Vec<Arc<Region>>) {
        for region in more {
            if !self.0.iter().any(|known| Arc::ptr_eq(known, &region)) {
                self.0.push(region);
            }
        }
    }

    /// Takes over those of another collection.
    pub(crate) fn append(&mut self, more: Regions) {
        self.add(more.0);
    }
}

/// One encoder's turn. A `Serialize` of the user's may make calls on a pool, each with a turn of its own.
struct Turn {
    outer: Collecting,
    of_outer: Vec<Arc<Region>>,
}

impl Turn {
    #[inline]
    fn begin() -> Turn {
        let outer = COLLECTING.replace(Collecting::NothingYet);
        let of_outer = if outer == Collecting::Something { COLLECTED.take() } else { Vec::new() };
        Turn { outer, of_outer }
    }

    #[cold]
    fn take(&self) -> Vec<Arc<Region>> {
        COLLECTED.take()
    }
}

impl Drop for Turn {
    #[inline]
    fn drop(&mut self) {
        // What an encoder has found before it panicked is nobody's.
        if COLLECTING.replace(self.outer) == Collecting::Something || self.outer == Collecting::Something {
            COLLECTED.set(std::mem::take(&mut self.of_outer));
        }
    }
}

/// Encodes the token of a region.
pub(crate) fn serialize<S: Serializer>(region: &Arc<Region>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_newtype_struct(inside::NAME, &Outgoing(region))
}

/// Finds the region whose token comes next.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
    kind: Kind,
    element_bytes: usize,
) -> Result<Arc<Region>, D::Error> {
    let token = deserializer.deserialize_newtype_struct(inside::NAME, Incoming(PhantomData))?;
    let wrong = |reason: String| serde::de::Error::custom(format_args!("shared data: {reason}"));
    if token.kind != kind {
        return Err(wrong(format!("it is a {}, and a {} is expected", token.kind, kind)));
    }
    if token.element_bytes as usize != element_bytes {
        let found = token.element_bytes;
        return Err(wrong(format!("its elements have {found} bytes each, and {element_bytes} are expected")));
    }
    if !token.bytes.is_multiple_of(element_bytes as u64) {
        return Err(wrong(format!("its {} bytes are no whole number of elements", token.bytes)));
    }
    known::find(&token).map_err(wrong)
}

struct Outgoing<'a>(&'a Arc<Region>);

impl Serialize for Outgoing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !inside::is_inside() {
            return Err(serde::ser::Error::custom(
                "shared data travels only as an argument or a result of a pool's tasks: write its content instead",
            ));
        }
        match COLLECTING.get() {
            // A result: its master has what this process only borrowed.
            Collecting::No if !self.0.is_own() => {}
            Collecting::No => {
                return Err(serde::ser::Error::custom(
                    "a result cannot be data that this worker shared itself, which ends with it: return its content",
                ));
            }
            Collecting::NothingYet | Collecting::Something => {
                COLLECTING.set(Collecting::Something);
                COLLECTED.with_borrow_mut(|regions| match regions.last() {
                    Some(last) if Arc::ptr_eq(last, self.0) => {}
                    _ => regions.push(Arc::clone(self.0)),
                });
            }
        }
        self.0.token.serialize(serializer)
    }
}

struct Incoming(PhantomData<Token>);

impl<'de> Visitor<'de> for Incoming {
    type Value = Token;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shared data, which only a pool can pass")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, content: D) -> Result<Token, D::Error> {
        if !inside::is_inside() {
            return Err(serde::de::Error::custom(
                "shared data comes only as an argument or a result of a pool's tasks: make it with `Pool::share` or \
                 `Pool::broadcast`",
            ));
        }
        Token::deserialize(content)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Slice => "shared slice",
            Kind::Value => "broadcast value",
        })
    }
}
