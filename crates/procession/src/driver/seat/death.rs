//! How a worker ended, and what that tells of the item it was running.

use std::sync::Arc;

use procession_core::Time;

use super::Seat;
use crate::crash_report::CrashReport;
use crate::error::{Error, Loss};
use crate::process::Exit;
use crate::shortage::Shortage;

/// How a worker process ended.
#[derive(Clone)]
pub(crate) struct Death {
    pub(crate) exit: Exit,
    pub(crate) output_tail: Option<String>,
    pub(crate) crash: Option<Arc<CrashReport>>,
    pub(crate) shortage: Shortage,
    pub(crate) at: Time,
    /// No farewell could be sent: the end of the stream stands for it.
    pub(crate) is_channel_ended: bool,
}

/// Why a worker never became ready.
pub(crate) struct BootFailure {
    pub(crate) error: Error,
    pub(crate) fatal: bool,
}

impl Seat {
    /// What a death tells about the item that was running.
    pub(crate) fn loss(&self) -> Loss {
        let (pid, note) = (self.link.as_ref().map(|link| link.pid), self.violation.clone());
        let Some(Death { exit, output_tail, crash, shortage, at, .. }) = self.death.clone() else {
            return Loss { pid, note, ..Loss::default() };
        };
        // Of several it is not known which one was running.
        let is_known = |since: &Time| since.as_nanos() > 0 && self.may_have_begun() == 1;
        let since = self.running_since().filter(is_known);
        Loss {
            exit: Some(exit.status),
            note,
            pid,
            ran: since.filter(|since| *since <= at).map(|since| at.saturating_since(since)),
            cpu: exit.cpu,
            peak_rss: exit.max_rss,
            stderr_tail: output_tail,
            crash: crash.filter(|crash| crash.explains(exit.status, since.map(Time::as_nanos))),
            shortage,
        }
    }
}
