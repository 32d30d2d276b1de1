//! The lock of a run directory: one master at a time, and the second is told of the first.
//!
//! It is the directory itself that is locked: a file in it can be removed, and then two masters would hold a lock of that
//! name each.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, ErrorKind};

/// Says who has the directory. On file systems that lock no directories (NFS) it is locked instead.
pub(crate) const NAME: &str = "lock";

/// Who only asks whether there is a master ([`holder`]) holds the lock for an instant: a master looks again.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// Held as long as this lives; the kernel lets go of it when the process ends, however it does.
#[derive(Debug)]
pub(crate) struct Lock {
    directory: Flock<File>,
    _description: Option<Flock<File>>,
    path: PathBuf,
}

impl Lock {
    pub(crate) fn take(directory: &Path) -> Result<Lock, Error> {
        let what = || format!("cannot lock run directory {}", directory.display());
        let failed = |error: io::Error| Error::io(&what(), error);
        // The directory may be looked for again when the run ends, wherever the program is by then.
        let path = std::path::absolute(directory).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join(NAME))
            .map_err(failed)?;
        let mut holder = String::new();
        // Before the lock is tried: who has it may write at the same time, and then it is known by nothing.
        let _ = file.read_to_string(&mut holder);
        let refused = |errno| match errno {
            Errno::EWOULDBLOCK => in_use(directory, holder.trim()),
            errno => failed(errno.into()),
        };
        let opened = File::open(directory).map_err(failed)?;
        let (opened, by_file) = match exclusive(opened) {
            Ok(locked) => (locked, None),
            Err((opened, Errno::EBADF)) => {
                let by_file =
                    exclusive(file.try_clone().map_err(failed)?).map_err(|(_, errno)| refused(errno))?;
                let shared = Flock::lock(opened, FlockArg::LockSharedNonblock);
                (shared.map_err(|(_, errno)| refused(errno))?, Some(by_file))
            }
            Err((_, errno)) => return Err(refused(errno)),
        };
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "process {} on {}", std::process::id(), crate::host::host()));
        written.map_err(failed)?;
        Ok(Lock { directory: opened, _description: by_file, path })
    }

    /// Where the directory was when it was locked, from the root.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn directory(&self) -> &File {
        &self.directory
    }

    /// Makes the names of the directory and of the files in it survive a loss of power.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()?;
        // One that may not be read was not made by us.
        self.path
            .parent()
            .and_then(|parent| File::open(parent).ok())
            .map_or(Ok(()), |parent| parent.sync_all())
    }
}

fn exclusive(mut file: File) -> Result<Flock<File>, (File, Errno)> {
    for _ in 1..TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((back, Errno::EWOULDBLOCK)) => file = back,
            other => return other,
        }
        thread::sleep(BETWEEN_TRIES);
    }
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
}

/// Who has the run directory now, if somebody has: `process 1234 on a-machine`.
pub fn holder(directory: &Path) -> Option<String> {
    let mut file = File::open(directory.join(NAME)).ok();
    let mut holder = String::new();
    if let Some(file) = &mut file {
        file.read_to_string(&mut holder).ok()?;
    }
    let is_locked =
        |file: File| matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)));
    let is_held = File::open(directory).is_ok_and(is_locked) || file.is_some_and(is_locked);
    is_held.then(|| named(holder.trim()).to_owned())
}

fn in_use(directory: &Path, holder: &str) -> Error {
    let message = format!("run directory {} is in use by {}", directory.display(), named(holder));
    Error::new(ErrorKind::InUse, message)
}

fn named(holder: &str) -> &str {
    if holder.is_empty() { "another master" } else { holder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(holder(directory.path()), None);
        let lock = Lock::take(directory.path()).unwrap();
        assert!(holder(directory.path()).is_some_and(|holder| holder.starts_with("process ")));
        let error = Lock::take(directory.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.to_string().contains(&format!("process {} on ", std::process::id())), "{error}");
        drop(lock);
        Lock::take(directory.path()).unwrap();
    }

    #[test]
    fn a_lock_outlives_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let _lock = Lock::take(directory.path()).unwrap();
        std::fs::remove_file(directory.path().join(NAME)).unwrap();
        assert_eq!(Lock::take(directory.path()).unwrap_err().kind(), ErrorKind::InUse);
        assert!(holder(directory.path()).is_some());
    }
}
