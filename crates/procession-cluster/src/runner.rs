//! A chunk in the pool: from its arguments to what became of each item. One thread for each chunk in hand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use procession::{Error, ErrorKind, ErrorReport, ItemFigures, Payload, Pool, StreamOptions, TaskInfo};

use crate::chunk::{Chunk, ChunkId, Fate, Figures};

/// How often the pool says that it has the items.
const ALIVE_EVERY: Duration = Duration::from_millis(100);

const GOES_ON: u8 = 0;
const DRAINS: u8 = 1;
const ABANDONS: u8 = 2;
const STOPS: u8 = 3;

/// What a runner says.
pub(crate) enum Said {
    Alive(ChunkId),
    Ended {
        id: ChunkId,
        fates: Vec<(u64, Fate)>,
        figures: Vec<Figures>,
        /// Why the pool can run nothing any more.
        broken: Option<String>,
    },
}

/// How a chunk is run.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) pool: Pool,
    pub(crate) task: &'static TaskInfo,
    pub(crate) at_most_once: bool,
    pub(crate) slots: Slots,
}

/// Which of the pool's workers a process is, or was.
#[derive(Clone, Default)]
pub(crate) struct Slots(Arc<Mutex<HashMap<u32, u32>>>);

impl Slots {
    /// Takes in what a pool tells of its workers.
    pub(crate) fn heard(&self, event: &procession::Event) {
        if let procession::Event::WorkerStarted { slot, pid } = event {
            self.lock().insert(*pid, *slot);
        }
    }

    fn of(&self, pid: u32) -> Option<u32> {
        self.lock().get(&pid).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a chunk that runs is told.
#[derive(Clone, Default)]
pub(crate) struct Reins(Arc<AtomicU8>);

impl Reins {
    /// What is not begun is not begun any more.
    pub(crate) fn drain(&self) {
        self.0.fetch_max(DRAINS, Ordering::Relaxed);
    }

    /// What runs is stopped, here: another agent may run it.
    pub(crate) fn abandon(&self) {
        self.0.fetch_max(ABANDONS, Ordering::Relaxed);
    }

    /// What runs is stopped, everywhere.
    pub(crate) fn stop(&self) {
        self.0.fetch_max(STOPS, Ordering::Relaxed);
    }
}

impl Runner {
    /// Runs a chunk on a thread of its own.
    pub(crate) fn begin(
        &self,
        chunk: Chunk,
        options: StreamOptions,
        reins: Reins,
        say: impl Fn(Said) + Send + 'static,
    ) -> std::io::Result<()> {
        let runner = self.clone();
        let name = format!("chunk {}", chunk.id);
        thread::Builder::new().name(name).spawn(move || runner.run(chunk, options, &reins, say)).map(drop)
    }

    fn run(&self, chunk: Chunk, options: StreamOptions, reins: &Reins, say: impl Fn(Said)) {
        let Chunk { id, items, .. } = chunk;
        let (indices, payloads): (Vec<u64>, Vec<Payload>) =
            items.into_iter().map(|item| (item.index, item.args)).unzip();
        let mut fates: Vec<Option<Fate>> = vec![None; indices.len()];
        let (mut broken, mut figures, mut obeyed) = (None, Vec::new(), GOES_ON);
        let mut lost = Vec::new();
        let mut stream = self.pool.stream(self.task, payloads, options);
        let mut said = Instant::now();
        loop {
            let asked = reins.0.load(Ordering::Relaxed);
            if asked > obeyed {
                obeyed = asked;
                if asked >= ABANDONS { stream.cancel() } else { stream.drain() }
            }
            match stream.next_timeout(ALIVE_EVERY) {
                None => {}
                Some(None) => break,
                Some(Some((at, outcome))) => {
                    if let Err(error) = &outcome
                        && is_of_pool(error)
                    {
                        broken.get_or_insert_with(|| error.to_string());
                    }
                    lost.extend(outcome.as_ref().err().and_then(|error| self.loss(at, error)));
                    let at = usize::try_from(at).unwrap_or(usize::MAX);
                    match fates.get_mut(at).filter(|fate| fate.is_none()) {
                        Some(fate) => *fate = Some(self.fate(outcome, obeyed == ABANDONS)),
                        // The call as a whole was refused.
                        None => broken = broken.or_else(|| outcome.err().map(|error| error.to_string())),
                    }
                }
            }
            if said.elapsed() >= ALIVE_EVERY {
                said = Instant::now();
                figures.extend(stream.take_figures());
                say(Said::Alive(id));
            }
        }
        figures.extend(stream.take_figures());
        figures.extend(lost);
        let now = Instant::now();
        let figures = figures.iter().filter_map(|figures| told(figures, now)).collect();
        let fates = indices.into_iter().zip(fates.into_iter().map(|fate| fate.unwrap_or(Fate::NotBegun)));
        say(Said::Ended { id, fates: fates.collect(), figures, broken });
    }

    /// Of an item that was lost with its worker the pool has no figures: who ran it, and for how long, its error tells.
    fn loss(&self, at: u64, error: &Error) -> Option<ItemFigures> {
        let pid = error.pid()?;
        let slot = self.slots.of(pid)?;
        let mut figures = ItemFigures::new(at, 1, Instant::now());
        (figures.slot, figures.pid, figures.attempt) = (slot, pid, error.attempts());
        figures.busy = error.run_time().unwrap_or_default();
        figures.peak_rss = error.peak_rss().unwrap_or_default();
        Some(figures)
    }

    /// `is_abandoned`: what was stopped was so here alone.
    fn fate(&self, outcome: Result<Payload, Error>, is_abandoned: bool) -> Fate {
        let error = match outcome {
            Ok(value) => return Fate::Value(value),
            Err(error) => error,
        };
        let is_given_up = is_of_pool(&error)
            || matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Terminated | ErrorKind::Closed);
        if is_given_up && error.attempts() == 0 {
            return Fate::NotBegun;
        }
        if is_of_pool(&error) || (is_given_up && is_abandoned) {
            // It was to start again, and another pool can do that.
            return if self.at_most_once { Fate::Lost } else { Fate::NotBegun };
        }
        Fate::Failed(serde_json::to_vec(&ErrorReport::of(&error)).expect("a report is data"))
    }
}

/// Whether the error is the pool's and not the item's.
fn is_of_pool(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Broken
            | ErrorKind::Spawn
            | ErrorKind::Initializer
            | ErrorKind::NotInitialized
            | ErrorKind::Usage
    )
}

fn told(figures: &ItemFigures, now: Instant) -> Option<Figures> {
    Some(Figures {
        first: u32::try_from(figures.first).ok()?,
        items: figures.items,
        attempt: figures.attempt,
        slot: figures.slot,
        pid: figures.pid,
        since: now.saturating_duration_since(figures.ended),
        busy: figures.busy,
        cpu: figures.cpu,
        peak_rss: figures.peak_rss,
    })
}
