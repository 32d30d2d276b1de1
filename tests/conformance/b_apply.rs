//! Section B: single calls.
