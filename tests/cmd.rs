//! The command line, as transcripts: every file in `tests/cmd` is what a person would type and see.
//!
//! `TRYCMD=overwrite cargo test -p procession-cli --test cmd` writes what is seen now; read the difference before committing it.

use std::path::Path;

/// Only so that a run that hangs ends: no transcript takes seconds.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cmd");
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .timeout(LIMIT)
        .case(format!("{folder}/*.trycmd"))
        .case(format!("{folder}/*.toml"));
}

/// The README's transcripts, in a folder that holds what they read and takes what they write.
#[test]
fn readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().expect("a temporary folder");
    // As `<name>.in` is for every transcript: where its commands run.
    let inside = folder.path().join("README.in");
    std::fs::create_dir_all(inside.join("examples")).expect("a folder in it");
    for file in ["examples/pi.toml", "examples/faults.toml"] {
        std::fs::copy(root.join(file), inside.join(file)).expect("the file is there");
    }
    std::fs::copy(root.join("README.md"), folder.path().join("README.md")).expect("the file is there");
    trycmd::TestCases::new().env("NO_COLOR", "1").timeout(LIMIT).case(folder.path().join("README.md"));
}
