//! A slice that many tasks read, without a copy.
//!
//! It knows elements and their types; how the memory is shared is the region's business.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind};
use crate::pool::Pool;
use crate::region::{self, HEAD_BYTES, Kind, Region, Regions};

/// A read-only slice in memory that the workers share with the program: made by [`Pool::share`], passed to tasks as
/// any argument, also within structs, tuples and vectors.
///
/// ```no_run
/// use procession::{Pool, Shared, task};
///
/// #[task]
/// fn sum(table: Shared<f64>, from: usize, to: usize) -> f64 {
///     table[from..to].iter().sum() // the table itself, not a copy
/// }
///
/// #[procession::main]
/// fn main() -> Result<(), procession::Error> {
///     let pool = Pool::new()?;
///     let table = pool.share(&vec![0.5; 32 << 20])?; // 256 MiB, copied once
///     let parts = (0..32).map(|part| (table.clone(), part << 20, (part + 1) << 20));
///     let sums = pool.starmap(sum, parts)?;
///     assert_eq!(sums.iter().sum::<f64>(), (16 << 20) as f64);
///     pool.close()
/// }
/// ```
///
/// What travels is a name of a few bytes, so a call costs the same however large the slice is. A worker maps the slice
/// with the first item that has it, and later items find it at the same address. Writing to it through a pointer ends
/// the worker: such an item is lost as with any crash.
///
/// Clones are handles of the same memory. It is given back when the last handle of the program is gone, no call that
/// was given one is under way, and the workers take their next items or have been idle for a second; a worker that has
/// been idle for longer keeps it until its next item. A call keeps what its arguments refer to, so the handle that was
/// passed may be the last. The worker that is the last to unmap a slice needs some time for it before its item begins,
/// about 0.2 ms a MiB, which does not count towards the item's time limit. Each slice keeps one descriptor of the
/// program open. A task can return what it was given. A handle of one pool's may be used with any other pool of the program.
///
/// Elements are plain data ([`Pod`]): numbers, arrays of them, and structs that derive it with the crate `bytemuck`,
/// which is [`procession::bytemuck`](crate::bytemuck) as well. Elements without size do not compile:
///
/// ```compile_fail,E0080
/// # fn main() {
/// # let pool = procession::Pool::new().unwrap();
/// let nothing = pool.share(&[(), ()]);
/// # }
/// ```
///
/// The program must be able to show its descriptors to its workers under `/proc`, as it can unless it has made itself
/// undumpable or changed its user. Where it cannot, items end with [`ErrorKind::Decode`], which says so.
pub struct Shared<T> {
    region: Arc<Region>,
    elements: PhantomData<Arc<[T]>>,
}

/// What a shared slice consists of: plain data, which is the same bytes in every process.
///
/// Implemented for every type that is [`Pod`]; never implement it yourself.
#[diagnostic::on_unimplemented(
    message = "a slice of `{Self}` cannot be shared as it lies in memory",
    label = "its elements are not plain data",
    note = "plain data are numbers, arrays of them, and structs that derive `bytemuck::Pod`",
    note = "strings, vectors, maps and structs that have them travel with `Pool::broadcast(&value)`"
)]
pub trait SharedElement: Pod {}

impl<T: Pod> SharedElement for T {}

impl Pool {
    /// Copies a slice into memory that the workers share, once, for any number of calls. See [`Shared`].
    ///
    /// # Errors
    /// [`ErrorKind::Share`] if there is no memory or no descriptor for it.
    pub fn share<T: SharedElement>(&self, data: &[T]) -> Result<Shared<T>, Error> {
        let content: &[u8] = bytemuck::cast_slice(data);
        let region = Region::create(Kind::Slice, Shared::<T>::ELEMENT_BYTES, content, Regions::default());
        let region = region.map_err(|error| {
            Error::new(ErrorKind::Share, format!("{} bytes for a slice: {error}", content.len()))
        })?;
        Ok(Shared { region, elements: PhantomData })
    }
}

impl<T> Shared<T> {
    /// Evaluated wherever a handle is made, so that what cannot be shared does not compile.
    const ELEMENT_BYTES: usize = {
        assert!(size_of::<T>() > 0, "elements without size have nothing to share");
        assert!(align_of::<T>() <= HEAD_BYTES, "elements are aligned to 4096 bytes at most");
        size_of::<T>()
    };

    #[cfg(test)]
    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.region
    }
}

impl<T: Pod> Deref for Shared<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(self.region.content())
    }
}

impl<T: Pod> AsRef<[T]> for Shared<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared { region: Arc::clone(&self.region), elements: PhantomData }
    }
}

impl<T: Pod> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        region::serialize(&self.region, serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shared<T>, D::Error> {
        let region = region::deserialize(deserializer, Kind::Slice, Shared::<T>::ELEMENT_BYTES)?;
        Ok(Shared { region, elements: PhantomData })
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements = self.region.content().len() / Shared::<T>::ELEMENT_BYTES;
        f.debug_struct("Shared").field("elements", &elements).finish_non_exhaustive()
    }
}
