//! The ends of workers and pools: resizing, close and terminate in every order.

use procession_core::{Command, Event, JobOptions, Outcome, Policy};

use crate::script::*;

#[test]
fn a_grown_pool_starts_more_and_a_shrunk_one_stops_the_idle_first() {
    let mut s = Script::ready(Policy::new(2));
    s.check(Event::Resize { workers: 3 }, &[start(2, 1)]);
    s.check(ready(2, 1), &[]);
    assert_eq!(s.submit(0, 1, JobOptions::new(0)), [dispatch(worker(2, 1), 0, 0, 1)]);
    s.check(Event::Resize { workers: 1 }, &[stop(0, 1), stop(1, 1)]);
    s.check(exited(0, 1, false), &[]);
    s.check(exited(1, 1, false), &[]);
    s.check(done(2, 1, 1, ms(1)), &[settled(0)]);
    s.check(Event::Resize { workers: 2 }, &[start(0, 2)]);
}

#[test]
fn a_busy_worker_finishes_its_item_before_it_goes() {
    let mut s = Script::ready(Policy::new(2));
    s.teach(us(100));
    s.open(0, JobOptions::new(0));
    s.check(input(0, 8), &[dispatch(worker(1, 1), 0, 0, 4), dispatch(worker(0, 1), 0, 4, 4)]);
    s.check(Event::Resize { workers: 1 }, &[reclaim(1, 1)]);
    s.check(reclaimed(1, 1, 3), &[dispatch(worker(0, 1), 0, 1, 3)]);
    s.check(done(1, 1, 1, us(100)), &[stop(1, 1)]);
    // Wanted again before it went.
    s.check(Event::Resize { workers: 2 }, &[]);
    s.check(exited(1, 1, false), &[start(1, 2)]);
}

#[test]
fn a_busy_worker_that_is_wanted_again_stays() {
    let mut s = Script::ready(Policy::new(2));
    s.submit(0, 2, JobOptions::new(0));
    s.check(Event::Resize { workers: 1 }, &[reclaim(1, 1)]);
    s.check(reclaimed(1, 1, 0), &[]);
    s.check(Event::Resize { workers: 2 }, &[]);
    s.check(done(1, 1, 1, ms(1)), &[]);
    assert_eq!(s.submit(1, 1, JobOptions::new(0)), [dispatch(worker(1, 1), 1, 0, 1)]);
}

#[test]
fn close_finishes_what_was_submitted() {
    let mut s = Script::ready(Policy::new(1));
    s.open(0, JobOptions::new(0));
    s.check(Event::Close, &[]);
    s.check(input(0, 1), &[dispatch(worker(0, 1), 0, 0, 1)]);
    s.check(closed(0), &[]);
    // A worker that is lost meanwhile is replaced while items wait.
    s.check(Event::Close, &[]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 0, 0, 1)]);
    s.check(done(0, 2, 1, ms(1)), &[settled(0), stop(0, 2)]);
    s.check(exited(0, 2, false), &[Command::Finished]);
    s.check(Event::Close, &[]);
    s.check(Event::Terminate, &[]);
}

#[test]
fn a_worker_that_does_not_stop_is_killed() {
    let mut s = Script::ready(Policy::new(1));
    s.check(Event::Close, &[stop(0, 1)]);
    s.wake_within(ms(10_000), &[kill(0, 1)]);
    s.check(exited(0, 1, false), &[Command::Finished]);
}

#[test]
fn a_starting_worker_ends_too() {
    let mut s = Script::new(Policy::new(2));
    s.check(Event::Tick, &[start(0, 1), start(1, 1)]);
    s.check(Event::Close, &[stop(0, 1), stop(1, 1)]);
    s.check(ready(0, 1), &[]);
    s.check(exited(0, 1, false), &[]);
    // Terminate while closing.
    s.check(Event::Terminate, &[terminate(1, 1)]);
    s.wake_within(ms(2_000), &[kill(1, 1)]);
    s.check(exited(1, 1, false), &[Command::Finished]);
}

#[test]
fn terminate_settles_everything_now() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 30, JobOptions::new(0));
    s.open(1, JobOptions::new(0));
    let said = [
        settle(0, 0, 20, Outcome::Terminated, 0),
        settle(0, 20, 10, Outcome::Terminated, 0),
        settled(0),
        terminate(0, 1),
    ];
    s.check(Event::Terminate, &said);
    s.check(Event::Terminate, &[]);
    s.check(done(0, 1, 3, us(300)), &[]);
    s.check(input(1, 2), &[settle(1, 0, 2, Outcome::Terminated, 0)]);
    s.check(exited(0, 1, true), &[Command::Finished]);
    s.check(closed(1), &[settled(1)]);
}

#[test]
fn a_closed_pool_takes_no_calls() {
    let mut s = Script::ready(Policy::new(1));
    s.check(Event::Close, &[stop(0, 1)]);
    s.open(0, JobOptions::new(0));
    s.check(input(0, 1), &[settle(0, 0, 1, Outcome::NotRun, 0)]);
    // It does not hold up the end.
    s.check(exited(0, 1, false), &[Command::Finished]);
    s.check(closed(0), &[settled(0)]);
}

/// What one may do to a pool.
fn acts() -> Vec<Event> {
    let job = job(0);
    vec![
        Event::Close,
        Event::Terminate,
        Event::Cancel { job },
        Event::Abandon { job },
        Event::Resize { workers: 1 },
    ]
}

#[test]
fn every_pair_of_ends_from_every_state_ends() {
    for first in acts() {
        for second in acts() {
            for state in 0..6 {
                let mut s = pool_in(state);
                for event in [first.clone(), second.clone(), Event::Terminate, Event::Close] {
                    answer(&mut s, event);
                }
                let workers: Vec<_> = s.core.seats().map(|seat| seat.worker).collect();
                let mut finished = 0;
                for worker in workers {
                    let said = s.tell(Event::WorkerExited { worker, begun: 0 });
                    finished += said.iter().filter(|&&command| command == Command::Finished).count();
                }
                let is_over = s.core.seats().all(|seat| seat.state == "vacant") && s.core.is_idle();
                assert!(
                    is_over && finished == 1,
                    "{first:?}, then {second:?} from state {state}: {finished}"
                );
            }
        }
    }
}

/// A pool of two whose first job is: starting, idle, running, waiting behind, overdue, being cancelled.
fn pool_in(state: u32) -> Script {
    if state == 0 {
        let mut s = Script::new(Policy::new(2));
        s.tell(Event::Tick);
        return s;
    }
    let mut s = Script::ready(Policy::new(2));
    let options = JobOptions { timeout: Some(ms(50)), ..JobOptions::new(0) };
    if state > 1 {
        s.submit(0, if state == 2 { 2 } else { 30 }, options);
    }
    if state == 4 {
        s.wake_within(ms(50), &[probe(0, 1), probe(1, 1)]);
        answer(&mut s, running(0, 1, Some(0)));
    }
    if state == 5 {
        answer(&mut s, Event::Cancel { job: job(0) });
    }
    s
}

/// Tells, and answers what is asked: nothing could be taken back, and everything has been running from the start.
fn answer(s: &mut Script, event: Event) {
    let mut events = vec![event];
    while let Some(event) = events.pop() {
        for command in s.tell(event) {
            match command {
                Command::Reclaim { worker } => events.push(Event::Reclaimed { worker, items: 0 }),
                Command::Probe { worker } => events.push(running(worker.slot, worker.generation, Some(0))),
                _ => {}
            }
        }
    }
}
