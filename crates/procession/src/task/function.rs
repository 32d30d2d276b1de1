//! What makes a function a task's function: owned, serializable arguments (none to eight) and result.
//!
//! Here and nowhere else the argument types are still known; everyone after this sees bytes.
//! This file must not know pools, workers or channels.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError};
use crate::registry::ParamInfo;

/// A type that a task can take as an argument: owned, and serializable both ways.
///
/// Implemented for every type that qualifies; never implement it yourself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a task",
    label = "this argument travels to another process",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or pass the owned data it is made from"
)]
pub trait Argument: Serialize + DeserializeOwned + 'static {}

impl<T: Serialize + DeserializeOwned + 'static> Argument for T {}

/// A type that a task can return: owned, sendable, and serializable both ways.
///
/// Implemented for every type that qualifies; never implement it yourself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a task",
    label = "this result travels back from another process",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or return the owned data it is made from"
)]
pub trait TaskOutput: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> TaskOutput for T {}

/// A function that can be a task: `fn(A, …) -> R` of none to eight arguments.
///
/// It cannot be implemented outside this crate.
pub trait TaskFn: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The argument tuple: `(x,)` for one argument, `()` for none.
    type Args: 'static;

    /// What the function returns.
    type Output: TaskOutput;

    #[doc(hidden)]
    const ARITY: usize;

    #[doc(hidden)]
    fn call(self, args: Self::Args) -> Self::Output;

    #[doc(hidden)]
    fn encode_args(args: &Self::Args, out: &mut Vec<u8>) -> Result<(), CodecError>;

    #[doc(hidden)]
    fn decode_args(bytes: &[u8]) -> Result<Self::Args, ArgsError>;

    /// Reads argument `index` from any format and appends its encoding to `out`.
    #[doc(hidden)]
    fn transcode_arg(
        index: usize,
        from: &mut dyn erased_serde::Deserializer<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), erased_serde::Error>;

    /// Writes decoded arguments to any format, as a sequence.
    #[doc(hidden)]
    fn write_args(
        args: &Self::Args,
        to: &mut dyn erased_serde::Serializer,
    ) -> Result<(), erased_serde::Error>;

    #[doc(hidden)]
    fn encode_output(output: &Self::Output, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode(output, out)
    }

    #[doc(hidden)]
    fn decode_output(bytes: &[u8]) -> Result<Self::Output, CodecError> {
        codec::decode(bytes)
    }
}

/// Arguments that do not decode, and which of them is to blame. `None`: all decode, but bytes are left over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgsError {
    /// Position of the argument, from 0.
    pub index: Option<usize>,
    /// Why it does not decode.
    pub error: CodecError,
}

impl ArgsError {
    /// Says which argument, by name.
    pub(crate) fn describe(&self, names: &[ParamInfo]) -> String {
        match self.index.and_then(|index| names.get(index)) {
            Some(param) => format!("argument `{param}`: {}", self.error),
            None => format!("arguments: {}", self.error),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! impl_task_fn {
    ($arity:literal: $($A:ident $arg:ident $index:tt),*) => {
        impl<$($A,)* R> sealed::Sealed for fn($($A),*) -> R {}

        impl<$($A: Argument,)* R: TaskOutput> TaskFn for fn($($A),*) -> R {
            type Args = ($($A,)*);
            type Output = R;
            const ARITY: usize = $arity;

            fn call(self, ($($arg,)*): Self::Args) -> R {
                self($($arg),*)
            }

            fn encode_args(args: &Self::Args, out: &mut Vec<u8>) -> Result<(), CodecError> {
                codec::encode(args, out)
            }

            fn decode_args(bytes: &[u8]) -> Result<Self::Args, ArgsError> {
                let rest = &mut { bytes };
                let args = ($(
                    codec::decode_prefix::<$A>(rest)
                        .map_err(|error| ArgsError { index: Some($index), error })?,
                )*);
                codec::expect_end(rest).map_err(|error| ArgsError { index: None, error })?;
                Ok(args)
            }

            fn transcode_arg(
                index: usize,
                from: &mut dyn erased_serde::Deserializer<'_>,
                out: &mut Vec<u8>,
            ) -> Result<(), erased_serde::Error> {
                match (index, from, out) {
                    $(($index, from, out) => transcode::<$A>(from, out),)*
                    _ => Err(serde::de::Error::custom(format_args!(
                        "task takes {} arguments, and there is no argument {index} (counted from 0)",
                        $arity,
                    ))),
                }
            }

            fn write_args(
                args: &Self::Args,
                to: &mut dyn erased_serde::Serializer,
            ) -> Result<(), erased_serde::Error> {
                match $arity {
                    // Serde's unit is not a sequence, and no arguments are still a list of arguments.
                    0 => erased_serde::Serialize::erased_serialize(&[(); 0], to),
                    _ => erased_serde::Serialize::erased_serialize(args, to),
                }
            }
        }
    };
}

fn transcode<A: Argument>(
    from: &mut dyn erased_serde::Deserializer<'_>,
    out: &mut Vec<u8>,
) -> Result<(), erased_serde::Error> {
    let value: A = erased_serde::deserialize(from)?;
    codec::encode(&value, out).map_err(serde::ser::Error::custom)
}

impl_task_fn!(0: );
impl_task_fn!(1: A a 0);
impl_task_fn!(2: A a 0, B b 1);
impl_task_fn!(3: A a 0, B b 1, C c 2);
impl_task_fn!(4: A a 0, B b 1, C c 2, D d 3);
impl_task_fn!(5: A a 0, B b 1, C c 2, D d 3, E e 4);
impl_task_fn!(6: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5);
impl_task_fn!(7: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6);
impl_task_fn!(8: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7);
