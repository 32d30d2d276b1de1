//! The master's side of executing a program: from `posix_spawn` to the first order.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ipc_channel::ipc::IpcSender;
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;

use super::boot::{Boot, DEPTH_VARIABLE, Identity, Nonce, Order, ROLE_VARIABLE, Reply, Role};
use super::boot::{REPLY_LIMIT, fresh_nonce, receive_first_reply, send_boot};
use super::error::LaunchError;
use super::exit::{WorkerExit, code};
use super::init::depth;
use super::pidfd::{Take, readable_within};
use super::settings::{LaunchSettings, SeatSettings};
use super::socket_dir::SocketDir;
use super::worker_process::{Parent, WorkerProcess};

/// How long a process that closed its boot socket may take to die, before it counts as alive and faulty.
const DEATH_LIMIT: Duration = Duration::from_secs(1);

/// A process that was executed and has not yet said a word.
#[derive(Debug)]
pub(super) struct Booting {
    stream: UnixStream,
    nonce: Nonce,
    program: PathBuf,
    /// Where the child makes its socket; goes when the child is connected.
    _dir: SocketDir,
}

impl Booting {
    /// Executes the program. Standard input becomes the boot socket; nothing else is passed on.
    pub(super) fn start(
        settings: &LaunchSettings,
        role: Role,
    ) -> Result<(Booting, WorkerProcess), LaunchError> {
        let nonce = fresh_nonce().map_err(LaunchError::system("reading random bytes"))?;
        let dir = SocketDir::create()?;
        let (stream, theirs) = UnixStream::pair().map_err(LaunchError::system("making a socket pair"))?;
        stream
            .set_read_timeout(Some(REPLY_LIMIT))
            .map_err(LaunchError::system("limiting a socket's wait"))?;
        let own_tmpdir = std::env::var_os("TMPDIR");
        let set_tmpdir =
            settings.env.iter().rev().find(|(name, _)| name == "TMPDIR").map(|(_, value)| value.clone());
        let boot = Boot {
            nonce,
            parent: std::process::id() as i32,
            identity: Identity::ours(),
            tmpdir: set_tmpdir.or(own_tmpdir),
            settings: SeatSettings::from(settings),
        };
        send_boot(&stream, &boot).map_err(LaunchError::system("writing the boot message"))?;

        // The link to this very file, so that a program replaced on disk still starts workers of its own build.
        let program = settings.program.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let mut command = Command::new(&program);
        if let Some(name) = std::env::args_os().next() {
            command.arg0(name);
        }
        // No `pre_exec`: with it std would fork this whole process instead of using `posix_spawn`.
        command
            .envs(settings.env.iter().map(|(name, value)| (name, value)))
            .env(ROLE_VARIABLE, role.name())
            .env(DEPTH_VARIABLE, (depth() + 1).to_string())
            .env("TMPDIR", dir.path())
            .stdin(OwnedFd::from(theirs))
            .process_group(0);
        let rss_before = peak_rss();
        let mut child = command.spawn().map_err(|source| LaunchError::executing(program.clone(), source))?;
        let opened = WorkerProcess::open(Pid::from_raw(child.id() as i32), Parent::Us { rss_before });
        if opened.is_err() {
            // Nobody else would ever reap it.
            let _ = child.kill().and_then(|()| child.wait());
        }
        let process = opened.map_err(LaunchError::system("opening a process that was just started"))?;
        Ok((Booting { stream, nonce, program, _dir: dir }, process))
    }

