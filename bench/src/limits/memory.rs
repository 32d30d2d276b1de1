//! What it costs to copy memory.

use std::hint::black_box;
use std::time::Instant;

/// Bytes that are not all the same.
pub(crate) fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

/// Bytes a second, into memory that was written to before.
pub(crate) fn copy(bytes: &[u8], times: usize) -> f64 {
    let mut to = bytes.to_vec();
    let start = Instant::now();
    for _ in 0..times {
        to.copy_from_slice(black_box(bytes));
        black_box(&mut to);
    }
    (bytes.len() * times) as f64 / start.elapsed().as_secs_f64()
}
