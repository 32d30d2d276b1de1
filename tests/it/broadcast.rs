//! Broadcast values: decoded once in each worker, whatever becomes of workers, calls and handles.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use procession::{Broadcast, ErrorKind, Pool, Shared};
use procession_harness::{Gate, Ledger, Signal, send_signal};
use procession_tasks::faults;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::scenes::{each, kinds, mapped, mapped_here, wait_lines};
use crate::tasks::square;

/// A value that notes where it is decoded and where it is dropped, and does as it is told when it is decoded.
#[derive(Serialize)]
struct Model {
    ledger: String,
    order: Order,
    weights: BTreeMap<String, i64>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Order {
    Decode,
    Refuse,
    Panic,
    Die,
    PanicLater,
}

impl Model {
    fn new(ledger: &Ledger, order: Order) -> Model {
        let weights = (0..1000).map(|x| (format!("weight {x}"), x)).collect();
        Model { ledger: ledger.path(), order, weights }
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Model, D::Error> {
        let (ledger, order, weights) = Deserialize::deserialize(deserializer)?;
        Ledger::note(&ledger, format_args!("decoded {}", std::process::id()));
        match order {
            Order::Decode | Order::PanicLater => Ok(Model { ledger, order, weights }),
            Order::Refuse => Err(D::Error::custom("it is not wanted here")),
            Order::Panic => panic!("cannot be decoded"),
            Order::Die => {
                faults::abort();
                unreachable!("it is dead")
            }
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // The master may drop its own when the ledger is gone.
        if std::path::Path::new(&self.ledger).exists() {
            Ledger::note(&self.ledger, format_args!("dropped {}", std::process::id()));
        }
        assert!(self.order != Order::PanicLater || std::thread::panicking(), "on purpose");
    }
}

/// The process, where the value lies in it, and a part of it.
#[procession::task]
fn look_up(model: Broadcast<Model>, key: String) -> (u32, usize, Option<i64>) {
    (std::process::id(), std::ptr::from_ref(&*model).addr(), model.weights.get(&key).copied())
}

#[procession::task]
fn look_up_at_gate(model: Broadcast<Model>, path: String, gate: String) -> Option<i64> {
    Ledger::note(path, std::process::id());
    Gate::pass(gate);
    model.weights.get("weight 3").copied()
}

#[procession::task]
fn give_back(model: Broadcast<Model>) -> Broadcast<Model> {
    model
}

/// A value that cannot leave its thread once it is decoded.
#[derive(Deserialize, Serialize)]
struct Local(#[serde(with = "shared_text")] Rc<str>);

mod shared_text {
    use super::{Deserialize, Deserializer, Rc};

    pub(super) fn serialize<S: serde::Serializer>(text: &Rc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rc<str>, D::Error> {
        Ok(Rc::from(String::deserialize(deserializer)?))
    }
}

#[procession::task]
fn length(text: Broadcast<Local>) -> usize {
    text.0.len()
}

/// A value that refers to shared data and to another value.
#[derive(Deserialize, Serialize)]
struct Index {
    table: Shared<u64>,
    names: Broadcast<Vec<String>>,
}

#[procession::task]
fn name_and_entry(index: Broadcast<Index>, at: usize) -> (String, u64) {
    (index.names[at].clone(), index.table[at])
}

fn decoded(ledger: &Ledger) -> Vec<String> {
    ledger.lines().into_iter().filter(|line| line.starts_with("decoded")).collect()
}

fn key() -> String {
    "weight 17".to_owned()
}

procession_harness::cases! {
    fn a_value_is_decoded_once_in_each_worker() {
        each(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.build().unwrap();
            let model = pool.broadcast(&Model::new(&ledger, Order::Decode)).unwrap();
            let looks = pool.starmap(look_up.chunk_size(3), (0..100).map(|_| (model.clone(), key()))).unwrap();
            assert!(looks.iter().all(|look| look.2 == Some(17)));
            let workers: BTreeSet<u32> = looks.iter().map(|look| look.0).collect();
            let places: BTreeSet<(u32, usize)> = looks.iter().map(|look| (look.0, look.1)).collect();
            assert_eq!(places.len(), workers.len(), "one place in each worker: {places:?}");
            let expected: BTreeSet<String> = workers.iter().map(|pid| format!("decoded {pid}")).collect();
            assert_eq!(BTreeSet::from_iter(decoded(&ledger)), expected);
            assert_eq!(decoded(&ledger).len(), expected.len());
            // Here, when somebody asks.
            assert_eq!(model.weights["weight 17"], 17);
            assert_eq!(model.weights["weight 3"], 3);
            assert_eq!(decoded(&ledger).len(), expected.len() + 1);
            pool.close().unwrap();
        });
    }

    fn a_replacement_decodes_it_again() {
        each(1, |builder| {
            let (ledger, notes, gate) = (Ledger::new("ledger"), Ledger::new("notes"), Gate::new("gate"));
            let pool = builder.build().unwrap();
            let model = pool.broadcast(&Model::new(&ledger, Order::Decode)).unwrap();
            let held = pool.apply_async(look_up_at_gate, (model.clone(), notes.path(), gate.path()));
            let next = pool.apply_async(look_up, (model, key()));
            send_signal(wait_lines(&notes, 1)[0].parse().unwrap(), Signal::SIGKILL);
            assert_eq!(kinds(vec![held]), [Err(ErrorKind::WorkerLost)]);
            assert_eq!(next.get().unwrap().2, Some(17), "though no handle was left");
            assert_eq!(decoded(&ledger).len(), 2);
            pool.close().unwrap();
        });
    }

    fn a_value_goes_when_nobody_has_it() {
        each(1, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.build().unwrap();
            for order in [Order::Decode, Order::PanicLater] {
                let model = Model::new(&ledger, order);
                let handle = pool.broadcast(&model).unwrap();
                std::mem::forget(model);
                let (pid, ..) = pool.apply(look_up, (handle.clone(), key())).unwrap();
                assert_eq!(pool.apply(mapped, ()).unwrap(), 1, "it is kept for the next item");
                drop(handle);
                assert_eq!(pool.apply(mapped, ()).unwrap(), 0);
                assert_eq!(mapped_here(), 0);
                assert_eq!(ledger.lines().last(), Some(&format!("dropped {pid}")));
                assert_eq!(pool.worker_pids(), [pid], "a destructor that panics harms nobody");
            }
            pool.close().unwrap();
        });
    }

    fn a_value_that_cannot_be_decoded_costs_its_items() {
        each(1, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.build().unwrap();
            let outcomes = [
                (Order::Refuse, ErrorKind::Decode, "it is not wanted here"),
                (Order::Panic, ErrorKind::Panicked, "cannot be decoded"),
                (Order::Die, ErrorKind::WorkerLost, "SIGABRT"),
            ];
            for (order, kind, text) in outcomes {
                let model = pool.broadcast(&Model::new(&ledger, order)).unwrap();
                for _ in 0..2 {
                    let error = pool.apply(look_up, (model.clone(), key())).unwrap_err();
                    assert_eq!(error.kind(), kind, "{error}");
                    assert!(error.to_string().contains(text), "{error}");
                }
                assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            }
            pool.close().unwrap();
        });
    }

    fn a_value_that_cannot_be_encoded_is_refused() {
        let pool = Pool::builder().workers(1).lazy_start(true).build().unwrap();
        let error = pool.broadcast(&Unwritable).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode, "{error}");
        assert!(error.to_string().contains("not today"), "{error}");
        pool.close().unwrap();
    }

