//! The command line itself: commands, flags, and the help that teaches them.
//!
//! It says what can be typed; what is meant by it is `commands`' business.

mod agent;
mod calls;
mod desk;
#[cfg(test)]
mod documents;
mod exec;
mod flags;
mod look;
mod policy;
mod report;
mod scale;
mod slurm;
mod value;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub(crate) use self::agent::{Agent, Jobs};
pub(crate) use self::calls::{Apply, Map, Run, Starmap};
pub(crate) use self::desk::{Completions, ManPages, New, Schema};
pub(crate) use self::exec::Exec;
pub(crate) use self::flags::{
    ConductFlags, ItemFlags, PartFlags, PoolFlags, ResultFlags, RunDirFlags, ValueFlags,
};
pub(crate) use self::look::{Export, Failed, Merge, Retry, Show, Status};
pub(crate) use self::policy::{PolicyFlags, TimeLimit};
pub(crate) use self::report::Report;
pub(crate) use self::scale::Scale;
pub(crate) use self::slurm::{Slurm, SlurmCommand, Submit};

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
    /// Run the items of other machines' jobs, until told to leave
    Agent(Agent),
    /// List the jobs that a broker has, and forget those that nobody goes on with
    Jobs(Jobs),
    /// Hand a job to Slurm, to run over many nodes
    Slurm(Slurm),
    /// Say how far the run in a run directory is
    Status(Status),
    /// List the items of a run that have no value
    Failed(Failed),
    /// Say everything that is known of one item of a run
    Show(Show),
    /// Write the values of a run, in the order of its items
    Export(Export),
    /// Write the results of a job that was run in parts
    Merge(Merge),
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
  procession tasks
  procession tasks --json")]
pub(crate) struct Tasks {
    /// Print everything that is known of them, as JSON
    #[arg(long)]
    pub(crate) json: bool,
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
    let matches = command().try_get_matches().unwrap_or_else(|error| advised(error).exit());
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The refusal of a command line. Values of a flag go on until something ends them, and take the command with them.
fn advised(mut error: clap::Error) -> clap::Error {
    let lacks_command = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|what| what.starts_with("<CMD>")),
        _ => false,
    };
    if error.kind() == ErrorKind::MissingRequiredArgument && lacks_command {
        let tip = "the command comes after `--`, as in `exec --values 1 2 -- echo {}`";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Reads a command line that was typed before. What is given twice counts as it was given last.
pub(crate) fn parse_from<'a>(words: impl Iterator<Item = &'a str>) -> Result<Cli, clap::Error> {
    let command = Cli::command().mut_subcommands(|command| command.args_override_self(true));
    let matches = command.try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
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
