//! Values on their way out: to stdout or a file, as JSON Lines, CSV or one JSON array; to a file as Parquet or Arrow.
//!
//! It decodes results only as far as serde needs. Items without a value are not its business.

#[cfg(feature = "arrow")]
mod arrays;
mod format;
#[cfg(feature = "arrow")]
mod shape;
#[cfg_attr(not(feature = "arrow"), path = "output/no_table.rs")]
mod table;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use erased_serde::Serializer as Erased;
use procession::{Payload, TaskInfo};

pub(crate) use self::format::Format;
use self::table::Table;
use crate::exec::{self, Streams};
use crate::exit::Stop;
use crate::failures::Flaw;
use crate::input;
use crate::job::ResultSettings;
use crate::progress::Screen;

/// Results are gathered up to here before they are written, unless nothing more is at hand.
const BUFFER_BYTES: usize = 64 << 10;

/// The two fields of which a `Result` has one.
const RESULT: [&str; 2] = ["Ok", "Err"];

/// Where lines go: stdout or a file, by name.
pub(crate) struct Sink {
    name: String,
    is_stdout: bool,
    writer: BufWriter<Box<dyn Write>>,
    /// The terminal that stdout is, if progress is there, too.
    screen: Screen,
    /// The file, if something was in it before.
    earlier: Option<File>,
}

impl Sink {
    pub(crate) fn stdout() -> Sink {
        Sink::stdout_beside(&Screen::bare())
    }

    /// Stdout, which may be the terminal that progress is on.
    pub(crate) fn stdout_beside(screen: &Screen) -> Sink {
        let (stdout, screen): (Box<dyn Write>, _) = match screen.beside() {
            Some(beside) => (beside, screen.clone()),
            None => (Box::new(io::stdout()), Screen::bare()),
        };
        let writer = BufWriter::with_capacity(BUFFER_BYTES, stdout);
        Sink { name: "stdout".to_owned(), is_stdout: true, writer, screen, earlier: None }
    }

    /// Opens a file. What was in it before stays until [`begin`](Sink::begin).
    pub(crate) fn file(path: &Path) -> Result<Sink, Stop> {
        let name = path.display().to_string();
        let open = || -> io::Result<(File, Option<File>)> {
            let file = File::options().write(true).create(true).truncate(false).open(path)?;
            let before = file.metadata()?;
            let earlier = (before.is_file() && before.len() > 0).then(|| file.try_clone()).transpose()?;
            Ok((file, earlier))
        };
        let (file, earlier) =
            open().map_err(|error| Stop::Unwritable(format!("cannot create {name}: {}", reason(&error))))?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, Box::new(file) as Box<dyn Write>);
        Ok(Sink { name, is_stdout: false, writer, screen: Screen::bare(), earlier })
    }

    /// From here on there are results: those of an earlier run go.
    pub(crate) fn begin(&mut self) -> Result<(), Stop> {
        match self.earlier.take() {
            Some(file) => file.set_len(0).map_err(|error| self.stop(&error)),
            None => Ok(()),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.writer.write_all(bytes).map_err(|error| self.stop(&error))?;
        // Beside a picture text is gathered for it, and is to be as new.
        if self.screen.is_painted() { self.flush() } else { Ok(()) }
    }

    /// Whether all that was flushed is where it goes.
    fn is_out(&self) -> bool {
        !self.screen.holds_stdout()
    }

    /// Lets readers see everything so far.
    pub(crate) fn flush(&mut self) -> Result<(), Stop> {
        self.writer.flush().map_err(|error| self.stop(&error))
    }

    fn stop(&self, error: &io::Error) -> Stop {
        if self.is_stdout && error.kind() == io::ErrorKind::BrokenPipe {
            return Stop::Unread;
        }
        Stop::Unwritable(format!("cannot write to {}: {}", self.name, reason(error)))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // After a failed write the buffer would be tried again: whoever cares has flushed.
        let sink = BufWriter::new(Box::new(io::sink()) as Box<dyn Write>);
        let _ = std::mem::replace(&mut self.writer, sink).into_parts();
    }
}

