//! A control group for each worker and all that it starts, where the system lets us make one: its memory is limited
//! together. Elsewhere each process has its own limit alone, and nobody is told.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::unistd::Uid;

use super::worker_process::WorkerProcess;
use crate::control_groups::{Membership, mounts, mounts_of_version_2};
use crate::oom_kills::kills;

/// What the names of our groups begin with.
const PREFIX: &str = "procession-worker-";

/// Groups that this process has made.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A group that was left to us to divide.
#[derive(Debug)]
pub(super) struct Grounds {
    place: PathBuf,
    /// Our own group, where what outlives a worker goes.
    home: PathBuf,
    version: Version,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A worker's own group. Removed when dropped.
#[derive(Debug)]
pub(super) struct Enclosure {
    directory: PathBuf,
    home: PathBuf,
    version: Version,
}

impl Grounds {
    /// Where this process may make groups that have `bytes` of memory each.
    pub(super) fn find(bytes: u64) -> Option<Grounds> {
        Grounds::under(Path::new("/"), bytes)
    }

    fn under(root: &Path, bytes: u64) -> Option<Grounds> {
        let (home, version) = Membership::all(root).iter().find_map(|group| home_of(root, group))?;
        let place = match version {
            Version::One => home.clone(),
            // A group of version 2 either has processes or divides its memory: ours are beside our own.
            Version::Two => home.parent()?.to_owned(),
        };
        let grounds = Grounds { place, home, version, bytes };
        grounds.is_ours().then(|| {
            grounds.sweep();
            grounds
        })
    }

    /// Whether it was handed to this user to be divided, as by systemd's `Delegate=` with `DelegateSubgroup=`.
    fn is_ours(&self) -> bool {
        let is_owner = fs::metadata(&self.place).is_ok_and(|about| about.uid() == Uid::effective().as_raw());
        is_owner
            && match self.version {
                Version::One => true,
                Version::Two => self.is_delegated() && self.hands_on_memory(),
            }
    }

    /// A slice is its manager's, and so is a group in which there are others than us.
    fn is_delegated(&self) -> bool {
        let is_slice = self.place.extension().is_some_and(|extension| extension == "slice");
        let Ok(entries) = fs::read_dir(&self.place) else { return false };
        let is_stranger = |entry: fs::DirEntry| {
            let is_group = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_known = entry.path() == self.home || is_named_by_us(&entry);
            is_group && !is_known
        };
        !is_slice && !entries.flatten().any(is_stranger)
    }

    fn hands_on_memory(&self) -> bool {
        let file = self.place.join("cgroup.subtree_control");
        let handed_on = fs::read_to_string(&file).unwrap_or_default();
        handed_on.split_whitespace().any(|name| name == "memory") || fs::write(&file, "+memory").is_ok()
    }

    /// Removes the groups of masters that were killed. One that is in use cannot be removed.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.place).into_iter().flatten().flatten().filter(is_named_by_us) {
            let _ = fs::remove_dir(entry.path());
        }
    }

    /// Gives a worker its own group. What cannot be done is no reason to refuse it: it has its own limit all the same.
    pub(super) fn enclose(&self, process: &mut WorkerProcess) {
        // Another master may have swept it away before anybody was in it.
        match self.try_enclose(process.pid()).or_else(|_| self.try_enclose(process.pid())) {
            Ok(enclosure) => process.enclose(enclosure),
            Err(error) => {
                tracing::debug!(place = %self.place.display(), %error, "no control group for a worker")
            }
        }
    }

    fn try_enclose(&self, pid: u32) -> io::Result<Enclosure> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let directory = self.place.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&directory)?;
        let enclosure = Enclosure { directory, home: self.home.clone(), version: self.version };
        let (memory, swap) = match self.version {
            Version::One => ("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", self.bytes)),
            Version::Two => ("memory.max", ("memory.swap.max", 0)),
        };
        fs::write(enclosure.directory.join(memory), self.bytes.to_string())?;
        // A kernel without accounts of swap has no such file.
        let _ = fs::write(enclosure.directory.join(swap.0), swap.1.to_string());
        fs::write(enclosure.directory.join("cgroup.procs"), pid.to_string())?;
        Ok(enclosure)
    }
}

