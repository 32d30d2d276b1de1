//! A zygote on its way: from the execution of the program to the end of the preload task. That may take minutes, so
//! whoever has other things to do is told what to wait for instead.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::boot::{REPLY_LIMIT, Reply, Role, receive_reply};
use super::error::LaunchError;
use super::pidfd::{Take, any_readable_within, readable_within};
use super::settings::LaunchSettings;
use super::spawn::Booting;
use super::worker_process::WorkerProcess;
use super::zygote::Zygote;
use crate::registry::{self, TaskInfo};

/// Dropping it ends the process.
#[derive(Debug)]
pub(super) struct ZygoteStart {
    stage: Stage,
    /// The preload task's path, if there is one.
    preload: Option<&'static str>,
    preload_limit: Duration,
    /// When the present stage has taken too long.
    until: Instant,
}

#[derive(Debug)]
enum Stage {
    /// It has not yet said a word.
    Booting(Unconnected),
    /// It runs the preload task; where there is none, it only has to say that it is there.
    Preparing(Zygote),
}

/// A process that nobody else would end.
#[derive(Debug)]
struct Unconnected {
    /// Taken when it is connected.
    parts: Option<(Booting, WorkerProcess)>,
}

/// How far a start has come.
pub(super) enum Progress {
    Underway(ZygoteStart),
    Ready(Zygote),
}

impl ZygoteStart {
    /// Executes the program.
    pub(super) fn execute(settings: &LaunchSettings) -> Result<ZygoteStart, LaunchError> {
        let parts = Some(Booting::start(settings, Role::Zygote)?);
        Ok(ZygoteStart::at(Stage::Booting(Unconnected { parts }), settings, REPLY_LIMIT))
    }

    /// That one was forked, and has nothing before its preload task.
    pub(super) fn forked(zygote: Zygote, settings: &LaunchSettings) -> ZygoteStart {
        let mut start = ZygoteStart::at(Stage::Preparing(zygote), settings, REPLY_LIMIT);
        start.until = Instant::now() + start.patience();
        start
    }

    fn at(stage: Stage, settings: &LaunchSettings, limit: Duration) -> ZygoteStart {
        let preload = settings.preload.as_ref().map(|(task, _)| registry::entry(*task));
        let preload = preload.map(|info| info.map_or("unknown task", TaskInfo::path));
        let preload_limit = settings.preload_limit;
        ZygoteStart { stage, preload, preload_limit, until: Instant::now() + limit }
    }

    /// How long it may take to prepare itself.
    fn patience(&self) -> Duration {
        if self.preload.is_some() { self.preload_limit } else { REPLY_LIMIT }
    }

    /// How long it may take from now on, at most.
    pub(super) fn time_left(&self) -> Duration {
        let later = match self.stage {
            Stage::Booting(_) => self.patience(),
            Stage::Preparing(_) => Duration::ZERO,
        };
        self.until.saturating_duration_since(Instant::now()) + later
    }

    /// When to go on even if nothing was heard.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// For so long everything stood still, and it may have done so, too.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.until += by;
    }

    /// What becomes readable when there is something to go on with; the same until it is ready.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        match &self.stage {
            Stage::Booting(Unconnected { parts }) => {
                let (booting, process) = parts.as_ref().expect("it is taken by who goes on");
                [booting.as_fd(), process.as_fd()]
            }
            // What a preload has started may hold the socket open when it ends its process.
            Stage::Preparing(zygote) => [zygote.stream().as_fd(), zygote.process().as_fd()],
        }
    }

    /// Waits until it is ready.
    pub(super) fn wait(mut self) -> Result<Zygote, LaunchError> {
        loop {
            any_readable_within(&self.descriptors(), self.until.saturating_duration_since(Instant::now()));
            match self.go_on()? {
                Progress::Underway(start) => self = start,
                Progress::Ready(zygote) => return Ok(zygote),
            }
        }
    }

    /// Does what can be done without waiting.
    pub(super) fn go_on(self) -> Result<Progress, LaunchError> {
        let has_news = any_readable_within(&self.descriptors(), Duration::ZERO);
        if !has_news && Instant::now() < self.until {
            return Ok(Progress::Underway(self));
        }
        let until = Instant::now() + self.patience();
        let ZygoteStart { stage, preload, preload_limit, .. } = self;
        match stage {
            Stage::Booting(unconnected) => {
                let stage = Stage::Preparing(unconnected.connect()?);
                Ok(Progress::Underway(ZygoteStart { stage, preload, preload_limit, until }))
            }
            Stage::Preparing(zygote) if has_news => prepared(zygote, preload).map(Progress::Ready),
            Stage::Preparing(_) => Err(match preload {
                Some(path) => LaunchError::Preload(format!(
                    "preload `{path}` did not return within {preload_limit:?}: give it more time with `.timeout(…)` on \
                     its task"
                )),
                None => LaunchError::Boot(format!("helper process said nothing for {REPLY_LIMIT:?}")),
            }),
        }
    }
}

/// What it said of its preload task.
fn prepared(mut zygote: Zygote, preload: Option<&str>) -> Result<Zygote, LaunchError> {
    let has_spoken = readable_within(zygote.stream(), Duration::ZERO);
    // From one that is dead there is no more to come, though what it has started may hold the socket open.
    let reply = if has_spoken { receive_reply(zygote.stream()) } else { Err(ErrorKind::BrokenPipe.into()) };
    match reply {
        Ok(Reply::Prepared) => {
            zygote.mark_prepared();
            Ok(zygote)
        }
        Ok(Reply::PreloadFailed { message }) => Err(LaunchError::Preload(message)),
        Ok(Reply::Refused { reason }) => {
            Err(LaunchError::Boot(format!("helper process refused to start: {reason}")))
        }
        Ok(other) => Err(LaunchError::Boot(format!("unexpected reply of the helper process: {other:?}"))),
        Err(_) => {
            zygote.process().finish_off();
            let status = zygote.process().read_exit(Take::Look).status;
            Err(match preload {
                Some(path) => {
                    LaunchError::PreloadDied(format!("preload `{path}` ended its process: {status}"))
                }
                None => LaunchError::Boot(format!("helper process died while preparing: {status}")),
            })
        }
    }
}

impl Unconnected {
    fn connect(mut self) -> Result<Zygote, LaunchError> {
        let (booting, process) = self.parts.take().expect("it is connected once");
        match booting.connect(&process) {
            Ok((orders, stream)) => Ok(Zygote::new(process, stream, orders)),
            Err(error) => {
                process.discard();
                Err(error)
            }
        }
    }
}

impl Drop for Unconnected {
    fn drop(&mut self) {
        if let Some((_, process)) = &self.parts {
            process.discard();
        }
    }
}
