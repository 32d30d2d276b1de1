//! Large blocks of fresh memory in large pages: the kernel fills each page at its first use, and for small ones that
//! costs several times as much as what is then written there (64 MiB: 32 ms, in large pages 6 ms).

use std::mem::MaybeUninit;

/// The size of a large page, where there are any.
const HUGE_BYTES: usize = 2 << 20;

/// Smaller blocks may not hold even one large page, and usually are warm already.
const LARGE_BYTES: usize = 2 * HUGE_BYTES;

/// An empty vector with room for `len` elements.
pub(crate) fn vec<T>(len: usize) -> Vec<T> {
    prepared(Vec::with_capacity(len))
}

/// As [`vec`], for a length that is no more than a wish: without room for it the vector has none.
pub(crate) fn vec_if_room<T>(len: usize) -> Vec<T> {
    let mut vector = Vec::new();
    let _ = vector.try_reserve_exact(len);
    prepared(vector)
}

fn prepared<T>(mut empty: Vec<T>) -> Vec<T> {
    if empty.capacity().saturating_mul(size_of::<T>()) >= LARGE_BYTES {
        prefer_huge(empty.spare_capacity_mut());
    }
    empty
}

fn prefer_huge<T>(room: &mut [MaybeUninit<T>]) {
    let range = room.as_mut_ptr_range();
    let (start, end) = (range.start.addr().next_multiple_of(HUGE_BYTES), range.end.addr());
    let len = end.saturating_sub(start) / HUGE_BYTES * HUGE_BYTES;
    if len > 0 {
        let start = range.start.with_addr(start).cast::<libc::c_void>();
        // SAFETY: whole pages of memory that is borrowed here; the advice changes nothing that is in it. A system
        // that has no such pages refuses, and small ones do.
        unsafe { libc::madvise(start, len, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_every_size_hold_what_is_asked_for() {
        for len in [0, 1, LARGE_BYTES / 8 - 1, LARGE_BYTES / 8, 3_000_000] {
            let mut vector = vec::<u64>(len);
            assert!(vector.capacity() >= len);
            vector.extend(0..len as u64);
            assert!(vector.into_iter().eq(0..len as u64));
        }
        assert_eq!(vec_if_room::<u64>(usize::MAX).capacity(), 0);
        assert!(vec_if_room::<u64>(1_000_000).capacity() >= 1_000_000);
    }
}
