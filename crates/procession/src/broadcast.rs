//! A value that many tasks read, encoded once by the program and decoded once by each worker.
//!
//! The encoding lies in a region; the decoded value is kept by the worker's one thread, so it need not be `Send`.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{self, CodecError};
use crate::error::{Error, ErrorKind};
use crate::pool::Pool;
use crate::region::{self, Kind, Region, Regions};

/// A value that every worker decodes once: made by [`Pool::broadcast`], passed to tasks as any argument.
///
/// For values that are no plain slices, such as maps, trees and models; for those that are, [`Shared`](crate::Shared)
/// saves the decoding too.
///
/// ```no_run
/// use std::collections::HashMap;
/// use procession::{Broadcast, Pool, task};
///
/// #[task]
/// fn price(prices: Broadcast<HashMap<String, u32>>, name: String) -> Option<u32> {
///     prices.get(&name).copied()
/// }
///
/// #[procession::main]
/// fn main() -> Result<(), procession::Error> {
///     let pool = Pool::new()?;
///     let prices = pool.broadcast(&HashMap::from([("pear".to_owned(), 3), ("quince".to_owned(), 7)]))?;
///     let names = ["quince", "medlar"].map(|name| (prices.clone(), name.to_owned()));
///     assert_eq!(pool.starmap(price, names)?, [Some(7), None]);
///     pool.close()
/// }
/// ```
///
/// A worker decodes the value with the first item that has it, and keeps it for later items until the program's last
/// handle is gone; a worker that replaces another decodes it again. A value that does not decode is that item's error.
/// Lifetime and limits are those of [`Shared`](crate::Shared). A value may hold handles of other shared data.
pub struct Broadcast<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    region: Arc<Region>,
    value: OnceLock<T>,
}

impl Pool {
    /// Encodes a value into memory that the workers share, once, for any number of calls. See [`Broadcast`].
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] or [`ErrorKind::TooLarge`] if it cannot be encoded, [`ErrorKind::Share`] if there is no
    /// memory or no descriptor for it.
    pub fn broadcast<T: Serialize + DeserializeOwned>(&self, value: &T) -> Result<Broadcast<T>, Error> {
        let mut encoded = Vec::new();
        let mut refers_to = Regions::default();
        refers_to.collect(|| codec::encode(value, &mut encoded)).map_err(|error| {
            let kind = match error {
                CodecError::TooLarge { .. } => ErrorKind::TooLarge,
                CodecError::Encode(_) | CodecError::Decode(_) => ErrorKind::Encode,
            };
            Error::new(kind, format!("broadcast: {error}"))
        })?;
        let region = Region::create(Kind::Value, 1, &encoded, refers_to).map_err(|error| {
            Error::new(ErrorKind::Share, format!("{} bytes for a value: {error}", encoded.len()))
        })?;
        Ok(Broadcast { inner: Arc::new(Inner { region, value: OnceLock::new() }) })
    }
}

impl<T: DeserializeOwned> Deref for Broadcast<T> {
    type Target = T;

    /// The value. The program itself decodes it when it first asks for it.
    ///
    /// # Panics
    /// In the program that made it, if `Deserialize` refuses what `Serialize` wrote.
    #[inline]
    fn deref(&self) -> &T {
        self.inner.value.get_or_init(|| match codec::decode(self.inner.region.content()) {
            Ok(value) => value,
            Err(error) => panic!("a broadcast value cannot be read here: {error}"),
        })
    }
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Broadcast<T> {
        Broadcast { inner: Arc::clone(&self.inner) }
    }
}

impl<T> Serialize for Broadcast<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        region::serialize(&self.inner.region, serializer)
    }
}

impl<'de, T: DeserializeOwned + 'static> Deserialize<'de> for Broadcast<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Broadcast<T>, D::Error> {
        let region = region::deserialize(deserializer, Kind::Value, 1)?;
        if region.is_own() {
            // It came back to where it was made: decoded if anybody asks.
            return Ok(Broadcast { inner: Arc::new(Inner { region, value: OnceLock::new() }) });
        }
        decoded_here(region).map_err(serde::de::Error::custom)
    }
}

impl<T> fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("encoded_bytes", &self.inner.region.content().len())
            .finish_non_exhaustive()
    }
}

thread_local! {
    /// What this worker has decoded, by region and by type.
    static DECODED: RefCell<BTreeMap<([u8; 16], TypeId), Box<dyn Kept>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A decoded value of some type.
trait Kept {
    fn as_any(&self) -> &dyn Any;
    /// Nobody has a handle of it, here or in the process that made it.
    fn is_forgotten(&self) -> bool;
}

impl<T: 'static> Kept for Broadcast<T> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_forgotten(&self) -> bool {
        Arc::strong_count(&self.inner) == 1 && self.inner.region.is_retired()
    }
}

fn decoded_here<T: DeserializeOwned + 'static>(region: Arc<Region>) -> Result<Broadcast<T>, CodecError> {
    let key = (region.nonce(), TypeId::of::<T>());
    let known =
        DECODED.with_borrow(|decoded| decoded.get(&key)?.as_any().downcast_ref::<Broadcast<T>>().cloned());
    if let Some(known) = known {
        return Ok(known);
    }
    // The list is not borrowed meanwhile: the value may hold others.
    let value = OnceLock::from(codec::decode::<T>(region.content())?);
    let new = Broadcast { inner: Arc::new(Inner { region, value }) };
    DECODED.with_borrow_mut(|decoded| decoded.insert(key, Box::new(new.clone())));
    Ok(new)
}

/// Gives back what no handle refers to any more, of values and of regions. A worker calls it between items.
#[inline]
pub(crate) fn forget_retired() {
    if DECODED.with_borrow(|decoded| !decoded.is_empty()) {
        forget_values();
    }
    region::forget_retired();
}

fn forget_values() {
    let take = || -> Vec<Box<dyn Kept>> {
        DECODED.with_borrow_mut(|decoded| {
            decoded.extract_if(.., |_, value| value.is_forgotten()).map(|(_, value)| value).collect()
        })
    };
    // With a value goes what it alone refers to.
    let mut forgotten = take();
    while !forgotten.is_empty() {
        for value in forgotten {
            // Its destructor is the user's code, and this is no item of theirs.
            if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
                tracing::warn!("the destructor of a broadcast value panicked");
            }
        }
        forgotten = take();
    }
}
