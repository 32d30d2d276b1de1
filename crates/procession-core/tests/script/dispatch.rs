//! Who gets how much: chunk sizes, turns, prefetching, moving work, input wanted.

use std::time::Duration;

use procession_core::{Command, Event, JobOptions, Outcome, Policy};

use crate::script::*;

fn shares(said: &[Command]) -> Vec<(u32, u64, u32)> {
    let share = |command: &Command| match *command {
        Command::Dispatch { worker, first, items, .. } => (worker.slot, first, items),
        other => panic!("{other:?} is no hand-out"),
    };
    said.iter().map(share).collect()
}

#[test]
fn unknown_items_go_one_by_one_to_idle_workers() {
    let mut s = Script::ready(Policy::new(2));
    let said = s.submit(0, 10, JobOptions::new(0));
    assert_eq!(said, [dispatch(worker(1, 1), 0, 0, 1), dispatch(worker(0, 1), 0, 1, 1)]);
}

#[test]
fn known_items_fill_the_target_time() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    let said = s.submit(0, 1_000, JobOptions::new(0));
    // 2 ms at a time, one hand-out ahead is above the low water mark.
    assert_eq!(said, [dispatch(worker(0, 1), 0, 0, 20)]);
    // Half of it done: below the mark, so there is more.
    s.check(done(0, 1, 11, us(1_100)), &[dispatch(worker(0, 1), 0, 20, 20)]);
}

#[test]
fn what_is_there_is_shared_equally_while_more_may_come() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(us(100));
    s.open(0, JobOptions::new(0));
    assert_eq!(shares(&s.tell(input(0, 16))), [(1, 0, 8), (0, 8, 8)]);
}

#[test]
fn hand_outs_shrink_towards_the_end() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(us(250));
    s.submit(1, 2, JobOptions::new(1));
    assert_eq!(s.submit(0, 40, JobOptions::new(0)), []);
    let mut held = [1, 1];
    let mut sizes = Vec::new();
    for slot in [0, 1].into_iter().cycle().take(20) {
        if held[slot] > 0 {
            let said = s.tell(done(slot as u32, 1, held[slot], us(250 * held[slot])));
            let sent = said.iter().filter_map(|command| match command {
                Command::Dispatch { items, .. } => Some(u64::from(*items)),
                _ => None,
            });
            held[slot] = sent.clone().sum();
            sizes.extend(sent);
        }
    }
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
    assert_eq!((sizes[0], sizes[sizes.len() - 1], sizes.iter().sum::<u64>()), (8, 1, 40), "{sizes:?}");
}

#[test]
fn long_items_are_not_prefetched() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(ms(5));
    let said = s.submit(0, 10, JobOptions::new(0));
    assert_eq!(shares(&said), [(1, 0, 1), (0, 1, 1)]);
    s.check(done(0, 1, 1, ms(5)), &[dispatch(worker(0, 1), 0, 2, 1)]);
}

/// More than all nanoseconds that can be counted, as far as anybody knows.
#[test]
fn a_hand_out_of_millions_of_the_longest_items_is_counted() {
    let mut s = Script::ready(Policy::new(1));
    let hour = Duration::from_secs(3_600);
    s.teach(hour);
    let items = u32::MAX;
    let options = JobOptions { chunk_size: Some(items), ..JobOptions::new(0) };
    let said = s.submit(0, u64::from(items) + 1, options);
    assert_eq!(said, [dispatch(worker(0, 1), 0, 0, items)]);
    s.after(hour).check(done(0, 1, 1, hour), &[]);
    let rest = u64::from(items) - 1;
    s.check(done(0, 1, rest, Duration::from_secs(1)), &[dispatch(worker(0, 1), 0, u64::from(items), 1)]);
    s.check(done(0, 1, 1, hour), &[settled(0)]);
}

#[test]
fn a_chunk_size_is_the_unit() {
    let mut s = Script::ready(Policy::new(1));
    let options = JobOptions { chunk_size: Some(7), ..JobOptions::new(0) };
    assert_eq!(shares(&s.submit(0, 100, options.clone())), [(0, 0, 7)]);
    // 100 µs an item: 20 fill the target, so two units of seven.
    s.check(done(0, 1, 7, us(700)), &[dispatch(worker(0, 1), 0, 7, 14)]);
    // 2 ms an item: one unit, and none ahead.
    let mut s = Script::ready(Policy::new(1));
    s.teach(ms(2));
    assert_eq!(shares(&s.submit(0, 10, options)), [(0, 0, 7)]);
    s.check(done(0, 1, 7, ms(14)), &[dispatch(worker(0, 1), 0, 7, 3)]);
}

#[test]
fn a_chunk_size_beyond_every_bound_is_still_the_unit() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(us(1));
    let options = JobOptions { chunk_size: Some(6_000), ..JobOptions::new(0) };
    assert_eq!(shares(&s.submit(0, 20_000, options)), [(1, 0, 6_000), (0, 6_000, 6_000)]);
}

