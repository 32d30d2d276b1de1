//! How many cores this process may really use.
//!
//! Everything is read from under a root directory, so that tests can show a machine that is not this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

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
    let cap = cap
        .and_then(|cap| cap.trim().parse::<usize>().ok())
        .filter(|&cap| cap > 0);
    [quota, cap]
        .into_iter()
        .flatten()
        .fold(affinity, usize::min)
        .max(1)
}

fn affinity() -> usize {
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count())
            .filter(|&cpu| set.is_set(cpu) == Ok(true))
            .count(),
        // More cores than the set has room for, or a sandbox that refuses: the standard library has its own ways.
        Err(_) => thread::available_parallelism().map_or(1, usize::from),
    }
}

/// The strictest quota above this process, in whole cores, rounded up.
fn quota(root: &Path) -> Option<usize> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| quota_of_group(root, line)).min()
}

/// `line` is `hierarchy:controllers:path`: hierarchy 0 without controllers is cgroup v2.
fn quota_of_group(root: &Path, line: &str) -> Option<usize> {
    let mut fields = line.splitn(3, ':');
    let (_hierarchy, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
    let mounts = root.join("sys/fs/cgroup");
    if controllers.is_empty() {
        let unified = [mounts.join("unified"), mounts];
        unified
            .iter()
            .filter_map(|mount| strictest(mount, group, quota_v2))
            .min()
    } else if controllers.split(',').any(|controller| controller == "cpu") {
        let combined = [
            mounts.join("cpu"),
            mounts.join("cpu,cpuacct"),
            mounts.join("cpuacct,cpu"),
        ];
        combined
            .iter()
            .filter_map(|mount| strictest(mount, group, quota_v1))
            .min()
    } else {
        None
    }
}

/// The smallest quota on the way from the mount's root down to `group`.
///
/// In a container the path may be the host's and lead nowhere here; the root of the mount is then the group itself.
fn strictest(mount: &Path, group: &str, read: fn(&Path) -> Option<usize>) -> Option<usize> {
    let mut directory = PathBuf::from(mount);
    let mut least = read(&directory);
    for part in group.split('/').filter(|part| !matches!(*part, "" | "." | "..")) {
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
