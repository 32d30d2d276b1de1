//! One word a line: the single argument of an item, read as its parameter wants it. Every line counts, also an empty one.

use std::io::BufRead;

use erased_serde::Deserializer as Erased;
use procession::{Payload, TaskInfo};

use super::cell::misfit;
use super::row;
use super::source::Row;
use super::word::WordReader;
use crate::diagnostic::Diagnostic;

/// Numbered lines of a text, without their ends. A line is as long as it is: a row must fit into memory anyway.
#[derive(Debug)]
pub(crate) struct Numbered<R> {
    reader: R,
    name: String,
    /// What ends a line.
    end: u8,
    number: u64,
    buffer: Vec<u8>,
    over: bool,
}

impl<R: BufRead> Numbered<R> {
    pub(crate) fn new(reader: R, name: String) -> Numbered<R> {
        Numbered::ended_by(b'\n', reader, name)
    }

    /// Lines that another byte ends than a newline's.
    pub(crate) fn ended_by(end: u8, reader: R, name: String) -> Numbered<R> {
        Numbered { reader, name, end, number: 0, buffer: Vec::new(), over: false }
    }

    /// The next line, with its number; None at the end, and after an error.
    pub(crate) fn next(&mut self) -> Option<Result<(u64, &str), Diagnostic>> {
        if self.over {
            return None;
        }
        self.buffer.clear();
        match self.reader.read_until(self.end, &mut self.buffer) {
            Ok(0) => {
                self.over = true;
                None
            }
            Ok(_) => {
                self.number += 1;
                Some(self.line())
            }
            Err(error) => {
                self.over = true;
                let what = format!("cannot read {}: {}", self.name, crate::output::reason(&error));
                Some(Err(Diagnostic::new(what)))
            }
        }
    }

    /// A refusal of part of line `number`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn line(&self) -> Result<(u64, &str), Diagnostic> {
        let mut bytes = self.buffer.as_slice();
        if self.end != b'\n' {
            bytes = bytes.strip_suffix(&[self.end]).unwrap_or(bytes);
            return self.text(bytes);
        }
        if self.number == 1 {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        self.text(bytes)
    }

    fn text<'b>(&self, bytes: &'b [u8]) -> Result<(u64, &'b str), Diagnostic> {
        std::str::from_utf8(bytes).map(|line| (self.number, line)).map_err(|error| {
            let good = error.valid_up_to();
            let shown = String::from_utf8_lossy(bytes);
            let refusal =
                Diagnostic::on_line(&self.name, self.number, &shown, good..good + 1, "this is not UTF-8");
            refusal.help("convert the file to UTF-8").of_row(shown)
        })
    }
}

/// Rows of one word.
#[derive(Debug)]
pub(crate) struct Reader<'a, R> {
    lines: Numbered<R>,
    task: &'a TaskInfo,
}

impl<'a, R: BufRead> Reader<'a, R> {
    pub(crate) fn new(reader: R, name: String, task: &'a TaskInfo) -> Reader<'a, R> {
        Reader { lines: Numbered::new(reader, name), task }
    }
}

impl<R: BufRead> Iterator for Reader<'_, R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let name = self.lines.name().to_owned();
        let (number, line) = match self.lines.next()? {
            Ok(line) => line,
            Err(refusal) => return Some(Err(refusal)),
        };
        let refuse =
            |what: String| Diagnostic::on_line(&name, number, line, 0..line.len(), what).of_row(line);
        if self.task.params().len() != 1 {
            return Some(Err(refuse(row::arity(self.task, 1))));
        }
        let mut payload = Payload::new();
        let mut word = <dyn Erased<'_>>::erase(WordReader::new(line));
        Some(match self.task.encode_arg(0, &mut word, &mut payload) {
            Ok(()) => Ok(payload),
            Err(error) => Err(refuse(misfit(self.task, 0, &error.to_string()))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_numbered_and_bare() {
        let mut lines = Numbered::new(&b"\xef\xbb\xbfa\r\n\nb"[..], "t".to_owned());
        let mut seen = Vec::new();
        while let Some(line) = lines.next() {
            let (number, line) = line.unwrap();
            seen.push((number, line.to_owned()));
        }
        assert_eq!(seen, [(1, "a".to_owned()), (2, String::new()), (3, "b".to_owned())]);
    }

    #[test]
    fn broken_utf8_is_placed() {
        let mut lines = Numbered::new(&b"ok\nab\xff\n"[..], "t".to_owned());
        lines.next();
        let refusal = lines.next().unwrap().unwrap_err().headline();
        assert!(refusal.starts_with("t:2:3: this is not UTF-8"), "{refusal}");
    }
}
