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

#[cfg(test)]
mod tests {
    use crate::codec;
    use crate::task;

    #[task(crate = crate)]
    fn repeat(text: String, times: usize) -> String {
        text.repeat(times)
    }

    #[test]
    fn payloads_are_what_the_pool_carries() {
        let mut args = crate::Payload::new();
        for (index, text) in ["\"ab\"", "2"].iter().enumerate() {
            let mut json = serde_json::Deserializer::from_str(text);
            let mut erased = <dyn erased_serde::Deserializer<'_>>::erase(&mut json);
            repeat.info().encode_arg(index, &mut erased, &mut args).expect("it fits");
        }
        assert_eq!(repeat.payload(&("ab".to_owned(), 2)).expect("texts encode"), args);
        let mut result = Vec::new();
        codec::encode(&repeat("ab".to_owned(), 2), &mut result).expect("texts encode");
        assert_eq!(repeat.value(&result.into()).expect("it is one"), "abab");
        let refused = repeat.value(&vec![9].into()).expect_err("no length");
        assert!(!refused.to_string().is_empty());
    }
}
