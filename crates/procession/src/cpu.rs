//! How many cores this process may really use.
//!
//! Everything is read from under a root directory, so that tests can show a machine that is not this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::control_groups::{Membership, mounts, mounts_of_version_2};

/// Caps [`cpu_count`], for programs that share a machine by agreement. Anything but a positive integer is ignored.
const CAP_VARIABLE: &str = "PROCESSION_CPU_COUNT";

/// The number of cores this process can use, at least 1. A pool's default number of workers.
///
/// The smallest of: the cores this thread may run on (its affinity), the CPU quota of its control group and of that
/// group's ancestors (cgroup v2 or v1; half a core counts as one, one and a half as two), and the environment
/// variable `PROCESSION_CPU_COUNT`. What cannot be read or makes no sense does not limit.
///
/// ```
/// assert!(procession::cpu_count() >= 1);
/// ```
#[must_use]
pub fn cpu_count() -> usize {
    let cap = std::env::var(CAP_VARIABLE).ok();
    usable(affinity(), quota(Path::new("/")), cap.as_deref())
}

fn usable(affinity: usize, quota: Option<usize>, cap: Option<&str>) -> usize {
    let cap = cap.and_then(|cap| cap.trim().parse::<usize>().ok()).filter(|&cap| cap > 0);
    [quota, cap].into_iter().flatten().fold(affinity, usize::min).max(1)
}

fn affinity() -> usize {
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).count(),
        // More cores than the set has room for, or a sandbox that refuses: the standard library has its own ways.
        Err(_) => thread::available_parallelism().map_or(1, usize::from),
    }
}

/// The strictest quota above this process, in whole cores, rounded up.
fn quota(root: &Path) -> Option<usize> {
    Membership::all(root).iter().filter_map(|group| quota_of_group(root, group)).min()
}

fn quota_of_group(root: &Path, group: &Membership) -> Option<usize> {
    if group.is_version_2() {
        mounts_of_version_2(root).iter().filter_map(|mount| strictest(mount, &group.path, quota_v2)).min()
    } else if group.has("cpu") {
        let mounts = mounts(root);
        let combined = [mounts.join("cpu"), mounts.join("cpu,cpuacct"), mounts.join("cpuacct,cpu")];
        combined.iter().filter_map(|mount| strictest(mount, &group.path, quota_v1)).min()
    } else {
        None
    }
}

/// The smallest quota on the way from the mount's root down to `group`.
///
/// In a container the path may be the host's and lead nowhere here; the root of the mount is then the group itself.
fn strictest(mount: &Path, group: &Path, read: fn(&Path) -> Option<usize>) -> Option<usize> {
    let mut directory = PathBuf::from(mount);
    let mut least = read(&directory);
    for part in group {
        directory.push(part);
        least = [least, read(&directory)].into_iter().flatten().min();
    }
    least
}

/// `cpu.max` is `QUOTA PERIOD` in µs, or `max PERIOD` where nothing limits.
fn quota_v2(group: &Path) -> Option<usize> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let mut fields = text.split_whitespace();
    cores(fields.next()?, fields.next()?)
}

/// A quota of −1 µs means that nothing limits.
fn quota_v1(group: &Path) -> Option<usize> {
    let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(group.join("cpu.cfs_period_us")).ok()?;
    cores(quota.trim(), period.trim())
}

