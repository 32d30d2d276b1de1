//! What commands printed, on its way out: stdout to where values go, stderr to ours, whole and in order; and which of them
//! failed. It knows no pool.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use procession::Payload;
use procession_store::{Item, Printed};
use procession_tasks::exec::{CAPTURED_BYTES_MAX, Captured, Ended, Finished, Order, Report, command};
use serde::Serialize;

use super::{order, shell_line};
use crate::exit::Stop;
use crate::failures::{self, Flaw, Outcome};
use crate::output::Sink;
use crate::progress::Screen;
use crate::signals;
use crate::spec::units;

/// So much of a command is shown where it failed, in characters.
const COMMAND_SHOWN: usize = 100;
/// So much of the end of its stderr is kept with its failure.
const STDERR_TAIL_BYTES: usize = 8 << 10;

/// It exited with another status than 0.
const EXITED: Outcome = Outcome { id: "exit_status", words: "exit status not 0" };
/// A signal killed it that was none of ours.
const KILLED: Outcome = Outcome { id: "killed", words: "killed by a signal" };
/// It, or a file of it, was not there.
const NOT_STARTED: Outcome = Outcome { id: "not_started", words: "not started" };
/// It ended well, and some of what it printed is missing.
pub(crate) const CUT: Outcome = Outcome { id: "output_cut", words: "output cut" };

/// What commands come to, beside what becomes of any item.
pub(crate) const OUTCOMES: [Outcome; 4] = [EXITED, KILLED, NOT_STARTED, CUT];

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// As it was printed, byte by byte.
    #[default]
    Raw,
    /// An object a command, with its words, its end and what it printed.
    Jsonl,
}

impl Format {
    pub(crate) const NAMES: [(&'static str, Format); 2] = [("raw", Format::Raw), ("jsonl", Format::Jsonl)];
}

/// Writes what commands printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    pub(crate) format: Format,
    /// Whether every line begins with what its command is called.
    pub(crate) tag: bool,
}

/// One line of JSON. Each has all fields: what there is not is `null`.
#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    argv: &'a [String],
    exit: Option<i32>,
    signal: Option<i32>,
    timed_out: bool,
    error: Option<&'a str>,
    run_s: f64,
    stdout: &'a str,
    stderr: &'a str,
    truncated: bool,
}

impl Streams {
    /// What is written to stdout and to stderr of a command that ended so.
    pub(crate) fn texts<'a>(
        self,
        index: u64,
        order: &Order,
        result: &'a Result<Report, String>,
    ) -> [Cow<'a, [u8]>; 2] {
        match (self.format, result) {
            (Format::Jsonl, _) => [json_line(index, order, result).into(), Cow::default()],
            (Format::Raw, Ok(Report { finished: Finished { stdout, stderr, .. }, .. })) => {
                let tag = order.tag.as_deref().filter(|_| self.tag);
                [stdout, stderr].map(|stream| tagged(stream.as_bytes(), tag))
            }
            (Format::Raw, Err(_)) => [Cow::default(), Cow::default()],
        }
    }

    /// Writes what item `index` printed. The inner error is the item's own: it failed.
    pub(crate) fn write(
        self,
        sink: &mut Sink,
        (index, result): (u64, &Payload),
        args: Option<&Payload>,
        screen: &Screen,
    ) -> Result<Result<(), Flaw>, Stop> {
        let order = args.and_then(order).unwrap_or_default();
        let result = match command.value(result) {
            Ok(result) => result,
            Err(error) => Err(error.to_string()),
        };
        let [out, err] = self.texts(index, &order, &result);
        put(sink, &out, &err, screen)?;
        match flaw(&order, result) {
            Some(flaw) => {
                // What is said of it comes behind what it printed.
                sink.flush()?;
                Ok(Err(flaw))
            }
            None => Ok(Ok(())),
        }
    }
}

/// Writes what goes to stdout and what goes to stderr.
pub(crate) fn put(sink: &mut Sink, out: &[u8], err: &[u8], screen: &Screen) -> Result<(), Stop> {
    sink.write(out)?;
    if !err.is_empty() {
        // On a terminal both come in order.
        sink.flush()?;
        screen.pass(err);
    }
    Ok(())
}

/// The row of a command that has ended, with what it printed.
pub(crate) fn kept(row: Item, value: &Payload) -> Item {
    let Ok(Ok(Report { finished, ran, .. })) = command.value(value) else { return row };
    let (exit, signal) = how(finished.ended);
    let [stdout, stderr] = [finished.stdout, finished.stderr].map(Captured::into_bytes);
    Item { exit, signal, wall: Some(ran), printed: Some(Printed { stdout, stderr }), ..row }
}

/// What became of a command that a run directory has; `None`: it ran to no end of its own, and nothing of it is written.
pub(crate) fn earlier(item: &Item, printed: Option<Printed>) -> Option<Result<Report, String>> {
    if item.outcome == NOT_STARTED.id {
        return Some(Err(item.error.clone().unwrap_or_default()));
    }
    let Printed { stdout, stderr } = printed?;
    let is_full = stdout.len().max(stderr.len()) >= CAPTURED_BYTES_MAX;
    let finished = Finished {
        ended: item.signal.map_or(Ended::Code(item.exit.unwrap_or_default()), Ended::Signal),
        truncated: is_full && !item.is_ok(),
        stdout: stdout.into(),
        stderr: stderr.into(),
    };
    let timed_out = item.outcome == failures::TIMED_OUT.id;
    Some(Ok(Report { finished, timed_out, ran: item.wall.unwrap_or_default() }))
}

