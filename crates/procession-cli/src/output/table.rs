//! Values as the rows of a Parquet or Arrow file, which is there when it is complete.
//!
//! Rows are gathered into batches, the first of which says what columns there are.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use tempfile::NamedTempFile;

use super::shape::{Shape, is_wide};
use super::{Format, arrays, reason};
use crate::exit::Stop;

/// A batch has so many rows at most, and ends sooner with so many bytes of JSON.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: usize = 8 << 20;
/// What a Parquet file keeps in memory until its row group ends.
const GROUP_BYTES: usize = 32 << 20;
/// Offsets within a column of text are 32 bits.
const VALUE_BYTES_MAX: usize = 1 << 30;

/// A file of rows, being written.
pub(super) struct Table {
    path: PathBuf,
    format: Format,
    indexed: bool,
    /// What the type of the values promises.
    known: Shape,
    /// Taken by the writer, once there are columns.
    place: Option<Place>,
    writer: Option<(Writer, Columns)>,
    rows: Vec<Row>,
    /// Of the rows, as JSON.
    bytes: usize,
}

struct Row {
    index: u64,
    value: Value,
    /// The JSON itself, where only that has all digits.
    wide: Option<String>,
}

/// What columns there are, beside that of the index.
enum Columns {
    /// One for each field.
    Fields(Vec<(String, Shape)>),
    /// One for the whole value.
    Value(Shape),
}

enum Writer {
    Parquet(Box<ArrowWriter<BufWriter<Place>>>),
    Arrow(Box<FileWriter<BufWriter<Place>>>),
}

/// Where bytes go.
enum Place {
    /// Into a file beside, which then takes the name.
    Beside(NamedTempFile),
    /// Into what is no file, such as a device or a pipe, and cannot be replaced.
    Straight(File),
}

impl Table {
    /// Begins a file. What was there before stays until the new one is complete.
    pub(super) fn open(path: &Path, format: Format, indexed: bool, returns: &str) -> Result<Table, Stop> {
        let place = Place::open(path).map_err(|error| {
            Stop::Unwritable(format!("cannot create {}: {}", path.display(), reason(&error)))
        })?;
        let (path, place, known) = (path.to_owned(), Some(place), Shape::of_type(returns));
        Ok(Table { path, format, indexed, known, place, writer: None, rows: Vec::new(), bytes: 0 })
    }

    /// Takes a value. The inner error is the value's own: it has no place in the columns there are.
    pub(super) fn add(&mut self, index: u64, json: &[u8]) -> Result<Result<(), String>, Stop> {
        if json.len() > VALUE_BYTES_MAX {
            return Ok(Err(format!("{} bytes of JSON are more than a cell has room for", json.len())));
        }
        let value: Value = match serde_json::from_slice(json) {
            Ok(value) => value,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let wide = is_wide(json).then(|| String::from_utf8_lossy(json).into_owned());
        if let Some((_, columns)) = &self.writer
            && let Err(what) = columns.refuse(&value, wide.is_some())
        {
            return Ok(Err(what));
        }
        self.rows.push(Row { index, value, wide });
        self.bytes += json.len();
        if self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.write_batch()?;
        }
        Ok(Ok(()))
    }

    /// Completes the file and gives it its name.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        self.write_batch()?;
        let Some((writer, _)) = self.writer.take() else { return Ok(()) };
        let buffered = match writer {
            Writer::Parquet(writer) => writer.into_inner().map_err(|error| self.stop(&of_parquet(error)))?,
            Writer::Arrow(mut writer) => {
                let ended = writer.finish().and_then(|()| writer.into_inner());
                ended.map_err(|error| self.stop(&of_arrow(error)))?
            }
        };
        let place = buffered.into_inner().map_err(|error| self.stop(error.error()))?;
        match place {
            Place::Straight(_) => Ok(()),
            Place::Beside(file) => {
                file.persist(&self.path).map(drop).map_err(|error| self.stop(&error.error))
            }
        }
    }

    /// Writes what is gathered. The first time it is settled what columns there are, also if there is no row at all.
    fn write_batch(&mut self) -> Result<(), Stop> {
        if let Some(place) = self.place.take() {
            let columns = Columns::of(&self.known, &self.rows, self.indexed);
            let writer = Writer::new(self.format, place, columns.schema(self.indexed));
            self.writer = Some((writer.map_err(|error| self.stop(&error))?, columns));
        }
        let Some((writer, columns)) = &mut self.writer else { return Ok(()) };
        if self.rows.is_empty() {
            return Ok(());
        }
        let written = columns.batch(&self.rows, self.indexed).and_then(|batch| writer.write(&batch));
        self.rows.clear();
        self.bytes = 0;
        written.map_err(|error| self.stop(&error))
    }

    fn stop(&self, error: &io::Error) -> Stop {
        Stop::Unwritable(format!("cannot write to {}: {}", self.path.display(), reason(error)))
    }
}

