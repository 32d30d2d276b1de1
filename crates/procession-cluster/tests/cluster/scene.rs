//! A broker and agents around a test's own process, which is the master.

use std::cell::{Cell, RefCell};
use std::io::Read as _;
use std::path::Path;
use std::process::Child;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procession::{Payload, TaskInfo};
use procession_cluster::{Agent, Cluster, ClusterStream, JobOptions, Request};
use procession_harness::{Signal, send_signal, start_part_of};

use crate::broker::Broker;
use crate::faults::Course;

/// Short, so that tests need not wait for long until one has run out.
pub(crate) const LEASE: Duration = Duration::from_millis(1_500);
/// No test has an item that takes so long to come.
const LIMIT: Duration = Duration::from_secs(60);

/// What a job's items came to.
pub(crate) type Outcomes = Vec<Result<Payload, procession::Error>>;

procession_harness::parts! {
    /// An agent that leaves in order once its standard input ends: at the latest when the test does.
    fn agent() {
        let variable = |name: &str| std::env::var(name).expect("the test has set it");
        let (address, workers) = (variable("ADDRESS"), variable("WORKERS").parse().expect("a number"));
        let leaves = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&leaves);
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            noted.store(true, Ordering::Relaxed);
        });
        let me = std::process::id().to_string();
        let mut agent = Agent::connect(&address)
            .expect("the broker is there")
            .workers(workers)
            .configure(move |pool| pool.env("AGENT", me.as_str()));
        let request = || if leaves.load(Ordering::Relaxed) { Request::Drain } else { Request::Work };
        agent.run(request, |news| eprintln!("agent {}: {news:?}", std::process::id())).expect("the broker stays");
    }
}

/// A broker, and the agents that a test has started. They leave when this is dropped.
pub(crate) struct Scene {
    pub(crate) broker: RefCell<Broker>,
    agents: RefCell<Vec<Child>>,
}

impl Scene {
    /// None: there is no server, and the test says so.
    pub(crate) fn start(agents: usize) -> Option<Scene> {
        let scene = Scene::around(Broker::start()?);
        for _ in 0..agents {
            scene.agent(1);
        }
        Some(scene)
    }

    pub(crate) fn around(broker: Broker) -> Scene {
        Scene { broker: RefCell::new(broker), agents: RefCell::default() }
    }

    pub(crate) fn address(&self) -> String {
        self.broker.borrow().address()
    }

    /// Starts an agent: its process.
    pub(crate) fn agent(&self, workers: usize) -> u32 {
        self.agent_at(&self.address(), workers)
    }

    /// The same, by another way to the broker.
    pub(crate) fn agent_at(&self, address: &str, workers: usize) -> u32 {
        self.agent_with(address, workers, &[])
    }

    /// The same, with some variables set.
    pub(crate) fn agent_with(&self, address: &str, workers: usize, variables: &[(&str, &str)]) -> u32 {
        let program = std::env::current_exe().expect("/proc is mounted");
        self.agent_of(&program, address, workers, variables)
    }

    /// The same, of a program that need not be this one.
    pub(crate) fn agent_of(
        &self,
        program: &Path,
        address: &str,
        workers: usize,
        variables: &[(&str, &str)],
    ) -> u32 {
        let workers = workers.to_string();
        let variables = [&[("ADDRESS", address), ("WORKERS", &workers)], variables].concat();
        let child = start_part_of(program, "agent", &variables);
        let pid = child.id();
        self.agents.borrow_mut().push(child);
        pid
    }

    /// The processes of the agents that were started and not yet killed.
    pub(crate) fn agents(&self) -> Vec<u32> {
        self.agents.borrow().iter().map(Child::id).collect()
    }

    /// Kills an agent and waits until it is gone.
    pub(crate) fn kill(&self, pid: u32) {
        send_signal(pid, Signal::SIGKILL);
        self.reap(pid);
    }

    /// Lets an agent leave in order, and waits until it has.
    pub(crate) fn leave(&self, pid: u32) {
        for child in self.agents.borrow_mut().iter_mut().filter(|child| child.id() == pid) {
            drop(child.stdin.take());
        }
        self.reap(pid);
    }

    /// Waits until an agent is gone.
    pub(crate) fn reap(&self, pid: u32) {
        self.agents.borrow_mut().retain_mut(|child| {
            if child.id() == pid {
                child.wait().expect("it is ours");
            }
            child.id() != pid
        });
    }

    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::connect(&self.address()).expect("the broker is there")
    }

    /// Starts a job of these items. They come once all agents that were started take part, so that each of them has some.
    pub(crate) fn job(
        &self,
        task: &'static TaskInfo,
        items: Vec<Payload>,
        adjust: impl FnOnce(&mut JobOptions),
    ) -> ClusterStream<impl Iterator<Item = Option<(u64, Payload)>>> {
        let mut options = JobOptions::default();
        options.lease = LEASE;
        adjust(&mut options);
        let is_open = Rc::new(Cell::new(false));
        let gate = Rc::clone(&is_open);
        let mut items = (0..).zip(items);
        let items = std::iter::from_fn(move || if gate.get() { items.next().map(Some) } else { Some(None) });
        let mut job = self.cluster().stream(task, items, options).expect("the broker takes it");
        let begun = Instant::now();
        while job.agents().len() < self.agents.borrow().len() {
            assert!(job.next_timeout(LEASE / 10).expect("the job goes on").is_none(), "nothing has come in");
            assert!(begun.elapsed() < LIMIT, "{:?} of {}", job.agents(), self.agents.borrow().len());
        }
        is_open.set(true);
        job
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for mut child in self.agents.take() {
            drop(child.stdin.take());
            if std::thread::panicking() {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}

/// Every outcome, which must come in order; `at` is called after each, with how many there are.
pub(crate) fn outcomes<I: Iterator<Item = Option<(u64, Payload)>>>(
    job: ClusterStream<I>,
    at: impl FnMut(usize),
) -> Outcomes {
    let course = Course::of(job, at);
    let (payloads, outcomes): (Vec<u64>, Outcomes) = course.outcomes.into_iter().unzip();
    assert_eq!(payloads, (0..payloads.len() as u64).collect::<Vec<_>>(), "they come in order");
    outcomes
}
