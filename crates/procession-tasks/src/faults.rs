//! Tasks that go wrong, each in its own way, for tests and demonstrations.
//!
//! **They do what they say**: called in the master instead of a worker, they end the master.
//! The only `unsafe` of this crate is here: a read through a bad pointer, a signal to ourselves, and one ignored.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use procession::task;

/// Panics. The process lives on: only the call fails.
///
/// ```should_panic
/// procession_tasks::faults::panic();
/// ```
#[task]
pub fn panic() {
    panic!("this task panics on purpose");
}

/// Aborts the process (signal 6, SIGABRT), as a failed assertion in C does.
#[task]
pub fn abort() {
    std::process::abort();
}

/// Reads through a bad pointer, which the kernel answers with signal 11 (SIGSEGV).
#[task]
pub fn segv() {
    // Not null, which debug builds check for before the processor does; in the first page, which is never mapped.
    let nowhere = black_box(std::ptr::without_provenance::<u8>(8));
    // SAFETY: none, and that is the purpose: this must be the fault that a broken library makes. A volatile read
    // cannot be left out, and one byte has no alignment to check.
    unsafe { nowhere.read_volatile() };
}

/// Ends the process with exit status `code`, in the middle of its work.
#[task]
pub fn exit(code: i32) {
    std::process::exit(code);
}

/// Ends the process with signal 9 (SIGKILL), as the kernel does when memory runs out.
#[task]
pub fn kill_self() {
    // SAFETY: `raise` takes no pointers.
    unsafe { libc::raise(libc::SIGKILL) };
}

/// Sleeps, and returns `seconds`.
///
/// ```
/// assert_eq!(procession_tasks::faults::sleep(0.0), 0.0);
/// ```
///
/// # Panics
/// If `seconds` is negative or not finite.
#[task(idempotent)]
pub fn sleep(seconds: f64) -> f64 {
    std::thread::sleep(duration(seconds));
    seconds
}

/// Sleeps, deaf to signal 15 (SIGTERM) meanwhile, and returns `seconds`.
///
/// ```
/// assert_eq!(procession_tasks::faults::deaf(0.0), 0.0);
/// ```
///
/// # Panics
/// If `seconds` is negative or not finite.
#[task(idempotent)]
pub fn deaf(seconds: f64) -> f64 {
    // SAFETY: it takes no pointers, and to ignore a signal runs no code of ours.
    let before = unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    let slept = sleep(seconds);
    // SAFETY: this was the disposition before.
    unsafe { libc::signal(libc::SIGTERM, before) };
    slept
}

/// Keeps one core busy, and returns `seconds`.
///
/// ```
/// assert_eq!(procession_tasks::faults::spin(0.001), 0.001);
/// ```
///
/// # Panics
/// If `seconds` is negative or not finite.
#[task(idempotent)]
pub fn spin(seconds: f64) -> f64 {
    let (start, length) = (Instant::now(), duration(seconds));
    while start.elapsed() < length {
        std::hint::spin_loop();
    }
    seconds
}

/// Adds a line with `x` to the end of the file `path`, keeps one core busy for `seconds`, and returns `x`: so that a file
/// tells how often each item was begun.
///
/// ```
/// let ledger = std::env::temp_dir().join(format!("ledger-{}", std::process::id()));
/// assert_eq!(procession_tasks::faults::note(ledger.display().to_string(), 7, 0.0), 7);
/// assert_eq!(std::fs::read_to_string(&ledger).unwrap(), "7\n");
/// std::fs::remove_file(&ledger).unwrap();
/// ```
///
/// # Panics
/// If the file cannot be written; if `seconds` is negative or not finite.
#[task]
pub fn note(path: String, x: i64, seconds: f64) -> i64 {
    let mut ledger = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("cannot open {path}: {error}"));
    // One write, so that lines of several processes do not mix.
    ledger
        .write_all(format!("{x}\n").as_bytes())
        .unwrap_or_else(|error| panic!("cannot write to {path}: {error}"));
    spin(seconds);
    x
}

/// Takes `bytes` of memory, writes to every page of it, and never gives it back. Returns `bytes`.
///
/// ```
/// assert_eq!(procession_tasks::faults::leak(4096), 4096);
/// ```
#[task]
pub fn leak(bytes: u64) -> u64 {
    let length = usize::try_from(bytes).expect("a length in bytes fits in the address space");
    // Not zero: zeroed memory stays untouched until someone writes to it.
    black_box(Vec::leak(vec![0xa5_u8; length]));
    bytes
}

/// Writes `bytes` bytes to the standard error stream, in lines, and returns `bytes`.
///
/// ```
/// assert_eq!(procession_tasks::faults::stderr_flood(0), 0);
/// ```
#[task]
pub fn stderr_flood(bytes: u64) -> u64 {
    const LINE: &[u8; 64] = b"a worker that talks too much must not stop, nor fill the memory\n";
    let mut stderr = std::io::stderr().lock();
    let mut left = bytes;
    while left > 0 {
        let length = left.min(LINE.len() as u64);
        // The end of the line, so that the last one is complete even if it is short.
        let line = &LINE[LINE.len() - length as usize..];
        if stderr.write_all(line).is_err() {
            break; // Nobody listens any more, which is not what this task is about.
        }
        left -= length;
    }
    bytes
}

/// Writes `text` to the standard output stream, which is for the results of the master, and returns its length in bytes.
///
/// ```
/// assert_eq!(procession_tasks::faults::print("not a result\n".to_owned()), 13);
/// ```
#[task]
pub fn print(text: String) -> u64 {
    let mut stdout = std::io::stdout().lock();
    // Whether anybody listens is not what this task is about.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    text.len() as u64
}

/// Returns the bytes it was given: for measuring what a round trip costs.
///
/// ```
/// assert_eq!(procession_tasks::faults::echo(vec![1, 2, 3]), [1, 2, 3]);
/// ```
#[task(idempotent)]
pub fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// Returns `x`, but ends the process where `x` is a multiple of `n`, by `how`.
///
/// `how` is `segv`, `abort`, `kill`, `exit0` (a silent, successful exit) or `panic` (which ends only the call).
/// With `n` = 0 nothing ever happens.
///
/// ```
/// assert_eq!(procession_tasks::faults::die_every(41, 20, "segv".to_owned()), 41);
/// ```
///
/// # Panics
/// If `how` is `panic` and `x` is a multiple of `n`; if `how` is none of these words.
#[task]
pub fn die_every(x: i64, n: i64, how: String) -> i64 {
    let dies = x.checked_rem(n) == Some(0);
    match how.as_str() {
        "segv" if dies => segv(),
        "abort" if dies => abort(),
        "kill" if dies => kill_self(),
        "exit0" if dies => exit(0),
        "panic" if dies => panic!("{x} is a multiple of {n}"),
        "segv" | "abort" | "kill" | "exit0" | "panic" => {}
        _ => panic!("no way to die is named `{how}`: say segv, abort, kill, exit0 or panic"),
    }
    x
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_else(|error| panic!("{seconds} s: {error}"))
}