#[test]
fn many_workers_are_given_more_at_once() {
    let mut s = Script::ready(Policy::new(100));
    s.teach(us(100));
    // 4 ms at a time: in the 2 ms that one worker gets, the master could hardly serve the hundred of them.
    assert_eq!(s.submit(0, 1_000_000, JobOptions::new(0))[0], dispatch(worker(99, 1), 0, 0, 40));
}

#[test]
fn a_burst_that_overruns_the_master_is_packed() {
    let mut s = Script::ready(Policy::new(8));
    s.teach(us(10));
    let burst = |s: &mut Script| -> Vec<u32> {
        (0..6).map(|index| shares(&s.submit(index, 1, JobOptions::new(0)))[0].0).collect()
    };
    let settle = |s: &mut Script, slots: &[u32]| {
        for &slot in slots {
            s.after(us(4)).tell(done(slot, 1, 1, us(10)));
        }
    };
    let distinct = |slots: &[u32]| slots.iter().collect::<std::collections::BTreeSet<_>>().len();
    // As long as the master keeps up, each gets a worker of its own.
    let slots = burst(&mut s);
    assert_eq!(distinct(&slots), 6, "{slots:?}");
    settle(&mut s, &slots);
    // A reply every 4 µs is all that it can do.
    for _ in 0..64 {
        let slot = shares(&s.submit(0, 1, JobOptions::new(0)))[0].0;
        settle(&mut s, &[slot]);
    }
    // Four calls may be four callers that wait; more of them share a worker although others are idle.
    let slots = burst(&mut s);
    assert_eq!((distinct(&slots[..4]), &slots[4..]), (4, &[slots[3]; 2][..]), "{slots:?}");
    settle(&mut s, &slots);
    // Once it is quiet again, all is as before.
    let slots = burst(s.after(ms(100)));
    assert_eq!(distinct(&slots), 6, "{slots:?}");
}

#[test]
fn bytes_bound_a_hand_out() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(1));
    s.open(0, JobOptions::new(0));
    let said = s.tell(Event::Input { job: job(0), items: 100, bytes: 100 * 10 * 1024 });
    // Six of 10 KiB at a time, while no more than 192 KiB are there.
    assert_eq!(shares(&said), [(0, 0, 6), (0, 6, 6), (0, 12, 6), (0, 18, 6)]);
}

#[test]
fn a_call_that_is_all_there_is_one_event() {
    let mut s = Script::ready(Policy::new(2));
    s.check(call(0, 3), &[dispatch(worker(1, 1), 0, 0, 1), dispatch(worker(0, 1), 0, 1, 1)]);
    assert_eq!(s.core.input_wanted(job(0)), 0);
    s.check(done(1, 1, 1, ms(5)), &[dispatch(worker(1, 1), 0, 2, 1)]);
    s.check(done(0, 1, 1, ms(5)), &[]);
    s.check(done(1, 1, 1, ms(5)), &[settled(0)]);
    s.check(call(1, 0), &[settled(1)]);
    s.check(Event::Close, &[stop(0, 1), stop(1, 1)]);
    s.check(call(2, 1), &[settle(2, 0, 1, Outcome::NotRun, 0), settled(2)]);
}

#[test]
fn single_item_jobs_fill_the_pipe_after_every_worker_has_one() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(us(1));
    let said: Vec<Command> = (0..1_000).flat_map(|index| s.submit(index, 1, JobOptions::new(0))).collect();
    let shares = shares(&said);
    assert_eq!(&shares[..2], [(1, 0, 1), (0, 0, 1)]);
    for slot in 0..2 {
        assert_eq!(
            shares.iter().filter(|share| share.0 == slot).count(),
            256,
            "runs that worker {slot} holds"
        );
    }
}

#[test]
fn jobs_take_turns_and_priority_goes_first() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(ms(5));
    let urgent = JobOptions { priority: 1, ..JobOptions::new(0) };
    assert_eq!(s.submit(0, 3, JobOptions::new(0)), [dispatch(worker(0, 1), 0, 0, 1)]);
    assert_eq!(s.submit(1, 2, JobOptions::new(0)), []);
    assert_eq!(s.submit(2, 1, urgent), []);
    let next = |s: &mut Script| s.tell(done(0, 1, 1, ms(5)));
    assert_eq!(next(&mut s), [dispatch(worker(0, 1), 2, 0, 1)]);
    assert_eq!(next(&mut s), [settled(2), dispatch(worker(0, 1), 0, 1, 1)]);
    assert_eq!(next(&mut s), [dispatch(worker(0, 1), 1, 0, 1)]);
    assert_eq!(next(&mut s), [dispatch(worker(0, 1), 0, 2, 1)]);
    assert_eq!(next(&mut s), [settled(0), dispatch(worker(0, 1), 1, 1, 1)]);
    assert_eq!(next(&mut s), [settled(1)]);
}

