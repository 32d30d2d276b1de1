//! The last steps from a process to a worker: limits, output, page, signals. Then the worker's loop, then the end.

use std::io;
use std::os::fd::OwnedFd;

use ipc_channel::ipc::IpcBytesSender;

use super::boot::SharedFiles;
use super::exit::{code, flush_all_output, leave};
use super::settings::{Output, SeatSettings};
use super::{crash, limits, signals, socket_dir};
use crate::page::PageWorker;
use crate::slab::{ArenaReader, WindowWriter};
use crate::wire::{self, Inbox};
use crate::worker::{self, Setup, Shared, WorkerEnd};

/// Everything a process needs to be a worker.
pub(super) struct Seat {
    pub(super) slot: u32,
    pub(super) work: Inbox,
    pub(super) results: IpcBytesSender,
    pub(super) files: SharedFiles,
    pub(super) output: Option<OwnedFd>,
    pub(super) settings: SeatSettings,
    /// Whether the preload task is still to run: `spawn` has no zygote to do it.
    pub(super) run_preload: bool,
}

/// What any worker needs and none can tell apart. A zygote does it once, for all that are forked from it: the first touch
/// of a page costs a forked process more than most of what it runs there.
pub(super) fn prepare(settings: &SeatSettings) {
    signals::unblock_all();
    signals::make_sent_faults_deadly();
    if settings.crash_reports {
        crash::install();
    }
    worker::prepare();
}

impl Seat {
    /// Works until there is no more work; `close_others` closes what belongs to the process this one came from.
    pub(super) fn take(self, close_others: impl FnOnce()) -> ! {
        let Seat { slot, work, results, files, output, settings, run_preload } = self;
        close_others();
        let prepared = redirect_output(settings.output, output)
            .map_err(|error| format!("output cannot be redirected: {error}"))
            .and_then(|()| limits::apply(&settings, slot))
            .and_then(|()| map(&files).map_err(|error| format!("shared memory cannot be mapped: {error}")));
        drop(files);
        let end = match prepared {
            Ok(shared) => {
                shared.page.take_last_words();
                crash::note_loop();
                let setup = Setup {
                    slot,
                    preload: if run_preload { settings.preload } else { None },
                    initializer: settings.initializer,
                };
                worker::run_worker(&work, &results, shared, &setup)
            }
            Err(message) => report_failure(&results, &message),
        };
        if matches!(end, WorkerEnd::Stopped | WorkerEnd::Disconnected) {
            flush_all_output();
        }
        socket_dir::remove_left();
        if end == WorkerEnd::Disconnected {
            // A dying master's channels close before the kernel announces its death: leaving now would forestall the
            // announcement, and what tasks have started would live on.
            signals::kill_own_group();
        }
        // Without destructors: a task may have closed the channels' descriptors.
        leave(end.exit_code())
    }
}

fn map(files: &SharedFiles) -> io::Result<Shared> {
    Ok(Shared {
        page: PageWorker::open(&files.page)?,
        window: WindowWriter::open(&files.window)?,
        arena: ArenaReader::open(&files.arena)?,
    })
}

/// Rust's and C's output streams of this process.
fn redirect_output(output: Output, pipe: Option<OwnedFd>) -> io::Result<()> {
    let target = match (output, pipe) {
        (Output::Null, _) => OwnedFd::from(std::fs::File::options().write(true).open("/dev/null")?),
        (Output::Inherit | Output::Capture, Some(pipe)) => pipe,
        (Output::Inherit | Output::Capture, None) => return Err(io::Error::other("the pipe is missing")),
    };
    if output != Output::Inherit {
        nix::unistd::dup2_stdout(&target)?;
    }
    nix::unistd::dup2_stderr(&target)?;
    Ok(())
}

fn report_failure(results: &IpcBytesSender, message: &str) -> WorkerEnd {
    let mut frame = Vec::new();
    wire::init_failed(&mut frame, message);
    match results.send(&frame) {
        Ok(()) => WorkerEnd::InitFailed,
        Err(_) => WorkerEnd::ChannelClosed,
    }
}

/// How each end is told to whoever reads the status.
impl WorkerEnd {
    fn exit_code(&self) -> i32 {
        match self {
            WorkerEnd::Stopped | WorkerEnd::Disconnected => 0,
            WorkerEnd::InitFailed => code::INIT_FAILED,
            WorkerEnd::ChannelClosed => code::CHANNEL_CLOSED,
            WorkerEnd::Protocol(reason) => {
                eprintln!("procession: worker stops: {reason}");
                code::PROTOCOL
            }
        }
    }
}
