//! Lines that are cut and heal, disks that fill up, and many agents at once.

use std::fs;
use std::process::Command;
use std::time::Duration;

use procession::{ErrorKind, Payload};
use procession_harness::{Ledger, wait_until};

use crate::broker::Broker;
use crate::link::Link;
use crate::scene::{LEASE, Scene, outcomes};
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
        let mut starts: Vec<u64> = ledger.lines().iter().map(|line| line.parse().expect("a number")).collect();
        let count = starts.len();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), count, "nothing starts twice");
        let lost: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert!(lost.len() <= 2 && lost.iter().all(|error| error.kind() == ErrorKind::WorkerLost), "{lost:?}");
    }

    fn fifty_agents_come_and_go() {
        let Some(scene) = Scene::start(2) else { return };
        let job = scene.job(square_slowly.info(), squares(600, 10), |options| options.stream.chunk_size = Some(2));
        let mut born = 2;
        let outcomes = outcomes(job, |done| {
            if done % 10 == 0 && born < 50 {
                born += 1;
                scene.agent(1);
                let first = scene.agents()[0];
                // Every other one without a word.
                if born % 2 == 0 { scene.kill(first) } else { scene.leave(first) }
            }
        });
        assert_eq!(born, 50);
        for (x, outcome) in (0..).zip(outcomes) {
            let value = square_slowly.value(&outcome.expect("it has a value")).expect("a number");
            assert_eq!(value, x * x);
        }
    }

    fn a_broker_whose_disk_is_full_forgets_nothing() {
        let dir = tempfile::tempdir().expect("the test's directory is writable");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(dir.path()).output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            return procession_harness::skip("the right to mount a small disk: run the test as root");
        }
        struct Mounted(std::path::PathBuf);
        impl Drop for Mounted {
            fn drop(&mut self) {
                // What the server has open goes with it.
                let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
            }
        }
        let disk = Mounted(dir.path().to_owned());
        let ballast = dir.path().join("ballast");
        let Some(broker) = Broker::start_at(Some(dir.path())) else { return };
        let scene = Scene::around(broker);
        scene.agent(1);
        scene.agent(1);
        let items = (0..400_u64).map(two_kilobytes).collect();
        let job = scene.job(crate::tasks::inflate.info(), items, |options| options.stream.chunk_size = Some(1));
        let mut was_full = false;
        let outcomes = outcomes(job, |done| {
            if done == 50 {
                // As much as there is room for.
                let fill = Command::new("sh").arg("-c").arg(format!("cat /dev/zero > {}", ballast.display())).output();
                was_full = fill.is_ok_and(|fill| !fill.status.success());
                // Until the broker says so, or has nothing left to write.
                wait_until(LEASE * 3, || scene.broker.borrow().log().contains("no space left"));
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
        drop(disk);
        let is_unmounted = || fs::read_dir(dir.path()).is_ok_and(|mut files| files.next().is_none());
        assert!(wait_until(LIMIT, is_unmounted));
    }
}

fn two_kilobytes(x: u64) -> Payload {
    crate::tasks::inflate.payload(&(vec![x as u8; 2_000], 2_000)).expect("bytes have an encoding")
}
