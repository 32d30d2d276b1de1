//! Any bytes as what the workers of a pool do.
#![no_main]

use procession_tasks as _;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession::fuzz::replies(bytes));
