//! What an episode leaves in the system, and what the program itself holds.

use std::fs;
use std::path::Path;
use std::time::Duration;

use procession_harness::{Descriptors, check_orphans, check_process, wait_until};

/// How the names begin that shared memory with a name would have.
const SHARED_MEMORY: [&str; 2] = ["procession", "ipc-channel"];

/// Threads that were joined may exist for a moment.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// Whoever gets up to this much more than at first does not leak: the allocator keeps what threads have freed.
const GROWTH_MAX: u64 = 96 << 20;

/// How many episodes show what the program needs.
const EPISODES_TO_LEARN: u64 = 12;

/// I6 to I9: no child, no process that descends from us, no descriptor, no file.
pub(crate) fn check_system(before: &Descriptors, run: &str, directory: &Path) -> Result<(), String> {
    check_process(before)?;
    check_orphans(run)?;
    check_files(directory, Path::new("/dev/shm"))
}

fn check_files(directory: &Path, shared_memory: &Path) -> Result<(), String> {
    let left = names(directory)?;
    if !left.is_empty() {
        return Err(format!("files {left:?} in {}", directory.display()));
    }
    // What pools make there is a directory, if TMPDIR does not say where: it is another program's.
    let is_ours = |name: &String| {
        SHARED_MEMORY.iter().any(|start| name.starts_with(start)) && !shared_memory.join(name).is_dir()
    };
    let shared: Vec<String> = names(shared_memory)?.into_iter().filter(is_ours).collect();
    if shared.is_empty() { Ok(()) } else { Err(format!("shared memory {shared:?}")) }
}

fn names(directory: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect())
}

/// Waits until this is the only thread.
pub(crate) fn wait_single_thread() -> Result<(), String> {
    let count = || fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if wait_until(SETTLE_LIMIT, || count() == 1) {
        Ok(())
    } else {
        Err(format!("{} threads are left", count() - 1))
    }
}

/// Resident memory of this program, in bytes.
pub(crate) fn rss() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

/// How many descriptors this program has open.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// I10: what the program holds between two episodes does not grow with their number.
#[derive(Default)]
pub(crate) struct Growth {
    seen: u64,
    /// The most that was needed at first.
    base: u64,
}

impl Growth {
    pub(crate) fn check(&mut self, rss: u64) -> Result<(), String> {
        self.seen += 1;
        if self.seen <= EPISODES_TO_LEARN {
            self.base = self.base.max(rss);
        }
        if rss > self.base + GROWTH_MAX {
            return Err(format!("resident memory grew from {} to {} MiB", self.base >> 20, rss >> 20));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_left_behind_are_named() {
        let (own, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let check = || check_files(own.path(), shared.path());
        fs::write(shared.path().join("somebody-elses"), "").unwrap();
        assert_eq!(check(), Ok(()));
        fs::write(shared.path().join("procession-arena"), "").unwrap();
        assert_eq!(check(), Err(r#"shared memory ["procession-arena"]"#.to_owned()));
        fs::write(own.path().join("ledger"), "").unwrap();
        assert!(check().unwrap_err().starts_with(r#"files ["ledger"] in "#));
    }

    #[test]
    fn steady_memory_is_told_from_growing_memory() {
        let mut growth = Growth::default();
        for episode in 0..1_000 {
            assert_eq!(growth.check((100 + episode % 7) << 20), Ok(()));
        }
        let growing = (0..1_000).find_map(|episode| growth.check((100 + episode) << 20).err());
        assert_eq!(growing.as_deref(), Some("resident memory grew from 106 to 203 MiB"));
    }

    #[test]
    fn this_process_has_figures() {
        assert!(rss() > 1 << 20);
        assert!(descriptors() > 2);
    }
}
