//! What a caller that knows no types may ask of a stream.

use std::time::Duration;

use crate::task::TaskOptions;

/// How [`Pool::stream`](crate::Pool::stream) runs its items. The default is that of a map.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamOptions {
    /// Outcomes come in input order; otherwise as they are ready.
    pub ordered: bool,
    /// See [`Task::chunk_size`](crate::Task::chunk_size).
    pub chunk_size: Option<usize>,
    /// See [`Task::timeout`](crate::Task::timeout).
    pub timeout: Option<Duration>,
    /// See [`Task::deadline`](crate::Task::deadline).
    pub deadline: Option<Duration>,
    /// See [`Task::max_attempts`](crate::Task::max_attempts).
    pub max_attempts: Option<u32>,
    /// See [`Task::priority`](crate::Task::priority).
    pub priority: i32,
    /// See [`Task::buffer`](crate::Task::buffer).
    pub buffer: Option<usize>,
    /// Workers measure what items take, for [`PayloadStream::take_figures`](crate::PayloadStream::take_figures): about a microsecond a reply.
    pub figures: bool,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions {
            ordered: true,
            chunk_size: None,
            timeout: None,
            deadline: None,
            max_attempts: None,
            priority: 0,
            buffer: None,
            figures: false,
        }
    }
}

impl StreamOptions {
    /// Those that every call may have.
    pub(crate) fn of_call(&self) -> TaskOptions {
        let StreamOptions { chunk_size, timeout, deadline, max_attempts, priority, buffer, .. } = *self;
        TaskOptions { chunk_size, timeout, deadline, max_attempts, priority, buffer }
    }
}
