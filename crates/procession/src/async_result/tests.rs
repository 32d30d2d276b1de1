//! A handle whose outcomes are delivered by hand, in every order that a driver could.
#![expect(
    unsafe_code,
    reason = "registration names a link section; in other crates the lint does not see it"
)]

use std::sync::mpsc;

use procession_core::Policy;

use super::*;
use crate::arrival::{Arrival, Records};
use crate::driver::Settings;
use crate::job::Callbacks;
use crate::slab::Arena;

#[crate::task]
fn noop() {}

/// A driver without workers, which has not heard of any call.
fn driver() -> Arc<Driver> {
    let settings = Settings::default();
    Arc::new(Driver::new(Policy::new(1), None, settings, Arena::create().unwrap()).unwrap())
}

/// What a call of one item returns is the length of its record, which is 7; a map returns how many items arrived.
fn handle(job: Job) -> (Arc<Job>, AsyncResult<u64>) {
    let job = Arc::new(job);
    let decode: fn(&Job) -> Result<u64, Error> = |job| match job.takes_input() {
        true => Ok(job.take_arrivals().iter().map(Arrival::items).sum()),
        false => decode_one(job, |bytes| Ok(bytes.len() as u64)),
    };
    (Arc::clone(&job), AsyncResult::new(driver(), job, decode))
}

fn single() -> (Arc<Job>, AsyncResult<u64>) {
    handle(Job::single(noop.info()))
}

fn value(first: u64) -> Arrival {
    let records = Records::new(Arc::from([0; 7]), 7, 0, 7);
    Arrival::Replies { first, items: 1, attempt: 1, records }
}

/// As the callback thread does.
fn run(job: &Job, callbacks: Callbacks) {
    let ran = !callbacks.0.is_empty();
    callbacks.0.into_iter().for_each(|callback| callback());
    if ran {
        assert!(job.callbacks_done().0.is_empty());
    }
}

fn kind(result: Result<u64, Error>) -> Result<u64, ErrorKind> {
    result.map_err(|error| error.kind())
}

#[test]
fn a_value_that_comes_after_cancelling_is_not_seen() {
    let (job, handle) = single();
    let (say, said) = mpsc::channel();
    let handle = handle.on_done(move |result| say.send(result.copied().map_err(Error::kind)).unwrap());
    assert!(handle.cancel());
    assert!(!handle.is_ready(), "what runs is not yet stopped");
    run(&job, job.deliver(value(0)));
    assert!(handle.cancel(), "twice is once");
    assert_eq!(said.try_recv(), Ok(Err(ErrorKind::Cancelled)));
    assert_eq!(handle.is_successful(), Some(false));
    assert!(!handle.has_failed() && format!("{handle:?}").contains("cancelled"));
    let error = handle.get().unwrap_err();
    assert_eq!((error.kind(), error.item(), error.attempts()), (ErrorKind::Cancelled, Some(0), 1));
}

#[test]
fn a_call_that_has_its_outcome_keeps_it() {
    let (job, handle) = single();
    run(&job, job.deliver(value(0)));
    assert!(!handle.cancel() && !handle.cancel());
    assert_eq!(kind(handle.get()), Ok(7));
}

#[test]
fn an_outcome_that_its_callbacks_see_is_kept() {
    let (job, handle) = single();
    let (say, said) = mpsc::channel();
    let handle = handle.on_done(move |result| say.send(result.copied().map_err(Error::kind)).unwrap());
    let callbacks = job.deliver(value(0));
    assert!(!handle.is_ready() && !handle.cancel());
    run(&job, callbacks);
    assert_eq!((said.try_recv(), kind(handle.get())), (Ok(Ok(7)), Ok(7)));
}

#[test]
fn a_map_is_cancelled_as_a_whole() {
    let (job, handle) = handle(Job::new(noop.info()));
    run(&job, job.deliver(value(0)));
    assert!(handle.cancel());
    let lost = Error::new(ErrorKind::WorkerLost, "");
    run(&job, job.deliver(Arrival::Failed { first: 1, items: 1, error: lost }));
    run(&job, job.settled(2));
    let error = handle.get().unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Cancelled, None));
    assert!(job.take_arrivals().is_empty(), "nothing is kept of it");
}

#[test]
fn a_map_whose_items_are_all_in_keeps_its_values() {
    let (job, handle) = handle(Job::new(noop.info()));
    run(&job, job.deliver(value(0)));
    run(&job, job.settled(1));
    assert!(!handle.cancel());
    assert_eq!(kind(handle.get()), Ok(1));
}

#[test]
fn a_pool_that_fails_after_cancelling_changes_nothing_and_before_it_everything() {
    let broken = || Error::new(ErrorKind::Broken, "");
    let (job, handle) = single();
    assert!(handle.cancel());
    run(&job, job.abort(broken()));
    assert_eq!(kind(handle.get()), Err(ErrorKind::Cancelled));
    let (job, handle) = single();
    run(&job, job.abort(broken()));
    assert!(!handle.cancel());
    assert_eq!(kind(handle.get()), Err(ErrorKind::Broken));
}
