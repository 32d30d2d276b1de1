//! A control group of the kernel, below the one that this process is in, so that a test can be given less of something.
//! It knows no pools.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const MOUNTS: &str = "/sys/fs/cgroup";

/// A group that this process is in, and all that it starts, until it is dropped.
pub struct ControlGroup {
    path: PathBuf,
    parent: PathBuf,
    is_v2: bool,
}

impl ControlGroup {
    /// Makes a group that `controller` (`pids`, `memory`) can limit, and enters it.
    ///
    /// # Errors
    /// What this machine would need.
    pub fn enter(controller: &str) -> Result<ControlGroup, String> {
        let (parent, is_v2) = own_group(controller).ok_or_else(|| need(controller, "there is none here"))?;
        let path = parent.join(format!("procession-test-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| need(controller, &format!("{}: {error}", path.display())))?;
        let group = ControlGroup { path, parent, is_v2 };
        if is_v2 && !group.has(controller) {
            // Only a parent that no process is in may hand a controller on, or the root.
            let file = group.parent.join("cgroup.subtree_control");
            fs::write(&file, format!("+{controller}"))
                .map_err(|error| need(controller, &format!("{}: {error}", file.display())))?;
        }
        move_to(&group.path).map_err(|error| need(controller, &error))?;
        Ok(group)
    }

    fn has(&self, controller: &str) -> bool {
        let text = fs::read_to_string(self.path.join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().any(|name| name == controller)
    }

    /// Lets the group have so many processes and threads; `None`: as many as there are.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn limit_processes(&self, most: Option<u64>) {
        self.set("pids.max", &most.map_or("max".to_owned(), |most| most.to_string()));
    }

    /// Lets the group have so many bytes, none of them in swap.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn limit_memory(&self, bytes: u64) {
        let names = if self.is_v2 {
            ["memory.max", "memory.swap.max"]
        } else {
            ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        };
        self.set(names[0], &bytes.to_string());
        // A kernel without accounts of swap has no such file.
        if self.path.join(names[1]).exists() {
            let swap = if self.is_v2 { 0 } else { bytes };
            self.set(names[1], &swap.to_string());
        }
    }

    /// Whether a process in it may make groups below it: with version 2 only where no process is.
    pub fn is_divisible(&self) -> bool {
        !self.is_v2
    }

    /// How many groups are below it.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn parts(&self) -> usize {
        let entries = fs::read_dir(&self.path).expect("a group can be listed");
        entries.flatten().filter(|entry| entry.path().is_dir()).count()
    }

    fn set(&self, name: &str, value: &str) {
        let file = self.path.join(name);
        fs::write(&file, value).unwrap_or_else(|error| panic!("{} = {value}: {error}", file.display()));
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Whoever is still in it is among what the test leaves behind, which is looked for.
        let _ = move_to(&self.parent);
        let _ = fs::remove_dir(&self.path);
    }
}

fn need(controller: &str, why: &str) -> String {
    format!(
        "a control group with `{controller}` below one's own: run as root, or in a delegated group ({why})"
    )
}

fn move_to(group: &Path) -> Result<(), String> {
    let file = group.join("cgroup.procs");
    fs::write(&file, std::process::id().to_string()).map_err(|error| format!("{}: {error}", file.display()))
}

/// The group that this process is in as far as `controller` goes, and whether it is of version 2.
fn own_group(controller: &str) -> Option<(PathBuf, bool)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let paths = |wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            wanted(controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    if let Some(path) = paths(&|controllers| controllers.split(',').any(|name| name == controller)) {
        return Some((Path::new(MOUNTS).join(controller).join(path), false));
    }
    let path = Path::new(MOUNTS).join(paths(&str::is_empty)?);
    let controllers = fs::read_to_string(path.join("cgroup.controllers")).ok()?;
    controllers.split_whitespace().any(|name| name == controller).then_some((path, true))
}
