//! The hundred items in a pool of ours.

use std::error::Error as StdError;
use std::io::Write;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use procession::{Error, Pool, task};
use procession_tasks::faults;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{HANG, ITEMS, Outcomes};
use crate::cases::WORKERS;

/// The item that goes wrong, where it is one.
const BAD: usize = 50;

/// For items that never end.
const ITEM_LIMIT: Duration = Duration::from_secs(1);

/// How long a killed worker may go unnoticed before the calls.
const PAUSE: Duration = Duration::from_millis(500);

/// A result that may have no encoding.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Answer(usize);

/// No square of an index is as large.
const NO_ENCODING: usize = usize::MAX;

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            NO_ENCODING => Err(S::Error::custom("this result has no encoding")),
            value => value.serialize(serializer),
        }
    }
}

#[task]
fn work(x: usize, fault: String) -> Answer {
    let is_bad = match fault.as_str() {
        "none" | "idle-killed" => false,
        "tenth" => x.is_multiple_of(10),
        _ => x == BAD,
    };
    if !is_bad {
        sleep(Duration::from_millis(1));
        return Answer(x * x);
    }
    match fault.as_str() {
        "raises" => faults::panic(),
        "no-encoding" => return Answer(NO_ENCODING),
        "segfault" | "tenth" => faults::segv(),
        "abort" => faults::abort(),
        "killed" => faults::kill_self(),
        "exit-0" => faults::exit(0),
        "exit-1" => faults::exit(1),
        "closes" => {
            for fd in 3..1024 {
                // Most of them are not open.
                let _ = nix::unistd::close(fd);
            }
        }
        "loops" => loop {
            std::hint::spin_loop();
        },
        "stopped" => raise(Signal::SIGSTOP).expect("a process may stop itself"),
        other => panic!("there is no fault `{other}`"),
    }
    Answer(x * x)
}

/// Commits the fault and prints what came of it.
pub(crate) fn commit(verb: &str, fault: &str) -> Result<ExitCode, Box<dyn StdError>> {
    let pool = Pool::builder().workers(WORKERS).timeout(ITEM_LIMIT).build()?;
    for handle in (0..10).map(|x| pool.apply_async(work, (x, "none".to_owned()))).collect::<Vec<_>>() {
        handle.get()?;
    }
    if fault == "idle-killed" {
        kill(Pid::from_raw(pool.worker_pids()[0].cast_signed()), Signal::SIGKILL)?;
        sleep(PAUSE);
    }
    let start = Instant::now();
    let items = (0..ITEMS).map(|x| (x, fault.to_owned()));
    let mut outcomes =
        Outcomes { values: 0, wrong: 0, failures: 0, never: 0, seconds: 0.0, says: String::new() };
    let left = || HANG.saturating_sub(start.elapsed());
    if verb == "calls" {
        let handles: Vec<_> = items.map(|item| pool.apply_async(work, item)).collect();
        for (x, mut handle) in handles.into_iter().enumerate() {
            if let Some(outcome) = handle.get_timeout(left()) {
                outcomes.count(x, outcome);
            }
        }
    } else {
        let mut stream = pool.istarmap(work, items);
        for x in 0..ITEMS {
            if let Some(Some(outcome)) = stream.next_timeout(left()) {
                outcomes.count(x, outcome);
            }
        }
    }
    outcomes.never = ITEMS - outcomes.values - outcomes.wrong - outcomes.failures;
    outcomes.seconds = start.elapsed().as_secs_f64();
    println!("{}", serde_json::to_string(&outcomes)?);
    std::io::stdout().flush()?;
    pool.terminate();
    Ok(ExitCode::SUCCESS)
}

impl Outcomes {
    fn count(&mut self, x: usize, outcome: Result<Answer, Error>) {
        match outcome {
            Ok(answer) if answer.0 == x * x => self.values += 1,
            Ok(_) => self.wrong += 1,
            Err(error) => {
                self.failures += 1;
                if self.says.is_empty() {
                    self.says = format!("{:?}", error.kind());
                }
            }
        }
    }
}
