//! Tasks of your own with the whole command line: `cargo run --release -p own-tasks -- tasks`.
//!
//! The tasks are all there is to write: specs, inputs, outputs, progress and failures come with `procession_cli::main`.

#![deny(unsafe_code)]

use std::process::ExitCode;

use procession::task;

/// Counts the primes in part `part` of `parts` equal parts of the numbers below `limit`.
#[task(idempotent)]
fn count_primes(part: u64, parts: u64, limit: u64) -> usize {
    assert!(part < parts, "part {part} is not one of {parts}");
    let (from, to) = (part * limit / parts, (part + 1) * limit / parts);
    (from..to).filter(|&n| n > 1 && factors(n).len() == 1).count()
}

/// The prime factors of `n`, smallest first; none for 0 and 1.
#[task(idempotent)]
fn factors(mut n: u64) -> Vec<u64> {
    let mut factors = Vec::new();
    let mut divisor = 2;
    while n > 1 {
        if divisor * divisor > n {
            divisor = n;
        }
        while n.is_multiple_of(divisor) {
            factors.push(divisor);
            n /= divisor;
        }
        divisor += 1;
    }
    factors
}

fn main() -> ExitCode {
    procession_cli::main()
}

#[cfg(test)]
mod tests {
    use procession::Pool;

    use super::*;

    // In a test program `main` is not ours, so workers enter before it.
    procession::before_main!();

    #[test]
    fn parts_add_up() {
        let pool = Pool::builder().workers(2).build().unwrap();
        let counts = pool.starmap(count_primes, (0..7).map(|part| (part, 7, 10_000))).unwrap();
        assert_eq!(counts.iter().sum::<usize>(), 1229);
        pool.close().unwrap();
    }

    #[test]
    fn a_task_is_still_a_function() {
        assert_eq!(factors(60), [2, 2, 3, 5]);
        assert_eq!(factors(1), [0; 0]);
    }
}
