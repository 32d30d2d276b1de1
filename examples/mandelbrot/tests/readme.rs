//! The README is what a person would type and see, so it is run.

/// Only so that a program that hangs ends: it takes a moment.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn readme_tells_what_happens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Commands of `README.md` run in `README.in`.
    std::fs::create_dir(folder.path().join("README.in")).expect("a folder in it");
    let readme = folder.path().join("README.md");
    std::fs::copy("README.md", &readme).expect("the file is there");
    trycmd::TestCases::new().env("NO_COLOR", "1").timeout(LIMIT).case(readme);
}
