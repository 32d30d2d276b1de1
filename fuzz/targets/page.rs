//! Any bytes as what a worker does to the page it shares.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession::fuzz::page(bytes));
