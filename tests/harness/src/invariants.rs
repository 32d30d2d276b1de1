//! What must hold after every test that starts processes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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
        let listing = PathBuf::from(format!("/proc/{}/fd", std::process::id()));
        let entries = fs::read_dir(&listing).expect("/proc is mounted");
        let open = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), fs::read_link(entry.path()).ok()?))
        });
        // But for the one through which they are listed.
        Descriptors(open.filter(|(_, target)| *target != listing).collect())
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
    if wait_until(SETTLE_LIMIT, || others_with(id).is_empty()) {
        return Ok(());
    }
    let left = others_with(id);
    let named = |pid: &u32| (*pid, fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default());
    Err(format!("processes {:?}", left.iter().map(named).collect::<Vec<_>>()))
}

/// Ends whatever descends from the test, wherever it has gone.
pub(crate) fn kill_rest(id: &str) {
    for pid in others_with(id) {
        // Who is gone meanwhile needs no signal.
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

fn others_with(id: &str) -> Vec<u32> {
    let mut others = processes_with(RUN_VARIABLE, id);
    others.retain(|pid| *pid != std::process::id());
    others
}

/// The processes that were given this variable with this value, or descend from one that was.
pub fn processes_with(variable: &str, value: &str) -> Vec<u32> {
    let mark = format!("{variable}={value}");
    let is_marked = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
    };
    processes().filter(is_marked).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Where named shared memory lies.
const SHARED_MEMORY: &str = "/dev/shm";

/// The named shared memory there is.
pub(crate) struct SharedMemory(BTreeSet<OsString>);

impl SharedMemory {
    pub(crate) fn named_now() -> SharedMemory {
        let Ok(entries) = fs::read_dir(SHARED_MEMORY) else {
            return SharedMemory(BTreeSet::new());
        };
        SharedMemory(entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
    }

    /// In the runner, once the test's processes are gone: none is left that nobody uses. What other programs of the
    /// machine have made meanwhile is in use.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut left = Vec::new();
        let is_clean = wait_until(SETTLE_LIMIT, || {
            left = SharedMemory::named_now()
                .0
                .difference(&self.0)
                .filter(|name| !is_in_use(name))
                .cloned()
                .collect();
            left.is_empty()
        });
        if is_clean { Ok(()) } else { Err(format!("{left:?} in {SHARED_MEMORY}")) }
    }
}

/// Whether any process has it open or mapped.
fn is_in_use(name: &OsString) -> bool {
    let path = Path::new(SHARED_MEMORY).join(name);
    let text = path.to_string_lossy();
    processes().any(|pid| {
        let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
        if String::from_utf8_lossy(&maps).contains(&*text) {
            return true;
        }
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).any(|target| target == path)
    })
}
