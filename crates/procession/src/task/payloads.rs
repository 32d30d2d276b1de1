//! Between a task's types and payloads: for callers that stream payloads and do know this one task.

use serde::ser::Error as _;

use super::{Task, TaskFn};
use crate::Payload;
use crate::codec::Sink;

impl<F: TaskFn> Task<F> {
    /// Encodes the arguments of one item, for [`Pool::stream`](crate::Pool::stream).
    ///
    /// ```
    /// # #[procession::task]
    /// # fn power_n(x: i64, n: u32) -> i64 { x.pow(n) }
    /// assert_eq!(power_n.payload(&(7, 2))?.as_bytes().len(), 8 + 4);
    /// # Ok::<(), erased_serde::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a value refuses to be encoded; the message says why.
    pub fn payload(&self, args: &F::Args) -> Result<Payload, erased_serde::Error> {
        let mut bytes = Vec::new();
        F::encode_args(args, &mut Sink::new(&mut bytes)).map_err(erased_serde::Error::custom)?;
        Ok(Payload::from(bytes))
    }

    /// Decodes the result of one item, as a stream of payloads gave it.
    ///
    /// # Errors
    /// If the bytes are not this task's result.
    pub fn value(&self, result: &Payload) -> Result<F::Output, erased_serde::Error> {
        F::decode_output(result.as_bytes()).map_err(erased_serde::Error::custom)
    }
}
