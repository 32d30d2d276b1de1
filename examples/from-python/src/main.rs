//! The program of `post.py`, call by call: `cargo run -p from-python`.
//!
//! `docs/from-python.md` quotes both; a test holds what they print, and what is quoted, against each other.

#![forbid(unsafe_code)]

use std::time::Duration;

use procession::{Error, Pool, set_worker_state, slice_data, task, worker_state};

#[task(idempotent)]
fn square(x: i64) -> i64 {
    x * x
}

#[task(idempotent)]
fn power_n(x: i64, n: u32) -> i64 {
    x.pow(n)
}

#[task(idempotent)]
fn power_n_list(xs: Vec<i64>, n: u32) -> Vec<i64> {
    xs.into_iter().map(|x| x.pow(n)).collect()
}

#[task(idempotent)]
fn calc_partial_pi(rank: usize, nprocs: usize, nsteps: usize, dx: f64) -> f64 {
    let mut partial_pi = 0.0;
    for i in (rank..nsteps).step_by(nprocs) {
        let x = (i as f64 + 0.5) * dx;
        partial_pi += 4.0 / (1.0 + x * x);
    }
    partial_pi * dx
}

#[task]
fn set_factor(value: i64) {
    set_worker_state(value);
}

#[task(idempotent)]
fn scaled(x: i64) -> i64 {
    worker_state::<i64>().expect("the initializer has set it") * x
}

#[task(idempotent)]
fn quotient(x: i64) -> i64 {
    100 / x
}

#[task]
fn wait(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// Stands for a library with a bug: one input ends the whole process.
#[task]
fn fragile(x: i64) -> i64 {
    if x == 3 {
        std::process::abort();
    }
    10 * x
}

#[procession::main]
fn main() -> Result<(), Error> {
    let nprocs = 4;
    let pool = Pool::builder().workers(nprocs).build()?;

    let squares = pool.map(square, 0..20)?;
    println!("{squares:?}");

    let powers = pool.starmap(power_n, (0..20).map(|x| (x, 2)))?;
    println!("{powers:?}");

    println!("{}", pool.apply(power_n, (2, 10))?);

    let slices = slice_data(0..20, nprocs).into_iter();
    let results: Vec<_> = slices.map(|xs| pool.apply_async(power_n_list, (xs, 2))).collect();
    let mut joined = Vec::new();
    for result in results {
        joined.extend(result.get()?);
    }
    println!("{joined:?}");

    let nsteps = 1_000_000;
    let dx = 1.0 / nsteps as f64;
    let parts = pool.starmap(calc_partial_pi, (0..nprocs).map(|rank| (rank, nprocs, nsteps, dx)))?;
    println!("{:.9}", parts.iter().sum::<f64>());

    for y in pool.imap(square, 0..5) {
        println!("{}", y?);
    }

    let mut total = 0;
    for y in pool.imap_unordered(square.chunk_size(64), 0..1000) {
        total += y?;
    }
    println!("{total}");

    let result = pool.apply_async(square, (12,)).on_done(|y| match y {
        Ok(y) => println!("callback {y}"),
        Err(error) => println!("error callback {error}"),
    });
    result.wait(None);

    if let Err(error) = pool.map(quotient, [4, 0, 2]) {
        eprintln!("{error}");
        println!("an item failed");
    }

    for (x, y) in pool.imap(fragile, 0..6).enumerate() {
        match y {
            Ok(y) => eprintln!("{x} gives {y}"),
            Err(error) => eprintln!("{x} has no value: {error}"),
        }
    }

    pool.close()?;

    {
        let pool = Pool::builder().workers(2).initializer(set_factor, (10,)).build()?;
        println!("{:?}", pool.map(scaled.chunk_size(2), 0..5)?);

        let mut result = pool.apply_async(wait, (60,));
        if result.get_timeout(Duration::from_millis(100)).is_none() {
            println!("not yet");
        }
    }
    Ok(())
}
