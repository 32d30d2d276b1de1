//! A task's function with its types forgotten: calls from bytes, for whoever knows only the task's name.
//!
//! This is the worker's and the command line's side. It must not know pools, workers or channels.

use erased_serde::{Deserializer, Serializer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError};
use crate::registry::{ParamInfo, TaskFault};
use crate::task::{Argument, TaskOutput};

/// What can be done with a function whose types nobody knows any more. `params` are for naming an argument at fault.
pub trait Function: Send + Sync {
    /// See `TaskInfo::run`.
    fn run(&self, params: &[ParamInfo], args: &[u8], out: &mut Vec<u8>) -> Result<(), TaskFault>;

    /// See [`TaskInfo::encode_arg`](crate::TaskInfo::encode_arg).
    fn transcode_arg(
        &self,
        index: usize,
        from: &mut dyn Deserializer<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), erased_serde::Error>;

    /// See [`TaskInfo::decode_args`](crate::TaskInfo::decode_args).
    fn write_args(
        &self,
        params: &[ParamInfo],
        args: &[u8],
        to: &mut dyn Serializer,
    ) -> Result<(), erased_serde::Error>;

    /// See [`TaskInfo::decode_result`](crate::TaskInfo::decode_result).
    fn write_result(&self, result: &[u8], to: &mut dyn Serializer) -> Result<(), erased_serde::Error>;
}

/// A function, and how each of its arguments and its result travels.
pub struct Callable<F, P, R> {
    function: F,
    params: P,
    result: Carrier<R>,
}

impl<F: Copy, P: Copy, R> Callable<F, P, R> {
    /// `P` is the tuple of the arguments' carriers.
    #[must_use]
    pub const fn new(function: F, params: P, result: Carrier<R>) -> Callable<F, P, R> {
        Callable { function, params, result }
    }
}

/// How values of one type travel.
///
/// The functions are chosen where the expansion writes the type, and nothing after that asks for a bound. So a type
/// that cannot travel is reported at its own place in the source, and only there.
pub struct Carrier<T> {
    decode: fn(&mut &[u8]) -> Result<T, CodecError>,
    encode: fn(&T, &mut Vec<u8>) -> Result<(), CodecError>,
    read: fn(&mut dyn Deserializer<'_>) -> Result<T, erased_serde::Error>,
    erase: fn(&T) -> &dyn erased_serde::Serialize,
}

impl<T> Clone for Carrier<T> {
    fn clone(&self) -> Carrier<T> {
        *self
    }
}

impl<T> Copy for Carrier<T> {}

/// The carrier of an argument.
#[must_use]
pub const fn argument<T: Argument>() -> Carrier<T> {
    carrier()
}

/// The carrier of a result.
#[must_use]
pub const fn result<T: TaskOutput>() -> Carrier<T> {
    carrier()
}

const fn carrier<T: Serialize + DeserializeOwned>() -> Carrier<T> {
    Carrier {
        decode: codec::decode_prefix,
        encode: codec::encode,
        read: |from| erased_serde::deserialize(from),
        erase: |value| value,
    }
}

impl<T> Carrier<T> {
    fn decode_arg(&self, index: usize, params: &[ParamInfo], bytes: &mut &[u8]) -> Result<T, String> {
        (self.decode)(bytes).map_err(|error| match params.get(index) {
            Some(param) => format!("argument `{param}`: {error}"),
            None => format!("argument {index}: {error}"),
        })
    }

    fn transcode(
        &self,
        from: &mut dyn Deserializer<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), erased_serde::Error> {
        (self.encode)(&(self.read)(from)?, out).map_err(serde::ser::Error::custom)
    }

    fn encode_result(&self, result: &T, out: &mut Vec<u8>) -> Result<(), TaskFault> {
        (self.encode)(result, out).map_err(|error| match error {
            CodecError::TooLarge { .. } => TaskFault::TooLarge(format!("result: {error}")),
            CodecError::Encode(_) | CodecError::Decode(_) => TaskFault::Encode(format!("result: {error}")),
        })
    }

    fn decode_result(&self, bytes: &[u8]) -> Result<T, CodecError> {
        let mut rest = bytes;
        let result = (self.decode)(&mut rest)?;
        codec::expect_end(rest)?;
        Ok(result)
    }
}

macro_rules! impl_function {
    ($arity:literal: $($A:ident $arg:ident $index:tt),*) => {
        impl<$($A: 'static,)* R: 'static> Callable<fn($($A),*) -> R, ($(Carrier<$A>,)*), R> {
            fn decode_args(&self, params: &[ParamInfo], bytes: &[u8]) -> Result<($($A,)*), String> {
                let rest = &mut { bytes };
                let args = ($(self.params.$index.decode_arg($index, params, rest)?,)*);
                let _ = params; // a function without arguments names none
                codec::expect_end(rest).map_err(|error| format!("arguments: {error}"))?;
                Ok(args)
            }
        }

        impl<$($A: 'static,)* R: 'static> Function for Callable<fn($($A),*) -> R, ($(Carrier<$A>,)*), R> {
            fn run(&self, params: &[ParamInfo], args: &[u8], out: &mut Vec<u8>) -> Result<(), TaskFault> {
                let ($($arg,)*) = self.decode_args(params, args).map_err(TaskFault::Decode)?;
                let result = (self.function)($($arg),*);
                self.result.encode_result(&result, out)
            }

            fn transcode_arg(
                &self,
                index: usize,
                from: &mut dyn Deserializer<'_>,
                out: &mut Vec<u8>,
            ) -> Result<(), erased_serde::Error> {
                match (index, from, out) {
                    $(($index, from, out) => self.params.$index.transcode(from, out),)*
                    _ => Err(serde::de::Error::custom(format_args!(
                        "task takes {} arguments, and there is no argument {index} (counted from 0)",
                        $arity,
                    ))),
                }
            }

            fn write_args(
                &self,
                params: &[ParamInfo],
                args: &[u8],
                to: &mut dyn Serializer,
            ) -> Result<(), erased_serde::Error> {
                let ($($arg,)*) = self.decode_args(params, args).map_err(serde::ser::Error::custom)?;
                let sequence: [&dyn erased_serde::Serialize; $arity] = [$((self.params.$index.erase)(&$arg)),*];
                erased_serde::Serialize::erased_serialize(&sequence, to)
            }

            fn write_result(&self, result: &[u8], to: &mut dyn Serializer) -> Result<(), erased_serde::Error> {
                let result = self
                    .result
                    .decode_result(result)
                    .map_err(|error| serde::ser::Error::custom(format_args!("result: {error}")))?;
                (self.result.erase)(&result).erased_serialize(to)
            }
        }
    };
}

impl_function!(0: );
impl_function!(1: A a 0);
impl_function!(2: A a 0, B b 1);
impl_function!(3: A a 0, B b 1, C c 2);
impl_function!(4: A a 0, B b 1, C c 2, D d 3);
impl_function!(5: A a 0, B b 1, C c 2, D d 3, E e 4);
impl_function!(6: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5);
impl_function!(7: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6);
impl_function!(8: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7);
