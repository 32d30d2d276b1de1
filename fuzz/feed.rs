//! Feeds a target's corpus to its function, and damaged copies of what is in it: for the test suites, on any compiler.
//!
//! `FEED_DAMAGED=n` feeds that many copies, `FEED_SEED=n` others.

use std::fs;
use std::path::Path;

use fastrand::Rng;

/// Damaged copies, spread over all inputs of a corpus.
const DAMAGED: u64 = 3_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Some bytes changed, put in, taken out, or taken from another input.
fn damage(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..rng.u32(1..=6) {
        let at = rng.usize(..=bytes.len());
        match rng.u32(..5) {
            0 if at < bytes.len() => bytes[at] = rng.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.u32(..8),
            2 => bytes.insert(at, rng.u8(..)),
            3 => drop(bytes.drain(at..(at + rng.usize(..4)).min(bytes.len()))),
            _ => {
                let from = rng.usize(..=other.len());
                bytes.splice(at..at, other[from..].iter().copied().take(32).collect::<Vec<_>>());
            }
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the entry can be read").path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{} has only {} inputs", folder.display(), files.len());
    files.iter().map(|file| fs::read(file).expect("the file can be read")).collect()
}

/// Runs the target on every input of its corpus and on damaged copies of them.
pub(super) fn feed(target: &str, run: fn(&[u8])) {
    let corpus = corpus(target);
    for input in &corpus {
        run(input);
    }
    // The seed is the whole state, so a failure replays.
    let mut rng = Rng::with_seed(number("FEED_SEED").unwrap_or(0x5eed));
    for count in 0..number("FEED_DAMAGED").unwrap_or(DAMAGED) {
        let mut bytes = corpus[count as usize % corpus.len()].clone();
        let other = rng.usize(..corpus.len());
        damage(&mut rng, &mut bytes, &corpus[other]);
        run(&bytes);
    }
}