    /// Hears the child's first word and opens its order channel. Call it when the descriptor is readable, or when that has
    /// taken too long.
    pub(super) fn connect(
        self,
        process: &WorkerProcess,
    ) -> Result<(IpcSender<Order>, UnixStream), LaunchError> {
        if !readable_within(&self.stream, Duration::ZERO) && !readable_within(process, Duration::ZERO) {
            return Err(LaunchError::Boot(format!(
                "process {} said nothing for {} s after its start: does `{}` call procession::init()?",
                process.pid(),
                REPLY_LIMIT.as_secs(),
                self.program.display()
            )));
        }
        if !readable_within(&self.stream, Duration::ZERO) {
            // Something it has started holds the socket open.
            return Err(self.why_silent(process, &io::ErrorKind::UnexpectedEof.into()));
        }
        // ipc-channel 0.23.1 keeps its socket open, for ever, if nobody is there to connect to: so we hold what is connected
        // to until that is done.
        let (name, _listener) = match receive_first_reply(&self.stream) {
            // A zero byte in it would make ipc-channel panic.
            Ok((Reply::Listening { name }, listener)) if !listener.is_empty() && !name.contains('\0') => {
                (name, listener)
            }
            Ok((Reply::Mismatch { theirs }, _)) => {
                return Err(LaunchError::Mismatch {
                    ours: Box::new(Identity::ours()),
                    theirs: Box::new(theirs),
                });
            }
            Ok((Reply::Refused { reason }, _)) => {
                return Err(LaunchError::Boot(format!("worker refused to start: {reason}")));
            }
            Ok((other, _)) => {
                return Err(LaunchError::Boot(format!("unexpected first reply of a worker: {other:?}")));
            }
            Err(error) => return Err(self.why_silent(process, &error)),
        };
        let connect = || -> Result<IpcSender<Order>, ipc_channel::IpcError> {
            let orders = IpcSender::connect(name)?;
            orders.send(Order::Hello { nonce: self.nonce })?;
            Ok(orders)
        };
        match connect() {
            Ok(orders) => Ok((orders, self.stream)),
            Err(error) => {
                check_alive(process)?;
                Err(LaunchError::Boot(format!("worker cannot be connected: {error}")))
            }
        }
    }

    fn why_silent(&self, process: &WorkerProcess, error: &io::Error) -> LaunchError {
        if error.kind() != io::ErrorKind::UnexpectedEof && error.kind() != io::ErrorKind::ConnectionReset {
            return LaunchError::Boot(format!(
                "boot reply of process {} cannot be read: {error}",
                process.pid()
            ));
        }
        let status = if readable_within(process, DEATH_LIMIT) {
            process.read_exit(Take::Look).status
        } else {
            WorkerExit::Unknown
        };
        match status {
            WorkerExit::Code(code::NOT_STARTED) => LaunchError::Boot(format!(
                "worker program `{}` could not start, and says why on its stderr: {status}",
                self.program.display()
            )),
            WorkerExit::Code(code::MISMATCH) => LaunchError::OtherVersion { program: self.program.clone() },
            // A program that ends by itself will do so again.
            WorkerExit::Code(status) => LaunchError::NeverInitialised {
                program: self.program.clone(),
                how: format!("ended with status {status}"),
            },
            WorkerExit::Signal(_) => LaunchError::Boot(format!("worker died while starting: {status}")),
            WorkerExit::Unknown => {
                LaunchError::Boot("worker closed its boot socket while starting".to_owned())
            }
        }
    }
}

/// Refuses one that is dead: what it was connected with tells nothing of that.
pub(super) fn check_alive(process: &WorkerProcess) -> Result<(), LaunchError> {
    if !readable_within(process, Duration::ZERO) {
        return Ok(());
    }
    let status = process.read_exit(Take::Look).status;
    Err(LaunchError::Boot(format!("worker died while starting: {status}")))
}

impl AsFd for Booting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn peak_rss() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| u64::try_from(usage.max_rss()).unwrap_or(0) * 1024)
}

/// Whether a program can be executed at all; asked before the pool has any process.
pub(super) fn check_program(settings: &LaunchSettings) -> Result<(), LaunchError> {
    match &settings.program {
        None => Ok(()),
        Some(program) => match File::open(program) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                Err(LaunchError::Program { program: program.clone(), source })
            }
            // A program may be executable without being readable.
            Ok(_) | Err(_) => Ok(()),
        },
    }
}
