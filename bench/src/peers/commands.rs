//! Programs of the system that run commands in parallel. They may be missing, which is said with how to get them.

use std::process::{Command, Stdio};

use crate::limits::process::run_over_numbers;
use crate::plan::GNU_PARALLEL;
use crate::results::{By, Measurement};

/// A program, what its `--version` must say, and the package that it is in.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) marks: &'static str,
    pub(crate) package: &'static str,
}

/// Another program has the same name and other options.
const PARALLEL: Tool = Tool { program: "parallel", marks: "GNU parallel", package: "parallel" };

impl Tool {
    pub(crate) fn is_there(&self) -> bool {
        let version = Command::new(self.program).arg("--version").stdin(Stdio::null()).output();
        version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(self.marks))
    }

    /// How to get it.
    pub(crate) fn need(&self) -> String {
        format!("needs `{}`: apt-get install {}", self.program, self.package)
    }
}

/// Captured and in order, as ours.
pub(super) fn parallel(jobs: u64, at_a_time: usize) -> Result<Measurement, String> {
    if !PARALLEL.is_there() {
        return Err(PARALLEL.need());
    }
    let mut command = Command::new(PARALLEL.program);
    // It asks for a citation when it runs under a terminal.
    command.args(["--will-cite", "--keep-order", "--jobs", &at_a_time.to_string(), "true"]);
    let value = run_over_numbers(&mut command, jobs).map_err(|error| error.to_string())?;
    Ok(Measurement { by: By::Peer(GNU_PARALLEL.to_owned()), ..Measurement::ours("B12", value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_how_to_get_it() {
        let tool = Tool { program: "procession-has-no-such-tool", marks: "", package: "none" };
        assert!(!tool.is_there());
        assert_eq!(tool.need(), "needs `procession-has-no-such-tool`: apt-get install none");
        let other = Tool { program: "true", marks: "GNU parallel", package: "none" };
        assert!(!other.is_there(), "another program of that name");
    }
}
