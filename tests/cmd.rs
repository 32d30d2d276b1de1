//! The command line, as transcripts: every file in `tests/cmd` is what a person would type and see.
//!
//! `TRYCMD=overwrite cargo test -p procession-cli --test cmd` writes what is seen now; read the difference before committing it.

use std::path::Path;

/// Only so that a run that hangs ends: no transcript takes seconds.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

fn transcripts_in(files: impl AsRef<Path>) -> trycmd::TestCases {
    let cases = trycmd::TestCases::new();
    // The harness asks for backtraces of its own, not of the program under test.
    cases.env("NO_COLOR", "1").env("RUST_BACKTRACE", "0").timeout(LIMIT).case(files);
    cases
}

/// In a process of its own: to wait for a child with a limit, `trycmd` keeps descriptors as long as it lives.
fn play(name: &str) {
    let end = procession_harness::start_part(name, &[]).wait_with_output().expect("it is our child");
    print!("{}", String::from_utf8_lossy(&end.stdout));
    assert!(end.status.success(), "what is seen is not what is written");
}

procession_harness::cases! {
    fn transcripts() {
        play("play_transcripts");
    }

    fn readme() {
        play("play_readme");
    }
}

procession_harness::parts! {
    fn play_transcripts() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cmd");
        transcripts_in(format!("{folder}/*.trycmd")).case(format!("{folder}/*.toml")).run();
    }

    /// The README's transcripts, in a folder that holds what they read and takes what they write.
    fn play_readme() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = tempfile::tempdir().expect("a temporary folder");
        // As `<name>.in` is for every transcript: where its commands run.
        let inside = folder.path().join("README.in");
        std::fs::create_dir_all(inside.join("examples")).expect("a folder in it");
        for file in ["examples/pi.toml", "examples/faults.toml"] {
            std::fs::copy(root.join(file), inside.join(file)).expect("the file is there");
        }
        std::fs::copy(root.join("README.md"), folder.path().join("README.md")).expect("the file is there");
        transcripts_in(folder.path().join("README.md")).run();
    }
}

procession_harness::main!();
