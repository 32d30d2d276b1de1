//! The process that starts the one with the pools and looks, once it has ended, at what it left behind.

use std::collections::VecDeque;
use std::error::Error;
use std::io::Read;
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use procession_harness::{RUN_VARIABLE, Signal, check_orphans, send_signal};

/// How much of what the other process and its workers say on stderr is kept.
const TAIL_BYTES: usize = 16 << 10;

/// How long an interruption may take to be passed on.
const TURN: Duration = Duration::from_millis(20);

/// glibc's own, in bytes; named, it stays as it is.
const ALLOCATOR_THRESHOLD: &str = "131072";

/// Runs this program anew, marked, in a directory of its own, and checks what is left of it.
pub(crate) fn run() -> Result<ExitCode, Box<dyn Error>> {
    let is_interrupted = crate::interruption()?;
    let run = format!("chaos-{}", std::process::id());
    let directory = tempfile::Builder::new().prefix("pc").tempdir()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(RUN_VARIABLE, &run)
        .env("TMPDIR", directory.path())
        // glibc would keep what large payloads have used once, as much as the largest ever was (mallopt(3), dynamic
        // thresholds). What is resident is then what the pool holds.
        .env("MALLOC_MMAP_THRESHOLD_", ALLOCATOR_THRESHOLD)
        .env("MALLOC_TRIM_THRESHOLD_", ALLOCATOR_THRESHOLD)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take().expect("it is piped");
    let tail = thread::spawn(move || tail(stderr));
    let status = wait(&mut child, || is_interrupted.swap(false, Ordering::Relaxed))?;
    let orphans = check_orphans(&run);
    if !status.success() {
        // Whatever holds the pipe is among the orphans, and would keep us here.
        if orphans.is_ok() {
            eprint!("{}", tail.join().unwrap_or_default());
        }
        eprintln!("error: it ended with {status}");
    }
    if let Err(orphans) = &orphans {
        eprintln!("error: it left {orphans} behind");
    }
    Ok(if status.success() && orphans.is_ok() {
        ExitCode::SUCCESS
    } else {
        // Wrong arguments have a status of their own.
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .filter(|&code| code > 0)
            .map_or(ExitCode::FAILURE, ExitCode::from)
    })
}

fn wait(child: &mut Child, is_interrupted: impl Fn() -> bool) -> std::io::Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if is_interrupted() {
            send_signal(child.id(), Signal::SIGINT);
        }
        thread::sleep(TURN);
    }
}

/// The last of what is said.
fn tail(mut from: ChildStderr) -> String {
    let mut kept = VecDeque::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        kept.extend(&piece[..length]);
        kept.drain(..kept.len().saturating_sub(TAIL_BYTES));
    }
    String::from_utf8_lossy(kept.make_contiguous()).into_owned()
}
