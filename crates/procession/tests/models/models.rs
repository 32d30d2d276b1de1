//! The models, by name.

pub(crate) mod backing;
mod claims;
mod intake;
mod window;

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};

use loom::model::Builder;

/// Every model.
pub(crate) const ALL: &[(&str, fn())] = &[
    ("every_item_is_begun_or_taken_back", claims::every_item_is_begun_or_taken_back),
    ("items_are_kept_apart_by_the_barriers", claims::items_are_kept_apart_by_the_barriers),
    ("haste_takes_nothing", claims::haste_takes_nothing),
    ("neighbours_in_one_word_do_not_disturb_each_other", backing::neighbours_do_not_disturb_each_other),
    ("memory_that_is_not_there_is_not_noted", backing::memory_that_is_not_there_is_not_noted),
    ("a_place_is_used_again_once_it_was_read", window::a_place_is_used_again_once_it_was_read),
    ("no_call_is_left_behind", intake::no_call_is_left_behind),
];

thread_local! {
    /// What fails here is meant to. Loom runs all threads of a model on one.
    static IS_TO_FAIL: Cell<bool> = const { Cell::new(false) };
}

/// Keeps failures that are meant to be from being printed.
pub(crate) fn hush_expected_failures() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |failure| {
        if !IS_TO_FAIL.get() {
            print(failure);
        }
    }));
}

/// Runs `model` in every order in which its threads change places at most so often of their own accord.
fn explore(changes: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(changes);
    builder.check(model);
}

/// As [`explore`], of a protocol with a part missing: some order must break it.
fn expect_broken(changes: usize, model: impl Fn() + Send + Sync + 'static) {
    IS_TO_FAIL.set(true);
    let explored = catch_unwind(AssertUnwindSafe(|| explore(changes, model)));
    IS_TO_FAIL.set(false);
    assert!(explored.is_err(), "the model does not notice that a part of the protocol is missing");
}
