//! The thread that finds that an episode does not end: it shows what is still under way, and ends the program. It knows
//! nothing of why.

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use procession::Pool;

use crate::board::Board;

/// No episode takes as long, on the busiest machine.
const LIMIT: Duration = Duration::from_secs(90);

/// Waits until `end` is closed. If that takes too long, prints everything and ends the program.
pub(crate) fn watch(end: &Receiver<()>, pool: &Pool, board: &Arc<Board>, title: &str) {
    if let Err(RecvTimeoutError::Timeout) = end.recv_timeout(LIMIT) {
        println!("{title} does not end: after {LIMIT:?}\n{board}{}", report(pool));
        println!("chaos: {title}: hung: FAILED");
        std::process::exit(1);
    }
}

fn report(pool: &Pool) -> String {
    let mut text = String::new();
    let mut say = |line: String| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "  {line}");
    };
    // Told first: all else asks the pool for its lock.
    say("threads of the master:".to_owned());
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        say(format!("  {} waits in {}", read("comm").trim(), read("wchan")));
    }
    say(stacks().unwrap_or_else(|error| format!("no stacks without gdb: {error}")));
    println!("{text}");
    let mut text = String::new();
    for worker in pool.stats().workers {
        let stat = worker.pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        let _ = writeln!(text, "  {worker:?}: {}", stat.unwrap_or_default());
    }
    text
}

/// Where all threads of the master are.
fn stacks() -> std::io::Result<String> {
    let pid = std::process::id().to_string();
    let output = Command::new("gdb")
        .args(["-p", &pid, "-batch", "-nx", "-ex", "set pagination off", "-ex", "thread apply all bt 24"])
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
