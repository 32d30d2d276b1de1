//! Feeds a target's corpus to its function, and damaged copies of what is in it: for the test suites, on any compiler.
//!
//! `FEED_DAMAGED=n` feeds that many copies, `FEED_SEED=n` others.

use std::fs;
use std::path::Path;

/// Damaged copies, spread over all inputs of a corpus.
const DAMAGED: u64 = 3_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A small generator (splitmix64): the seed is the whole state, so a failure replays.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Some bytes changed, put in, taken out, or taken from another input.
    fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] = self.next() as u8,
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 => bytes.insert(at, self.next() as u8),
                3 => drop(bytes.drain(at..(at + self.below(4)).min(bytes.len()))),
                _ => {
                    let from = self.below(other.len() + 1);
                    bytes.splice(at..at, other[from..].iter().copied().take(32).collect::<Vec<_>>());
                }
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
    let mut noise = Noise(number("FEED_SEED").unwrap_or(0x5eed));
    for count in 0..number("FEED_DAMAGED").unwrap_or(DAMAGED) {
        let mut bytes = corpus[count as usize % corpus.len()].clone();
        let other = noise.below(corpus.len());
        noise.damage(&mut bytes, &corpus[other]);
        run(&bytes);
    }
}
