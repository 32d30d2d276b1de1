//! Python's pools, in a virtual environment of their own with pinned versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::run_limited;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/peers.py");
const FAULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/faults.py");
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/requirements.txt");

const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// A Python that has the peers.
pub(crate) struct Python {
    program: PathBuf,
}

impl Python {
    /// Makes the environment below `directory`, unless the one that is there has the same requirements.
    pub(crate) fn prepare(directory: &Path) -> Result<Python, String> {
        let environment = directory.join("python");
        let python = Python { program: environment.join("bin/python") };
        let wanted = fs::read_to_string(REQUIREMENTS).map_err(|error| format!("{REQUIREMENTS}: {error}"))?;
        // Written last, so that an interrupted installation is done again.
        let stamp = environment.join("installed.txt");
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(python);
        }
        eprintln!("installing Python's pools into {}", environment.display());
        let make = ["-m", "venv", "--clear"];
        run_limited(Command::new("python3").args(make).arg(&environment), INSTALL_LIMIT).map_err(
            |error| format!("needs python3 with venv (apt-get install python3 python3-venv): {error}"),
        )?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        run_limited(Command::new(&python.program).args(install).arg(REQUIREMENTS), INSTALL_LIMIT).map_err(
            |error| format!("needs the packages of {REQUIREMENTS} (pip, a package index): {error}"),
        )?;
        fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
        Ok(python)
    }

    /// The command that measures one peer.
    pub(super) fn peer(&self, peer: &str) -> Command {
        self.script(SCRIPT, peer)
    }

    /// The command that shows what one peer does about a fault.
    pub(crate) fn faulty(&self, peer: &str) -> Command {
        self.script(FAULTS, peer)
    }

    fn script(&self, script: &str, peer: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([script, peer]);
        // Its bytecode would lie in the source tree.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let found = run_limited(&mut self.peer("versions"), INSTALL_LIMIT).ok();
        let versions: Option<BTreeMap<String, String>> =
            found.and_then(|text| serde_json::from_str(&text).ok());
        versions.unwrap_or_default().into_iter().collect()
    }
}
