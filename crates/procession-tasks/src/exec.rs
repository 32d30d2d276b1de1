//! Commands as items: a program, its arguments, and what it printed. It knows no shell, and no command line of ours.

mod capture;
mod family;
mod order;
mod patience;

use std::fmt;

use procession::task;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most bytes that are kept of each of a command's output streams: 64 MiB.
pub const CAPTURED_BYTES_MAX: usize = 64 << 20;

/// Runs one command to its end and returns how it ended and what it printed.
///
/// `argv` is the program, looked up in `PATH` unless it has a slash, and its arguments. No shell reads them, so
/// nothing in them is special. The command's standard input is empty; both of its output streams are read until
/// their last writer has closed them. A command that fails is a value like any other:
///
/// ```
/// use procession_tasks::exec::{Ended, exec};
///
/// let finished = exec(vec!["printf".to_owned(), "%s;".to_owned(), "a b".to_owned(), "$HOME".to_owned()]).unwrap();
/// assert_eq!(finished.ended, Ended::Code(0));
/// assert_eq!(finished.stdout.as_bytes(), b"a b;$HOME;");
/// ```
///
/// Of each stream the first 64 MiB ([`CAPTURED_BYTES_MAX`]) are kept. What comes after them is read and discarded, and
/// [`Finished::truncated`] says so: send larger output to a file.
///
/// The command is in the process group of its worker: whatever stops the worker (a time limit, a cancel, the end of
/// the master) stops the command, too.
///
/// # Errors
/// The program could not be started: the message says which and why.
#[task]
pub fn exec(argv: Vec<String>) -> Result<Finished, String> {
    order::run(&Order::new(argv)).map(|report| report.finished)
}

pub use order::{Order, Report};

/// Runs one command as ordered, at most once, and returns what became of it.
///
/// # Errors
/// The program could not be started, or a file of the order not be opened: the message says which and why.
#[task]
pub fn command(order: Order) -> Result<Report, String> {
    order::run(&order)
}

/// As `command`, for commands that may be started again if their worker is lost.
///
/// # Errors
/// As those of [`const@command`].
#[task(idempotent)]
pub fn idempotent_command(order: Order) -> Result<Report, String> {
    order::run(&order)
}

/// What is known of a command that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// How it ended.
    pub ended: Ended,
    /// What it wrote to its standard output.
    pub stdout: Captured,
    /// What it wrote to its standard error.
    pub stderr: Captured,
    /// It wrote more than is kept of a stream: the rest of that one is missing.
    pub truncated: bool,
}

/// The two ways in which a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It exited with this status.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Ended {
    /// Whether it exited with status 0.
    pub fn is_success(self) -> bool {
        self == Ended::Code(0)
    }
}

/// Bytes that a command wrote. They travel between processes as they are, in one piece; formats that people read
/// show them as text, in which bytes that are no UTF-8 become U+FFFD.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Captured(Vec<u8>);

impl Captured {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for Captured {
    fn from(bytes: Vec<u8>) -> Captured {
        Captured(bytes)
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Captured {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_str(&String::from_utf8_lossy(&self.0))
        } else {
            to.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Captured {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Captured, D::Error> {
        if from.is_human_readable() {
            String::deserialize(from).map(|text| Captured(text.into_bytes()))
        } else {
            from.deserialize_byte_buf(CapturedVisitor)
        }
    }
}

struct CapturedVisitor;

impl Visitor<'_> for CapturedVisitor {
    type Value = Captured;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Captured, E> {
        Ok(Captured(bytes))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Captured, E> {
        Ok(Captured(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Result<Finished, String> {
        exec(words.iter().map(|&word| word.to_owned()).collect())
    }

    fn sh(script: &str) -> Finished {
        run(&["sh", "-c", script]).expect("there is a shell")
    }

    #[test]
    fn both_streams_are_kept_apart() {
        let finished = sh("printf out; printf err >&2");
        assert_eq!(finished.ended, Ended::Code(0));
        assert!(finished.ended.is_success());
        assert_eq!(finished.stdout.as_bytes(), b"out");
        assert_eq!(finished.stderr.as_bytes(), b"err");
    }

    #[test]
    fn a_failing_command_is_a_value() {
        assert_eq!(sh("exit 3").ended, Ended::Code(3));
        assert_eq!(sh("kill -9 $$").ended, Ended::Signal(libc::SIGKILL));
        assert!(!sh("exit 3").ended.is_success());
    }

    /// More than both pipes hold, in turn: whoever drained one stream first would wait for ever.
    #[test]
    fn more_than_a_pipe_holds_on_both_streams() {
        let finished =
            sh("i=0; while [ $i -lt 300 ]; do printf %01000d 1; printf %01000d 2 >&2; i=$((i+1)); done");
        assert_eq!((finished.stdout.as_bytes().len(), finished.stderr.as_bytes().len()), (300_000, 300_000));
        assert!(!finished.truncated);
    }

    #[test]
    fn what_exceeds_the_bound_is_discarded_and_said() {
        let beyond = (CAPTURED_BYTES_MAX + 1_000_000).to_string();
        let finished = sh(&format!("head -c {beyond} /dev/zero; printf end >&2; exit 4"));
        assert_eq!(finished.ended, Ended::Code(4), "it was not stopped by a full pipe");
        assert_eq!(finished.stdout.as_bytes().len(), CAPTURED_BYTES_MAX);
        assert_eq!((finished.stderr.as_bytes(), finished.truncated), (b"end".as_slice(), true));
    }

    #[test]
    fn standard_input_is_empty() {
        assert_eq!(run(&["cat"]).map(|finished| finished.stdout), Ok(Captured::default()));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&["/nowhere/to be found", "x"]).expect_err("it is not there");
        assert!(error.starts_with("cannot run `/nowhere/to be found`: No such file"), "{error}");
        assert_eq!(run(&[]), Err("the command has no words: name at least a program".to_owned()));
        let error = run(&["printf", "a\0b"]).expect_err("no argument has a zero byte in it");
        assert!(error.starts_with("cannot run `printf`: "), "{error}");
    }

    #[test]
    fn people_read_text() {
        let finished = Finished {
            ended: Ended::Signal(15),
            stdout: Captured(b"caf\xc3\xa9 \xff".to_vec()),
            stderr: Captured::default(),
            truncated: false,
        };
        let json = serde_json::to_string(&finished).expect("it is plain data");
        assert_eq!(json, r#"{"ended":{"signal":15},"stdout":"café �","stderr":"","truncated":false}"#);
        let read: Finished = serde_json::from_str(&json).expect("it was just written");
        assert_eq!(read.stdout.as_bytes(), "café \u{fffd}".as_bytes());
        assert_eq!(format!("{:?}", finished.stdout), r#""caf\xc3\xa9 \xff""#);
    }
}
