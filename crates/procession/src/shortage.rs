//! Whether a worker died for want of memory, and what proves it.

use std::fmt;

use nix::sys::signal::Signal;

use crate::process::{Kills, WorkerExit};

/// What memory had to do with a death.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Nothing, as far as anybody knows.
    #[default]
    None,
    /// Nobody of ours sent the SIGKILL, and no counter tells who did.
    Possible,
    /// It died as one does that was refused memory, under this limit in bytes.
    PossibleLimit(u64),
    /// The kernel has counted a kill.
    Killed,
    /// The kernel has counted a kill in the worker's own control group, which had all of the bytes it may have.
    KilledAtLimit(u64),
    /// The standard library's last words: an allocation of so many bytes failed. With the limit, if there is one.
    Refused { bytes: u64, limit: Option<u64> },
}

/// What is known when a worker has died.
pub(crate) struct Evidence<'a> {
    pub(crate) exit: WorkerExit,
    /// The pool sent it a SIGKILL.
    pub(crate) is_killed_by_us: bool,
    /// The last that it wrote, as far as it was kept.
    pub(crate) output: &'a [u8],
    pub(crate) peak_rss: Option<u64>,
    pub(crate) limit: Option<u64>,
}

impl Shortage {
    /// `kills` is asked only if the answer matters: which kill that the kernel has counted explains this one.
    pub(crate) fn of(evidence: &Evidence<'_>, kills: impl FnOnce() -> Kills) -> Shortage {
        let WorkerExit::Signal(number) = evidence.exit else { return Shortage::None };
        match Signal::try_from(number) {
            Ok(Signal::SIGKILL) if evidence.is_killed_by_us => Shortage::None,
            Ok(Signal::SIGKILL) => match kills() {
                Kills::None => Shortage::Possible,
                Kills::Elsewhere => Shortage::Killed,
                Kills::AtLimit => evidence.limit.map_or(Shortage::Killed, Shortage::KilledAtLimit),
            },
            Ok(Signal::SIGABRT) => match refused_bytes(&String::from_utf8_lossy(evidence.output)) {
                Some(bytes) => Shortage::Refused { bytes, limit: evidence.limit },
                None => evidence.near_the_limit(),
            },
            // C code that does not ask whether it got its memory.
            Ok(Signal::SIGSEGV | Signal::SIGBUS) => evidence.near_the_limit(),
            _ => Shortage::None,
        }
    }

    pub(crate) fn is_proved(self) -> bool {
        match self {
            Shortage::None | Shortage::Possible | Shortage::PossibleLimit(_) => false,
            Shortage::Killed | Shortage::KilledAtLimit(_) | Shortage::Refused { .. } => true,
        }
    }
}

impl Evidence<'_> {
    /// A limit counts what was asked for, of which a part is resident: from half of it on it is worth a word.
    fn near_the_limit(&self) -> Shortage {
        match (self.limit, self.peak_rss) {
            (Some(limit), Some(peak)) if peak >= limit / 2 => Shortage::PossibleLimit(limit),
            _ => Shortage::None,
        }
    }
}

/// How much memory the standard library did not get, by the line that it writes before it aborts. Only among the last
/// words: the same line may have been written before, for a program that a task had started. The backtrace that it
/// then writes may want memory, too: the first of such lines counts.
fn refused_bytes(output: &str) -> Option<u64> {
    let said =
        |line: &str| line.strip_prefix("memory allocation of ")?.strip_suffix(" bytes failed")?.parse().ok();
    let last_words = output.lines().rev().take_while(|line| is_of_backtrace(line) || said(line).is_some());
    last_words.filter_map(said).last()
}

/// What the standard library may add to its last words.
fn is_of_backtrace(line: &str) -> bool {
    let is_frame = line.is_empty() || line.starts_with(' ');
    is_frame
        || line == "stack backtrace:"
        || line.starts_with("note: ")
        || line.starts_with("skipping backtrace ")
}

/// What follows the exit in a report; empty if memory had nothing to do with it.
impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Shortage::None => Ok(()),
            Shortage::Possible => f.write_str(", possibly out of memory"),
            Shortage::PossibleLimit(limit) => {
                write!(f, ", possibly over its memory limit of {}", Size(limit))
            }
            Shortage::Killed => f.write_str(", killed by the kernel because memory ran out"),
            Shortage::KilledAtLimit(limit) => {
                write!(f, ", killed by the kernel at its memory limit of {}", Size(limit))
            }
            Shortage::Refused { bytes, limit: Some(limit) } => {
                write!(f, ", refused {} more under its memory limit of {}", Size(bytes), Size(limit))
            }
            Shortage::Refused { bytes, limit: None } => write!(f, ", refused {} more", Size(bytes)),
        }
    }
}

