//! What can be typed.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Parser;

/// Inject faults at random into pools under load, and check after each episode that nothing was lost.
///
/// Exit status: 0 every invariant held, 1 one did not, 2 bad usage.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", bin_name = "cargo xtask chaos", verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Begin no new episode after this time
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
    /// What all decisions follow from [default: drawn, and printed]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// The most workers a pool may have
    #[arg(long, default_value = "13", value_name = "N")]
    pub(crate) workers: NonZeroUsize,
    /// Only this episode of the seed, and what it is made of
    #[arg(long, value_name = "K", conflicts_with = "soak")]
    pub(crate) episode: Option<u64>,
    /// For hours: until interrupted, or until 10^8 items and 10^6 replaced workers; a line a minute
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) soak: bool,
    /// An episode that takes longer hangs
    #[arg(long, default_value_t = 90, value_name = "SECONDS", hide = true)]
    episode_limit: u64,
    /// Put an item that never ends into each episode, so that it hangs
    #[arg(long, hide = true)]
    pub(crate) hang: bool,
}

impl Arguments {
    /// No episode takes as long, on the busiest machine.
    pub(crate) fn episode_limit(&self) -> Duration {
        Duration::from_secs(self.episode_limit)
    }

    /// How long to begin new episodes; `None`: until there is enough of everything.
    pub(crate) fn time(&self) -> Option<Duration> {
        (!self.soak).then(|| Duration::from_secs(self.seconds))
    }
}
