//! Numbers, whose encoding is what they are in memory, and vectors of bytes and numbers, which serde sees element by
//! element, known by their type so that they are copied as a whole.
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

/// Whether a `T` is a number that is encoded as it lies in memory.
#[inline(always)]
pub(super) fn is_number<T: ?Sized>() -> bool {
    let is_integer = is::<T, u8>() || is::<T, u16>() || is::<T, u32>() || is::<T, u64>() || is::<T, u128>();
    let is_signed = is::<T, i8>() || is::<T, i16>() || is::<T, i32>() || is::<T, i64>() || is::<T, i128>();
    cfg!(target_endian = "little") && (is_integer || is_signed || is::<T, f32>() || is::<T, f64>())
}

/// The encoding of a value that is a number.
#[inline(always)]
pub(super) fn number_bytes<T: ?Sized>(value: &T) -> Option<&[u8]> {
    if !is_number::<T>() {
        return None;
    }
    // SAFETY: a number is so many bytes, all of which are set, and they are borrowed as long as it is.
    Some(unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of_val(value)) })
}

/// The number that `bytes` begin with, and what follows it, if a `T` is a number and they are long enough.
#[inline(always)]
pub(super) fn split_number<T>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (number, rest) = bytes.split_at_checked(size_of::<T>()).filter(|_| is_number::<T>())?;
    // SAFETY: there are as many bytes as a `T` has, and any bytes are a number. They need not be aligned.
    Some((unsafe { number.as_ptr().cast::<T>().read_unaligned() }, rest))
}

/// Appends the numbers that `bytes` are. `false`: nothing was done, as a `T` is no number or the bytes are not a whole
/// number of them.
#[inline(always)]
pub(super) fn extend_numbers<T>(values: &mut Vec<T>, bytes: &[u8]) -> bool {
    if !is_number::<T>() || !bytes.len().is_multiple_of(size_of::<T>()) {
        return false;
    }
    let count = bytes.len() / size_of::<T>();
    values.reserve(count);
    let len = values.len();
    // SAFETY: there is room for so many more values than there are, which is as many bytes; any bytes are numbers, so
    // all up to the new length are set.
    unsafe {
        let end = values.as_mut_ptr().add(len).cast::<u8>();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), end, bytes.len());
        values.set_len(len + count);
    }
    true
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
