//! Messages that the system refuses to pass on, though their receiver lives.

use std::os::fd::BorrowedFd;

use nix::sys::socket::{setsockopt, sockopt};
use procession_harness::Ledger;

use crate::descriptors::sockets;
use crate::scenes::{both, counts, outcomes, wait_workers};
use crate::tasks::square;

/// More than the smallest buffer that a socket can have, and little enough to travel in a frame.
const BYTES: usize = 30_000;

/// Notes its start; how many bytes it was given.
#[procession::task]
fn note_length(path: String, x: usize, bytes: Vec<u8>) -> usize {
    Ledger::note(path, x);
    bytes.len()
}

/// From now on no socket that this process has takes a packet of more than some kilobytes.
fn shrink_sockets() {
    for socket in sockets() {
        // SAFETY: it was there a moment ago, and who owns it does not close it just now.
        let socket = unsafe { BorrowedFd::borrow_raw(socket) };
        setsockopt(&socket, sockopt::SndBuf, &1).expect("a buffer can be made smaller");
    }
}

procession_harness::cases! {
    fn items_that_cannot_be_sent_move_on_to_other_workers() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            let before = wait_workers(&pool, 2);
            shrink_sockets();
            let ledger = Ledger::new("ledger");
            let handles = (0..20).map(|x| pool.apply_async(note_length, (ledger.path(), x, vec![7; BYTES])));
            let outcomes = outcomes(handles.collect());
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(BYTES))), "{outcomes:?}");
            assert_eq!(counts(&ledger).len(), 20);
            assert!(counts(&ledger).values().all(|starts| *starts == 1), "{:?}", counts(&ledger));
            let after = wait_workers(&pool, 2);
            assert!(!before.iter().all(|pid| after.contains(pid)), "{before:?}, then {after:?}");
            pool.close().unwrap();
        });
    }
}
