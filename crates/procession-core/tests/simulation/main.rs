//! Thousands of lives of a pool, each from one seed: random calls, crashes, hangs, refusals, resizes and ends.
//!
//! `SIM_SEED=n` replays one life and prints it; `SIM_LIVES=n` runs that many.

mod ledger;
mod life;
mod makespan;
mod obey;
mod process;
mod restarts;
mod rng;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_life_keeps_the_promises() {
    if let Some(seed) = number("SIM_SEED") {
        life::live(seed, true);
        return;
    }
    let lives = number("SIM_LIVES").unwrap_or(10_000);
    let mut census = life::Census::default();
    for seed in 0..lives {
        match catch_unwind(AssertUnwindSafe(|| life::live(seed, false))) {
            Ok(life) => census += life,
            Err(cause) => {
                eprintln!("life {seed} failed; replay it with");
                eprintln!(
                    "    SIM_SEED={seed} cargo test -p procession-core --test simulation every_life -- --nocapture"
                );
                resume_unwind(cause);
            }
        }
    }
    println!("{lives} lives: {census:?}");
    census.check_variety(lives);
}
