//! How a worker's life begins: how far its start has come, and why it came no further.

use std::time::Duration;

use procession_core::Time;

use super::death::BootFailure;
use crate::error::{Error, ErrorKind};

/// How long something may take that a worker runs before its first item.
#[derive(Clone, Copy)]
pub(crate) struct SetupLimit {
    /// `preload` or `initializer`.
    pub(crate) what: &'static str,
    /// The path of its task.
    pub(crate) task: &'static str,
    pub(crate) limit: Duration,
}

/// What a worker runs before its first item.
pub(crate) struct SetupStep {
    /// Which one: they come in order, each once.
    pub(crate) number: u8,
    pub(crate) since: Time,
    pub(crate) limit: Option<SetupLimit>,
}

impl SetupStep {
    /// The words for a worker that died while it ran this.
    pub(crate) fn died_of(&self, death: &str) -> String {
        let what = if self.number == 0 { "the preload" } else { "the initializer" };
        format!("{what} ended its process: {death}")
    }

    /// Why no worker can be started, if this step had outlasted its own limit by the time when the worker was gone.
    pub(super) fn outlasted(&self, gone_at: Time) -> Option<BootFailure> {
        let SetupLimit { what, task, limit } =
            self.limit.filter(|it| gone_at.saturating_since(self.since) >= it.limit)?;
        let reason = format!(
            "{what} `{task}` did not return within {limit:?}: give it more time with `.timeout(…)` on its task"
        );
        Some(BootFailure { error: Error::new(ErrorKind::Initializer, reason), fatal: true })
    }
}
