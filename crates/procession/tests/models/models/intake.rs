//! Calls that are left to whoever holds the driver's lock: each is seen to, by them or by who made it.

use std::collections::VecDeque;

use loom::sync::Arc;
use loom::thread;

use super::explore;
use crate::intake::{Intake, NewCall};
use crate::job::Job;
use crate::{CallOptions, Mutex, Segment};

/// What the driver's lock protects: the calls that the scheduler was told of.
#[derive(Default)]
struct Driver {
    told: Mutex<usize>,
    intake: Intake,
}

impl Driver {
    /// As the driver's one way in.
    fn with_state(&self) {
        let mut told = self.told.lock();
        let mut calls = VecDeque::new();
        self.intake.serve(&mut calls);
        *told += calls.drain(..).count();
        while self.intake.serve_last(&mut calls) {
            *told += calls.drain(..).count();
        }
    }

    fn submit(&self) {
        let (job, options, segment) = (std::sync::Arc::new(Job), CallOptions, Segment);
        if !self.intake.leave(NewCall { job, options, segment }) {
            self.with_state();
        }
    }
}

pub(super) fn no_call_is_left_behind() {
    explore(3, || {
        let driver = Arc::new(Driver::default());
        let makers = [0, 1].map(|_| {
            let driver = Arc::clone(&driver);
            thread::spawn(move || driver.submit())
        });
        driver.submit();
        for maker in makers {
            maker.join().expect("no maker panics");
        }
        assert_eq!(*driver.told.lock(), 3, "a call waits though nobody will look");
    });
}
