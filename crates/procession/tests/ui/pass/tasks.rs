//! Every shape of function that can be a task.
#![forbid(unsafe_code)]
#![deny(warnings, nonstandard_style, missing_docs, rust_2018_idioms, clippy::all, clippy::pedantic)]

use std::borrow::Cow;
use std::collections::HashMap;

use procession::{Task, task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[task]
fn nothing() {}

#[task]
fn eight(a: u8, b: u16, c: u32, d: u64, e: i8, f: i16, g: i32, h: String) -> String {
    format!("{a}{b}{c}{d}{e}{f}{g}{h}")
}

#[task]
fn patterns(mut x: i64, _: u8, (a, b): (i64, i64), Point { x: px, y: _ }: Point) -> f64 {
    x += a + b;
    x as f64 + px
}

#[task]
fn raw(r#type: u8) -> u8 {
    r#type
}

#[task]
fn r#loop(x: u8) -> u8 {
    x
}

#[task]
#[expect(non_snake_case, reason = "a name from a paper")]
fn camelCase(x: u8) -> u8 {
    x
}

#[task]
fn own_name(own_name: u64) -> u64 {
    let own_name = own_name + 1;
    own_name
}

#[task]
fn fibonacci(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

#[task(idempotent)]
#[must_use]
#[inline]
const fn documented_elsewhere(x: u8) -> Result<u8, u16> {
    Ok(x)
}

/// Is not there.
#[task]
#[cfg(any())]
fn configured_away(x: Missing) -> u8 {}

#[task]
fn containers(words: HashMap<String, Vec<Option<u8>>>, text: Cow<'static, str>, bytes: [u8; 4]) -> Box<usize> {
    Box::new(words.len() + text.len() + bytes.len())
}

mod nested {
    pub(crate) mod deeper {
        #[procession::task]
        pub(in super::super) fn task(x: super::Local) -> u8 {
            super::helper(x.0)
        }
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    pub(crate) struct Local(pub(crate) u8);

    fn helper(x: u8) -> u8 {
        x
    }
}

/// An own crate that re-exports ours under another name.
mod wrapper {
    pub(crate) mod engine {
        pub(crate) use procession::*;
    }
}

#[wrapper::engine::task(crate = wrapper::engine)]
fn through_a_wrapper(x: u8) -> u8 {
    x
}

macro_rules! make_task {
    ($name:ident, $ty:ty) => {
        #[task]
        fn $name(x: $ty) -> $ty {
            x
        }
    };
}

make_task!(made, i16);

fn main() {
    #[derive(Serialize, Deserialize)]
    struct Inside(u8);

    #[task]
    fn inside(x: Inside) -> u8 {
        x.0
    }

    let typed: Task<fn(u32) -> u64> = fibonacci;
    assert_eq!(typed(10), 55);
    assert_eq!(inside(Inside(3)), 3);
    nothing();
    assert_eq!(eight(1, 2, 3, 4, 5, 6, 7, "8".to_owned()), "12345678");
    assert!(patterns(1, 2, (3, 4), Point { x: 0.5, y: 1.5 }) > 8.0);
    assert_eq!(raw(1) + r#loop(2) + camelCase(3), 6);
    assert_eq!(own_name(1), 2);
    assert_eq!(documented_elsewhere(4), Ok(4));
    assert_eq!(*containers(HashMap::new(), Cow::Borrowed("text"), [0; 4]), 8);
    assert_eq!(nested::deeper::task(nested::Local(5)), 5);
    assert_eq!(through_a_wrapper(6), 6);
    assert_eq!(made(7), 7);
}
