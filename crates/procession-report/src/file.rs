//! Files that appear when they are complete: what was there before stays until then.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use procession_store::Reader;
use tempfile::NamedTempFile;

use crate::error::Error;
use crate::survey::Survey;
use crate::{page, trace};

/// A trace is written in pieces of this size.
const BUFFER_BYTES: usize = 1 << 18;

/// Writes what a run directory holds as one HTML page. A run that goes on is shown as it is at that moment.
///
/// # Errors
/// [`ErrorKind::NotARun`](crate::ErrorKind::NotARun), [`ErrorKind::Unreadable`](crate::ErrorKind::Unreadable) or
/// [`ErrorKind::Unwritable`](crate::ErrorKind::Unwritable); then there is no new file.
pub fn write(run_dir: &Path, path: &Path) -> Result<(), Error> {
    let reader = Reader::open(run_dir)?;
    let survey = reader.at_once(Survey::take)?;
    let html = page::html(&survey, run_dir).into_string();
    replace("report", path, |file| {
        file.write_all(html.as_bytes()).map_err(|error| Error::unwritable("report", path, error))
    })
}

/// Writes what a run directory holds as a Chrome trace: a lane for every worker, an event for every item, marks for the
/// deaths of workers, counters for progress and memory. Perfetto opens it. The file has about 160 bytes an item.
///
/// # Errors
/// As [`write()`].
pub fn write_trace(run_dir: &Path, path: &Path) -> Result<(), Error> {
    let reader = Reader::open(run_dir)?;
    replace("trace", path, |file| reader.at_once(|reader| trace::write(reader, path, file)))
}

/// Fills a new file and puts it in the place of the old one.
fn replace(
    what: &str,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
) -> Result<(), Error> {
    let cannot = |error: io::Error| Error::unwritable(what, path, error);
    if path.is_dir() {
        return Err(cannot(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    // A pipe or a device is written to, not replaced.
    if path.exists() && !path.is_file() {
        let file = File::options().write(true).open(path).map_err(cannot)?;
        let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, file);
        fill(&mut buffered)?;
        return buffered.flush().map_err(cannot);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = create(folder).map_err(cannot)?;
    let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, file);
    fill(&mut buffered)?;
    let file = buffered.into_inner().map_err(|error| cannot(error.into_error()))?;
    file.persist(path).map_err(|error| cannot(error.error))?;
    Ok(())
}

fn create(folder: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;
    tempfile::Builder::new()
        .prefix(".report-")
        // As any other file: what the umask leaves.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
}
