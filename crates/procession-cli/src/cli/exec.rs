//! `exec`, the command that runs commands.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueHint};

use super::flags::{ConductFlags, PartFlags, PoolFlags, RunDirFlags};
use super::value;
use crate::exec;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("items").multiple(false).args(["values", "range", "each_line", "jsonl", "csv", "product"]))]
#[command(after_help = "\
In words of the command, and in --cwd, --env, --stdin and --tag: {} is the item as it was written, {index} its number from 0, {2} a \
column, {name} a column of --csv or --jsonl; {.} is a path without its extension, {/} without its folders, {/.} without both, \
{//} its folder, as are {name.} and so on. {{name}} is {name} itself. Without any, columns are appended.

A command has a value if it exits with 0. What it prints comes out whole and in input order.

Examples:
  ls *.wav | procession exec -- flac --silent {} -o {.}.flac
  find . -name '*.log' -print0 | procession exec -0 --timeout 1m -- gzip -9
  procession exec --csv runs.csv --failures failed.jsonl -- ./simulate --seed {seed} --out {name}.h5
  procession exec --each-line urls.txt --shell 'curl -s {} | sha256sum'
  procession exec --product '[[1,2],[\"a\",\"b\"]]' --dry-run -- ./fit {2} --order {1}")]
pub(crate) struct Exec {
    /// The command and its arguments; with --shell, one script
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, value_hint = ValueHint::CommandWithArguments)]
    pub(crate) words: Vec<String>,
    /// A word a line; - is standard input, which is where items come from if nothing else is said
    #[arg(long, short = 'a', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) each_line: Option<String>,
    /// Words end with a zero byte instead of a line's end, as those of `find -print0`
    #[arg(long, short = '0', conflicts_with_all = ["values", "range", "jsonl", "csv", "product"])]
    pub(crate) null: bool,
    /// A JSON value a line: a word, a list of columns, or an object of them; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) jsonl: Option<String>,
    /// A CSV file whose header names the columns; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) csv: Option<String>,
    /// All combinations of a JSON array of values for each column
    #[arg(long, value_name = "JSON")]
    pub(crate) product: Option<String>,
    /// Integers from START up to, not including, STOP
    #[arg(long, value_name = "START..STOP[:STEP]", allow_hyphen_values = true)]
    pub(crate) range: Option<String>,
    /// Words, up to the next flag or --
    #[arg(long, value_name = "WORD", num_args = 1..)]
    pub(crate) values: Vec<String>,
    /// Run CMD as a script of /bin/sh, which gets the values as parameters: they are never read as a script
    #[arg(long)]
    pub(crate) shell: bool,
    /// Where commands run
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cwd: Option<String>,
    /// Add to their environment (may be given more than once)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// What a command reads, such as {text} [default: nothing]
    #[arg(long, value_name = "TEXT")]
    pub(crate) stdin: Option<String>,
    /// Begin every line of output with a text and a tab [default text: {}]
    #[arg(long, value_name = "TEXT", num_args = 0..=1, require_equals = true, default_missing_value = "{}")]
    pub(crate) tag: Option<String>,
    /// Commands may be started again if their worker is lost
    #[arg(long)]
    pub(crate) idempotent: bool,
    /// Output comes as commands end, not in input order
    #[arg(long, short = 'u')]
    pub(crate) unordered: bool,
    /// Write what item 7 prints to DIR/7.stdout and DIR/7.stderr, and not to ours
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output_dir: Option<PathBuf>,
    /// Write to a file instead of stdout
    #[arg(long, short = 'o', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// raw: bytes as they were printed; jsonl: an object a command, with its words, its end and what it printed
    #[arg(long, value_name = "FORMAT", default_value = "raw", value_parser = value::stream_format)]
    pub(crate) format: exec::Format,
    /// Write every item without a value to a file, as JSON Lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) failures: Option<PathBuf>,
    /// Tell everything that happens as it happens, as JSON Lines; - is stdout, where values go to a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) events: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) part: PartFlags,
    #[command(flatten)]
    pub(crate) pool: PoolFlags,
    #[command(flatten)]
    pub(crate) store: RunDirFlags,
    #[command(flatten)]
    pub(crate) conduct: ConductFlags,
}
