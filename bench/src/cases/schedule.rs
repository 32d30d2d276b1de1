//! B11: one item a hundred times longer than the rest, at several places: how much longer than the best schedule all
//! of them take together.

use procession_tasks::faults::spin;
use rayon::prelude::*;

use super::{Figures, WORKERS, threads, timed, warm_pool};
use crate::plan::RAYON;
use crate::results::Measurement;

/// So many that the long item, met last, can still be within the target.
const ITEMS: usize = 1_100 * WORKERS;
const LONGER: f64 = 100.0;
/// As long as the peers' items, or what an item costs would not weigh the same.
const ITEM_SECONDS: f64 = 200e-6;

/// Where the long item is, in words that the peers' script knows, too.
const PLACES: [(&str, usize); 4] =
    [("first", 0), ("in the middle", ITEMS / 2), ("last but one", ITEMS - 2), ("last", ITEMS - 1)];

pub(super) fn one_long_item() -> Figures {
    let seconds = ITEM_SECONDS;
    let best = ((ITEMS as f64 - 1.0 + LONGER) * seconds / WORKERS as f64).max(LONGER * seconds);
    let threads = threads(WORKERS)?;
    let pool = warm_pool()?;
    pool.map(spin, [seconds; 10])?;
    let mut figures = Vec::new();
    for (place, long_at) in PLACES {
        let mut items = vec![seconds; ITEMS];
        items[long_at] *= LONGER;
        let (rayon, done) =
            timed(|| threads.install(|| items.par_iter().map(|&item| spin(item)).collect::<Vec<f64>>()));
        assert_eq!(done, items);
        let (took, done) = timed(|| pool.map(spin, items.iter().copied()));
        assert_eq!(done?, items);
        figures.push(Measurement::limit("B11", RAYON, rayon.as_secs_f64() / best).of(place));
        figures.push(Measurement::ours("B11", took.as_secs_f64() / best).of(place));
    }
    pool.close()?;
    Ok(figures)
}