/// The group that this process is in as far as memory goes, unless it is the root of all.
fn home_of(root: &Path, group: &Membership) -> Option<(PathBuf, Version)> {
    let (mounts, version) = if group.is_version_2() {
        (mounts_of_version_2(root).to_vec(), Version::Two)
    } else if group.has("memory") {
        (vec![mounts(root).join("memory")], Version::One)
    } else {
        return None;
    };
    let is_root = group.path.as_os_str().is_empty();
    let homes = mounts.into_iter().map(|mount| mount.join(&group.path));
    // Where version 1 has the memory, version 2 has no say in it.
    let accounts = match version {
        Version::One => "memory.limit_in_bytes",
        Version::Two => "memory.max",
    };
    homes.filter(|home| !is_root && home.join(accounts).exists()).map(|home| (home, version)).next()
}

fn is_named_by_us(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
}

impl Enclosure {
    /// Whether the kernel has killed anybody in it for want of memory.
    pub(super) fn has_kills(&self) -> bool {
        let name = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        kills(&self.directory.join(name)).is_some_and(|kills| kills > 0)
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        // What left the worker's process group on purpose lives on, where it was started from.
        let rest = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        for pid in rest.lines() {
            let _ = fs::write(self.home.join("cgroup.procs"), pid);
        }
        if let Err(error) = fs::remove_dir(&self.directory) {
            tracing::debug!(directory = %self.directory.display(), %error, "a control group is left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A machine whose process is in that group, with these files below the mounts.
    fn machine(membership: &str, files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/self/cgroup", membership);
        for (name, text) in files {
            write(root.path(), &format!("sys/fs/cgroup/{name}"), text);
        }
        root
    }

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn place_of(root: &TempDir) -> Option<String> {
        let grounds = Grounds::under(root.path(), 1 << 20)?;
        let mounts = root.path().join("sys/fs/cgroup");
        Some(grounds.place.strip_prefix(mounts).unwrap().to_str().unwrap().to_owned())
    }

    #[test]
    fn in_version_1_the_groups_are_below_our_own() {
        let files = [("memory/jobs/17/memory.limit_in_bytes", "1\n")];
        let root = machine("4:memory:/jobs/17\n0::/\n", &files);
        assert_eq!(place_of(&root).as_deref(), Some("memory/jobs/17"));
        let root = machine("4:memory:/\n0::/\n", &[("memory/memory.limit_in_bytes", "1\n")]);
        assert_eq!(place_of(&root), None, "the root is nobody's");
    }

    #[test]
    fn in_version_2_they_are_beside_our_own_if_that_is_all_there_is() {
        const OWN: &str = "app.slice/batch.service/main/memory.max";
        const HANDED_ON: (&str, &str) = ("app.slice/batch.service/cgroup.subtree_control", "cpu memory\n");
        let membership = "0::/app.slice/batch.service/main\n";
        let root = machine(membership, &[(OWN, "max\n"), HANDED_ON]);
        assert_eq!(place_of(&root).as_deref(), Some("app.slice/batch.service"));
        let left = ("app.slice/batch.service/procession-worker-1-1/memory.max", "1\n");
        let root = machine(membership, &[(OWN, "max\n"), HANDED_ON, left]);
        assert!(place_of(&root).is_some(), "another master's are no strangers");
        let stranger = ("app.slice/batch.service/other/memory.max", "max\n");
        let root = machine(membership, &[(OWN, "max\n"), HANDED_ON, stranger]);
        assert_eq!(place_of(&root), None);
        let handed_on = ("app.slice/cgroup.subtree_control", "memory\n");
        let root =
            machine("0::/app.slice/run.scope\n", &[("app.slice/run.scope/memory.max", "max\n"), handed_on]);
        assert_eq!(place_of(&root), None, "a slice is its manager's");
    }

    #[test]
    fn without_accounts_there_are_no_grounds() {
        for membership in ["", "nonsense\n", "0::/a/b\n", "4:memory:/gone\n", "3:cpu:/a\n"] {
            assert_eq!(place_of(&machine(membership, &[("a/memory.max", "max\n")])), None, "{membership}");
        }
    }
}
