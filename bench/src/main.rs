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
    let mut table = Table::default();
    let cases = Cases::new()?;
    for pass in 1..=PASSES {
        eprintln!("pass {pass} of {PASSES}");
        let ping_pong = raw::ping_pong()?;
        let stream = raw::stream()?;
        table.limit("raw ipc-channel ping-pong", ping_pong);
        table.limit("raw ipc-channel stream", stream);
        table.record("B1 apply round trip", ping_pong, cases.apply()?);
        table.record("B2 apply_async burst, 100 k", stream, cases.apply_async_burst()?);
        table.record("B3 map, chunk_size(1), 1 M", stream, cases.map_single()?);
        table.record(
            "B4 map, default, 10 M i64",
            cases::rayon_map(),
            cases.map_default()?,
        );
        table.limit("serial map, 10 M i64", cases::serial_map());
    }
    table.print();
    cases.close()?;
    Ok(())
}
