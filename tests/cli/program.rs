//! Starts the program, reads it line by line, and never waits longer than a limit.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Far above what any test needs, far below what a person would wait.
const LIMIT: Duration = Duration::from_secs(60);

/// A finished run.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(crate) fn signal(&self) -> Option<Signal> {
        self.status.signal().map(|number| Signal::try_from(number).expect("a signal has a name"))
    }

    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

/// A run under way. What it writes is read as it comes, so it never blocks.
pub(crate) struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: mpsc::Receiver<String>,
    said: String,
    reader: JoinHandle<()>,
}

/// The program with these words.
pub(crate) fn procession(words: &[&str]) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_procession"));
    let mut command = Command::new(program);
    // What it says to type is its name if a shell finds it.
    let mut places = vec![program.parent().expect("it is in a folder").to_owned()];
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    command.env("PATH", std::env::join_paths(places).expect("no folder has a colon in its name"));
    command.args(words).env("NO_COLOR", "1").env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(words: &[&str]) -> Finished {
    start(procession(words)).finish()
}

/// Starts a command whose stdout and stderr are read.
pub(crate) fn start(mut command: Command) -> Running {
    command.stdout(Stdio::piped());
    start_as_is(command)
}

/// As [`start`], with the stdout the command already has.
pub(crate) fn start_as_is(mut command: Command) -> Running {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
    let stdout = child.stdout.take().map(BufReader::new);
    let errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let (send, stderr) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in errors.lines() {
            let Ok(line) = line else { return };
            if send.send(line).is_err() {
                return;
            }
        }
    });
    Running { child, stdout, stderr, said: String::new(), reader }
}

impl Running {
    /// The next line on stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("stdout is read");
        stdout.read_line(&mut line).expect("stdout can be read");
        line.trim_end().to_owned()
    }

    /// Reads no more of stdout.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Its input, which ends when that is dropped.
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("stdin is piped")
    }

    /// Its input ends here.
    pub(crate) fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits"));
        kill(pid, signal).expect("the program is there");
    }

    /// Waits until stderr says `words`.
    pub(crate) fn wait_for(&mut self, words: &str) {
        while !self.said.contains(words) {
            let line = self.stderr.recv_timeout(LIMIT);
            let line = line.unwrap_or_else(|_| panic!("stderr never said {words:?}, only:\n{}", self.said));
            self.said.push_str(&line);
            self.said.push('\n');
        }
    }

    /// What stderr has said so far.
    pub(crate) fn said(&mut self) -> String {
        self.said.extend(self.stderr.try_iter().map(|line| line + "\n"));
        self.said.clone()
    }

    /// Waits for the end and takes the rest of what it wrote.
    pub(crate) fn finish(mut self) -> Finished {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits"));
        let mut stdout = self.stdout.take();
        let (send, done) = mpsc::channel();
        let mut child = self.child;
        let waiter = thread::spawn(move || {
            let mut text = String::new();
            if let Some(stdout) = &mut stdout {
                stdout.read_to_string(&mut text).expect("stdout is text");
            }
            let status = child.wait().expect("the program can be waited for");
            let _ = send.send((status, text));
        });
        let Ok((status, stdout)) = done.recv_timeout(LIMIT) else {
            let _ = kill(pid, Signal::SIGKILL);
            panic!("the program did not end; it said:\n{}", self.said);
        };
        waiter.join().expect("the waiter ends");
        self.reader.join().expect("the reader ends");
        self.said.extend(self.stderr.try_iter().map(|line| line + "\n"));
        let stderr = self.said;
        assert!(!stderr.contains("panicked at"), "the program itself panicked:\n{stderr}");
        Finished { status, stdout, stderr }
    }
}

/// A file of the repository's `examples`.
pub(crate) fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    path.to_str().expect("the repository's path is text").to_owned()
}

/// A path in a folder, as text.
pub(crate) fn within(folder: &tempfile::TempDir, name: &str) -> String {
    let path: PathBuf = folder.path().join(name);
    path.to_str().expect("the temporary folder's path is text").to_owned()
}
