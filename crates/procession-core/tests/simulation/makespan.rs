//! How well work is spread: one item a hundred times longer than the rest, anywhere, costs hardly more time than
//! in the best of all schedules.

use procession_core::{Event, JobOptions, Policy};

use crate::ledger::Deed;
use crate::world::{Climate, FOREVER, World};

/// Items per worker: enough that a long item at the very end is within the tolerance of any schedule.
const ITEMS_PER_WORKER: u64 = 1_100;

/// How long a pool takes for items of that length, one of them a hundred times longer, all there at once or input as
/// they are wanted; and how long the best schedule takes.
fn makespan(workers: u32, item_ns: u64, long_at: u64, is_streamed: bool) -> (u64, u64) {
    let items = ITEMS_PER_WORKER * u64::from(workers);
    let deeds: Vec<Deed> =
        (0..items).map(|item| Deed::Run(if item == long_at { 100 * item_ns } else { item_ns })).collect();
    let mut world = World::new(long_at, Policy::new(workers), Climate::default(), false);
    world.tell(Event::Tick);
    while world.core.seats().any(|seat| !seat.is_ready) {
        assert!(world.step(FOREVER), "the workers never get ready");
    }
    let began = world.now;
    let call = world.submit(JobOptions::new(0));
    let mut fed = 0;
    while !world.calls[call].settled {
        let wanted = match is_streamed {
            true => world.core.input_wanted(world.calls[call].id).min(items - fed),
            false => items - fed,
        };
        if wanted > 0 {
            world.input(call, &deeds[fed as usize..(fed + wanted) as usize], 8 * wanted);
            fed += wanted;
        }
        if fed == items && !world.calls[call].closed {
            world.close_input(call);
        }
        assert!(world.calls[call].settled || world.step(FOREVER), "the call never ends");
    }
    let total = (items + 99) * item_ns;
    let best = total.div_ceil(u64::from(workers)).max(100 * item_ns);
    (world.now - began, best)
}

#[test]
fn a_long_item_anywhere_costs_a_tenth_at_most() {
    for workers in [1, 2, 4] {
        let items = ITEMS_PER_WORKER * u64::from(workers);
        for item_ns in [20_000, 200_000, 3_000_000] {
            for long_at in [0, 1, 3, items / 3, items / 2, items - 3, items - 2, items - 1] {
                for is_streamed in [false, true] {
                    let (took, best) = makespan(workers, item_ns, long_at, is_streamed);
                    assert!(
                        took * 10 <= best * 11,
                        "{workers} workers, items of {item_ns} ns, the long one at {long_at} of {items}, streamed: \
                         {is_streamed}: {took} ns instead of {best}"
                    );
                }
            }
        }
    }
}
