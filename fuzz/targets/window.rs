//! Any bytes as what a worker does to its window.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession::fuzz::window(bytes));
