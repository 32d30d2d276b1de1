//! A job that is to end early: nothing new is begun, or what runs is stopped, and every item still has its outcome.

use std::time::Duration;

use procession::{ErrorKind, ErrorReport};

use super::{Command, Master, Outcome, Stage};
use crate::chunk::{ChunkId, Fate};

/// What is stopped may take so long to say so.
const STOP_WITHIN: Duration = Duration::from_secs(3);

impl Master {
    /// Nothing new is begun; what runs is waited for.
    pub(crate) fn drain(&mut self) {
        if self.stage == Stage::Runs {
            self.stage = Stage::Drains;
            self.return_forming();
            self.commands.extend([Command::Drain, Command::TakeBack]);
        }
    }

    /// What runs is stopped.
    pub(crate) fn stop(&mut self, now: Duration) {
        if !matches!(self.stage, Stage::Stops { .. }) {
            self.stage = Stage::Stops { until: now + STOP_WITHIN };
            self.return_forming();
            self.commands.extend([Command::Stop, Command::TakeBack]);
        }
    }

    fn return_forming(&mut self) {
        self.forming_bytes = 0;
        for piece in std::mem::take(&mut self.forming) {
            self.settle(piece, Fate::NotBegun, &mut Vec::new());
        }
    }

    /// The broker gave a chunk back that no agent had; `was_begun`: one that is gone had it before.
    pub(crate) fn taken_back(&mut self, id: ChunkId, was_begun: bool) {
        let pieces = match self.take_out(id) {
            Some(out) => out.pieces,
            None => self.earlier.take_back(id),
        };
        let fate = if was_begun { Fate::Lost } else { Fate::NotBegun };
        pieces.into_iter().for_each(|piece| self.settle(piece, fate.clone(), &mut Vec::new()));
    }

    /// Of what was stopped and is not heard of nobody knows more.
    pub(super) fn give_up(&mut self) {
        for id in self.out.keys().copied().collect::<Vec<_>>() {
            let Some(out) = self.take_out(id) else { continue };
            let attempts = u32::from(out.is_held || self.settings.at_most_once);
            for piece in out.pieces {
                let report = ErrorReport::new(ErrorKind::Cancelled, attempts, "");
                self.ready(piece.payload, Outcome::Failed(Box::new(report)));
            }
        }
        for piece in self.earlier.give_up() {
            let report = ErrorReport::new(ErrorKind::Cancelled, 1, "");
            self.ready(piece.payload, Outcome::Failed(Box::new(report)));
        }
    }
}
