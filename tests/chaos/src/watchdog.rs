//! The thread that finds that an episode does not end: it shows what is still under way, and ends the program. It knows
//! nothing of why.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use procession::Pool;

use crate::board::Board;

/// What is shown is worth waiting for so long. The pool may be what hangs.
const REPORT_LIMIT: Duration = Duration::from_secs(20);

/// To look at all threads takes a debugger at most so long.
const STACKS_LIMIT: Duration = Duration::from_secs(15);

/// The pool that is watched, until its last handle is to be dropped.
pub(crate) type Watched = Arc<Mutex<Option<Pool>>>;

/// Waits until `end` is closed. If that takes longer than `limit`, prints everything and ends the program.
pub(crate) fn watch(end: &Receiver<()>, limit: Duration, pool: &Watched, board: &Arc<Board>, title: &str) {
    if let Err(RecvTimeoutError::Timeout) = end.recv_timeout(limit) {
        println!("{title} does not end: after {limit:?}");
        let (over, is_over) = mpsc::channel::<()>();
        let (pool, board) = (Arc::clone(pool), Arc::clone(board));
        thread::spawn(move || {
            print!("{board}");
            report_threads();
            report_workers(&pool);
            drop(over);
        });
        if let Err(RecvTimeoutError::Timeout) = is_over.recv_timeout(REPORT_LIMIT) {
            println!("  nor does this report");
        }
        println!("chaos: {title}: hung: FAILED");
        std::process::exit(1);
    }
}

fn report_threads() {
    println!("  threads of the master:");
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        println!("    {} waits in {}", read("comm").trim(), read("wchan"));
    }
    print_stacks();
}

/// The last of all: it asks the pool for its lock.
fn report_workers(pool: &Watched) {
    let pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
    for worker in pool.iter().flat_map(|pool| pool.stats().workers) {
        let stat = worker.pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        println!("  {worker:?}: {}", stat.unwrap_or_default().trim());
    }
}

/// Where all threads of the master are. The debugger stops this program while it looks, so it must not be read by it, and
/// is ended by another if it does not end.
fn print_stacks() {
    let pid = std::process::id().to_string();
    let limit = STACKS_LIMIT.as_secs().to_string();
    let debugger = ["timeout", "--signal=KILL", &limit, "gdb", "-p", &pid, "-batch", "-nx"];
    // What was said so far comes first.
    let _ = std::io::stdout().flush();
    let status = Command::new(debugger[0])
        .args(&debugger[1..])
        .args(["-ex", "set pagination off", "-ex", "thread apply all bt 24"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        println!("  no stacks without gdb");
    }
}
