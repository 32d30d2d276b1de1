//! The command line itself: commands, flags, and the help that teaches them.
//!
//! It says what can be typed; what is meant by it is `commands`' business.

mod desk;
mod look;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueHint};
use procession::StartMethod;

pub(crate) use self::desk::{Completions, ManPages, New, Schema};
pub(crate) use self::look::{Export, Failed, Retry, Show, Status};
pub(crate) use self::report::Report;
use crate::exec;
use crate::job::Call;
use crate::output::Format;
use crate::spec::{START_METHODS, WORKERS_MAX, units};

/// Run tasks in worker processes: results in order, and a crash costs only the item that ran.
#[derive(Debug, Parser)]
#[command(name = "procession", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "\
Exit status: 0 every item has a value, 1 some do not, 2 bad spec, input or usage (nothing ran), \
70 the pool broke, 74 results cannot be written, 75 the run directory is in use, 130 or 143 stopped by Ctrl-C or SIGTERM, \
129 or 141 the terminal or the reader of stdout went away.

Ctrl-C or SIGTERM: once finishes what is running and begins nothing new, twice stops it, three times kills. \
Ctrl-Z stops the workers, too, and no time limit runs on. SIGUSR1 makes a run say what its workers are doing.

Examples:
  procession tasks
  procession map square --range 0..20
  procession run examples/pi.toml --workers 4
  ls *.wav | procession exec -- flac --silent {}
  procession new falling-stones")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the job that a TOML file describes
    Run(Run),
    /// Call a task of one argument for every value
    Map(Map),
    /// Call a task of several arguments for every row
    Starmap(Starmap),
    /// Call a task once
    Apply(Apply),
    /// Run a command for every item, in parallel
    Exec(Exec),
    /// Say how far the run in a run directory is
    Status(Status),
    /// List the items of a run that have no value
    Failed(Failed),
    /// Say everything that is known of one item of a run
    Show(Show),
    /// Write the values of a run, in the order of its items
    Export(Export),
    /// Go on with a run, and run items again that had no value
    Retry(Retry),
    /// Draw a run: a page to look at, a trace to zoom into
    Report(Report),
    /// Measure how a job gets faster with more workers
    Scale(Scale),
    /// List the tasks of this program
    Tasks(Tasks),
    /// Make a crate with tasks of your own
    New(New),
    /// Print what lets a shell complete commands and flags
    Completions(Completions),
    /// Print the man page, or write one for every command
    Man(ManPages),
    /// Print the JSON schema of job specs, for editors
    Schema(Schema),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procession run examples/pi.toml
  procession run examples/squares.toml --set pool.workers=8 --set input.range.stop=1000
  procession run examples/faults.toml --dry-run")]
pub(crate) struct Run {
    /// The job spec
    #[arg(value_name = "JOB.toml", value_hint = ValueHint::FilePath)]
    pub(crate) spec: PathBuf,
    /// Change a key of the spec, such as pool.workers=4 (may be given more than once)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    pub(crate) pool: PoolFlags,
    #[command(flatten)]
    pub(crate) results: ResultFlags,
    #[command(flatten)]
    pub(crate) store: RunDirFlags,
    #[command(flatten)]
    pub(crate) conduct: ConductFlags,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("items").multiple(false).args(["values", "range", "jsonl", "each_line"]))]
#[command(after_help = "\
Examples:
  procession map square 1 2 3
  procession map square --range 0..20
  procession map square --range=-5..5:2 --indexed
  seq 10 | procession map square --each-line -")]
pub(crate) struct Map {
    /// The task: its full path, or its last part where that is unambiguous
    pub(crate) task: String,
    /// Values, one item each: JSON, or plain words where the task wants strings
    #[arg(allow_negative_numbers = true)]
    pub(crate) values: Vec<String>,
    /// Integers from START up to, not including, STOP
    #[arg(long, value_name = "START..STOP[:STEP]", allow_hyphen_values = true)]
    pub(crate) range: Option<String>,
    /// A JSON value a line; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) jsonl: Option<String>,
    /// A word a line; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) each_line: Option<String>,
    #[command(flatten)]
    pub(crate) pool: PoolFlags,
    #[command(flatten)]
    pub(crate) results: ResultFlags,
    #[command(flatten)]
    pub(crate) store: RunDirFlags,
    #[command(flatten)]
    pub(crate) conduct: ConductFlags,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("items").multiple(false).args(["jsonl", "csv", "product"]))]
