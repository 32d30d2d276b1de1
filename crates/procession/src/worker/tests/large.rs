//! Items and results that do not fit a frame.

use super::*;

#[test]
fn a_large_item_is_put_together_and_each_part_acknowledged() {
    let bench = Bench::new();
    let payload: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
    bench.large(1, ECHO, &payload, None);
    let cut: Vec<_> = parts(&payload).collect();
    for piece in &cut {
        let mut bytes = Vec::new();
        part(&mut bytes, piece);
        bench.frame(bytes);
    }
    bench.stop();
    let parts = cut.len();
    let (end, frames, _, echoed) = bench.run_large();
    assert_eq!(end, WorkerEnd::Stopped);
    assert!(echoed == payload);
    for frame in &frames[1..=parts] {
        assert!(matches!(ToMaster::parse(frame), Ok(ToMaster::PartTaken)));
    }
    assert!(
        matches!(ToMaster::parse(&frames[parts + 1]), Ok(ToMaster::LargeResult(head)) if head.total == 100_000)
    );
}

#[test]
fn a_large_item_is_read_where_it_lies() {
    let bench = Bench::new();
    let payload: Vec<u8> = (0..3_000_000_u32).map(|i| (i >> 3) as u8).collect();
    let block = bench.arena.block(&[], &payload).unwrap();
    bench.large(1, ECHO, &payload, Some(block.offset()));
    bench.stop();
    // More than the window holds: the worker waits until it has given a sign of life.
    bench.sent.lazy.set(true);
    let (end, frames, _, echoed) = bench.run_large();
    assert_eq!((end, frames.len()), (WorkerEnd::Stopped, 2));
    assert!(
        matches!(ToMaster::parse(&frames[1]), Ok(ToMaster::LargeResult(head)) if head.total == 3_000_000)
    );
    assert!(echoed == payload);
}

#[test]
fn a_place_outside_the_arena_ends_the_worker() {
    let bench = Bench::new();
    bench.large(1, ECHO, b"payload", Some(u64::MAX - 3));
    assert!(matches!(bench.run().0, WorkerEnd::Protocol(_)));
}

#[test]
fn a_worker_that_waits_for_room_notices_that_the_master_is_gone() {
    let bench = Bench::new();
    let block = bench.arena.block(&[], &vec![1; 3 << 20]).unwrap();
    bench.large(1, ECHO, block.bytes(), Some(block.offset()));
    bench.sent.lazy.set(true);
    bench.sent.broken_at_sign.set(true);
    assert_eq!(bench.run().0, WorkerEnd::ChannelClosed);
}
