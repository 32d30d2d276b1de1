//! Keeps the memory that large items take: the C library would return it to the system at once, and taking it anew
//! costs several times as much as filling it.
//!
//! It begins with the first large item, so that workers without any are left as they are, and it ends when the worker
//! is idle. Another allocator than the C library's does not notice.

/// Freed memory that is kept for the next large item.
#[derive(Debug, Default)]
pub(super) struct Heap {
    is_set_up: bool,
    is_kept_warm: bool,
}

impl Heap {
    /// A large item comes.
    pub(super) fn keep_warm(&mut self) {
        if !self.is_set_up {
            self.is_set_up = true;
            allocator::keep();
        }
        self.is_kept_warm = true;
    }

    /// Whether there may be something to give back.
    pub(super) fn is_kept_warm(&self) -> bool {
        self.is_kept_warm
    }

    /// Gives it back. Until the next large item.
    pub(super) fn give_back(&mut self) {
        self.is_kept_warm = false;
        allocator::give_back();
    }
}

#[cfg(target_env = "gnu")]
mod allocator {
    /// Freed memory at the end of the heap that is kept.
    const KEPT_BYTES: libc::c_int = 512 << 20;

    pub(super) fn keep() {
        // SAFETY: both only set parameters of the allocator, under its own lock.
        unsafe {
            // No block is a mapping of its own, which would go with the block.
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        }
    }

    pub(super) fn give_back() {
        // SAFETY: it only returns pages to the system that hold no block.
        unsafe { libc::malloc_trim(0) };
    }
}

#[cfg(not(target_env = "gnu"))]
mod allocator {
    pub(super) fn keep() {}

    pub(super) fn give_back() {}
}
