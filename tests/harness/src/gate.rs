//! A gate that tasks wait at, so that a test decides how long they run. It knows nothing of what waits.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::tools::wait_until;

/// A task that waits longer has been forgotten by its test.
const FORGOTTEN: Duration = Duration::from_secs(90);

/// Closed while its file exists. Dropping it opens it too, so nobody waits for a gate that is gone.
pub struct Gate(PathBuf);

impl Gate {
    /// A new, closed gate in the test's directory.
    pub fn new(name: &str) -> Gate {
        let path = std::env::temp_dir().join(name);
        File::create(&path).expect("the test's directory is writable");
        Gate(path)
    }

    /// What tasks wait at: pass it as an argument.
    pub fn path(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        // It may have been opened before.
        let _ = fs::remove_file(&self.0);
    }

    /// In a task: waits until the gate is open.
    pub fn pass(path: impl AsRef<Path>) {
        let is_open = wait_until(FORGOTTEN, || !path.as_ref().exists());
        assert!(is_open, "nobody opened the gate");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}
