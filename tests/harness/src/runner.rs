//! The two sides of a test run: the runner that starts a process a test, and that process.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::invariants::{self, Descriptors, RUN_VARIABLE, SharedMemory};
use crate::{CASES, Case, report};

/// Names the test that a process is to run.
const CASE_VARIABLE: &str = "PROCESSION_TEST_CASE";

/// A test that takes longer, for each repetition that is asked for, hangs. Generous: the machine may be busy with others.
const CASE_LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn run() -> ExitCode {
    match std::env::var(CASE_VARIABLE) {
        Ok(name) => run_here(&name),
        Err(_) => run_all(),
    }
}

fn run_all() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test has workers of its own: more tests at a time only make them wait for each other.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let trials = CASES.iter().map(|case| Trial::test(case.name, || run_in_process(case))).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The test's own process.
fn run_here(name: &str) -> ExitCode {
    let Some(case) = CASES.iter().find(|case| case.name == name) else {
        eprintln!("no test is called {name}");
        return ExitCode::FAILURE;
    };
    let before = Descriptors::open_now();
    (case.run)();
    match invariants::check_process(&before) {
        Ok(()) => ExitCode::SUCCESS,
        Err(violation) => {
            eprintln!("left behind: {violation}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the test's process, waits for it, and checks what it left in the system.
fn run_in_process(case: &'static Case) -> Result<(), Failed> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let id = format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    let directory = tempfile::Builder::new().prefix("pt").tempdir().map_err(|error| error.to_string())?;
    let shared_memory = SharedMemory::named_now();
    let child = Command::new(std::env::current_exe().map_err(|error| error.to_string())?)
        .env(CASE_VARIABLE, case.name)
        .env(RUN_VARIABLE, &id)
        .env("TMPDIR", directory.path())
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("the test's process does not start: {error}"))?;
    let (status, output, orphans) = wait(child, &id)?;
    if !status.success() {
        return Err(format!("{status}\n{output}").into());
    }
    for line in output.lines().filter(|line| line.starts_with(crate::SKIPPED)) {
        eprintln!("test {} {line}", case.name);
    }
    orphans.map_err(|violation| format!("left behind: {violation}\n{output}"))?;
    shared_memory.check().map_err(|violation| format!("left behind: {violation}\n{output}"))?;
    let left: Vec<_> = fs::read_dir(directory.path())
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: files {left:?}\n{output}").into()) }
}

/// How the test's process ended, what it printed, and whether anything outlived it.
type End = (ExitStatus, String, Result<(), String>);

/// Waits with a limit; what the process prints is drained meanwhile.
fn wait(mut child: Child, id: &str) -> Result<End, Failed> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut stdout = child.stdout.take().expect("the output is piped");
    let mut stderr = child.stderr.take().expect("the output is piped");
    std::thread::scope(|scope| {
        let drain_out = scope.spawn(move || read_all(&mut stdout));
        let drain_err = scope.spawn(move || read_all(&mut stderr));
        let limit = CASE_LIMIT * report::repetitions();
        let deadline = Instant::now() + limit;
        let hung = loop {
            match child.try_wait() {
                Ok(Some(_)) => break false,
                Ok(None) if Instant::now() > deadline => break true,
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(format!("the test's process cannot be waited for: {error}").into()),
            }
        };
        let orphans = if hung { Ok(()) } else { invariants::check_orphans(id) };
        // Whatever still holds the pipes would keep us here.
        let _ = killpg(pid, Signal::SIGKILL);
        invariants::kill_rest(id);
        let status = child.wait().map_err(|error| error.to_string())?;
        let output = drain_out.join().unwrap_or_default() + &drain_err.join().unwrap_or_default();
        if hung { Err(format!("hung for {limit:?}\n{output}").into()) } else { Ok((status, output, orphans)) }
    })
}

fn read_all(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    // What was read until an error is worth showing.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