#[command(after_help = "\
Examples:
  procession starmap power_n --product '[[1,2,3],[2]]'
  echo '[7, 2]' | procession starmap power_n --jsonl -
  procession starmap power_n --csv powers.csv --format csv")]
pub(crate) struct Starmap {
    /// The task: its full path, or its last part where that is unambiguous
    pub(crate) task: String,
    /// Only taken to say where rows come from
    #[arg(hide = true, allow_negative_numbers = true)]
    pub(crate) values: Vec<String>,
    /// A row a line: a JSON array of arguments, or an object of them by name; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) jsonl: Option<String>,
    /// A CSV file whose header names the arguments; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) csv: Option<String>,
    /// All combinations of a JSON array of values for each argument
    #[arg(long, value_name = "JSON")]
    pub(crate) product: Option<String>,
    #[command(flatten)]
    pub(crate) pool: PoolFlags,
    #[command(flatten)]
    pub(crate) results: ResultFlags,
    #[command(flatten)]
    pub(crate) store: RunDirFlags,
    #[command(flatten)]
    pub(crate) conduct: ConductFlags,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procession apply power_n 7 2
  procession apply power_n_list '[1, 2, 3]' 2")]
pub(crate) struct Apply {
    /// The task: its full path, or its last part where that is unambiguous
    pub(crate) task: String,
    /// Its arguments: JSON, or plain words where the task wants strings
    #[arg(allow_negative_numbers = true)]
    pub(crate) args: Vec<String>,
    #[command(flatten)]
    pub(crate) item: ItemFlags,
}

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
    #[arg(long, value_name = "FORMAT", default_value = "raw", value_parser = stream_format)]
    pub(crate) format: exec::Format,
    /// Write every item without a value to a file, as JSON Lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) failures: Option<PathBuf>,
    /// Tell everything that happens as it happens, as JSON Lines; - is stdout, where values go to a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) events: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) pool: PoolFlags,
    #[command(flatten)]
    pub(crate) conduct: ConductFlags,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procession tasks
  procession tasks --json")]
pub(crate) struct Tasks {
    /// Print everything that is known of them, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Times are those of the call alone, medians of all rounds. Speed-up is against the same call with the fewest workers. \
Every run must come to the same result.

Examples:
  procession scale examples/pi.toml --workers 1,2,4 --plot scaling.svg
  procession scale examples/pi.toml --workers 1,2 --calls starmap,apply_async --repeat 5 --plot a.svg --plot a.png")]
pub(crate) struct Scale {
    /// The job spec
    #[arg(value_name = "JOB.toml", value_hint = ValueHint::FilePath)]
    pub(crate) spec: PathBuf,
    /// Change a key of the spec, such as input.range.stop=1000 (may be given more than once)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Numbers of worker processes [default: 1, 2, 4, … up to the usable cores]
    #[arg(long, short = 'j', value_name = "N,N,…", value_delimiter = ',', value_parser = workers)]
    pub(crate) workers: Vec<usize>,
    /// Calls to compare: map, starmap, apply_async, imap, imap_unordered [default: the job's]
    #[arg(long, value_name = "CALL,…", value_delimiter = ',', value_parser = call)]
    pub(crate) calls: Vec<Call>,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value = "3", value_parser = at_least_one)]
    pub(crate) repeat: usize,
    /// Draw the speed-up to a file: .svg or .png (may be given more than once)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = crate::scale::plot_path)]
    pub(crate) plot: Vec<PathBuf>,
    /// No progress: only the table, and what is wrong
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// What concerns a single item.
#[derive(Debug, Args)]
pub(crate) struct ItemFlags {
    /// Stop an item that runs longer: 500ms, 30s, 1m30s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Refuse a worker more memory than this: 500MB, 2GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory_limit: Option<u64>,
    /// Start an idempotent item up to N times if its worker is lost
    #[arg(long, value_name = "N", value_parser = attempts)]
    pub(crate) max_attempts: Option<u32>,
    /// How workers are started: forkserver, spawn or fork
    #[arg(long, value_name = "METHOD", value_parser = start_method)]
    pub(crate) start_method: Option<StartMethod>,
}

/// What concerns the workers.
#[derive(Debug, Args)]
pub(crate) struct PoolFlags {
    /// Worker processes [default: the usable cores]
    #[arg(long, short = 'j', value_name = "N", value_parser = workers)]
    pub(crate) workers: Option<usize>,
    /// Items handed to a worker together [default: adapts to how long they take]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) chunk_size: Option<usize>,
    #[command(flatten)]
    pub(crate) item: ItemFlags,
}

/// What concerns values and failures.
#[derive(Debug, Args)]
pub(crate) struct ResultFlags {
    /// Write values to a file instead of stdout: .jsonl, .csv or .json
    #[arg(long, short = 'o', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// How values are written: jsonl, csv or json
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub(crate) format: Option<Format>,
    /// Write {"index": i, "value": v} instead of v
    #[arg(long)]
    pub(crate) indexed: bool,
    /// Write every item without a value to a file, as JSON Lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) failures: Option<PathBuf>,
    /// Tell everything that happens as it happens, as JSON Lines; - is stdout, where values go to a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) events: Option<PathBuf>,
}

/// What concerns the run directory.
#[derive(Debug, Args)]
pub(crate) struct RunDirFlags {
    /// Keep every outcome in this directory, so that the run can be resumed and asked about
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) run_dir: Option<PathBuf>,
    /// Go on with the run in the run directory: only items without a final outcome run
    #[arg(long)]
    pub(crate) resume: bool,
    /// Go on although the input or the task has changed: what is new runs, what is gone is forgotten
    #[arg(long, requires = "resume")]
    pub(crate) accept_changes: bool,
    /// Run again what may have been running when the master was killed
    #[arg(long, requires = "resume")]
    pub(crate) rerun_unknown: bool,
}

