//! **Who runs what, who restarts when, and what becomes of every item: the scheduler of Procession, without any
//! IO.**
//!
//! A pool of worker processes is mostly a set of decisions: how many items to hand to which worker, what to do when
//! one dies, whom to stop for running too long, when to give up. This crate makes those decisions and nothing else.
//! It opens no file, starts no thread, reads no clock and never sees an argument or a result; it cannot, for it
//! depends on nothing. Facts come in as [`Event`]s, orders come out as [`Command`]s, time is an argument, and the
//! next deadline is a value.
//!
//! ```
//! use std::time::Duration;
//! use procession_core::{Command, Event, JobId, JobOptions, Policy, Scheduler, Time, WorkerId};
//!
//! let mut scheduler = Scheduler::new(Policy::new(1));
//! let mut now = Time::ZERO;
//! scheduler.handle(now, Event::Tick);
//!
//! let worker = WorkerId { slot: 0, generation: 1 };
//! assert_eq!(scheduler.poll_command(), Some(Command::Start { worker }));
//! scheduler.handle(now, Event::WorkerReady { worker });
//!
//! // A call is a job: a stream of numbered items. This one has a single item.
//! let job = JobId { index: 0, generation: 0 };
//! scheduler.handle(now, Event::Submit { job, options: JobOptions::new(0) });
//! scheduler.handle(now, Event::Input { job, items: 1, bytes: 8 });
//! scheduler.handle(now, Event::InputClosed { job });
//! let dispatch = Command::Dispatch { worker, job, first: 0, items: 1, attempt: 1 };
//! assert_eq!(scheduler.poll_command(), Some(dispatch));
//!
//! now = now + Duration::from_micros(30);
//! scheduler.handle(now, Event::Done { worker, items: 1, busy: Duration::from_micros(20) });
//! assert_eq!(scheduler.poll_command(), Some(Command::JobSettled { job }));
//! assert_eq!(scheduler.poll_command(), None);
//! ```
//!
//! # The picture
//!
//! ```text
//! Submit, Input ─► job ─► ready queue ─► hand-out ─► a worker's queue ─► Done
//!                   ▲                                     │
//!                   └── taken back, or not started ◄──────┤
//!                   └── Retry, or Settle ◄── running when its worker died
//! ```
//!
//! * A **job** is ranges of item indices, so ten million items cost as much as ten. `job`, `jobs`
//! * The **ready queue** holds exactly the jobs with items to hand out: by priority, then in turn. `ready`
//! * **How much** a worker is given follows from measured run times; every number is in one place. `handout`,
//!   `estimate`
//! * A **seat** is for one worker process; its state carries its own deadline. `seat`, `backlog`
//! * A **place** is one of the workers that are wanted. While its worker is replaced it has two seats. `succession`
//! * The **scheduler** ties them together, one file for each kind of fact. `scheduler`
//!
//! # What holds
//!
//! * Every item that was input gets exactly one outcome, and [`Command::JobSettled`] is said exactly once per job,
//!   last.
//! * No item starts more often than its job's `max_attempts`; an item is charged only for a death while it was
//!   running.
//! * While an item waits, no ready worker is without work.
//! * No worker is stopped because of an item that is not running (`PROTOCOL.md` says how that is known).
//! * The books grow with what workers hold and give back, never with what was input.
//! * A pool that was closed finishes once its items end; one that was terminated finishes once its workers are gone.
//!
//! [`Scheduler::check_invariants`] checks what can be checked from within; ten thousand simulated lives check the
//! rest on every test run.

#![forbid(unsafe_code)]

mod backlog;
mod command;
mod estimate;
mod event;
mod handout;
mod id;
mod jitter;
mod job;
mod jobs;
mod load;
mod policy;
mod ready;
mod scheduler;
mod seat;
mod time;

pub use backlog::Run;
pub use command::{BrokenReason, Command, Outcome, Signal};
pub use event::{Event, StartFailure};
pub use id::{JobId, WorkerId};
pub use policy::{JobOptions, Policy};
pub use scheduler::{Scheduler, SeatStatus};
pub use time::Time;
