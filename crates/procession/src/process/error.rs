//! Why a worker could not be started, and whether trying again can help.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::boot::Identity;

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// The system refused something that it may grant later.
    #[error("{what} failed: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The process ended, or fell silent, before it was ready.
    #[error("{0}")]
    Boot(String),
    /// This program has not called `init`.
    #[error(
        "call procession::init() first in main, use #[procession::main], or write procession::before_main!() in the file \
         of the tests (feature before-main)"
    )]
    NotInitialised,
    /// The program to execute cannot be executed.
    #[error("worker program `{}` cannot be executed: {source}", program.display())]
    Program {
        /// Its path.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program does not reach `init`.
    #[error("worker program `{}` {how} before it called procession::init(): call it first in its main", program.display())]
    NeverInitialised {
        /// Its path.
        program: PathBuf,
        /// How it ended.
        how: String,
    },
    /// The program speaks another version of the protocol, so that it could not say so.
    #[error(
        "worker program `{}` has another version of procession than this one: build both from the same source",
        program.display()
    )]
    OtherVersion {
        /// Its path.
        program: PathBuf,
    },
    /// The worker's program and this one are different builds.
    #[error(
        "worker program differs from this one: this is {ours}, the worker is {theirs}: build both from the same source"
    )]
    Mismatch {
        /// This program.
        ours: Box<Identity>,
        /// The worker's.
        theirs: Box<Identity>,
    },
    /// A pool in a task of a pool in a task, and so on.
    #[error(
        "pools are nested {depth} deep, over the limit of {limit}: let tasks of that depth compute by themselves"
    )]
    TooDeep {
        /// The depth that was asked for.
        depth: u32,
        /// The limit.
        limit: u32,
    },
    /// `fork` of a process with threads copies locks that nobody will ever release.
    #[error(
        "start method fork needs a program with one thread, but this one has {threads}: use forkserver or spawn"
    )]
    Threads {
        /// How many there are.
        threads: usize,
    },
    /// A forked helper cannot be forked again, because the program has threads by now.
    #[error("the process that workers are forked from is gone, and start method fork cannot replace it")]
    ForkedHelperGone,
    /// The preload task failed, or took too long.
    #[error("{0}")]
    Preload(String),
    /// The preload task ended its process, or somebody else did: perhaps there was no memory just then.
    #[error("{0}")]
    PreloadDied(String),
    /// Too few descriptors.
    #[error(
        "{workers} workers need {need} more descriptors, but {open} are open and the hard limit is {limit}: raise it \
         (ulimit -n) or start fewer workers"
    )]
    Descriptors {
        /// Workers asked for.
        workers: usize,
        /// Descriptors they need.
        need: u64,
        /// Descriptors open now.
        open: u64,
        /// The hard limit.
        limit: u64,
    },
    /// No directory can be made for a socket.
    #[error("no usable directory for a socket: {refusals}: set TMPDIR to a short, writable path")]
    SocketDir {
        /// Where it was tried, and what is wrong there.
        refusals: String,
        /// Nothing of that passes by itself.
        is_lasting: bool,
    },
}

impl LaunchError {
    /// Whether trying again cannot help.
    pub(crate) fn is_fatal(&self) -> bool {
        match self {
            // A limit of file sizes, or of sockets' buffers, which stays as it is.
            LaunchError::System { source, .. }
                if matches!(source.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::Unsupported) =>
            {
                true
            }
            LaunchError::System { .. } | LaunchError::Boot(_) | LaunchError::PreloadDied(_) => false,
            LaunchError::NotInitialised
            | LaunchError::Program { .. }
            | LaunchError::NeverInitialised { .. }
            | LaunchError::OtherVersion { .. }
            | LaunchError::Mismatch { .. }
            | LaunchError::TooDeep { .. }
            | LaunchError::Threads { .. }
            | LaunchError::ForkedHelperGone
            | LaunchError::Preload(_)
            | LaunchError::Descriptors { .. } => true,
            LaunchError::SocketDir { is_lasting, .. } => *is_lasting,
        }
    }

    /// For `map_err`: names what was tried.
    pub(super) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> LaunchError {
        move |source| LaunchError::System { what, source: source.into() }
    }

    /// Executing a program failed: is it the program or the system?
    pub(super) fn executing(program: PathBuf, source: io::Error) -> LaunchError {
        match source.raw_os_error().map(Errno::from_raw) {
            Some(
                Errno::ENOENT
                | Errno::EACCES
                | Errno::EPERM
                | Errno::ENOEXEC
                | Errno::ENOTDIR
                | Errno::EISDIR
                | Errno::ELOOP
                | Errno::ENAMETOOLONG
                | Errno::EINVAL,
            ) => LaunchError::Program { program, source },
            _ => LaunchError::System { what: "starting a process", source },
        }
    }
}
