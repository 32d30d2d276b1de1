//! The `procession` program: the command line with the built-in tasks.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use procession_tasks as _;

fn main() -> ExitCode {
    procession_cli::main()
}
