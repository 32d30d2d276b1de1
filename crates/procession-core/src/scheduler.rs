//! The scheduler: one state, one way in (`handle`), one way out (`poll_command`).
//!
//! It does no IO, reads no clock and starts no thread. This file owns the control flow; what each fact means is in
//! the files below, split by what they are about.

mod calls;
mod dispatch;
mod fleet;
mod invariants;
mod replies;
mod succession;
mod verdicts;
mod watch;

use std::collections::{BTreeSet, VecDeque};

use crate::backlog::Run;
use crate::estimate::Estimates;
use crate::handout;
use crate::jitter::Jitter;
use crate::jobs::Jobs;
use crate::load::Load;
use crate::ready::ReadyQueue;
use crate::seat::{Cause, Seat, State};
use crate::{Command, Event, JobId, Outcome, Policy, Time, WorkerId};

/// Decides which worker runs what, who restarts when, and what becomes of every item.
///
/// Nothing is started before the first event: hand it a [`Tick`](Event::Tick) to begin.
#[derive(Debug)]
pub struct Scheduler {
    policy: Policy,
    now: Time,
    commands: VecDeque<Command>,

    jobs: Jobs,
    /// Exactly the jobs with items to hand out.
    ready: ReadyQueue,
    /// When whole calls must be over.
    deadlines: BTreeSet<(Time, u32)>,
    /// Unsettled jobs that the pool refused; they need no worker and hold up no one.
    refused: usize,
    estimates: Estimates,
    load: Load,

    seats: Vec<Seat>,
    /// Exactly the idle seats, last used last: the warmest worker is taken first, the coldest times out.
    idle: Vec<u32>,
    /// At least the busy seats that have room, in turn. Who lost its room is dropped when its turn comes.
    roomy: VecDeque<u32>,
    /// The seat that was idle last and got something to do: the next one that small single calls join.
    joined: Option<u32>,
    /// Wanted seats that are vacant, so that work waiting would have one filled.
    vacancies: usize,
    /// Places whose worker is not ready yet.
    starting: usize,
    /// Seats that hold more than one item, so that something could be taken back.
    deep: usize,
    /// When it is time to look at all seats again for work to move.
    balance_at: Time,

    /// No later than the first alarm; it may be earlier, which costs one idle look at the seats.
    wake: Option<Time>,
    jitter: Jitter,
    /// When workers last died before they were ready; as many as the limit needs.
    crashes: VecDeque<Time>,
    /// Since when starts have been failing with no worker alive.
    barren_since: Option<Time>,
    /// Workers lost while they held work, since an item was last done.
    lost_in_a_row: u32,

    /// No more calls are taken.
    ending: bool,
    /// What every item settles as from now on; `None` while the pool runs.
    verdict: Option<Outcome>,
    finished: bool,
}

/// What can be said about one of the pool's places for workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatStatus {
    /// Which place it is, from 0.
    pub place: u32,
    /// The worker that has the place, or had it last.
    pub worker: WorkerId,
    /// The other seat of the place, where a predecessor may not have left yet or a successor may be on its way.
    pub other_slot: Option<u32>,
    /// What it is doing, in a word or two.
    pub state: &'static str,
    /// Whether it is ready for work or working.
    pub is_ready: bool,
    /// Items it holds that have no outcome yet.
    pub held: u64,
    /// Items done in this place, by all its workers.
    pub completed: u64,
    /// Workers started for it after the first.
    pub restarts: u32,
}

impl Scheduler {
    /// A pool that has not started anything yet.
    ///
    /// # Panics
    ///
    /// If the policy asks for no workers.
    pub fn new(policy: Policy) -> Scheduler {
        assert!(policy.workers > 0, "a pool of no workers would never run anything");
        let mut scheduler = Scheduler {
            now: Time::ZERO,
            commands: VecDeque::new(),
            jobs: Jobs::default(),
            ready: ReadyQueue::default(),
            deadlines: BTreeSet::new(),
            refused: 0,
            estimates: Estimates::default(),
            load: Load::default(),
            seats: Vec::new(),
            idle: Vec::new(),
            roomy: VecDeque::new(),
            joined: None,
            vacancies: 0,
            starting: 0,
            deep: 0,
            balance_at: Time::ZERO,
            wake: None,
            jitter: Jitter::new(policy.seed),
            crashes: VecDeque::new(),
            barren_since: None,
            lost_in_a_row: 0,
            ending: false,
            verdict: None,
            finished: false,
            policy,
        };
        scheduler.furnish();
        scheduler
    }

