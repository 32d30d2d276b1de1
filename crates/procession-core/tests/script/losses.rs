//! Workers that die: who is blamed, who moves on, and when it has been enough.

use procession_core::{BrokenReason, Command, Event, JobOptions, Outcome, Policy};

use crate::script::*;

fn attempts(max_attempts: u32) -> JobOptions {
    JobOptions { max_attempts, ..JobOptions::new(0) }
}

#[test]
fn only_the_running_item_is_lost() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 10, attempts(1));
    s.tell(done(0, 1, 3, us(300)));
    let said = [settle(0, 3, 1, Outcome::Lost, 1), start(0, 2)];
    s.check(exited(0, 1, true), &said);
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 0, 4, 6)]);
    s.check(done(0, 2, 6, us(600)), &[settled(0)]);
}

/// What became of all but the last of them is not known; none may start again that must not.
#[test]
fn every_item_that_may_have_started_is_charged_and_no_other() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 6, attempts(1));
    let lost = [3, 2, 1].map(|item| settle(0, item, 1, Outcome::Lost, 1));
    s.tell(done(0, 1, 1, us(100)));
    let said = s.tell(Event::WorkerExited { worker: worker(0, 1), begun: 3 });
    assert_eq!(said, [lost.as_slice(), &[start(0, 2)]].concat());
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 0, 4, 2)]);
    // More than it holds is all it holds.
    let lost = [5, 4].map(|item| settle(0, item, 1, Outcome::Lost, 1));
    let said = s.tell(Event::WorkerExited { worker: worker(0, 2), begun: 9 });
    assert_eq!(said, [lost.as_slice(), &[settled(0), start(0, 3)]].concat());
}

#[test]
fn items_that_may_have_started_are_tried_again_one_by_one_and_in_order() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 3, attempts(3));
    let said = s.tell(Event::WorkerExited { worker: worker(0, 1), begun: 2 });
    assert_eq!(said, [retry(0, 1, 1), retry(0, 0, 1), start(0, 2)]);
    s.check(ready(0, 2), &[again(worker(0, 2), 0, 0, 2)]);
    s.check(done(0, 2, 1, us(100)), &[again(worker(0, 2), 0, 1, 2)]);
    s.check(done(0, 2, 1, us(100)), &[dispatch(worker(0, 2), 0, 2, 1)]);
    s.check(done(0, 2, 1, us(100)), &[settled(0)]);
}

#[test]
fn nobody_is_blamed_for_a_death_between_items() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 4, attempts(1));
    s.check(exited(0, 1, false), &[start(0, 2)]);
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 0, 0, 4)]);
}

#[test]
fn an_idle_worker_that_dies_is_replaced_and_nobody_told() {
    let mut s = Script::ready(Policy::new(2));
    s.check(exited(1, 1, false), &[start(1, 2)]);
    s.check(ready(1, 2), &[]);
}

#[test]
fn a_retry_runs_alone_and_the_last_one_quarantines() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(1));
    s.submit(0, 3, attempts(3));
    s.check(exited(0, 1, true), &[retry(0, 0, 1), start(0, 2)]);
    s.check(ready(0, 2), &[again(worker(0, 2), 0, 0, 2)]);
    s.check(exited(0, 2, true), &[retry(0, 0, 2), start(0, 3)]);
    s.check(ready(0, 3), &[again(worker(0, 3), 0, 0, 3)]);
    s.check(exited(0, 3, true), &[settle(0, 0, 1, Outcome::Quarantined, 3), start(0, 4)]);
    s.check(ready(0, 4), &[dispatch(worker(0, 4), 0, 1, 2)]);
    s.check(done(0, 4, 2, us(2)), &[settled(0)]);
}

#[test]
fn a_retry_that_succeeds_counts() {
    let mut s = Script::ready(Policy::new(1));
    s.submit(0, 1, attempts(2));
    s.check(exited(0, 1, true), &[retry(0, 0, 1), start(0, 2)]);
    s.check(ready(0, 2), &[again(worker(0, 2), 0, 0, 2)]);
    // It dies before it starts the item: the attempt is still there.
    s.check(exited(0, 2, false), &[start(0, 3)]);
    s.check(ready(0, 3), &[again(worker(0, 3), 0, 0, 2)]);
    s.check(done(0, 3, 1, us(2)), &[settled(0)]);
}

#[test]
fn a_faulty_worker_is_killed_after_its_queue_was_saved() {
    let mut s = Script::ready(Policy::new(1));
    s.teach(us(100));
    s.submit(0, 4, attempts(1));
    s.check(Event::WorkerFaulty { worker: worker(0, 1) }, &[reclaim(0, 1)]);
    s.check(reclaimed(0, 1, 3), &[kill(0, 1)]);
    s.check(exited(0, 1, true), &[settle(0, 0, 1, Outcome::Lost, 1), start(0, 2)]);
    s.check(ready(0, 2), &[dispatch(worker(0, 2), 0, 1, 3)]);
}

#[test]
fn news_of_the_dead_are_ignored() {
    let mut s = Script::ready(Policy::new(1));
    s.submit(0, 1, attempts(1));
    s.check(exited(0, 1, true), &[settle(0, 0, 1, Outcome::Lost, 1), settled(0), start(0, 2)]);
    for event in [
        ready(0, 1),
        done(0, 1, 5, us(1)),
        reclaimed(0, 1, 5),
        running(0, 1, None),
        exited(0, 1, true),
        Event::WorkerFaulty { worker: worker(0, 1) },
        Event::WorkerFaulty { worker: worker(9, 1) },
        input(0, 3),
        closed(0),
        Event::Cancel { job: job(0) },
        Event::Abandon { job: job(70) },
    ] {
        s.check(event, &[]);
    }
}

#[test]
fn a_pool_where_every_task_kills_breaks() {
    let mut s = Script::ready(Policy::new(1));
    s.submit(0, 30, attempts(1));
    for generation in 1..20 {
        let item = u64::from(generation) - 1;
        s.check(
            exited(0, generation, true),
            &[settle(0, item, 1, Outcome::Lost, 1), start(0, generation + 1)],
        );
        s.check(ready(0, generation + 1), &[dispatch(worker(0, generation + 1), 0, item + 1, 1)]);
    }
    let reason = BrokenReason::EveryTaskKills;
    let said = [
        settle(0, 19, 1, Outcome::Lost, 1),
        Command::Broken { reason },
        settle(0, 20, 10, Outcome::NotRun, 0),
        settled(0),
    ];
    s.check(exited(0, 20, true), &said);
    // What comes later does not run either.
    s.open(0, attempts(1));
    s.check(input(0, 2), &[settle(0, 0, 2, Outcome::NotRun, 0)]);
    s.check(closed(0), &[settled(0)]);
    s.check(Event::Close, &[Command::Finished]);
}

#[test]
fn one_item_done_is_enough_to_go_on() {
    let mut s = Script::ready(Policy { lost_in_a_row_max: Some(2), ..Policy::new(1) });
    s.submit(0, 9, attempts(1));
    for generation in 1..4 {
        s.tell(exited(0, generation, true));
        let said = s.tell(ready(0, generation + 1));
        assert!(matches!(said.as_slice(), [Command::Dispatch { .. }]), "{said:?}");
        s.tell(done(0, generation + 1, 1, ms(5)));
    }
}
