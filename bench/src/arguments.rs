//! What can be typed. It knows the names of the cases, not what they do.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum};

use crate::plan;

/// Measure the pool beside its limits and its peers.
///
/// Exit status: 0 every target that could be judged is met, 1 one is missed or a case failed, 2 bad usage.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Measure only this case (may be given more than once)
    #[arg(long, value_name = "CASE", ignore_case = true, value_parser = PossibleValuesParser::new(plan::cases()))]
    pub(crate) only: Vec<String>,
    /// Fewer passes, smaller cases: under two minutes in all
    #[arg(long)]
    pub(crate) quick: bool,
    /// Leave the peers out
    #[arg(long)]
    pub(crate) no_peers: bool,
    /// How often everything is measured [default: 5, with --quick 3]
    #[arg(long, value_name = "N")]
    passes: Option<NonZeroUsize>,
    /// Where the figures go [default: bench/results.json in the target directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the figures into this directory, such as docs/benchmarks
    #[arg(long, value_name = "DIR")]
    pub(crate) charts: Option<PathBuf>,
    /// Write the tables into this document, between its two marks, such as docs/benchmarks.md
    #[arg(long, value_name = "FILE")]
    pub(crate) document: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// What else this program does; most of it in a process that another one started.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Shows what the pool and its peers do when an item goes wrong
    Faults {
        /// Write the tables into this document, between its two marks, such as docs/reliability.md
        #[arg(long, value_name = "FILE")]
        document: Option<PathBuf>,
    },
    /// Commits every fault of the tests and shows what each has cost
    Survived {
        /// How often each is committed in each scene
        #[arg(long, value_name = "N", default_value = "10")]
        repetitions: NonZeroU32,
        /// Write the table into this document, between its two marks, such as docs/reliability.md
        #[arg(long, value_name = "FILE")]
        document: Option<PathBuf>,
    },
    /// Commits every fault of the tests of clusters and shows what each has cost
    ClusterSurvived {
        /// How often each is committed, in a job of its own
        #[arg(long, value_name = "N", default_value = "20")]
        repetitions: NonZeroU32,
        /// Write the table into this document, between its two marks, such as docs/cluster-faults.md
        #[arg(long, value_name = "FILE")]
        document: Option<PathBuf>,
    },
    /// Commits one fault in a pool of ours and prints what came of it.
    #[command(hide = true)]
    Fault { verb: String, fault: String },
    /// Measures one case and prints a line for each figure.
    #[command(hide = true)]
    Measure {
        case: String,
        #[arg(long)]
        quick: bool,
    },
    /// The other end of a channel.
    #[command(hide = true)]
    Echo { kind: EchoKind, name: String },
    /// Ends at once.
    #[command(hide = true)]
    Nothing,
}

/// What the other end of a channel speaks.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum EchoKind {
    /// Two numbers a message.
    Numbers,
    /// Bytes, sent back as they came.
    Bytes,
    /// Bytes, of which only the length is sent back.
    Lengths,
}

impl EchoKind {
    /// What is typed for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            EchoKind::Numbers => "numbers",
            EchoKind::Bytes => "bytes",
            EchoKind::Lengths => "lengths",
        }
    }
}

impl Arguments {
    /// How often everything is measured. Odd by default, so that a median is one of the passes.
    pub(crate) fn passes(&self) -> usize {
        self.passes.map_or(if self.quick { 3 } else { 5 }, NonZeroUsize::get)
    }

    /// Whether a case is to be measured.
    pub(crate) fn includes(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only.eq_ignore_ascii_case(case))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("bench").chain(line.split_whitespace()))
    }

    #[test]
    fn some_cases_or_all() {
        let all = parse("").expect("nothing is asked for in particular");
        assert!(all.includes("B1") && all.includes("B14"));
        assert_eq!(all.passes(), 5);
        let some = parse("--only B3 --only b12 --quick").expect("both are cases");
        let included: Vec<_> = plan::cases().into_iter().filter(|case| some.includes(case)).collect();
        assert_eq!(included, ["B3", "B12"]);
        assert_eq!(some.passes(), 3);
        assert_eq!(parse("--quick --passes 7").expect("it is a number").passes(), 7);
    }

    #[test]
    fn wrong_usage_is_exit_status_2() {
        for line in ["--only B99", "--passes 0", "--pases 3", "B1"] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}: {error}");
        }
    }
}
