//! `docs/two-hosts.md`, line by line: two hosts are network namespaces where there may be some, and this one twice elsewhere.

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

/// Two hosts and what is different on them from what the page says.
struct Hosts {
    /// The names of the namespaces, where there are some.
    namespaces: Option<[String; 2]>,
    port: u16,
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Hosts {
    fn new(program: PathBuf) -> Hosts {
        let names = ["one", "two"].map(|name| format!("{name}-{}", std::process::id()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port to spare");
        let port = listener.local_addr().expect("it has one").port();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut hosts = Hosts { namespaces: Some(names), port, program, folder };
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
        command
    }

    fn type_it(&self, line: &str) -> bool {
        let end = self.command(line).output().expect("bash is there");
        if !end.status.success() {
            eprintln!("{line}: {}", String::from_utf8_lossy(&end.stderr));
        }
        end.status.success()
    }

    /// Starts a line on the first or second host.
    fn start(&self, host: usize, line: &str) -> Running {
        let line = match &self.namespaces {
            Some(names) => format!("ip netns exec {} {line}", names[host]),
            None => line.to_owned(),
        };
        start(self.command(&line))
    }

    fn remove(&self) {
        if self.namespaces.is_some() {
            for line in typed().into_iter().filter(|line| line.starts_with("ip netns del")) {
                self.type_it(line);
            }
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.remove();
    }
}

procession_harness::cases! {
    fn clusters_of_two_hosts_are_five_commands() {
        if crate::broker::server().is_none() {
            return;
        }
        let mut program = PathBuf::from(env!("CARGO_BIN_EXE_procession"));
        if std::env::var_os(BUILDS_VARIABLE).is_some() {
            program = root().join("target/release/procession");
            let hosts = Hosts::new(program.clone());
            assert!(hosts.type_it(line("cargo build")) && hosts.type_it(line(".ci/nats-server")));
        }
        let hosts = Hosts::new(program);
        let server = root().join("target/nats-server/nats-server");
        if !server.is_file() {
            return procession_harness::skip("nats-server in target/: run `.ci/nats-server`");
        }
        let log = hosts.folder.path().join("log");
        let broker = hosts.start(0, &format!("{} --log {}", line("target/nats-server"), log.display()));
        let is_up = || fs::read_to_string(&log).unwrap_or_default().contains("Server is ready");
        assert!(procession_harness::wait_until(std::time::Duration::from_secs(20), is_up), "the broker does not start");
        let mut agent = hosts.start(1, line("target/release/procession agent"));
        agent.wait_for("is there");
        let job = hosts.start(0, line("target/release/procession run")).finish();
        let here = run(&["run", &example("pi.toml"), "--no-progress"]);
        assert_eq!((job.code(), &job.stdout), (Some(0), &here.stdout), "{}", job.stderr);
        assert!(job.stderr.contains("takes part, with "), "{}", job.stderr);
        for (running, name) in [(agent, "agent"), (broker, "broker")] {
            running.signal(Signal::SIGTERM);
            let end = running.finish();
            assert!(end.signal() == Some(Signal::SIGTERM) || end.code().is_some(), "{name}: {}", end.stderr);
        }
    }
}
