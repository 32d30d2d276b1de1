//! The command that takes part in jobs of other machines.

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
