//! The commands that hand jobs to Slurm.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueHint};

use super::value;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procession slurm submit job.toml --nodes 8 --time 2h --run-dir monday
  procession slurm submit job.toml --shards 16 --time 2h --run-dir monday --dry-run")]
pub(crate) struct Slurm {
    #[command(subcommand)]
    pub(crate) command: SlurmCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SlurmCommand {
    /// Write a batch script for a job and submit it
    Submit(Submit),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("spread").required(true).args(["nodes", "shards"]))]
#[command(after_help = "\
With --nodes the job and a broker are on the first node and an agent is on each (needs a program with the feature `cluster`, and \
nats-server). With --shards each element of a job array runs a shard, and a job behind it merges them; that needs nothing else. \
The scripts lie in the run directory, which every node must see, as it must the program and the input. Submit the same again to go \
on after the time limit.

Examples:
  procession slurm submit job.toml --nodes 8 --time 2h --run-dir monday
  procession slurm submit job.toml --shards 16 --cpus 32 --memory 64GiB --time 12h --run-dir monday
  procession slurm submit job.toml --nodes 2 --run-dir test --sbatch=--partition=short --dry-run
  procession slurm submit job.toml --nodes 8 --run-dir monday -- --timeout 5m --retries 2")]
pub(crate) struct Submit {
    /// The job spec
    #[arg(value_name = "JOB.toml", value_hint = ValueHint::FilePath)]
    pub(crate) spec: PathBuf,
    /// One job over this many nodes
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub(crate) nodes: Option<usize>,
    /// A job array of this many parts, each on a node of its own
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub(crate) shards: Option<usize>,
    /// Keep every outcome, the scripts and what they say in this directory, which every node must see
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) run_dir: PathBuf,
    /// Cores of each node [default: all, with nobody else on it]
    #[arg(long, value_name = "N", value_parser = value::workers)]
    pub(crate) cpus: Option<usize>,
    /// Memory of each node: 64GiB [default: all of a node without others, else Slurm's]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(crate) memory: Option<u64>,
    /// How long it may take: 30m, 12h [default: Slurm's]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub(crate) time: Option<Duration>,
    /// Begin nothing new so long before the time is up
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "5m")]
    pub(crate) drain: Duration,
    /// An option for sbatch, such as --sbatch=--partition=short (may be given more than once)
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub(crate) sbatch: Vec<String>,
    /// The program of the broker
    #[arg(long, value_name = "PROGRAM", default_value = "nats-server", value_hint = ValueHint::CommandName)]
    pub(crate) broker: String,
    /// Print the scripts; write and submit nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Flags for `run`, behind --
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<String>,
}
