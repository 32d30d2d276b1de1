//! Recycling: who has done its share, or has grown too large, is replaced by one that was started before it left.

use procession_core::{Command, Event, JobOptions, Outcome, Policy};

use crate::script::*;

fn recycling(max_tasks: u64) -> Policy {
    Policy { max_tasks_per_worker: Some(max_tasks), ..Policy::new(1) }
}

fn bloated(slot: u32, generation: u32) -> Event {
    Event::WorkerBloated { worker: worker(slot, generation) }
}

/// A worker has the last items that it may run, and its successor in seat 1 is being started.
fn nearly_done() -> Script {
    let mut s = Script::ready(recycling(4));
    s.teach(us(100));
    // One of the four was the lesson.
    assert_eq!(s.submit(0, 10, JobOptions::new(0)), [dispatch(worker(0, 1), 0, 0, 3), start(1, 1)]);
    s
}

#[test]
fn the_successor_stands_by_until_its_predecessor_has_nothing_left() {
    let mut s = nearly_done();
    s.check(ready(1, 1), &[]);
    s.check(done(0, 1, 3, us(300)), &[stop(0, 1), dispatch(worker(1, 1), 0, 3, 4)]);
    // The place has two seats: as long as one is not empty, nobody else is started there.
    s.check(exited(0, 1, false), &[start(0, 2)]);
    s.check(ready(0, 2), &[]);
    s.check(done(1, 1, 4, us(400)), &[stop(1, 1), dispatch(worker(0, 2), 0, 7, 3)]);
    s.check(exited(1, 1, false), &[]);
    s.check(done(0, 2, 3, us(300)), &[settled(0)]);
}

#[test]
fn a_successor_that_is_late_takes_the_place_all_the_same() {
    let mut s = nearly_done();
    s.check(done(0, 1, 3, us(300)), &[stop(0, 1)]);
    s.check(exited(0, 1, false), &[]);
    s.check(ready(1, 1), &[dispatch(worker(1, 1), 0, 3, 4), start(0, 2)]);
}

#[test]
fn where_the_predecessor_takes_long_to_leave_there_are_no_more_than_two() {
    let mut s = nearly_done();
    s.check(ready(1, 1), &[]);
    s.check(done(0, 1, 3, us(300)), &[stop(0, 1), dispatch(worker(1, 1), 0, 3, 4)]);
    s.check(done(1, 1, 4, us(400)), &[stop(1, 1)]);
    s.check(exited(1, 1, false), &[start(1, 2)]);
    s.check(ready(1, 2), &[dispatch(worker(1, 2), 0, 7, 3)]);
    s.check(exited(0, 1, false), &[]);
}

#[test]
fn a_successor_takes_over_from_one_that_crashed() {
    let mut s = nearly_done();
    s.check(ready(1, 1), &[]);
    let said = s.tell(exited(0, 1, true));
    let again = [dispatch(worker(1, 1), 0, 1, 2), dispatch(worker(1, 1), 0, 3, 2), start(0, 2)];
    assert_eq!(said, [&[settle(0, 0, 1, Outcome::Lost, 1)], &again[..]].concat());
}

#[test]
fn a_successor_that_fails_is_not_tried_again_before_the_place_is_empty() {
    let mut s = nearly_done();
    s.check(exited(1, 1, false), &[]);
    s.check(done(0, 1, 3, us(300)), &[stop(0, 1)]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 0, 3, 4)]);
}

#[test]
fn a_worker_that_is_too_large_delivers_and_is_replaced() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    assert_eq!(s.submit(0, 5, JobOptions::new(0)), [dispatch(worker(0, 1), 0, 0, 5)]);
    s.check(bloated(0, 1), &[start(1, 1), reclaim(0, 1)]);
    s.check(bloated(0, 1), &[]);
    s.check(reclaimed(0, 1, 4), &[]);
    s.check(ready(1, 1), &[]);
    s.check(done(0, 1, 1, us(100)), &[stop(0, 1), dispatch(worker(1, 1), 0, 1, 4)]);
    s.check(exited(0, 1, false), &[]);
    let status = s.core.seats().next().expect("a pool has a place");
    assert_eq!((status.place, status.worker, status.restarts), (0, worker(1, 1), 1));
    assert_eq!(s.core.seats().count(), 1);
}

#[test]
fn an_idle_worker_that_is_too_large_is_replaced_at_once() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.check(bloated(0, 1), &[start(1, 1), stop(0, 1)]);
    s.check(exited(0, 1, false), &[]);
    s.check(bloated(0, 1), &[]);
    s.check(ready(1, 1), &[]);
}

#[test]
fn a_pool_that_shrinks_has_no_use_for_a_successor() {
    let mut s = Script::ready(Policy { workers: 2, ..recycling(1) });
    assert_eq!(s.submit(0, 1, JobOptions::new(0)), [dispatch(worker(1, 1), 0, 0, 1), start(2, 1)]);
    s.check(ready(2, 1), &[]);
    assert_eq!(s.submit(1, 1, JobOptions::new(0)), [dispatch(worker(0, 1), 1, 0, 1), start(3, 1)]);
    s.check(Event::Resize { workers: 1 }, &[stop(2, 1), reclaim(1, 1)]);
    s.check(exited(2, 1, false), &[]);
    s.check(reclaimed(1, 1, 0), &[]);
    s.check(done(1, 1, 1, ms(1)), &[settled(0), stop(1, 1)]);
    s.check(exited(1, 1, false), &[]);
    assert_eq!(s.core.seats().count(), 2);
}

#[test]
fn a_pool_that_starts_workers_when_work_waits_starts_successors_no_earlier() {
    let mut s = Script::new(Policy { lazy_start: true, ..recycling(1) });
    s.check(Event::Tick, &[]);
    assert_eq!(s.submit(0, 1, JobOptions::new(0)), [start(0, 1)]);
    s.check(ready(0, 1), &[dispatch(worker(0, 1), 0, 0, 1)]);
    s.check(done(0, 1, 1, ms(1)), &[settled(0), stop(0, 1)]);
    s.check(exited(0, 1, false), &[]);
}

#[test]
fn a_closed_pool_ends_with_its_successors() {
    let mut s = nearly_done();
    s.check(ready(1, 1), &[]);
    s.check(Event::Close, &[]);
    s.check(done(0, 1, 3, us(300)), &[stop(0, 1), dispatch(worker(1, 1), 0, 3, 4)]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
    s.check(ready(0, 2), &[]);
    s.check(done(1, 1, 4, us(400)), &[stop(1, 1), dispatch(worker(0, 2), 0, 7, 3)]);
    s.check(done(0, 2, 3, us(300)), &[settled(0), stop(0, 2)]);
    s.check(exited(1, 1, false), &[]);
    s.check(exited(0, 2, false), &[Command::Finished]);
}

#[test]
fn a_successor_that_stands_by_ends_with_the_pool() {
    let mut s = nearly_done();
    s.check(ready(1, 1), &[]);
    let settle = |first, items| settle(0, first, items, Outcome::Terminated, 0);
    let said = [settle(0, 3), settle(3, 7), settled(0), terminate(0, 1), terminate(1, 1)];
    s.check(Event::Terminate, &said);
    s.check(exited(0, 1, true), &[]);
    s.check(exited(1, 1, false), &[Command::Finished]);
}
