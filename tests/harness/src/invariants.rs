//! What must hold after every test that starts processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::tools::{children, wait_until};

/// Marks every process that descends from a test's.
pub const RUN_VARIABLE: &str = "PROCESSION_TEST_RUN";

/// How long processes and descriptors may take to go once the test has ended: a master's death reaches its workers
/// within this time.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// Open descriptors and what they are.
#[derive(PartialEq, Eq)]
pub struct Descriptors(BTreeMap<String, PathBuf>);

impl Descriptors {
    /// Those of this process.
    pub fn open_now() -> Descriptors {
        let entries = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
        let open = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            // The descriptor of this very listing is closed by the time it is looked at.
            Some((entry.file_name().to_string_lossy().into_owned(), fs::read_link(entry.path()).ok()?))
        });
        Descriptors(open.filter(|(_, target)| !target.starts_with("/proc")).collect())
    }
}

/// In the test's own process: no child is left, not even a zombie, and no descriptor.
///
/// # Errors
/// What is left.
pub fn check_process(before: &Descriptors) -> Result<(), String> {
    if !wait_until(SETTLE_LIMIT, || children().is_empty()) {
        return Err(format!("child processes {:?}", children()));
    }
    if !wait_until(SETTLE_LIMIT, || Descriptors::open_now() == *before) {
        let now = Descriptors::open_now().0;
        let more: Vec<_> = now.iter().filter(|(number, _)| !before.0.contains_key(*number)).collect();
        let fewer: Vec<_> = before.0.iter().filter(|(number, _)| !now.contains_key(*number)).collect();
        return Err(format!("descriptors {more:?} opened, {fewer:?} closed"));
    }
    Ok(())
}

/// No process that descends from the test is alive, but the one that asks.
///
/// # Errors
/// Which are.
pub fn check_orphans(id: &str) -> Result<(), String> {
    let mark = format!("{RUN_VARIABLE}={id}");
    if wait_until(SETTLE_LIMIT, || marked(&mark).is_empty()) {
        return Ok(());
    }
    Err(format!("processes {:?}", marked(&mark)))
}

fn marked(mark: &str) -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            if pid == std::process::id() {
                return None;
            }
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let is_marked = environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes());
            is_marked.then(|| (pid, fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()))
        })
        .collect()
}
