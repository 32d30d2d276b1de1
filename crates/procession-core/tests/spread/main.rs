//! How well work is spread, whatever the items' run times: in modelled time, beside a schedule that knew them all.
//!
//! Long runs only: on short ones the first round of single items, by which run times are learnt, is the whole story.

use procession_model::{Call, Costs, Input, best, run};

const WORKERS: [u32; 5] = [1, 2, 4, 16, 64];

/// Enough that one item a hundred times longer, even as the very last one, is within the tolerance of any schedule that
/// does not know of it.
fn items(input: Input, workers: u32) -> usize {
    match input {
        Input::Tiny => (10_000 * workers as usize).max(40_000),
        _ => 2_000 * workers as usize,
    }
}

/// How much longer than the best schedule a call may take, in percent: a tenth. More only where the master's own work on
/// each item takes more than a third of that time, so that messages cannot be hidden behind the workers' work:
///
/// * In a burst of single calls the best schedule keeps all of them back and sends a few large messages. Whoever does
///   not know that more will come sends what there is as soon as a worker is through with the last: a message every few
///   microseconds.
/// * In a larger call workers send their results every half millisecond, however much they were given.
fn tolerance(costs: &Costs, call: Call, items: usize, best: u64) -> u64 {
    let submit = if call == Call::Burst { costs.submit } else { 0 };
    let is_limited_by_master = 3 * items as u64 * (submit + costs.item_out + costs.item_in) > best;
    match call {
        Call::Burst if is_limited_by_master => 70,
        Call::Map if is_limited_by_master => 20,
        Call::Burst | Call::Map => 10,
    }
}

fn check(costs: &Costs, mean: u64, input: Input, workers: u32, call: Call) {
    let times = input.times(items(input, workers), mean);
    let took = run(costs, workers, call, &times).makespan_ns;
    let best = best(costs, workers, call, &times);
    let tolerance = tolerance(costs, call, times.len(), best);
    assert!(
        took * 100 <= best * (100 + tolerance),
        "{call:?} of {} items, {input:?} around {mean} ns, on {workers} workers: {took} ns, where {best} ns is possible",
        times.len()
    );
}

fn check_all(mean: u64, call: Call) {
    for input in Input::ALL {
        for workers in WORKERS {
            check(&Costs::default(), mean, input, workers, call);
        }
    }
}

#[test]
fn a_map_of_milliseconds_is_spread_well() {
    check_all(1_000_000, Call::Map);
}

#[test]
fn a_map_of_a_hundred_microseconds_is_spread_well() {
    check_all(100_000, Call::Map);
}

#[test]
fn a_map_of_ten_microseconds_is_spread_well() {
    check_all(10_000, Call::Map);
}

#[test]
fn a_burst_of_milliseconds_is_spread_well() {
    check_all(1_000_000, Call::Burst);
}

#[test]
fn a_burst_of_a_hundred_microseconds_is_spread_well() {
    check_all(100_000, Call::Burst);
}

#[test]
fn a_burst_of_ten_microseconds_is_spread_well() {
    check_all(10_000, Call::Burst);
}

#[test]
fn as_many_items_as_workers_run_side_by_side() {
    let costs = Costs::default();
    for workers in WORKERS {
        for call in [Call::Map, Call::Burst] {
            let times = vec![100_000_000; workers as usize];
            let took = run(&costs, workers, call, &times).makespan_ns;
            assert!(took < 101_000_000, "{call:?} on {workers} workers: {took} ns");
        }
    }
}
