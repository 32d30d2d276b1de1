//! Workers that are of no use to anybody: however they end, they are started ever more slowly, and not for ever.

use procession_core::{BrokenReason, Command, Event, JobOptions, Outcome, Policy};

use crate::script::*;

fn faulty(slot: u32, generation: u32) -> Event {
    Event::WorkerFaulty { worker: worker(slot, generation) }
}

fn bloated(slot: u32, generation: u32) -> Event {
    Event::WorkerBloated { worker: worker(slot, generation) }
}

const CRASH_LOOP: Command = Command::Broken { reason: BrokenReason::CrashLoop };

/// Lets the first worker of seat 0 end in that way, and each of its successors, as soon as it is ready. Says how many
/// there were, how many milliseconds that took, and the pool's last words.
fn until_broken(mut s: Script, end: impl Fn(&mut Script, u32) -> Vec<Command>) -> (u32, u128, Vec<Command>) {
    let mut waited = ms(0);
    for generation in 1..100 {
        let said = end(&mut s, generation);
        if let Some(last_words) = said.iter().position(|word| matches!(word, Command::Broken { .. })) {
            return (generation, waited.as_millis(), said[last_words..].to_vec());
        }
        let next = start(0, generation + 1);
        if !said.contains(&next) {
            let pause = ms(125 << generation.saturating_sub(2));
            waited += pause;
            s.wake_within(pause, &[next]);
        }
        s.tell(ready(0, generation + 1));
    }
    panic!("a hundred of them were started")
}

#[test]
fn workers_that_break_the_protocol_as_soon_as_they_are_ready_are_a_crash_loop() {
    let end = |s: &mut Script, generation| {
        s.check(faulty(0, generation), &[kill(0, generation)]);
        s.tell(exited(0, generation, false))
    };
    let (starts, waited, said) = until_broken(Script::ready(Policy::new(1)), end);
    // The limit is five; the first replacement comes at once.
    assert_eq!((starts, said), (6, vec![CRASH_LOOP]));
    assert!(waited >= 100 + 200 + 400 + 800, "{waited} ms");
}

#[test]
fn an_item_that_no_worker_begins_settles_with_the_crash_loop() {
    let mut s = Script::ready(Policy::new(1));
    s.submit(0, 1, JobOptions::new(0));
    let end = |s: &mut Script, generation| {
        s.check(faulty(0, generation), &[reclaim(0, generation)]);
        s.check(reclaimed(0, generation, 1), &[kill(0, generation)]);
        s.tell(exited(0, generation, false))
    };
    let (starts, _, said) = until_broken(s, end);
    assert_eq!((starts, said), (6, vec![CRASH_LOOP, settle(0, 0, 1, Outcome::NotRun, 0), settled(0)]));
}

/// Its neighbour gets on, so the work is not what kills it.
#[test]
fn a_seat_whose_workers_die_before_they_begin_anything_is_a_crash_loop_beside_a_busy_one() {
    let mut s = Script::ready(Policy::new(2));
    s.submit(0, 1_000, JobOptions::new(0));
    let end = |s: &mut Script, generation| {
        s.tell(done(1, 1, 1, ms(5)));
        s.tell(exited(0, generation, false))
    };
    let (starts, _, said) = until_broken(s, end);
    assert_eq!((starts, said[0]), (7, CRASH_LOOP));
}

