//! A worker's seat: who sits there, in which state, and what it holds. The states carry their own deadlines; what
//! happens when one passes is the scheduler's business.

use std::time::Duration;

use crate::backlog::Backlog;
use crate::handout::{
    HANDOUT_BYTES_MAX, HANDOUT_ITEMS_MAX, HELD_BYTES_MAX, HELD_ITEMS_MAX, HELD_RUNS_MAX, low_water_ns,
    stuck_after,
};
use crate::{JobId, Policy, Time, WorkerId};

/// One seat for a worker process.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The incarnation that sits there, or sat there last.
    pub(crate) id: WorkerId,
    /// Which of the pool's workers it is for, from 0.
    pub(crate) place: u32,
    /// The other seat of that place, once one was needed: there a successor starts before its predecessor has left.
    pub(crate) twin: Option<u32>,
    /// The place is held by the twin. Who sits here has no work: it is to take over, or it is leaving.
    pub(crate) is_spare: bool,
    /// Whether the pool wants a worker here; `resize` decides.
    pub(crate) wanted: bool,
    pub(crate) state: State,
    pub(crate) backlog: Backlog,
    /// When the worker last got on: was given its first run, or reported items.
    pub(crate) progress: Time,
    /// An answer to `Reclaim` is due. Nothing is handed out until it came, so the end of the queue means the same
    /// on both sides.
    pub(crate) reclaiming: bool,
    /// It was asked to give back what it holds: neither ask again nor give it more until it got on, or holds
    /// nothing.
    pub(crate) asked: bool,
    /// How often it was asked since it last got on. One that is slow to begin is asked less and less often, or its
    /// items would be passed round for ever.
    pub(crate) asked_in_vain: u32,
    /// It stands in the list of busy workers that may be given more.
    pub(crate) listed: bool,
    /// Items handed to this incarnation and not taken back.
    pub(crate) handed_out: u64,
    /// It takes more memory than it may: it gets nothing more, and is replaced once it holds nothing.
    pub(crate) bloated: bool,
    /// Starts in a row of this seat that came to nothing.
    pub(crate) failed_starts: u32,
    /// Because of those: nobody is started here before then.
    pub(crate) due: Time,
    /// A successor of this place came to nothing: until then nobody is started beside a worker that is still there.
    pub(crate) no_successor_before: Time,
    /// When this incarnation became ready.
    pub(crate) ready_at: Option<Time>,
    /// It has done an item.
    pub(crate) is_productive: bool,
    pub(crate) completed: u64,
}

/// What the incarnation is doing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody sits here.
    Vacant,
    /// Nobody sits here, and somebody is started at that time.
    BackingOff { until: Time },
    /// Started, not ready yet; killed at the deadline.
    Starting { deadline: Time },
    /// Ready, and given nothing before its predecessor has nothing left.
    Standby,
    /// Ready, holds nothing; stopped at that time.
    Idle { until: Option<Time> },
    /// Holds runs.
    Busy { watch: Watch },
    /// Told to stop, holds nothing; killed at the deadline.
    Stopping { deadline: Time, refill: bool },
    /// Was sent a signal; killed at that time, unless it was killed already.
    Ending { kill_at: Option<Time>, cause: Cause },
}

/// How closely a busy worker is watched. See `PROTOCOL.md` for why the steps have this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// No item it holds that may still start, or is running, has a time limit.
    Off,
    /// No item it holds can be overdue before then.
    Until(Time),
    /// It was asked since when it has been running its item.
    Probing,
    /// Its unstarted items are being taken back, to be followed by a closer look.
    Withdrawing(Concern),
    /// Nothing can start any more; it was asked again.
    Confirming,
}

/// What the closer look is about, the least grave first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Concern {
    /// It has not begun what it was given for so long that it may never.
    Stalled,
    /// Its running item seems to have run for too long.
    Overdue,
    /// Its running item may belong to a job that was cancelled or whose deadline passed.
    Doomed,
    /// It broke the protocol and dies in any case.
    Faulty,
}

/// Why a worker was sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It did not become ready in time.
    Unready,
    /// This item of it ran for too long.
    Overdue { job: JobId, item: u64 },
    /// It broke the protocol, or did not begin what it was given. `at_work`: it held items when that came out.
    Faulty { at_work: bool },
    /// It was told to stop and did not, or broke the protocol on its way out.
    Stopped { refill: bool },
    /// Nothing it did: its job was cancelled, or the pool ends.
    Ordered,
}

