//! The machine: its name, its life, its processes, and whether a file system is shared with others.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use nix::sys::statfs::{self, FsType};

/// File systems that other machines may write to at the same time, by their numbers in `statfs(2)` and the kernel's
/// `magic.h`: locks on them are as good as their servers. Behind FUSE may be anything, sshfs among it.
const SHARED_FILE_SYSTEMS: [(i64, &str); 11] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
];

/// The kind of the file system that `path` is on, if other machines may write there as well.
pub(crate) fn shared_file_system(path: &Path) -> Option<&'static str> {
    let FsType(number) = statfs::statfs(path).ok()?.filesystem_type();
    #[expect(clippy::unnecessary_cast, reason = "the type differs between C libraries")]
    shared(number as i64)
}

fn shared(number: i64) -> Option<&'static str> {
    // Where the type has 32 bits, the high ones may be those of a sign.
    let number = number & 0xffff_ffff;
    SHARED_FILE_SYSTEMS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// This machine's name.
pub(crate) fn host() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| "this machine".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Which life of this machine it is.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// When a process began, in ticks since the machine did: with its id, that names a process for good.
pub(crate) fn birth_of(pid: u32) -> Option<i64> {
    alive(pid).map(|(_, birth)| birth)
}

/// The processes that live in these process groups.
pub(crate) fn members_of(groups: &HashSet<u32>) -> Vec<u32> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let pids = names.filter_map(|name| name.to_str()?.parse().ok());
    pids.filter(|pid| alive(*pid).is_some_and(|(group, _)| groups.contains(&group))).collect()
}

/// The process group and the birth of a process that lives.
fn alive(pid: u32) -> Option<(u32, i64)> {
    let stat: io::Result<String> = fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.ok()?;
    // The name comes second and may contain anything; what follows its last parenthesis are numbers.
    let fields = stat.rsplit_once(')')?.1;
    let mut fields = fields.split_ascii_whitespace();
    // A zombie is gone but for its status.
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    let group = fields.nth(1)?.parse().ok()?;
    Some((group, fields.nth(16)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_file_systems_are_known_by_their_numbers() {
        assert_eq!(shared(0x6573_5546), Some("FUSE"));
        assert_eq!(shared(0x0102_1997), Some("9p"));
        assert_eq!(shared(i64::from(0xff53_4d42_u32 as i32)), Some("CIFS"));
        assert_eq!(shared(0xef53), None, "ext4");
    }
}
