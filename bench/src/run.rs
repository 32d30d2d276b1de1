//! The passes: in each, every case in turn, and right after a case its peers, so that a machine that drifts does so
//! for all of them. Every case and every peer is a fresh process.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::limits::process::XARGS;
use crate::peers::{Peers, run_limited};
use crate::report::Report;
use crate::results::{Measurement, Results};
use crate::{machine, plan};

/// A case that takes longer hangs.
const CASE_LIMIT: Duration = Duration::from_secs(120);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
}

impl Scale {
    /// The size for a full or for a quick run.
    pub(crate) fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    let began = Instant::now();
    let scale = Scale { quick: arguments.quick };
    let cases: Vec<&str> = plan::cases().into_iter().filter(|case| arguments.includes(case)).collect();
    let peers = match arguments.no_peers {
        true => None,
        false => Some(Peers::prepare(&directory()?, &cases)),
    };
    let mut results = Results::default();
    let mut failures = BTreeSet::new();
    let mut needs = BTreeSet::new();
    if cases.contains(&"B12") && !XARGS.is_there() {
        needs.insert(XARGS.need());
    }
    for pass in 0..arguments.passes() {
        for case in &cases {
            eprintln!("pass {} of {}: {case}", pass + 1, arguments.passes());
            match measure(case, scale).and_then(planned) {
                Ok(figures) => figures.into_iter().for_each(|figure| results.record(pass, figure)),
                Err(error) => drop(failures.insert(format!("{case}: {error}"))),
            }
            let Some(peers) = &peers else { continue };
            for peer in Peers::of_case(case) {
                match peers.measure(peer, case, scale).and_then(planned) {
                    Ok(figures) => figures.into_iter().for_each(|figure| results.record(pass, figure)),
                    Err(need) if need.starts_with("needs ") => drop(needs.insert(format!("{peer}: {need}"))),
                    Err(error) => drop(needs.insert(format!("{peer} in {case}: {error}"))),
                }
            }
        }
    }
    let mut facts = machine::facts();
    facts.extend(peers.iter().flat_map(Peers::versions));
    Ok(Report {
        results,
        facts,
        passes: arguments.passes(),
        quick: scale.quick,
        seconds: began.elapsed().as_secs(),
        failures: failures.into_iter().collect(),
        needs: needs.into_iter().collect(),
    })
}

/// Where the peers are built and the figures go: beside the program itself, in the target directory.
pub(crate) fn directory() -> Result<PathBuf, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).ok_or("this program is in no target directory")?;
    Ok(target.join("bench"))
}

/// One pass of one case, in a process of its own.
fn measure(case: &str, scale: Scale) -> Result<Vec<Measurement>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(["measure", case]);
    if scale.quick {
        command.arg("--quick");
    }
    let output = run_limited(&mut command, CASE_LIMIT)?;
    let figures = output.lines().map(serde_json::from_str);
    figures.collect::<Result<Vec<Measurement>, _>>().map_err(|error| format!("its figures: {error}"))
}

/// A figure of a row that is not planned would be shown nowhere.
fn planned(figures: Vec<Measurement>) -> Result<Vec<Measurement>, String> {
    match figures.iter().find(|figure| plan::row(&figure.row).is_none()) {
        None => Ok(figures),
        Some(figure) => Err(format!("its figure of `{}` is of no row in the plan", figure.row)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_of_no_row_is_refused() {
        let good = vec![Measurement::ours("B5", 1.0), Measurement::ours("B5 memory", 1.0)];
        assert_eq!(planned(good.clone()).as_ref(), Ok(&good));
        let error = planned(vec![Measurement::ours("B5 memroy", 1.0)]).expect_err("it is misspelt");
        assert_eq!(error, "its figure of `B5 memroy` is of no row in the plan");
    }
}
