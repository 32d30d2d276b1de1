//! CSV with a header: columns are bound to parameters by name, further columns are ignored, and named to whoever asks. A cell is read as its parameter
//! wants it; an empty one is an absent value where the parameter is optional.

use std::cell::RefCell;
use std::io::{self, Read};
use std::ops::Range;
use std::rc::Rc;

use csv::{ErrorKind, StringRecord};
use erased_serde::Deserializer as Erased;
use procession::{Payload, TaskInfo};

use super::cell::misfit;
use super::row;
use super::source::Row;
use super::word::WordReader;
use crate::diagnostic::Diagnostic;
use crate::summary::counted;

/// Rows of a CSV file.
#[derive(Debug)]
pub(crate) struct Reader<'a, R> {
    records: Records<R>,
    task: &'a TaskInfo,
    /// For each parameter, the column that holds it.
    columns: Vec<usize>,
}

impl<'a, R: Read> Reader<'a, R> {
    /// Reads the header and binds its columns.
    pub(crate) fn new(reader: R, name: String, task: &'a TaskInfo) -> Result<Reader<'a, R>, Diagnostic> {
        let mut rows = Reader { records: Records::new(reader, name)?, task, columns: Vec::new() };
        rows.columns = rows.bind()?;
        Ok(rows)
    }

    fn bind(&self) -> Result<Vec<usize>, Diagnostic> {
        let line = self.records.memory.borrow().line(0);
        let refuse =
            |span: Range<usize>, what: String| Diagnostic::on_line(&self.records.name, 1, &line, span, what);
        let names: Vec<&str> = self.records.header.iter().collect();
        if names.iter().all(|name| name.is_empty()) {
            let refusal = refuse(0..line.len(), "a CSV file starts with a header".to_owned());
            return Err(
                refusal.help(format!("name the columns after the parameters: {}", row::takes(self.task)))
            );
        }
        let bind = |(index, name): (usize, &str)| {
            let mut found = names.iter().enumerate().filter(|(_, column)| **column == name).map(|(at, _)| at);
            match (found.next(), found.next()) {
                (Some(column), None) => Ok(column),
                (Some(_), Some(second)) => {
                    Err(refuse(field_span(&line, second), format!("two columns are named `{name}`")))
                }
                (None, _) => {
                    let (what, help) = match names[..] {
                        [only] if only.contains([';', '\t']) => (
                            row::missing(self.task, index, &names).0,
                            "separate the columns by commas".to_owned(),
                        ),
                        _ => row::missing(self.task, index, &names),
                    };
                    Err(refuse(0..line.len(), what).help(help))
                }
            }
        };
        self.task.params().iter().map(|param| param.name()).enumerate().map(bind).collect()
    }

    /// The columns that no parameter is named after; those without a name by their number.
    pub(crate) fn unbound(&self) -> Vec<String> {
        let columns =
            self.records.header.iter().enumerate().filter(|(column, _)| !self.columns.contains(column));
        let name = |(column, name): (usize, &str)| match name {
            "" => format!("column {}", column + 1),
            name => format!("`{name}`"),
        };
        columns.map(name).collect()
    }

    fn encode(&self, current: &Current) -> Row {
        let mut payload = Payload::new();
        for (index, column) in self.columns.iter().enumerate() {
            let cell = self.records.record.get(*column).unwrap_or_default();
            let mut word = <dyn Erased<'_>>::erase(WordReader::new(cell));
            self.task.encode_arg(index, &mut word, &mut payload).map_err(|error| {
                let what = misfit(self.task, index, &error.to_string());
                self.records.refuse_field(current, *column, what)
            })?;
        }
        Ok(payload)
    }
}

impl<R: Read> Iterator for Reader<'_, R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let current = match self.records.advance()? {
            Ok(current) => current,
            Err(refusal) => return Some(Err(refusal)),
        };
        Some(self.encode(&current).map_err(|refusal| refusal.of_row(self.records.text(&current))))
    }
}

/// The records of a CSV file, whatever their columns are for.
#[derive(Debug)]
pub(crate) struct Records<R> {
    csv: csv::Reader<Remembering<R>>,
    memory: Memory,
    name: String,
    header: StringRecord,
    record: StringRecord,
    over: bool,
}

/// Where the record stands that was read last.
#[derive(Debug)]
pub(crate) struct Current {
    start: u64,
    number: u64,
    span: Range<u64>,
}

impl<R: Read> Records<R> {
    /// Reads the header.
    pub(crate) fn new(reader: R, name: String) -> Result<Records<R>, Diagnostic> {
        let memory = Memory::default();
        let csv = csv::ReaderBuilder::new()
            .trim(csv::Trim::Headers)
            .from_reader(Remembering { reader, memory: Rc::clone(&memory) });
        let (header, record) = (StringRecord::new(), StringRecord::new());
        let mut records = Records { csv, memory, name, header, record, over: false };
        records.header = records.csv.headers().cloned().map_err(|error| records.refusal(&error))?;
        Ok(records)
    }

    pub(crate) fn header(&self) -> &StringRecord {
        &self.header
    }

