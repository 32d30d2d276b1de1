//! `#[task]` as a user meets it.
#![forbid(unsafe_code, nonstandard_style)]
#![deny(warnings, missing_docs, clippy::all, clippy::pedantic)]

use procession::task;

/// Squares.
#[task]
fn square(x: i64) -> i64 {
    x * x
}

#[test]
fn plain_call() {
    assert_eq!(square(7), 49);
    assert_eq!(square.info().path(), "task::square");
    assert_eq!(procession::tasks().len(), 1);
}
