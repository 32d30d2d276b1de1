//! Measures procspawn in one case: `procession-bench-procspawn CASE ITEMS WORKERS` prints a JSON line for each figure.

use std::time::Instant;

use procspawn::{JoinHandle, Pool, SpawnError};

const MIB: usize = 1 << 20;

fn square(x: i64) -> i64 {
    x * x
}

fn crash(_: ()) {
    std::process::abort();
}

fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

fn main() {
    procspawn::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [case, items, workers] = arguments.as_slice() else {
        eprintln!("usage: procession-bench-procspawn CASE ITEMS WORKERS");
        std::process::exit(2);
    };
    let items: usize = items.parse().expect("ITEMS is a number");
    let workers: usize = workers.parse().expect("WORKERS is a number");
    match run(case, items, workers) {
        Ok(()) => {}
        Err(error) => {
            eprintln!("error: {case}: {error}");
            std::process::exit(1);
        }
    }
}

fn run(case: &str, items: usize, workers: usize) -> Result<(), SpawnError> {
    match case {
        "B1" => {
            let pool = warm(workers)?;
            let start = Instant::now();
            for x in 0..items as i64 {
                assert_eq!(procspawn::spawn!(in pool, (x) || square(x)).join()?, x * x);
            }
            say("B1", per_item(start, items));
        }
        "B2" => {
            let pool = warm(workers)?;
            let start = Instant::now();
            let handles: Vec<JoinHandle<i64>> =
                (0..items as i64).map(|x| procspawn::spawn!(in pool, (x) || square(x))).collect();
            for (x, handle) in (0..).zip(handles) {
                assert_eq!(handle.join()?, x * x);
            }
            say("B2", per_item(start, items));
        }
        "B6" => {
            let pool = warm(workers)?;
            let mut bytes = vec![1_u8; MIB];
            let start = Instant::now();
            for _ in 0..items {
                bytes = procspawn::spawn!(in pool, (bytes) || echo(bytes)).join()?;
            }
            say("B6", (2 * MIB * items) as f64 / start.elapsed().as_secs_f64());
        }
        "B7" => {
            let pool = warm(workers)?;
            let bytes = vec![1_u8; 64 * MIB];
            let mut seconds = 0.0;
            for _ in 0..items {
                let argument = bytes.clone();
                let start = Instant::now();
                assert_eq!(procspawn::spawn!(in pool, (argument) || length(argument)).join()?, 64 * MIB);
                seconds += start.elapsed().as_secs_f64();
            }
            say("B7", (64 * MIB * items) as f64 / seconds);
        }
        "B10" => {
            let starts = (0..items).map(|_| {
                let start = Instant::now();
                let pool = Pool::new(workers)?;
                let handles = [1, 2].map(|x| procspawn::spawn!(in pool, (x) || square(x)));
                for handle in handles {
                    handle.join()?;
                }
                pool.shutdown();
                Ok(start.elapsed().as_nanos() as f64)
            });
            let start = median(starts.collect::<Result<Vec<f64>, SpawnError>>()?);
            say("B10 forkserver", start);
            say("B10 spawn", start);
            let pool = Pool::new(1)?;
            let crashes = (0..items).map(|_| {
                let start = Instant::now();
                let crashed = procspawn::spawn!(in pool, (() => nothing) || crash(nothing)).join();
                assert!(crashed.is_err(), "the worker did not crash");
                assert_eq!(procspawn::spawn!(in pool, (3 => x) || square(x)).join()?, 9);
                Ok(start.elapsed().as_nanos() as f64)
            });
            say("B10 crash", median(crashes.collect::<Result<Vec<f64>, SpawnError>>()?));
        }
        _ => panic!("no case is called {case}"),
    }
    Ok(())
}

/// A pool whose workers have all run something.
fn warm(workers: usize) -> Result<Pool, SpawnError> {
    let pool = Pool::new(workers)?;
    let handles: Vec<_> = (0..100).map(|x| procspawn::spawn!(in pool, (x) || square(x))).collect();
    for handle in handles {
        handle.join()?;
    }
    Ok(pool)
}

fn say(row: &str, value: f64) {
    println!("{}", serde_json::json!({ "row": row, "value": value }));
}

fn per_item(start: Instant, items: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / items as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
