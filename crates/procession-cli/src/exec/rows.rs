//! Items as texts: one word or several columns, from whatever source. It knows no commands.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};

use serde_json::value::RawValue;

use super::Commands;
use super::template::{Known, Slot};
use crate::diagnostic::{Diagnostic, Place};
use crate::input::{self, File, Numbered, Records, Series};
use crate::nearest;

/// One item.
#[derive(Debug)]
pub(crate) struct TextRow {
    /// As it was written.
    pub(crate) whole: String,
    pub(crate) columns: Vec<String>,
    /// Of the columns, or none.
    pub(crate) names: Vec<String>,
    /// The file and the line it is from, where rows differ in what they have.
    line: Option<(String, u64)>,
}

/// Items in order, each by itself good or bad.
pub(crate) type TextRows<'a> = Box<dyn Iterator<Item = Result<TextRow, Diagnostic>> + 'a>;

/// Where they come from.
#[derive(Debug)]
pub(crate) enum Origin {
    Words(Vec<String>),
    Range(Series),
    /// All combinations of one word of each list; the last changes fastest.
    Product(Vec<Vec<String>>),
    File(Box<File>, Form),
}

/// How items are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One a line.
    Lines,
    /// With a zero byte after each, as `find -print0` writes names.
    ZeroEnded,
    Jsonl,
    Csv,
}

impl TextRow {
    fn word(word: String) -> TextRow {
        TextRow { whole: word.clone(), columns: vec![word], names: Vec::new(), line: None }
    }

    /// The refusal of a row that has no value for a placeholder.
    pub(crate) fn lacks(&self, slot: &Slot) -> Diagnostic {
        let what = format!("no value for {}", slot.text());
        let help = match (&self.names[..], self.columns.len()) {
            ([], 1) => "this row is one word, `{}`".to_owned(),
            ([], columns) => format!("this row has {columns} columns"),
            (names, _) => format!("there are {}", nearest::list(names)),
        };
        let refusal = match &self.line {
            Some((name, number)) => {
                Diagnostic::on_line(name, *number, &self.whole, 0..self.whole.len(), what)
            }
            None => slot.error(what),
        };
        refusal.help(help).of_row(self.whole.as_str())
    }
}

impl Origin {
    /// All combinations of the words in the JSON lists at a place.
    pub(crate) fn product(at: &Place) -> Result<Origin, Diagnostic> {
        const HELP: &str = "write a list of values for each column: '[[\"a\",\"b\"],[1,2]]'";
        let lists = input::json_elements(at).map_err(|refusal| refusal.help(HELP))?;
        let lists = lists.iter().map(|list| {
            let values = input::json_elements(list).map_err(|refusal| refusal.help(HELP))?;
            Ok(values.iter().map(|value| text(value.as_str())).collect())
        });
        let lists = lists.collect::<Result<Vec<Vec<String>>, Diagnostic>>()?;
        match lists.iter().try_fold(1_u64, |count, list| count.checked_mul(list.len() as u64)) {
            Some(_) => Ok(Origin::Product(lists)),
            None => Err(at.error("this product has more than 2^64 items")),
        }
    }

    /// Which columns every item has, where that is known without reading.
    pub(crate) fn known(&self) -> Option<Known<'_>> {
        let columns = match self {
            Origin::Words(_) | Origin::Range(_) | Origin::File(_, Form::Lines | Form::ZeroEnded) => 1,
            Origin::Product(lists) => lists.len(),
            Origin::File(_, Form::Jsonl | Form::Csv) => return None,
        };
        Some(Known { columns, names: &[] })
    }

    pub(crate) fn file(&self) -> Option<(&File, Form)> {
        match self {
            Origin::File(file, form) => Some((&**file, *form)),
            Origin::Words(_) | Origin::Range(_) | Origin::Product(_) => None,
        }
    }

    /// The file, to read it from elsewhere.
    pub(crate) fn file_mut(&mut self) -> Option<&mut File> {
        match self {
            Origin::File(file, _) => Some(file),
            Origin::Words(_) | Origin::Range(_) | Origin::Product(_) => None,
        }
    }

    /// How many items there are, where that is known without reading.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Origin::Words(words) => words.len() as u64,
            Origin::Range(series) => series.len(),
            // That it does not overflow was checked when it was made.
            Origin::Product(lists) => lists.iter().map(|list| list.len() as u64).product(),
            Origin::File(..) => 0,
        }
    }

    pub(crate) fn rows<'a>(&'a self, commands: &'a Commands) -> Result<TextRows<'a>, Diagnostic> {
        Ok(match self {
            Origin::Words(words) => Box::new(words.iter().cloned().map(TextRow::word).map(Ok)),
            Origin::Range(series) => {
                let word = |index| Ok(TextRow::word(series.item(index).to_string()));
                Box::new((0..series.len()).map(word))
            }
            Origin::Product(lists) => Box::new((0..self.count()).map(|index| Ok(combination(lists, index)))),
            Origin::File(file, form) => form.rows(file.reader()?, file.name(), commands)?,
        })
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Origin::Words(_) => "words given".to_owned(),
            Origin::Range(series) => format!("range {series}"),
            Origin::Product(lists) => {
                let lengths: Vec<String> = lists.iter().map(|list| list.len().to_string()).collect();
                format!("product of {}", lengths.join(" × "))
            }
            Origin::File(file, _) => file.describe(),
        }
    }
}

