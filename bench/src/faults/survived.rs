//! What every fault of the tests has cost: runs them, reads the line that each has written, and shows a table of all.
//! It knows no faults: each is called what its test is called.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde::Deserialize;

use crate::{machine, run};

/// What the tests are told by; `Report` of their harness reads them.
const REPORT_VARIABLE: &str = "PROCESSION_FAULTS_REPORT";
const REPETITIONS_VARIABLE: &str = "PROCESSION_FAULTS_REPETITIONS";

/// One after the other, so that the times are not those of a busy machine.
const TESTS: &[&str] =
    &["test", "--package", "procession-cli", "--test", "faults", "--", "--test-threads", "1"];

const HEADINGS: &str = "\
| fault | what is done | runs | items | lost | duplicated | blamed wrongly | worst crash → report |
|---|---|---|---|---|---|---|---|
";

/// What a test has written of its fault.
#[derive(Clone, Debug, Deserialize)]
struct Figures {
    fault: String,
    repetitions: u64,
    items: u64,
    lost: u64,
    duplicated: u64,
    blamed_wrongly: u64,
    crash_to_report_ms_max: Option<f64>,
}

/// Commits the faults, prints the table, and writes it into a document between its marks if all went well.
pub(crate) fn survive(repetitions: NonZeroU32, document: Option<&Path>) -> Result<ExitCode, Box<dyn Error>> {
    let directory = run::directory()?;
    fs::create_dir_all(&directory)?;
    let path = directory.join("faults.jsonl");
    // The tests append to it.
    fs::write(&path, "")?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(TESTS)
        .env(REPORT_VARIABLE, &path)
        .env(REPETITIONS_VARIABLE, repetitions.to_string())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    let text = fs::read_to_string(&path)?;
    let lines: Result<Vec<Figures>, _> = text.lines().map(serde_json::from_str).collect();
    let lines = lines.map_err(|error| format!("{}: {error}", path.display()))?;
    let facts = machine::facts();
    let facts: Vec<String> = facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let times = if repetitions.get() == 1 { "once".to_owned() } else { format!("{repetitions} times") };
    let table = format!("\nEach {times} in each scene. {}.\n\n{}\n", facts.join(" · "), table(lines));
    print!("{table}");
    if !status.success() {
        return Err(format!("not every fault was survived ({status}), so no document is changed").into());
    }
    super::write_between_marks(document, "faults", &table)?;
    Ok(ExitCode::SUCCESS)
}

/// A row for each fault, in the order of their names.
fn table(lines: Vec<Figures>) -> String {
    let mut faults = BTreeMap::<String, Figures>::new();
    for line in lines {
        match faults.get_mut(&line.fault) {
            Some(sum) => sum.add(&line),
            None => drop(faults.insert(line.fault.clone(), line)),
        }
    }
    let mut table = HEADINGS.to_owned();
    for figures in faults.values() {
        // Writing into a string cannot fail.
        let _ = writeln!(table, "{}", figures.row());
    }
    table
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.repetitions += other.repetitions;
        self.items += other.items;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.blamed_wrongly += other.blamed_wrongly;
        let both = [self.crash_to_report_ms_max, other.crash_to_report_ms_max];
        self.crash_to_report_ms_max = both.into_iter().flatten().reduce(f64::max);
    }

    fn row(&self) -> String {
        let (number, words) = named(&self.fault);
        // Where no item has an outcome to be told, none can be lost.
        let count = |count: u64| if self.items == 0 { "–".to_owned() } else { grouped(count) };
        let counts = [self.items, self.lost, self.duplicated, self.blamed_wrongly].map(count).join(" | ");
        let worst = self.crash_to_report_ms_max.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
        format!("| {number} | {words} | {} | {counts} | {worst} |", grouped(self.repetitions))
    }
}

/// The number of a fault and what is done, from the name of its test: `f08_death_before_ready`.
fn named(test: &str) -> (String, String) {
    let is_number = |head: &str| {
        let digits = head.strip_prefix(['f', 'i']);
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let (number, words) = match test.split_once('_') {
        Some((head, words)) if is_number(head) => (head.replacen("f0", "f", 1).to_uppercase(), words),
        _ => ("–".to_owned(), test),
    };
    (number, words.replace('_', " "))
}

/// With a comma after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Figures {
        serde_json::from_str(text).expect("as the tests write it")
    }

    #[test]
    fn a_row_for_each_fault() {
        let segfault = r#"{"fault":"f01_segfault","repetitions":48,"items":1440,"lost":0,"duplicated":0,
            "blamed_wrongly":0,"wrong":0,"crash_to_report_ms_max":4.552}"#;
        let worse = segfault.replace("4.552", "17.04").replace("\"lost\":0", "\"lost\":2");
        let flood = segfault.replace("f01_segfault", "f15_flood_of_stdout").replace("4.552", "null");
        let master = flood.replace("f15_flood_of_stdout", "f20_masters_killed").replace("1440", "0");
        let page = segfault.replace("f01_segfault", "hostile_scribbled_page");
        let lines = [page.as_str(), &flood, segfault, &master, &worse].map(line);
        let rows = "\
| F1 | segfault | 96 | 2,880 | 2 | 0 | 0 | 17.0 ms |
| F15 | flood of stdout | 48 | 1,440 | 0 | 0 | 0 | – |
| F20 | masters killed | 48 | – | – | – | – | – |
| – | hostile scribbled page | 48 | 1,440 | 0 | 0 | 0 | 4.6 ms |
";
        assert_eq!(table(lines.into()), format!("{HEADINGS}{rows}"));
    }

    #[test]
    fn numbers_are_told_from_words() {
        let of = |test| named(test).0;
        assert_eq!(
            ["f30_x", "f09_x", "i11_x", "f_x", "flood_x", "x"].map(of),
            ["F30", "F9", "I11", "–", "–", "–"]
        );
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
