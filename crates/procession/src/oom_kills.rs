//! How many processes of this control group the kernel has killed because memory ran out.
//!
//! Workers are in the group of the program that started them. Everything is read from under a root directory, so that
//! tests can show a machine that is not this one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::control_groups::{Membership, mounts, mounts_of_version_2};
use crate::process::Kills;

/// The group's counter, and how much of it was looked at.
#[derive(Debug)]
pub(crate) struct OomKills {
    /// `None`: there is no such counter here, and nothing can be proved.
    file: Option<PathBuf>,
    /// Kills that were there when we began, or that a death was put down to.
    explained: u64,
}

impl OomKills {
    /// Those of this process's group, from now on.
    pub(crate) fn watch() -> OomKills {
        OomKills::under(Path::new("/"))
    }

    fn under(root: &Path) -> OomKills {
        let file = Membership::all(root).iter().find_map(|group| counter(root, group));
        let explained = file.as_deref().and_then(kills).unwrap_or(0);
        OomKills { file, explained }
    }

    /// Whether a kill is proved that no earlier death was put down to. A death takes one. Whose limit was reached is not
    /// told.
    pub(crate) fn claim(&mut self) -> Kills {
        let is_proved = self.file.as_deref().and_then(kills).is_some_and(|kills| kills > self.explained);
        self.explained += u64::from(is_proved);
        if is_proved { Kills::Elsewhere } else { Kills::None }
    }
}

/// The file with the group's counter.
fn counter(root: &Path, group: &Membership) -> Option<PathBuf> {
    let (mounts, name) = if group.is_version_2() {
        (mounts_of_version_2(root).to_vec(), "memory.events")
    } else if group.has("memory") {
        (vec![mounts(root).join("memory")], "memory.oom_control")
    } else {
        return None;
    };
    // In a container the root of the mount may be the group itself.
    let files = mounts.iter().flat_map(|mount| [mount.join(&group.path).join(name), mount.join(name)]);
    files.into_iter().find(|file| kills(file).is_some())
}

/// Both versions have a line `oom_kill N` among others.
fn kills(file: &Path) -> Option<u64> {
    counted(file, "oom_kill")
}

/// What stands behind `name` in a file with a line for each thing that is counted.
pub(crate) fn counted(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let count = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A machine with these files.
    fn machine(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().expect("a temporary directory can be made");
        for (path, text) in files {
            write(&root, path, text);
        }
        root
    }

    fn write(root: &TempDir, path: &str, text: &str) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("the path has a directory")).expect("it can be made");
        fs::write(path, text).expect("the file can be written");
    }

    const EVENTS: &str = "low 0\nhigh 3\nmax 17\noom 2\noom_kill 2\noom_group_kill 9\n";

    /// The counter is found in `file`, and each further kill proves one death.
    #[track_caller]
    fn check_found(files: &[(&str, &str)], file: &str, text: impl Fn(u64) -> String) {
        let root = machine(files);
        write(&root, file, &text(2));
        let mut kills = OomKills::under(root.path());
        assert!(kills.claim() == Kills::None, "{file}: what was before proves nothing");
        write(&root, file, &text(4));
        let found = [kills.claim(), kills.claim(), kills.claim()];
        assert_eq!(found, [Kills::Elsewhere, Kills::Elsewhere, Kills::None], "{file}");
    }

    fn version_2(kills: u64) -> String {
        EVENTS.replace("oom_kill 2", &format!("oom_kill {kills}"))
    }

    fn version_1(kills: u64) -> String {
        format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n")
    }

    #[test]
    fn a_kill_since_the_start_proves_one_death() {
        let group = ("proc/self/cgroup", "0::/user.slice/job.scope\n");
        check_found(&[group], "sys/fs/cgroup/user.slice/job.scope/memory.events", version_2);
        check_found(&[group], "sys/fs/cgroup/unified/user.slice/job.scope/memory.events", version_2);
    }

    #[test]
    fn version_1_has_another_file() {
        let groups = ("proc/self/cgroup", "9:name=systemd:/\n4:memory:/jobs/17\n1:cpu:/\n0::/\n");
        check_found(&[groups], "sys/fs/cgroup/memory/jobs/17/memory.oom_control", version_1);
    }

    #[test]
    fn in_a_container_the_root_of_the_mount_is_the_group() {
        let group = ("proc/self/cgroup", "0::/docker/0123abcd\n");
        check_found(&[group], "sys/fs/cgroup/memory.events", version_2);
        let group = ("proc/self/cgroup", "4:memory:/docker/0123abcd\n");
        check_found(&[group], "sys/fs/cgroup/memory/memory.oom_control", version_1);
    }

    #[test]
    fn another_groups_kills_prove_nothing() {
        let group = ("proc/self/cgroup", "0::/job\n");
        let own = "sys/fs/cgroup/job/memory.events";
        let root = machine(&[group, (own, EVENTS), ("sys/fs/cgroup/other/memory.events", EVENTS)]);
        let mut kills = OomKills::under(root.path());
        write(&root, "sys/fs/cgroup/other/memory.events", &version_2(99));
        write(&root, "sys/fs/cgroup/memory.events", &version_2(99));
        assert!(kills.claim() == Kills::None);
    }

    #[test]
    fn without_a_counter_nothing_is_proved() {
        for text in ["", "oom_kill", "oom_kill many\n", "oom_kill -1\n", "oom_group_kill 5\n", "\0\u{fffd}"] {
            let root = machine(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.events", text)]);
            assert!(OomKills::under(root.path()).claim() == Kills::None, "{text:?}");
        }
        for groups in ["", "no colons\n0:\n::\n0::/../../x\n", "4:memory:/gone\n"] {
            let mut kills = OomKills::under(machine(&[("proc/self/cgroup", groups)]).path());
            assert!(kills.claim() == Kills::None, "{groups:?}");
        }
        assert!(OomKills::under(Path::new("/nowhere")).claim() == Kills::None);
    }

    #[test]
    fn on_this_machine_no_worker_has_been_killed_yet() {
        assert!(OomKills::watch().claim() == Kills::None);
    }
}
