//! `docs/two-hosts.md`, line by line: two hosts are network namespaces where there may be some, and this one twice elsewhere.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::program::{Running, example, run, start};

const PAGE: &str = include_str!("../../docs/two-hosts.md");

/// Set: the first command is run as well. It compiles the program once more, for minutes.
const BUILDS_VARIABLE: &str = "PROCESSION_TEST_BUILDS";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the crate lies in the workspace")
}

/// The lines of the page that are to be typed.
fn typed() -> Vec<&'static str> {
    let blocks = PAGE.split("```text\n").skip(1);
    blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()).collect()
}

fn line(beginning: &str) -> &'static str {
    typed()
        .into_iter()
        .find(|line| line.starts_with(beginning))
        .unwrap_or_else(|| panic!("no {beginning} in the page"))
}

/// The lines that were typed so far.
type Typed = RefCell<BTreeSet<&'static str>>;

/// Two hosts and what is different on them from what the page says.
struct Hosts {
    /// The names of the namespaces, where there are some.
    namespaces: Option<[String; 2]>,
    port: u16,
    program: PathBuf,
    folder: tempfile::TempDir,
    typed: Typed,
}

impl Hosts {
    fn new(program: PathBuf) -> Hosts {
        let names = ["one", "two"].map(|name| format!("{name}-{}", std::process::id()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port to spare");
        let port = listener.local_addr().expect("it has one").port();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut hosts = Hosts { namespaces: Some(names), port, program, folder, typed: Typed::default() };
        let are_there = typed()
            .into_iter()
            .filter(|line| line.starts_with("ip ") && !line.starts_with("ip netns del"))
            .all(|line| hosts.type_it(line));
        if !are_there {
            hosts.remove();
            hosts.namespaces = None;
            eprintln!(
                "no network namespaces (they need root, and `ip` of iproute2): both hosts are this one"
            );
        }
        hosts
    }

    /// A line of the page as it is typed here.
    fn words(&self, line: &str) -> String {
        let mut line = line.replace("target/release/procession", &self.program.display().to_string());
        line = line.replace("/tmp/procession-nats", &self.folder.path().join("nats").display().to_string());
        match &self.namespaces {
            Some([one, two]) => {
                for (name, here) in [("one", one), ("two", two)] {
                    for place in ["add", "netns", "-n", "del"] {
                        line = line.replace(&format!("{place} {name}"), &format!("{place} {here}"));
                    }
                }
                line
            }
            None => line.replace("4222", &self.port.to_string()).replace("10.77.0.1", "127.0.0.1"),
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("exec {}", self.words(line))).current_dir(root()).stdin(Stdio::null());
        // Those of this package: whoever types has none, and with them what was just built is built anew, for minutes.
        let of_package = |name: &OsString| {
            ["CARGO_MANIFEST_", "CARGO_PKG_"]
                .iter()
                .any(|beginning| name.to_string_lossy().starts_with(beginning))
        };
        for name in std::env::vars_os().map(|(name, _)| name).filter(of_package) {
            command.env_remove(name);
        }
        command
    }

    fn type_it(&self, line: &'static str) -> bool {
        self.typed.borrow_mut().insert(line);
        let end = self.command(line).output().expect("bash is there");
        if !end.status.success() {
            eprintln!("{line}: {}", String::from_utf8_lossy(&end.stderr));
        }
        end.status.success()
    }

    /// Starts a line on the first or second host.
    fn start(&self, host: usize, line: &'static str, more: &str) -> Running {
        self.typed.borrow_mut().insert(line);
        let line = format!("{line} {more}");
        let line = match &self.namespaces {
            Some(names) => format!("ip netns exec {} {line}", names[host]),
            None => line,
        };
        start(self.command(&line))
    }

    fn remove(&self) -> bool {
        let lines = typed().into_iter().filter(|line| line.starts_with("ip netns del"));
        lines.filter(|line| !self.type_it(line)).count() == 0
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if self.namespaces.is_some() {
            self.remove();
        }
    }
}

procession_harness::cases! {
    fn clusters_of_two_hosts_are_five_commands() {
        if crate::broker::server().is_none() {
            return;
        }
        let builds = std::env::var_os(BUILDS_VARIABLE).is_some();
        let program = root().join("target/release/procession");
        let program = if builds { program } else { PathBuf::from(env!("CARGO_BIN_EXE_procession")) };
        let mut hosts = Hosts::new(program);
        assert!(!builds || hosts.type_it(line("cargo build")));
        // It is there: whatever put it there.
        if !hosts.type_it(line(".ci/nats-server")) {
            return procession_harness::skip("nats-server in target/: run `.ci/nats-server`");
        }
        let log = hosts.folder.path().join("log");
        let broker = hosts.start(0, line("target/nats-server"), &format!("--log {}", log.display()));
        let is_up = || fs::read_to_string(&log).unwrap_or_default().contains("Server is ready");
        assert!(procession_harness::wait_until(std::time::Duration::from_secs(20), is_up), "the broker does not start");
        let mut agent = hosts.start(1, line("target/release/procession agent"), "");
        agent.wait_for("is there");
        let job = hosts.start(0, line("target/release/procession run"), "").finish();
        let here = run(&["run", &example("pi.toml"), "--no-progress"]);
        assert_eq!((job.code(), &job.stdout), (Some(0), &here.stdout), "{}", job.stderr);
        assert!(job.stderr.contains("takes part, with "), "{}", job.stderr);
        agent.signal(Signal::SIGTERM);
        assert_eq!(agent.finish().signal(), Some(Signal::SIGTERM));
        broker.signal(Signal::SIGTERM);
        let broker = broker.finish();
        assert_eq!(broker.code(), Some(0), "{}", broker.stderr);
        if hosts.namespaces.is_none() {
            return procession_harness::skip("two hosts: run the test as root, with `ip` of iproute2 (tried on one host)");
        }
        assert!(hosts.remove(), "the namespaces are gone");
        hosts.namespaces = None;
        let typed_here = hosts.typed.borrow().clone();
        let left: Vec<_> = typed().into_iter().filter(|line| !typed_here.contains(line)).collect();
        assert!(left.iter().all(|line| line.starts_with("cargo build") && !builds), "not typed: {left:?}");
    }
}
