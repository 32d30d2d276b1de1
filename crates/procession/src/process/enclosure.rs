//! A control group for each worker and all that it starts, where the system lets us make one: its memory is limited
//! together. Elsewhere each process has its own limit alone, and nobody is told.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::unistd::{SysconfVar, Uid, sysconf};

use super::worker_process::WorkerProcess;
use crate::control_groups::{Membership, mounts, mounts_of_version_2};
use crate::oom_kills::counted;

/// What the names of our groups begin with.
const PREFIX: &str = "procession-worker-";

/// Groups that this process has made.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A group of ours could not be removed: somebody in it was still dying.
static IS_LITTERED: AtomicBool = AtomicBool::new(false);

/// How often, and how long apart, what dies slowly is waited for when nobody comes back later.
const LAST_LOOKS: u32 = 20;
const LAST_PAUSE: Duration = Duration::from_millis(5);

/// How often those in a group are moved out of it: who is moved may have forked meanwhile.
const MOVES: u32 = 3;

/// What a group may be limited in by others than us. What such a group cannot have, it has no file for.
const LIMITS: [&str; 5] = ["memory.max", "memory.high", "memory.swap.max", "cpu.max", "pids.max"];

/// What version 1 says a group has had at most of memory, and of memory with swap; and what it may have of each.
const MOST_USED: [(&str, &str); 2] = [
    ("memory.max_usage_in_bytes", "memory.limit_in_bytes"),
    ("memory.memsw.max_usage_in_bytes", "memory.memsw.limit_in_bytes"),
];

/// Pages for want of which version 1 kills at most: it charges so many together, or one by one.
const LARGEST_CHARGE: u64 = 64;

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

/// What the kernel has done in a worker's group for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kills {
    None,
    /// It killed, and the group was not at its limit: the machine, or a group above, had too little.
    Elsewhere,
    /// It killed, and the group was at its limit.
    AtLimit,
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
            sweep(&grounds.place);
            grounds
        })
    }

    /// Whether it was handed to this user to be divided, as by systemd's `Delegate=` with `DelegateSubgroup=`.
    fn is_ours(&self) -> bool {
        let is_owner = fs::metadata(&self.place).is_ok_and(|about| about.uid() == Uid::effective().as_raw());
        is_owner
            && match self.version {
                Version::One => true,
                Version::Two => self.is_unlimited() && self.is_delegated() && self.hands_on_memory(),
            }
    }

    /// Groups beside one that is limited would be out of its limits.
    fn is_unlimited(&self) -> bool {
        let limits = LIMITS.iter().filter_map(|name| fs::read_to_string(self.home.join(name)).ok());
        limits.into_iter().all(|limit| limit.starts_with("max"))
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

    /// Gives a worker its own group. What cannot be done is no reason to refuse it: it has its own limit all the same.
    pub(super) fn enclose(&self, process: &mut WorkerProcess) {
        if IS_LITTERED.swap(false, Ordering::Relaxed) {
            sweep(&self.place);
        }
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
        let directory = self.place.join(format!("{}{number}", prefix_of_this_process()));
        fs::create_dir(&directory)?;
        let enclosure = Enclosure { directory, home: self.home.clone(), version: self.version };
        let (memory, swap) = match self.version {
            Version::One => ("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", self.bytes)),
            Version::Two => ("memory.max", ("memory.swap.max", 0)),
        };
        fs::write(enclosure.directory.join(memory), self.bytes.to_string())?;
        // A kernel without accounts of swap has no such file.
        let _ = fs::write(enclosure.directory.join(swap.0), swap.1.to_string());
        if self.version == Version::Two {
            // If anything in it is killed, then all of it: a kill that is counted is the worker's.
            let _ = fs::write(enclosure.directory.join("memory.oom.group"), "1");
        }
        fs::write(enclosure.directory.join("cgroup.procs"), pid.to_string())?;
        Ok(enclosure)
    }
}

impl Drop for Grounds {
    fn drop(&mut self) {
        for _ in 0..LAST_LOOKS {
            if !IS_LITTERED.swap(false, Ordering::Relaxed) {
                return;
            }
            thread::sleep(LAST_PAUSE);
            sweep(&self.place);
        }
    }
}

