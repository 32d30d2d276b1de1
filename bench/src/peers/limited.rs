//! Runs a command with a time limit and takes what it prints. It knows nothing of what runs.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How often the end of the command is looked for: seldom, so that looking does not disturb what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the command prints on its standard output. It runs in a process group of its own, which is killed when the
/// command has ended, or has run for longer than `limit`.
pub(crate) fn run_limited(command: &mut Command, limit: Duration) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    let group = Pid::from_raw(child.id().cast_signed());
    let stdout = child.stdout.take().map(|stream| thread::spawn(|| read_all(stream)));
    let stderr = child.stderr.take().map(|stream| thread::spawn(|| read_all(stream)));
    let deadline = Instant::now() + limit;
    let ended: Option<ExitStatus> = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
            Ok(None) => break None,
            Err(error) => return Err(format!("cannot wait for `{program}`: {error}")),
        }
    };
    // Whatever is left of the group would keep the streams open. Mostly nothing is, which is an error to ignore.
    let _ = killpg(group, Signal::SIGKILL);
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let (output, complaints) = (text(stdout), text(stderr));
    let Some(status) = ended else {
        // It was just killed; without this it would stay a zombie.
        let _ = child.wait();
        return Err(format!("`{program}` was stopped after {limit:?}"));
    };
    if !status.success() {
        return Err(format!("{status}: {}", complaint(&complaints)));
    }
    Ok(output)
}

/// The line that says what is wrong: the last one, as Python has it, or what comes after Rust names the place of a panic.
fn complaint(text: &str) -> &str {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let after_panic = lines().skip_while(|line| !line.contains("panicked at ")).nth(1);
    after_panic.or_else(|| lines().next_back()).unwrap_or("it says nothing")
}

fn read_all(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // What was read until an error is worth having.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<String, String> {
        run_limited(Command::new("sh").args(["-c", script]), limit)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_or_the_last_complaint() {
        assert_eq!(sh("echo one; echo two; echo three >&2", LONG), Ok("one\ntwo\n".to_owned()));
        assert_eq!(
            sh("echo one; echo 'it broke' >&2; exit 3", LONG),
            Err("exit status: 3: it broke".to_owned())
        );
        let panic = "thread 'main' panicked at a.rs:1:2:\nno such case\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(complaint(panic), "no such case");
        assert_eq!(complaint("\n"), "it says nothing");
        let missing = run_limited(&mut Command::new("/nowhere/program"), LONG).expect_err("it is not there");
        assert!(missing.starts_with("cannot run `/nowhere/program`: "), "{missing}");
    }

    #[test]
    fn what_hangs_is_stopped_with_all_it_started() {
        let error = sh("sleep 600 & sleep 600", Duration::from_millis(50)).expect_err("it hangs");
        assert_eq!(error, "`sh` was stopped after 50ms");
        assert_eq!(sh("sleep 600 & echo done", LONG), Ok("done\n".to_owned()));
    }
}