#[test]
fn workers_that_live_long_but_begin_nothing_are_lost_ones() {
    let mut s = Script::ready(Policy { restart_limit: Some((0, ms(1))), ..Policy::new(1) });
    s.submit(0, 1, JobOptions { timeout: Some(ms(60_000)), ..JobOptions::new(0) });
    for generation in 1..20 {
        s.wake_within(ms(10_000), &[probe(0, generation)]);
        s.check(running(0, generation, None), &[reclaim(0, generation)]);
        s.check(reclaimed(0, generation, 1), &[kill(0, generation)]);
        s.check(exited(0, generation, false), &[start(0, generation + 1)]);
        s.check(ready(0, generation + 1), &[dispatch(worker(0, generation + 1), 0, 0, 1)]);
    }
    s.after(ms(1_000)).check(faulty(0, 20), &[reclaim(0, 20)]);
    s.check(reclaimed(0, 20, 1), &[kill(0, 20)]);
    let broken = Command::Broken { reason: BrokenReason::EveryTaskKills };
    s.check(exited(0, 20, false), &[broken, settle(0, 0, 1, Outcome::NotRun, 0), settled(0)]);
}

/// What its page says about the item changes with who asks.
#[test]
fn an_overdue_item_that_never_began_is_given_back_and_the_worker_is_a_lost_one() {
    let mut s = Script::ready(Policy { lost_in_a_row_max: Some(2), ..Policy::new(1) });
    s.submit(0, 1, JobOptions { timeout: Some(ms(2_000)), ..JobOptions::new(0) });
    let lie = |s: &mut Script, generation| {
        s.wake_within(ms(2_000), &[probe(0, generation)]);
        s.check(running(0, generation, Some(0)), &[reclaim(0, generation)]);
        s.check(reclaimed(0, generation, 0), &[probe(0, generation)]);
        s.check(running(0, generation, Some(0)), &[terminate(0, generation)]);
        s.tell(exited(0, generation, false))
    };
    assert_eq!(lie(&mut s, 1), [start(0, 2)]);
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 0, 0, 1)]);
    let broken = Command::Broken { reason: BrokenReason::EveryTaskKills };
    assert_eq!(lie(&mut s, 2), [broken, settle(0, 0, 1, Outcome::NotRun, 0), settled(0)]);
}

/// A place with a worker that is running its last item, and a successor standing by.
fn standing_by() -> Script {
    let mut s = Script::ready(Policy { max_tasks_per_worker: Some(1), ..Policy::new(1) });
    assert_eq!(s.submit(0, 9, JobOptions::new(0)), [dispatch(worker(0, 1), 0, 0, 1), start(1, 1)]);
    s.check(ready(1, 1), &[]);
    s
}

#[test]
fn a_successor_that_dies_standing_by_is_not_started_again_beside_its_predecessor() {
    for lived in [0, 5_000] {
        let mut s = standing_by();
        s.after(ms(lived)).check(exited(1, 1, false), &[]);
        s.wake_within(ms(20_000), &[]);
        // Nor in a hurry: the place does without, and nothing breaks.
        s.check(done(0, 1, 1, ms(20_000)), &[stop(0, 1)]);
        s.check(exited(0, 1, false), &[start(0, 2)]);
        s.check(ready(0, 2), &[dispatch(worker(0, 2), 0, 1, 1)]);
        // Until it is time to try once more.
        s.after(ms(10_000)).check(done(0, 2, 1, ms(10_000)), &[start(1, 2), stop(0, 2)]);
    }
}