    /// Reads the next record, which is then the one that is read.
    pub(crate) fn advance(&mut self) -> Option<Result<Current, Diagnostic>> {
        if self.over {
            return None;
        }
        let position = self.csv.position().clone();
        self.memory.borrow_mut().forget_before(position.byte());
        let mut record = std::mem::take(&mut self.record);
        let read = self.csv.read_record(&mut record);
        self.record = record;
        let span = position.byte()..self.csv.position().byte();
        match read {
            Ok(false) => None,
            Ok(true) => {
                let (start, number) = self
                    .record
                    .position()
                    .map_or((position.byte(), position.line()), |at| (at.byte(), at.line()));
                Some(Ok(Current { start, number, span }))
            }
            Err(error) => {
                let refusal = self.refusal(&error);
                self.over = matches!(error.kind(), ErrorKind::Io(_));
                if self.over {
                    return Some(Err(refusal));
                }
                Some(Err(refusal.of_row(self.memory.borrow().record(span))))
            }
        }
    }

    /// The cells of the record that is read.
    pub(crate) fn record(&self) -> &StringRecord {
        &self.record
    }

    /// The record as it was written.
    pub(crate) fn text(&self, current: &Current) -> String {
        self.memory.borrow().record(current.span.clone())
    }

    /// A refusal of one of its fields.
    pub(crate) fn refuse_field(&self, current: &Current, column: usize, what: String) -> Diagnostic {
        self.memory.borrow().refuse_field(&self.name, current.start, current.number, column, what)
    }

    fn refusal(&self, error: &csv::Error) -> Diagnostic {
        let Some(position) = error.position() else {
            let what = match error.kind() {
                ErrorKind::Io(error) => crate::output::reason(error),
                _ => error.to_string(),
            };
            return Diagnostic::new(format!("cannot read {}: {what}", self.name));
        };
        let what = match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("this record has {}, the header has {expected_len}", counted(*len, "field"))
            }
            ErrorKind::Utf8 { err, .. } => format!("field {} is not UTF-8", err.field() + 1),
            _ => error.to_string(),
        };
        let column = match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => {
                (*expected_len).min(len.saturating_sub(1)) as usize
            }
            ErrorKind::Utf8 { err, .. } => err.field(),
            _ => 0,
        };
        let memory = self.memory.borrow();
        let refusal = memory.refuse_field(&self.name, position.byte(), position.line(), column, what);
        let is_open = memory.line(position.byte()).matches('"').count() % 2 == 1;
        refusal.maybe_help(is_open.then(|| "a quote is not closed on this line".to_owned()))
    }
}

/// The bytes read since the current record began, so that a refusal can show its line. The parser reads a buffer ahead, and
/// no more is kept.
type Memory = Rc<RefCell<Recent>>;

#[derive(Debug, Default)]
struct Recent {
    bytes: Vec<u8>,
    /// The position in the file of the first byte kept.
    start: u64,
}

impl Recent {
    fn forget_before(&mut self, position: u64) {
        let gone =
            usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..gone);
        self.start += gone as u64;
    }

    /// The line that starts at `position`.
    fn line(&self, position: u64) -> String {
        let from =
            usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.bytes.len());
        let rest = &self.bytes[from..];
        let rest = if position == 0 { rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest) } else { rest };
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        String::from_utf8_lossy(&rest[..end]).trim_end_matches('\r').to_owned()
    }

    /// The record in those positions of the file: without the lines' ends around it, with those in its cells.
    fn record(&self, span: Range<u64>) -> String {
        let index = |position: u64| {
            usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.bytes.len())
        };
        let bytes = &self.bytes[index(span.start)..index(span.end)];
        String::from_utf8_lossy(bytes).trim_matches(['\r', '\n']).to_owned()
    }

    fn refuse_field(
        &self,
        name: &str,
        position: u64,
        number: u64,
        column: usize,
        what: String,
    ) -> Diagnostic {
        // The parser's position may be that of blank lines before the record.
        let from =
            usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.bytes.len());
        let blank = self.bytes[from..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
        let (bytes, lines) =
            blank.fold((0, 0), |(bytes, lines), byte| (bytes + 1, lines + u64::from(*byte == b'\n')));
        let line = self.line(position + bytes);
        Diagnostic::on_line(name, number + lines, &line, field_span(&line, column), what)
    }
}

/// Where field `column` stands in the text of a record.
fn field_span(line: &str, column: usize) -> Range<usize> {
    let (mut field, mut start, mut quoted) = (0, 0, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted && field == column => return start..at,
            b',' if !quoted => (field, start) = (field + 1, at + 1),
            _ => {}
        }
    }
    if field == column { start..line.len() } else { line.len()..line.len() }
}

#[derive(Debug)]
struct Remembering<R> {
    reader: R,
    memory: Memory,
}

impl<R: Read> Read for Remembering<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.memory.borrow_mut().bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_past_quotes() {
        let line = r#"1,"a,""b",x"#;
        assert_eq!(&line[field_span(line, 0)], "1");
        assert_eq!(&line[field_span(line, 1)], r#""a,""b""#);
        assert_eq!(&line[field_span(line, 2)], "x");
        assert_eq!(field_span(line, 9), line.len()..line.len());
    }
}
