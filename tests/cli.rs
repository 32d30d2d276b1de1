//! The `procession` program as a process: faults, signals, and outputs that go away. Each test in a process of its own, and
//! nothing may be left of it. What the program says word by word is in `tests/cmd`.

#[path = "cli/program.rs"]
mod program;

#[path = "cli/activity.rs"]
mod activity;
#[path = "cli/beginnings.rs"]
mod beginnings;
#[cfg(feature = "cluster")]
#[path = "../crates/procession-cluster/tests/cluster/broker.rs"]
#[expect(dead_code, reason = "some of it is for the tests of the cluster itself")]
mod broker;
#[cfg(feature = "cluster")]
#[path = "cli/clusters.rs"]
mod clusters;
#[path = "cli/cut_off.rs"]
mod cut_off;
#[path = "cli/events.rs"]
mod events;
#[path = "cli/exec.rs"]
mod exec;
#[path = "cli/exec_dirs.rs"]
mod exec_dirs;
#[path = "cli/faults.rs"]
mod faults;
#[path = "cli/looking_back.rs"]
mod looking_back;
#[path = "cli/merging.rs"]
mod merging;
#[cfg(not(feature = "cluster"))]
#[path = "cli/no_clusters.rs"]
mod no_clusters;
#[cfg(not(feature = "arrow"))]
#[path = "cli/no_tables.rs"]
mod no_tables;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/pages.rs"]
mod pages;
#[path = "cli/parts.rs"]
mod parts;
#[path = "cli/policies.rs"]
mod policies;
#[path = "cli/prints.rs"]
mod prints;
#[path = "cli/reports.rs"]
mod reports;
#[path = "cli/results.rs"]
mod results;
#[path = "cli/run_dirs.rs"]
mod run_dirs;
#[path = "cli/run_dirs2.rs"]
mod run_dirs2;
#[path = "cli/signals.rs"]
mod signals;
#[path = "cli/slurm.rs"]
mod slurm;
#[cfg(feature = "arrow")]
#[path = "cli/tables.rs"]
mod tables;
#[cfg(feature = "cluster")]
#[path = "cli/two_hosts.rs"]
mod two_hosts;

procession_harness::main!();
