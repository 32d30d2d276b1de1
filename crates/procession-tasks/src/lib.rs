//! Built-in tasks of Procession: the tutorial's, a picture, commands, and faults for tests and demonstrations.
//!
//! A program gets them all by referring to this crate:
//!
//! ```
//! use procession_tasks as _;
//!
//! assert_eq!(procession::find("tutorial::square").unwrap().path(), "procession_tasks::tutorial::square");
//! ```
//!
//! Each is an ordinary [`procession::task`], written as a user would write it: this crate has no access that a
//! user's crate has not.

#![deny(unsafe_code)]

pub mod exec;
#[expect(unsafe_code, reason = "real faults cannot be made safely")]
pub mod faults;
pub mod picture;
pub mod tutorial;
