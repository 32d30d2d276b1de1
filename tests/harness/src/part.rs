//! Parts of a test that are played by a process of their own: masters that are to die, or that end in a way of
//! their own.

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use crate::PARTS;

/// Names the part that a process is to play.
const PART_VARIABLE: &str = "PROCESSION_TEST_PART";

/// What a process of this program does instead of running tests.
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// What it does; it fails by panicking.
    pub play: fn(),
}

/// Starts a process of this program that plays a part, with some variables set. Its stdin and stdout are pipes, and no
/// signal is ignored because this process was started by a shell in the background.
pub fn start_part(name: &str, variables: &[(&str, &str)]) -> Child {
    start_part_of(&std::env::current_exe().expect("/proc is mounted"), name, variables)
}

/// The same, of another program that has the part.
pub fn start_part_of(program: &Path, name: &str, variables: &[(&str, &str)]) -> Child {
    Command::new("env")
        .args(["--default-signal=HUP,INT,QUIT,TERM"])
        .arg(program)
        .env(PART_VARIABLE, name)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the system has a process to spare")
}

/// Plays the part that this process was started for; `None`: for none.
pub(crate) fn play() -> Option<ExitCode> {
    let name = std::env::var(PART_VARIABLE).ok()?;
    let Some(part) = PARTS.iter().find(|part| part.name == name) else {
        eprintln!("no part is called {name}");
        return Some(ExitCode::FAILURE);
    };
    (part.play)();
    Some(ExitCode::SUCCESS)
}
