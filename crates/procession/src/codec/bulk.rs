//! Vectors of bytes and numbers, which serde sees element by element, known by their type so that they are copied as a
//! whole.
//!
//! The check costs nothing at run time: type identities are constants. This file must not know bincode.

use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use serde::{Serialize, Serializer};

/// The bytes of a value that is a `Vec<u8>`, or a reference to one, as sequences of vectors hand their elements on.
#[inline(always)]
pub(super) fn bytes_of<T: ?Sized>(value: &T) -> Option<&[u8]> {
    if is::<T, Vec<u8>>() {
        // SAFETY: `T` is `Vec<u8>`, a type without lifetimes, so this is the same reference.
        let bytes = unsafe { &*std::ptr::from_ref(value).cast::<Vec<u8>>() };
        return Some(bytes);
    }
    if is::<T, &'static Vec<u8>>() {
        // SAFETY: `T` is a reference to a `Vec<u8>` of some lifetime that outlives the borrow of `value`.
        let bytes: &Vec<u8> = unsafe { *std::ptr::from_ref(value).cast::<&Vec<u8>>() };
        return Some(bytes);
    }
    None
}

/// Whether this seed decodes a `T` in the way that type does by itself.
#[inline(always)]
pub(super) fn decodes<S, T: 'static>() -> bool {
    is::<S, PhantomData<T>>()
}

/// The same vector as a value of type `V`, which must be its type.
///
/// # Panics
/// If it is another.
#[inline(always)]
pub(super) fn identity<T: 'static, V>(vector: Vec<T>) -> V {
    assert!(is::<V, Vec<T>>(), "the type was looked at before");
    let vector = ManuallyDrop::new(vector);
    // SAFETY: `V` is `Vec<T>`, and the original is never used again.
    unsafe { std::ptr::from_ref(&vector).cast::<V>().read() }
}

#[inline(always)]
fn is<T: ?Sized, U: 'static>() -> bool {
    typeid::of::<T>() == TypeId::of::<U>()
}

/// Bytes that are encoded as the sequence of numbers they are: length, then each.
pub(super) struct Bulk<'a>(pub(super) &'a [u8]);

impl Serialize for Bulk<'_> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}
