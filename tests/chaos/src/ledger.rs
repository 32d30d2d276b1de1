//! Who has started what: a file that tasks append to as they start, so that a start is known whatever becomes of the
//! worker.
//!
//! Millions of items write to it, so a record has a fixed length, and a worker opens the file once. It divides the size
//! of a page: a kill can leave no half record.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::tag::Tag;

/// Tells workers where to write.
pub(crate) const LEDGER_VARIABLE: &str = "PROCESSION_CHAOS_LEDGER";

const RECORD_BYTES: usize = 16;

/// One start of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) tag: Tag,
    pub(crate) attempt: u32,
    pub(crate) pid: u32,
}

/// In a task: notes that it starts.
///
/// # Panics
/// If this is no worker of an episode, or the file cannot be written.
pub(crate) fn note(tag: Tag, attempt: u32) {
    thread_local! {
        static LEDGER: OnceCell<File> = const { OnceCell::new() };
    }
    LEDGER.with(|ledger| {
        let file = ledger.get_or_init(|| {
            let path = std::env::var_os(LEDGER_VARIABLE).expect("workers are told where the ledger is");
            File::options().append(true).open(path).expect("the ledger exists")
        });
        let record = Start { tag, attempt, pid: std::process::id() }.encode();
        (&*file).write_all(&record).expect("the ledger is writable");
    });
}

/// The file of an episode. Removed when dropped.
pub(crate) struct Ledger {
    path: PathBuf,
}

impl Ledger {
    pub(crate) fn create(path: PathBuf) -> io::Result<Ledger> {
        File::create(&path)?;
        Ok(Ledger { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All starts, in the order they happened.
    pub(crate) fn starts(&self) -> Result<Vec<Start>, String> {
        let bytes = fs::read(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))?;
        let (records, rest) = bytes.as_chunks::<RECORD_BYTES>();
        if !rest.is_empty() {
            return Err(format!("the ledger ends with {} bytes of a record", rest.len()));
        }
        Ok(records.iter().map(Start::decode).collect())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // If it cannot be removed, the look at the directory says so.
        let _ = fs::remove_file(&self.path);
    }
}

impl Start {
    fn encode(self) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        record[..8].copy_from_slice(&self.tag.number().to_le_bytes());
        record[8..12].copy_from_slice(&self.attempt.to_le_bytes());
        record[12..].copy_from_slice(&self.pid.to_le_bytes());
        record
    }

    fn decode(record: &[u8; RECORD_BYTES]) -> Start {
        let number = |from: usize| {
            u32::from_le_bytes([record[from], record[from + 1], record[from + 2], record[from + 3]])
        };
        let tag = u64::from(number(0)) | u64::from(number(4)) << 32;
        Start { tag: Tag::from_number(tag), attempt: number(8), pid: number(12) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Deed;

    #[test]
    fn records_are_read_as_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(directory.path().join("ledger")).unwrap();
        let start = |index, attempt| Start { tag: Tag::new(3, index, Deed::Panic), attempt, pid: 4_000_000 };
        let starts = vec![start(7, 1), start(u32::MAX, 2)];
        let bytes: Vec<u8> = starts.iter().flat_map(|start| start.encode()).collect();
        fs::write(ledger.path(), &bytes).unwrap();
        assert_eq!(ledger.starts(), Ok(starts));
        fs::write(ledger.path(), &bytes[..20]).unwrap();
        assert_eq!(ledger.starts(), Err("the ledger ends with 4 bytes of a record".to_owned()));
    }
}
