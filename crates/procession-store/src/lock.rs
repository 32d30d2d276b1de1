//! The lock of a run directory: one master at a time, and the second is told of the first.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, ErrorKind};

const NAME: &str = "lock";

/// Held as long as this lives; the kernel lets go of it when the process ends, however it does.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    pub(crate) fn take(directory: &Path) -> Result<Lock, Error> {
        let path = directory.join(NAME);
        let what = || format!("cannot lock run directory {}", directory.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Error::io(&what(), error))?;
        let mut holder = String::new();
        // Before the lock is tried: who has it may write at the same time, and then it is known by nothing.
        let _ = file.read_to_string(&mut holder);
        let mut file =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
                Errno::EWOULDBLOCK => in_use(directory, holder.trim()),
                errno => Error::io(&what(), errno.into()),
            })?;
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "process {} on {}", std::process::id(), crate::dir::host()));
        written.map_err(|error| Error::io(&what(), error))?;
        Ok(Lock { _file: file })
    }
}

/// Who has the run directory now, if somebody has: `process 1234 on a-machine`.
pub fn holder(directory: &Path) -> Option<String> {
    let mut file = File::open(directory.join(NAME)).ok()?;
    let mut holder = String::new();
    file.read_to_string(&mut holder).ok()?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => None,
        Err((_, Errno::EWOULDBLOCK)) => Some(holder.trim().to_owned()),
        Err(_) => None,
    }
}

fn in_use(directory: &Path, holder: &str) -> Error {
    let holder = if holder.is_empty() { "another master" } else { holder };
    let message = format!("run directory {} is in use by {holder}", directory.display());
    Error::new(ErrorKind::InUse, message)
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
}
