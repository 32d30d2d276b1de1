//! What processes cost without a pool: forked, executed, and started by `xargs`.

use std::error::Error;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::fork;
use crate::peers::commands::Tool;

/// The command that starts others, a given number at a time; it neither captures nor orders what they print.
pub(crate) const XARGS: Tool = Tool { program: "xargs", marks: "", package: "findutils" };

/// Nanoseconds until a forked process has ended and is reaped.
pub(crate) fn fork_and_wait(times: u32) -> Result<f64, Box<dyn Error>> {
    fork::fork_and_reap()?;
    let start = Instant::now();
    for _ in 0..times {
        fork::fork_and_reap()?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(times))
}

/// Nanoseconds until this program, executed anew, has ended and is reaped.
pub(crate) fn execute_and_wait(times: u32) -> Result<f64, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let start = Instant::now();
    for _ in 0..times {
        let status = Command::new(&program).arg("nothing").status()?;
        if !status.success() {
            return Err(format!("{} nothing: {status}", program.display()).into());
        }
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(times))
}

/// Nanoseconds a command that does nothing.
pub(crate) fn xargs(jobs: u64, at_a_time: usize) -> Result<f64, Box<dyn Error>> {
    let mut command = Command::new(XARGS.program);
    command.args(["-P", &at_a_time.to_string(), "-n", "1", "true"]);
    run_over_numbers(&mut command, jobs)
}

/// Nanoseconds a job of a command that reads the numbers of its jobs, a line each.
pub(crate) fn run_over_numbers(command: &mut Command, jobs: u64) -> Result<f64, Box<dyn Error>> {
    let lines: String = (0..jobs).map(|job| format!("{job}\n")).collect();
    let start = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    child.stdin.take().ok_or("its standard input is not a pipe")?.write_all(lines.as_bytes())?;
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(start.elapsed().as_nanos() as f64 / jobs as f64)
}
