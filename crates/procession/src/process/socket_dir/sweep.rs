//! Directories of masters that were killed while they started a worker: nobody else removes them.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::dir::Dir;
use nix::unistd::Uid;

use super::{PREFIX, SocketDir, open_dir};

/// A younger one may belong to somebody who has not come to lock it yet.
const AGE_MIN: Duration = Duration::from_secs(60);

/// Removes those of this user in that place that nobody has locked.
pub(super) fn remove_deserted(place: &Path) {
    remove_older(place, AGE_MIN);
}

fn remove_older(place: &Path, age: Duration) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten().filter(|entry| is_ours(&entry.file_name())) {
        if let Ok(Some(deserted)) = open_if_deserted(&entry.path(), age) {
            tracing::debug!(path = %deserted.path.display(), "a directory that a killed master left is removed");
        }
    }
}

/// Twelve digits, as [`SocketDir::create`] names them.
fn is_ours(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    random.is_some_and(|random| random.len() == 12 && random.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn open_if_deserted(path: &Path, age: Duration) -> io::Result<Option<SocketDir>> {
    let file = open_dir(path)?;
    let about = file.metadata()?;
    let is_old = SystemTime::now().duration_since(about.modified()?).is_ok_and(|passed| passed >= age);
    if about.uid() != Uid::effective().as_raw() || !is_old || file.try_lock().is_err() {
        return Ok(None);
    }
    let dir = Dir::from_fd(OwnedFd::from(file))?;
    Ok(Some(SocketDir { path: path.to_owned(), dir }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_deserted_and_old_enough_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let own =
            SocketDir::create_in([place.path().to_owned()].into_iter(), "procession-000000000001").unwrap();
        let deserted = path("procession-000000000002");
        fs::create_dir_all(deserted.join(".tmpabc")).unwrap();
        fs::write(deserted.join(".tmpabc/socket"), "").unwrap();
        fs::create_dir(path("procession-of-mine")).unwrap();
        remove_older(place.path(), AGE_MIN);
        assert!(deserted.exists(), "it may be about to be locked");
        remove_older(place.path(), Duration::ZERO);
        assert!(!deserted.exists());
        assert!(own.path().exists() && path("procession-of-mine").exists());
        drop(own);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
