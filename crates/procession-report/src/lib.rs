//! **Reports on runs: one page to look at, one trace to zoom into.**
//!
//! [`write()`] draws a run directory as an HTML page that needs nothing else: no network, no font, no script from
//! elsewhere. [`write_trace`] writes it as a Chrome trace, which Perfetto opens. Both go through the items row by row:
//! memory and page grow with the number of workers and the width of a figure, not with the number of items.
//!
//! It knows rows of the run store, and nothing of tasks, pools or the command line. Whatever comes from data is escaped
//! by the template language; nothing here writes markup around a text by hand.
//!
//! ```
//! use procession_store::{Ending, Item, Job, Key, RunDir};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temp = tempfile::tempdir()?;
//! # let run = temp.path().join("run");
//! let job = Job { name: "squares".to_owned(), items: Some(1), ..Job::default() };
//! let mut writer = RunDir::create(&run, &job)?.begin("1.0", 1)?;
//! writer.hand_out(0)?;
//! writer.item(Item::value(0, Key::of(b"0")))?;
//! writer.finish(Ending::Complete)?;
//!
//! procession_report::write(&run, &run.join("report.html"))?;
//! assert!(std::fs::read_to_string(run.join("report.html"))?.contains("<h1>squares</h1>"));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod agents;
mod axis;
mod causes;
mod error;
mod figure;
mod file;
mod foreign;
mod kind;
mod lanes;
mod memory;
mod names;
mod page;
mod quantiles;
mod run_times;
mod survey;
mod tables;
mod throughput;
mod timeline;
mod trace;
mod words;

pub use error::{Error, ErrorKind};
pub use file::{write, write_trace};
pub use foreign::misleads;
