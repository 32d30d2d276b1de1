//! Who has which item of a frame: the worker begins from the front, the master takes back from the end.

use std::collections::BTreeSet;

use loom::sync::Arc;
use loom::thread;

use super::{expect_broken, explore};
use crate::claims::{Barrier, Begun, Claims, Slot, own_barrier};

/// Items of the frame, and its number.
const ITEMS: u32 = 3;
const FRAME: u32 = 9;

/// How often the threads may change places between any two steps.
const CHANGES: usize = 4;

/// What the master does meanwhile.
#[derive(Clone, Copy)]
struct Plan {
    is_light: bool,
    barrier: Barrier,
    reclaims: u32,
    hastens: bool,
}

/// Begins what there is, as a worker does.
fn begin_all(slot: &Slot, is_light: bool) -> u32 {
    let mut claims = Claims::new(slot, FRAME, is_light);
    (0..=ITEMS).take_while(|position| claims.begin(*position) != Begun::No).count() as u32
}

/// One frame: whatever happens, each item is begun or taken back, and none is both.
fn share(plan: Plan) {
    let slot = Arc::new(Slot::default());
    slot.open(FRAME, ITEMS);
    let theirs = Arc::clone(&slot);
    let worker = thread::spawn(move || begin_all(&theirs, plan.is_light));
    if plan.hastens {
        slot.hasten(FRAME);
    }
    let mut taken = BTreeSet::new();
    for _ in 0..plan.reclaims {
        if let Some((first, end)) = slot.reclaim(FRAME, ITEMS, plan.barrier) {
            assert!(first < end && end <= ITEMS, "{first}..{end} is taken back");
            assert!((first..end).all(|item| taken.insert(item)), "{first}..{end} is taken back again");
        }
    }
    let claimed = slot.claimed(FRAME, ITEMS).expect("nobody damages the words");
    let begun = worker.join().expect("the worker does not panic");
    assert!(claimed <= begun, "{claimed} items seem begun, {begun} are");
    let all: Vec<u32> = (0..begun).chain(taken).collect();
    assert_eq!(all, (0..ITEMS).collect::<Vec<_>>(), "{begun} items were begun");
    assert_eq!(slot.claimed(FRAME, ITEMS), Some(begun));
}

pub(super) fn every_item_is_begun_or_taken_back() {
    for is_light in [false, true] {
        for reclaims in 1..=2 {
            let plan = Plan { is_light, barrier: own_barrier, reclaims, hastens: false };
            explore(CHANGES, move || share(plan));
        }
    }
}

pub(super) fn haste_takes_nothing() {
    for reclaims in 0..=1 {
        let plan = Plan { is_light: true, barrier: own_barrier, reclaims, hastens: true };
        explore(CHANGES, move || share(plan));
    }
}

pub(super) fn items_are_kept_apart_by_the_barriers() {
    // Without the master's, an item is begun and taken back.
    let plan = Plan { is_light: false, barrier: || true, reclaims: 1, hastens: false };
    expect_broken(CHANGES, move || share(plan));
    // A barrier that is known to have failed takes nothing.
    explore(CHANGES, || {
        let slot = Slot::default();
        slot.open(FRAME, ITEMS);
        assert_eq!(slot.reclaim(FRAME, ITEMS, || false), None);
        assert_eq!(begin_all(&slot, false), ITEMS);
    });
}
