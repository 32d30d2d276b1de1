//! One task as the registry knows it: texts for people, and calls from bytes.
//!
//! The argument types are behind `dyn Function`: this file sees only bytes and serde's erased traits.

use std::fmt;
use std::sync::OnceLock;

use erased_serde::{Deserializer, Serializer};

use crate::batch::Batch;
use crate::payload::Payload;
use crate::registry::function::Function;
use crate::registry::tasks;

/// What is known of a registered task at run time.
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
/// let info = power_n.info();
/// assert_eq!(info.name(), "power_n");
/// assert_eq!(info.signature(), "power_n(x: i64, n: u32) -> i64");
/// assert_eq!(info.docs(), "Raises `x` to the power `n`.");
/// assert!(info.is_idempotent());
/// ```
pub struct TaskInfo {
    definition: Definition,
    /// Found once: it is a search.
    index: OnceLock<usize>,
}

/// What `#[task]` states about a function. Only its expansion makes one.
pub struct Definition {
    /// `crate::module::name`.
    pub path: &'static str,
    /// The arguments, in order.
    pub params: &'static [ParamInfo],
    /// The result type, as written.
    pub returns: &'static str,
    /// The doc comment.
    pub docs: &'static str,
    /// Whether a lost call may be repeated.
    pub idempotent: bool,
    /// Source file.
    pub file: &'static str,
    /// Line in it.
    pub line: u32,
    /// The function.
    pub function: &'static dyn Function,
}

/// One argument of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamInfo {
    name: &'static str,
    ty: &'static str,
}

/// Why a worker could not turn bytes into a call, or a result into bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskFault {
    /// The arguments do not decode; the task did not run.
    Decode(String),
    /// The task ran, and its result refused to be encoded.
    Encode(String),
    /// The task ran, and its encoded result is over the limit.
    TooLarge(String),
}

impl TaskFault {
    /// What to say of it.
    pub(crate) fn reason(&self) -> &str {
        match self {
            TaskFault::Decode(reason) | TaskFault::Encode(reason) | TaskFault::TooLarge(reason) => reason,
        }
    }
}

