//! How a command is to be run, and what became of it.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use procession::current;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::capture::{Kept, Streams};
use super::family::Family;
use super::patience::Patience;
use super::{CAPTURED_BYTES_MAX, Captured, Ended, Finished};

/// What is still in the pipes of a command that was killed is there at once, unless a stranger holds them open.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// One command: its words, and all that it is given.
///
/// In JSON, whatever is left out is as in [`Order::new`].
///
/// ```
/// use procession_tasks::exec::{Ended, Order, command};
///
/// let words = ["sh", "-c", "cat; echo $COLOUR"].map(str::to_owned).to_vec();
/// let order = Order {
///     env: vec![("COLOUR".to_owned(), "blue".to_owned())],
///     stdin: Some("in, ".to_owned()),
///     ..Order::new(words)
/// };
/// let report = command(order).unwrap();
/// assert_eq!(report.finished.ended, Ended::Code(0));
/// assert_eq!(report.finished.stdout.as_bytes(), b"in, blue\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// The program, looked up in `PATH` unless it has a slash, and its arguments.
    pub argv: Vec<String>,
    /// Where it runs; `None` is where the worker does.
    pub cwd: Option<String>,
    /// Added to its environment. `PROCESSION_WORKER` and `PROCESSION_ATTEMPT` are there already: the seat of its worker, from 0,
    /// and which start of it this is, from 1.
    pub env: Vec<(String, String)>,
    /// What it reads; `None` is nothing.
    pub stdin: Option<String>,
    /// The file that takes its standard output, and is emptied first; `None`: it is captured.
    pub stdout_file: Option<String>,
    /// The same for its standard error.
    pub stderr_file: Option<String>,
    /// How long it may run. Then SIGTERM goes to it and to all that it has started, and SIGKILL after the grace.
    pub limit: Option<Duration>,
    /// How long they may take to end after the SIGTERM.
    pub grace: Duration,
    /// What it is called where its output goes; the task does nothing with it.
    pub tag: Option<String>,
}

impl Order {
    /// The command of these words, with nothing to read, no time limit, and the environment of its worker.
    pub fn new(argv: Vec<String>) -> Order {
        Order { argv, ..Order::default() }
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended and what it printed until then.
    pub finished: Finished,
    /// Its time was over before it ended.
    pub timed_out: bool,
    /// From its start to its end and that of its output.
    pub ran: Duration,
}

/// Runs the command to its end.
pub(super) fn run(order: &Order) -> Result<Report, String> {
    let family = order.limit.map(|_| Family::found()).transpose()?;
    let start = Instant::now();
    let mut child = spawn(order)?;
    let _until_it_ends = Deferral::of_termination();
    let program = &order.argv[0];
    let watched = watch(&mut child, order, family.as_ref()).map_err(|error| {
        // Nobody reads what it prints any more.
        let _ = child.kill();
        let _ = child.wait();
        format!("cannot read what `{program}` prints: {error}")
    });
    let (streams, timed_out) = watched?;
    let status = child.wait().map_err(|error| format!("cannot wait for `{program}`: {error}"))?;
    let [stdout, stderr] = streams.into_kept();
    let finished = finished(ended(status, program)?, stdout, stderr);
    Ok(Report { finished, timed_out, ran: start.elapsed() })
}

/// A SIGTERM to the worker's process group, which the command is in, is for the command to act upon, in the time that whoever
/// sent it gives. A worker that died of it at once would leave it no such time. What came meanwhile arrives when dropped.
struct Deferral(Option<SigSet>);

impl Deferral {
    /// The command has been started: it would inherit this.
    fn of_termination() -> Deferral {
        let mut termination = SigSet::empty();
        termination.add(Signal::SIGTERM);
        Deferral(termination.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok())
    }
}

impl Drop for Deferral {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = before.thread_set_mask();
        }
    }
}

/// Reads what it prints until it ends, or makes it end. True: it was made to.
fn watch(child: &mut Child, order: &Order, family: Option<&Family>) -> std::io::Result<(Streams, bool)> {
    let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut streams = Streams::new(pipes, CAPTURED_BYTES_MAX);
    let Some(family) = family else {
        streams.read(None, Patience::new(None))?;
        return Ok((streams, false));
    };
    let pid = child.id() as i32;
    let end = Pid::from_raw(pid).ok_or(std::io::ErrorKind::NotFound)?;
    let end = pidfd_open(end, PidfdFlags::empty())?;
    if streams.read(Some(&end), Patience::new(order.limit))? {
        return Ok((streams, false));
    }
    family.ask();
    let asked = Instant::now();
    streams.read(Some(&end), Patience::new(Some(order.grace)))?;
    family.await_end(pid, order.grace.saturating_sub(asked.elapsed()));
    family.kill(pid);
    streams.read(None, Patience::new(Some(LAST_WORDS_WITHIN)))?;
    Ok((streams, true))
}

