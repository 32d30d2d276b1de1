//! What the protocols synchronise by, as loom has it.

use std::ops::{Deref, DerefMut};

pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// Stands for a barrier that another process passes on this thread's behalf: together with that of the other side it
/// orders as two fences do.
pub(crate) fn compiler_fence(order: Ordering) {
    fence(order);
}

/// The face of `parking_lot::Mutex`.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

/// Its guard.
pub(crate) struct MutexGuard<'a, T>(loom::sync::MutexGuard<'a, T>);

impl<T> Mutex<T> {
    /// Waits for the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(self.0.lock().expect("no model panics while it holds a lock and goes on"))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
