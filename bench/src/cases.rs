//! The measured cases. Each returns nanoseconds per item of one pass, and checks its results.

use std::hint::black_box;
use std::time::Instant;

use procession::{AsyncResult, Error, Pool, task};
use rayon::prelude::*;

const WORKERS: usize = 2;
const ROUND_TRIPS: i64 = 20_000;
const BURST: i64 = 100_000;
const SINGLE_ITEMS: i64 = 1_000_000;
const ITEMS: i64 = 10_000_000;

#[task]
fn square(x: i64) -> i64 {
    x * x
}

/// One warm pool for all cases.
pub(crate) struct Cases {
    pool: Pool,
}

impl Cases {
    pub(crate) fn new() -> Result<Cases, Error> {
        let pool = Pool::builder().workers(WORKERS).build()?;
        pool.map(square, 0..1_000)?;
        Ok(Cases { pool })
    }

    pub(crate) fn apply(&self) -> Result<f64, Error> {
        let start = Instant::now();
        for x in 0..ROUND_TRIPS {
            assert_eq!(self.pool.apply(square, (x,))?, x * x);
        }
        Ok(per_item(start, ROUND_TRIPS))
    }

    pub(crate) fn apply_async_burst(&self) -> Result<f64, Error> {
        let start = Instant::now();
        let handles: Vec<AsyncResult<i64>> =
            (0..BURST).map(|x| self.pool.apply_async(square, (x,))).collect();
        for (x, handle) in (0..BURST).zip(handles) {
            assert_eq!(handle.get()?, x * x);
        }
        Ok(per_item(start, BURST))
    }

    pub(crate) fn map_single(&self) -> Result<f64, Error> {
        let start = Instant::now();
        let squares = self.pool.map(square.chunk_size(1), 0..SINGLE_ITEMS)?;
        let cost = per_item(start, SINGLE_ITEMS);
        check(&squares, SINGLE_ITEMS);
        Ok(cost)
    }

    pub(crate) fn map_default(&self) -> Result<f64, Error> {
        let start = Instant::now();
        let squares = self.pool.map(square, 0..ITEMS)?;
        let cost = per_item(start, ITEMS);
        check(&squares, ITEMS);
        Ok(cost)
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        self.pool.close()
    }
}

pub(crate) fn rayon_map() -> f64 {
    let start = Instant::now();
    let squares: Vec<i64> = (0..ITEMS).into_par_iter().map(|x| square(black_box(x))).collect();
    let cost = per_item(start, ITEMS);
    check(&squares, ITEMS);
    cost
}

pub(crate) fn serial_map() -> f64 {
    let start = Instant::now();
    let squares: Vec<i64> = (0..ITEMS).map(|x| square(black_box(x))).collect();
    let cost = per_item(start, ITEMS);
    check(&squares, ITEMS);
    cost
}

fn per_item(start: Instant, items: i64) -> f64 {
    start.elapsed().as_nanos() as f64 / items as f64
}

fn check(squares: &[i64], items: i64) {
    assert!(squares.iter().copied().eq((0..items).map(|x| x * x)), "a result is wrong");
}
