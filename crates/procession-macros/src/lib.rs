//! The `#[task]` and `#[procession::main]` attributes of Procession.
//!
//! Use them through the `procession` crate, which re-exports and documents them. The expansions reach everything
//! through `procession::__private`; what they mean is defined there, not here.

#![forbid(unsafe_code)]

mod main_fn;
mod options;
mod task;
mod type_text;

use proc_macro::TokenStream;

/// Registers a function as a task, and turns its name into a handle ([`Task`]) that a pool can call.
///
/// ```
/// use procession::task;
///
/// /// Raises `x` to the power `n`.
/// #[task(idempotent)]
/// fn power_n(x: i64, n: u32) -> i64 {
///     x.pow(n)
/// }
///
/// assert_eq!(power_n(2, 10), 1024); // the plain function, here
/// assert_eq!(power_n.info().name(), "power_n"); // what the registry knows of it
/// ```
///
/// Arguments (none to eight) and the result travel between processes: any owned type that is `Serialize` and
/// `DeserializeOwned` will do. References, generics, `self`, `async` and `unsafe` are refused at compile time.
///
/// # Options
/// * `idempotent`: the function may be started again if its worker is lost, up to three times. Without it a task
///   starts at most once, and a lost call is reported.
/// * `crate = path`: where the `procession` crate is, for crates that re-export it.
///
/// # What the name is
/// A constant: `const power_n: Task<fn(i64, u32) -> i64>`. Hence no local variable in its scope can have the same
/// name; inside the function's own body, where the name means the plain function, it can. A task is known by its
/// module's path and its name, so two tasks of one name need two modules (a function is not a module): duplicates
/// are refused when the program starts.
///
/// [`Task`]: https://docs.rs/procession/latest/procession/struct.Task.html
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes `main` the entry of workers, too: `procession::init()` becomes its first statement.
///
/// A worker process is this same program, started again. The hook recognises that, runs the worker, and never
/// returns; in the master it does next to nothing.
///
/// ```
/// #[procession::main]
/// fn main() -> Result<(), std::io::Error> {
///     Ok(())
/// }
/// ```
///
/// With a runtime's own attribute, write that one above this one, so that the hook runs before the runtime starts
/// threads. `crate = path` says where the `procession` crate is, for crates that re-export it.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    main_fn::expand(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
