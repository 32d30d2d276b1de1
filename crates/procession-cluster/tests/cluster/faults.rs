//! A job in which a fault is committed, again and again: what came of its items, in which order, and for how long nothing came.
//! It knows no fault: whoever commits one is called after every outcome.

use std::time::{Duration, Instant};

use procession::{Error, ErrorKind, Payload};
use procession_cluster::{ClusterStream, JobOptions, Notice};
use procession_harness::{Ledger, Report, Tally, repetitions};

use crate::scene::Scene;
use crate::tasks::{once, square_slowly};

/// No job stands still for so long, whatever is done to it.
const LIMIT: Duration = Duration::from_secs(60);
/// How often somebody looks after a job that has no outcome.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What one repetition of a fault has come to.
pub(crate) struct Cost {
    pub(crate) tally: Tally,
    /// Items that failed as they had to.
    pub(crate) failed: u64,
    /// The longest time without an outcome.
    pub(crate) gap: Duration,
}

/// Commits a fault as often as the harness asks for, and writes down what that has cost. `commit` does so once; none: something that
/// it needs is not there, and it has said so.
pub(crate) fn repeat(fault: &'static str, mut commit: impl FnMut() -> Option<Cost>) {
    let mut report = Report::new(fault);
    for _ in 0..repetitions() {
        let Some(Cost { tally, failed, gap }) = commit() else { return };
        report.add(tally, None);
        report.add_job(gap, failed);
    }
    report.finish(LIMIT);
}

/// What came of a job, as it came.
pub(crate) struct Course {
    pub(crate) outcomes: Vec<(u64, Result<Payload, Error>)>,
    pub(crate) notices: Vec<Notice>,
    last: Instant,
    gap: Duration,
}

impl Course {
    /// Takes all outcomes of a job. `at` is called after each, with how many there are.
    pub(crate) fn of<I>(job: ClusterStream<I>, at: impl FnMut(usize)) -> Course
    where
        I: Iterator<Item = Option<(u64, Payload)>>,
    {
        Course::since(Instant::now(), job, at, || {})
    }

    /// The same of a job that should have had outcomes since then; `look` is called again and again while there is none.
    pub(crate) fn since<I>(
        begun: Instant,
        mut job: ClusterStream<I>,
        mut at: impl FnMut(usize),
        mut look: impl FnMut(),
    ) -> Course
    where
        I: Iterator<Item = Option<(u64, Payload)>>,
    {
        let mut course =
            Course { outcomes: Vec::new(), notices: Vec::new(), last: begun, gap: Duration::ZERO };
        loop {
            let next = job.next_timeout(LOOK_EVERY).expect("the job goes on");
            course.notices.extend(job.take_notices());
            match next {
                Some(Some(outcome)) => {
                    course.came();
                    course.outcomes.push(outcome);
                    at(course.outcomes.len());
                }
                // What has no outcome by then counts as lost.
                None if course.last.elapsed() > LIMIT => break,
                None => look(),
                Some(None) => break,
            }
        }
        course.came();
        job.end(true);
        course
    }

    fn came(&mut self) {
        let now = Instant::now();
        self.gap = self.gap.max(now - self.last);
        self.last = now;
    }

    /// Holds what came against what had to: an outcome for each of so many items, in order, and `value` of each. Items may fail
    /// where `fails` says so.
    pub(crate) fn cost(
        &self,
        items: u64,
        value: impl Fn(u64, &Payload) -> bool,
        fails: impl Fn(u64, &Error) -> bool,
    ) -> Cost {
        let mut cost = Cost { tally: Tally { items, ..Tally::default() }, failed: 0, gap: self.gap };
        let Cost { tally, failed, .. } = &mut cost;
        let mut counts = vec![0_u64; usize::try_from(items).expect("few items")];
        let mut before = None;
        for (item, outcome) in &self.outcomes {
            if before.replace(*item).is_some_and(|before| before > *item) {
                tally.order_broken += 1;
                tally.violations.push(format!("item {item} came behind {before:?}"));
            }
            match counts.get_mut(*item as usize) {
                Some(count) => *count += 1,
                None => tally.violations.push(format!("there is no item {item}")),
            }
            match outcome {
                Ok(found) if value(*item, found) => {}
                Ok(_) => {
                    tally.wrong += 1;
                    tally.violations.push(format!("item {item} has the value of another"));
                }
                Err(error) if fails(*item, error) => *failed += 1,
                Err(error) => {
                    tally.blamed_wrongly += 1;
                    tally.violations.push(format!("item {item} did nothing: {error}"));
                }
            }
        }
        for (item, count) in (0_u64..).zip(counts) {
            tally.lost += u64::from(count == 0);
            tally.duplicated += count.saturating_sub(1);
            if count != 1 {
                tally.violations.push(format!("item {item} has {count} outcomes"));
            }
        }
        cost
    }

    /// The same of [`squares`]: all have values.
    pub(crate) fn cost_of_squares(&self, items: u64) -> Cost {
        let is_square =
            |x: u64, value: &Payload| square_slowly.value(value).is_ok_and(|value| value == x * x);
        self.cost(items, is_square, |_, _| false)
    }

    /// The same of [`once`]: none has started twice, and those without a value were lost with their agent.
    pub(crate) fn cost_of_once(&self, items: u64, ledger: &Ledger) -> Cost {
        let is_itself = |x: u64, value: &Payload| once.value(value).is_ok_and(|value| value == x);
        let mut cost = self.cost(items, is_itself, |_, error| error.kind() == ErrorKind::WorkerLost);
        let mut starts: Vec<u64> =
            ledger.lines().iter().map(|line| line.parse().expect("a number")).collect();
        starts.sort_unstable();
        for twice in starts.windows(2).filter(|pair| pair[0] == pair[1]) {
            cost.tally.duplicated += 1;
            cost.tally.violations.push(format!("item {} has started twice", twice[0]));
        }
        cost
    }
}

/// Items that take a while each.
pub(crate) fn squares(items: u64, milliseconds: u64) -> Vec<Payload> {
    (0..items).map(|x| square_slowly.payload(&(x, milliseconds)).expect("numbers have an encoding")).collect()
}

/// Squares in chunks of one over the agents of a scene: what they have cost.
pub(crate) fn square(scene: &Scene, (items, milliseconds): (u64, u64), at: impl FnMut(usize)) -> Cost {
    Course::of(scene.job(square_slowly.info(), squares(items, milliseconds), single), at)
        .cost_of_squares(items)
}

/// Items that start at most once, each of which notes that it does.
pub(crate) fn onces(ledger: &Ledger, items: u64, milliseconds: u64) -> Vec<Payload> {
    (0..items).map(|x| once.payload(&(ledger.path(), x, milliseconds)).expect("it has an encoding")).collect()
}

/// Chunks of one item: so that a fault finds many of them.
pub(crate) fn single(options: &mut JobOptions) {
    options.stream.chunk_size = Some(1);
}
