//! A nats-server for a test: of its own, on a port of its own, reachable from this machine alone.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use procession_harness::{Signal, send_signal, wait_until};
use tempfile::TempDir;

/// A server starts and stops within this, on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Where the server is: named by the environment, put there by `.ci/nats-server`, or installed.
fn find() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/nats-server/nats-server");
    let named = std::env::var_os("PROCESSION_NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    named.into_iter().chain([here]).chain(installed).find(|server| server.is_file())
}

/// The server, if there is one; if not, the test says so.
pub(crate) fn server() -> Option<PathBuf> {
    let server = find();
    if server.is_none() {
        procession_harness::skip("nats-server: run `.ci/nats-server`, or set PROCESSION_NATS_SERVER to one");
    }
    server
}

/// A running server. It is killed when this is dropped.
pub(crate) struct Broker {
    /// Of what it says.
    dir: TempDir,
    store: PathBuf,
    child: Child,
    port: u16,
}

impl Broker {
    /// Starts one; none: there is no server, and the test says so.
    pub(crate) fn start() -> Option<Broker> {
        Broker::start_as(None, "")
    }

    /// The same, with its messages in this folder.
    pub(crate) fn start_at(store: &Path) -> Option<Broker> {
        Broker::start_as(Some(store), "")
    }

    /// The same, configured so.
    pub(crate) fn start_with(configuration: &str) -> Option<Broker> {
        Broker::start_as(None, configuration)
    }

    fn start_as(store: Option<&Path>, configuration: &str) -> Option<Broker> {
        let server = server()?;
        let dir = tempfile::tempdir().expect("the test's directory is writable");
        fs::write(dir.path().join("conf"), configuration).expect("the test's directory is writable");
        let store = store.map_or_else(|| dir.path().join("store"), Path::to_owned);
        let child = spawn(&server, (dir.path(), &store), "-1");
        let ports = dir.path().join(format!("nats-server_{}.ports", child.id()));
        let mut port = None;
        let is_up = wait_until(LIMIT, || {
            // {"nats":["nats://127.0.0.1:40123"],…}
            let text = fs::read_to_string(&ports).unwrap_or_default();
            let after = text.split_once("127.0.0.1:").map(|(_, after)| after.to_owned()).unwrap_or_default();
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            port = digits.parse().ok();
            port.is_some_and(answers)
        });
        let mut broker = Broker { dir, store, child, port: port.unwrap_or_default() };
        assert!(is_up, "the server does not start: {}", broker.log());
        assert!(broker.child.try_wait().expect("it is ours").is_none());
        Some(broker)
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash does; what is on its disk stays.
    pub(crate) fn kill(&mut self) {
        send_signal(self.child.id(), Signal::SIGKILL);
        self.child.wait().expect("it is ours");
    }

    /// Starts it where it was.
    pub(crate) fn restart(&mut self) {
        let (server, port) = (find().expect("it was there before"), self.port.to_string());
        let starts = || self.log().matches("Server is ready").count();
        let before = starts();
        let mut child = spawn(&server, (self.dir.path(), &self.store), &port);
        let is_up = wait_until(LIMIT, || {
            // Somebody may have had its port meanwhile, and soon have done with it.
            if child.try_wait().expect("it is ours").is_some() {
                child = spawn(&server, (self.dir.path(), &self.store), &port);
            }
            starts() > before && answers(self.port)
        });
        self.child = child;
        assert!(is_up, "the server does not start again: {}", self.log());
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(server: &Path, (dir, store): (&Path, &Path), port: &str) -> Child {
    let mut command = Command::new(server);
    command.args(["--addr", "127.0.0.1", "--port", port, "--jetstream"]);
    command
        .arg("--config")
        .arg(dir.join("conf"))
        .arg("--store_dir")
        .arg(store)
        .arg("--ports_file_dir")
        .arg(dir);
    command.arg("--log").arg(dir.join("log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the server starts")
}

fn answers(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok()
}
