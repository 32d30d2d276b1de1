//! What a fault has cost, over all its repetitions: the figures of one row of a table. It knows no faults.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use procession_harness::Tally;

/// Names the file to which each fault's figures are appended, as one line of JSON.
const REPORT_VARIABLE: &str = "PROCESSION_FAULTS_REPORT";

/// Set to how often each fault is to be committed in each scene; ten is the full number. Without it: once.
const REPETITIONS_VARIABLE: &str = "PROCESSION_FAULTS_REPETITIONS";

/// How often each fault is committed in each scene.
pub(crate) fn repetitions() -> u32 {
    let wanted = std::env::var(REPETITIONS_VARIABLE);
    wanted.map_or(1, |number| number.parse().expect("the number of repetitions is a number"))
}

/// The figures of one fault so far.
pub(crate) struct Report {
    fault: &'static str,
    repetitions: u32,
    tally: Tally,
    worst: Duration,
}

impl Report {
    pub(crate) fn new(fault: &'static str) -> Report {
        Report { fault, repetitions: 0, tally: Tally::default(), worst: Duration::ZERO }
    }

    /// What one more repetition has come to, and how long its worst failure took to be told.
    pub(crate) fn add(&mut self, tally: Tally, worst: Duration) {
        self.repetitions += 1;
        self.tally.add(tally);
        self.worst = self.worst.max(worst);
    }

    /// Writes the figures down, then fails the test if there is anything to be blamed for.
    pub(crate) fn finish(self, limit: Duration) {
        let Report { fault, repetitions, tally, worst } = self;
        let line = serde_json::json!({
            "fault": fault,
            "repetitions": repetitions,
            "items": tally.items,
            "lost": tally.lost,
            "duplicated": tally.duplicated,
            "blamed_wrongly": tally.blamed_wrongly,
            "wrong": tally.wrong,
            "crash_to_report_ms_max": worst.as_micros() as f64 / 1e3,
        });
        eprintln!("{line}");
        if let Some(path) = std::env::var_os(REPORT_VARIABLE) {
            let mut file =
                File::options().create(true).append(true).open(path).expect("the report can be opened");
            file.write_all(format!("{line}\n").as_bytes()).expect("the report can be written");
        }
        tally.assert_clean();
        assert!(worst <= limit, "a failure was told after {worst:?}");
    }
}