/// How the program behaves around the run.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ConductFlags {
    /// A malformed row is that item's failure, not a refusal of the whole run
    #[arg(long)]
    pub(crate) skip_invalid: bool,
    /// Check everything and show the plan; run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// No progress, no summary: only results, and items without one
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// No progress
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// The whole command line. Its examples speak of this program, which need not be `procession`.
pub(crate) fn command() -> clap::Command {
    let program = crate::terminal::program();
    let speak = |command: clap::Command| match command.get_after_help() {
        Some(examples) => {
            let examples = examples.to_string().replace("procession ", &format!("{program} "));
            command.after_help(examples)
        }
        None => command,
    };
    speak(Cli::command()).mut_subcommands(speak)
}

/// Reads the command line of this process.
pub(crate) fn parse() -> Cli {
    Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
}

/// Reads a command line that was typed before. What is given twice counts as it was given last.
pub(crate) fn parse_from<'a>(words: impl Iterator<Item = &'a str>) -> Result<Cli, clap::Error> {
    let command = Cli::command().mut_subcommands(|command| command.args_override_self(true));
    let matches = command.try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
}

fn workers(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        workers if workers <= WORKERS_MAX => Ok(workers),
        _ => Err(format!("more than the {WORKERS_MAX} there can be")),
    }
}

fn attempts(text: &str) -> Result<u32, String> {
    u32::try_from(at_least_one(text)?).map_err(|_| "more than anybody waits for".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a whole number of at least 1".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|what| format!("{what}; {}", units::DURATION_HELP))
}

fn size(text: &str) -> Result<u64, String> {
    units::size(text).map_err(|what| format!("{what}; {}", units::SIZE_HELP))
}

fn start_method(text: &str) -> Result<StartMethod, String> {
    choice(text, &START_METHODS)
}

fn call(text: &str) -> Result<Call, String> {
    choice(text, &Call::NAMES)
}

fn format(text: &str) -> Result<Format, String> {
    choice(text, &Format::NAMES)
}

fn stream_format(text: &str) -> Result<exec::Format, String> {
    choice(text, &exec::Format::NAMES)
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, choice)| *choice).ok_or_else(|| crate::nearest::suggest(text, &names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn negative_values_need_no_ceremony() {
        for words in [
            &["p", "map", "square", "-3", "4"][..],
            &["p", "map", "square", "--range=-5..5"],
            &["p", "map", "square", "--range", "-5..5"],
            &["p", "apply", "power_n", "-2", "2"],
        ] {
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        }
    }

    #[test]
    fn two_sources_of_items_are_refused() {
        for words in [
            &["p", "map", "square", "1", "--range", "0..2"][..],
            &["p", "starmap", "f", "--csv", "a", "--jsonl", "b"],
        ] {
            assert!(Cli::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