#[test]
fn a_successor_that_breaks_the_protocol_is_not_started_again_beside_its_predecessor() {
    let mut s = standing_by();
    s.check(faulty(1, 1), &[kill(1, 1)]);
    s.check(exited(1, 1, false), &[]);
    s.wake_within(ms(20_000), &[]);
    s.check(done(0, 1, 1, ms(20_000)), &[stop(0, 1)]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
}

#[test]
fn a_seat_that_has_to_wait_is_not_filled_for_a_successor_either() {
    let mut s = Script::new(Policy { max_tasks_per_worker: Some(1), ..Policy::new(1) });
    s.check(Event::Tick, &[start(0, 1)]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
    s.check(exited(0, 2, false), &[]);
    s.wake_within(ms(125), &[start(0, 3)]);
    s.check(ready(0, 3), &[]);
    assert_eq!(s.submit(0, 9, JobOptions::new(0)), [dispatch(worker(0, 3), 0, 0, 1), start(1, 1)]);
    s.check(ready(1, 1), &[]);
    // The third in a row: the other seat's worker takes over, and is the last for 200 ms.
    s.check(exited(0, 3, false), &[dispatch(worker(1, 1), 0, 0, 1)]);
    s.check(done(1, 1, 1, ms(1)), &[stop(1, 1)]);
    s.check(exited(1, 1, false), &[start(1, 2)]);
    s.check(ready(1, 2), &[dispatch(worker(1, 2), 0, 1, 1)]);
    s.after(ms(250)).check(done(1, 2, 1, ms(250)), &[start(0, 4), stop(1, 2)]);
}

#[test]
fn places_that_cannot_have_successors_do_not_break_the_pool() {
    let mut s = standing_by();
    s.check(exited(1, 1, false), &[]);
    for generation in 1..200 {
        let item = u64::from(generation);
        if item % 8 == 0 {
            s.submit(item as u32, 8, JobOptions::new(0));
        }
        let said = s.after(ms(100)).tell(done(0, generation, 1, ms(100)));
        assert!(said.contains(&stop(0, generation)) && said.len() <= 2, "{said:?}");
        s.check(exited(0, generation, false), &[start(0, generation + 1)]);
        let said = s.tell(ready(0, generation + 1));
        assert!(matches!(said.as_slice(), [Command::Dispatch { .. }]), "{said:?}");
    }
}

#[test]
fn a_worker_that_is_too_large_from_its_start_stays_for_an_item() {
    let mut s = Script::ready(Policy::new(1));
    s.check(bloated(0, 1), &[]);
    assert_eq!(s.submit(0, 2, JobOptions::new(0)), [dispatch(worker(0, 1), 0, 0, 1)]);
    for _ in 0..100 {
        // It was weighed before it began.
        s.check(bloated(0, 1), &[reclaim(0, 1)]);
        s.check(reclaimed(0, 1, 1), &[dispatch(worker(0, 1), 0, 0, 1)]);
    }
    s.check(bloated(0, 1), &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 0), &[start(1, 1)]);
    s.check(ready(1, 1), &[]);
    s.check(done(0, 1, 1, ms(5)), &[stop(0, 1), dispatch(worker(1, 1), 0, 1, 1)]);
}

#[test]
fn a_worker_that_will_not_rest_is_killed_and_nobody_started_before_work_waits() {
    let sent_to_rest = || {
        let mut s = Script::ready(Policy { idle_timeout: Some(ms(1)), ..Policy::new(1) });
        s.wake_within(ms(1), &[stop(0, 1)]);
        s
    };
    let mut stubborn = sent_to_rest();
    stubborn.wake_within(ms(10_000), &[kill(0, 1)]);
    let mut faulted = sent_to_rest();
    faulted.check(faulty(0, 1), &[kill(0, 1)]);
    for mut s in [stubborn, faulted] {
        s.check(exited(0, 1, false), &[]);
        s.wake_within(ms(60_000), &[]);
        assert_eq!(s.submit(0, 1, JobOptions::new(0)), [start(0, 2)]);
    }
}

#[test]
fn a_pool_that_shrinks_and_grows_again_waits_as_long_as_it_would_have() {
    for lazy_start in [false, true] {
        let mut s = Script::new(Policy { lazy_start, ..Policy::new(2) });
        s.tell(Event::Tick);
        s.submit(0, 2, JobOptions::new(0));
        for generation in 1..4 {
            s.tell(exited(1, generation, false));
            if generation > 1 {
                s.check(Event::Resize { workers: 1 }, &[]);
                s.check(Event::Resize { workers: 2 }, &[]);
                let pause = ms(25 << generation);
                s.wake_within(pause * 3 / 4 - ms(1), &[]);
                s.wake_within(pause / 2 + ms(1), &[start(1, generation + 1)]);
            }
        }
    }
}
