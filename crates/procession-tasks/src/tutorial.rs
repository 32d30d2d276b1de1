//! The tutorial's tasks: squares, powers, powers of a slice, and π by the midpoint rule.

use procession::task;

/// Squares `x`.
///
/// ```
/// assert_eq!(procession_tasks::tutorial::square(7), 49);
/// ```
///
/// # Panics
/// If the square does not fit in an `i64`.
#[task(idempotent)]
pub fn square(x: i64) -> i64 {
    x.checked_mul(x).unwrap_or_else(|| panic!("the square of {x} does not fit in 64 bits"))
}

/// Raises `x` to the power `n`.
///
/// ```
/// assert_eq!(procession_tasks::tutorial::power_n(2, 10), 1024);
/// ```
///
/// # Panics
/// If the power does not fit in an `i64`.
#[task(idempotent)]
pub fn power_n(x: i64, n: u32) -> i64 {
    x.checked_pow(n).unwrap_or_else(|| panic!("{x} to the power {n} does not fit in 64 bits"))
}

/// Raises every number of `xs` to the power `n`: one call for one slice of the data.
///
/// ```
/// use procession_tasks::tutorial::power_n_list;
///
/// let slices = procession::slice_data(0..5, 2);
/// let powers: Vec<Vec<i64>> = slices.into_iter().map(|xs| power_n_list(xs, 2)).collect();
/// assert_eq!(powers, [vec![0, 1, 4], vec![9, 16]]);
/// ```
///
/// # Panics
/// If a power does not fit in an `i64`.
#[task(idempotent)]
pub fn power_n_list(xs: Vec<i64>, n: u32) -> Vec<i64> {
    xs.into_iter().map(|x| power_n(x, n)).collect()
}

/// One worker's share of π: its terms of the midpoint rule for the integral of 4 / (1 + x²) from 0 to 1.
///
/// There are `steps` strips of width `h` (so `h` is 1 / `steps`). Of `size` workers, this one (`rank`, counted from
/// 0) takes every `size`-th strip, beginning with its own rank. The shares of all ranks add up to π.
///
/// ```
/// use procession_tasks::tutorial::calc_partial_pi;
///
/// let pi: f64 = (0..4).map(|rank| calc_partial_pi(rank, 4, 10_000, 1e-4)).sum();
/// assert!((pi - std::f64::consts::PI).abs() < 1e-8);
/// ```
///
/// # Panics
/// If `size` is 0.
#[task(idempotent)]
pub fn calc_partial_pi(rank: u64, size: u64, steps: u64, h: f64) -> f64 {
    assert!(size > 0, "size is 0: at least one worker must share the {steps} steps");
    let terms = steps.saturating_sub(rank).div_ceil(size);
    let sum: f64 = (0..terms)
        .map(|term| {
            let x = ((rank + term * size) as f64 + 0.5) * h;
            4.0 / (1.0 + x * x)
        })
        .sum();
    sum * h
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message of the panic that `call` ends with.
    fn panic_message<R>(call: impl FnOnce() -> R + std::panic::UnwindSafe) -> String {
        match std::panic::catch_unwind(call) {
            Ok(_) => panic!("the call returned"),
            Err(payload) => *payload.downcast::<String>().expect("the message is formatted"),
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(square(-3_037_000_499), 9_223_372_030_926_249_001);
        assert_eq!(power_n(-2, 63), i64::MIN);
        assert_eq!(panic_message(|| square(1 << 32)), "the square of 4294967296 does not fit in 64 bits");
        assert_eq!(panic_message(|| power_n(10, 19)), "10 to the power 19 does not fit in 64 bits");
        assert_eq!(
            panic_message(|| power_n_list(vec![1, 10], 20)),
            "10 to the power 20 does not fit in 64 bits"
        );
    }

    #[test]
    fn shares_of_pi_add_up_for_any_number_of_workers() {
        let whole = calc_partial_pi(0, 1, 1000, 1e-3);
        for size in [2, 3, 7, 1000, 1500] {
            let sum: f64 = (0..size).map(|rank| calc_partial_pi(rank, size, 1000, 1e-3)).sum();
            assert!((sum - whole).abs() < 1e-12, "{size} workers: {sum} is not {whole}");
        }
    }

    #[test]
    fn a_share_is_the_sum_the_tutorial_writes() {
        let (rank, size, steps, h) = (2_u64, 3_u64, 20_u64, 0.05);
        let mut expected = 0.0;
        for i in (rank..steps).step_by(3) {
            let x = (i as f64 + 0.5) * h;
            expected += 4.0 / (1.0 + x * x);
        }
        assert_eq!(calc_partial_pi(rank, size, steps, h), expected * h);
    }

    #[test]
    fn ranks_beyond_the_last_step_have_no_share() {
        assert_eq!(calc_partial_pi(10, 4, 10, 0.1), 0.0);
        assert_eq!(calc_partial_pi(u64::MAX, u64::MAX, 10, 0.1), 0.0);
    }
}
