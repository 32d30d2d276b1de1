//! The policies, one conversation each: every script says exactly what the scheduler must say, and nothing more.

mod dispatch;
mod ends;
mod losses;
mod restarts;
mod script;
mod starts;
mod stops;
mod succession;
