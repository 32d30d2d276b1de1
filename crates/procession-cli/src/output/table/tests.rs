//! What is written is read back by the crates that wrote it.

use std::fs;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::reader::FileReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

fn read(path: &Path, format: Format) -> Vec<RecordBatch> {
    let file = File::open(path).expect("the file is there");
    if format == Format::Arrow {
        return FileReader::try_new(file, None).unwrap().map(Result::unwrap).collect();
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.with_batch_size(BATCH_ROWS).build().unwrap().map(Result::unwrap).collect()
}

/// Writes values in both formats, and looks at the one batch that is read of each.
fn check(returns: &str, indexed: bool, values: &[&str], look: impl Fn(&RecordBatch)) {
    for format in [Format::Parquet, Format::Arrow] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values");
        let mut table = Table::open(&path, format, indexed, returns).unwrap();
        for (index, json) in values.iter().enumerate() {
            table.add(index as u64, json.as_bytes()).unwrap().unwrap();
            assert!(!path.exists(), "it is there when it is complete");
        }
        table.finish().unwrap();
        let batches = read(&path, format);
        assert_eq!(batches.len(), 1);
        look(&batches[0]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}

fn names(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn scalars_have_a_column_of_their_own_type() {
    check("i64", true, &["1", "-2", "null"], |batch| {
        assert_eq!(names(batch), ["index", "value"]);
        assert_eq!(batch.column(0).as_primitive::<UInt64Type>().values(), &[0, 1, 2]);
        let values = batch.column(1).as_primitive::<Int64Type>();
        assert_eq!(values.iter().collect::<Vec<_>>(), [Some(1), Some(-2), None]);
    });
    // What the type says counts where values say less.
    check("u64", false, &["1"], |batch| assert_eq!(batch.column(0).data_type(), &DataType::UInt64));
    check("f64", false, &["0.1", "1e300"], |batch| {
        assert_eq!(batch.column(0).as_primitive::<Float64Type>().values(), &[0.1, 1e300]);
    });
    check("bool", false, &["true"], |batch| assert!(batch.column(0).as_boolean().value(0)));
    check("Name", false, &["\"a\\\"b\"", "\"\""], |batch| {
        let texts = batch.column(0).as_string::<i32>();
        assert_eq!([texts.value(0), texts.value(1)], ["a\"b", ""]);
    });
}

#[test]
fn fields_and_lists_are_columns() {
    let values =
        ["{\"Ok\": {\"x\": [1.5, null], \"name\": \"a\"}}", "{\"Err\": \"no\"}", "{\"Ok\": {\"x\": []}}"];
    check("Result<Fit, String>", false, &values, |batch| {
        assert_eq!(names(batch), ["Ok", "Err"]);
        let fits = batch.column(0).as_struct();
        assert_eq!((fits.is_null(0), fits.is_null(1), fits.is_null(2)), (false, true, false));
        let lists = fits.column_by_name("x").unwrap().as_list::<i32>();
        assert_eq!((lists.value_length(0), lists.value_length(2)), (2, 0));
        let first = lists.value(0);
        assert_eq!(first.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(1.5), None]);
        assert_eq!(fits.column_by_name("name").unwrap().as_string::<i32>().value(0), "a");
        let errors = batch.column(1).as_string::<i32>();
        assert_eq!((errors.is_null(0), errors.value(1)), (true, "no"));
    });
    // With the index a field of its name would be a second column of that name.
    check("Row", true, &["{\"index\": 7}"], |batch| assert_eq!(names(batch), ["index", "value"]));
}

#[test]
fn what_has_no_common_type_is_json() {
    for (returns, values, text) in [
        ("Mixed", ["1", "\"a\""], "\"a\""),
        ("BTreeMap<String, i64>", ["{\"a\": 1}", "{\"b\": 2}"], "{\"b\":2}"),
        ("u128", ["1", "340282366920938463463374607431768211455"], "340282366920938463463374607431768211455"),
        ("Wide", ["1", "18446744073709551616"], "18446744073709551616"),
    ] {
        check(returns, false, &values, |batch| {
            assert_eq!(batch.schema().field(0).metadata()["ARROW:extension:name"], "arrow.json");
            assert_eq!(batch.column(0).as_string::<i32>().value(1), text);
        });
    }
}

#[test]
fn a_type_that_is_called_as_another_misleads_nobody() {
    check("String", false, &["1"], |batch| assert_eq!(batch.column(0).data_type(), &DataType::Int64));
}

#[test]
fn a_run_without_values_has_a_file_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Parquet, Format::Arrow] {
        let path = folder.path().join("values");
        Table::open(&path, format, true, "f64").unwrap().finish().unwrap();
        assert_eq!(read(&path, format).iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    }
}

#[test]
fn later_values_have_to_fit_the_columns() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Parquet, Format::Arrow] {
        let path = folder.path().join("values");
        let mut table = Table::open(&path, format, false, "Event").unwrap();
        for _ in 0..BATCH_ROWS {
            table.add(0, b"{\"a\": 1}").unwrap().unwrap();
        }
        assert_eq!(table.add(0, b"{\"a\": 2}").unwrap(), Ok(()));
        let flaw = "there is no column `b`: no value before had such a field";
        assert_eq!(table.add(0, b"{\"b\": 2}").unwrap(), Err(flaw.to_owned()));
        let flaw = "column `a` holds integers, and this value has text there";
        assert_eq!(table.add(0, b"{\"a\": \"x\"}").unwrap(), Err(flaw.to_owned()));
        table.finish().unwrap();
        assert_eq!(read(&path, format).iter().map(RecordBatch::num_rows).sum::<usize>(), BATCH_ROWS + 1);
    }
}

#[test]
fn a_file_that_was_there_stays_until_the_new_one_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values");
    fs::write(&path, "earlier").unwrap();
    let mut table = Table::open(&path, Format::Parquet, false, "i64").unwrap();
    table.add(0, b"1").unwrap().unwrap();
    table.write_batch().unwrap();
    drop(table);
    assert_eq!(fs::read_to_string(&path).unwrap(), "earlier");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left of the attempt");
}
