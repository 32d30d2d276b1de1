//! What the intake hands on without looking at it.

/// A call's handle.
pub(crate) struct Job;

/// A call's options.
pub(crate) struct CallOptions;

/// A call's items.
pub(crate) struct Segment;
