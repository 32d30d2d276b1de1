//! Real processes at this module's own level: every start method, every way to fail to start, every way to end.

mod endings;
mod lives;
mod scenes;
mod seat;
mod starts;
mod tasks;
mod traps;