/// Where values go.
enum Target {
    /// As text, one after another.
    Text(Sink),
    /// As rows of a file that is there when it is complete.
    Table(Box<Table>),
}

/// The values of a run, being written.
pub(crate) struct Values {
    target: Target,
    format: Format,
    /// Where values are what commands printed.
    streams: Option<Streams>,
    indexed: bool,
    written: u64,
    /// How many of them have certainly left the buffer.
    seen: u64,
    /// The columns of a CSV, once the first value told them; empty for values without fields.
    columns: Option<Vec<String>>,
    line: Vec<u8>,
}

impl Values {
    /// `returns` is the type of the values, as the source of their task writes it.
    pub(crate) fn open(settings: &ResultSettings, returns: &str, screen: &Screen) -> Result<Values, Stop> {
        let target = match (settings.format, &settings.file) {
            (format @ (Format::Parquet | Format::Arrow), Some(path)) => {
                Target::Table(Box::new(Table::open(path, format, settings.indexed, returns)?))
            }
            (_, Some(path)) => Target::Text(Sink::file(path)?),
            (_, None) => Target::Text(Sink::stdout_beside(screen)),
        };
        Ok(Values {
            target,
            format: settings.format,
            streams: settings.streams,
            indexed: settings.indexed,
            written: 0,
            seen: 0,
            columns: None,
            line: Vec::new(),
        })
    }

    /// The run has begun.
    pub(crate) fn begin(&mut self) -> Result<(), Stop> {
        match &mut self.target {
            Target::Text(sink) => sink.begin(),
            Target::Table(_) => Ok(()),
        }
    }

    /// Writes one value. The inner error is the value's own: it cannot be written in this format, or tells of a failure.
    pub(crate) fn write(
        &mut self,
        task: &TaskInfo,
        index: u64,
        result: &Payload,
        args: Option<&Payload>,
        screen: &Screen,
    ) -> Result<Result<(), Flaw>, Stop> {
        let done = match (self.streams, &mut self.target) {
            (Some(streams), Target::Text(sink)) => {
                streams.write(sink, (index, result), args, screen).map_err(|stop| self.count_lost(stop))
            }
            _ => self.write_value(task, index, result).map(|done| done.map_err(Flaw::from)),
        };
        self.written += u64::from(matches!(done, Ok(Ok(()))));
        done
    }

    /// Writes what a command printed in an earlier session.
    pub(crate) fn repeat(
        &mut self,
        (out, err): (&[u8], &[u8]),
        is_value: bool,
        screen: &Screen,
    ) -> Result<(), Stop> {
        if let Target::Text(sink) = &mut self.target {
            exec::put(sink, out, err, screen).map_err(|stop| self.count_lost(stop))?;
        }
        self.written += u64::from(is_value);
        Ok(())
    }