#[test]
fn an_idle_worker_takes_what_another_has_not_started() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(us(100));
    s.submit(0, 16, JobOptions::new(0));
    // Worker 1 holds 0..8 and is quick, worker 0 holds the others and got nowhere.
    s.after(us(100)).check(done(1, 1, 8, us(100)), &[reclaim(0, 1)]);
    // It is running item 8; the rest goes to worker 1, but not all of it: worker 0 may get on soon.
    let said = s.tell(reclaimed(0, 1, 7));
    assert!(shares(&said).iter().all(|share| share.0 == 1), "{said:?}");
    let moved: u32 = shares(&said).iter().map(|share| share.2).sum();
    assert!((3..=6).contains(&moved), "{moved} of 7 items moved");
}

#[test]
fn what_waits_behind_a_stuck_item_moves() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(us(1));
    let said = s.submit(0, 4, JobOptions::new(0));
    assert_eq!(shares(&said), [(1, 0, 2), (0, 2, 2)]);
    // Too little to be worth moving, as far as anyone knows.
    s.after(us(2)).check(done(1, 1, 2, us(2)), &[]);
    // But it should have been done by now.
    s.wake_within(us(300), &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 1), &[dispatch(worker(1, 1), 0, 3, 1)]);
    s.check(done(1, 1, 1, us(1)), &[]);
    s.wake_within(ms(1_000), &[]);
}

#[test]
fn a_worker_is_not_asked_twice_before_it_gets_on() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(us(100));
    s.submit(0, 4, JobOptions::new(0));
    s.after(us(1)).check(done(1, 1, 2, us(2)), &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 0), &[]);
    s.wake_within(ms(1_000), &[]);
    s.check(done(0, 1, 2, us(100)), &[settled(0)]);
}

#[test]
fn a_worker_that_gave_back_everything_can_get_stuck_in_what_it_is_given_next() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(us(1));
    s.submit(0, 4, JobOptions::new(0));
    s.after(us(2)).check(done(1, 1, 2, us(2)), &[]);
    s.wake_within(us(300), &[reclaim(0, 1)]);
    // It had not even begun, and is given the same again.
    s.check(reclaimed(0, 1, 2), &[dispatch(worker(0, 1), 0, 2, 2)]);
    // Not at once: it may only be slow to begin.
    s.wake_within(us(300), &[]);
    s.wake_within(us(300), &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 1), &[dispatch(worker(1, 1), 0, 3, 1)]);
    s.check(done(1, 1, 1, us(1)), &[]);
    s.wake_within(ms(1_000), &[]);
    s.check(done(0, 1, 1, us(100)), &[settled(0)]);
}

#[test]
fn input_is_wanted_for_two_rounds() {
    let mut s = Script::ready(Policy::new(3));
    s.open(0, JobOptions::new(0));
    assert_eq!(s.core.input_wanted(job(0)), 6, "nothing known: two items a worker");
    s.teach(us(100));
    assert_eq!(s.core.input_wanted(job(0)), 2 * 3 * 20);
    s.tell(input(0, 100));
    let waiting = 100 - s.core.seats().map(|seat| seat.held).sum::<u64>();
    assert_eq!(s.core.input_wanted(job(0)), 120 - waiting);
    s.tell(closed(0));
    assert_eq!(s.core.input_wanted(job(0)), 0);
    assert_eq!(s.core.input_wanted(job(7)), 0);
}

#[test]
fn many_quick_items_are_wanted_in_large_parts() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(Duration::from_nanos(100));
    s.open(0, JobOptions::new(0));
    let covered = s.core.input_wanted(job(0));
    assert!(covered > 10_000, "{covered}");
    let waiting = |s: &Script, given: u64| given - s.core.seats().map(|seat| seat.held).sum::<u64>();
    let mut given = 0;
    while waiting(&s, given) <= covered / 2 {
        assert_eq!(s.core.input_wanted(job(0)), covered - waiting(&s, given));
        s.tell(input(0, 1_000));
        given += 1_000;
    }
    assert_eq!(s.core.input_wanted(job(0)), 0, "more than half of it waits");
}

#[test]
fn ten_million_items_cost_a_few_ranges() {
    let mut s = Script::ready(Policy::new(4));
    s.teach(us(1));
    s.submit(0, 10_000_000, JobOptions::new(0));
    let mut generation = [1; 4];
    for round in 0..1_000 {
        let slot = round % 4;
        // Every worker gets something done, then dies over nothing.
        s.tell(done(slot as u32, generation[slot], 5, us(5)));
        s.tell(exited(slot as u32, generation[slot], false));
        generation[slot] += 1;
        s.tell(ready(slot as u32, generation[slot]));
        assert!(s.core.ranges() < 100, "{} ranges", s.core.ranges());
    }
}

#[test]
fn front_runs_are_what_a_worker_holds() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(10));
    s.submit(0, 3, JobOptions::new(0));
    s.tell(done(0, 1, 1, us(10)));
    let runs: Vec<_> = s.core.front_runs(worker(0, 1)).map(|run| (run.job, run.first, run.items)).collect();
    assert_eq!(runs, [(job(0), 1, 2)]);
    assert_eq!(s.core.front_runs(worker(0, 2)).count(), 0);
}