impl TaskInfo {
    /// Only the expansion of `#[task]` makes entries.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(definition: Definition) -> TaskInfo {
        TaskInfo { definition, index: OnceLock::new() }
    }

    /// The full path, `crate::module::name`: a task's identity.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.definition.path
    }

    /// The path without its crate: `module::name`.
    #[must_use]
    pub fn short_path(&self) -> &'static str {
        self.path().split_once("::").map_or(self.path(), |(_, rest)| rest)
    }

    /// The last part of the path: the function's own name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path().rsplit_once("::").map_or(self.path(), |(_, name)| name)
    }

    /// The arguments, in order.
    #[must_use]
    pub fn params(&self) -> &'static [ParamInfo] {
        self.definition.params
    }

    /// The result type, as the source writes it; `()` if it writes none.
    #[must_use]
    pub fn returns(&self) -> &'static str {
        self.definition.returns
    }

    /// The function's doc comment, without its indentation; empty if there is none.
    #[must_use]
    pub fn docs(&self) -> &'static str {
        self.definition.docs
    }

    /// `name(argument: type, …) -> type`, as the source writes it.
    #[must_use]
    pub fn signature(&self) -> String {
        let params: Vec<String> = self.params().iter().map(ParamInfo::to_string).collect();
        let call = format!("{}({})", self.name(), params.join(", "));
        match self.returns() {
            "()" => call,
            returns => format!("{call} -> {returns}"),
        }
    }

    /// Whether the task was registered with `#[task(idempotent)]`: a call whose worker is lost may be repeated.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.definition.idempotent
    }

    /// How often an item may start: 3 times if idempotent, unless the call or the pool says otherwise; else once.
    #[must_use]
    pub fn default_max_attempts(&self) -> u32 {
        if self.is_idempotent() { 3 } else { 1 }
    }

    /// Position in [`tasks`]. Equal in every process of one program.
    #[must_use]
    pub fn index(&self) -> usize {
        *self.index.get_or_init(|| tasks().partition_point(|task| task.path() < self.path()))
    }

    /// Where the function is written: source file and line.
    #[must_use]
    pub fn place(&self) -> (&'static str, u32) {
        (self.definition.file, self.definition.line)
    }

    /// Reads argument `index` from any self-describing format and appends it to `out`.
    ///
    /// A call's payload is its arguments in order, so this is called once for each of [`params`](Self::params).
    /// An integer is accepted where the argument is a float. On failure `out` is unchanged, and the error does
    /// not name the argument: the caller knows where its text came from.
    ///
    /// ```
    /// # #[procession::task]
    /// # fn power_n(x: i64, n: u32) -> i64 { x.pow(n) }
    /// let mut args = procession::Payload::new();
    /// for (index, text) in ["7", "2"].iter().enumerate() {
    ///     let mut json = serde_json::Deserializer::from_str(text);
    ///     let mut erased = <dyn erased_serde::Deserializer>::erase(&mut json);
    ///     power_n.info().encode_arg(index, &mut erased, &mut args)?;
    /// }
    /// assert_eq!(args.as_bytes().len(), 8 + 4);
    /// # Ok::<(), erased_serde::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such argument, or the format's value is not of its type.
    pub fn encode_arg(
        &self,
        index: usize,
        from: &mut dyn Deserializer<'_>,
        out: &mut Payload,
    ) -> Result<(), erased_serde::Error> {
        self.definition.function.transcode_arg(index, from, out.bytes_mut())
    }

    /// Decodes a call's arguments and writes them, as a sequence, to any format.
    ///
    /// # Errors
    /// If the bytes are not this task's arguments, or the format refuses a value.
    pub fn decode_args(&self, bytes: &[u8], to: &mut dyn Serializer) -> Result<(), erased_serde::Error> {
        self.definition.function.write_args(self.params(), bytes, to)
    }

    /// Decodes a result and writes it to any format.
    ///
    /// # Errors
    /// If the bytes are not this task's result, or the format refuses the value.
    pub fn decode_result(&self, bytes: &[u8], to: &mut dyn Serializer) -> Result<(), erased_serde::Error> {
        self.definition.function.write_result(bytes, to)
    }

    /// Decodes arguments, calls the function here, and appends its encoded result to `out`.
    ///
    /// On failure `out` is unchanged. A panic of the function passes through: catching it is the worker's business.
    pub(crate) fn run(&self, args: &[u8], out: &mut Vec<u8>) -> Result<(), TaskFault> {
        self.definition.function.run(self.params(), args, out)
    }

    /// Runs the items of a batch, one after another, until it says that it is enough.
    ///
    /// A fault is that of the item under way. A panic of the function passes through.
    pub(crate) fn run_batch(&self, batch: &mut Batch<'_, '_>) -> Result<(), TaskFault> {
        self.definition.function.run_batch(self.params(), batch)
    }
}

impl fmt::Debug for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = self.place();
        f.debug_struct("TaskInfo")
            .field("path", &self.path())
            .field("signature", &self.signature())
            .field("idempotent", &self.is_idempotent())
            .field("place", &format_args!("{file}:{line}"))
            .finish()
    }
}

impl ParamInfo {
    /// Only the expansion of `#[task]` describes arguments.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(name: &'static str, ty: &'static str) -> ParamInfo {
        ParamInfo { name, ty }
    }

    /// The argument's name; `arg0`, `arg1`, … (its position) where the source has a pattern instead of a name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The argument's type, as the source writes it.
    #[must_use]
    pub fn ty(&self) -> &'static str {
        self.ty
    }
}

impl fmt::Display for ParamInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.ty)
    }
}

impl fmt::Display for TaskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskFault::Decode(reason) | TaskFault::Encode(reason) | TaskFault::TooLarge(reason) => {
                f.write_str(reason)
            }
        }
    }
}

impl std::error::Error for TaskFault {}
