//! What stands for agents in a program that was built without them: nothing that there could be.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Duration;

use procession::{ItemFigures, Payload, Stats, StreamOptions};
use procession_store::AgentStay;

use super::{News, Present, Step};
use crate::cli;
use crate::diagnostic::Diagnostic;
use crate::exit::{Ending, Stop};
use crate::intake::Numbers;
use crate::job::Job;
use crate::progress::Screen;

/// There are none.
#[derive(Clone)]
pub(crate) enum Agents {}

/// There is none.
pub(crate) struct AgentsCall<I>(Agents, PhantomData<I>);

/// Refuses to take part in jobs.
pub(crate) fn agent(_command: &cli::Agent) -> Result<Ending, Stop> {
    Err(missing().into())
}

/// Knows of no jobs.
pub(crate) fn jobs(_command: &cli::Jobs) -> Result<Ending, Stop> {
    Err(missing().into())
}

/// Whether there could be some.
pub(super) fn available() -> Result<(), Diagnostic> {
    Err(missing())
}

fn missing() -> Diagnostic {
    let refusal = Diagnostic::new("this program was built without clusters");
    refusal.help("build it with the feature `cluster` of procession-cli: cargo build --features cluster")
}

impl Agents {
    pub(crate) fn connect(job: &Job) -> Result<Option<Agents>, Stop> {
        if job.engine.is_some() { Err(missing().into()) } else { Ok(None) }
    }

    pub(crate) fn stats(&self) -> Stats {
        match *self {}
    }

    pub(crate) fn workers(&self) -> usize {
        match *self {}
    }

    pub(crate) fn answered(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn present(&self) -> Vec<Present> {
        match *self {}
    }

    pub(crate) fn recall(&self, _stays: Vec<AgentStay>, _first_slot: u32) {
        match *self {}
    }

    pub(crate) fn tell(&mut self, _told: Sender<News>) {
        match *self {}
    }

    pub(crate) fn knows_of_job(&self) -> bool {
        match *self {}
    }

    pub(crate) fn keep_name(&self, _run_dir: &Path) -> Result<(), Stop> {
        match *self {}
    }

    pub(super) fn call<I>(
        &self,
        _job: &Job,
        _input: I,
        _options: StreamOptions,
        _about: (Numbers, Screen),
    ) -> Result<AgentsCall<I>, Stop> {
        match *self {}
    }
}

impl<I: Iterator<Item = Option<Payload>>> AgentsCall<I> {
    pub(super) fn results(&mut self, _timeout: Duration) -> Result<Step, Stop> {
        match self.0 {}
    }

    pub(super) fn take_figures(&mut self) -> Vec<ItemFigures> {
        match self.0 {}
    }

    pub(super) fn set_timeout(&mut self, _timeout: Duration) {
        match self.0 {}
    }

    pub(super) fn drain(&mut self) {
        match self.0 {}
    }

    pub(super) fn cancel(&mut self) {
        match self.0 {}
    }

    pub(super) fn awaits_record(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn on_record(&mut self) {
        match self.0 {}
    }

    pub(super) fn end(self, _is_over: bool) {
        match self.0 {}
    }
}
