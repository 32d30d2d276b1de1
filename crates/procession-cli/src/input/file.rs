//! Items from a file or from standard input, in any of the row formats.
//!
//! A file is read twice, first to check every row and then to run them, so memory stays bounded. What cannot be read twice
//! (standard input, a pipe) is spooled first. Rows that changed in between become failed items, never a panic.

use std::cell::RefCell;
use std::fs;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use procession::{Payload, TaskInfo};
use procession_store::{Claim, InputDigest, Key};
use tempfile::SpooledTempFile;

use super::kept::Kept;
use super::source::Rows;
use super::{csv, jsonl, lines};
use crate::diagnostic::{Diagnostic, Place};
use crate::exit::Stop;
use crate::output::reason;

/// What is spooled stays in memory up to here, and goes to an unnamed temporary file beyond.
const SPOOL_MEMORY_MAX: usize = 8 << 20;

/// So many columns that serve no parameter are named.
const UNBOUND_SHOWN: usize = 4;

/// How rows are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A JSON value a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// A word a line.
    Lines,
}

impl Format {
    pub(crate) const NAMES: [(&'static str, Format); 3] =
        [("jsonl", Format::Jsonl), ("csv", Format::Csv), ("txt", Format::Lines)];

    /// The format a file name speaks of.
    pub(crate) fn of(path: &str) -> Option<Format> {
        match Path::new(path).extension()?.to_str()? {
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "csv" => Some(Format::Csv),
            "txt" => Some(Format::Lines),
            _ => None,
        }
    }
}

/// A file of rows.
#[derive(Debug)]
pub(crate) struct File {
    /// None is standard input.
    path: Option<PathBuf>,
    format: Format,
    /// Whether a row is the one argument itself rather than a list of arguments.
    unary: bool,
    /// Where the file is named, for refusals.
    at: Place,
    spool: RefCell<Option<Rc<RefCell<SpooledTempFile>>>>,
    kept: RefCell<Option<Kept>>,
    /// The name of what a run directory has kept.
    kept_as: Option<String>,
    /// What it was called before it was kept: if it is refused, nobody finds the copy.
    called: Option<String>,
    /// Of its rows, once they were checked.
    digest: RefCell<Option<InputDigest>>,
    /// The columns of it that serve no parameter, once it was opened.
    unbound: RefCell<Vec<String>>,
}

impl File {
    /// The file named `path`; `-` is standard input.
    pub(crate) fn new(path: &str, format: Format, unary: bool, at: Place) -> File {
        let path = (path != "-").then(|| PathBuf::from(path));
        let (spool, kept, digest, unbound) = Default::default();
        File { path, format, unary, at, spool, kept, kept_as: None, called: None, digest, unbound }
    }

    /// Whether there is no reading it a second time: standard input, a pipe.
    pub(crate) fn is_read_once(&self) -> bool {
        let is_pipe = |path: &PathBuf| fs::metadata(path).is_ok_and(|kind| !kind.is_file() && !kind.is_dir());
        self.path.as_ref().is_none_or(is_pipe)
    }

    /// Keeps all of it in a run directory, and reads it from there from now on.
    pub(crate) fn keep(&mut self, claim: Claim) -> Result<(), Stop> {
        let directory = claim.path().display().to_string();
        let failed =
            |error| Stop::Unwritable(format!("cannot keep the input in {directory}: {}", reason(&error)));
        let kept = Kept::copy(claim, &mut self.open()?).map_err(failed)?;
        self.called = Some(self.name());
        self.path = Some(kept.path().clone());
        self.kept_as = Some(kept.name().to_owned());
        self.kept = RefCell::new(Some(kept));
        Ok(())
    }

    /// Reads what a run directory has kept of it.
    pub(crate) fn read_kept(&mut self, directory: &Path, name: &str) {
        self.path = Some(directory.join(name));
        self.kept_as = Some(name.to_owned());
    }

    /// The file in the run directory that keeps it, if one does.
    pub(crate) fn kept_as(&self) -> Option<&str> {
        self.kept_as.as_deref()
    }

    /// The run directory that it waits in for its run, once.
    pub(crate) fn take_claim(&self) -> Option<Claim> {
        self.kept.borrow_mut().as_mut().and_then(Kept::take_claim)
    }

    pub(crate) fn describe(&self) -> String {
        self.name()
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What it is called in refusals.
    pub(crate) fn name(&self) -> String {
        match (&self.called, &self.path) {
            (Some(called), _) => called.clone(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => "<stdin>".to_owned(),
        }
    }

    /// Refuses a file that cannot be opened.
    pub(crate) fn check_exists(&self) -> Result<(), Diagnostic> {
        match &self.path {
            Some(path) => {
                let kind = fs::metadata(path).map_err(|error| self.unreadable(&error))?;
                if kind.is_dir() {
                    return Err(self.unreadable(&io::ErrorKind::IsADirectory.into()));
                }
                // A pipe is opened once.
                if kind.is_file() { self.open().map(drop) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }

    /// Reads every row once and counts them.
    pub(crate) fn check(&self, task: &TaskInfo) -> Result<u64, Diagnostic> {
        self.check_as(|args| Key::of(args.as_bytes()), |reader| self.parse(reader, task))
    }

    /// As [`check`](File::check), with rows that somebody else makes of the text, and knows by their keys.
    pub(crate) fn check_as<'a>(
        &self,
        key: fn(&Payload) -> Key,
        parse: impl Fn(Box<dyn Read + 'a>) -> Result<Rows<'a>, Diagnostic>,
    ) -> Result<u64, Diagnostic> {
        let rewindable = match &self.path {
            Some(path) => fs::metadata(path).map_err(|error| self.unreadable(&error))?.is_file(),
            None => false,
        };
        if rewindable {
            return self.count(key, parse(self.open()?)?);
        }
        let mut spool = SpooledTempFile::new(SPOOL_MEMORY_MAX);
        io::copy(&mut self.open()?, &mut spool)
            .and_then(|_| spool.seek(SeekFrom::Start(0)))
            .map_err(|error| self.unreadable(&error))?;
        let spool = Rc::new(RefCell::new(spool));
        let count = self.count(key, parse(Box::new(Lent(Rc::clone(&spool))))?)?;
        spool.borrow_mut().seek(SeekFrom::Start(0)).map_err(|error| self.unreadable(&error))?;
        self.spool.replace(Some(spool));
        Ok(count)
    }

    fn count(&self, key: fn(&Payload) -> Key, rows: Rows<'_>) -> Result<u64, Diagnostic> {
        let mut digest = InputDigest::default();
        for row in rows {
            digest.add(Some(&key(&row?)));
        }
        let count = digest.items();
        self.digest.replace(Some(digest));
        Ok(count)
    }

    /// A digest of the rows, if they were checked.
    pub(crate) fn digest(&self) -> Option<InputDigest> {
        self.digest.borrow().clone()
    }

    /// The rows, from what was spooled or from the file itself.
    pub(crate) fn rows<'a>(&'a self, task: &'static TaskInfo) -> Result<Rows<'a>, Diagnostic> {
        self.parse(self.reader()?, task)
    }

    /// The text, from what was spooled or from the file itself.
    pub(crate) fn reader(&self) -> Result<Box<dyn Read>, Diagnostic> {
        match self.spool.take() {
            Some(spool) => Ok(Box::new(Lent(spool))),
            None => self.open(),
        }
    }

    fn parse<'a>(&self, reader: impl Read + 'a, task: &'a TaskInfo) -> Result<Rows<'a>, Diagnostic> {
        let name = self.name();
        Ok(match self.format {
            Format::Jsonl => Box::new(jsonl::Reader::new(BufReader::new(reader), name, task, self.unary)),
            Format::Lines => Box::new(lines::Reader::new(BufReader::new(reader), name, task)),
            Format::Csv => {
                let rows = csv::Reader::new(reader, name, task)?;
                self.unbound.replace(rows.unbound());
                Box::new(rows)
            }
        })
    }

    /// What is odd about it, once its rows were asked for: columns that nobody reads may be misspelt.
    pub(crate) fn remark(&self, task: &TaskInfo) -> Option<String> {
        let unbound = self.unbound.borrow();
        let (first, rest) = unbound.split_at(unbound.len().min(UNBOUND_SHOWN));
        let (last, others) = first.split_last()?;
        let mut names = others.join(", ");
        match (others.len(), rest.len()) {
            (0, 0) => names.push_str(last),
            (_, 0) => names.push_str(&format!(" and {last}")),
            (_, more) => names.push_str(&format!(", {last} and {more} more")),
        }
        let no_argument = if unbound.len() == 1 { "is no argument" } else { "are no arguments" };
        Some(format!("{}: ignored: {names} {no_argument} of `{}`", self.name(), task.name()))
    }

    fn open(&self) -> Result<Box<dyn Read>, Diagnostic> {
        match &self.path {
            None => Ok(Box::new(io::stdin().lock())),
            Some(path) => match fs::File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(self.unreadable(&error)),
            },
        }
    }

    fn unreadable(&self, error: &io::Error) -> Diagnostic {
        self.at.error(format!("cannot read {}: {}", self.name(), reason(error)))
    }
}

/// What was spooled, read by one after another.
struct Lent(Rc<RefCell<SpooledTempFile>>);

impl Read for Lent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}
