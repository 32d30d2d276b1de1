//! What is true between any two events. Tests call it after every step; a driver may in debug builds.

use super::Scheduler;
use crate::seat::{Seat, State, Watch};

impl Scheduler {
    /// Panics if the books contradict each other. Looks at everything, so it is slow.
    ///
    /// # Panics
    ///
    /// If one of the scheduler's own invariants does not hold.
    pub fn check_invariants(&self) {
        self.check_jobs();
        self.check_seats();
        self.check_lists();
        self.check_promises();
    }

    fn check_jobs(&self) {
        for job in self.jobs.iter() {
            job.check_invariants();
            let index = job.id.index;
            assert_eq!(self.ready.contains(index), job.waiting() > 0, "{}: ready if items wait", job.id);
            let runs = self.seats.iter().flat_map(|seat| seat.backlog.runs()).filter(|run| run.job == job.id);
            let held: u64 = runs.map(|run| u64::from(run.items)).sum();
            assert_eq!(job.held, held, "{}: held, by its own books and the workers'", job.id);
            let listed = job.deadline.is_some_and(|at| self.deadlines.contains(&(at, index)));
            assert_eq!(job.deadline.is_some(), listed, "{}: its deadline is watched", job.id);
        }
        let waiting = self.jobs.iter().filter(|job| job.waiting() > 0).count();
        assert_eq!(self.ready.len(), waiting, "jobs that are ready");
        let deadlines = self.jobs.iter().filter(|job| job.deadline.is_some()).count();
        assert_eq!(self.deadlines.len(), deadlines, "deadlines that are watched");
    }

    fn check_seats(&self) {
        for seat in &self.seats {
            seat.backlog.check_invariants();
            for run in seat.backlog.runs() {
                assert!(self.jobs.get(run.job).is_some(), "{}: holds items of a settled job", seat.id);
            }
            self.check_seat(seat);
            self.check_place(seat);
        }
        let wanted = self.seats.iter().filter(|seat| seat.wanted).count();
        assert_eq!(wanted, self.policy.workers as usize, "seats that are wanted");
    }

    fn check_seat(&self, seat: &Seat) {
        let holds = !seat.backlog.is_empty();
        let worker = seat.id;
        match seat.state {
            State::Vacant | State::BackingOff { .. } | State::Starting { .. } | State::Stopping { .. } => {
                assert!(!holds, "{worker}: {} while holding items", seat.state_name());
            }
            State::Standby => assert!(seat.is_spare && !holds, "{worker}: stands by in a place of its own"),
            State::Idle { .. } => {
                assert!(!holds, "{worker}: idle while holding items");
                assert!(seat.wanted, "{worker}: idle while nobody wants it");
                assert!(!seat.reclaiming, "{worker}: idle while asked to give back");
            }
            State::Busy { watch } => {
                assert!(
                    holds || seat.reclaiming || watch == Watch::Confirming,
                    "{worker}: busy with nothing"
                );
                if let Watch::Withdrawing(_) = watch {
                    assert!(seat.reclaiming, "{worker}: withdraws without having asked");
                }
            }
            State::Ending { .. } => {}
        }
        let alone = seat.backlog.runs().any(|run| run.attempt > 1);
        assert!(!alone || seat.backlog.items() == 1, "{worker}: a retry does not run alone");
        if let Some(max) = self.policy.max_tasks_per_worker {
            assert!(seat.handed_out <= max, "{worker}: was given more than it may run");
        }
    }

    /// Of two seats that share a place one holds it, and the other has no work.
    fn check_place(&self, seat: &Seat) {
        let worker = seat.id;
        let Some(twin) = seat.twin.map(|twin| self.at(twin)) else {
            return assert!(!seat.is_spare, "{worker}: nobody holds its place");
        };
        assert_eq!((twin.twin, twin.place), (Some(worker.slot), seat.place), "{worker}: its twin");
        assert!(twin.is_spare != seat.is_spare, "{worker}: one of two holds a place");
        if !seat.is_spare {
            return;
        }
        assert!(seat.backlog.is_empty() && !seat.wanted, "{worker}: work for a spare seat");
        match seat.state {
            State::Starting { .. } | State::Standby => {
                assert!(twin.is_occupied() && twin.wanted, "{worker}: waits for a place that is free");
            }
            State::Vacant | State::Stopping { .. } | State::Ending { .. } => {}
            State::BackingOff { .. } | State::Idle { .. } | State::Busy { .. } => {
                panic!("{worker}: {} in a spare seat", seat.state_name())
            }
        }
    }

    fn check_lists(&self) {
        let count = |f: fn(&Seat) -> bool| self.seats.iter().filter(|seat| f(seat)).count();
        for &slot in &self.idle {
            assert!(
                matches!(self.at(slot).state, State::Idle { .. }),
                "{}: listed as idle",
                self.at(slot).id
            );
        }
        assert_eq!(self.idle.len(), count(|seat| matches!(seat.state, State::Idle { .. })), "idle workers");
        assert_eq!(
            self.starting,
            count(|seat| matches!(seat.state, State::Starting { .. }) && !seat.is_spare),
            "starting workers"
        );
        assert_eq!(self.vacancies, count(|seat| seat.wanted && seat.state == State::Vacant), "vacancies");
        assert_eq!(self.deep, count(|seat| seat.backlog.items() > 1), "workers with items to give back");
        assert_eq!(self.roomy.len(), count(|seat| seat.listed), "workers listed as roomy");
        for seat in self.seats.iter().filter(|seat| seat.has_room(&self.policy)) {
            assert!(seat.listed, "{}: has room, yet is not listed", seat.id);
        }
        let refused = self.jobs.iter().filter(|job| matches!(job.fate, Some(crate::job::Fate::Refused(_))));
        assert_eq!(self.refused, refused.count(), "refused jobs");
        if let Some(first) = self.next_alarm() {
            assert!(self.wake.is_some_and(|wake| wake <= first), "an alarm nobody wakes for");
        }
    }

    fn check_promises(&self) {
        assert!(self.ready.is_empty() || self.idle.is_empty(), "an item waits beside an idle worker");
        assert!(self.ready.is_empty() || self.verdict.is_none(), "an item waits for a pool that is over");
        if !self.ready.is_empty() {
            let gone = |seat: &Seat| !seat.wanted || seat.state == State::Vacant;
            assert!(!self.seats.iter().all(gone), "an item waits and nobody will come for it");
        }
        if self.finished {
            assert!(self.seats.iter().all(|seat| seat.state == State::Vacant), "finished, yet workers live");
            assert_eq!(self.next_alarm(), None, "finished, yet waiting");
        }
    }
}
