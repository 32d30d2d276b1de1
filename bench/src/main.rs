//! Prints what one item costs through the pool, beside what the transport alone costs in the same run.
//!
//! Passes are interleaved and the median is printed with its spread: the machine is shared, so only ratios within one
//! run mean anything.

mod cases;
mod raw;
mod table;

use std::process::ExitCode;

use cases::Cases;
use table::Table;

/// Odd, so that the median is one of the passes.
const PASSES: usize = 5;

const CASES: [&str; 4] = ["B1", "B2", "B3", "B4"];

fn main() -> ExitCode {
    procession::init();
    if raw::is_echo() {
        return raw::echo();
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let wanted = Wanted::from_arguments()?;
    let mut table = Table::default();
    let cases = Cases::new()?;
    for pass in 1..=PASSES {
        eprintln!("pass {pass} of {PASSES}");
        if wanted.includes("B1") {
            let ping_pong = raw::ping_pong()?;
            table.limit("raw ipc-channel ping-pong", ping_pong);
            table.record("B1 apply round trip", ping_pong, cases.apply()?);
        }
        if wanted.includes("B2") || wanted.includes("B3") {
            let stream = raw::stream()?;
            table.limit("raw ipc-channel stream", stream);
            if wanted.includes("B2") {
                table.record("B2 apply_async burst, 100 k", stream, cases.apply_async_burst()?);
            }
            if wanted.includes("B3") {
                table.record("B3 map, chunk_size(1), 1 M", stream, cases.map_single()?);
            }
        }
        if wanted.includes("B4") {
            let rayon = cases::rayon_map();
            table.limit("serial map, 10 M i64", cases::serial_map());
            table.limit("rayon map, 10 M i64", rayon);
            table.record("B4 map, default, 10 M i64", rayon, cases.map_default()?);
        }
    }
    table.print();
    cases.close()?;
    Ok(())
}

/// Which cases to measure.
struct Wanted(Option<String>);

impl Wanted {
    fn from_arguments() -> Result<Wanted, String> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => Ok(Wanted(None)),
            ["--only", case] if CASES.contains(case) => Ok(Wanted(Some((*case).to_owned()))),
            ["--only", case] => Err(format!("there is no case `{case}`: use one of {}", CASES.join(", "))),
            _ => Err(format!("arguments {arguments:?} are not understood: use nothing, or --only CASE")),
        }
    }

    fn includes(&self, case: &str) -> bool {
        self.0.as_deref().is_none_or(|only| only == case)
    }
}
