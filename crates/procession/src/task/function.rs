//! What makes a function a task's function: owned, serializable arguments (none to eight) and result.
//!
//! This is the caller's side, which knows the types. It must not know the registry, pools or workers.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError, Sink};

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
    fn call(self, args: Self::Args) -> Self::Output;

    #[doc(hidden)]
    fn encode_args(args: &Self::Args, sink: &mut Sink<'_>) -> Result<(), CodecError>;

    #[doc(hidden)]
    fn decode_output(bytes: &[u8]) -> Result<Self::Output, CodecError> {
        codec::decode(bytes)
    }
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! impl_task_fn {
    ($($A:ident $arg:ident),*) => {
        impl<$($A,)* R> sealed::Sealed for fn($($A),*) -> R {}

        impl<$($A: Argument,)* R: TaskOutput> TaskFn for fn($($A),*) -> R {
            type Args = ($($A,)*);
            type Output = R;

            fn call(self, ($($arg,)*): Self::Args) -> R {
                self($($arg),*)
            }

            fn encode_args(args: &Self::Args, sink: &mut Sink<'_>) -> Result<(), CodecError> {
                codec::encode_into(args, sink)
            }
        }
    };
}

impl_task_fn!();
impl_task_fn!(A a);
impl_task_fn!(A a, B b);
impl_task_fn!(A a, B b, C c);
impl_task_fn!(A a, B b, C c, D d);
impl_task_fn!(A a, B b, C c, D d, E e);
impl_task_fn!(A a, B b, C c, D d, E e, F f);
impl_task_fn!(A a, B b, C c, D d, E e, F f, G g);
impl_task_fn!(A a, B b, C c, D d, E e, F f, G g, H h);

#[cfg(test)]
mod tests {
    use super::*;

    /// `map` hands over items as they are.
    #[test]
    fn a_single_argument_is_encoded_as_its_value() {
        type Length = fn(String) -> usize;
        let (mut tuple, mut value) = (Vec::new(), Vec::new());
        Length::encode_args(&("text".to_owned(),), &mut Sink::new(&mut tuple)).expect("the tuple encodes");
        codec::encode("text", &mut value).expect("the value encodes");
        assert_eq!(tuple, value);
    }

    #[test]
    fn a_tuple_of_arguments_is_spread_over_the_call() {
        let join: fn(u8, String, char) -> String = |a, b, c| format!("{a}{b}{c}");
        assert_eq!(join.call((1, "b".to_owned(), 'c')), "1bc");
    }
}
