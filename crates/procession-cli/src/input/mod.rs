//! Where items come from: every source checks itself before anything runs, then streams encoded argument rows.
//!
//! It knows tasks only as far as their parameters, and neither pools nor results.

mod cell;
mod columns;
mod csv;
mod file;
mod generated;
mod jsonl;
mod lines;
mod row;
mod source;
mod word;

pub(crate) use cell::Cell;
pub(crate) use columns::Columns;
pub(crate) use file::{File, Format};
pub(crate) use generated::{Repeat, Series};
pub(crate) use source::{Counted, Row, Rows, Source};
