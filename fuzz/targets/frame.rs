//! Any bytes as frames, in both directions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession::fuzz::frame(bytes));
