//! The schema takes what the parser takes, and refuses what it refuses.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::diagnostic::Text;
use crate::spec::{document, run};

fn fits(schema: &Value, value: &Value) -> bool {
    jsonschema::validator_for(schema).expect("it is a schema").is_valid(value)
}

fn as_json(text: &str) -> Value {
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    serde_json::to_value(table).expect("no dates")
}

/// Values of every kind, at the limits and beyond.
const PROBES: [&str; 48] = [
    "''",
    "'x'",
    "'30s'",
    "'1m30s'",
    "'1.5 h'",
    "'1m30'",
    "'1x'",
    "'512 MiB'",
    "' 2 GB '",
    "'5 mib'",
    "'{workers}'",
    "'0..4'",
    "'0-4'",
    "'300%'",
    "'20 %'",
    "'0%'",
    "'soon,fail=3'",
    "' now , done = 50% '",
    "'soon,lost=0'",
    "'soon,done=101%'",
    "'later,fail=3'",
    "'2.5'",
    "'a\\u0000'",
    "true",
    "false",
    "-21",
    "-20",
    "-1",
    "0",
    "1",
    "19",
    "20",
    "4096",
    "4097",
    "4_294_967_295",
    "4_294_967_296",
    "0.5",
    "-0.5",
    "[]",
    "[1]",
    "['x']",
    "[[]]",
    "[[0]]",
    "[[0, 65_535], [1]]",
    "[[65_536]]",
    "{}",
    "{ restarts = 4, within = '10s' }",
    "{ A = 'x', N = 3 }",
];

/// For each key and each probe: both take it or neither does.
fn check(keys: &[Key], around: impl Fn(&str) -> String, accepts: impl Fn(&str) -> bool) {
    let schema = schema();
    for key in keys {
        let choices = match key.wants {
            Wants::Choice(names) => names().into_iter().map(|name| format!("'{name}'")).collect(),
            _ => Vec::new(),
        };
        let probes: Vec<String> = PROBES.map(str::to_owned).into_iter().chain(choices).collect();
        let mut taken = 0;
        for probe in &probes {
            let probe = probe.replace('\'', "\"");
            let text = around(&format!("{} = {probe}", key.name));
            let is_taken = accepts(&text);
            assert_eq!(
                fits(&schema, &as_json(&text)),
                is_taken,
                "schema on the left, parser on the right:\n{text}"
            );
            taken += usize::from(is_taken);
        }
        assert!(taken > 0 && taken < probes.len(), "{}: {taken} probes are taken", key.name);
    }
}

#[test]
fn the_pool_is_what_its_parser_takes() {
    let around = |line: &str| format!("task = 't'\ninput.values = []\n[pool]\n{line}\n");
    check(&pool::KEYS, around, |text| {
        let table = document::parse(&Text::new("t", text)).expect("it is TOML");
        pool::read(table.get("pool").expect("there is one").table().expect("it is one")).is_ok()
    });
}

#[test]
fn the_output_is_what_its_parser_takes() {
    // Without a format not every name of a file says enough, which the schema leaves to the parser.
    let around = |line: &str| match line.starts_with("file") {
        true => format!("task = 't'\ninput.values = []\n[output]\nformat = 'csv'\n{line}\n"),
        false => format!("task = 't'\ninput.values = []\n[output]\n{line}\n"),
    };
    check(&output::KEYS, around, |text| {
        let table = document::parse(&Text::new("t", text)).expect("it is TOML");
        output::read(table.get("output").expect("there is one").table().expect("it is one")).is_ok()
    });
}

#[test]
fn the_run_is_what_its_parser_takes() {
    let around = |line: &str| format!("task = 't'\ninput.values = []\n[run]\n{line}\n");
    check(&run::KEYS, around, |text| {
        let table = document::parse(&Text::new("t", text)).expect("it is TOML");
        run::read(table.get("run").expect("there is one").table().expect("it is one")).is_ok()
    });
}

#[test]
fn sources_exclude_each_other() {
    let schema = schema();
    for (input, is_right) in [
        ("range = '0..4'", true),
        ("range = { stop = 4 }", true),
        ("range = { start = 4 }", false),
        ("range = { stop = 4, to = 1 }", false),
        ("repeat = '{workers}'\nargs = ['{index}', 1]", true),
        ("repeat = -1", false),
        ("values = [1]\nargs = [1]", false),
        ("values = [1]\nrows = [[1]]", false),
        ("rows = [1]", false),
        ("file = 'x'\nformat = 'csv'", true),
        ("file = 'x'\nformat = 'parquet'", false),
        ("product = { x = [1, 'a'] }", true),
        ("zip = { x = 1 }", false),
        ("", false),
    ] {
        let text = format!("task = 't'\n[input]\n{input}\n").replace('\'', "\"");
        assert_eq!(fits(&schema, &as_json(&text)), is_right, "{text}");
    }
}

#[test]
fn every_example_fits() {
    let schema = schema();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for folder in ["examples", "examples/own-tasks/jobs", "crates/procession-cli/src/new/template"] {
        for entry in fs::read_dir(root.join(folder)).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            if path.extension().is_some_and(|end| end == "toml") {
                let text = fs::read_to_string(&path).expect("it is text");
                assert!(fits(&schema, &as_json(&text)), "{}", path.display());
                assert!(!fits(&schema, &as_json(&format!("tsak = 1\n{text}"))), "{}", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 7, "only {count} were found");
}

/// `procession schema --markdown > docs/job-specs.md` mends it.
#[test]
fn the_reference_is_as_written() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/job-specs.md");
    let written = fs::read_to_string(path).expect("the page is there");
    assert_eq!(written, reference(), "left: docs/job-specs.md");
}
