//! A private directory for the one named socket of a bootstrap.

mod sweep;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};
use std::thread;
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::boot::fresh_nonce;
use super::error::LaunchError;

/// Longest directory: a socket's path has 108 bytes at most, ipc-channel cuts longer ones silently, and it adds a
/// directory and a name of its own (`/.tmpXXXXXX/socket`).
const PATH_BYTES_MAX: usize = 80;

/// A file system without a disk, on every usual Linux.
const MEMORY: &str = "/dev/shm";

/// What ipc-channel calls the socket, in a directory of its own.
const SOCKET: &str = "socket";

/// What all their names begin with.
const PREFIX: &str = "procession-";

/// The directories there are, each with the process that made it: a copy of this one inherits the list, not the
/// directories. Never waited for beyond [`LOCK_TRIES`]: a fork may have copied it locked.
static MADE: Mutex<Vec<(u32, PathBuf)>> = Mutex::new(Vec::new());

/// Who has the list lets go of it after a push: ten milliseconds are plenty.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_micros(100);

/// What killed masters left is looked for once. Nobody waits for it: a fork may have copied this process as it looked.
static IS_SWEPT: AtomicBool = AtomicBool::new(false);

/// Removed when dropped.
#[derive(Debug)]
pub(super) struct SocketDir {
    path: PathBuf,
    /// Open, so that it can be removed when there are no descriptors left to look into it; and locked, so that others
    /// see that somebody is at home.
    dir: Dir,
}

impl SocketDir {
    /// Makes a directory, accessible to this user only, in the first place that is short enough and writable.
    ///
    /// Where nobody named a place it lies in memory: a socket on a disk keeps its file until the connection ends, so
    /// that the end of every pool would wait for the disk.
    pub(super) fn create() -> Result<SocketDir, LaunchError> {
        // No part of a boot's nonce: names of directories are public.
        let random = fresh_nonce().map_err(LaunchError::system("reading random bytes"))?;
        let name: String = random[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        // The child may be sent elsewhere before it looks.
        let named = std::env::var_os("TMPDIR").and_then(|place| std::path::absolute(place).ok());
        let places = [named, Some(MEMORY.into()), Some("/tmp".into())];
        let made = Self::create_in(places.into_iter().flatten(), &format!("{PREFIX}{name}"))?;
        if let Some(parent) = made.path.parent()
            && !IS_SWEPT.swap(true, Ordering::Relaxed)
        {
            sweep::remove_deserted(parent);
        }
        Ok(made)
    }

    fn create_in(places: impl Iterator<Item = PathBuf>, name: &str) -> Result<SocketDir, LaunchError> {
        let (mut refusals, mut is_lasting) = (Vec::new(), true);
        for parent in places {
            let path = parent.join(name);
            // Before it is there: who ends right after finds it.
            with_made(|made| made.push((std::process::id(), path.clone())));
            match Self::create_at(&path) {
                Ok(()) => return Self::open(path),
                Err(refusal) => {
                    forget(&path);
                    is_lasting &= refusal.is_lasting();
                    refusals.push(format!("{} {refusal}", path.display()));
                }
            }
        }
        Err(LaunchError::SocketDir { refusals: refusals.join(", "), is_lasting })
    }

    fn open(path: PathBuf) -> Result<SocketDir, LaunchError> {
        let opened = open_dir(&path).and_then(|file| {
            // Where there are no locks, nobody takes it for deserted.
            let _ = file.try_lock();
            Ok(Dir::from_fd(OwnedFd::from(file))?)
        });
        match opened {
            Ok(dir) => Ok(SocketDir { path, dir }),
            Err(error) => {
                // It is new, and so empty.
                let _ = fs::remove_dir(&path);
                forget(&path);
                Err(LaunchError::system("opening a directory for a socket")(error))
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn create_at(path: &Path) -> Result<(), Refusal> {
        match path.to_str() {
            None => Err(Refusal::Name("is not UTF-8")),
            Some(text) if text.len() > PATH_BYTES_MAX => Err(Refusal::Name("is too long")),
            Some(_) => DirBuilder::new().mode(0o700).create(path).map_err(Refusal::System),
        }
    }

    /// Removes what a child that never was connected has left, without opening anything.
    fn clear(&mut self) {
        let entries: Vec<_> = self.dir.iter().flatten().map(|entry| entry.file_name().to_owned()).collect();
        for name in entries.iter().filter(|name| !name.to_bytes().iter().all(|byte| *byte == b'.')) {
            let inner = Path::new(OsStr::from_bytes(name.to_bytes()));
            // What is not there any more the child has removed.
            let _ = unlinkat(&self.dir, &inner.join(SOCKET), UnlinkatFlags::NoRemoveDir);
            let _ = unlinkat(&self.dir, inner, UnlinkatFlags::RemoveDir);
        }
    }
}

fn open_dir(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// Why there is no directory at a place.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Name(&'static str),
    #[error("({0})")]
    System(io::Error),
}

impl Refusal {
    /// Whether it stays so, unlike a full disk.
    fn is_lasting(&self) -> bool {
        match self {
            Refusal::Name(_) => true,
            Refusal::System(error) => matches!(
                error.raw_os_error().map(Errno::from_raw),
                Some(
                    Errno::EACCES
                        | Errno::EPERM
                        | Errno::ENOENT
                        | Errno::ENOTDIR
                        | Errno::EROFS
                        | Errno::ELOOP
                        | Errno::ENAMETOOLONG
                )
            ),
        }
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        // The child removes it as well, as soon as it is connected.
        if fs::remove_dir(&self.path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            self.clear();
            let _ = fs::remove_dir(&self.path);
        }
        forget(&self.path);
    }
}

/// Removes the directories of pools that were left open, at the end of a process that runs no destructors. What was
/// still booting in them dies with this process, and nothing can be made in a directory that is gone.
pub(super) fn remove_left() {
    with_made(|made| {
        for (_, path) in made.drain(..).filter(|(pid, _)| *pid == std::process::id()) {
            let _ = fs::remove_dir_all(path);
        }
    });
}

fn forget(path: &Path) {
    with_made(|made| made.retain(|(_, other)| other != path));
}

fn with_made(act: impl FnOnce(&mut Vec<(u32, PathBuf)>)) {
    for _ in 0..LOCK_TRIES {
        match MADE.try_lock() {
            Ok(mut made) => return act(&mut made),
            Err(TryLockError::Poisoned(poisoned)) => return act(&mut poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_can_never_do_are_told_from_those_that_cannot_just_now() {
        let places = [PathBuf::from("/proc"), PathBuf::from("/").join("x".repeat(200))];
        let error = SocketDir::create_in(places.into_iter(), "procession-test").unwrap_err();
        assert!(error.is_fatal(), "{error}");
        assert!(error.to_string().contains("is too long"), "{error}");
        for errno in [Errno::ENOSPC, Errno::EDQUOT, Errno::ENOMEM, Errno::EMLINK] {
            assert!(!Refusal::System(errno.into()).is_lasting(), "{errno}");
        }
    }
}
