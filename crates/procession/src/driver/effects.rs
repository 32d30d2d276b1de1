//! What is written down under the driver's lock and carried out once it is free.

use std::sync::Arc;

use procession_core::{Signal, WorkerId};

use super::backlog::Slice;
use super::seat::Link;
use crate::arrival::Arrival;
use crate::event::Event;
use crate::job::{Job, StopReason};

/// What is left to do once the lock is free.
#[derive(Default)]
pub(crate) struct Effects {
    /// Seats that have something to be sent.
    pub(crate) pump: Vec<u32>,
    pub(crate) orders: Vec<Order>,
    pub(crate) deliveries: Vec<(Arc<Job>, Arrival)>,
    /// Of deliveries that tell of a loss, by position: the arguments, for a digest.
    pub(crate) lost: Vec<(usize, Slice)>,
    pub(crate) totals: Vec<(Arc<Job>, u64)>,
    /// Jobs whose further input would not run.
    pub(crate) stopped: Vec<(Arc<Job>, StopReason)>,
    pub(crate) events: Vec<Event>,
    /// The supervisor must look at the clock earlier than it planned to.
    pub(crate) rearm: bool,
    pub(crate) finished: bool,
    /// Of workers that are dead. To let go of one closes channels and unmaps memory, which can wait until everybody who
    /// waits for news has been woken.
    pub(crate) links: Vec<Arc<Link>>,
}

/// What only the supervisor thread does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Start {
        worker: WorkerId,
        /// Which of the pool's workers it is, for everybody but us.
        place: u32,
    },
    Signal(WorkerId, Signal),
    /// There is no need of it any more, if there is no process yet.
    Forgo(WorkerId),
    /// The pool was paused, or goes on: the state knows which.
    Halt,
}

impl Effects {
    /// Nothing is left to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.pump.is_empty()
            && self.orders.is_empty()
            && self.deliveries.is_empty()
            && self.totals.is_empty()
            && self.stopped.is_empty()
            && self.events.is_empty()
            && !self.rearm
            && !self.finished
            && self.links.is_empty()
    }
}
