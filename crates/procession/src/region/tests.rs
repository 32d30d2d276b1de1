//! Regions within one process: content, tokens, who keeps them. Real workers are in `tests/it/shared.rs`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::codec::{self, CodecError};
use crate::{Broadcast, Pool, Shared};

fn region(content: &[u8]) -> Arc<Region> {
    Region::create(Kind::Slice, 1, content, Regions::default()).unwrap()
}

/// A handle as a user has it. The pool is only where the verb is.
fn share<T: bytemuck::Pod>(data: &[T]) -> Shared<T> {
    thread_local! {
        static POOL: Pool = Pool::builder().workers(1).lazy_start(true).build().unwrap();
    }
    POOL.with(|pool| pool.share(data)).unwrap()
}

fn encoded<T: Serialize>(value: &T) -> (Vec<u8>, Regions) {
    let (mut bytes, mut regions) = (Vec::new(), Regions::default());
    regions.collect(|| codec::encode(value, &mut bytes)).unwrap();
    (bytes, regions)
}

fn refusal<T: serde::de::DeserializeOwned + std::fmt::Debug>(bytes: &[u8]) -> String {
    match codec::decode::<T>(bytes).unwrap_err() {
        CodecError::Decode(reason) => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn content_is_what_was_shared_and_aligned() {
    for len in [0, 1, 4095, 4096, 4097, 1 << 20] {
        let content: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let region = region(&content);
        assert_eq!(region.content(), content);
        assert_eq!(region.content().as_ptr().addr() % HEAD_BYTES, 0);
        let opened = Region::open(region.token).unwrap();
        assert_eq!(opened.content(), content);
        assert_ne!(opened.content().as_ptr(), region.content().as_ptr(), "a mapping of its own");
    }
    let numbers = share(&[1.5_f64, -2.0]);
    assert_eq!(*numbers, [1.5, -2.0]);
    assert_eq!(share::<u64>(&[]).len(), 0);
}

#[test]
fn nobody_else_can_write_or_resize() {
    let region = region(b"content");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(region.token.path()).unwrap();
    assert!((&file).write_all(b"x").is_err());
    assert!(file.set_len(0).is_err());
    assert!(file.set_len(1 << 20).is_err());
    assert!(Mapping::new(&file, HEAD_BYTES, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).is_err());
}

#[test]
fn dropping_the_last_handle_retires_and_closes() {
    let region = region(b"content");
    let path = region.token.path();
    let is_there = || {
        std::fs::read_link(&path)
            .is_ok_and(|target| target.display().to_string().contains("procession-shared"))
    };
    let reader = Region::open(region.token).unwrap();
    let second = Arc::clone(&region);
    drop(region);
    assert!(is_there() && !reader.is_retired());
    drop(second);
    assert!(reader.is_retired());
    assert_eq!(reader.content(), b"content", "it stays mapped where it is in use");
}

#[test]
fn what_is_not_the_region_is_refused() {
    let region = region(b"content");
    let refused = |token: Token| Region::open(token).unwrap_err();
    refused(Token { nonce: [7; 16], ..region.token });
    refused(Token { bytes: 6, ..region.token });
    refused(Token { bytes: u64::MAX, ..region.token });
    refused(Token { element_bytes: 7, ..region.token });
    refused(Token { kind: Kind::Value, ..region.token });
    refused(Token { descriptor: -1, ..region.token });
    refused(Token { owner: 0, ..region.token });
    // Opening these must neither wait nor succeed.
    let (reader, _writer) = nix::unistd::pipe().unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len((HEAD_BYTES + 7) as u64).unwrap();
    for descriptor in [reader.as_raw_fd(), socket.as_raw_fd(), file.as_raw_fd()] {
        refused(Token { descriptor, ..region.token });
    }
}

#[test]
fn a_token_leads_back_to_the_region() {
    let shared = share(&[1_u32, 2, 3]);
    let nested = (vec![Some(shared.clone())], shared.clone(), 7_u8);
    let (bytes, regions) = encoded(&nested);
    assert_eq!(regions.0.len(), 1, "each region once");
    let back: (Vec<Option<Shared<u32>>>, Shared<u32>, u8) = codec::decode(&bytes).unwrap();
    assert_eq!(back.1.as_ptr(), shared.as_ptr());
    assert_eq!(back.0[0].as_ref().unwrap().as_ptr(), shared.as_ptr());
}

#[test]
fn tokens_that_lie_are_refused() {
    let shared = share(&[1_u32, 2, 3]);
    let (bytes, _regions) = encoded(&shared);
    assert!(refusal::<Shared<u16>>(&bytes).contains("elements have 4 bytes each, and 2 are expected"));
    assert!(
        refusal::<Broadcast<u32>>(&bytes).contains("it is a shared slice, and a broadcast value is expected")
    );
    for len in 0..bytes.len() {
        refusal::<Shared<u32>>(&bytes[..len]);
    }
    for at in 0..bytes.len() {
        let mut lie = bytes.clone();
        lie[at] ^= 0x55;
        refusal::<Shared<u32>>(&lie);
    }
    drop((shared, _regions));
    assert!(refusal::<Shared<u32>>(&bytes).contains("no shared data of this process has its name"));
}

#[test]
fn handles_travel_in_no_other_encoding() {
    let shared = share(&[1_u32]);
    let error = serde_json::to_string(&shared).unwrap_err().to_string();
    assert!(error.contains("write its content instead"), "{error}");
    let error = serde_json::from_str::<Shared<u32>>("[1]").unwrap_err().to_string();
    assert!(error.contains("make it with `Pool::share`"), "{error}");
    // A mark that was left by somebody else does not help.
    let (bytes, _regions) = encoded(&shared);
    codec::decode::<Shared<u32>>(&bytes).unwrap();
    serde_json::to_string(&shared).unwrap_err();
}

#[test]
fn a_result_cannot_be_shared_by_the_worker_that_ends_with_it() {
    let shared = share(&[1_u32]);
    let error = codec::encode(&shared, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("return its content"), "{error}");
}

/// Encodes another value within a turn, as a `Serialize` that makes calls would.
struct Calling<'a>(&'a Shared<u8>, &'a Shared<u8>);

impl Serialize for Calling<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (_, regions) = encoded(self.1);
        assert_eq!(regions.0.len(), 1);
        assert!(Arc::ptr_eq(&regions.0[0], self.1.region()));
        self.0.serialize(serializer)
    }
}