/// What a free worker would gain if this one gave back what it has not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prospect {
    /// Expected nanoseconds of work that are left.
    pub(crate) left_ns: u64,
    /// If it has not got on by then, it is stuck, and what is left is anybody's guess.
    pub(crate) stuck_at: Time,
}

impl Seat {
    pub(crate) fn new(slot: u32, place: u32) -> Seat {
        Seat {
            id: WorkerId { slot, generation: 0 },
            place,
            twin: None,
            is_spare: false,
            wanted: true,
            state: State::Vacant,
            backlog: Backlog::default(),
            progress: Time::ZERO,
            reclaiming: false,
            asked: false,
            asked_in_vain: 0,
            listed: false,
            handed_out: 0,
            bloated: false,
            failed_starts: 0,
            due: Time::ZERO,
            no_successor_before: Time::ZERO,
            ready_at: None,
            is_productive: false,
            completed: 0,
        }
    }

    /// When this state must be looked at again.
    pub(crate) fn alarm(&self) -> Option<Time> {
        match self.state {
            State::Vacant | State::Standby => None,
            State::BackingOff { until } => Some(until),
            State::Starting { deadline } | State::Stopping { deadline, .. } => Some(deadline),
            State::Idle { until } => until,
            State::Busy { watch: Watch::Until(until) } => Some(until),
            State::Busy {
                watch: Watch::Off | Watch::Probing | Watch::Withdrawing(_) | Watch::Confirming,
            } => None,
            State::Ending { kill_at, .. } => kill_at,
        }
    }

    /// Whether a worker sits here, in whatever state.
    pub(crate) fn is_occupied(&self) -> bool {
        !matches!(self.state, State::Vacant | State::BackingOff { .. })
    }

    /// Whether it is busy, yet should be given more ahead of time.
    pub(crate) fn has_room(&self, policy: &Policy) -> bool {
        let watched_loosely = match self.state {
            State::Busy { watch: Watch::Off | Watch::Until(_) | Watch::Probing } => true,
            State::Busy { watch: Watch::Withdrawing(_) | Watch::Confirming }
            | State::Vacant
            | State::BackingOff { .. }
            | State::Starting { .. }
            | State::Standby
            | State::Idle { .. }
            | State::Stopping { .. }
            | State::Ending { .. } => false,
        };
        watched_loosely
            && self.wanted
            && !self.asked
            && !self.reclaiming
            && self.backlog.ns() < low_water_ns(policy.workers)
            && self.backlog.bytes() + HANDOUT_BYTES_MAX <= HELD_BYTES_MAX
            && self.backlog.items() + HANDOUT_ITEMS_MAX <= HELD_ITEMS_MAX
            && self.backlog.runs().len() < HELD_RUNS_MAX
            && self.backlog.back().is_none_or(|run| run.attempt == 1)
            && self.allowance(policy.max_tasks_per_worker) > 0
    }

    /// How many items it may still be given before it is replaced.
    pub(crate) fn allowance(&self, max_tasks: Option<u64>) -> u64 {
        if self.bloated { 0 } else { max_tasks.map_or(u64::MAX, |max| max - self.handed_out) }
    }

    /// What asking it to give back promises; `None` if it has nothing to give or was just asked.
    pub(crate) fn prospect(&self, now: Time) -> Option<Prospect> {
        let is_busy = matches!(self.state, State::Busy { .. });
        if !is_busy || self.asked || self.reclaiming || self.backlog.items() < 2 {
            return None;
        }
        let done_at = self.progress + Duration::from_nanos(self.backlog.ns());
        let left_ns = match self.asked_in_vain {
            0 => done_at.as_nanos().saturating_sub(now.as_nanos()),
            _ => 0,
        };
        Some(Prospect { left_ns, stuck_at: done_at + stuck_after(self.asked_in_vain) })
    }

    /// In which order seats are given up when the pool shrinks: those that cost least first.
    pub(crate) fn attachment(&self) -> u8 {
        match self.state {
            State::Vacant => 0,
            State::BackingOff { .. } => 1,
            State::Ending { .. } => 2,
            State::Stopping { .. } => 3,
            State::Starting { .. } => 4,
            State::Standby | State::Idle { .. } => 5,
            State::Busy { .. } => 6,
        }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            State::Vacant => "vacant",
            State::BackingOff { .. } => "backing off",
            State::Starting { .. } => "starting",
            State::Standby => "standing by",
            State::Idle { .. } => "idle",
            State::Busy { .. } => "busy",
            State::Stopping { .. } => "stopping",
            State::Ending { .. } => "ending",
        }
    }
}
