//! **Run directories: what became of every item, in a database that outlives the program that wrote it.**
//!
//! A run directory holds one job: `run.sqlite`, which anyone may query (the tables are described in `schema.sql`), and
//! `lock`, which names the one master that has it locked. A [`Writer`] takes rows from the master and writes them on a thread of its
//! own; a [`Reader`] answers what the other commands ask.
//!
//! It knows rows, not pools: neither tasks nor workers nor job specs.
//!
//! ```
//! use procession_store::{Ending, Item, Job, Key, RunDir};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temp = tempfile::tempdir()?;
//! # let path = temp.path().join("run");
//! let job = Job { name: "squares".to_owned(), task: "square".to_owned(), ..Job::default() };
//! let mut writer = RunDir::create(&path, &job)?.begin("1.0", 4)?;
//! // Nothing is handed out before the store knows that it may be.
//! writer.hand_out(1)?;
//! writer.item(Item { value: Some("0".to_owned()), ..Item::value(0, Key::of(b"0")) })?;
//! writer.item(Item { value: Some("1".to_owned()), ..Item::value(1, Key::of(b"1")) })?;
//! writer.finish(Ending::Complete)?;
//!
//! let reader = procession_store::Reader::open(&path)?;
//! assert_eq!(reader.tally()?.values, 2);
//! assert_eq!(reader.item(1)?.and_then(|item| item.value).as_deref(), Some("1"));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod agent;
mod brief;
mod changes;
mod cursor;
mod dir;
mod error;
mod handing;
mod host;
mod item;
mod job;
mod key;
mod lock;
mod place;
mod reader;
mod row;
mod schema;
mod selection;
mod writer;

pub use agent::{AgentChange, AgentNews, AgentStay, Leaving, Seating};
pub use brief::{Brief, Cause, Order};
pub use cursor::{Answers, Moment, Query};
pub use dir::{Claim, DATABASE, FILES, RunDir};
pub use error::{Error, ErrorKind};
pub use item::{INVALID, Item, OK, Printed, Tally, UNKNOWN};
pub use job::{Ending, Job, Session, WorkerLife};
pub use key::{InputDigest, Key};
pub use lock::holder;
pub use reader::Reader;
pub use schema::SCHEMA_VERSION;
pub use selection::{Element, Misread, Selection, Shard, elements};
pub use writer::Writer;
