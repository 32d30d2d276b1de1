//! Every fault that is told to be survived, committed on purpose under every verb, number of workers and start method;
//! README.md beside this file says which test commits which.

mod crowds;
mod deaths;
mod fault;
mod groups;
mod hosts;
mod killed_masters;
mod liars;
mod matrix;
mod memory;
mod programs;
mod starts;
mod steps;

procession_harness::main!();
