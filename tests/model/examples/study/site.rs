//! A real broker and real agents on this machine, around this process, which is the master.

use std::cell::Cell;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procession::{Payload, TaskInfo};
use procession_cluster::{Agent, Cluster, JobOptions, Request};
use tempfile::TempDir;

use super::Result;
use super::clock::timed;

/// The first argument of a process that is an agent.
pub(crate) const AGENT: &str = "agent";
/// The kernel counts processor time of others in these.
const TICK: Duration = Duration::from_millis(10);
/// A broker starts within this.
const LIMIT: Duration = Duration::from_secs(20);
/// Agents that were told to leave are given so long until the next come.
const REST: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Site {
    dir: TempDir,
    broker: Child,
    pub(crate) address: String,
}

/// What a job took. All but the first are of processors, workers and their tasks aside.
pub(crate) struct Real {
    pub(crate) wall: Duration,
    pub(crate) master: Duration,
    pub(crate) agents: Duration,
    pub(crate) broker: Duration,
}

impl Site {
    pub(crate) fn start() -> Result<Site> {
        let dir = TempDir::new()?;
        let broker = Command::new(server()?)
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"])
            .arg(dir.path().join("store"))
            .arg("--ports_file_dir")
            .arg(dir.path())
            .stderr(Stdio::null())
            .spawn()?;
        let ports = dir.path().join(format!("nats-server_{}.ports", broker.id()));
        let mut site = Site { dir, broker, address: String::new() };
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            // {"nats":["nats://127.0.0.1:40123"],…}
            let text = fs::read_to_string(&ports).unwrap_or_default();
            if let Some(address) = text.split('"').find(|part| part.starts_with("nats://")) {
                site.address = address.to_owned();
                return Ok(site);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("nats-server does not start in {}", site.dir.path().display()).into())
    }

    /// Runs items on so many agents of so many workers, from the moment that all of them are there.
    pub(crate) fn run(
        &self,
        (agents, workers): (u32, u32),
        task: &'static TaskInfo,
        items: Vec<Payload>,
        adjust: impl FnOnce(&mut JobOptions),
    ) -> Result<Real> {
        let agents = (0..agents).map(|_| self.agent(workers)).collect::<Result<Agents>>()?;
        let mut options = JobOptions::default();
        adjust(&mut options);
        let is_open = Rc::new(Cell::new(false));
        let (gate, count) = (Rc::clone(&is_open), items.len());
        let mut items = (0..).zip(items);
        let items = std::iter::from_fn(move || if gate.get() { items.next().map(Some) } else { Some(None) });
        let mut job = Cluster::connect(&self.address)?.stream(task, items, options)?;
        let (mut settled, patience) = (Instant::now(), Duration::from_millis(100));
        while settled.elapsed() < REST {
            job.next_timeout(patience)?;
            if job.agents().len() < agents.0.len() {
                settled = Instant::now();
            }
        }
        is_open.set(true);
        let (broker, theirs) = (time_of(self.broker.id())?, agents.time()?);
        let mut outcomes = 0;
        let (wall, master) = timed(1, || {
            while let Some(next) = job.next_timeout(LIMIT)? {
                let Some((_, outcome)) = next else { break };
                outcome?;
                outcomes += 1;
            }
            Ok(())
        })?;
        if outcomes != count {
            return Err(format!("{outcomes} outcomes of {count}").into());
        }
        let (broker, theirs) = (time_of(self.broker.id())? - broker, agents.time()? - theirs);
        job.end(true);
        Ok(Real { wall, master: Duration::from_nanos(master), agents: theirs, broker })
    }

    fn agent(&self, workers: u32) -> Result<Child> {
        let mut agent = Command::new(std::env::current_exe()?);
        agent.args([AGENT, &self.address, &workers.to_string()]).stdin(Stdio::piped());
        Ok(agent.spawn()?)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.broker.kill();
        let _ = self.broker.wait();
    }
}

/// They leave when this is dropped.
struct Agents(Vec<Child>);

impl FromIterator<Child> for Agents {
    fn from_iter<I: IntoIterator<Item = Child>>(agents: I) -> Agents {
        Agents(agents.into_iter().collect())
    }
}

impl Agents {
    fn time(&self) -> Result<Duration> {
        self.0.iter().map(|agent| time_of(agent.id())).sum()
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|agent| drop(agent.stdin.take()));
        for agent in &mut self.0 {
            let _ = agent.wait();
        }
    }
}

/// What an agent's process does: it leaves once its standard input ends.
pub(crate) fn serve(address: &str, workers: &str) -> Result<()> {
    let leaves = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&leaves);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        noted.store(true, Ordering::Relaxed);
    });
    let mut agent = Agent::connect(address)?.workers(workers.parse()?);
    agent.run(|| if leaves.load(Ordering::Relaxed) { Request::Drain } else { Request::Work }, drop)?;
    Ok(())
}

/// Processor time of a process, without its children.
fn time_of(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name, which may be anything, ends with the last bracket; two more numbers follow the eleven after it.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    Ok(TICK * ticks.sum::<std::result::Result<u32, _>>()?)
}

/// As the tests of clusters find it.
fn server() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/nats-server/nats-server");
    let server = std::env::var_os("PROCESSION_NATS_SERVER").map_or(here, PathBuf::from);
    let missing = "no nats-server: run `.ci/nats-server`, or set PROCESSION_NATS_SERVER to one";
    if server.is_file() { Ok(server) } else { Err(missing.into()) }
}
