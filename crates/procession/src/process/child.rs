//! What a process does that was executed as a zygote or as a worker: from `init` to its role. It never returns.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ipc_channel::ipc::{IpcOneShotServer, IpcReceiver};
use nix::sys::prctl;
use nix::unistd::getppid;

use super::boot::{Boot, BootError, Ends, Identity, Nonce, Order, ROLE_VARIABLE, Reply, Role};
use super::boot::{receive_boot, receive_descriptors, send_listening, send_reply};
use super::descriptors::{Ballast, null_stdin, socket_bound_to, sweep_inherited};
use super::exit::{code, leave};
use super::seat::{self, Seat};
use super::signals::OnParentDeath;
use super::{limits, serve, signals};
use crate::wire::Inbox;

/// Takes the role that the environment names.
pub(super) fn enter(role: &OsStr) -> ! {
    // Our own children are not to be mistaken for workers of this pool.
    remove_variable(ROLE_VARIABLE);
    let Some(role) = Role::parse(role) else {
        give_up(&format!("{ROLE_VARIABLE} names no role: it is not to be set by hand"));
    };
    if signals::bind_to_parent(OnParentDeath::Kill).is_err() {
        give_up("the system refused to bind this process to its parent's life");
    }
    signals::reset();
    take_name();
    // Swallowed, it would only interrupt the wait for the master.
    signals::make_sent_faults_deadly();
    sweep_inherited();
    let (ballast, stream) = match take_boot_socket() {
        Ok(taken) => taken,
        Err(error) => give_up(&format!("standard input cannot be taken over: {error}")),
    };
    let boot = match receive_boot(&stream) {
        Ok(boot) => boot,
        Err(BootError::Protocol) => {
            // Whatever the other side is, it cannot read more than silence from us.
            say_why(
                "the program that started this worker has another version of procession: build both anew",
            );
            leave(code::MISMATCH)
        }
        Err(BootError::NotABoot(reason)) => give_up(&reason),
    };
    if getppid().as_raw() != boot.parent {
        refuse(&stream, "its parent is not the pool: a wrapper script must `exec` the program");
    }
    let identity = Identity::ours();
    if !identity.matches(&boot.identity) {
        let _ = send_reply(&stream, &Reply::Mismatch { theirs: identity });
        leave(code::MISMATCH);
    }
    let orders = match open_order_channel(&stream, &boot.nonce) {
        Ok(orders) => orders,
        Err(error) => give_up(&format!("no order channel: {error}")),
    };
    remove_socket_dir();
    restore_tmpdir(boot.tmpdir.as_deref());
    match role {
        Role::Zygote => serve::serve(stream, orders, ballast, boot.settings),
        Role::Worker => become_worker(stream, orders, ballast, boot),
    }
}

/// Lists of processes show the name of what was executed, which is a link called `exe`.
fn take_name() {
    let name = std::env::args_os().next().map(PathBuf::from);
    let name = name.as_deref().and_then(Path::file_name).map(OsStr::as_encoded_bytes);
    // The system cuts it. An argument has no zero byte.
    if let Some(Ok(name)) = name.map(CString::new) {
        let _ = prctl::set_name(&name);
    }
}

/// The boot socket leaves descriptor 0, and what is opened from now on lies above the floor.
fn take_boot_socket() -> io::Result<(Ballast, UnixStream)> {
    let ballast = Ballast::load()?;
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    null_stdin()?;
    Ok((ballast, stream))
}

/// Listens, says where, and waits for the master, which proves itself by the nonce. If the master dies we are killed. The
/// master gets the listening socket, too, so that there is something to connect to even if we die.
fn open_order_channel(stream: &UnixStream, nonce: &Nonce) -> io::Result<IpcReceiver<Order>> {
    let (server, name) = IpcOneShotServer::<Order>::new()?;
    let listener = socket_bound_to(Path::new(&name))?;
    send_listening(stream, name, listener.as_fd())?;
    drop(listener);
    match server.accept() {
        Ok((orders, Order::Hello { nonce: said })) if said == *nonce => Ok(orders),
        Ok(_) => Err(io::Error::new(io::ErrorKind::PermissionDenied, "a stranger connected")),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

/// The one-shot server has removed its own directory by now. The master removes this one too, if it lives.
fn remove_socket_dir() {
    if let Some(path) = std::env::var_os("TMPDIR").map(PathBuf::from)
        && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"procession-"))
    {
        let _ = std::fs::remove_dir(Path::new(&path));
    }
}

fn restore_tmpdir(tmpdir: Option<&OsStr>) {
    match tmpdir {
        Some(value) => set_variable(OsStr::new("TMPDIR"), value),
        None => remove_variable("TMPDIR"),
    }
}

/// `spawn`: the one order is to be this very worker.
fn become_worker(stream: UnixStream, orders: IpcReceiver<Order>, ballast: Ballast, boot: Boot) -> ! {
    let ends = match orders.recv() {
        Ok(Order::Fork(ends)) => ends,
        Ok(_) | Err(_) => give_up("the pool sent no channels"),
    };
    let (files, output) = match receive_descriptors(&stream) {
        Ok(received) => received,
        Err(error) => give_up(&format!("the pool sent no shared memory: {error}")),
    };
    // What a task starts goes with its worker; there is no zygote here to see to it.
    if signals::bind_to_parent(OnParentDeath::KillGroup).is_err() || getppid().as_raw() != boot.parent {
        give_up("the pool is gone");
    }
    limits::become_expendable();
    seat::prepare(&boot.settings);
    let Ends { slot, work, results } = ends;
    let work = Inbox::new(work);
    Seat { slot, work, results, files, output, settings: boot.settings, run_preload: true }.take(move || {
        drop((stream, orders, ballast));
    })
}

/// Tells the master why this process cannot serve, and ends it.
pub(super) fn refuse(stream: &UnixStream, reason: &str) -> ! {
    let _ = send_reply(stream, &Reply::Refused { reason: reason.to_owned() });
    leave(code::NOT_STARTED)
}

/// Ends a process that cannot tell its master anything.
fn give_up(reason: &str) -> ! {
    say_why(reason);
    leave(code::NOT_STARTED)
}

fn say_why(reason: &str) {
    eprintln!("procession: worker process cannot start: {reason}");
}

/// Changes the environment of this process, which has one thread.
pub(super) fn set_variable(name: &OsStr, value: &OsStr) {
    // SAFETY: no other thread exists: this runs before `main`'s own first line, or right after a fork.
    unsafe { std::env::set_var(name, value) };
}

fn remove_variable(name: &str) {
    // SAFETY: as above.
    unsafe { std::env::remove_var(name) };
}
