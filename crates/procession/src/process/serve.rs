//! The zygote: waits for orders, forks workers, reports how they ended. It runs no task but the preload, and it must
//! stay single-threaded, since a fork copies locks but not the threads that would release them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcBytesSender, IpcReceiver};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{ForkResult, Pid, getpid, getppid, setpgid};

use super::boot::{DEPTH_VARIABLE, Ends, Order, Reply, SharedFiles, receive_descriptors, send_reply};
use super::child::{refuse, set_variable};
use super::descriptors::{Ballast, null_stdin};
use super::exit::{code, flush_all_output, leave};
use super::init::depth;
use super::launcher::count_threads;
use super::limits;
use super::seat::{self, Seat};
use super::settings::SeatSettings;
use super::signals::{self, OnParentDeath};
use crate::registry;
use crate::wire::Inbox;
use crate::worker;

/// How much of what a preload says is repeated to the master, which takes replies of a limited size.
const PRELOAD_MESSAGE_BYTES_MAX: usize = 32 << 10;

/// Start method `fork`: what the forked copy of the master does first.
pub(super) fn enter_forked(
    stream: UnixStream,
    orders: IpcReceiver<Order>,
    parent: i32,
    settings: SeatSettings,
    env: &[(OsString, OsString)],
) -> ! {
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    if signals::bind_to_parent(OnParentDeath::Kill).is_err() || getppid().as_raw() != parent {
        refuse(&stream, "the program that forked it is gone");
    }
    signals::reset();
    for (name, value) in env {
        set_variable(name, value);
    }
    set_variable(OsStr::new(DEPTH_VARIABLE), OsStr::new(&(depth() + 1).to_string()));
    match null_stdin().and_then(|()| Ballast::load()) {
        Ok(ballast) => serve(stream, orders, ballast, settings),
        Err(error) => refuse(&stream, &format!("its descriptors cannot be arranged: {error}")),
    }
}

/// Runs the preload task and then orders, until there are no more. In a forked worker it goes on as that worker.
pub(super) fn serve(
    stream: UnixStream,
    orders: IpcReceiver<Order>,
    ballast: Ballast,
    settings: SeatSettings,
) -> ! {
    limits::become_expendable();
    if let Err(mut message) = preload(&settings) {
        message.truncate(message.floor_char_boundary(PRELOAD_MESSAGE_BYTES_MAX));
        let _ = send_reply(&stream, &Reply::PreloadFailed { message });
        leave(code::INIT_FAILED);
    }
    seat::prepare(&settings);
    // The master's death must not kill this process before it has killed what its workers have started.
    let parent = getppid();
    if signals::bind_to_parent(OnParentDeath::Interrupt).is_err() {
        refuse(&stream, "the system refused to bind it to the program's life");
    }
    let mut workers = Vec::new();
    let mut said = send_reply(&stream, &Reply::Prepared);
    // Usually the end of the order channel tells; a copy of it in a process that the program forked would keep it open.
    while said.is_ok() && getppid() == parent {
        said = match orders.recv() {
            Ok(Order::Fork(ends)) => match fork_worker(&stream, ends) {
                Ok(Forked::Parent(reply)) => {
                    if let Reply::Forked { pid } = reply {
                        workers.push(Pid::from_raw(pid));
                    }
                    send_reply(&stream, &reply)
                }
                Ok(Forked::Child(new, zygote)) => {
                    let NewWorker { slot, work, results, files, output } = *new;
                    let seat = Seat { slot, work, results, files, output, settings, run_preload: false };
                    enter_worker(seat, zygote, move || drop((stream, orders, ballast)));
                }
                Err(error) => Err(error),
            },
            Ok(Order::Reap { pid }) => {
                let reply = reap(Pid::from_raw(pid));
                if let Reply::Reaped { .. } = reply {
                    workers.retain(|worker| worker.as_raw() != pid);
                }
                send_reply(&stream, &reply)
            }
            Err(IpcError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Ok(Order::Hello { .. }) | Err(_) => break,
        };
    }
    // Nobody else has reaped them, so these groups are still theirs.
    for worker in workers {
        let _ = killpg(worker, Signal::SIGKILL);
    }
    leave(0)
}

fn preload(settings: &SeatSettings) -> Result<(), String> {
    if let Some((task, args)) = &settings.preload {
        worker::run_setup("preload", *task, args)?;
        match count_threads() {
            1 => {}
            threads => {
                let path = registry::entry(*task).map_or("unknown task", |info| info.path());
                return Err(format!(
                    "preload `{path}` left {} threads running, which forked workers would not have: load data only",
                    threads - 1
                ));
            }
        }
    }
    Ok(())
}

/// Which side of a fork this is.
enum Forked {
    Parent(Reply),
    /// Boxed: it is large, and most returns are of the other kind. With the zygote's pid.
    Child(Box<NewWorker>, Pid),
}

struct NewWorker {
    slot: u32,
    work: Inbox,
    results: IpcBytesSender,
    files: SharedFiles,
    output: Option<std::os::fd::OwnedFd>,
}

fn fork_worker(stream: &UnixStream, ends: Ends) -> io::Result<Forked> {
    let (files, output) = receive_descriptors(stream)?;
    let Ends { slot, work, results } = ends;
    let work = Inbox::new(work);
    flush_all_output();
    let zygote = getpid();
    // SAFETY: this process has one thread (checked after the preload task, the only foreign code it runs), so the
    // child may do anything.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Child) => {
            Ok(Forked::Child(Box::new(NewWorker { slot, work, results, files, output }), zygote))
        }
        Ok(ForkResult::Parent { child }) => {
            // Both sides do this: the master may signal the group as soon as it knows the pid. The ends are closed
            // here and now, or nobody would ever see the worker's end of stream.
            let _ = setpgid(child, child);
            Ok(Forked::Parent(Reply::Forked { pid: child.as_raw() }))
        }
        Err(errno) => Ok(Forked::Parent(Reply::ForkFailed { errno: errno as i32 })),
    }
}

fn enter_worker(seat: Seat, zygote: Pid, close_zygote_ends: impl FnOnce()) -> ! {
    // The binding to a parent's life is not inherited. If the zygote died before this call, nobody would tell us.
    if signals::bind_to_parent(OnParentDeath::Kill).is_err() || getppid() != zygote {
        leave(code::NOT_STARTED);
    }
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    seat.take(close_zygote_ends)
}

/// Reads the status of a dead worker, with what it used.
fn reap(pid: Pid) -> Reply {
    let mut status = 0;
    // SAFETY: `usage` is plain data for which zero is valid; both pointers outlive the call.
    let (reaped, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid.as_raw(), &raw mut status, libc::WNOHANG, &raw mut usage), usage)
    };
    if reaped != pid.as_raw() {
        return Reply::NotReaped { pid: pid.as_raw() };
    }
    let nanos = |time: libc::timeval| {
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs() as u32 * 1000).as_nanos() as u64
    };
    Reply::Reaped {
        pid: reaped,
        status,
        max_rss: usage.ru_maxrss.unsigned_abs() * 1024,
        cpu_ns: nanos(usage.ru_utime) + nanos(usage.ru_stime),
    }
}
