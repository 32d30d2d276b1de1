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
    gaps: Vec<Duration>,
    failed: u64,
}

impl Report {
    /// Of the fault that the test of this name commits.
    pub fn new(fault: &'static str) -> Report {
        Report { fault, repetitions: 0, tally: Tally::default(), worst: None, gaps: Vec::new(), failed: 0 }
    }

    /// What one more repetition has come to, and how long it took to tell of its worst crash, if it told of any.
    pub fn add(&mut self, tally: Tally, worst: Option<Duration>) {
        self.repetitions += 1;
        self.tally.add(tally);
        self.worst = self.worst.max(worst);
    }

    /// Of a repetition that was one job: its longest time without an outcome, and how many items failed as they had to.
    pub fn add_job(&mut self, gap: Duration, failed: u64) {
        self.gaps.push(gap);
        self.failed += failed;
    }

    /// Writes the figures down, then fails the test if there is anything to be blamed for.
    ///
    /// # Panics
    /// If there is a violation, a crash was told later than `limit` after it, or the report cannot be written.
    pub fn finish(self, limit: Duration) {
        let Report { fault, repetitions, tally, worst, gaps, failed } = self;
        let Tally { items, lost, duplicated, order_broken, blamed_wrongly, wrong, .. } = tally;
        let milliseconds = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3);
        let told = worst.map_or("null".to_owned(), milliseconds);
        let gaps = gaps.into_iter().map(milliseconds).collect::<Vec<_>>().join(",");
        // Names and numbers: nothing that would have to be escaped.
        let line = format!(
            "{{\"fault\":\"{fault}\",\"repetitions\":{repetitions},\"items\":{items},\"lost\":{lost},\
             \"duplicated\":{duplicated},\"order_broken\":{order_broken},\
             \"blamed_wrongly\":{blamed_wrongly},\"wrong\":{wrong},\
             \"failed\":{failed},\"crash_to_report_ms_max\":{told},\"gaps_ms\":[{gaps}]}}"
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
