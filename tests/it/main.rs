//! Pools of real workers under every kind of stress: one file a subject, each test in a process of its own.

mod calls;
mod crashes;
mod descriptors;
mod kills;
mod large;
mod limits;
mod lives;
mod masters;
mod options;
mod pools;
mod scenes;
mod tasks;

procession_harness::main!();