    fn write_value(
        &mut self,
        task: &TaskInfo,
        index: u64,
        result: &Payload,
    ) -> Result<Result<(), String>, Stop> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let made = match self.format {
            Format::Jsonl | Format::Json => self.json_line(task, index, result, &mut line),
            Format::Csv => self.csv_line(task, index, result, &mut line),
            Format::Parquet | Format::Arrow => encode_json(task, result, &mut line),
        };
        self.put(index, line, made)
    }

    fn put(
        &mut self,
        index: u64,
        line: Vec<u8>,
        made: Result<(), String>,
    ) -> Result<Result<(), String>, Stop> {
        let done = match (made, &mut self.target) {
            (Ok(()), Target::Text(sink)) => sink.write(&line).map(Ok),
            (Ok(()), Target::Table(table)) => table.add(index, &line),
            (Err(what), _) => Ok(Err(what)),
        };
        let done = done.map_err(|stop| self.count_lost(stop));
        self.line = line;
        done
    }

    /// Writes one value that is JSON by now; otherwise as [`write`](Values::write).
    pub(crate) fn write_json(&mut self, index: u64, json: &str) -> Result<Result<(), String>, Stop> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let made = match self.format {
            Format::Jsonl | Format::Json => self.framed(index, &mut line, |line| {
                line.extend_from_slice(json.as_bytes());
                Ok(())
            }),
            Format::Csv => csv_record(&mut self.columns, self.indexed.then_some(index), json, &mut line),
            Format::Parquet | Format::Arrow => {
                line.extend_from_slice(json.as_bytes());
                Ok(())
            }
        };
        let done = self.put(index, line, made);
        self.written += u64::from(matches!(done, Ok(Ok(()))));
        done
    }

    /// Lets readers see everything so far.
    pub(crate) fn flush(&mut self) -> Result<(), Stop> {
        if let Target::Text(sink) = &mut self.target {
            let flushed = sink.flush();
            let is_out = sink.is_out();
            flushed.map_err(|stop| self.count_lost(stop))?;
            if is_out {
                self.seen = self.written;
            }
        }
        Ok(())
    }

    /// Ends the text, or completes the file.
    pub(crate) fn finish(&mut self) -> Result<(), Stop> {
        let end: &[u8] = match (self.format, self.written) {
            (Format::Json, 0) => b"[]\n",
            (Format::Json, _) => b"\n]\n",
            _ => b"",
        };
        let ended = match &mut self.target {
            Target::Text(sink) => sink.write(end),
            Target::Table(table) => table.finish(),
        };
        ended.map_err(|stop| self.count_lost(stop))?;
        self.flush()?;
        self.seen = self.written;
        Ok(())
    }

    /// How many values have certainly been written.
    pub(crate) fn certain(&self) -> u64 {
        self.seen
    }

    /// Says which values are in it all the same.
    fn count_lost(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Unwritable(what) => {
                let sure = match self.seen {
                    0 => "no value is".to_owned(),
                    1 => "only the first value is".to_owned(),
                    seen => format!("only the first {seen} values are"),
                };
                Stop::Unwritable(format!("{what}; {sure} certain to be in it"))
            }
            other => other,
        }
    }

    fn json_line(
        &self,
        task: &TaskInfo,
        index: u64,
        result: &Payload,
        line: &mut Vec<u8>,
    ) -> Result<(), String> {
        self.framed(index, line, |line| encode_json(task, result, line))
    }

    /// A value with what is around it.
    fn framed(
        &self,
        index: u64,
        line: &mut Vec<u8>,
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.format == Format::Json {
            line.extend_from_slice(if self.written == 0 { b"[\n" } else { b",\n" });
        }
        if self.indexed {
            line.extend_from_slice(format!("{{\"index\": {index}, \"value\": ").as_bytes());
        }
        value(line)?;
        if self.indexed {
            line.push(b'}');
        }
        if self.format == Format::Jsonl {
            line.push(b'\n');
        }
        Ok(())
    }

    fn csv_line(
        &mut self,
        task: &TaskInfo,
        index: u64,
        result: &Payload,
        line: &mut Vec<u8>,
    ) -> Result<(), String> {
        let mut json = Vec::new();
        encode_json(task, result, &mut json)?;
        let json = String::from_utf8(json).map_err(|error| error.to_string())?;
        csv_record(&mut self.columns, self.indexed.then_some(index), &json, line)
    }
}

/// Appends a value as a record, and before the first one the header. Of the JSON only the outer shape is read, so that a
/// number keeps every digit.
fn csv_record(
    header: &mut Option<Vec<String>>,
    index: Option<u64>,
    json: &str,
    line: &mut Vec<u8>,
) -> Result<(), String> {
    let fields = match json.as_bytes() {
        [b'{', ..] => Some(input::members(json).map_err(|error| error.to_string())?),
        _ => None,
    };
    let mut csv = csv::Writer::from_writer(line);
    let mut record = |cells: Vec<String>| csv.write_record(cells).map_err(|error| error.to_string());
    let columns = match header {
        Some(columns) => columns,
        none => {
            let mut columns: Vec<String> = fields.iter().flatten().map(|(name, _)| name.clone()).collect();
            if let [only] = columns.as_slice()
                && RESULT.contains(&only.as_str())
            {
                // What a task's own error is told by is no field of any other value.
                columns = RESULT.map(str::to_owned).to_vec();
            }
            let mut names = index.map(|_| "index".to_owned()).into_iter().collect::<Vec<_>>();
            names.extend(if columns.is_empty() { vec!["value".to_owned()] } else { columns.clone() });
            record(names)?;
            none.insert(columns)
        }
    };
    let mut cells: Vec<String> = index.map(|index| index.to_string()).into_iter().collect();
    match (fields, columns.as_slice()) {
        (_, []) => cells.push(cell(json)),
        (Some(fields), columns) => {
            if let Some((extra, _)) = fields.iter().find(|(name, _)| !columns.contains(name)) {
                return Err(format!("the CSV has no column `{extra}`: the first value had no such field"));
            }
            let field = |column: &String| fields.iter().find(|(name, _)| name == column);
            let text = |column| field(column).map_or_else(String::new, |(_, value)| cell(value.get()));
            cells.extend(columns.iter().map(text));
        }
        (None, columns) if json == "null" => cells.extend(columns.iter().map(|_| String::new())),
        (None, columns) => {
            let columns = crate::nearest::list(columns);
            return Err(format!("this value has no fields, and the CSV's columns are {columns}"));
        }
    }
    record(cells)?;
    csv.flush().map_err(|error| error.to_string())
}

