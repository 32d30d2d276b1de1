//! What a fault has cost, over all its repetitions: the figures of one row of a table. It knows no faults.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use crate::Tally;

/// Names the file to which each fault's figures are appended, as one line of JSON.
const REPORT_VARIABLE: &str = "PROCESSION_FAULTS_REPORT";

/// Set to how often each fault is to be committed in each scene; ten is the full number. Without it: once.
const REPETITIONS_VARIABLE: &str = "PROCESSION_FAULTS_REPETITIONS";

/// How often each fault is committed in each scene.
///
/// # Panics
/// If the environment asks for something else than a number.
pub fn repetitions() -> u32 {
    let wanted = std::env::var(REPETITIONS_VARIABLE);
    wanted.map_or(1, |number| number.parse().expect("the number of repetitions is a number"))
}

/// The figures of one fault so far.
pub struct Report {
    fault: &'static str,
    repetitions: u32,
    tally: Tally,
    worst: Option<Duration>,
}

impl Report {
    /// Of the fault that the test of this name commits.
    pub fn new(fault: &'static str) -> Report {
        Report { fault, repetitions: 0, tally: Tally::default(), worst: None }
    }

    /// What one more repetition has come to, and how long it took to tell of its worst crash, if it told of any.
    pub fn add(&mut self, tally: Tally, worst: Option<Duration>) {
        self.repetitions += 1;
        self.tally.add(tally);
        self.worst = self.worst.max(worst);
    }

    /// Writes the figures down, then fails the test if there is anything to be blamed for.
    ///
    /// # Panics
    /// If there is a violation, a crash was told later than `limit` after it, or the report cannot be written.
    pub fn finish(self, limit: Duration) {
        let Report { fault, repetitions, tally, worst } = self;
        let Tally { items, lost, duplicated, blamed_wrongly, wrong, .. } = tally;
        let told = worst.map_or("null".to_owned(), |worst| format!("{:.3}", worst.as_secs_f64() * 1e3));
        // Names and numbers: nothing that would have to be escaped.
        let line = format!(
            "{{\"fault\":\"{fault}\",\"repetitions\":{repetitions},\"items\":{items},\"lost\":{lost},\
             \"duplicated\":{duplicated},\"blamed_wrongly\":{blamed_wrongly},\"wrong\":{wrong},\
             \"crash_to_report_ms_max\":{told}}}"
        );
        eprintln!("{line}");
        if let Some(path) = std::env::var_os(REPORT_VARIABLE) {
            let mut file =
                File::options().create(true).append(true).open(path).expect("the report can be opened");
            file.write_all(format!("{line}\n").as_bytes()).expect("the report can be written");
        }
        tally.assert_clean();
        assert!(worst.is_none_or(|worst| worst <= limit), "a failure was told after {worst:?}");
    }
}
