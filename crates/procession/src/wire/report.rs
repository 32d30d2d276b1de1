//! What a worker tells about a panic: the payload of a record with status `Panicked`.
//!
//! ```text
//! message len u32, bytes   location len u32, bytes   backtrace len u32, bytes (empty: none)
//! ```

use super::cursor::{Cursor, WireError, put_prefixed};

/// Longest message and longest backtrace; the rest is cut off, so that a report fits a frame.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A panic in a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PanicReport {
    /// The panic message.
    pub(crate) message: String,
    /// `file:line:column`; empty if unknown.
    pub(crate) location: String,
    /// The stack of the worker, where it was captured.
    pub(crate) backtrace: Option<String>,
}

impl PanicReport {
    /// Appends the encoding.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for text in [&self.message, &self.location, self.backtrace.as_ref().unwrap_or(&String::new())] {
            put_prefixed(out, &text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES_MAX)]);
        }
    }

    /// Reads an encoding. Text that is not UTF-8 is read as well as possible.
    pub(crate) fn decode(bytes: &[u8]) -> Result<PanicReport, WireError> {
        let mut cursor = Cursor::new(bytes);
        let mut text = |what| Ok(String::from_utf8_lossy(cursor.prefixed(what)?).into_owned());
        let (message, location, backtrace) = (text("panic message")?, text("location")?, text("backtrace")?);
        cursor.expect_end()?;
        Ok(PanicReport { message, location, backtrace: Some(backtrace).filter(|text| !text.is_empty()) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::hammer;
    use super::super::{FRAME_BYTES_MAX, RECORD_HEADER_BYTES, RESULTS_HEADER_BYTES};
    use super::*;

    #[test]
    fn a_report_comes_back() {
        for backtrace in [None, Some("0: main".to_owned())] {
            let report = PanicReport {
                message: "it broke".to_owned(),
                location: "src/a.rs:1:2".to_owned(),
                backtrace,
            };
            let mut out = Vec::new();
            report.encode(&mut out);
            assert_eq!(PanicReport::decode(&out).unwrap(), report);
            hammer(&out, |bytes| drop(PanicReport::decode(bytes)));
        }
    }

    #[test]
    fn the_longest_report_fits_a_frame() {
        let text = "é".repeat(1_000_000);
        let report =
            PanicReport { message: text.clone(), location: "x:1:1".to_owned(), backtrace: Some(text) };
        let mut out = Vec::new();
        report.encode(&mut out);
        assert!(out.len() + RESULTS_HEADER_BYTES + RECORD_HEADER_BYTES <= FRAME_BYTES_MAX);
    }
}
