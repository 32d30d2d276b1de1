//! What commands of a run printed: as it was, as a record of each, and shortened for people.

use std::path::Path;

use procession_store::{Item, Job, Printed, Reader};

use super::PAGE;
use crate::diagnostic::Diagnostic;
use crate::exec;
use crate::exit::{Ending, Stop};
use crate::output::Sink;
use crate::summary::counted;
use crate::terminal::printable;

/// So many lines of each stream are shown, and so many bytes.
const LINES_SHOWN: usize = 20;
const BYTES_SHOWN: usize = 2 << 10;

/// Writes to a file, or to stdout, what every command printed to its stdout.
pub(super) fn export(reader: &Reader, job: &Job, file: Option<&Path>) -> Result<Ending, Stop> {
    if !exec::are_commands(&job.task) {
        let refusal = Diagnostic::new("--raw writes what commands printed, and this run has none");
        return Err(refusal.help("leave it out: the values are written").into());
    }
    let mut sink = file.map_or_else(|| Ok(Sink::stdout()), Sink::file)?;
    sink.begin()?;
    let mut from = 0;
    loop {
        let page = reader.page(from, PAGE)?;
        let Some(last) = page.last() else { break };
        from = last.index + 1;
        for item in &page {
            if let Some(printed) = reader.printed(item.index)? {
                sink.write(&printed.stdout)?;
            }
        }
    }
    sink.flush()?;
    Ok(Ending::Complete)
}

/// The record of a command as JSON, if it has ended.
pub(super) fn record(reader: &Reader, item: &Item) -> Result<Option<String>, Stop> {
    let printed = reader.printed(item.index)?;
    Ok(exec::earlier(item, printed).map(|result| exec::record(item, &result)))
}

/// Some of what a command printed, below a heading for each stream: the beginning of its stdout, the end of its stderr.
pub(super) fn described(printed: &Printed) -> String {
    let mut text = String::new();
    let Printed { stdout, stderr } = printed;
    let first = &stdout[..stdout.len().min(BYTES_SHOWN)];
    let last = &stderr[stderr.len().saturating_sub(BYTES_SHOWN)..];
    for (name, all, part) in [("stdout", stdout, first), ("stderr", stderr, last)] {
        if all.is_empty() {
            continue;
        }
        text.push_str(&format!("{name}:\n"));
        let shown = String::from_utf8_lossy(part);
        let lines: Vec<&str> = shown.lines().collect();
        let is_cut = part.len() < all.len() || lines.len() > LINES_SHOWN;
        let cut = format!("    … ({} in all)\n", counted(all.len() as u64, "byte"));
        let (before, from, after) = match name {
            "stdout" => ("", 0, &*cut),
            _ => (&*cut, lines.len().saturating_sub(LINES_SHOWN), ""),
        };
        text.push_str(if is_cut { before } else { "" });
        for line in lines.iter().skip(from).take(LINES_SHOWN) {
            text.push_str(&format!("    {}\n", printable(line)));
        }
        text.push_str(if is_cut { after } else { "" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_shortened_and_says_so() {
        let shown = |stdout: &[u8], stderr: &[u8]| {
            described(&Printed { stdout: stdout.to_vec(), stderr: stderr.to_vec() })
        };
        assert_eq!(shown(b"", b""), "");
        assert_eq!(shown(b"a\nb", b"\x1b[2J\n"), "stdout:\n    a\n    b\nstderr:\n    \\u{1b}[2J\n");
        let lines = shown("x\n".repeat(LINES_SHOWN + 1).as_bytes(), b"");
        assert_eq!(lines.lines().count(), 1 + LINES_SHOWN + 1);
        assert!(lines.ends_with("    … (42 bytes in all)\n"), "{lines}");
        let long = shown(&[b'x'; BYTES_SHOWN + 1], b"");
        assert_eq!(long.lines().nth(1).map(str::len), Some(4 + BYTES_SHOWN));
        assert!(long.ends_with("… (2049 bytes in all)\n"));
        let stderr: String = (0..LINES_SHOWN + 2).map(|line| format!("{line}\n")).collect();
        let shown = shown(b"", stderr.as_bytes());
        assert!(shown.starts_with("stderr:\n    … (") && shown.contains("\n    2\n"), "{shown}");
        assert!(!shown.contains("\n    1\n") && shown.ends_with("\n    21\n"), "{shown}");
    }
}
