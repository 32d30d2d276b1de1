//! A crate that `procession new` has made builds, passes its test and runs its job, by the commands that its README names.
//!
//! It needs Cargo and what it has downloaded for this workspace, whose compiled dependencies it shares. The first time
//! takes minutes, later ones seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the crate lies in the workspace")
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs Cargo in `folder` and gives what it wrote to stdout.
fn cargo_in(folder: &Path, words: &[&str]) -> String {
    let mut command = cargo();
    command.args(words).current_dir(folder).stdin(Stdio::null());
    // What makes compiled dependencies the workspace's own: the same folder, the same profile.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder");
    command.env("CARGO_TARGET_DIR", target).env("CARGO_INCREMENTAL", "0");
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1").env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    let end = command.output().expect("cargo starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&end.stdout), String::from_utf8_lossy(&end.stderr));
    assert!(end.status.success(), "cargo {}\n{stdout}{stderr}", words.join(" "));
    assert!(!stderr.contains("warning"), "cargo {}\n{stderr}", words.join(" "));
    stdout.into_owned()
}

#[test]
fn a_new_crate_builds_and_runs_as_it_is() {
    if !cargo().arg("--version").output().is_ok_and(|end| end.status.success()) {
        println!("SKIPPED: there is no cargo to build a crate with");
        return;
    }
    // The same folder each time, so that what was compiled of it is not left behind under ever new names.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("procession-new/falling-stones");
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("what the last run left is ours");
    }
    let end = Command::new(env!("CARGO_BIN_EXE_procession")).arg("new").arg(&folder).output();
    let end = end.expect("the program starts");
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    assert!(end.status.success() && end.stdout.is_empty(), "{said}");
    assert!(said.contains("cargo run --release -- run job.toml"), "{said}");
    // The versions that are here already.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("the folder can be written");

    let tested = cargo_in(&folder, &["test", "--offline", "--quiet"]);
    assert!(tested.contains("1 passed"), "{tested}");
    let values = cargo_in(&folder, &["run", "--offline", "--quiet", "--", "run", "job.toml", "--quiet"]);
    let values: Vec<serde_json::Value> =
        values.lines().map(|line| serde_json::from_str(line).expect("a value a line")).collect();
    assert_eq!(values.len(), 6, "{values:?}");
    assert_eq!(values[0]["Ok"]["body"], "Earth", "in the order of the file: {values:?}");
    assert!(folder.join("failed.jsonl").metadata().is_ok_and(|file| file.len() == 0), "nothing failed");
    let tasks = cargo_in(&folder, &["run", "--offline", "--quiet", "--", "tasks"]);
    assert!(tasks.contains("falling_stones::fall  [idempotent]\n"), "{tasks}");
    assert!(tasks.contains("falling_stones::note\n"), "{tasks}");

    let formatted = cargo().args(["fmt", "--check"]).current_dir(&folder).output().expect("cargo starts");
    let is_missing = String::from_utf8_lossy(&formatted.stderr).contains("not installed");
    assert!(formatted.status.success() || is_missing, "{}", String::from_utf8_lossy(&formatted.stdout));
}