impl Columns {
    /// What the first rows, and what is known of their type, have in common.
    fn of(known: &Shape, rows: &[Row], indexed: bool) -> Columns {
        if rows.iter().any(|row| row.wide.is_some()) {
            return Columns::Value(Shape::Json);
        }
        let found = Shape::of_values(rows.iter().map(|row| &row.value));
        let filled = known.clone().filled(found.clone()).settled();
        // A type may be called as another one is.
        let fits = rows.iter().all(|row| filled.refuse("", &row.value).is_ok());
        match if fits { filled } else { found.settled() } {
            // Not where a field is called as the column of the index is.
            Shape::Fields(fields) if !(indexed && fields.iter().any(|(name, _)| name == "index")) => {
                Columns::Fields(fields)
            }
            shape => Columns::Value(shape),
        }
    }

    fn refuse(&self, value: &Value, is_wide: bool) -> Result<(), String> {
        match self {
            Columns::Value(Shape::Json) => Ok(()),
            _ if is_wide => Err("it has an integer that 64 bits do not hold".to_owned()),
            Columns::Value(shape) => shape.refuse("value", value),
            // Put together again for the time of a look: there are few columns.
            Columns::Fields(fields) => Shape::Fields(fields.clone()).refuse("", value),
        }
    }

    fn schema(&self, indexed: bool) -> Arc<Schema> {
        let index = indexed.then(|| Field::new("index", DataType::UInt64, false));
        let columns = match self {
            Columns::Fields(fields) => arrays::fields(fields).iter().map(|field| (**field).clone()).collect(),
            Columns::Value(shape) => vec![arrays::field("value", shape)],
        };
        Arc::new(Schema::new(index.into_iter().chain(columns).collect::<Vec<_>>()))
    }

    fn batch(&self, rows: &[Row], indexed: bool) -> io::Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        if indexed {
            columns.push(Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.index))));
        }
        let values: Vec<_> = rows.iter().map(|row| Some(&row.value)).collect();
        match self {
            Columns::Fields(fields) => columns.extend(fields.iter().map(|(name, shape)| {
                let values: Vec<_> = rows.iter().map(|row| row.value.get(name)).collect();
                arrays::array(shape, &values)
            })),
            Columns::Value(Shape::Json) => {
                let text = |row: &Row| match &row.wide {
                    Some(json) => Some(json.clone()),
                    None => (!row.value.is_null()).then(|| row.value.to_string()),
                };
                columns.push(Arc::new(rows.iter().map(text).collect::<StringArray>()));
            }
            Columns::Value(shape) => columns.push(arrays::array(shape, &values)),
        }
        RecordBatch::try_new(self.schema(indexed), columns).map_err(of_arrow)
    }
}

impl Writer {
    fn new(format: Format, place: Place, schema: Arc<Schema>) -> io::Result<Writer> {
        let buffered = BufWriter::new(place);
        if format == Format::Arrow {
            return FileWriter::try_new(buffered, &schema).map(Box::new).map(Writer::Arrow).map_err(of_arrow);
        }
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = ArrowWriter::try_new(buffered, schema, Some(properties));
        writer.map(Box::new).map(Writer::Parquet).map_err(of_parquet)
    }

    fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        match self {
            Writer::Arrow(writer) => writer.write(batch).map_err(of_arrow),
            Writer::Parquet(writer) => {
                writer.write(batch).map_err(of_parquet)?;
                if writer.in_progress_size() > GROUP_BYTES {
                    writer.flush().map_err(of_parquet)?;
                }
                Ok(())
            }
        }
    }
}

impl Place {
    fn open(path: &Path) -> io::Result<Place> {
        if path.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if path.exists() && !path.is_file() {
            return File::options().write(true).open(path).map(Place::Straight);
        }
        // Whoever may not write to the file may not replace it either.
        if path.exists() {
            File::options().write(true).open(path)?;
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new()
            .prefix(".values-")
            // As any other file: what the umask leaves.
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        Ok(Place::Beside(file))
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Place::Beside(file) => file.write(bytes),
            Place::Straight(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Place::Beside(file) => file.flush(),
            Place::Straight(file) => file.flush(),
        }
    }
}

/// The reason below an error: of the disk, where there is one.
fn of_arrow(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}

fn of_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests;
