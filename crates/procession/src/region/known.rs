//! The regions that this process knows: its own, and those of others that it has mapped.
//!
//! A worker keeps what it has mapped until the owner has retired it, so that the next item finds it. A process that is
//! no worker opens nothing: a token that comes back to it from a worker names what it knows, or nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{Region, Token};

/// Protects the list alone; a leaf. No handle is dropped while it is held, since that may need it.
static KNOWN: Mutex<BTreeMap<[u8; 16], Known>> = Mutex::new(BTreeMap::new());

/// Whether the list has something that was mapped: most workers never map anything. It changes under the list's lock.
static HAS_MAPPED: AtomicBool = AtomicBool::new(false);

/// This process takes its arguments from a master, or is the one that workers are forked from.
static IS_WORKER: AtomicBool = AtomicBool::new(false);

enum Known {
    /// Made here, or in the process that this one was forked from.
    Own(Weak<Region>),
    Mapped(Arc<Region>),
}

/// This process may open what its arguments name.
pub(crate) fn enter_worker() {
    IS_WORKER.store(true, Ordering::Relaxed);
}

pub(super) fn add_own(region: &Arc<Region>) {
    KNOWN.lock().insert(region.token.nonce, Known::Own(Arc::downgrade(region)));
}

pub(super) fn remove_own(nonce: [u8; 16]) {
    KNOWN.lock().remove(&nonce);
}

/// The region that the token names, opened if need be. The error says what to do.
pub(super) fn find(token: &Token) -> Result<Arc<Region>, String> {
    let known = match KNOWN.lock().get(&token.nonce) {
        Some(Known::Own(region)) => region.upgrade(),
        Some(Known::Mapped(region)) => Some(Arc::clone(region)),
        None => None,
    };
    if let Some(region) = known {
        return if region.token == *token {
            Ok(region)
        } else {
            Err("the data it names is of another kind or size".to_owned())
        };
    }
    if !IS_WORKER.load(Ordering::Relaxed) || token.owner == std::process::id() {
        return Err(
            "no shared data of this process has its name: keep a handle of what a task returns".to_owned()
        );
    }
    let opened = Region::open(*token).map_err(|error| {
        format!(
            "it cannot be opened as {}: {error}: the process that shares it must be alive and dumpable, and /proc \
             must show it",
            token.path()
        )
    })?;
    let opened = Arc::new(opened);
    let mut known = KNOWN.lock();
    HAS_MAPPED.store(true, Ordering::Relaxed);
    // Another thread may have been quicker; then its mapping is the one that counts.
    let entry = known.entry(token.nonce).or_insert_with(|| Known::Mapped(Arc::clone(&opened)));
    Ok(match entry {
        Known::Mapped(region) => Arc::clone(region),
        Known::Own(_) => opened,
    })
}

/// Whether this process has mapped anything that it may have to forget.
#[inline]
pub(crate) fn has_mapped() -> bool {
    HAS_MAPPED.load(Ordering::Relaxed)
}

/// Unmaps what has been retired by its owner and has no handle here.
#[inline]
pub(crate) fn forget_retired() {
    if has_mapped() {
        // The list is free again before the mappings go, which may take a while.
        drop(take_retired());
    }
}

fn take_retired() -> Vec<Known> {
    let is_forgotten = |_: &[u8; 16], known: &mut Known| match known {
        Known::Mapped(region) => Arc::strong_count(region) == 1 && region.is_retired(),
        Known::Own(_) => false,
    };
    let mut known = KNOWN.lock();
    let retired = known.extract_if(.., is_forgotten).map(|(_, known)| known).collect();
    HAS_MAPPED.store(known.values().any(|known| matches!(known, Known::Mapped(_))), Ordering::Relaxed);
    retired
}
