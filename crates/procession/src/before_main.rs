//! The entry hook for programs whose `main` is not theirs, such as plain `#[test]`s.

use std::panic::catch_unwind;

/// Calls [`init`](crate::init) before `main`, in the program in which it is written. Needs the feature `before-main`.
///
/// Write it once, at the top of the file that holds the tests:
///
/// ```
/// procession::before_main!();
///
/// #[procession::task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// fn squares() { // a `#[test]`, in a test file
///     let pool = procession::Pool::builder().workers(1).build().unwrap();
///     assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
/// }
/// # fn main() { squares() }
/// ```
///
/// In a worker the hook does not return, so nothing that the program does in `main` happens there.
///
/// A constructor is `unsafe` code of its own, so a crate with `#![forbid(unsafe_code)]` cannot have one; with
/// `#![deny(unsafe_code)]` it can.
#[macro_export]
macro_rules! before_main {
    () => {
        const _: () = {
            #[$crate::__private::ctor::ctor(unsafe, crate_path = $crate::__private::ctor)]
            fn enter() {
                $crate::__private::before_main();
            }
        };
    };
}

/// What the hook runs, after the C library is ready and before `main`.
pub fn enter() {
    // No panic may leave a constructor.
    if catch_unwind(crate::init).is_err() {
        std::process::abort();
    }
}
