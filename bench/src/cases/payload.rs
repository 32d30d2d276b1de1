//! B6 and B7: what it costs to bring many bytes to a worker and back.

use std::time::Duration;

use procession::task;
use procession_tasks::faults::echo as echo_task;

use super::{Figures, timed, warm_pool};
use crate::limits::{ipc, memory};
use crate::plan::{MEMCPY, RAW_BYTES};
use crate::results::Measurement;

const ECHO_BYTES: usize = 1 << 20;
const ECHOES: usize = 100;
const ARGUMENT_BYTES: usize = 64 << 20;
const ARGUMENTS: usize = 4;

#[task]
fn length(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

pub(super) fn echo() -> Figures {
    let limit = ipc::bytes_echo(ECHO_BYTES, ECHOES)?;
    let pool = warm_pool()?;
    // What came back is sent again, so that nothing but the pool copies anything.
    let mut bytes = pool.apply(echo_task, (memory::pattern(ECHO_BYTES),))?;
    let (took, done) = timed(|| -> Result<(), procession::Error> {
        for _ in 0..ECHOES {
            bytes = pool.apply(echo_task, (std::mem::take(&mut bytes),))?;
        }
        Ok(())
    });
    done?;
    assert!(bytes == memory::pattern(ECHO_BYTES), "the bytes came back changed");
    pool.close()?;
    Ok(vec![
        Measurement::limit("B6", RAW_BYTES, limit),
        Measurement::ours("B6", rate(2 * ECHO_BYTES * ECHOES, took)),
    ])
}

pub(super) fn one_way() -> Figures {
    let bytes = memory::pattern(ARGUMENT_BYTES);
    let copied = memory::copy(&bytes, ARGUMENTS);
    let raw = ipc::bytes_one_way(&bytes, ARGUMENTS)?;
    let pool = warm_pool()?;
    pool.apply(length, (bytes.clone(),))?;
    let mut took = Duration::ZERO;
    for _ in 0..ARGUMENTS {
        // The caller's copy is not the pool's doing.
        let argument = bytes.clone();
        let (one, received) = timed(|| pool.apply(length, (argument,)));
        assert_eq!(received?, ARGUMENT_BYTES as u64);
        took += one;
    }
    pool.close()?;
    Ok(vec![
        Measurement::limit("B7", MEMCPY, copied),
        Measurement::limit("B7", RAW_BYTES, raw),
        Measurement::ours("B7", rate(ARGUMENT_BYTES * ARGUMENTS, took)),
    ])
}

fn rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64()
}
