//! Brokers that die and come back, and masters that do.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use procession::Payload;
use procession_cluster::{Cluster, ClusterStream, JobOptions};
use procession_harness::{Ledger, Signal, send_signal, start_part};

use crate::faults::{Cost, Course, onces, repeat, single, square};
use crate::scene::{LEASE, Scene};
use crate::tasks::once;

/// Items of a job whose master dies, and how many outcomes it has by then.
const ITEMS: u64 = 40;
const HEARD: usize = 10;

/// Somebody can go on with it.
fn resumable(options: &mut JobOptions) {
    single(options);
    options.lease = LEASE;
    options.name = Some("goeson".to_owned());
    options.is_resumable = true;
}

procession_harness::parts! {
    /// A master that says when it has an outcome, until it is killed.
    fn master() {
        let variable = |name: &str| std::env::var(name).expect("the test has set it");
        let item = |x| once.payload(&(variable("LEDGER"), x, 20_u64)).expect("it has an encoding");
        let items = (0..ITEMS).map(|x| Some((x, item(x))));
        let mut options = JobOptions::default();
        resumable(&mut options);
        let cluster = Cluster::connect(&variable("ADDRESS")).expect("the broker is there");
        for (x, outcome) in cluster.stream(once.info(), items, options).expect("the broker takes it") {
            outcome.expect("it has a value");
            println!("{x}");
        }
    }
}

/// What the next master hears: every outcome, also those of what was answered before it came.
fn resumed<I>(ledger: &Ledger, since: Instant, next: ClusterStream<I>) -> Cost
where
    I: Iterator<Item = Option<(u64, Payload)>>,
{
    let cost = Course::since(since, next, |_| {}, || {}).cost_of_once(ITEMS, ledger);
    assert_eq!((cost.failed, ledger.lines().len() as u64), (0, ITEMS), "all have a value, and one start");
    cost
}

procession_harness::cases! {
    fn fault_broker_killed_and_restarted() {
        repeat("fault_broker_killed_and_restarted", || {
            let scene = Scene::start(2)?;
            let mut down = Duration::ZERO;
            let cost = square(&scene, (80, 20), |done| {
                if done == 20 {
                    let killed = Instant::now();
                    let mut broker = scene.broker.borrow_mut();
                    broker.kill();
                    broker.restart();
                    down = killed.elapsed();
                }
            });
            // A chunk that was on its way to an agent waits for its lease to run out. Whoever is connected again waits for nothing
            // that was asked of the broker before.
            assert!(cost.gap < down + LEASE * 2, "no outcome for {:?}, of which the broker was away {down:?}", cost.gap);
            Some(cost)
        });
    }

    fn fault_master_killed_and_resumed() {
        repeat("fault_master_killed_and_resumed", || {
            let scene = Scene::start(2)?;
            // Each starts at most once: what was answered and not heard would be lost.
            let ledger = Ledger::new("once");
            let mut first = start_part("master", &[("ADDRESS", &scene.address()), ("LEDGER", &ledger.path())]);
            let said = BufReader::new(first.stdout.take().expect("it is piped")).lines();
            assert_eq!(said.take(HEARD).filter(Result::is_ok).count(), HEARD, "the master does not die by itself");
            send_signal(first.id(), Signal::SIGKILL);
            let killed = Instant::now();
            first.wait().expect("it is ours");
            let next = scene.job(once.info(), onces(&ledger, ITEMS, 20), resumable);
            Some(resumed(&ledger, killed, next))
        });
    }

    fn fault_master_dropped_and_resumed() {
        repeat("fault_master_dropped_and_resumed", || {
            let scene = Scene::start(2)?;
            let ledger = Ledger::new("once");
            let mut first = scene.job(once.info(), onces(&ledger, ITEMS, 20), resumable);
            for _ in 0..HEARD {
                let (_, outcome) = first.next().expect("there are more");
                outcome.expect("it has a value");
            }
            // Without a word, and with nothing put on record.
            drop(first);
            let dropped = Instant::now();
            let next = scene.job(once.info(), onces(&ledger, ITEMS, 20), resumable);
            Some(resumed(&ledger, dropped, next))
        });
    }
}
