//! A program in a terminal of its own: what is typed there, and what there is to see.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use procession_harness::{Signal, state_of, wait_until};
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

/// Far above what any test needs, far below what a person would wait.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What the keys send.
pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_Z: &str = "\x1a";
pub(crate) const CTRL_BACKSLASH: &str = "\x1c";

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_procession");

/// A terminal, the process that leads its session, and all it has shown.
pub(crate) struct Session {
    terminal: Arc<Pty>,
    child: Child,
    shown: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Session {
    /// The program with these words, in the foreground of a terminal. Hangups reach it even where the tests themselves
    /// are run by `nohup`.
    pub(crate) fn start(words: &[&str]) -> Session {
        Session::of("env", &[&["--default-signal=HUP", PROGRAM], words].concat())
    }

    /// As [`start`](Session::start), in a terminal that nobody reads.
    pub(crate) fn unread(words: &[&str]) -> Session {
        Session::spawn("env", &[&["--default-signal=HUP", PROGRAM], words].concat(), |_, _| None)
    }

    /// Any program.
    pub(crate) fn of(program: impl AsRef<OsStr>, words: &[&str]) -> Session {
        Session::spawn(program, words, |source, screen| {
            Some(std::thread::spawn(move || read(&source, &screen)))
        })
    }

    fn spawn(
        program: impl AsRef<OsStr>,
        words: &[&str],
        read: impl FnOnce(Arc<Pty>, Arc<Mutex<String>>) -> Option<JoinHandle<()>>,
    ) -> Session {
        let (terminal, its_end) = open().expect("the system has a terminal to spare");
        terminal.resize(Size::new(40, 120)).expect("a terminal has a size");
        let command = Command::new(program).args(words).env("TERM", "xterm").env("NO_COLOR", "1");
        let child = command.spawn(its_end).expect("the program starts");
        let (terminal, shown) = (Arc::new(terminal), Arc::new(Mutex::new(String::new())));
        let reader = read(Arc::clone(&terminal), Arc::clone(&shown));
        Session { terminal, child, shown, reader }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn type_in(&self, keys: &str) {
        (&*self.terminal).write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Makes the terminal that large.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.terminal.resize(Size::new(rows, columns)).expect("a terminal has a size");
    }

    /// All that was shown so far.
    pub(crate) fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until the terminal has shown `text`.
    pub(crate) fn wait_for(&self, text: &str) {
        let reached = wait_until(LIMIT, || self.shown().contains(text));
        assert!(reached, "{text:?} was never shown, only:\n{}", self.shown());
    }

    /// The processes of the pool: all descendants of that process, once there are so many.
    pub(crate) fn wait_workers(&self, master: u32, count: usize) -> Vec<u32> {
        let mut found = Vec::new();
        let reached = wait_until(LIMIT, || {
            found = descendants(master);
            found.len() >= count
        });
        assert!(reached, "{found:?} where {count} processes were expected:\n{}", self.shown());
        found
    }

    /// Waits until one of its threads cannot go on writing.
    pub(crate) fn wait_until_it_blocks(&self) {
        let writes = format!("{} ", libc::SYS_write);
        let reached = wait_until(LIMIT, || {
            let threads =
                std::fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
            let mut calls =
                threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("syscall")).ok());
            calls.any(|call| call.starts_with(&writes))
        });
        assert!(reached, "it still writes to a terminal that nobody reads");
    }

    /// How it has ended, if it does within a time.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        wait_until(limit, || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> (ExitStatus, String) {
        let mut status = None;
        let ended = wait_until(LIMIT, || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        assert!(ended, "the program did not end; the terminal shows:\n{}", self.shown());
        self.reader.take().map(JoinHandle::join);
        let shown = self.shown();
        assert!(!shown.contains("panicked at"), "the program itself panicked:\n{shown}");
        (status.expect("it has ended"), shown)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps all that a terminal shows.
fn read(mut terminal: &Pty, shown: &Mutex<String>) {
    let mut buffer = [0; 4096];
    loop {
        match terminal.read(&mut buffer) {
            Ok(count @ 1..) => {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Nobody has the other end any more.
            Ok(_) | Err(_) => return,
        }
    }
}

/// By which signal it ended.
pub(crate) fn signal(status: ExitStatus) -> Option<Signal> {
    status.signal().map(|number| Signal::try_from(number).expect("a signal has a name"))
}

pub(crate) fn wait_state(pids: &[u32], state: char) {
    let reached = wait_until(LIMIT, || pids.iter().all(|pid| state_of(*pid) == Some(state)));
    let states: Vec<_> = pids.iter().map(|pid| (pid, state_of(*pid))).collect();
    assert!(reached, "{states:?} where all were to be {state}");
}

/// The workers below a process: what its helper has forked.
fn descendants(pid: u32) -> Vec<u32> {
    let children = |pid: u32| -> Vec<u32> {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
        let lists =
            threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
        lists
            .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect()
    };
    children(pid).into_iter().flat_map(children).collect()
}
