//! The watchdog: an episode that does not end is found within its limit, shown, and ended with all its processes.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use procession_harness::{RUN_VARIABLE, processes_with};

/// What an episode may take here, in seconds, and by when the program must be gone: its report has 20 s of its own.
const EPISODE_LIMIT: &str = "3";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn an_episode_that_hangs_fails_with_its_seed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_procession-chaos"))
        .args(["--seconds", "600", "--seed", "7", "--hang", "--episode-limit", EPISODE_LIMIT])
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built for this test");
    let run = format!("chaos-{}", child.id());
    let output = child.wait_with_output().expect("it is our child");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}\n{complaints}");
    assert!(start.elapsed() < LIMIT, "it took {:?}\n{said}", start.elapsed());
    assert!(said.starts_with("chaos: seed 7\nepisode 0 of seed 7 does not end: after 3s\n"), "{said}");
    assert!(said.ends_with("chaos: episode 0 of seed 7: hung: FAILED\n"), "{said}");
    // What hangs is shown: the call, the threads, the workers.
    assert!(said.contains(" 1 items taken, 0 outcomes: Call { id: 65533,"), "{said}");
    assert!(said.contains("threads of the master:") && said.contains("WorkerStats {"), "{said}");
    // It would name what it had left behind.
    assert_eq!(complaints, "error: it ended with exit status: 1\n");
    assert_eq!(processes_with(RUN_VARIABLE, &run), [0; 0]);
    let left: Vec<_> = fs::read_dir(directory.path()).expect("it is ours").collect();
    assert!(left.is_empty(), "{left:?}");
}