/// Whole cores, rounded up. `None` for anything that is not two positive integers.
fn cores(quota: &str, period: &str) -> Option<usize> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    if quota == 0 || period == 0 {
        return None;
    }
    usize::try_from(quota.div_ceil(period)).ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const PLENTY: usize = 64;

    /// A machine with these files, and as many cores as anyone could want.
    #[track_caller]
    fn check_quota(files: &[(&str, &str)], expected: Option<usize>) {
        let root = TempDir::new().expect("a temporary directory can be made");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("the path has a directory")).expect("it can be made");
            fs::write(path, text).expect("the file can be written");
        }
        assert_eq!(quota(root.path()), expected, "{files:?}");
    }

    #[track_caller]
    fn check_cpu_max(text: &str, expected: Option<usize>) {
        check_quota(&[("proc/self/cgroup", "0::/"), ("sys/fs/cgroup/cpu.max", text)], expected);
    }

    #[test]
    fn a_quota_is_rounded_up() {
        check_cpu_max("50000 100000\n", Some(1));
        check_cpu_max("100000 100000\n", Some(1));
        check_cpu_max("150000 100000\n", Some(2));
        check_cpu_max("max 100000\n", None);
    }

    #[test]
    fn what_makes_no_sense_does_not_limit() {
        for text in
            ["", "\n", "lots", "max", "100000", "-1 100000", "100000 0", "0 100000", "1e5 1e5", "\0\u{fffd}"]
        {
            check_cpu_max(text, None);
        }
        check_quota(&[], None);
        check_quota(&[("proc/self/cgroup", "no colons\n0:\n::\n0::/../../x\n")], None);
        check_cpu_max("18446744073709551615 1", usize::try_from(u64::MAX).ok());
    }

    #[test]
    fn the_strictest_group_on_the_way_down_counts() {
        let group = ("proc/self/cgroup", "0::/user/batch/job\n");
        let user = ("sys/fs/cgroup/user/cpu.max", "300000 100000\n");
        let batch = ("sys/fs/cgroup/user/batch/cpu.max", "200000 100000\n");
        let job = ("sys/fs/cgroup/user/batch/job/cpu.max", "max 100000\n");
        let sibling = ("sys/fs/cgroup/user/other/cpu.max", "100000 100000\n");
        check_quota(&[group, user, job, sibling], Some(3));
        check_quota(&[group, user, batch, job, sibling], Some(2));
    }

    #[test]
    fn version_1_has_two_files_and_several_mounts() {
        for mount in ["cpu", "cpu,cpuacct", "cpuacct,cpu"] {
            let controllers = if mount == "cpu" { "cpu" } else { mount };
            let groups = format!("12:memory:/job\n3:{controllers}:/job\n");
            let quota = format!("sys/fs/cgroup/{mount}/job/cpu.cfs_quota_us");
            let period = format!("sys/fs/cgroup/{mount}/job/cpu.cfs_period_us");
            for (value, expected) in [("150000\n", Some(2)), ("-1\n", None), ("x", None)] {
                check_quota(
                    &[("proc/self/cgroup", &groups), (&quota, value), (&period, "100000\n")],
                    expected,
                );
            }
            check_quota(&[("proc/self/cgroup", &groups), (&quota, "150000\n")], None);
        }
    }

    #[test]
    fn in_a_container_the_root_of_the_mount_is_the_group() {
        check_quota(
            &[
                ("proc/self/cgroup", "4:cpu,cpuacct:/docker/0123abcd\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ],
            Some(3),
        );
    }

    #[test]
    fn a_hybrid_hierarchy_counts_both() {
        check_quota(
            &[
                ("proc/self/cgroup", "1:cpu:/a\n0::/a\n"),
                ("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "400000"),
                ("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000"),
                ("sys/fs/cgroup/unified/a/cpu.max", "300000 100000"),
            ],
            Some(3),
        );
    }

    #[test]
    fn the_smallest_limit_wins_and_one_core_is_left() {
        assert_eq!(usable(PLENTY, None, None), PLENTY);
        assert_eq!(usable(4, Some(2), None), 2);
        assert_eq!(usable(1, Some(2), None), 1);
        assert_eq!(usable(4, Some(3), Some("2")), 2);
        assert_eq!(usable(4, None, Some(" 3 \n")), 3);
        assert_eq!(usable(0, None, None), 1);
        for garbage in ["", "0", "-1", "two", "1.5", "99999999999999999999"] {
            assert_eq!(usable(4, None, Some(garbage)), 4, "{garbage:?}");
        }
    }

    #[test]
    fn this_machine_has_a_core() {
        assert!((1..=affinity()).contains(&cpu_count()));
    }
}
