//! The tasks of this program. Job specs, inputs, outputs, progress and failures come with `procession_cli::main`.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;

use procession::task;
use serde::{Deserialize, Serialize};

/// What a task returns may be a type of your own. In CSV its fields are the columns.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fall {
    body: String,
    seconds: f64,
    speed: f64,
}

/// How long a stone falls from `height` (m) where gravity is `gravity` (m/s²), and how fast it is then (m/s).
///
/// `idempotent`: if its worker is lost it may run again, since a second time does no harm.
#[task(idempotent)]
fn fall(body: String, height: f64, gravity: f64) -> Result<Fall, String> {
    if height < 0.0 || gravity <= 0.0 {
        return Err(format!("nothing falls {height} m where gravity is {gravity} m/s²"));
    }
    let seconds = (2.0 * height / gravity).sqrt();
    Ok(Fall { body, seconds, speed: gravity * seconds })
}

/// Adds a line to the end of a file, and returns its length.
///
/// At most once: if its worker is lost the item is reported and not run again, or the line might be there twice.
#[task]
fn note(path: String, line: String) -> Result<usize, String> {
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    written.map(|()| line.len()).map_err(|error| format!("{path}: {error}"))
}

fn main() -> ExitCode {
    procession_cli::main()
}

#[cfg(test)]
mod tests {
    use procession::Pool;

    use super::*;

    // In a test program `main` is not ours, so worker processes are told apart before it.
    procession::before_main!();

    #[test]
    fn workers_give_what_the_function_gives() {
        let pool = Pool::builder().workers(2).build().unwrap();
        let rows = [1.0, 100.0, -1.0].map(|height| ("Moon".to_owned(), height, 1.62));
        let falls = pool.starmap(fall, rows.clone()).unwrap();
        assert_eq!(falls, rows.map(|(body, height, gravity)| fall(body, height, gravity)));
        assert!(falls[1].as_ref().unwrap().seconds > falls[0].as_ref().unwrap().seconds);
        pool.close().unwrap();
    }
}
