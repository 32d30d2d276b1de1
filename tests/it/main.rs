//! Pools of real workers under every kind of stress: one file a subject, each test in a process of its own.

mod broadcast;
mod calls;
mod crash_reports;
mod crashes;
mod descriptors;
mod exec;
mod figures;
mod heavy_ends;
mod kills;
mod large;
mod limits;
mod lives;
mod masters;
mod memory;
mod mixed;
mod options;
mod panics;
mod pauses;
mod pools;
mod preload;
mod rest;
mod scenes;
mod sends;
mod shared;
mod system_limits;
mod tasks;

procession_harness::main!();
