//! A file that tasks wait for, so that a test decides how long they run. It knows nothing of what waits.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::tools::wait_until;

/// A task that waits longer has been forgotten by its test.
const FORGOTTEN: Duration = Duration::from_secs(90);

/// Closed until the test opens it, then open for good. Removed when dropped.
pub struct Gate(PathBuf);

impl Gate {
    /// A new, closed gate in the test's directory.
    pub fn new(name: &str) -> Gate {
        Gate(std::env::temp_dir().join(name))
    }

    /// What tasks wait for: pass it as an argument.
    pub fn path(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        fs::write(&self.0, "").expect("the test's directory is writable");
    }

    /// In a task: waits until the gate is open.
    pub fn pass(path: impl AsRef<Path>) {
        let is_open = wait_until(FORGOTTEN, || path.as_ref().exists());
        assert!(is_open, "nobody opened the gate");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // It may never have been opened.
        let _ = fs::remove_file(&self.0);
    }
}