    /// Takes note of a fact. `now` may lag behind an earlier one (threads race to the lock); time stands still then.
    pub fn handle(&mut self, now: Time, event: Event) {
        self.now = self.now.max(now);
        match event {
            Event::Submit { job, options } => self.on_submit(job, options),
            Event::Input { job, items, bytes } => self.on_input(job, items, bytes),
            Event::InputClosed { job } => self.on_input_closed(job),
            Event::Call { job, options, items, bytes } => self.on_call(job, options, items, bytes),
            Event::Limit { job, timeout } => self.on_limit(job, timeout),
            Event::Cancel { job } => self.on_cancel(job),
            Event::Abandon { job } => self.on_abandon(job),
            Event::WorkerSetsUp { worker, limit } => self.on_worker_sets_up(worker, limit),
            Event::WorkerReady { worker } => self.on_worker_ready(worker),
            Event::StartFailed { worker, failure } => self.on_start_failed(worker, failure),
            Event::Done { worker, items, busy } => self.on_done(worker, items, busy),
            Event::Reclaimed { worker, items } => self.on_reclaimed(worker, items),
            Event::Running { worker, since } => self.on_running(worker, since),
            Event::WorkerExited { worker, begun } => self.on_worker_exited(worker, begun),
            Event::WorkerFaulty { worker } => self.on_worker_faulty(worker),
            Event::TaskPanicked { worker } if self.policy.recycle_after_panic => {
                self.replace_when_free(worker)
            }
            Event::TaskPanicked { .. } => {}
            Event::WorkerBloated { worker } => self.replace_when_free(worker),
            Event::Resize { workers } => self.on_resize(workers),
            Event::Close => self.ending = true,
            Event::Terminate => self.on_terminate(),
            Event::Tick => {}
        }
        self.ring_alarms();
        self.dispatch();
        self.balance();
        self.conclude();
    }

