//! Where the figures come from: the machine and the versions.

use std::fs;
use std::process::Command;

/// What a reader must know to judge the figures, each with its name.
pub(crate) fn facts() -> Vec<(String, String)> {
    let fact = |name: &str, value: Option<String>| (name.to_owned(), value.unwrap_or("unknown".to_owned()));
    vec![
        fact("Procession", Some(env!("CARGO_PKG_VERSION").to_owned())),
        fact("processor", processor()),
        fact("usable cores", Some(procession::cpu_count().to_string())),
        fact("memory", memory()),
        fact("kernel", read("/proc/sys/kernel/osrelease")),
        fact("rustc", said(Command::new("rustc").arg("--version"))),
    ]
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory() -> Option<String> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))?
        .parse()
        .ok()?;
    Some(format!("{:.0} GiB", kib / f64::from(1 << 20)))
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
