//! Makes run directories to look at: `demonstration DIR [ITEMS [WORKERS [SESSIONS]]]` writes a run of invented items, and
//! its report and trace beside it.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

#[path = "../tests/invention/mod.rs"]
mod invention;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let run = words.next().ok_or("name the directory to make")?;
    let items: u64 = words.next().map_or(Ok(10_000), |word| word.parse())?;
    let workers: u32 = words.next().map_or(Ok(8), |word| word.parse())?;
    let sessions: u32 = words.next().map_or(Ok(1), |word| word.parse())?;
    let run = Path::new(&run);
    invention::write(run, items, workers, sessions)?;
    for (what, write) in [
        ("report.html", procession_report::write as fn(&Path, &Path) -> _),
        ("trace.json", procession_report::write_trace),
    ] {
        let begun = Instant::now();
        let path = run.join(what);
        write(run, &path)?;
        println!("{}: {} bytes in {:.2?}", path.display(), path.metadata()?.len(), begun.elapsed());
    }
    Ok(())
}