    /// The next thing to do; `None` when there is nothing left to do until the next event.
    #[must_use = "a command that is not carried out is work that never happens"]
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to come back with a [`Tick`](Event::Tick) if nothing happens before. It may be earlier than the first
    /// thing that is due, never later; `None`: there is nothing to wait for.
    #[must_use = "without the tick no time limit is ever enforced"]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.wake
    }

    /// How many further items of that job the caller should encode now; 0 for one whose input is closed or whose
    /// items would not run.
    pub fn input_wanted(&self, job: JobId) -> u64 {
        self.jobs.get(job).map_or(0, |job| {
            handout::input_wanted(job, self.estimates.item_ns(job.options.task), self.policy.workers)
        })
    }

    /// What a worker holds, in the order in which its replies come; nothing for a worker that is gone.
    pub fn front_runs(&self, worker: WorkerId) -> impl Iterator<Item = Run> {
        self.seat(worker).into_iter().flat_map(|seat| seat.backlog.runs().copied())
    }

    /// Whether every accepted job is settled.
    pub fn is_idle(&self) -> bool {
        self.jobs.len() == self.refused
    }

    /// How many workers are wanted.
    pub fn workers(&self) -> u32 {
        self.policy.workers
    }

    /// What can be said about each place, in order.
    pub fn seats(&self) -> impl Iterator<Item = SeatStatus> {
        // Of two seats that share a place the first is as old as the place.
        let first = self.seats.iter().filter(|seat| seat.twin.is_none_or(|twin| seat.id.slot < twin));
        first.map(|seat| {
            let twin = seat.twin.map(|twin| self.at(twin));
            let holder = twin.filter(|_| seat.is_spare).unwrap_or(seat);
            let starts = seat.id.generation + twin.map_or(0, |twin| twin.id.generation);
            SeatStatus {
                place: seat.place,
                worker: holder.id,
                other_slot: holder.twin,
                state: holder.state_name(),
                is_ready: matches!(holder.state, State::Idle { .. } | State::Busy { .. }),
                held: holder.backlog.items(),
                completed: seat.completed + twin.map_or(0, |twin| twin.completed),
                restarts: starts.saturating_sub(1),
            }
        })
    }

    /// Which of the pool's workers, from 0, one in that seat is. A place has a second seat, with a number of its own,
    /// once a successor was started before its predecessor had left.
    ///
    /// # Panics
    ///
    /// If no worker was ever started in that seat.
    pub fn place(&self, slot: u32) -> u32 {
        self.at(slot).place
    }

    /// How many ranges of items the books hold: what their size depends on, whatever was submitted.
    pub fn ranges(&self) -> usize {
        let waiting: usize = self.jobs.iter().map(|job| job.pieces()).sum();
        let held: usize = self.seats.iter().map(|seat| seat.backlog.runs().len()).sum();
        waiting + held
    }

    /// The seat where that very incarnation sits; `None` if the news is about one that is gone.
    fn seat(&self, worker: WorkerId) -> Option<&Seat> {
        self.seats.get(worker.slot as usize).filter(|seat| seat.id == worker && seat.is_occupied())
    }

    /// As `seat`, for those who are about to change it.
    fn slot_of(&self, worker: WorkerId) -> Option<u32> {
        self.seat(worker).map(|seat| seat.id.slot)
    }

    fn at(&self, slot: u32) -> &Seat {
        &self.seats[slot as usize]
    }

    fn at_mut(&mut self, slot: u32) -> &mut Seat {
        &mut self.seats[slot as usize]
    }

    fn slots(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.seats.len() as u32
    }

    fn say(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    /// Come back at `at`, or earlier.
    fn wake_by(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// The one way to change a seat's state: it keeps the lists and counts that depend on it.
    fn set_state(&mut self, slot: u32, state: State) {
        self.discount(slot);
        self.at_mut(slot).state = state;
        self.count(slot);
        if let Some(alarm) = self.at(slot).alarm() {
            self.wake_by(alarm);
        }
    }

    /// Takes a seat out of the lists and counts, because it is about to change.
    fn discount(&mut self, slot: u32) {
        let seat = &self.seats[slot as usize];
        match seat.state {
            State::Vacant => self.vacancies -= usize::from(seat.wanted),
            State::Starting { .. } => self.starting -= usize::from(!seat.is_spare),
            State::Idle { .. } => {
                let place =
                    self.idle.iter().rposition(|&idle| idle == slot).expect("idle workers are listed");
                self.idle.remove(place);
            }
            State::BackingOff { .. } | State::Standby => {}
            State::Busy { .. } | State::Stopping { .. } | State::Ending { .. } => {}
        }
    }

    /// Lists and counts a seat as what it is now.
    fn count(&mut self, slot: u32) {
        let seat = &self.seats[slot as usize];
        match seat.state {
            State::Vacant => self.vacancies += usize::from(seat.wanted),
            State::Starting { .. } => self.starting += usize::from(!seat.is_spare),
            State::Idle { .. } => self.idle.push(slot),
            State::BackingOff { .. } | State::Standby => {}
            State::Busy { .. } | State::Stopping { .. } | State::Ending { .. } => {}
        }
    }

    /// Does what is due, and finds out anew when to come back.
    fn ring_alarms(&mut self) {
        if self.wake.is_none_or(|wake| self.now < wake) {
            return;
        }
        self.expire_jobs();
        self.check_barren();
        for slot in self.slots() {
            if self.at(slot).alarm().is_some_and(|alarm| alarm <= self.now) {
                self.ring(slot);
            }
        }
        self.wake = self.next_alarm();
    }

    /// The first thing that is due, by looking at all of them.
    fn next_alarm(&self) -> Option<Time> {
        let seats = self.seats.iter().filter_map(Seat::alarm);
        let deadline = self.deadlines.first().map(|&(at, _)| at);
        let barren = self.barren_since.map(|since| since + self.policy.barren_timeout);
        seats.chain(deadline).chain(barren).min()
    }

    /// What a seat's deadline means.
    fn ring(&mut self, slot: u32) {
        match self.at(slot).state {
            State::BackingOff { .. } => self.fill(slot),
            State::Starting { .. } => self.kill(slot, Cause::Unready),
            State::Idle { .. } => {
                self.dismiss_successor(slot);
                self.stop(slot, false);
            }
            State::Busy { .. } => self.look_after(slot),
            State::Stopping { refill, .. } => self.kill(slot, Cause::Stopped { refill }),
            State::Ending { cause, .. } => self.kill(slot, cause),
            State::Vacant | State::Standby => unreachable!("no time limit holds for it"),
        }
    }
}
