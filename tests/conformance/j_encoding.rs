//! Section J: arguments and results that cannot be encoded or decoded, on either side.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use procession::{Error, ErrorKind, Pool, WorkerExit};
use procession_harness::{Gate, Ledger, start_part, wait_until};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::held::held;
use crate::scenes::{LIMIT, both, both_described, outcomes, panic_text, pool};
use crate::tasks::{own_pid, square};

/// A value that goes wrong where it says.
#[derive(Debug, PartialEq)]
struct Trap(String);

impl Trap {
    fn new(at: &str) -> Trap {
        Trap(at.to_owned())
    }
}

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_str() {
            "encode" => Err(S::Error::custom("a socket has no encoding")),
            "encode: panic" => panic!("the encoder is broken"),
            "encode: exit" => std::process::exit(7),
            at => at.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Trap, D::Error> {
        let at = String::deserialize(deserializer)?;
        match at.as_str() {
            "decode" => Err(D::Error::custom("no such colour")),
            "decode: panic" => panic!("the decoder is broken"),
            "decode: exit" => std::process::exit(7),
            _ => Ok(Trap(at)),
        }
    }
}

/// Takes a value, which may have gone wrong on its way here.
#[procession::task]
fn take(trap: Trap) -> usize {
    trap.0.len()
}

/// A value that may go wrong on its way back.
#[procession::task]
fn give(at: String) -> Trap {
    Trap(at)
}

/// As [`give`], once the gate is open.
#[procession::task]
fn give_at_gate(path: String, gate: String, at: String) -> Trap {
    Ledger::note(path, "given");
    Gate::pass(gate);
    Trap(at)
}

/// The error is of that kind, and says the cause.
fn check(error: &Error, kind: ErrorKind, cause: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(cause), "`{cause}` is not in: {error}");
}

/// The workers that answer, once all of them do.
fn workers(pool: &Pool) -> BTreeSet<u32> {
    pool.worker_pids().into_iter().collect()
}

procession_harness::parts! {
    /// Encodes an argument that ends this process.
    fn exit_while_encoding() {
        let pool = pool(1);
        drop(pool.apply(take, (Trap::new("encode: exit"),)));
        unreachable!("it has ended");
    }

    /// Decodes a result that ends this process.
    fn exit_while_decoding() {
        let pool = pool(1);
        drop(pool.apply(give, ("decode: exit".to_owned(),)));
        unreachable!("it has ended");
    }
}