fn spawn(order: &Order) -> Result<Child, String> {
    let (program, arguments) =
        order.argv.split_first().ok_or("the command has no words: name at least a program")?;
    let refuse = |error: std::io::Error| match &order.cwd {
        Some(cwd) => format!("cannot run `{program}` in `{cwd}`: {error}"),
        None => format!("cannot run `{program}`: {error}"),
    };
    // No hook runs in the child, so std starts it without copying this process.
    let mut command = Command::new(program);
    command.args(arguments);
    command.stdin(input(order.stdin.as_deref())?);
    command.stdout(output(order.stdout_file.as_deref())?);
    command.stderr(output(order.stderr_file.as_deref())?);
    if let Some(current) = current() {
        command.env("PROCESSION_WORKER", current.worker_id().to_string());
        command.env("PROCESSION_ATTEMPT", current.attempt().to_string());
    }
    command.envs(order.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = &order.cwd {
        command.current_dir(cwd);
    }
    command.spawn().map_err(refuse)
}

/// A file in memory rather than a pipe: nobody has to write to it while others are read.
fn input(text: Option<&str>) -> Result<Stdio, String> {
    let Some(text) = text else { return Ok(Stdio::null()) };
    let make = || -> std::io::Result<File> {
        let mut file = File::from(memfd_create(c"stdin", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(text.as_bytes())?;
        file.rewind()?;
        Ok(file)
    };
    make().map(Stdio::from).map_err(|error| format!("cannot keep what the command reads: {error}"))
}

fn output(path: Option<&str>) -> Result<Stdio, String> {
    let Some(path) = path else { return Ok(Stdio::piped()) };
    File::create(path).map(Stdio::from).map_err(|error| format!("cannot create `{path}`: {error}"))
}

fn ended(status: ExitStatus, program: &str) -> Result<Ended, String> {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(Ended::Code(code)),
        (None, Some(signal)) => Ok(Ended::Signal(signal)),
        (None, None) => Err(format!("`{program}` neither exited nor was killed: {status}")),
    }
}

fn finished(ended: Ended, stdout: Kept, stderr: Kept) -> Finished {
    let truncated = stdout.is_cut || stderr.is_cut;
    Finished { ended, stdout: Captured::from(stdout.bytes), stderr: Captured::from(stderr.bytes), truncated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Order {
        Order::new(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[test]
    fn a_command_gets_what_was_ordered() {
        let order = Order {
            cwd: Some("/".to_owned()),
            env: vec![("A".to_owned(), "1 2".to_owned())],
            stdin: Some("x\n".repeat(100_000)),
            ..sh("pwd; echo \"$A\"; wc -c")
        };
        let report = run(&order).expect("there is a shell");
        assert_eq!(report.finished.stdout.as_bytes(), b"/\n1 2\n200000\n");
        assert!(!report.timed_out);
    }

    #[test]
    fn output_goes_to_files() {
        let path = |name: &str| {
            let path = std::env::temp_dir().join(format!("procession-{}-{name}", std::process::id()));
            path.to_str().expect("it is text").to_owned()
        };
        let order = Order {
            stdout_file: Some(path("out")),
            stderr_file: Some(path("err")),
            ..sh("echo out; echo err >&2")
        };
        let report = run(&order).expect("there is a shell");
        assert!(report.finished.stdout.as_bytes().is_empty() && report.finished.stderr.as_bytes().is_empty());
        for (name, text) in [("out", "out\n"), ("err", "err\n")] {
            assert_eq!(std::fs::read_to_string(path(name)).expect("it was written"), text);
            std::fs::remove_file(path(name)).expect("it is ours");
        }
        let error =
            run(&Order { stdout_file: Some("/nowhere/x".to_owned()), ..sh("") }).expect_err("no folder");
        assert!(error.starts_with("cannot create `/nowhere/x`: "), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = run(&Order { cwd: Some("/nowhere".to_owned()), ..sh("") }).expect_err("no folder");
        assert!(error.starts_with("cannot run `sh` in `/nowhere`: "), "{error}");
    }
}
