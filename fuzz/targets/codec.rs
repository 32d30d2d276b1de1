//! Any bytes as encoded values.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession::fuzz::codec(bytes));
