//! What can be typed to settle in: a crate of one's own, completions, man pages, the schema of job specs.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::Shell;

#[derive(Debug, Args)]
#[command(after_help = "\
The crate is called as its directory is, and builds and runs as it is: two tasks, a test of them, a job spec and its input. \
Its program has all the commands of this one.

Examples:
  procession new falling-stones
  cd falling-stones && cargo test && cargo run --release -- run job.toml")]
pub(crate) struct New {
    /// A directory that is not there yet, or empty
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Where shells look for them: bash in ~/.local/share/bash-completion/completions, fish in ~/.config/fish/completions, zsh in the \
folders of $fpath.

Examples:
  procession completions bash > ~/.local/share/bash-completion/completions/procession
  procession completions zsh > ~/.zfunc/_procession
  procession completions fish > ~/.config/fish/completions/procession.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procession man | man -l -
  procession man ~/.local/share/man/man1 && man procession-run")]
pub(crate) struct ManPages {
    /// Write a page for every command into a directory, not only that of the program to stdout
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
With `#:schema ./job.schema.json` as the first line of a job spec, editors that know TOML by taplo complete its keys.

Examples:
  procession schema > job.schema.json
  procession schema --markdown | less")]
pub(crate) struct Schema {
    /// Print the reference of job specs, as Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::cli::Cli;

    #[test]
    fn every_help_teaches_with_examples() {
        let command = Cli::command();
        for command in command.get_subcommands().chain([&command]) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.split_once("Examples:\n").or_else(|| help.split_once("Example:\n"));
            let (_, examples) =
                examples.unwrap_or_else(|| panic!("`{}` has no examples", command.get_name()));
            assert!(examples.lines().all(|line| line.starts_with("  ")), "{examples}");
            assert!(
                examples.contains(&format!("procession {}", command.get_name())) || command.has_subcommands()
            );
        }
    }
}