    fn a_value_comes_back() {
        each(1, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.build().unwrap();
            let model = Model::new(&ledger, Order::Decode);
            let back = pool.apply(give_back, (pool.broadcast(&model).unwrap(),)).unwrap();
            assert_eq!(decoded(&ledger).len(), 1, "by the worker alone");
            assert_eq!(back.weights, model.weights);
            assert_eq!(decoded(&ledger).len(), 2);
            assert_eq!(pool.apply(look_up, (back, key())).unwrap().2, Some(17));
            assert_eq!(decoded(&ledger).len(), 2);
            pool.close().unwrap();
        });
    }

    fn values_may_be_local_and_refer_to_others() {
        each(1, |builder| {
            let pool = builder.build().unwrap();
            let text = pool.broadcast(&Local(Rc::from("twelve bytes"))).unwrap();
            assert_eq!(pool.apply(length, (text.clone(),)).unwrap(), 12);
            assert_eq!(pool.apply(length, (text,)).unwrap(), 12);
            let names = pool.broadcast(&vec!["a".to_owned(), "b".to_owned()]).unwrap();
            let index = pool.broadcast(&Index { table: pool.share(&[5, 6]).unwrap(), names }).unwrap();
            let all = pool.starmap(name_and_entry, [(index.clone(), 0), (index, 1)]).unwrap();
            assert_eq!(all, [("a".to_owned(), 5), ("b".to_owned(), 6)]);
            assert_eq!(pool.apply(mapped, ()).unwrap(), 0);
            pool.close().unwrap();
        });
    }
}

/// Refuses to be encoded.
#[derive(Deserialize)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}
