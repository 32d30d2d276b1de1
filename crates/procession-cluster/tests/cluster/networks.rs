//! Lines that are cut and heal, disks that fill up, and many agents at once.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use procession::Payload;
use procession_cluster::JobOptions;
use procession_harness::{Ledger, wait_until};

use crate::broker::{self, Broker};
use crate::faults::{Course, onces, repeat, single, square, squares};
use crate::link::Link;
use crate::scene::Scene;
use crate::tasks::{inflate, once, square_slowly};

const LIMIT: Duration = Duration::from_secs(60);

procession_harness::cases! {
    fn fault_link_cut_for_good() {
        repeat("fault_link_cut_for_good", || {
            let scene = Scene::start(1)?;
            let link = Link::to(&scene.address());
            let victim = scene.agent_at(&link.address(), 1);
            let cost = square(&scene, (80, 30), |done| if done == 10 { link.cut() });
            // It waits for its broker until somebody ends it.
            scene.kill(victim);
            Some(cost)
        });
    }

    fn fault_partition_healed() {
        repeat("fault_partition_healed", || {
            let scene = Scene::start(1)?;
            let link = Link::to(&scene.address());
            scene.agent_at(&link.address(), 1);
            let cost = square(&scene, (150, 30), |done| match done {
                10 => link.cut(),
                // The first lease has run out by now: its item is among them.
                100 => link.heal(),
                _ => {}
            });
            // Before the line ends, so that the agent behind it leaves in order.
            drop(scene);
            Some(cost)
        });
    }

    fn fault_partition_healed_with_what_starts_at_most_once() {
        repeat("fault_partition_healed_with_what_starts_at_most_once", || {
            let scene = Scene::start(1)?;
            let link = Link::to(&scene.address());
            scene.agent_at(&link.address(), 1);
            let ledger = Ledger::new("once");
            let course = Course::of(scene.job(once.info(), onces(&ledger, 150, 30), single), |done| match done {
                10 => link.cut(),
                100 => link.heal(),
                _ => {}
            });
            drop(scene);
            let cost = course.cost_of_once(150, &ledger);
            assert!(cost.failed <= 2, "{} items were lost with their agent", cost.failed);
            Some(cost)
        });
    }

    fn fault_fifty_agents_come_and_go() {
        repeat("fault_fifty_agents_come_and_go", || {
            let scene = Scene::start(6)?;
            let in_twos = |options: &mut JobOptions| options.stream.chunk_size = Some(2);
            let mut born = 6;
            let course = Course::of(scene.job(square_slowly.info(), squares(600, 10), in_twos), |done| {
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
            Some(course.cost_of_squares(600))
        });
    }

    fn fault_broker_disk_full() {
        // Before anything is mounted that would have to be unmounted.
        if broker::server().is_none() {
            return;
        }
        // For this test and what it starts alone: it goes with the last of them, whatever ends them.
        let is_apart = unshare(CloneFlags::CLONE_NEWNS).is_ok() && mount(&["--make-rprivate", "/"]);
        repeat("fault_broker_disk_full", || {
            let dir = tempfile::tempdir().expect("the test's directory is writable");
            if !is_apart || !mount(&["-t", "tmpfs", "-o", "size=24m", "tmpfs", &dir.path().display().to_string()]) {
                procession_harness::skip("the right to mount a small disk: run the test as root");
                return None;
            }
            let scene = Scene::around(Broker::start_at(dir.path())?);
            scene.agent(1);
            scene.agent(1);
            let items = (0..400_u64).map(two_kilobytes).collect();
            let mut is_full = false;
            let course = Course::of(scene.job(inflate.info(), items, single), |done| {
                if done == 50 {
                    is_full = fill(&scene, &dir.path().join("ballast"));
                    // It takes nothing any more until somebody has looked after it.
                    let mut broker = scene.broker.borrow_mut();
                    broker.kill();
                    broker.restart();
                }
            });
            assert!(is_full, "the broker's disk has more room than it should");
            drop(scene);
            let unmounted = Command::new("umount").arg(dir.path()).status();
            assert!(unmounted.is_ok_and(|unmounted| unmounted.success()), "the test's directory is removed with it");
            let is_own = |x: u64, value: &Payload| inflate.value(value).is_ok_and(|value| value == [x as u8; 2_000]);
            Some(course.cost(400, is_own, |_, _| false))
        });
    }
}

/// Fills the disk of a broker until it has said so, and makes room again. Whether it was full.
fn fill(scene: &Scene, ballast: &Path) -> bool {
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
    // As much as there is room for.
    let filled = Command::new("sh").arg("-c").arg(format!("cat /dev/zero > {}", ballast.display())).output();
    let is_said = wait_until(LIMIT, || {
        write_more();
        scene.broker.borrow().log().contains("no space left")
    });
    assert!(is_said, "{}", scene.broker.borrow().log());
    fs::remove_file(ballast).expect("it is there");
    filled.is_ok_and(|filled| !filled.status.success())
}

fn mount(arguments: &[&str]) -> bool {
    Command::new("mount").args(arguments).output().is_ok_and(|mounted| mounted.status.success())
}

fn two_kilobytes(x: u64) -> Payload {
    inflate.payload(&(vec![x as u8; 2_000], 2_000)).expect("bytes have an encoding")
}
