//! What the micro-benchmarks measure of the inside: encoding, frames, and putting batches in order.
//!
//! No part of the interface: it exists only with the feature `bench`, and changes without notice. Each function is one
//! step as the pool takes it, on bytes that the benchmark holds.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arrival::{Arrival, Records};
use crate::codec;
use crate::reorder::Reorder;
use crate::wire::{self, ResultsHeader, Run, Status, ToMaster, ToWorker, WorkBuilder};

/// Most bytes of a frame.
pub const FRAME_BYTES_MAX: usize = wire::FRAME_BYTES_MAX;

/// Appends the encoding of a value.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    codec::encode(value, out).expect("the value can be encoded");
}

/// Decodes a value that fills the bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> T {
    codec::decode(bytes).expect("the bytes are a value of this type")
}

/// Builds a frame of `items` items with the same arguments, in place of what the buffer held.
pub fn put_work(out: &mut Vec<u8>, items: u32, payload: &[u8]) {
    let mut work = WorkBuilder::begin(out, 1, wire::Demands::default());
    work.run(&Run { task: 0, first: 0, attempt: 1, timeout_ns: 0 });
    for _ in 0..items {
        work.push(payload);
    }
    work.finish();
}

/// Reads such a frame to its end and counts the bytes of arguments.
pub fn read_work(frame: &[u8]) -> usize {
    match ToWorker::parse(frame) {
        Ok(ToWorker::Work(mut work)) => {
            let (mut bytes, mut before) = (0, None);
            while let Some(run) = work.next_run(before).expect("the frame is whole") {
                let mut payloads = run.payloads;
                for _ in 0..run.items {
                    bytes += payloads.next().expect("the frame is whole").len();
                }
                before = Some(payloads);
            }
            bytes
        }
        other => panic!("no frame of items: {other:?}"),
    }
}

/// Builds a frame of `items` equal results at the front of the area and returns its length.
pub fn put_results(area: &mut [u8], items: u32, payload: &[u8]) -> usize {
    wire::put_results_header(
        area,
        &ResultsHeader { frame_no: 1, first: 0, items, busy_ns: 0, each: 0, ..ResultsHeader::default() },
    );
    (0..items).fold(wire::RESULTS_HEADER_BYTES, |at, _| {
        wire::put_record(area, at, Status::Ok, payload).expect("the area is large enough")
    })
}

/// Checks such a frame, as the master does before it believes it, and returns the bytes of its records.
pub fn read_results(frame: &[u8]) -> usize {
    match ToMaster::parse(frame) {
        Ok(ToMaster::Results(results)) => results.records().bytes.len(),
        other => panic!("no frame of results: {other:?}"),
    }
}

/// Puts batches of so many items each, which arrive in this order, into the order of their numbers, and returns how
/// many came out.
pub fn reorder(batches: &[u64], items: u32) -> usize {
    let buffer: Arc<[u8]> = Arc::from([]);
    let mut reorder = Reorder::default();
    let mut out = 0;
    for &batch in batches {
        let records = Records::new(Arc::clone(&buffer), 0, 0, 0);
        reorder.push(Arrival::Replies { first: batch * u64::from(items), items, attempt: 1, records });
        while reorder.pop().is_some() {
            out += 1;
        }
    }
    out
}
