//! B12: commands that do nothing, so that only starting them costs.

use procession_tasks::exec::{Ended, exec};

use super::{Figures, WORKERS, per_item, timed, warm_pool};
use crate::limits::process;
use crate::plan::XARGS;
use crate::results::Measurement;
use crate::run::Scale;

pub(super) fn commands(scale: Scale) -> Figures {
    let jobs: u64 = scale.of(2_000, 1_000);
    let mut figures = Vec::new();
    // It may not be installed; `limits` says how to get it.
    if process::XARGS.is_there() {
        figures.push(Measurement::limit("B12", XARGS, process::xargs(jobs, WORKERS)?));
    }
    let pool = warm_pool()?;
    pool.map(exec, [vec!["true".to_owned()], vec!["true".to_owned()]])?;
    let (took, finished) =
        timed(|| pool.map(exec, (0..jobs).map(|job| vec!["true".to_owned(), job.to_string()])));
    let finished = finished?;
    assert_eq!(finished.len() as u64, jobs);
    for finished in finished {
        assert_eq!(finished?.ended, Ended::Code(0));
    }
    pool.close()?;
    figures.push(Measurement::ours("B12", per_item(took, jobs)));
    Ok(figures)
}
