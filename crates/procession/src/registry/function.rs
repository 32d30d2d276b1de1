//! A task's function with its types forgotten: calls from bytes, for whoever knows only the task's name.
//!
//! This is the worker's and the command line's side. It must not know pools, workers or channels.

use std::marker::PhantomData;

use erased_serde::{Deserializer, Serializer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::batch::{Batch, RunItem};
use crate::codec::{self, CodecError, Room, Written};
use crate::registry::{ParamInfo, TaskFault};
use crate::task::{Argument, TaskOutput};

/// What can be done with a function whose types nobody knows any more. `params` are for naming an argument at fault.
pub trait Function: Send + Sync {
    /// See `TaskInfo::run`.
    fn run(&self, params: &[ParamInfo], args: &[u8], out: &mut Vec<u8>) -> Result<(), TaskFault>;

    /// See `TaskInfo::run_batch`.
    fn run_batch(&self, params: &[ParamInfo], batch: &mut Batch<'_, '_>) -> Result<(), TaskFault>;

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

/// A function, and how each of its arguments and its result travels. `S` is the function's pointer type: it tells the
/// arguments' types, which `F` does not.
pub struct Callable<F, S, P, R> {
    function: F,
    signature: PhantomData<S>,
    params: P,
    result: R,
}

impl<F: Copy, S, P: Copy, R: Copy> Callable<F, S, P, R> {
    /// `P` is the tuple of the arguments' carriers.
    #[must_use]
    pub const fn new(function: F, signature: PhantomData<S>, params: P, result: R) -> Callable<F, S, P, R> {
        Callable { function, signature, params, result }
    }
}

/// How values of one type travel.
///
/// A type that cannot travel has a carrier too, which is never used: the expansion asks for [`argument`] and [`result`]
/// as well, so that such a type is reported at its own place in the source, and only there.
pub trait Carry<T>: Copy + Send + Sync + 'static {
    #[doc(hidden)]
    fn decode(self, bytes: &mut &[u8]) -> Result<T, CodecError>;

    #[doc(hidden)]
    fn encode(self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError>;

    #[doc(hidden)]
    fn encode_into(self, value: &T, room: Room<'_>) -> Result<Written, CodecError>;

    #[doc(hidden)]
    fn read(self, from: &mut dyn Deserializer<'_>) -> Result<T, erased_serde::Error>;

    #[doc(hidden)]
    fn erase(self, value: &T) -> &dyn erased_serde::Serialize;
}

/// Refuses what cannot be an argument.
pub const fn argument<T: Argument>() {}

/// Refuses what cannot be a result.
pub const fn result<T: TaskOutput>() {}

/// Where a type's carrier is found: `Passage::<T>::CARRIER`, with [`NoPassage`] in scope.
pub struct Passage<T>(PhantomData<T>);

impl<T: Serialize + DeserializeOwned> Passage<T> {
    /// An inherent constant comes before a trait's, if its bounds hold.
    pub const CARRIER: Carrier = Carrier;
}

/// What is found for a type that cannot travel.
pub trait NoPassage {
    #[doc(hidden)]
    const CARRIER: NoCarrier = NoCarrier;
}

impl<T> NoPassage for Passage<T> {}

/// Carries what serde can.
#[derive(Clone, Copy)]
pub struct Carrier;

/// Lets the rest of the expansion be compiled where an error was reported already.
#[derive(Clone, Copy)]
pub struct NoCarrier;

impl<T> Carry<T> for NoCarrier {
    fn decode(self, _: &mut &[u8]) -> Result<T, CodecError> {
        unreachable!("no program with such a type compiles")
    }

    fn encode(self, _: &T, _: &mut Vec<u8>) -> Result<(), CodecError> {
        unreachable!("no program with such a type compiles")
    }

    fn encode_into(self, _: &T, _: Room<'_>) -> Result<Written, CodecError> {
        unreachable!("no program with such a type compiles")
    }

    fn read(self, _: &mut dyn Deserializer<'_>) -> Result<T, erased_serde::Error> {
        unreachable!("no program with such a type compiles")
    }

    fn erase(self, _: &T) -> &dyn erased_serde::Serialize {
        unreachable!("no program with such a type compiles")
    }
}

impl<T: Serialize + DeserializeOwned> Carry<T> for Carrier {
    #[inline]
    fn decode(self, bytes: &mut &[u8]) -> Result<T, CodecError> {
        codec::decode_prefix(bytes)
    }

    fn encode(self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode(value, out)
    }

    #[inline(always)]
    fn encode_into(self, value: &T, room: Room<'_>) -> Result<Written, CodecError> {
        codec::encode_into_room(value, room)
    }

    fn read(self, from: &mut dyn Deserializer<'_>) -> Result<T, erased_serde::Error> {
        erased_serde::deserialize(from)
    }

    fn erase(self, value: &T) -> &dyn erased_serde::Serialize {
        value
    }
}

#[inline]
fn decode_arg<T>(
    carrier: impl Carry<T>,
    index: usize,
    params: &[ParamInfo],
    bytes: &mut &[u8],
) -> Result<T, TaskFault> {
    carrier.decode(bytes).map_err(|error| undecodable(index, params, &error))
}

#[cold]
fn undecodable(index: usize, params: &[ParamInfo], error: &CodecError) -> TaskFault {
    TaskFault::Decode(match params.get(index) {
        Some(param) => format!("argument `{param}`: {error}"),
        None => format!("argument {index}: {error}"),
    })
}

#[cold]
fn left_over(error: &CodecError) -> TaskFault {
    TaskFault::Decode(format!("arguments: {error}"))
}

#[cold]
fn unencodable(error: &CodecError) -> TaskFault {
    match error {
        CodecError::TooLarge { .. } => TaskFault::TooLarge(format!("result: {error}")),
        CodecError::Encode(_) | CodecError::Decode(_) => TaskFault::Encode(format!("result: {error}")),
    }
}

fn transcode<T>(
    carrier: impl Carry<T>,
    from: &mut dyn Deserializer<'_>,
    out: &mut Vec<u8>,
) -> Result<(), erased_serde::Error> {
    carrier.encode(&carrier.read(from)?, out).map_err(serde::ser::Error::custom)
}

fn decode_result<T>(carrier: impl Carry<T>, bytes: &[u8]) -> Result<T, CodecError> {
    let mut rest = bytes;
    let result = carrier.decode(&mut rest)?;
    codec::expect_end(rest)?;
    Ok(result)
}

macro_rules! impl_function {
    ($arity:literal: $($A:ident $C:ident $arg:ident $index:tt),*) => {
        impl<F, $($A, $C: Carry<$A>,)* R, CR> Callable<F, fn($($A),*) -> R, ($($C,)*), CR> {
            #[inline(always)]
            fn decode_args(&self, params: &[ParamInfo], bytes: &[u8]) -> Result<($($A,)*), TaskFault> {
                let rest = &mut { bytes };
                let args = ($(decode_arg(self.params.$index, $index, params, rest)?,)*);
                let _ = params; // a function without arguments names none
                codec::expect_end(rest).map_err(|error| left_over(&error))?;
                Ok(args)
            }
        }

        impl<F, $($A, $C: Carry<$A>,)* R, CR: Carry<R>> RunItem for Callable<F, fn($($A),*) -> R, ($($C,)*), CR>
        where
            F: Fn($($A),*) -> R + Copy,
        {
            #[inline(always)]
            fn run_item(
                &self,
                params: &[ParamInfo],
                args: &[u8],
                room: Room<'_>,
            ) -> Result<Written, TaskFault> {
                let ($($arg,)*) = self.decode_args(params, args)?;
                // Dropped before the item ends: whatever its destructor does is still the item's doing.
                let result = (self.function)($($arg),*);
                self.result.encode_into(&result, room).map_err(|error| unencodable(&error))
            }
        }

        impl<F, $($A: 'static, $C: Carry<$A>,)* R: 'static, CR: Carry<R>> Function
            for Callable<F, fn($($A),*) -> R, ($($C,)*), CR>
        where
            F: Fn($($A),*) -> R + Copy + Send + Sync,
        {
            fn run(&self, params: &[ParamInfo], args: &[u8], out: &mut Vec<u8>) -> Result<(), TaskFault> {
                let ($($arg,)*) = self.decode_args(params, args)?;
                let result = (self.function)($($arg),*);
                self.result.encode(&result, out).map_err(|error| unencodable(&error))
            }

            fn run_batch(&self, params: &[ParamInfo], batch: &mut Batch<'_, '_>) -> Result<(), TaskFault> {
                batch.run(self, params)
            }

            fn transcode_arg(
                &self,
                index: usize,
                from: &mut dyn Deserializer<'_>,
                out: &mut Vec<u8>,
            ) -> Result<(), erased_serde::Error> {
                match (index, from, out) {
                    $(($index, from, out) => transcode(self.params.$index, from, out),)*
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
                let decoded = self.decode_args(params, args);
                let ($($arg,)*) = decoded.map_err(|fault| serde::ser::Error::custom(fault.reason()))?;
                let sequence: [&dyn erased_serde::Serialize; $arity] = [$(self.params.$index.erase(&$arg)),*];
                erased_serde::Serialize::erased_serialize(&sequence, to)
            }

            fn write_result(&self, result: &[u8], to: &mut dyn Serializer) -> Result<(), erased_serde::Error> {
                let result = decode_result(self.result, result)
                    .map_err(|error| serde::ser::Error::custom(format_args!("result: {error}")))?;
                self.result.erase(&result).erased_serialize(to)
            }
        }
    };
}

impl_function!(0: );
impl_function!(1: A CA a 0);
impl_function!(2: A CA a 0, B CB b 1);
impl_function!(3: A CA a 0, B CB b 1, C CC c 2);
impl_function!(4: A CA a 0, B CB b 1, C CC c 2, D CD d 3);
impl_function!(5: A CA a 0, B CB b 1, C CC c 2, D CD d 3, E CE e 4);
impl_function!(6: A CA a 0, B CB b 1, C CC c 2, D CD d 3, E CE e 4, G CG g 5);
impl_function!(7: A CA a 0, B CB b 1, C CC c 2, D CD d 3, E CE e 4, G CG g 5, H CH h 6);
impl_function!(8: A CA a 0, B CB b 1, C CC c 2, D CD d 3, E CE e 4, G CG g 5, H CH h 6, I CI i 7);
