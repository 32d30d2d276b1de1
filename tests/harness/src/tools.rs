//! What many tests need: waiting with a limit, looking at processes, counting starts.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Waits until `reached`, at most `limit` long; `false`: it was not reached.
///
/// For states of the system that announce themselves to nobody. Whatever can be waited for is waited for.
pub fn wait_until(limit: Duration, mut reached: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if reached() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The time of a clock that all processes of the machine share.
pub fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is such a clock").into()
}

/// Whether the process exists and is not a zombie.
pub fn alive(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The children of a process, zombies included. Complete if the process forks none meanwhile.
pub fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("the system lists its processes");
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| parent_of(pid) == Some(parent)).collect()
}

/// The children of this process, zombies included.
pub fn children() -> Vec<u32> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// Sends a signal to a process; nothing happens if it is gone.
pub fn send_signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("process {pid} cannot be signalled: {errno}"),
    }
}

/// Stops a process and waits until it has stopped. A signal sent right behind `SIGSTOP` might be taken before it.
pub fn stop(pid: u32, limit: Duration) {
    send_signal(pid, Signal::SIGSTOP);
    assert!(wait_until(limit, || state_of(pid) == Some('T')), "process {pid} does not stop");
}

/// The parent of a process, while the process exists.
pub fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    status.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The state of a process as `/proc` has it (`R`, `S`, `T`, `Z`, …), while the process exists.
pub fn state_of(pid: u32) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may contain anything but ends with the last parenthesis.
    status.rsplit_once(')')?.1.trim_start().chars().next()
}

/// A file to which tasks append a line at each start, so that a test can count them whatever becomes of the worker.
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// A new, empty ledger in the test's directory, with a path of its own: what still runs of a call that has failed notes
    /// nothing in a later one. Removed when dropped.
    pub fn new(name: &str) -> Ledger {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{name}-{number}"));
        File::create(&path).expect("the test's directory is writable");
        Ledger { path }
    }

    /// Where tasks write: pass it as an argument.
    pub fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// In a task: notes a start, in one write, so that a crash right after cannot lose it.
    pub fn note(path: impl AsRef<Path>, line: impl std::fmt::Display) {
        let mut file = File::options().append(true).open(path).expect("the ledger exists");
        file.write_all(format!("{line}\n").as_bytes()).expect("the ledger is writable");
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.path).expect("the ledger exists");
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
