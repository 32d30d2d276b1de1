//! Items that are stopped: too slow, cancelled, dropped, out of time.

use procession_core::{Event, JobOptions, Outcome, Policy};

use crate::script::*;

fn limited(limit: u64) -> JobOptions {
    JobOptions { timeout: Some(ms(limit)), max_attempts: 3, ..JobOptions::new(0) }
}

#[test]
fn an_overdue_item_is_stopped_alone() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 5, limited(50));
    // It started a little later than the queue did.
    s.wake_within(ms(50), &[probe(0, 1)]);
    s.check(running(0, 1, Some(10)), &[]);
    s.wake_within(ms(10), &[probe(0, 1)]);
    // Overdue. First nothing behind it may start, then it is asked again, and only then stopped.
    s.check(running(0, 1, Some(10)), &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 4), &[probe(0, 1)]);
    s.check(running(0, 1, Some(10)), &[terminate(0, 1)]);
    s.wake_within(ms(2_000), &[kill(0, 1)]);
    s.check(exited(0, 1, true), &[settle(0, 0, 1, Outcome::TimedOut, 1), start(0, 2)]);
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 0, 1, 4)]);
}

#[test]
fn the_clock_runs_for_the_item_not_for_the_queue() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 5, limited(50));
    for _ in 0..4 {
        s.after(ms(40)).check(done(0, 1, 1, ms(40)), &[]);
    }
    s.after(ms(40)).check(done(0, 1, 1, ms(40)), &[settled(0)]);
}

#[test]
fn a_limit_that_changes_holds_for_what_runs() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 1, limited(60_000));
    let limit = |limit| Event::Limit { job: job(0), timeout: ms(limit) };
    s.after(ms(30)).check(limit(50), &[]);
    s.wake_within(ms(20), &[probe(0, 1)]);
    // It turns out that there was no hurry.
    s.check(limit(80), &[]);
    s.check(running(0, 1, Some(0)), &[]);
    // Overdue already once the limit is known.
    s.after(ms(10)).check(limit(40), &[probe(0, 1)]);
    s.check(running(0, 1, Some(0)), &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 0), &[probe(0, 1)]);
    s.check(running(0, 1, Some(0)), &[terminate(0, 1)]);
    s.check(exited(0, 1, true), &[settle(0, 0, 1, Outcome::TimedOut, 1), settled(0), start(0, 2)]);
}

#[test]
fn a_call_without_a_limit_gets_none() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 1, JobOptions::new(0));
    s.check(Event::Limit { job: job(0), timeout: ms(1) }, &[]);
    // Nobody asks since when it runs.
    s.after(ms(40)).check(done(0, 1, 1, ms(40)), &[settled(0)]);
    // One that is gone is nobody's.
    s.check(Event::Limit { job: job(0), timeout: ms(1) }, &[]);
}

#[test]
fn a_worker_that_begins_nothing_is_replaced_and_nobody_charged() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 5, limited(60_000));
    s.wake_within(ms(10_000), &[probe(0, 1)]);
    s.check(running(0, 1, None), &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 5), &[kill(0, 1)]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 0, 0, 5)]);
}

#[test]
fn a_worker_that_begins_just_in_time_goes_on() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 5, limited(60_000));
    s.wake_within(ms(10_000), &[probe(0, 1)]);
    s.check(running(0, 1, None), &[reclaim(0, 1)]);
    // Its first item was claimed just before the rest was taken back.
    s.check(reclaimed(0, 1, 4), &[]);
    s.check(done(0, 1, 1, ms(1)), &[dispatch(worker(0, 1), 0, 1, 4)]);
}

#[test]
fn a_reply_that_comes_first_counts() {
    let mut s = Script::ready(Policy::new(1));
    s.submit(0, 1, limited(50));
    s.wake_within(ms(50), &[probe(0, 1)]);
    s.check(running(0, 1, Some(0)), &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 0), &[probe(0, 1)]);
    s.check(running(0, 1, Some(0)), &[terminate(0, 1)]);
    s.check(done(0, 1, 1, ms(50)), &[settled(0)]);
    s.check(exited(0, 1, false), &[start(0, 2)]);
}

#[test]
fn an_item_that_ended_while_its_neighbours_were_taken_back_is_not_stopped() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 5, limited(50));
    s.wake_within(ms(50), &[probe(0, 1)]);
    s.check(running(0, 1, Some(0)), &[reclaim(0, 1)]);
    // It ended, and its successor was claimed just before the rest was taken back.
    s.check(reclaimed(0, 1, 3), &[probe(0, 1)]);
    s.check(running(0, 1, Some(49)), &[]);
    s.check(done(0, 1, 2, ms(50)), &[dispatch(worker(0, 1), 0, 2, 1)]);
}

