//! Lines that are cut and heal, disks that fill up, and many agents at once.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use procession::{ErrorKind, Payload};
use procession_harness::{Ledger, wait_until};

use crate::broker::{self, Broker};
use crate::link::Link;
use crate::scene::{Scene, outcomes};
use crate::tasks::{once, square_slowly};

const LIMIT: Duration = Duration::from_secs(60);

fn squares(items: u64, milliseconds: u64) -> Vec<Payload> {
    (0..items).map(|x| square_slowly.payload(&(x, milliseconds)).expect("numbers have an encoding")).collect()
}

procession_harness::cases! {
    fn an_agent_that_is_cut_off_costs_nothing_and_is_welcome_again() {
        let Some(scene) = Scene::start(1) else { return };
        let link = Link::to(&scene.address());
        scene.agent_at(&link.address(), 1);
        let job = scene.job(square_slowly.info(), squares(150, 30), |options| options.stream.chunk_size = Some(1));
        let mut healed = None;
        let outcomes = outcomes(job, |done| match done {
            10 => link.cut(),
            // The first lease has run out by now: its item is among them.
            100 => {
                link.heal();
                healed = Some(done);
            }
            _ => {}
        });
        // Before the line ends, so that the agent behind it leaves in order.
        drop(scene);
        assert!(healed.is_some());
        for (x, outcome) in (0..).zip(outcomes) {
            let value = square_slowly.value(&outcome.expect("it has a value")).expect("a number");
            assert_eq!(value, x * x);
        }
    }

    fn what_starts_at_most_once_does_so_although_its_agent_is_cut_off() {
        let Some(scene) = Scene::start(1) else { return };
        let link = Link::to(&scene.address());
        scene.agent_at(&link.address(), 1);
        let ledger = Ledger::new("once");
        let item = |x| once.payload(&(ledger.path(), x, 30)).expect("it has an encoding");
        let job = scene.job(once.info(), (0..150).map(item).collect(), |options| options.stream.chunk_size = Some(1));
        let outcomes = outcomes(job, |done| match done {
            10 => link.cut(),
            100 => link.heal(),
            _ => {}
        });
        drop(scene);
        let mut starts: Vec<u64> = ledger.lines().iter().map(|line| line.parse().expect("a number")).collect();
        let count = starts.len();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), count, "nothing starts twice");
        let lost: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert!(lost.len() <= 2 && lost.iter().all(|error| error.kind() == ErrorKind::WorkerLost), "{lost:?}");
    }

    fn fifty_agents_come_and_go() {
        let Some(scene) = Scene::start(6) else { return };
        let job = scene.job(square_slowly.info(), squares(600, 10), |options| options.stream.chunk_size = Some(2));
        let mut born = 6;
        let outcomes = outcomes(job, |done| {
            if done % 10 == 0 && born < 50 {
                born += 1;
                scene.agent(1);
                let agents = scene.agents();
                // Some without a word: of those that were there first. What one leaves that is killed while it starts stays
                // until another starts.
                let killed = born / 8;
                if born % 8 == 0 { scene.kill(agents[0]) } else { scene.leave(agents[6 - killed]) }
            }
        });
        assert_eq!(born, 50);
        for (x, outcome) in (0..).zip(outcomes) {
            let value = square_slowly.value(&outcome.expect("it has a value")).expect("a number");
            assert_eq!(value, x * x);
        }
    }

    fn a_broker_whose_disk_is_full_forgets_nothing() {
        // Before anything is mounted that would have to be unmounted.
        if broker::server().is_none() {
            return;
        }
        let dir = tempfile::tempdir().expect("the test's directory is writable");
        // For this test and what it starts alone: it goes with the last of them, whatever ends them.
        let is_apart = unshare(CloneFlags::CLONE_NEWNS).is_ok() && mount(&["--make-rprivate", "/"]);
        if !is_apart || !mount(&["-t", "tmpfs", "-o", "size=24m", "tmpfs", &dir.path().display().to_string()]) {
            return procession_harness::skip("the right to mount a small disk: run the test as root");
        }
        let ballast = dir.path().join("ballast");
        let Some(broker) = Broker::start_at(dir.path()) else { return };
        let scene = Scene::around(broker);
        scene.agent(1);
        scene.agent(1);
        let items = (0..400_u64).map(two_kilobytes).collect();
        let job = scene.job(crate::tasks::inflate.info(), items, |options| options.stream.chunk_size = Some(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(async_nats::connect(scene.address())).expect("the broker is there");
        let write_more = || {
            runtime.block_on(async {
                let stream = async_nats::jetstream::new(client.clone());
                let config = async_nats::jetstream::stream::Config {
                    name: "MORE".to_owned(),
                    subjects: vec!["more".to_owned()],
                    ..Default::default()
                };
                // Whatever becomes of it.
                let _ = stream.create_stream(config).await;
                let _ = stream.publish("more", vec![0; 64 << 10].into()).await;
            });
        };
        let mut was_full = false;
        let outcomes = outcomes(job, |done| {
            if done == 50 {
                // As much as there is room for.
                let fill = Command::new("sh").arg("-c").arg(format!("cat /dev/zero > {}", ballast.display())).output();
                was_full = fill.is_ok_and(|fill| !fill.status.success());
                let is_said = wait_until(LIMIT, || {
                    write_more();
                    scene.broker.borrow().log().contains("no space left")
                });
                assert!(is_said, "{}", scene.broker.borrow().log());
                fs::remove_file(&ballast).expect("it is there");
                // It takes nothing any more until somebody has looked after it.
                let mut broker = scene.broker.borrow_mut();
                broker.kill();
                broker.restart();
            }
        });
        assert!(was_full && outcomes.len() == 400);
        for outcome in outcomes {
            assert_eq!(crate::tasks::inflate.value(&outcome.expect("it has a value")).expect("bytes").len(), 2_000);
        }
        drop(scene);
        let unmounted = Command::new("umount").arg(dir.path()).status();
        assert!(unmounted.is_ok_and(|unmounted| unmounted.success()), "the test's directory is removed with it");
    }
}

fn mount(arguments: &[&str]) -> bool {
    Command::new("mount").args(arguments).output().is_ok_and(|mounted| mounted.status.success())
}

fn two_kilobytes(x: u64) -> Payload {
    crate::tasks::inflate.payload(&(vec![x as u8; 2_000], 2_000)).expect("bytes have an encoding")
}
