//! The arena by itself: blocks, the books, memory given back, and memory that is not there.

use std::cell::Cell;

use super::*;

const LATER: u64 = u64::MAX / 2;

fn arena(pages: usize) -> Arc<Arena> {
    Arena::with_size(pages * PAGE_BYTES, |file, start, len| memory_file::reserve(file, start, len)).unwrap()
}

thread_local! {
    /// What the machine has left for [`scarce`].
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

fn scarce(file: BorrowedFd<'_>, start: usize, len: usize) -> io::Result<()> {
    let left = LEFT.get().checked_sub(len).ok_or(io::ErrorKind::OutOfMemory)?;
    LEFT.set(left);
    memory_file::reserve(file, start, len)
}

#[test]
fn a_worker_reads_what_was_encoded() {
    let arena = Arena::create().unwrap();
    let reader = ArenaReader::open(&*arena).unwrap();
    let first = arena.block(b"ab", b"cd").unwrap();
    let mut second = arena.block(b"", &[7; 5000]).unwrap();
    assert!(second.extend(&[8; 100_000]));
    assert_eq!(reader.bytes(first.offset(), 4), Some(b"abcd".as_slice()));
    assert_eq!(first.bytes(), b"abcd");
    let bytes = [vec![7; 5000], vec![8; 100_000]].concat();
    assert_eq!(reader.bytes(second.offset(), second.len() as u32), Some(bytes.as_slice()));
    for (offset, len) in [(u64::MAX, 1), (ARENA_BYTES as u64, 1), (ARENA_BYTES as u64 - 5, 6)] {
        assert_eq!(reader.bytes(offset, len), None, "{offset}, {len}");
    }
    drop((first, second));
    assert!(arena.is_empty());
}

#[test]
fn there_is_no_more_room_than_there_is() {
    let arena = arena(8);
    assert!(arena.block(&[1], &[2; 8 * PAGE_BYTES]).is_none());
    let mut block = arena.block(&[], &[3; 6 * PAGE_BYTES]).unwrap();
    assert!(arena.block(&[], &[4; PAGE_BYTES]).is_none(), "with its tail it takes two pages");
    assert!(block.extend(&[5; PAGE_BYTES]), "the tail");
    assert!(!block.extend(&[6; 2 * PAGE_BYTES]));
    assert_eq!(block.len(), 7 * PAGE_BYTES);
    assert_eq!(block.bytes()[6 * PAGE_BYTES..], [5; PAGE_BYTES]);
    drop(block);
    assert!(arena.is_empty());
}

#[test]
fn without_memory_there_is_no_room() {
    let arena = Arena::with_size(4096 * PAGE_BYTES, scarce).unwrap();
    LEFT.set(100 * PAGE_BYTES);
    assert!(arena.block(&[], &vec![1; 101 * PAGE_BYTES]).is_none());
    assert_eq!((arena.is_empty(), arena.resident()), (true, 0), "nothing is left of it");

    let mut growing = arena.block(&[2; 10], &vec![2; 40 * PAGE_BYTES]).unwrap();
    let mut expected = growing.bytes().to_vec();
    let wall = arena.block(&[], b"wall").unwrap();
    let moved = growing.extend(&vec![3; 30 * PAGE_BYTES]);
    assert!(!moved, "it found another place, and no memory for what was to come");
    assert_eq!(growing.bytes(), expected);
    drop(wall);
    while growing.extend(&[4; 3 * PAGE_BYTES]) {
        expected.extend([4; 3 * PAGE_BYTES]);
    }
    assert!(growing.bytes() == expected, "what did not fit left no trace");
    assert!(LEFT.get() < 3 * PAGE_BYTES && expected.len() > 43 * PAGE_BYTES, "all memory was used");

    drop(growing);
    LEFT.set(0);
    let warm = arena.block(&[], &[5; 40 * PAGE_BYTES]).expect("it had memory before");
    drop(warm);
    assert!(arena.is_empty());
}

#[test]
fn what_was_given_back_is_asked_for_again() {
    let arena = Arena::with_size(1 << 26, scarce).unwrap();
    LEFT.set(usize::MAX);
    drop(arena.block(&[], &vec![1; 20 << 20]).unwrap());
    arena.tend(LATER);
    LEFT.set(0);
    assert!(arena.block(&[], &vec![2; 20 << 20]).is_none());
    assert!(arena.block(&[], &vec![3; 7 << 20]).is_some(), "what it kept it has");
}

#[test]
fn a_block_that_cannot_grow_in_place_moves() {
    let arena = arena(64);
    let mut growing = arena.block(&[1; 100], &[2; 10]).unwrap();
    let wall = arena.block(&[], b"wall").unwrap();
    let mut expected = growing.bytes().to_vec();
    for step in 0..400_u32 {
        let piece = [step as u8; 100];
        assert!(growing.extend(&piece), "step {step}");
        expected.extend(piece);
    }
    assert_eq!(growing.bytes(), expected);
    assert_eq!(wall.bytes(), b"wall");
    drop((growing, wall));
    assert!(arena.is_empty());
}

#[test]
fn ranges_are_merged_in_whatever_order_blocks_go() {
    let arena = arena(1024);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let mut blocks: Vec<_> = (1..=4).map(|n| arena.block(&[], &vec![n; n as usize * 9000])).collect();
        for at in order {
            blocks[at] = None;
        }
        assert!(arena.is_empty(), "{order:?}");
    }
}

#[test]
fn what_is_unused_is_given_back_but_for_a_bound() {
    let arena = Arena::create().unwrap();
    assert!(!arena.wants_care());
    let in_use = arena.block(&[], &vec![1; 1 << 20]).unwrap();
    let large: Vec<_> = (0..3).map(|_| arena.block(&[], &vec![2; 10 << 20]).unwrap()).collect();
    let last = arena.block(&[], &vec![3; 1 << 20]).unwrap();
    assert!(arena.resident() >= 32 << 20);
    drop(large);
    assert!(arena.wants_care());
    assert!(!arena.wants_care(), "it is said once");
    let due = arena.tend_at().unwrap();
    arena.tend(due - 1);
    assert!(arena.resident() >= 32 << 20, "it may be wanted again soon");
    arena.tend(due);
    let bound = KEPT_BYTES + in_use.capacity + last.capacity;
    assert!((bound - (1 << 20)..=bound).contains(&arena.resident()), "{} bytes", arena.resident());
    assert_eq!((arena.tend_at(), arena.wants_care()), (None, false));
    assert_eq!((in_use.bytes()[5], last.bytes()[5]), (1, 3));
    drop((in_use, last));
    assert!(arena.is_empty());
    arena.tend(LATER);
    assert!(arena.resident() <= KEPT_BYTES + (4 << 20));
}

#[test]
fn small_use_needs_no_care() {
    let arena = Arena::create().unwrap();
    for _ in 0..100 {
        drop(arena.block(&[], &vec![1; 2 << 20]).unwrap());
    }
    assert!(!arena.wants_care());
    assert!(arena.resident() <= 3 << 20, "the same memory is used again");
}