procession_harness::cases! {
    fn j1_an_argument_that_fails_to_encode_costs_its_call() {
        both(1, |pool| {
            let before = pool.apply(own_pid, ()).unwrap();
            let error = pool.apply(take, (Trap::new("encode"),)).unwrap_err();
            check(&error, ErrorKind::Encode, "a socket has no encoding");
            assert!(error.to_string().contains("take"), "{error}");
            assert_eq!(error.attempts(), 0, "it never ran");
            let error = pool.apply_async(take, (Trap::new("encode"),)).get().unwrap_err();
            check(&error, ErrorKind::Encode, "a socket has no encoding");
            assert_eq!(pool.apply(own_pid, ()).unwrap(), before);
        });
    }

    fn j1_ten_of_them_in_one_map() {
        both(2, |pool| {
            for task in [take.chunk_size(7), take] {
                let input = || (0..40).map(|x| Trap::new(if x % 4 == 1 { "encode" } else { "fine" }));
                let outcomes: Vec<_> = pool.imap(task, input()).collect();
                assert_eq!(outcomes.len(), 40);
                for (x, outcome) in (0..).zip(outcomes) {
                    match outcome {
                        Ok(length) => assert_eq!((length, x % 4 == 1), (4, false)),
                        Err(error) => {
                            check(&error, ErrorKind::Encode, "a socket has no encoding");
                            assert_eq!((error.item(), x % 4), (Some(x), 1));
                        }
                    }
                }
                let error = pool.map(task, input()).unwrap_err();
                assert_eq!((error.kind(), error.item()), (ErrorKind::Encode, Some(1)), "the first by index");
                let error = pool.map_async(task, input()).get().unwrap_err();
                assert_eq!((error.kind(), error.item()), (ErrorKind::Encode, Some(1)), "the first by index");
            }
        });
    }

    fn j2_a_result_that_fails_to_encode_leaves_its_worker_alone() {
        both(2, |pool| {
            let before = workers(pool);
            let bad = (0..20).map(|_| pool.apply_async(give, ("encode".to_owned(),))).collect();
            for outcome in outcomes(bad) {
                let error = outcome.unwrap_err();
                check(&error, ErrorKind::Encode, "a socket has no encoding");
                assert!(error.to_string().contains("give") && error.attempts() == 1, "{error}");
            }
            let mixed = pool.imap(give, (0..40).map(|x| if x % 2 == 1 { "encode" } else { "fine" }.to_owned()));
            for (x, outcome) in (0..).zip(mixed) {
                assert_eq!(outcome.map_err(|error| error.kind() == ErrorKind::Encode), [Ok(Trap::new("fine")), Err(true)][x % 2]);
            }
            assert_eq!(workers(pool), before);
        });
    }

    fn j3_an_argument_that_fails_to_decode_leaves_its_worker_alone() {
        both(2, |pool| {
            let before = workers(pool);
            for _ in 0..10 {
                let error = pool.apply(take, (Trap::new("decode"),)).unwrap_err();
                check(&error, ErrorKind::Decode, "no such colour");
                assert!(error.to_string().contains("take"), "{error}");
            }
            let mixed = pool.imap(take, (0..40).map(|x| Trap::new(if x == 13 { "decode" } else { "fine" })));
            for (x, outcome) in (0..).zip(mixed) {
                match outcome {
                    Ok(length) => assert_eq!((length, x == 13), (4, false)),
                    Err(error) => assert_eq!((error.kind(), x), (ErrorKind::Decode, 13), "{error}"),
                }
            }
            assert_eq!(workers(pool), before);
        });
    }

    fn j4_a_result_that_fails_to_decode_costs_its_call() {
        both(2, |pool| {
            let before = workers(pool);
            let others: Vec<_> = (0..50).map(|x| pool.apply_async(square, (x,))).collect();
            let error = pool.apply(give, ("decode".to_owned(),)).unwrap_err();
            check(&error, ErrorKind::Decode, "no such colour");
            for (x, outcome) in (0..).zip(outcomes(others)) {
                assert_eq!(outcome.unwrap(), x * x);
            }
            for task in [give.chunk_size(9), give] {
                let mixed = pool.imap(task, (0..40).map(|x| if x == 13 { "decode" } else { "fine" }.to_owned()));
                for (x, outcome) in (0..).zip(mixed) {
                    match outcome {
                        Ok(trap) => assert_eq!((trap, x == 13), (Trap::new("fine"), false)),
                        Err(error) => assert_eq!((error.kind(), x), (ErrorKind::Decode, 13), "{error}"),
                    }
                }
            }
            assert_eq!(workers(pool), before);
        });
    }

    fn j5_a_panic_while_a_worker_encodes_or_decodes_costs_its_call() {
        both(1, |pool| {
            let before = workers(pool);
            let error = pool.apply(take, (Trap::new("decode: panic"),)).unwrap_err();
            check(&error, ErrorKind::Panicked, "the decoder is broken");
            let error = pool.apply(give, ("encode: panic".to_owned(),)).unwrap_err();
            check(&error, ErrorKind::Panicked, "the encoder is broken");
            assert_eq!(pool.apply(take, (Trap::new("fine"),)).unwrap(), 4);
            assert_eq!(workers(pool), before, "its process lives on");
        });
    }

    fn j5_a_worker_that_leaves_while_it_encodes_or_decodes_is_lost() {
        both(1, |pool| {
            let lost = |error: Error| {
                assert_eq!((error.kind(), error.exit()), (ErrorKind::WorkerLost, Some(WorkerExit::Code(7))), "{error}");
            };
            lost(pool.apply(take, (Trap::new("decode: exit"),)).unwrap_err());
            lost(pool.apply(give, ("encode: exit".to_owned(),)).unwrap_err());
            let mixed = pool.imap(give, (0..30).map(|x| if x == 13 { "encode: exit" } else { "fine" }.to_owned()));
            for (x, outcome) in (0..).zip(mixed) {
                match outcome {
                    Ok(trap) => assert_eq!((trap, x == 13), (Trap::new("fine"), false)),
                    Err(error) => {
                        assert_eq!(x, 13, "{error}");
                        lost(error);
                    }
                }
            }
        });
    }

    fn j5_a_panic_while_the_master_encodes_or_decodes_comes_through() {
        both(1, |pool| {
            let encoding = catch_unwind(AssertUnwindSafe(|| pool.apply(take, (Trap::new("encode: panic"),))));
            assert_eq!(panic_text(&*encoding.unwrap_err()), "the encoder is broken");
            let handle = pool.apply_async(give, ("decode: panic".to_owned(),));
            assert!(handle.wait(Some(LIMIT)), "the reader is not the one who decodes");
            let decoding = catch_unwind(AssertUnwindSafe(|| handle.get()));
            assert_eq!(panic_text(&*decoding.unwrap_err()), "the decoder is broken");
            assert_eq!(pool.apply(take, (Trap::new("fine"),)).unwrap(), 4);
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
        });
    }

    fn j5_a_master_that_leaves_while_it_encodes_or_decodes_leaves_nothing() {
        for part in ["exit_while_encoding", "exit_while_decoding"] {
            let mut master = start_part(part, &[]);
            let mut status = None;
            assert!(wait_until(LIMIT, || {
                status = master.try_wait().expect("it is our child");
                status.is_some()
            }), "{part} hangs");
            assert_eq!(status.and_then(|status| status.code()), Some(7), "{part}");
        }
    }

    fn j7_a_result_fails_to_encode_while_the_pool_is_closing() {
        both_described(1, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let row = |at: &str| (ledger.path(), gate.path(), at.to_owned());
            let running = pool.apply_async(give_at_gate, row("encode"));
            assert!(wait_until(LIMIT, || ledger.lines().len() == 1), "it begins");
            let queued = pool.apply_async(give_at_gate, row("encode"));
            let fine = pool.apply_async(give_at_gate, row("fine"));
            let closing = pool.clone();
            let closer = std::thread::spawn(move || closing.close());
            assert!(wait_until(LIMIT, || !pool.is_active()));
            gate.open();
            for outcome in outcomes(vec![running, queued]) {
                check(&outcome.unwrap_err(), ErrorKind::Encode, "a socket has no encoding");
            }
            assert_eq!(outcomes(vec![fine]).remove(0).unwrap(), Trap::new("fine"));
            closer.join().unwrap().unwrap();
        });
    }

    fn j8_a_pool_is_dropped_after_an_encoding_error() {
        both_described(1, |_| {
            for _ in 0..5 {
                let pool = pool(1);
                let error = pool.apply(take, (Trap::new("encode"),)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Encode);
                let unheard = pool.apply_async(give, ("encode".to_owned(),));
                drop(pool);
                let kind = outcomes(vec![unheard]).remove(0).unwrap_err().kind();
                assert!(matches!(kind, ErrorKind::Encode | ErrorKind::Terminated), "{kind:?}");
            }
        });
    }

    fn j9_calls_after_an_encoding_error_have_their_values() {
        both(1, |pool| {
            for at in ["encode", "decode"] {
                assert!(pool.apply(take, (Trap::new(at),)).is_err());
                assert_eq!(pool.apply(take, (Trap::new("fine"),)).unwrap(), 4);
                assert!(pool.apply(give, (at.to_owned(),)).is_err());
                assert_eq!(pool.apply(give, ("fine".to_owned(),)).unwrap(), Trap::new("fine"));
            }
            // What is queued behind a call that fails is none the worse for it.
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let running = held(pool, &ledger, &gate);
            let bad = pool.apply_async(take, (Trap::new("encode"),));
            let fine = pool.apply_async(take, (Trap::new("fine"),));
            assert_eq!(outcomes(vec![bad]).remove(0).unwrap_err().kind(), ErrorKind::Encode);
            gate.open();
            assert_eq!(outcomes(vec![fine]).remove(0).unwrap(), 4);
            assert_eq!(running.get().unwrap(), 7);
        });
    }
}
