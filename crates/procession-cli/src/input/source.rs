//! The sources of items, and the two things each can do: check itself and stream its rows.

use std::path::Path;

use procession::{Payload, TaskInfo};
use procession_store::Selection;

use super::columns::Columns;
use super::file::File;
use super::generated::{Repeat, Series};
use super::row::CellRow;
use crate::diagnostic::Diagnostic;
use crate::exec::Commands;

/// One item: its encoded arguments, or why it has none.
pub(crate) type Row = Result<Payload, Diagnostic>;
/// Items in order.
pub(crate) type Rows<'a> = Box<dyn Iterator<Item = Row> + 'a>;
/// How many items there are; None where only reading them all would tell.
pub(crate) type Counted = Option<u64>;

/// Where the items of a job come from.
#[derive(Debug)]
pub(crate) enum Source {
    Repeat(Repeat),
    Range(Series),
    Rows(Vec<CellRow>),
    Columns(Columns),
    File(File),
    /// Orders for the task that runs commands.
    Commands(Commands),
}

impl Source {
    /// Checks every item against the task's parameters and counts them. Nothing is kept: memory stays bounded.
    ///
    /// A lenient check refuses only what no item can recover from, so that rows may fail one by one later.
    pub(crate) fn check(&self, task: &TaskInfo, lenient: bool) -> Result<Counted, Diagnostic> {
        match self {
            Source::Repeat(repeat) => repeat.check(task).map(Some),
            Source::Range(series) => series.check(task).map(Some),
            Source::Rows(rows) => {
                if !lenient {
                    rows.iter().try_for_each(|row| row.encode(task).map(drop))?;
                }
                Ok(Some(rows.len() as u64))
            }
            Source::Columns(columns) => columns.check(task, lenient).map(Some),
            Source::File(file) if lenient => file.check_exists().map(|()| None),
            Source::File(file) => file.check(task).map(Some),
            Source::Commands(commands) => commands.check(lenient),
        }
    }

    /// The items, encoded one by one as they are asked for.
    pub(crate) fn rows<'a>(&'a self, task: &'static TaskInfo) -> Result<Rows<'a>, Diagnostic> {
        Ok(match self {
            Source::Repeat(repeat) => Box::new(repeat.rows(task)),
            Source::Range(series) => Box::new(series.rows(task)),
            Source::Rows(rows) => {
                let encode =
                    move |row: &CellRow| row.encode(task).map_err(|refusal| refusal.of_row(row.at.as_str()));
                Box::new(rows.iter().map(encode))
            }
            Source::Columns(columns) => Box::new(columns.rows(task)),
            Source::File(file) => file.rows(task)?,
            Source::Commands(commands) => commands.rows()?,
        })
    }

    /// Those of the items that are selected. Of what is made from a rule no other is made.
    pub(crate) fn selected<'a>(
        &'a self,
        task: &'static TaskInfo,
        selection: &'a Selection,
    ) -> Result<Rows<'a>, Diagnostic> {
        if selection.is_whole() {
            return self.rows(task);
        }
        Ok(match self {
            Source::Repeat(repeat) => {
                Box::new(selection.indices(repeat.count).map(move |index| repeat.row(task, index)))
            }
            Source::Range(series) => {
                Box::new(selection.indices(series.len()).map(move |index| series.row(task, index)))
            }
            Source::Columns(columns) => {
                Box::new(selection.indices(columns.len()).map(move |index| columns.row(task, index)))
            }
            Source::Rows(_) | Source::File(_) | Source::Commands(_) => {
                Box::new(Selected { rows: self.rows(task)?, selection, read: 0, taken: 0 })
            }
        })
    }

    /// What is odd about it and no reason to refuse it, once its rows were asked for.
    pub(crate) fn remark(&self, task: &TaskInfo) -> Option<String> {
        match self {
            Source::File(file) => file.remark(task),
            Source::Repeat(_)
            | Source::Range(_)
            | Source::Rows(_)
            | Source::Columns(_)
            | Source::Commands(_) => None,
        }
    }

    /// The file the items are read from, if they are read from one.
    pub(crate) fn file(&self) -> Option<&File> {
        match self {
            Source::File(file) => Some(file),
            Source::Commands(commands) => commands.file(),
            Source::Repeat(_) | Source::Range(_) | Source::Rows(_) | Source::Columns(_) => None,
        }
    }

    /// The same, to read it from elsewhere.
    pub(crate) fn file_mut(&mut self) -> Option<&mut File> {
        match self {
            Source::File(file) => Some(file),
            Source::Commands(commands) => commands.file_mut(),
            Source::Repeat(_) | Source::Range(_) | Source::Rows(_) | Source::Columns(_) => None,
        }
    }

    /// Where that file is.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file()?.path()
    }

    /// Whether the items can be read more than once.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.file().is_none_or(|file| file.path().is_some())
    }

    /// What the plan says of it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Source::Repeat(repeat) => format!("repeat {}", repeat.count),
            Source::Range(series) => format!("range {series}"),
            Source::Rows(_) => "rows given".to_owned(),
            Source::Columns(columns) => columns.describe(),
            Source::File(file) => file.describe(),
            Source::Commands(commands) => commands.describe(),
        }
    }
}

/// The selected ones of rows that have to be read to be passed over. Behind the last of them nothing is read.
struct Selected<'a> {
    rows: Rows<'a>,
    selection: &'a Selection,
    read: u64,
    taken: u64,
}

impl Iterator for Selected<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let index = self.selection.nth(self.taken)?;
        while self.read < index {
            self.rows.next()?.ok();
            self.read += 1;
        }
        (self.read, self.taken) = (index + 1, self.taken + 1);
        self.rows.next()
    }
}
