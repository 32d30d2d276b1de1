//! How text reaches a person: whether colours are welcome, and how bytes that come from elsewhere are made harmless.
//!
//! It knows streams and environment variables, and nothing of what is said.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

/// The device that is every process's own terminal.
const OWN_TERMINAL: u64 = 0x500;

/// Whether somebody has begun a line of our terminal and not ended it. There is one such terminal in a process.
static IS_MIDLINE: AtomicBool = AtomicBool::new(false);

/// Where text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Writes one line to stderr. A closed stderr is not a reason to stop a run, so failures are ignored.
pub(crate) fn say(line: &str) {
    let mut text = String::with_capacity(line.len() + 1);
    text.push_str(line);
    text.push('\n');
    write(&text);
}

/// Writes lines to stderr at once, so that no other comes between. Failures are ignored, as by [`say`].
pub(crate) fn write(lines: &str) {
    let begun = is_midline().then(|| format!("\n{lines}"));
    set_midline(false);
    let _ = put(Stream::Err, begun.as_deref().unwrap_or(lines).as_bytes());
}

/// Writes all of it at once.
pub(crate) fn put(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Out => {
            let mut stdout = io::stdout().lock();
            // What it has of others, which is nothing as a rule: it would cut what is written into lines.
            stdout.flush()?;
            write_all(stdout, bytes)
        }
        Stream::Err => write_all(io::stderr().lock(), bytes),
    }
}

fn write_all(to: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(&to, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            // Whoever shares the terminal with us does not wait for it.
            Err(Errno::AGAIN) => {
                let _ = rustix::event::poll(&mut [PollFd::new(&to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether the next line would be glued to something.
pub(crate) fn is_midline() -> bool {
    IS_MIDLINE.load(Ordering::Relaxed)
}

/// Notes how whoever writes to the terminal that stderr is has left its line.
pub(crate) fn set_midline(is_midline: bool) {
    IS_MIDLINE.store(is_midline, Ordering::Relaxed);
}

/// Whether stdout and stderr are one terminal.
pub(crate) fn is_one() -> bool {
    let device = |stream: &dyn AsFd| -> io::Result<u64> {
        Ok(File::from(stream.as_fd().try_clone_to_owned()?).metadata()?.rdev())
    };
    let is_same = match (device(&io::stdout()), device(&io::stderr())) {
        (Ok(out), Ok(err)) => out == err || out == OWN_TERMINAL || err == OWN_TERMINAL,
        _ => false,
    };
    io::stdout().is_terminal() && io::stderr().is_terminal() && is_same
}

/// Writes one error paragraph to stderr.
pub(crate) fn say_error(message: &str) {
    say(&format!("{} {message}", label("error:", "1;31")));
}

/// Writes one warning to stderr.
pub(crate) fn say_warning(message: &str) {
    say(&warning(message));
}

/// One warning.
pub(crate) fn warning(message: &str) -> String {
    format!("{} {message}", label("warning:", "1;33"))
}

/// Text that came from a worker, a file or an argument, fit for one line of a terminal: what would steer it or turn
/// the direction of what follows is escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if procession_report::misleads(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// As [`printable`], for whole lines: their ends and tabs stay.
pub(crate) fn printable_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.lines() {
        for part in line.split_inclusive('\t') {
            let cells = part.trim_end_matches('\t');
            shown.push_str(&printable(cells));
            shown.push_str(&part[cells.len()..]);
        }
        shown.push('\n');
    }
    shown
}

/// What this program is called, for advice on what to type.
pub(crate) fn program() -> String {
    let name = std::env::args_os().next().map(PathBuf::from);
    let name = name.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "procession".to_owned())
}

/// What to type to start this program again: its name where a shell finds it, else the path that it was started by.
pub(crate) fn invocation() -> &'static str {
    static INVOCATION: OnceLock<String> = OnceLock::new();
    INVOCATION.get_or_init(|| {
        let typed = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
        let name = program();
        let is_found = || {
            let places = std::env::var_os("PATH").unwrap_or_default();
            let found =
                std::env::split_paths(&places).map(|place| place.join(&name)).find(|file| file.is_file());
            let [found, own] = [found, std::env::current_exe().ok()].map(|file| file?.canonicalize().ok());
            found.is_some() && found == own
        };
        let has_folder = typed.parent().is_some_and(|folder| !folder.as_os_str().is_empty());
        if has_folder && !is_found() { typed.display().to_string() } else { name }
    })
}

fn label(word: &str, colour: &str) -> String {
    if colours() { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() }
}

/// Colours go to a terminal, unless `NO_COLOR` is set to anything (<https://no-color.org>).
fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::{printable, printable_lines};

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\x1b[31mb\nc"), "a\\u{1b}[31mb\\nc");
        assert_eq!(printable("a\u{202e}b\u{2066}\u{2028}"), "a\\u{202e}b\\u{2066}\\u{2028}");
        assert_eq!(printable("π is fine"), "π is fine");
    }

    #[test]
    fn lines_and_tabs_stay_what_they_are() {
        assert_eq!(printable_lines("a\t\tb\n\x1b[2Jc\rd\r\n\n\te"), "a\t\tb\n\\u{1b}[2Jc\\rd\n\n\te\n");
    }
}
