//! The tasks of the items: each notes its start, does its deed, and answers with a value that is the item's alone.
//!
//! Three kinds of arguments, since each takes another way to the worker: a number, a parcel of up to some MiB, and
//! shared data. Of each there is a task that may be run again and one that may not.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use procession::{Broadcast, Shared};
use procession_tasks::faults;
use serde::{Deserialize, Serialize};

use crate::ledger;
use crate::tag::{Death, Deed, Tag};

/// Longer than any episode may last.
const FOR_EVER: Duration = Duration::from_secs(600);

/// What a large item is given, and what it answers with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parcel {
    /// The item's name, or its answer.
    pub(crate) number: u64,
    /// How many bytes the answer is to have.
    pub(crate) back: u32,
    /// Follow from the number.
    pub(crate) bytes: Vec<u8>,
}

/// What a shared item computes from the data it is given.
pub(crate) type Reading = (u64, u64);

#[procession::task]
pub(crate) fn tiny(number: u64) -> u64 {
    perform(Tag::from_number(number))
}

#[procession::task(idempotent)]
pub(crate) fn tiny_again(number: u64) -> u64 {
    perform(Tag::from_number(number))
}

#[procession::task]
pub(crate) fn large(parcel: Parcel) -> Parcel {
    unpack(&parcel)
}

#[procession::task(idempotent)]
pub(crate) fn large_again(parcel: Parcel) -> Parcel {
    unpack(&parcel)
}

#[procession::task]
pub(crate) fn shared(number: u64, table: Shared<u64>, book: Broadcast<Vec<String>>) -> Reading {
    (perform(Tag::from_number(number)), look_up(number, &table, &book))
}

#[procession::task(idempotent)]
pub(crate) fn shared_again(number: u64, table: Shared<u64>, book: Broadcast<Vec<String>>) -> Reading {
    (perform(Tag::from_number(number)), look_up(number, &table, &book))
}

/// The initializer: of a thousand workers, so many die at it, and so many are slow.
#[procession::task]
pub(crate) fn start_up(seed: u64, dying: u64, slow: u64) {
    // By the process, so that the next worker of the same seat has another chance.
    let draw = fastrand::Rng::with_seed(seed ^ u64::from(std::process::id())).u64(..1_000);
    if draw < dying {
        faults::exit(5);
    }
    if draw < dying + slow {
        thread::sleep(Duration::from_millis(20 + draw % 180));
    }
}

fn unpack(parcel: &Parcel) -> Parcel {
    assert!(is_filling(parcel.number, &parcel.bytes), "the argument's bytes are not its own");
    Parcel::new(perform(Tag::from_number(parcel.number)), parcel.back as usize, 0)
}

/// What an item reads in shared data.
pub(crate) fn look_up(number: u64, table: &[u64], book: &[String]) -> u64 {
    table[number as usize % table.len()] ^ book[number as usize % book.len()].len() as u64
}

impl Parcel {
    pub(crate) fn new(number: u64, bytes: usize, back: u32) -> Parcel {
        Parcel { number, back, bytes: filling(number).take(bytes).collect() }
    }
}

/// Bytes that follow from a number, and are others for another.
fn filling(number: u64) -> impl Iterator<Item = u8> {
    let words = (0_u64..).map(move |at| (number ^ at).wrapping_mul(0xff51_afd7_ed55_8ccd));
    words.flat_map(u64::to_le_bytes)
}

pub(crate) fn is_filling(number: u64, bytes: &[u8]) -> bool {
    filling(number).zip(bytes).all(|(expected, &byte)| expected == byte)
}

/// Notes the start, does the deed; the answer.
fn perform(tag: Tag) -> u64 {
    let attempt = procession::current().expect("this is a worker").attempt();
    ledger::note(tag, attempt);
    match tag.deed() {
        Deed::Work => {}
        Deed::Sleep(time) => thread::sleep(time),
        Deed::Spin(time) => {
            faults::spin(time.as_secs_f64());
        }
        Deed::Die(death) => die(death),
        Deed::DieAtFirst(death) if attempt == 1 => die(death),
        Deed::DieAtFirst(_) => {}
        Deed::Panic => panic!("{}", tag.panic_message()),
        Deed::Overrun => thread::sleep(FOR_EVER),
        Deed::Leave => leave_process(),
        Deed::Flood => {
            faults::stderr_flood(256 << 10);
        }
    }
    tag.answer()
}

fn die(death: Death) {
    match death {
        Death::Segv => faults::segv(),
        Death::Abort => faults::abort(),
        Death::Kill => faults::kill_self(),
        Death::ExitZero => faults::exit(0),
        Death::ExitThree => faults::exit(3),
    }
}

/// Starts a process and does not wait for it: it is to end with the worker.
#[expect(clippy::zombie_processes, reason = "that is what it is for")]
fn leave_process() {
    let mut sleeper = Command::new("sleep");
    sleeper.arg(FOR_EVER.as_secs().to_string());
    sleeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sleeper.spawn().expect("the system has a process to spare");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filling_is_of_one_number() {
        for bytes in [1, 8, 100] {
            let parcel = Parcel::new(7, bytes, 0);
            assert_eq!(parcel.bytes.len(), bytes);
            assert!(is_filling(7, &parcel.bytes));
            assert!(!is_filling(8, &parcel.bytes));
            for at in 0..bytes {
                let mut wrong = parcel.bytes.clone();
                wrong[at] ^= 1;
                assert!(!is_filling(7, &wrong), "byte {at} of {bytes}");
            }
        }
    }
}
