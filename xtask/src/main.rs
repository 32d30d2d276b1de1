//! The project's own chores: `cargo xtask help` lists them.

#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
usage: cargo xtask <command>

  ci                  everything the continuous integration runs (the same as .ci/run)
  arrow               what the feature `arrow` of the command line needs, which takes minutes to build: clippy and its tests
  cluster             what the feature `cluster` of the command line needs: clippy, and its tests against a real nats-server
  slurm-test          jobs handed to a real Slurm of two nodes on this machine, and nodes that die: a table of docs/slurm.md
  chaos [options]     faults at random into pools under load, nothing may be lost; `chaos --help` lists the options
  bench [options]     every benchmark, beside its limits and its peers; `bench --help` lists the options
  bench faults        what the pool and its peers do when an item goes wrong: a table of docs/reliability.md
  faults [options]    every fault of the tests, and what it cost: a table of docs/reliability.md; `faults --help`
  cluster-faults [options]
                      every fault of clusters against a real nats-server: the table of docs/cluster-faults.md; `cluster-faults --help`
  cluster-overhead [passes]
                      what three agents on this machine cost beside its pool: a table of docs/cluster.md
  scaling-study       how far one master reaches: the tables and the figure of docs/scaling.md
  cluster-scaling-study [model]
                      how far one master of a cluster reaches, against a real nats-server: the tables and figures of
                      docs/cluster-scaling.md; `model`: only what is modelled, from what was measured for that page
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ci"] => run(Command::new("bash").arg(".ci/run")),
        ["arrow"] => run(Command::new("bash").args([
            "-c",
            "cargo clippy -p procession-cli --features arrow --lib --tests -- -D warnings \
             && cargo test -p procession-cli --features arrow --lib -- output \
             && cargo test -p procession-cli --features arrow --test cli -- table",
        ])),
        ["cluster"] => run(Command::new("bash").args([
            "-c",
            ".ci/nats-server \
             && cargo clippy -p procession-cluster -p procession-cli --features procession-cli/cluster --lib --tests -- -D warnings \
             && cargo test -p procession-cluster \
             && cargo build --release -p procession-cli --features cluster \
             && PROCESSION_TEST_BUILDS=1 cargo test -p procession-cli --features cluster --test cli -- clusters",
        ])),
        ["slurm-test"] => run(Command::new("bash").args([
            "-c",
            ".ci/nats-server && cargo build --release -p procession-cli --features cluster && xtask/slurm-test.sh",
        ])),
        ["chaos", options @ ..] => {
            run(cargo(&["run", "--release", "--package", "procession-chaos", "--"]).args(options))
        }
        ["bench", options @ ..] => {
            run(cargo(&["run", "--release", "--package", "procession-bench", "--"]).args(options))
        }
        ["faults", options @ ..] => {
            // Its own speed does not matter, and the tests are built for this profile.
            run(cargo(&["run", "--package", "procession-bench", "--", "survived"]).args(options))
        }
        ["cluster-overhead", options @ ..] => run(Command::new("bash")
            .args([
                "-c",
                ".ci/nats-server && cargo build --release -p procession-cli --features cluster && xtask/cluster-overhead.sh \"$@\"",
                "bash",
            ])
            .args(options)),
        ["cluster-faults", options @ ..] => run(Command::new("bash")
            .args(["-c", r#".ci/nats-server && cargo run --package procession-bench -- cluster-survived "$@""#, "bash"])
            .args(options)),
        ["scaling-study"] => run(&mut study("scaling-study")),
        ["cluster-scaling-study", options @ ..] => {
            run(study("cluster-scaling-study").arg("--").args(options))
        }
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        [command, ..] => {
            eprintln!("error: unknown command `{command}`\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// A program of the model of scaling.
fn study(name: &str) -> Command {
    cargo(&["run", "--release", "--package", "procession-model", "--example", name])
}

fn run(command: &mut Command) -> ExitCode {
    // Of this package. Where they are others than before, build scripts of some crates run again, and all that depends on them is
    // compiled anew.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_MANIFEST_", "CARGO_PKG_"]
            .iter()
            .any(|beginning| name.to_string_lossy().starts_with(beginning))
        {
            command.env_remove(name);
        }
    }
    // In our place, so that its status is ours, and Ctrl-C its own business.
    let error = command.current_dir(root()).exec();
    eprintln!("error: cannot run {command:?}: {error}");
    ExitCode::FAILURE
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}