impl Form {
    /// The rows of a text that is called `name`. Columns of a header are checked against the placeholders.
    pub(super) fn rows<'a>(
        self,
        reader: impl Read + 'a,
        name: String,
        commands: &Commands,
    ) -> Result<TextRows<'a>, Diagnostic> {
        Ok(match self {
            Form::Lines => Box::new(words(Numbered::new(BufReader::new(reader), name))),
            Form::ZeroEnded => Box::new(words(Numbered::ended_by(0, BufReader::new(reader), name))),
            Form::Jsonl => Box::new(json_rows(Numbered::new(BufReader::new(reader), name))),
            Form::Csv => {
                let records = Records::new(reader, name.clone())?;
                let names: Vec<String> = records.header().iter().map(str::to_owned).collect();
                if names.iter().all(String::is_empty) {
                    let refusal = Diagnostic::new(format!("{name} has no header line"));
                    return Err(refusal.help("a CSV file starts with a line that names its columns"));
                }
                // Which of them a placeholder would mean cannot be told.
                let mut seen = HashSet::new();
                if let Some(twice) = names.iter().find(|name| !name.is_empty() && !seen.insert(*name)) {
                    let refusal = Diagnostic::new(format!("{name} has two columns that are named `{twice}`"));
                    return Err(refusal.help("give each column a name of its own in the first line"));
                }
                commands.check_columns(Known { columns: names.len(), names: &names })?;
                Box::new(csv_rows(records, names))
            }
        })
    }
}

fn combination(lists: &[Vec<String>], index: u64) -> TextRow {
    let mut rest = index;
    let mut columns: Vec<String> = Vec::with_capacity(lists.len());
    for list in lists.iter().rev() {
        columns.push(list[(rest % list.len() as u64) as usize].clone());
        rest /= list.len() as u64;
    }
    columns.reverse();
    TextRow { whole: columns.join(" "), columns, names: Vec::new(), line: None }
}

fn words<R: BufRead>(mut lines: Numbered<R>) -> impl Iterator<Item = Result<TextRow, Diagnostic>> {
    std::iter::from_fn(move || Some(lines.next()?.map(|(_, line)| TextRow::word(line.to_owned()))))
}

fn csv_rows<R: Read>(
    mut records: Records<R>,
    names: Vec<String>,
) -> impl Iterator<Item = Result<TextRow, Diagnostic>> {
    std::iter::from_fn(move || {
        Some(records.advance()?.map(|current| TextRow {
            whole: records.text(&current),
            columns: records.record().iter().map(str::to_owned).collect(),
            names: names.clone(),
            line: None,
        }))
    })
}

/// A line is a word, a list of columns, or an object of them. Blank lines are skipped.
fn json_rows<R: BufRead>(mut lines: Numbered<R>) -> impl Iterator<Item = Result<TextRow, Diagnostic>> {
    std::iter::from_fn(move || {
        loop {
            let name = lines.name().to_owned();
            let (number, line) = match lines.next()? {
                Ok((_, line)) if line.trim().is_empty() => continue,
                Ok(line) => line,
                Err(refusal) => return Some(Err(refusal)),
            };
            let row = json_row(line).map_err(|error| {
                let message = error.to_string();
                let (what, at) = input::split_position(line, &message);
                let start = at.unwrap_or(0);
                Diagnostic::on_line(&name, number, line, start..start + 1, format!("not valid JSON: {what}"))
                    .of_row(line)
            });
            return Some(row.map(|(columns, names)| {
                let whole = match (&columns[..], line.trim_start().starts_with(['[', '{'])) {
                    ([word], false) => word.clone(),
                    _ => line.trim().to_owned(),
                };
                TextRow { whole, columns, names, line: Some((name, number)) }
            }));
        }
    })
}

/// The columns of a line, and their names if they have any.
fn json_row(line: &str) -> serde_json::Result<(Vec<String>, Vec<String>)> {
    Ok(match line.trim_start().as_bytes().first() {
        Some(b'{') => {
            let members = input::members(line)?;
            let columns = members.iter().map(|(_, value)| text(value.get())).collect();
            (columns, members.into_iter().map(|(name, _)| name).collect())
        }
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(line)?;
            (values.into_iter().map(|value| text(value.get())).collect(), Vec::new())
        }
        _ => {
            let value: &RawValue = serde_json::from_str(line)?;
            (vec![text(value.get())], Vec::new())
        }
    })
}

/// A JSON value as a word: a string is its text, null is nothing, anything else is as it was written.
fn text(json: &str) -> String {
    match json.as_bytes() {
        b"null" => String::new(),
        [b'"', ..] => serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()),
        _ => json.to_owned(),
    }
}
