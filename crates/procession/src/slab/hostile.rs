//! A worker that scribbles on its window and announces pieces of any length, as a script tells it: the master takes
//! as much as was announced or nothing, and what an honest worker wrote arrives as it was.

use super::{WindowReader, WindowWriter};
use crate::fuzz::Script;

/// A piece that was written, and what it consists of.
struct Piece {
    len: usize,
    fill: u8,
}

/// Lives the script to its end.
pub(crate) fn live(script: &mut Script<'_>) {
    let (mut reader, fd) = WindowReader::create().expect("there is memory for a window");
    let mut writer = WindowWriter::open(fd).expect("the window can be opened");
    let mut written = std::collections::VecDeque::<Piece>::new();
    let (mut is_honest, mut out) = (true, Vec::new());
    while let Some(choice) = script.next(5) {
        out.clear();
        match choice {
            0 => {
                let (len, fill) = (usize::from(script.u16()) * usize::from(script.u8() % 4), script.u8());
                let len = writer.write(&vec![fill; len]);
                if len > 0 {
                    written.push_back(Piece { len, fill });
                }
            }
            1 => {
                let Some(Piece { len, fill }) = written.pop_front() else { continue };
                let taken = take(&mut reader, len, &mut out);
                if is_honest {
                    assert!(taken, "an honest piece of {len} bytes is refused");
                    assert!(
                        out.iter().all(|byte| *byte == fill),
                        "a piece of {len} bytes is not what was written"
                    );
                }
            }
            2 => {
                is_honest = false;
                let len = script.u32() as usize >> (script.u8() % 32);
                take(&mut reader, len, &mut out);
            }
            3 => {
                is_honest = false;
                writer.scribble(script.u32() as usize, script.u64());
            }
            _ => {
                is_honest = false;
                writer.scribble(0, script.u64());
            }
        }
    }
}

/// Takes a piece; `false`: it is refused, and nothing was reserved for it.
fn take(reader: &mut WindowReader, len: usize, out: &mut Vec<u8>) -> bool {
    let before = out.capacity();
    match reader.take(len, out) {
        Ok(()) => {
            assert_eq!(out.len(), len);
            true
        }
        Err(_) => {
            assert_eq!((out.len(), out.capacity()), (0, before));
            false
        }
    }
}
