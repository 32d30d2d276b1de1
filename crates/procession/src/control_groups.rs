//! The kernel's control groups that this process is in. Read from under a root directory, so that tests can show a
//! machine that is not this one.

use std::fs;
use std::path::{Path, PathBuf};

/// A line of `/proc/self/cgroup`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    /// The controllers of the hierarchy; none: version 2.
    controllers: Vec<String>,
    /// From the hierarchy's root. In a container it may be the host's, and lead nowhere here.
    pub(crate) path: PathBuf,
}

impl Membership {
    /// Those of this process.
    pub(crate) fn all(root: &Path) -> Vec<Membership> {
        let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        text.lines().filter_map(Membership::parse).collect()
    }

    /// `line` is `hierarchy:controllers:path`.
    fn parse(line: &str) -> Option<Membership> {
        let mut fields = line.splitn(3, ':');
        let (_hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        // Nothing that leads out of the mount.
        let path = path.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
        Some(Membership { controllers, path })
    }

    pub(crate) fn is_version_2(&self) -> bool {
        self.controllers.is_empty()
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// Where control groups are mounted.
pub(crate) fn mounts(root: &Path) -> PathBuf {
    root.join("sys/fs/cgroup")
}

/// Where the hierarchy of version 2 is: beside those of version 1, or alone.
pub(crate) fn mounts_of_version_2(root: &Path) -> [PathBuf; 2] {
    [mounts(root).join("unified"), mounts(root)]
}