/// Removes the groups of masters that were killed, and those of ours that were not empty at once; first the groups
/// that a worker has made, as a master of its own. One that is in use cannot be removed.
fn sweep(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten().filter(is_named_by_us) {
        sweep(&entry.path());
        let is_left = fs::remove_dir(entry.path()).is_err();
        let is_of_this_process = entry.file_name().to_string_lossy().starts_with(&prefix_of_this_process());
        if is_left && is_of_this_process && is_deserted(&entry.path()) {
            IS_LITTERED.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether nobody is in a group but who is dying.
fn is_deserted(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty())
}

fn prefix_of_this_process() -> String {
    format!("{PREFIX}{}-", std::process::id())
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
    homes.filter(|home| !is_root && has_accounts(home, version)).map(|home| (home, version)).next()
}

/// Whether there is memory to be divided. Where version 1 has it, version 2 has no say in it; and a group of version 2 has
/// files for what the group above hands on, which is for us to make it do.
fn has_accounts(home: &Path, version: Version) -> bool {
    match version {
        Version::One => home.join("memory.limit_in_bytes").exists(),
        Version::Two => {
            let file = home.parent().map(|place| place.join("cgroup.controllers"));
            let controllers = file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
            controllers.split_whitespace().any(|name| name == "memory")
        }
    }
}

fn is_named_by_us(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
}

impl Enclosure {
    /// What the kernel has done in it. With version 1 it may have been done to a program that the worker had started, and
    /// have been at its limit at another time.
    pub(super) fn kills(&self) -> Kills {
        let name = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        match counted(&self.directory.join(name), "oom_kill") {
            None | Some(0) => Kills::None,
            Some(_) if self.has_been_at_its_limit() => Kills::AtLimit,
            Some(_) => Kills::Elsewhere,
        }
    }

    fn has_been_at_its_limit(&self) -> bool {
        match self.version {
            // Newer kernels have stopped counting in `memory.failcnt` how often it was.
            Version::One => MOST_USED.iter().any(|(most, limit)| {
                let (most, limit) = (self.read(most), self.read(limit));
                most.zip(limit).is_some_and(|(most, limit)| most + largest_charge() > limit)
            }),
            // Of a group whose memory had run out, not of those below whose members were killed for it.
            Version::Two => {
                counted(&self.directory.join("memory.events"), "oom").is_some_and(|times| times > 0)
            }
        }
    }

    fn read(&self, name: &str) -> Option<u64> {
        fs::read_to_string(self.directory.join(name)).ok()?.trim().parse().ok()
    }
}

/// In bytes.
fn largest_charge() -> u64 {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    LARGEST_CHARGE * page.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096)
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        // What left the worker's process group on purpose lives on, where it was started from.
        for _ in 0..MOVES {
            let rest = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
            for pid in rest.lines() {
                let _ = fs::write(self.home.join("cgroup.procs"), pid);
            }
            if rest.is_empty() {
                break;
            }
        }
        if let Err(error) = fs::remove_dir(&self.directory) {
            IS_LITTERED.store(true, Ordering::Relaxed);
            tracing::debug!(directory = %self.directory.display(), %error, "a control group is left for later");
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
        const HANDED_ON: (&str, &str) = ("app.slice/batch.service/cgroup.controllers", "cpu memory\n");
        let membership = "0::/app.slice/batch.service/main\n";
        let root = machine(membership, &[(OWN, "max\n"), HANDED_ON]);
        assert_eq!(place_of(&root).as_deref(), Some("app.slice/batch.service"));
        let left = ("app.slice/batch.service/procession-worker-1-1/memory.max", "1\n");
        let root = machine(membership, &[(OWN, "max\n"), HANDED_ON, left]);
        assert!(place_of(&root).is_some(), "another master's are no strangers");
        let stranger = ("app.slice/batch.service/other/memory.max", "max\n");
        let root = machine(membership, &[(OWN, "max\n"), HANDED_ON, stranger]);
        assert_eq!(place_of(&root), None);
        let handed_on = ("app.slice/cgroup.controllers", "memory\n");
        let root =
            machine("0::/app.slice/run.scope\n", &[("app.slice/run.scope/memory.max", "max\n"), handed_on]);
        assert_eq!(place_of(&root), None, "a slice is its manager's");
    }

    #[test]
    fn in_version_2_memory_is_handed_on_by_us_if_nobody_has() {
        let files = [
            ("batch.service/cgroup.controllers", "cpu memory pids\n"),
            ("batch.service/main/cgroup.procs", ""),
        ];
        let root = machine("0::/batch.service/main\n", &files);
        assert_eq!(place_of(&root).as_deref(), Some("batch.service"));
        let control = root.path().join("sys/fs/cgroup/batch.service/cgroup.subtree_control");
        assert_eq!(fs::read_to_string(control).unwrap(), "+memory");
        let other = [("batch.service/cgroup.controllers", "cpu pids\n")];
        assert_eq!(place_of(&machine("0::/batch.service/main\n", &other)), None);
    }

    #[test]
    fn in_version_2_nobody_gets_out_of_the_limits_of_our_own_group() {
        for limit in LIMITS {
            let own = format!("batch.service/main/{limit}");
            let files = |value| [("batch.service/cgroup.controllers", "memory\n"), (own.as_str(), value)];
            assert!(place_of(&machine("0::/batch.service/main\n", &files("max 100000\n"))).is_some());
            assert_eq!(place_of(&machine("0::/batch.service/main\n", &files("1048576\n"))), None, "{limit}");
        }
    }

    #[test]
    fn a_kill_is_put_down_to_the_limit_only_where_that_was_reached() {
        let of = |version, files: &[(&str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            files.iter().for_each(|(name, text)| write(root.path(), name, text));
            let (directory, home) = (root.path().to_owned(), root.path().join("home"));
            Enclosure { directory, home, version }.kills()
        };
        let (one, two) = ("memory.oom_control", "memory.events");
        const LIMIT: u64 = 48 << 20;
        let of_one = |kills, memory: u64, with_swap: u64| {
            let (limit, memory, with_swap) = (LIMIT.to_string(), memory.to_string(), with_swap.to_string());
            let [(most, at_most), (most_with_swap, at_most_with_swap)] = MOST_USED;
            let files = [
                (most, &memory),
                (at_most, &limit),
                (most_with_swap, &with_swap),
                (at_most_with_swap, &limit),
            ];
            let files = files.map(|(name, text)| (name, text.as_str()));
            of(Version::One, &[&[(one, kills)], &files[..]].concat())
        };
        let near = LIMIT - largest_charge();
        assert_eq!(of_one("under_oom 0\noom_kill 0\n", LIMIT, LIMIT), Kills::None);
        assert_eq!(of_one("oom_kill 1\n", near, near), Kills::Elsewhere);
        assert_eq!(of_one("oom_kill 1\n", near + 1, 0), Kills::AtLimit);
        assert_eq!(of_one("oom_kill 1\n", 0, near + 1), Kills::AtLimit);
        assert_eq!(of(Version::One, &[(one, "oom_kill 1\n")]), Kills::Elsewhere, "nothing is known");
        assert_eq!(of(Version::Two, &[(two, "max 3\noom 0\noom_kill 0\n")]), Kills::None);
        assert_eq!(of(Version::Two, &[(two, "max 3\noom 0\noom_kill 2\n")]), Kills::Elsewhere);
        assert_eq!(of(Version::Two, &[(two, "max 3\noom 1\noom_kill 2\n")]), Kills::AtLimit);
        assert_eq!(of(Version::Two, &[]), Kills::None);
    }

    #[test]
    fn what_masters_have_left_goes_and_so_does_what_their_workers_left() {
        let root = tempfile::tempdir().unwrap();
        for name in ["procession-worker-1-0/procession-worker-2-0", "procession-worker-3-7", "theirs"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        sweep(root.path());
        let rest: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(rest, ["theirs"]);
    }

    #[test]
    fn without_accounts_there_are_no_grounds() {
        for membership in ["", "nonsense\n", "0::/a/b\n", "4:memory:/gone\n", "3:cpu:/a\n"] {
            assert_eq!(place_of(&machine(membership, &[("a/memory.max", "max\n")])), None, "{membership}");
        }
    }
}
