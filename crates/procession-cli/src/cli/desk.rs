//! What can be typed to begin with: a crate of one's own.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
#[command(after_help = "\
The crate is called as its directory is, and builds and runs as it is: two tasks, a test of them, a job spec and its input. \
Its program has all the commands of this one.

Examples:
  procession new falling-stones
  cd falling-stones && cargo test && cargo run --release -- run job.toml")]
pub(crate) struct New {
    /// A directory that is not there yet, or empty
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}
