//! Prints what the pool costs, beside what cannot be beaten and what others cost in the same run.
//!
//! The plan (`plan`) says what is measured and what is aimed at; `run` starts a fresh process for every case and every
//! peer, pass by pass; `results` collects, `verdict` judges, `report` shows. Nothing here is part of the test suite.

#![deny(unsafe_code)]

mod arguments;
mod cases;
mod faults;
mod limits;
mod machine;
mod peers;
mod plan;
mod report;
mod results;
mod run;
mod unit;
mod verdict;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Role};
use faults::survived;

fn main() -> ExitCode {
    procession::init();
    let arguments = Arguments::parse();
    let ended = match &arguments.role {
        Some(Role::Measure { case, quick }) => measure(case, *quick),
        Some(Role::Echo { kind, name }) => limits::ipc::echo(*kind, name).map(|()| ExitCode::SUCCESS),
        Some(Role::Faults { document }) => faults::compare(document.as_deref()),
        Some(Role::Survived { repetitions, document }) => {
            survived::survive(&survived::POOL, *repetitions, document.as_deref())
        }
        Some(Role::ClusterSurvived { repetitions, document }) => {
            survived::survive(&survived::CLUSTER, *repetitions, document.as_deref())
        }
        Some(Role::Fault { verb, fault }) => faults::commit(verb, fault),
        Some(Role::Nothing) => Ok(ExitCode::SUCCESS),
        None => run_all(&arguments),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// In the process of one case.
fn measure(case: &str, quick: bool) -> Result<ExitCode, Box<dyn Error>> {
    for measurement in cases::measure(case, run::Scale { quick })? {
        println!("{}", serde_json::to_string(&measurement)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn run_all(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let report = run::run(arguments)?;
    print!("{}", report::table::table(&report));
    report::write(&report, arguments)?;
    Ok(verdict::exit_code(&report))
}