#[test]
fn each_encoder_gets_what_its_own_arguments_name() {
    let [a, b, c] = [1, 2, 3].map(|byte| share(&[byte]));
    let (_, regions) = encoded(&(&a, Calling(&b, &c)));
    let named: Vec<_> = regions.0.iter().map(Arc::as_ptr).collect();
    assert_eq!(named, [&a, &b].map(|handle| Arc::as_ptr(handle.region())));
    let (_, none) = encoded(&5);
    assert!(none.is_empty());
}

/// Names a region, then panics.
struct Panicking<'a>(&'a Shared<u8>);

impl Serialize for Panicking<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let _ = self.0.serialize(serializer);
        panic!("on purpose")
    }
}

#[test]
fn an_encoder_that_panics_leaves_nothing_to_the_next() {
    let shared = share(&[1]);
    let before = Arc::strong_count(shared.region());
    assert!(catch_unwind(AssertUnwindSafe(|| encoded(&Panicking(&shared)))).is_err());
    assert_eq!(Arc::strong_count(shared.region()), before);
    let (_, none) = encoded(&5);
    assert!(none.is_empty());
    codec::encode(&shared, &mut Vec::new()).unwrap_err();
}

#[test]
fn a_value_keeps_what_it_refers_to() {
    let pool = Pool::builder().workers(1).lazy_start(true).build().unwrap();
    let table = pool.share(&[1_u8, 2]).unwrap();
    let held = Arc::downgrade(table.region());
    let value = pool.broadcast(&vec![table]).unwrap();
    assert!(held.upgrade().is_some());
    assert_eq!(*value[0], [1, 2]);
    drop(value);
    assert!(held.upgrade().is_none());
    pool.close().unwrap();
}
