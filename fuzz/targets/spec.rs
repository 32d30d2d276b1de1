//! Any bytes as a job spec.
#![no_main]

use procession_tasks as _;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession_cli::fuzz::spec(bytes));
