//! The `procession` program as a process: faults, signals, and outputs that go away. What it says word by word is in
//! `tests/cmd`.

#[path = "cli/program.rs"]
mod program;

#[path = "cli/faults.rs"]
mod faults;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/reports.rs"]
mod reports;
#[path = "cli/results.rs"]
mod results;
#[path = "cli/signals.rs"]
mod signals;
