//! The command line, as transcripts: every file in `tests/cmd` is what a person would type and see.
//!
//! `TRYCMD=overwrite cargo test -p procession-cli --test cmd` writes what is seen now; read the difference before committing it.

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
