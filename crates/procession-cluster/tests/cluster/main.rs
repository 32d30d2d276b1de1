//! Jobs over a real nats-server, with agents in processes of their own. Each test in a process of its own, and nothing may be
//! left of it. Without a nats-server they say how to get one, and are skipped.

mod agents;
mod broker;
mod brokers;
mod clocks;
mod doubles;
mod faults;
mod link;
mod listener;
mod networks;
mod permissions;
mod refusals;
mod scene;
mod tasks;

procession_harness::main!();
