//! The README is what a person would type and see, so it is run.

/// Only so that a program that hangs ends: it takes a moment.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn readme_tells_what_happens() {
    trycmd::TestCases::new().env("NO_COLOR", "1").timeout(LIMIT).case("README.md");
}
