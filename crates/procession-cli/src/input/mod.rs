//! Where items come from: every source checks itself before anything runs, then streams encoded argument rows.
//!
//! It knows tasks only as far as their parameters, and neither pools nor results.

mod cell;
mod columns;
mod csv;
mod file;
mod generated;
mod jsonl;
mod kept;
mod lines;
pub(crate) mod row;
mod source;
mod word;

use serde_json::value::RawValue;

use crate::diagnostic::{Diagnostic, Place};

pub(crate) use cell::{Cell, split_position};
pub(crate) use columns::Columns;
pub(crate) use csv::Records;
pub(crate) use file::{File, Format};
pub(crate) use generated::{Repeat, Series};
pub(crate) use jsonl::members;
pub(crate) use lines::Numbered;
pub(crate) use row::CellRow;
pub(crate) use source::{Counted, Rows, Source};

/// The elements of the JSON array that stands at a place, each with its own place.
pub(crate) fn json_elements(at: &Place) -> Result<Vec<Place>, Diagnostic> {
    let text = at.as_str();
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let (what, position) = cell::split_position(text, &message);
        match position {
            Some(offset) if error.is_syntax() || error.is_eof() => {
                let start = at.span.start + offset;
                at.text.place(start..start + 1).error(format!("not valid JSON: {what}"))
            }
            _ => at.error(format!("not a list: {what}")),
        }
    })?;
    let place = |element: &RawValue| {
        let start = at.span.start + (element.get().as_ptr() as usize - text.as_ptr() as usize);
        at.text.place(start..start + element.get().len())
    };
    Ok(elements.into_iter().map(place).collect())
}
