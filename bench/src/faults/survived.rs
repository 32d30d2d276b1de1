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

/// Tests that commit faults, and the table of what those have cost.
pub(crate) struct Suite {
    /// The marks of the table in a document, and the file of the figures.
    name: &'static str,
    package: &'static str,
    /// The tests; some of them write no line.
    test: &'static str,
    filter: &'static str,
    /// What a repetition is.
    each: &'static str,
    headings: &'static str,
    row: fn(&Figures) -> String,
}

/// Of items, under one pool.
pub(crate) const POOL: Suite = Suite {
    name: "faults",
    package: "procession-cli",
    test: "faults",
    filter: "",
    each: "in each scene",
    headings: "\
| fault | what is done | runs | items | lost | duplicated | blamed wrongly | worst crash → report |
|---|---|---|---|---|---|---|---|
",
    row: Figures::row,
};

/// Of agents, brokers and masters, under a job.
pub(crate) const CLUSTER: Suite = Suite {
    name: "cluster-faults",
    package: "procession-cluster",
    test: "cluster",
    filter: "fault_",
    each: "in a job of its own",
    headings: "\
| fault | jobs | items | lost | duplicated | order broken | wrong | failed, as they must | longest gap: median | worst |
|---|---|---|---|---|---|---|---|---|---|
",
    row: Figures::job_row,
};

/// What a test has written of its fault.
#[derive(Clone, Debug, Deserialize)]
struct Figures {
    fault: String,
    repetitions: u64,
    items: u64,
    lost: u64,
    duplicated: u64,
    order_broken: u64,
    blamed_wrongly: u64,
    wrong: u64,
    failed: u64,
    crash_to_report_ms_max: Option<f64>,
    gaps_ms: Vec<f64>,
}

/// Commits the faults, prints the table, and writes it into a document between its marks if all went well.
pub(crate) fn survive(
    suite: &Suite,
    repetitions: NonZeroU32,
    document: Option<&Path>,
) -> Result<ExitCode, Box<dyn Error>> {
    let directory = run::directory()?;
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{}.jsonl", suite.name));
    // The tests append to it.
    fs::write(&path, "")?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--package", suite.package, "--test", suite.test, "--"])
        // One after the other, so that the times are not those of a busy machine.
        .args(["--test-threads", "1", suite.filter])
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
    let table = table(suite, lines);
    let table = format!("\nEach {times} {}. {}.\n\n{table}\n", suite.each, facts.join(" · "));
    print!("{table}");
    if !status.success() {
        return Err(format!("not every fault was survived ({status}), so no document is changed").into());
    }
    super::write_between_marks(document, suite.name, &table)?;
    Ok(ExitCode::SUCCESS)
}

/// A row for each fault, in the order of their names.
fn table(suite: &Suite, lines: Vec<Figures>) -> String {
    let mut faults = BTreeMap::<String, Figures>::new();
    for line in lines {
        match faults.get_mut(&line.fault) {
            Some(sum) => sum.add(&line),
            None => drop(faults.insert(line.fault.clone(), line)),
        }
    }
    let mut table = suite.headings.to_owned();
    for figures in faults.values() {
        // Writing into a string cannot fail.
        let _ = writeln!(table, "{}", (suite.row)(figures));
    }
    table
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.repetitions += other.repetitions;
        self.items += other.items;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.order_broken += other.order_broken;
        self.blamed_wrongly += other.blamed_wrongly;
        self.wrong += other.wrong;
        self.failed += other.failed;
        self.gaps_ms.extend(&other.gaps_ms);
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

    /// The same of a fault that is committed once in a job.
    fn job_row(&self) -> String {
        let words = self.fault.trim_start_matches(CLUSTER.filter).replace('_', " ");
        // A failure that need not be is a wrong outcome as well.
        let counts =
            [self.items, self.lost, self.duplicated, self.order_broken, self.wrong + self.blamed_wrongly];
        let counts = counts.map(grouped).join(" | ");
        let failed = if self.failed == 0 { "–".to_owned() } else { grouped(self.failed) };
        let mut gaps = self.gaps_ms.clone();
        gaps.sort_by(f64::total_cmp);
        let seconds = |gap: Option<&f64>| gap.map_or("–".to_owned(), |ms| format!("{:.1} s", ms / 1e3));
        let (median, worst) = (seconds(gaps.get(gaps.len() / 2)), seconds(gaps.last()));
        format!("| {words} | {} | {counts} | {failed} | {median} | {worst} |", grouped(self.repetitions))
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
            "order_broken":0,"blamed_wrongly":0,"wrong":0,"failed":0,"crash_to_report_ms_max":4.552,"gaps_ms":[]}"#;
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
        assert_eq!(table(&POOL, lines.into()), format!("{}{rows}", POOL.headings));
    }

    #[test]
    fn a_row_for_each_fault_of_a_cluster() {
        let killed = r#"{"fault":"fault_agent_killed","repetitions":3,"items":1800,"lost":0,"duplicated":0,
            "order_broken":0,"blamed_wrongly":1,"wrong":2,"failed":0,"crash_to_report_ms_max":null,
            "gaps_ms":[1812.5,2500.04,1523.0]}"#;
        let once =
            killed.replace("agent_killed", "agent_killed_once").replace("\"failed\":0", "\"failed\":31");
        let rows = "\
| agent killed | 3 | 1,800 | 0 | 0 | 0 | 3 | – | 1.8 s | 2.5 s |
| agent killed once | 3 | 1,800 | 0 | 0 | 0 | 3 | 31 | 1.8 s | 2.5 s |
";
        let table = table(&CLUSTER, [once.as_str(), killed].map(line).into());
        assert_eq!(table, format!("{}{rows}", CLUSTER.headings));
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
