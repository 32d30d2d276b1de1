//! What a worker tells about a panic: the payload of a record with status `Panicked`.
//!
//! ```text
//! message len u32, bytes   location len u32, bytes   stack
//! stack:   files u8, of each: build u64, name len u32, bytes   frames u8, of each: file u8 (255: none), address u64   is cut u8
//! ```

use super::cursor::{Cursor, WireError, put_prefixed};
use crate::stack::{FRAMES_MAX, Frame, Loaded, MODULES_MAX, Stack, name_kept};

/// Longest text; the rest is cut off, so that a report fits a frame.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Instead of the number of a file.
const NO_FILE: u8 = u8::MAX;

/// A panic in a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PanicReport {
    /// The panic message.
    pub(crate) message: String,
    /// `file:line:column`; empty if unknown.
    pub(crate) location: String,
    /// Where the worker was; without frames if that was not to be known.
    pub(crate) stack: Stack,
}

impl PanicReport {
    /// Appends the encoding.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for text in [&self.message, &self.location] {
            put_prefixed(out, &text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES_MAX)]);
        }
        let Stack { frames, modules, is_cut } = &self.stack;
        let modules = &modules[..modules.len().min(MODULES_MAX)];
        out.push(modules.len() as u8);
        for Loaded { name, build } in modules {
            out.extend(build.to_le_bytes());
            put_prefixed(out, name_kept(name));
        }
        let frames = &frames[..frames.len().min(FRAMES_MAX)];
        out.push(frames.len() as u8);
        for Frame { module, address } in frames {
            out.push(module.filter(|module| *module < modules.len()).map_or(NO_FILE, |module| module as u8));
            out.extend(address.to_le_bytes());
        }
        out.push(u8::from(*is_cut));
    }

    /// Reads an encoding. Text that is not UTF-8 is read as well as possible.
    pub(crate) fn decode(bytes: &[u8]) -> Result<PanicReport, WireError> {
        let mut cursor = Cursor::new(bytes);
        let mut text = |what| Ok(String::from_utf8_lossy(cursor.prefixed(what)?).into_owned());
        let (message, location) = (text("panic message")?, text("location")?);
        let stack = stack(&mut cursor)?;
        cursor.expect_end()?;
        Ok(PanicReport { message, location, stack })
    }
}

/// However many there are said to be, there is no more memory for them than there are bytes.
fn stack(cursor: &mut Cursor<'_>) -> Result<Stack, WireError> {
    let files = cursor.u8("number of files")?;
    let mut modules = Vec::new();
    for _ in 0..files {
        let build = cursor.u64("build of a file")?;
        modules.push(Loaded { name: cursor.prefixed("name of a file")?.to_vec(), build });
    }
    let calls = cursor.u8("number of frames")?;
    let mut frames = Vec::new();
    for _ in 0..calls {
        let module = usize::from(cursor.u8("file of a frame")?);
        let address = cursor.u64("address of a frame")?;
        frames.push(Frame { module: Some(module).filter(|module| *module < modules.len()), address });
    }
    Ok(Stack { frames, modules, is_cut: cursor.u8("whether it is cut")? != 0 })
}

#[cfg(test)]
mod tests {
    use super::super::noise::hammer;
    use super::super::{FRAME_BYTES_MAX, RECORD_HEADER_BYTES, RESULTS_HEADER_BYTES};
    use super::*;

    #[test]
    fn a_report_comes_back() {
        let known = Stack {
            frames: vec![Frame { module: Some(0), address: 0x10 }, Frame { module: None, address: u64::MAX }],
            modules: vec![
                Loaded { name: Vec::new(), build: 7 },
                Loaded { name: b"/lib/a.so".to_vec(), build: 8 },
            ],
            is_cut: true,
        };
        for stack in [Stack::default(), known] {
            let report =
                PanicReport { message: "it broke".to_owned(), location: "src/a.rs:1:2".to_owned(), stack };
            let mut out = Vec::new();
            report.encode(&mut out);
            assert_eq!(PanicReport::decode(&out).unwrap(), report);
            hammer(&out, |bytes| drop(PanicReport::decode(bytes)));
        }
    }

    #[test]
    fn a_frame_of_a_file_that_is_not_there_has_none() {
        let mut out = Vec::new();
        let report = PanicReport { message: String::new(), location: String::new(), stack: Stack::default() };
        report.encode(&mut out);
        // One frame, of file 3.
        out.truncate(out.len() - 2);
        out.extend([1, 3, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
        let frames = PanicReport::decode(&out).unwrap().stack.frames;
        assert_eq!(frames, [Frame { module: None, address: 9 }]);
    }

    #[test]
    fn the_longest_report_fits_a_frame() {
        let text = "é".repeat(1_000_000);
        let stack = Stack {
            frames: vec![Frame { module: Some(0), address: 1 }; 1_000],
            modules: vec![Loaded { name: vec![b'x'; 1_000], build: 1 }; 1_000],
            is_cut: true,
        };
        let report = PanicReport { message: text.clone(), location: text, stack };
        let mut out = Vec::new();
        report.encode(&mut out);
        assert!(out.len() + RESULTS_HEADER_BYTES + RECORD_HEADER_BYTES <= FRAME_BYTES_MAX);
        let stack = PanicReport::decode(&out).unwrap().stack;
        assert_eq!((stack.frames.len(), stack.modules.len()), (FRAMES_MAX, MODULES_MAX));
    }
}
