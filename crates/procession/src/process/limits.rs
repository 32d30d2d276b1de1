//! What a worker does to its own standing with the kernel: priority, cores, memory, core dumps.

use std::fs;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use super::settings::SeatSettings;

/// How much likelier than its parent the kernel kills a worker when memory runs out (of 1000).
const OOM_SCORE_RAISE: i32 = 300;

/// Makes this process, and all it forks, more expendable than the master. Before any foreign code runs in it; workers
/// inherit it from their zygote, since the files in question take longer to open than all their other limits.
pub(super) fn become_expendable() {
    // A crash-heavy run must not fill the disk; lowering a limit is always allowed.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    raise_oom_score();
}

/// Applies what the settings say to this process. The error names the setting that the system refused.
pub(super) fn apply(settings: &SeatSettings, slot: u32) -> Result<(), String> {
    if let Some(bytes) = settings.memory_limit {
        limit_memory(bytes)
            .map_err(|errno| format!("memory limit of {bytes} bytes was refused: {}", errno.desc()))?;
    }
    if let Some(increment) = settings.nice {
        renice(increment).map_err(|errno| format!("nice {increment} was refused: {}", errno.desc()))?;
    }
    if !settings.cpu_affinity.is_empty() {
        let cores = &settings.cpu_affinity[slot as usize % settings.cpu_affinity.len()];
        pin(cores).map_err(|errno| format!("cpu affinity {cores:?} was refused: {}", errno.desc()))?;
    }
    Ok(())
}

/// Our processes die before the master when memory runs out. Not every container allows it, and nothing depends on it.
fn raise_oom_score() {
    const PATH: &str = "/proc/self/oom_score_adj";
    let current = fs::read_to_string(PATH).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if let Some(current) = current {
        let _ = fs::write(PATH, (current + OOM_SCORE_RAISE).min(1000).to_string());
    }
}

/// Counts private writable memory, so that shared arrays and program text are free.
fn limit_memory(bytes: u64) -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_DATA)?;
    let bytes = bytes.min(hard);
    setrlimit(Resource::RLIMIT_DATA, bytes, bytes)
}

fn renice(increment: i32) -> nix::Result<()> {
    Errno::clear();
    // SAFETY: takes a plain number. It may return -1 on success, so the error number decides.
    let niceness = unsafe { libc::nice(increment) };
    match Errno::last() {
        errno if niceness == -1 && errno != Errno::from_raw(0) => Err(errno),
        _ => Ok(()),
    }
}

fn pin(cores: &[usize]) -> nix::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}
