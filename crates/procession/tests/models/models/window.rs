//! The ring that large results pass through: a place is written to again only after it was read.

use loom::sync::mpsc;
use loom::thread;

use super::explore;
use crate::memory::{PLACE_BYTES, forget_file};
use crate::window::{WindowReader, WindowWriter};

/// Places of the ring, and pieces beyond them.
const PLACES: u8 = 8;
const FURTHER: u8 = 2;

static PIECE: [[u8; PLACE_BYTES]; (PLACES + FURTHER) as usize] = {
    let mut pieces = [[0; PLACE_BYTES]; (PLACES + FURTHER) as usize];
    let mut piece = 0;
    while piece < pieces.len() {
        pieces[piece][0] = piece as u8;
        piece += 1;
    }
    pieces
};

pub(super) fn a_place_is_used_again_once_it_was_read() {
    explore(3, || {
        let (mut reader, fd) = WindowReader::create().expect("the model has memory");
        let mut writer = WindowWriter::open(&fd).expect("the model has memory");
        forget_file(&fd);
        // The ring is full before anything is read.
        let (say, said) = mpsc::channel();
        for piece in 0..PLACES {
            assert_eq!(writer.write(&PIECE[usize::from(piece)]), PLACE_BYTES);
            say.send(PLACE_BYTES).expect("it is listened to");
        }
        assert_eq!(writer.write(&[0; 1]), 0, "there is no room");
        let worker = thread::spawn(move || {
            for piece in PLACES..PLACES + FURTHER {
                loop {
                    match writer.write(&PIECE[usize::from(piece)]) {
                        0 => thread::yield_now(),
                        len => break say.send(len).expect("it is listened to"),
                    }
                }
            }
        });
        let mut out = Vec::new();
        for _ in 0..PLACES + FURTHER {
            reader.take(said.recv().expect("there are more"), &mut out).expect("it is as long as it can be");
        }
        assert_eq!(out, (0..PLACES + FURTHER).collect::<Vec<_>>());
        worker.join().expect("the worker does not panic");
    });
}
