//! procspawn, in a crate of its own: it needs another version of the transport than we do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::run_limited;

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/procspawn/Cargo.toml");
const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// As its manifest pins it.
pub(super) const VERSION: &str = "1.0.2";

/// Builds the program that measures it, and says where it is.
pub(super) fn build(directory: &Path) -> Result<PathBuf, String> {
    let target = directory.join("procspawn");
    let program = target.join("release/procession-bench-procspawn");
    eprintln!("building the bench of procspawn in {}", target.display());
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--locked", "--manifest-path", MANIFEST, "--target-dir"]);
    run_limited(cargo.arg(target), BUILD_LIMIT)
        .map_err(|error| format!("needs cargo and the crates of {MANIFEST}: {error}"))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_pinned_one() {
        let manifest = std::fs::read_to_string(MANIFEST).expect("the manifest is there");
        assert!(manifest.contains(&format!("procspawn = \"={VERSION}\"")));
    }
}