/// Bytes as a reader wants them.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < 1 << 10 => write!(f, "{bytes} bytes"),
            bytes if bytes < 1 << 20 => write!(f, "{} KiB", bytes >> 10),
            bytes if bytes < 10 << 30 => write!(f, "{} MiB", bytes >> 20),
            bytes => write!(f, "{} GiB", bytes >> 30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 64 << 20;

    const LAST_WORDS: &[u8] = b"\xff\nmemory allocation of 8388608 bytes failed\nstack backtrace:\n";

    /// A death by that signal, of a worker that was small and said nothing.
    fn death(signal: i32) -> Evidence<'static> {
        Evidence {
            exit: WorkerExit::Signal(signal),
            is_killed_by_us: false,
            output: b"",
            peak_rss: Some(3 << 20),
            limit: None,
        }
    }

    #[track_caller]
    fn check(evidence: &Evidence<'_>, kills: Kills, text: &str, is_proved: bool) {
        let shortage = Shortage::of(evidence, || kills);
        assert_eq!((shortage.to_string().as_str(), shortage.is_proved()), (text, is_proved));
    }

    #[test]
    fn a_sigkill_of_unknown_origin_is_a_hint_and_a_counted_one_is_a_proof() {
        check(&death(9), Kills::None, ", possibly out of memory", false);
        check(&death(9), Kills::Elsewhere, ", killed by the kernel because memory ran out", true);
        let limited = Evidence { limit: Some(LIMIT), ..death(9) };
        check(&limited, Kills::AtLimit, ", killed by the kernel at its memory limit of 64 MiB", true);
        check(&limited, Kills::Elsewhere, ", killed by the kernel because memory ran out", true);
    }

    #[test]
    fn a_sigkill_of_ours_is_not_looked_into() {
        let ours = Evidence { is_killed_by_us: true, ..death(9) };
        assert_eq!(Shortage::of(&ours, || panic!("nobody asked")), Shortage::None);
        for exit in [WorkerExit::Code(0), WorkerExit::Code(137), WorkerExit::Unknown] {
            let other = Evidence { exit, ..death(0) };
            assert_eq!(Shortage::of(&other, || panic!("nobody asked")), Shortage::None);
        }
    }

    #[test]
    fn the_last_words_of_the_standard_library_are_a_proof() {
        let said = Evidence { output: LAST_WORDS, ..death(6) };
        check(&said, Kills::None, ", refused 8 MiB more", true);
        let limited = Evidence { limit: Some(LIMIT), ..said };
        check(&limited, Kills::None, ", refused 8 MiB more under its memory limit of 64 MiB", true);
    }

    #[test]
    fn other_last_words_are_none() {
        for text in ["", "memory allocation of", "memory allocation of lots bytes failed", "bytes failed"] {
            check(&Evidence { output: text.as_bytes(), ..death(6) }, Kills::Elsewhere, "", false);
        }
        // Whoever ends in another way has got over it.
        check(&Evidence { output: LAST_WORDS, ..death(11) }, Kills::Elsewhere, "", false);
    }

    #[test]
    fn words_that_were_not_the_last_are_none() {
        let backtrace = b"memory allocation of 8388608 bytes failed\nstack backtrace:\n   0: __rustc::rust_oom\n             \
            at /rustc/library/alloc.rs:438:5\nnote: run with `RUST_BACKTRACE=full` for a verbose backtrace.\n";
        check(&Evidence { output: backtrace, ..death(6) }, Kills::None, ", refused 8 MiB more", true);
        let again = b"memory allocation of 8388608 bytes failed\nstack backtrace:\n   0: __rustc::rust_oom\n\
            memory allocation of 160 bytes failed\nskipping backtrace printing to avoid potential recursion\n";
        check(&Evidence { output: again, ..death(6) }, Kills::None, ", refused 8 MiB more", true);
        let overflow =
            b"memory allocation of 8388608 bytes failed\n\nthread 'main' has overflowed its stack\n\
            fatal runtime error: stack overflow, aborting\n";
        let quoted = b"the program said: memory allocation of 8388608 bytes failed\n";
        let cut = b"memory allocation of 8388608 bytes failed again\n";
        for output in [&overflow[..], quoted, cut] {
            check(&Evidence { output, ..death(6) }, Kills::Elsewhere, "", false);
        }
        let limited = Evidence { output: overflow, limit: Some(LIMIT), peak_rss: Some(LIMIT), ..death(6) };
        check(&limited, Kills::Elsewhere, ", possibly over its memory limit of 64 MiB", false);
    }

    #[test]
    fn a_crash_near_the_limit_is_a_hint() {
        for signal in [6, 7, 11] {
            let near = Evidence { limit: Some(LIMIT), peak_rss: Some(LIMIT / 2), ..death(signal) };
            check(&near, Kills::Elsewhere, ", possibly over its memory limit of 64 MiB", false);
            check(&Evidence { limit: Some(LIMIT), ..death(signal) }, Kills::Elsewhere, "", false);
        }
        let other = Evidence { limit: Some(LIMIT), peak_rss: Some(LIMIT), ..death(15) };
        check(&other, Kills::Elsewhere, "", false);
    }

    #[test]
    fn sizes_are_in_one_unit() {
        let sizes = [17, 1 << 10, 65 << 20, 3 << 30, 1 << 40].map(|bytes| Size(bytes).to_string());
        assert_eq!(sizes, ["17 bytes", "1 KiB", "65 MiB", "3072 MiB", "1024 GiB"]);
    }
}
