//! Tasks for the tests of this module.

use std::io::Write;
use std::process::Command;

use procession::task;

#[task]
pub(super) fn double(x: i64) -> i64 {
    x * 2
}

#[task]
pub(super) fn end(how: String) {
    match how.as_str() {
        "abort" => std::process::abort(),
        "exit 3" => std::process::exit(3),
        "raise SIGSEGV" => nix::sys::signal::raise(nix::sys::signal::Signal::SIGSEGV).unwrap(),
        "kill self" => nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap(),
        "wild write" => wild_write(),
        "overflow" => drop(overflow(1)),
        "close everything" => drop((3..4096).map(nix::unistd::close::<i32>).collect::<Vec<_>>()),
        other => panic!("no way to end called {other}"),
    }
}

/// A fault that the processor reports.
pub(super) fn wild_write() {
    // SAFETY: none. That the system refuses this write is the point.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) }
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn overflow(depth: u64) -> u64 {
    let kept = std::hint::black_box([depth; 64]);
    overflow(depth + 1) + kept[7]
}

/// Descriptor numbers that are open.
#[task]
pub(super) fn descriptors() -> Vec<i32> {
    let entries: Vec<_> =
        std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let mut open: Vec<i32> = entries.iter().map(|name| name.to_str().unwrap().parse().unwrap()).collect();
    // The directory itself is closed again by now.
    open.retain(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok());
    open.sort_unstable();
    open
}

#[task]
pub(super) fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

#[task]
pub(super) fn print(text: String) {
    println!("out {text}");
    eprintln!("err {text}");
    std::io::stdout().flush().unwrap();
}

#[task]
pub(super) fn start_grandchild() -> u32 {
    Command::new("sleep").arg("1000").spawn().unwrap().id()
}

#[task]
pub(super) fn set_state(text: String) -> Result<(), String> {
    if text == "fail" {
        return Err("told to fail".to_owned());
    }
    procession::set_worker_state(text);
    Ok(())
}

#[task]
pub(super) fn start_thread() {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
}

#[task]
pub(super) fn state() -> Option<String> {
    procession::worker_state::<String>().cloned()
}

#[task]
pub(super) fn limits() -> (u64, i32, usize) {
    let core = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap().0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let nice = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap();
    (core, nice, procession::cpu_count())
}