/// The record of a command that a run directory has, as JSON.
pub(crate) fn record(item: &Item, result: &Result<Report, String>) -> String {
    let argv = item.args.as_ref().and_then(|args| serde_json::from_str(args).ok()).unwrap_or_default();
    let line = json_line(item.index, &Order::new(argv), result);
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

fn json_line(index: u64, order: &Order, result: &Result<Report, String>) -> Vec<u8> {
    let nothing = Report {
        finished: Finished {
            ended: Ended::Code(0),
            stdout: Vec::new().into(),
            stderr: Vec::new().into(),
            truncated: false,
        },
        timed_out: false,
        ran: std::time::Duration::ZERO,
    };
    let report = result.as_ref().unwrap_or(&nothing);
    let finished = &report.finished;
    let [stdout, stderr] =
        [&finished.stdout, &finished.stderr].map(|stream| String::from_utf8_lossy(stream.as_bytes()));
    let (exit, signal) = if result.is_ok() { how(finished.ended) } else { (None, None) };
    let line = Line {
        index,
        argv: &order.argv,
        exit,
        signal,
        timed_out: report.timed_out,
        error: result.as_ref().err().map(String::as_str),
        run_s: report.ran.as_secs_f64(),
        stdout: &stdout,
        stderr: &stderr,
        truncated: finished.truncated,
    };
    // Texts and numbers: there is nothing that JSON cannot say.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The lines, each with the tag before it.
fn tagged<'a>(bytes: &'a [u8], tag: Option<&str>) -> Cow<'a, [u8]> {
    let Some(tag) = tag else { return bytes.into() };
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| [tag.as_bytes(), b"\t", line].concat()).collect::<Vec<u8>>().into()
}

/// Why the item with these arguments and this value counts as failed, if it does.
pub(crate) fn flaw_of(args: &Payload, value: &Payload) -> Option<Flaw> {
    let result = command.value(value).unwrap_or_else(|error| Err(error.to_string()));
    flaw(&order(args).unwrap_or_default(), result)
}

/// Why the item counts as failed, if it does.
fn flaw(order: &Order, result: Result<Report, String>) -> Option<Flaw> {
    let report = match result {
        Ok(report) => report,
        Err(what) => return Some(Flaw { outcome: NOT_STARTED, what, ..Flaw::default() }),
    };
    let Report { finished: Finished { ended, stderr, truncated, .. }, timed_out, ran } = report;
    let (outcome, what) = match ended {
        _ if timed_out => {
            let limit = order.limit.map(|limit| format!(": limit {limit:?} per item")).unwrap_or_default();
            (failures::TIMED_OUT, format!("timed out after {}{limit}", units::show(ran)))
        }
        Ended::Code(0) if truncated => {
            let what = "printed more than the 64 MiB that are kept; --output-dir keeps all".to_owned();
            (CUT, what)
        }
        Ended::Code(0) => return None,
        Ended::Code(code) => (EXITED, format!("exit status {code}")),
        Ended::Signal(signal) => (KILLED, format!("signal {signal} ({})", signals::name(signal))),
    };
    let (exit, signal) = how(ended);
    let stderr = match &order.stderr_file {
        Some(path) => tail_of_file(path),
        None => tail(stderr.as_bytes()),
    };
    let what = format!("`{}`: {what}", shortened(&shell_line(order)));
    Some(Flaw { outcome, what, exit, signal, ran: Some(ran), stderr, is_reproducible: true })
}

/// As much of a command as is shown.
pub(crate) fn shortened(line: &str) -> String {
    match line.char_indices().nth(COMMAND_SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// Its exit status, or the signal that killed it.
fn how(ended: Ended) -> (Option<i32>, Option<i32>) {
    match ended {
        Ended::Code(code) => (Some(code), None),
        Ended::Signal(signal) => (None, Some(signal)),
    }
}

fn tail(bytes: &[u8]) -> Option<String> {
    let from = bytes.len().saturating_sub(STDERR_TAIL_BYTES);
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes[from..]).into_owned())
}

fn tail_of_file(path: &str) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(STDERR_TAIL_BYTES as u64))).ok()?;
    let mut bytes = Vec::new();
    file.take(STDERR_TAIL_BYTES as u64).read_to_end(&mut bytes).ok()?;
    tail(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_tagged_and_no_byte_is_lost() {
        assert_eq!(&*tagged(b"a\n\xffb", Some("t")), b"t\ta\nt\t\xffb");
        assert_eq!(&*tagged(b"", Some("t")), b"");
        assert_eq!(&*tagged(b"a\n", None), b"a\n");
    }

    #[test]
    fn a_tail_is_the_end() {
        let long = [vec![b'a'; STDERR_TAIL_BYTES], b"end".to_vec()].concat();
        let tail = tail(&long).expect("there is one");
        assert!(tail.len() == STDERR_TAIL_BYTES && tail.ends_with("aend"));
        assert_eq!(super::tail(b""), None);
    }
}
