//! Where the rows of a session go, and whether it is still there.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::lock::Lock;

/// A locked run directory and its database, as they were when the session began.
#[derive(Debug)]
pub(crate) struct Place {
    lock: Lock,
    /// From the root: the program may be elsewhere when the run ends.
    database: PathBuf,
    /// Held, so that no other file gets its number.
    file: File,
}

impl Place {
    pub(crate) fn of(lock: Lock, database: &Path) -> Result<Place, Error> {
        let failed = |error| Error::io("cannot find the run store", error);
        let database = std::path::absolute(database).map_err(failed)?;
        let file = File::open(&database).map_err(failed)?;
        Ok(Place { lock, database, file })
    }

    /// Refuses a directory or a database that was removed or replaced meanwhile: nobody will find what was written.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let directory = self.lock.path();
        let is_there = is_same(self.lock.directory().metadata(), std::fs::metadata(directory))
            && is_same(self.file.metadata(), std::fs::metadata(&self.database));
        if is_there {
            return Ok(());
        }
        let what = format!(
            "run directory {} was removed or replaced while the run went on: what it was to keep is lost",
            directory.display()
        );
        Err(Error::new(ErrorKind::Io, what))
    }
}

fn is_same(a: io::Result<Metadata>, b: io::Result<Metadata>) -> bool {
    matches!((a, b), (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()))
}
