//! What a program that was built without Parquet and Arrow says of them.

use std::path::Path;

use crate::program::{run, within};

procession_harness::cases! {
    fn a_table_is_refused_with_what_is_missing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = within(&folder, "values.parquet");
        for words in [&["map", "square", "1", "--output", &path][..], &["map", "square", "1", "-o", &path, "--dry-run"]] {
            let end = run(words);
            assert_eq!((end.code(), end.stdout.as_str()), (Some(2), ""), "{}", end.stderr);
            assert!(end.stderr.contains("this program was built without Parquet"), "{}", end.stderr);
            assert!(end.stderr.contains("the feature `arrow`"), "{}", end.stderr);
            assert!(!Path::new(&path).exists());
        }
    }
}
