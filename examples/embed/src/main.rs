//! The library, one call after another: `cargo run -p embed`.
//!
//! What it prints is in the README beside it, and a test compares the two.

#![forbid(unsafe_code)]

use std::time::Duration;

use procession::{Error, ErrorKind, Pool, task};

/// At most once: when its worker is lost, the item is reported, not run again.
#[task]
fn square(x: i64) -> i64 {
    x * x
}

/// May be run again after a worker was lost.
#[task(idempotent)]
fn power_n(x: i64, n: u32) -> i64 {
    x.pow(n)
}

/// Stands for a C library with a bug: one input ends the whole process.
#[task]
fn fragile(x: i64) -> i64 {
    if x == 3 {
        std::process::abort();
    }
    10 * x
}

/// A task's own `Result` is data like any other.
#[task(idempotent)]
fn parse(text: String) -> Result<i64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

#[procession::main]
fn main() -> Result<(), Error> {
    let pool = Pool::builder().workers(2).build()?;

    // Many items, in order: the input may be any iterator.
    let squares: Vec<i64> = pool.map(square, 0..10)?;
    println!("map             {squares:?}");

    // Several arguments an item.
    let powers = pool.starmap(power_n, (0..10).map(|x| (x, 3)))?;
    println!("starmap         {powers:?}");

    // One call, its result later; the callback has run before `get` returns.
    let later = pool.apply_async(power_n, (2, 10)).on_done(|result| match result {
        Ok(value) => println!("callback        {value}"),
        Err(error) => println!("callback        {error}"),
    });
    println!("apply_async     {}", later.get()?);

    // A million items, lazily and as they are ready: neither input nor results are ever all in memory.
    let mut sum = 0;
    for result in pool.imap_unordered(square, 0..1_000_000) {
        sum += result?;
    }
    println!("imap_unordered  {sum}");

    // One item kills its worker. The others keep their results, the pool its size.
    for (x, result) in pool.imap(fragile, 0..6).enumerate() {
        match result {
            Ok(value) => println!("imap            {x} -> {value}"),
            Err(error) if error.kind() == ErrorKind::WorkerLost => println!("imap            {x} -> {error}"),
            Err(error) => return Err(error),
        }
    }

    // Options ride on the task.
    let patient = parse.timeout(Duration::from_secs(5)).max_attempts(2);
    let parsed = pool.map(patient, ["17", "many"].map(String::from))?;
    println!("options         {parsed:?}");

    pool.close()
}
