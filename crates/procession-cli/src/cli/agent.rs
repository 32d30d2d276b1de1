//! The commands that speak to a broker: one takes part in its jobs, one looks at them.

use clap::Args;

use super::value;

#[derive(Debug, Args)]
#[command(after_help = "\
It joins one job after the other, whichever there are at the broker, and leaves at SIGTERM or Ctrl-C: once what runs is \
finished; at the second one at once. The same program must run here as where the job is.

Credentials come from the environment: PROCESSION_NATS_TOKEN or PROCESSION_NATS_TOKEN_FILE, PROCESSION_NATS_NKEY_FILE, \
PROCESSION_NATS_CREDENTIALS_FILE; PROCESSION_NATS_CA_FILE names authorities for tls://.

Needs a program with the feature `cluster`.

Examples:
  procession agent --engine nats://broker:4222
  procession agent --engine tls://broker:4222 --workers 8")]
pub(crate) struct Agent {
    /// The broker: nats://HOST:PORT, or tls://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(crate) engine: String,
    /// Worker processes [default: the usable cores]
    #[arg(long, short = 'j', value_name = "N", value_parser = value::workers)]
    pub(crate) workers: Option<usize>,
    /// Say nothing of jobs
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A job that is killed, or stopped with a run directory, stays at its broker until `run --resume` goes on with it: nobody else knows \
that it never will. Its name is in the file `cluster-job` of the run directory. What is forgotten is what was not yet on record \
there: a job that goes on all the same runs those items again, but for the ones that start once at most.

Credentials come from the environment, in the variables that `agent` lists; they must be a job's, where agents have others. Needs a program with the feature `cluster`.

Examples:
  procession jobs --engine nats://broker:4222
  procession jobs --engine nats://broker:4222 --forget 4ecdba5de6e40ad1")]
pub(crate) struct Jobs {
    /// The broker: nats://HOST:PORT, or tls://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(crate) engine: String,
    /// Delete what the broker has of these jobs: refused of one whose master is there
    #[arg(long, value_name = "JOB", num_args = 1..)]
    pub(crate) forget: Vec<String>,
    /// As JSON Lines
    #[arg(long, conflicts_with = "forget")]
    pub(crate) json: bool,
}
