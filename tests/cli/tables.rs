//! Values as Parquet and Arrow files, read back.

use std::fs::File;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_ipc::reader::FileReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::program::{run, within};

fn read(path: &str) -> Vec<RecordBatch> {
    let file = File::open(path).expect("the file is there");
    if path.ends_with(".arrow") {
        return FileReader::try_new(file, None)
            .expect("it is Arrow")
            .map(|batch| batch.expect("a batch"))
            .collect();
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("it is Parquet");
    reader.build().expect("it can be read").map(|batch| batch.expect("a batch")).collect()
}

/// The squares from 0 on, each with its index.
fn assert_squares(path: &str, count: u64) {
    let mut next = 0_u64;
    for batch in read(path) {
        let indices = batch.column_by_name("index").expect("a column").as_primitive::<UInt64Type>();
        let values = batch.column_by_name("value").expect("a column").as_primitive::<Int64Type>();
        for (index, value) in indices.values().iter().zip(values.values()) {
            assert_eq!((*index, *value), (next, (next * next).cast_signed()));
            next += 1;
        }
    }
    assert_eq!(next, count);
}

procession_harness::cases! {
    fn runs_and_exports_write_tables() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        let path = within(&folder, "values.parquet");
        let end = run(&["map", "square", "--range", "0..20000", "--indexed", "-o", &path, "--run-dir", &dir]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        assert_squares(&path, 20_000);
        for name in ["again.arrow", "again.parquet"] {
            let path = within(&folder, name);
            let end = run(&["export", &dir, "--indexed", "--output", &path]);
            assert_eq!(end.code(), Some(0), "{}", end.stderr);
            assert_squares(&path, 20_000);
        }
    }

    fn a_table_has_no_row_for_items_without_a_value() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = within(&folder, "values.arrow");
        let end = run(&["map", "square", "1", "3000000000000", "3", "-o", &path]);
        assert_eq!(end.code(), Some(1), "{}", end.stderr);
        let batches = read(&path);
        assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().values(), &[1, 9]);
    }

    fn a_table_on_stdout_is_refused() {
        for format in ["parquet", "arrow"] {
            let end = run(&["map", "square", "1", "--format", format]);
            assert_eq!((end.code(), end.stdout.as_str()), (Some(2), ""), "{}", end.stderr);
            assert!(end.stderr.contains("need a file") && end.stderr.contains("--output"), "{}", end.stderr);
        }
    }

    fn a_table_on_a_full_disk_is_told() {
        let end = run(&["map", "square", "--range", "0..100000", "-o", "/dev/full", "--format", "parquet"]);
        assert_eq!(end.code(), Some(74), "{}", end.stderr);
        assert!(end.stderr.contains("cannot write to /dev/full: no space left on device"), "{}", end.stderr);
        let end = run(&["map", "square", "1", "-o", "/nowhere/values.parquet"]);
        assert_eq!(end.code(), Some(74), "{}", end.stderr);
        assert!(!Path::new("/nowhere").exists());
    }
}
