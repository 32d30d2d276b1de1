//! Which calls are under way, for whoever finds that they do not end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::plan::Call;

/// All calls under way.
#[derive(Default)]
pub(crate) struct Board {
    calls: Mutex<BTreeMap<u16, Arc<Entry>>>,
}

/// How far one call has come.
pub(crate) struct Entry {
    call: Call,
    since: Instant,
    taken: AtomicU32,
    outcomes: AtomicU32,
}

impl Board {
    /// Shows the call until `body` is through with it.
    pub(crate) fn show<R>(&self, call: &Call, body: impl FnOnce(&Entry) -> R) -> R {
        let entry = Entry {
            call: call.clone(),
            since: Instant::now(),
            taken: AtomicU32::new(0),
            outcomes: AtomicU32::new(0),
        };
        let entry = Arc::new(entry);
        let calls = || self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls().insert(call.id, Arc::clone(&entry));
        let result = body(&entry);
        calls().remove(&call.id);
        result
    }
}

impl Entry {
    pub(crate) fn took(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn came(&self) {
        self.outcomes.fetch_add(1, Ordering::Relaxed);
    }
}

/// A line a call.
impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        for Entry { call, since, taken, outcomes } in calls.values().map(Arc::as_ref) {
            let (taken, outcomes) = (taken.load(Ordering::Relaxed), outcomes.load(Ordering::Relaxed));
            writeln!(
                f,
                "  pending for {:.1?}: {taken} items taken, {outcomes} outcomes: {call:?}",
                since.elapsed()
            )?;
        }
        Ok(())
    }
}
