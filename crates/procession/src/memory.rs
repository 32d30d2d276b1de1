//! How much memory a process has, by its id.

use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System};

/// The resident memory of these processes, in bytes: all their pages that are in memory, also those that they share.
/// `None` for one that is gone, and for all where /proc cannot be read.
///
/// Nothing is kept from call to call, so that no descriptor is.
pub(crate) fn resident(pids: &[u32]) -> Vec<Option<u64>> {
    let Ok(mut system) = System::new() else { return vec![None; pids.len()] };
    let pids: Vec<Pid> = pids.iter().map(|&pid| Pid::from_u32(pid)).collect();
    let what = ProcessRefreshKind::nothing().with_memory().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), false, what);
    pids.iter().map(|&pid| system.process(pid).map(Process::memory)).collect()
}

/// The highest resident memory of a living process, which sysinfo does not tell.
pub(crate) fn peak_resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_living_processes_have_memory() {
        let me = std::process::id();
        // No process can have that number.
        let figures = resident(&[me, u32::MAX >> 1]);
        assert!(figures[0].is_some_and(|bytes| bytes > 1 << 18), "{figures:?}");
        assert_eq!(figures[1], None);
        assert!(peak_resident(me) >= figures[0]);
    }
}