#[test]
fn a_limit_behind_an_unheard_reply_is_kept() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 2, JobOptions::new(0));
    s.submit(1, 2, limited(50));
    assert_eq!(s.core.front_runs(worker(0, 1)).count(), 2);
    // Items 0 and 1 of the unlimited job ended unheard; the limited one has been running since 1 ms.
    s.wake_within(ms(50), &[probe(0, 1)]);
    s.check(running(0, 1, Some(1)), &[]);
    s.wake_within(ms(1), &[probe(0, 1)]);
    s.check(running(0, 1, Some(1)), &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 1), &[probe(0, 1)]);
    s.check(running(0, 1, Some(1)), &[terminate(0, 1)]);
    s.check(done(0, 1, 2, us(200)), &[settled(0)]);
    s.check(exited(0, 1, true), &[settle(1, 0, 1, Outcome::TimedOut, 1), start(0, 2)]);
}

#[test]
fn cancelled_items_never_start_and_the_running_one_is_stopped() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 100, limited(5_000));
    let said = s.tell(Event::Cancel { job: job(0) });
    assert_eq!(said, [settle(0, 20, 80, Outcome::Cancelled, 0), reclaim(0, 1)]);
    let said = [settle(0, 1, 19, Outcome::Cancelled, 0), terminate(0, 1)];
    s.check(reclaimed(0, 1, 19), &said);
    s.check(Event::Cancel { job: job(0) }, &[]);
    let said = [settle(0, 0, 1, Outcome::Cancelled, 1), settled(0), start(0, 2)];
    s.check(exited(0, 1, true), &said);
}

#[test]
fn cancelling_what_has_not_started_harms_no_worker() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 1, JobOptions::new(0));
    s.submit(1, 1, JobOptions::new(0));
    s.check(Event::Cancel { job: job(1) }, &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 1), &[settle(1, 0, 1, Outcome::Cancelled, 0), settled(1)]);
    s.check(done(0, 1, 1, us(100)), &[settled(0)]);
}

#[test]
fn input_after_a_cancel_settles_at_once() {
    let mut s = Script::ready(Policy::new(1));
    s.open(0, JobOptions::new(0));
    s.check(Event::Cancel { job: job(0) }, &[]);
    s.check(input(0, 5), &[settle(0, 0, 5, Outcome::Cancelled, 0)]);
    s.check(closed(0), &[settled(0)]);
}

#[test]
fn an_abandoned_item_finishes_unheard() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.open(0, JobOptions::new(0));
    s.check(input(0, 30), &[dispatch(worker(0, 1), 0, 0, 20)]);
    s.check(Event::Abandon { job: job(0) }, &[settle(0, 20, 10, Outcome::Cancelled, 0), reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 19), &[settle(0, 1, 19, Outcome::Cancelled, 0)]);
    s.check(done(0, 1, 1, us(100)), &[settled(0)]);
    // The driver need not know that this closed the input.
    s.check(closed(0), &[]);
}

#[test]
fn a_deadline_ends_the_whole_call() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(ms(3));
    s.submit(0, 9, JobOptions { deadline: Some(ms(100)), ..JobOptions::new(0) });
    s.after(ms(3)).check(done(0, 1, 1, ms(3)), &[dispatch(worker(0, 1), 0, 1, 1)]);
    s.wake_within(ms(97), &[settle(0, 2, 7, Outcome::TimedOut, 0), reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 0), &[terminate(0, 1)]);
    s.check(exited(0, 1, true), &[settle(0, 1, 1, Outcome::TimedOut, 1), settled(0), start(0, 2)]);
}

#[test]
fn a_worker_on_its_way_out_because_of_one_job_spares_the_other() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 1, JobOptions::new(0));
    s.submit(1, 1, JobOptions::new(0));
    s.check(Event::Cancel { job: job(0) }, &[reclaim(0, 1)]);
    // Item 0 of the cancelled job is running; the other job's item waits for the next worker.
    s.check(reclaimed(0, 1, 1), &[terminate(0, 1)]);
    s.check(exited(0, 1, true), &[settle(0, 0, 1, Outcome::Cancelled, 1), settled(0), start(0, 2)]);
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 1, 0, 1)]);
}