/// Appends a result as compact JSON. Floats that JSON cannot say (NaN, infinities) become `null`.
pub(crate) fn encode_json(task: &TaskInfo, result: &Payload, line: &mut Vec<u8>) -> Result<(), String> {
    let mut json = serde_json::Serializer::new(&mut *line);
    let written = task.decode_result(result.as_bytes(), &mut <dyn Erased>::erase(&mut json));
    written.map_err(|error| error.to_string())
}

/// A JSON value as the text of a CSV cell.
fn cell(json: &str) -> String {
    match json.as_bytes() {
        b"null" => String::new(),
        // What was written as a string is read as one.
        [b'"', ..] => serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()),
        _ => json.to_owned(),
    }
}

/// An I/O error in words, lower case and without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "unknown reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_plain_words() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "no such file or directory");
    }

    #[test]
    fn cells_keep_every_digit() {
        let number = "340282366920938463463374607431768211455";
        assert_eq!([cell(number), cell("0.1"), cell("null"), cell(r#""a\"b""#)], [number, "0.1", "", "a\"b"]);
    }

    /// The lines of a CSV of these values, or why one is not in it.
    fn csv(values: &[&str]) -> Vec<Result<String, String>> {
        let mut header = None;
        let record = |(index, json): (usize, &&str)| {
            let mut line = Vec::new();
            csv_record(&mut header, Some(index as u64), json, &mut line)?;
            Ok(String::from_utf8(line).unwrap())
        };
        values.iter().enumerate().map(record).collect()
    }

    #[test]
    fn fields_that_the_first_value_lacks_are_not_lost_silently() {
        let lines = csv(&[r#"{"a": 1, "b": 2}"#, r#"{"b": 3}"#, r#"{"a": 4, "c": 5}"#, "6", "null"]);
        let no_column = "the CSV has no column `c`: the first value had no such field";
        let no_fields = "this value has no fields, and the CSV's columns are `a` and `b`";
        let wanted = [Ok("index,a,b\n0,1,2\n"), Ok("1,,3\n"), Err(no_column), Err(no_fields), Ok("4,,\n")];
        assert_eq!(lines, wanted.map(|line| line.map(str::to_owned).map_err(str::to_owned)));
    }

    #[test]
    fn values_and_errors_of_a_task_share_a_csv() {
        for (values, records) in [
            ([r#"{"Ok": 1}"#, r#"{"Err": "no"}"#], ["index,Ok,Err\n0,1,\n", "1,,no\n"]),
            ([r#"{"Err": "no"}"#, r#"{"Ok": null}"#], ["index,Ok,Err\n0,,no\n", "1,,\n"]),
        ] {
            assert_eq!(csv(&values), records.map(|record| Ok(record.to_owned())));
        }
    }

    #[test]
    fn formats_go_by_extension() {
        assert_eq!(Format::of("a/b.csv"), Some(Format::Csv));
        assert_eq!(Format::of("b.parquet"), Some(Format::Parquet));
        assert_eq!(Format::of("b.xlsx"), None);
        assert_eq!(Format::of("plain"), None);
    }
}
