//! Workers that start, or do not: back-off, crash loops, laziness, rest.

use std::time::Duration;

use procession_core::{BrokenReason, Command, Event, JobOptions, Policy, StartFailure};

use crate::script::*;

fn failed(slot: u32, generation: u32, failure: StartFailure) -> Event {
    Event::StartFailed { worker: worker(slot, generation), failure }
}

#[test]
fn the_first_respawn_is_immediate_then_pauses_double() {
    let mut s = Script::new(Policy::new(1));
    s.check(Event::Tick, &[start(0, 1)]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
    let mut generation = 2;
    let mut pause = ms(100);
    for _ in 0..4 {
        s.check(exited(0, generation, false), &[]);
        let wake = s.core.poll_timeout().expect("a respawn is due");
        generation += 1;
        s.wake_within(pause * 5 / 4, &[start(0, generation)]);
        assert!(wake.as_nanos() > 0);
        pause *= 2;
    }
    // Ready at last, and for long enough: the count begins anew.
    s.check(ready(0, generation), &[]);
    s.after(ms(1_000)).check(exited(0, generation, false), &[start(0, generation + 1)]);
    s.check(ready(0, generation + 1), &[]);
}

#[test]
fn a_crash_loop_breaks_the_pool() {
    let mut s = Script::new(Policy { restart_limit: Some((2, ms(10_000))), ..Policy::new(1) });
    s.check(Event::Tick, &[start(0, 1)]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
    s.check(exited(0, 2, false), &[]);
    s.wake_within(ms(125), &[start(0, 3)]);
    s.check(exited(0, 3, false), &[Command::Broken { reason: BrokenReason::CrashLoop }]);
    s.check(Event::Close, &[Command::Finished]);
}

#[test]
fn workers_that_are_ready_and_die_at_once_are_a_crash_loop_too() {
    let mut s = Script::new(Policy { restart_limit: Some((2, ms(10_000))), ..Policy::new(1) });
    s.check(Event::Tick, &[start(0, 1)]);
    s.check(ready(0, 1), &[]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
    s.check(ready(0, 2), &[]);
    s.check(exited(0, 2, false), &[]);
    s.wake_within(ms(125), &[start(0, 3)]);
    s.check(ready(0, 3), &[]);
    s.check(exited(0, 3, false), &[Command::Broken { reason: BrokenReason::CrashLoop }]);
    s.check(Event::Close, &[Command::Finished]);
}

#[test]
fn an_idle_worker_that_was_of_use_is_replaced_at_once_however_often() {
    let mut s = Script::ready(Policy { restart_limit: Some((2, ms(10_000))), ..Policy::new(1) });
    for generation in 1..10 {
        let job = u64::from(generation) - 1;
        s.submit(job as u32, 1, JobOptions::new(0));
        s.check(done(0, generation, 1, us(10)), &[settled(job as u32)]);
        s.check(exited(0, generation, false), &[start(0, generation + 1)]);
        s.check(ready(0, generation + 1), &[]);
    }
}

#[test]
fn what_runs_before_a_worker_is_ready_has_a_limit_of_its_own() {
    let sets_up = |limit| Event::WorkerSetsUp { worker: worker(0, 1), limit };
    let mut s = Script::new(Policy::new(1));
    s.check(Event::Tick, &[start(0, 1)]);
    s.after(ms(6_000)).check(sets_up(Some(ms(60_000))), &[]);
    s.after(ms(59_000)).check(Event::Tick, &[]);
    // Without one it has as long as a start.
    s.check(sets_up(None), &[]);
    s.after(ms(9_000)).check(Event::Tick, &[]);
    s.check(sets_up(Some(ms(5))), &[]);
    s.wake_within(ms(5), &[kill(0, 1)]);
    s.check(sets_up(Some(ms(60_000))), &[]);
    s.check(failed(0, 1, StartFailure::Fatal), &[Command::Broken { reason: BrokenReason::StartRefused }]);
    s.check(Event::Close, &[Command::Finished]);
}

#[test]
fn a_start_that_takes_too_long_is_a_failed_start() {
    let mut s = Script::new(Policy::new(1));
    s.check(Event::Tick, &[start(0, 1)]);
    s.wake_within(ms(10_000), &[kill(0, 1)]);
    s.check(ready(0, 1), &[]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
    s.check(exited(0, 2, false), &[]);
}

#[test]
fn a_refused_start_breaks_at_once() {
    let mut s = Script::new(Policy::new(2));
    s.check(Event::Tick, &[start(0, 1), start(1, 1)]);
    let broken = Command::Broken { reason: BrokenReason::StartRefused };
    s.check(failed(0, 1, StartFailure::Fatal), &[broken, terminate(1, 1)]);
    s.check(exited(1, 1, false), &[]);
    s.check(Event::Terminate, &[Command::Finished]);
}

#[test]
fn shortage_is_waited_out_while_a_worker_lives() {
    let mut s = Script::new(Policy::new(2));
    s.check(Event::Tick, &[start(0, 1), start(1, 1)]);
    s.check(ready(1, 1), &[]);
    let mut generation = 1;
    for _ in 0..100 {
        let said = s.tell(failed(0, generation, StartFailure::Transient));
        generation += 1;
        if said.is_empty() {
            s.wake_within(ms(37_500), &[start(0, generation)]);
        }
    }
    s.check(ready(0, generation), &[]);
}

#[test]
fn a_minute_without_a_worker_breaks_the_pool() {
    let mut s = Script::new(Policy::new(1));
    s.check(Event::Tick, &[start(0, 1)]);
    let mut generation = 1;
    for _ in 0..20 {
        let said = s.tell(failed(0, generation, StartFailure::Transient));
        if let [Command::Start { worker }] = said.as_slice() {
            generation = worker.generation;
            continue;
        }
        let wake = s.core.poll_timeout().expect("something is due");
        let broken = Command::Broken { reason: BrokenReason::NoWorkers };
        if wake.as_nanos() >= 60_000_000_000 {
            return s.wake_within(Duration::MAX, &[broken]);
        }
        generation += 1;
        s.wake_within(ms(37_500), &[start(0, generation)]);
    }
    panic!("it never gave up");
}

#[test]
fn a_lazy_pool_starts_what_it_needs() {
    let mut s = Script::new(Policy { lazy_start: true, ..Policy::new(4) });
    s.check(Event::Tick, &[]);
    assert_eq!(s.submit(0, 1, JobOptions::new(0)), [start(0, 1)]);
    s.check(ready(0, 1), &[dispatch(worker(0, 1), 0, 0, 1)]);
    s.check(done(0, 1, 1, ms(1)), &[settled(0)]);
    // One after the other: the same worker.
    assert_eq!(s.submit(0, 1, JobOptions::new(0)), [dispatch(worker(0, 1), 0, 0, 1)]);
    // Three at once: two more, never more than wait.
    assert_eq!(s.submit(1, 1, JobOptions::new(1)), [start(1, 1)]);
    assert_eq!(s.submit(2, 1, JobOptions::new(1)), [start(2, 1)]);
    s.check(ready(1, 1), &[dispatch(worker(1, 1), 1, 0, 1)]);
    // Its item waits again, and two starts are enough for two items.
    s.check(exited(0, 1, false), &[start(0, 2)]);
}

#[test]
fn an_idle_worker_is_stopped_and_comes_back_for_work() {
    let mut s = Script::ready(Policy { idle_timeout: Some(ms(500)), ..Policy::new(2) });
    s.after(ms(400));
    assert_eq!(s.submit(0, 1, JobOptions::new(0)), [dispatch(worker(1, 1), 0, 0, 1)]);
    s.wake_within(ms(100), &[stop(0, 1)]);
    s.check(exited(0, 1, false), &[]);
    assert_eq!(s.submit(1, 1, JobOptions::new(0)), [start(0, 2)]);
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 1, 0, 1)]);
}

#[test]
fn the_jitter_differs_between_seeds_and_not_between_runs() {
    let pause = |seed| {
        let mut s = Script::new(Policy { seed, ..Policy::new(1) });
        s.check(Event::Tick, &[start(0, 1)]);
        s.check(exited(0, 1, false), &[start(0, 2)]);
        s.check(exited(0, 2, false), &[]);
        s.tell(Event::Tick);
        s.core.poll_timeout()
    };
    assert_eq!(pause(1), pause(1));
    assert_ne!(pause(1), pause(2));
}
