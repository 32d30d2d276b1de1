//! Jobs over agents that work, die, stall, and come and go.

use std::time::Instant;

use procession::{ErrorKind, Payload};
use procession_cluster::JobOptions;
use procession_harness::{Ledger, Signal, send_signal, stop};

use crate::faults::{Course, onces, repeat, single, square, squares};
use crate::scene::{LEASE, Scene, outcomes};
use crate::tasks::{frail, inflate, once, once_somewhere, poison, square_slowly};

fn check_squares(course: &Course, items: u64) {
    course.cost_of_squares(items).tally.assert_clean();
}

procession_harness::cases! {
    fn a_job_runs_over_two_agents() {
        let Some(scene) = Scene::start(2) else { return };
        let mut job = scene.job(square_slowly.info(), squares(60, 20), single);
        let mut seen = 0;
        while let Some(next) = job.next_timeout(LEASE * 20).expect("the job goes on").expect("it does not stall") {
            seen = seen.max(job.agents().len());
            assert!(next.1.is_ok());
        }
        assert_eq!(seen, 2);
        job.end(true);
        // As a program would: with types, and chunks as they fit.
        let values = scene.cluster().starmap(square_slowly, (0..500).map(|x| (x, 0))).expect("all have values");
        assert_eq!(values, (0..500).map(|x| x * x).collect::<Vec<_>>());
    }

    fn items_that_fail_say_what_they_say_here() {
        let Some(scene) = Scene::start(2) else { return };
        let items = (0..40).map(|x| frail.payload(&(x,)).expect("numbers have an encoding")).collect();
        let outcomes = outcomes(scene.job(frail.info(), items, |options| options.stream.max_attempts = Some(2)), |_| {});
        assert_eq!(outcomes.len(), 40);
        for (x, outcome) in (0..).zip(&outcomes) {
            match (x % 10, outcome) {
                (3, Err(error)) => {
                    assert_eq!((error.kind(), error.item()), (ErrorKind::Panicked, Some(x)));
                    assert_eq!(error.panic_message(), Some(&*format!("{x} is odd in its way")));
                }
                (7, Err(error)) => {
                    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Quarantined, 2), "{error}");
                    assert!(error.to_string().contains(&format!("item {x}")), "{error}");
                    assert!(error.pid().is_some());
                }
                (3 | 7, Ok(_)) => panic!("item {x} has a value"),
                (_, outcome) => {
                    let value = outcome.as_ref().expect("it has a value");
                    assert_eq!(frail.value(value).expect("it is a number"), x + 1);
                }
            }
        }
    }

    fn fault_agent_killed() {
        repeat("fault_agent_killed", || {
            let scene = Scene::start(2)?;
            let victim = scene.agents()[0];
            Some(square(&scene, (60, 30), |done| if done == 10 { scene.kill(victim) }))
        });
    }

    fn fault_agent_stopped_and_continued() {
        repeat("fault_agent_stopped_and_continued", || {
            let scene = Scene::start(2)?;
            let victim = scene.agents()[0];
            Some(square(&scene, (80, 30), |done| match done {
                10 => stop(victim, LEASE),
                // Its lease has run out by now: what it had is among these. There is enough left for it to take.
                40 => send_signal(victim, Signal::SIGCONT),
                _ => {}
            }))
        });
    }

    fn a_chunk_longer_than_its_lease_is_not_handed_out_twice() {
        let Some(scene) = Scene::start(2) else { return };
        let ledger = Ledger::new("once");
        let milliseconds = LEASE.as_millis() as u64 * 2;
        let item = |x| once.payload(&(ledger.path(), x, milliseconds)).expect("it has an encoding");
        let outcomes = outcomes(scene.job(once.info(), (0..2).map(item).collect(), single), |_| {});
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(ledger.lines().len(), 2);
    }

    fn fault_agent_killed_with_what_starts_at_most_once() {
        repeat("fault_agent_killed_with_what_starts_at_most_once", || {
            let scene = Scene::start(2)?;
            let (victim, ledger) = (scene.agents()[0], Ledger::new("once"));
            let job = scene.job(once.info(), onces(&ledger, 60, 40), single);
            let cost = Course::of(job, |done| if done == 10 { scene.kill(victim) }).cost_of_once(60, &ledger);
            // What its only worker ran, and what was ready for it.
            assert!((1..=2).contains(&cost.failed), "{} items were lost with their agent", cost.failed);
            Some(cost)
        });
    }

    fn what_starts_at_most_once_is_not_lost_with_an_agent_that_stands_still_for_a_moment() {
        let Some(scene) = Scene::start(2) else { return };
        let ledger = Ledger::new("once");
        let item = once_somewhere.payload(&(ledger.path(), LEASE.as_millis() as u64 * 3)).expect("it has an encoding");
        let name = |options: &mut JobOptions| options.name = Some("moment".to_owned());
        let mut job = scene.job(once_somewhere.info(), vec![item], name);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(async_nats::connect(scene.address())).expect("the broker is there");
        let redelivered = || {
            let info = runtime.block_on(async {
                let context = async_nats::jetstream::new(client.clone());
                let stream = context.get_stream("PROCESSION_moment_WORK").await.ok()?;
                stream.consumer_info("agents").await.ok()
            });
            info.map_or(0, |info| info.num_redelivered)
        };
        while ledger.lines().is_empty() {
            assert!(job.next_timeout(LEASE / 10).expect("the job goes on").is_none());
        }
        let victim = ledger.lines()[0].parse().expect("a process");
        stop(victim, LEASE);
        // The other is handed what it has.
        while redelivered() == 0 {
            assert!(job.next_timeout(LEASE / 100).expect("the job goes on").is_none(), "who has it stands still");
        }
        send_signal(victim, Signal::SIGCONT);
        let outcomes = outcomes(job, |_| {});
        assert!(matches!(&*outcomes, [Ok(_)]), "{outcomes:?}");
        assert_eq!(ledger.lines().len(), 1, "nothing starts twice");
    }

    fn agents_come_and_go() {
        let Some(scene) = Scene::start(1) else { return };
        let course = Course::of(scene.job(square_slowly.info(), squares(200, 15), single), |done| {
            if done % 20 == 0 {
                let first = scene.agents()[0];
                scene.agent(1);
                // In order, so that nothing of it needs a lease to run out.
                scene.leave(first);
            }
        });
        check_squares(&course, 200);
    }

    fn large_arguments_and_results_travel_beside_messages() {
        let Some(scene) = Scene::start(1) else { return };
        let sizes = [10, 600 << 10, 3 << 20];
        let pairs = || sizes.iter().flat_map(|from| sizes.iter().map(|to| (*from, *to)));
        let item = |(from, to)| inflate.payload(&(vec![7; from], to)).expect("bytes have an encoding");
        let outcomes = outcomes(scene.job(inflate.info(), pairs().map(item).collect(), |_| {}), |_| {});
        assert_eq!(outcomes.len(), 9);
        for ((_, to), outcome) in pairs().zip(outcomes) {
            let value = inflate.value(&outcome.expect("it has a value")).expect("it is bytes");
            assert!(value.len() == to && value.iter().all(|byte| *byte == 7), "{to} bytes");
        }
    }

    fn fault_item_that_kills_agents() {
        repeat("fault_item_that_kills_agents", || {
            let scene = Scene::start(0)?;
            let items = (0..8).map(|x| poison.payload(&(x, 5)).expect("numbers have an encoding")).collect();
            let job = scene.job(poison.info(), items, |options| options.stream.chunk_size = Some(4));
            let mut agents = 0;
            // Whoever looks after agents starts them again.
            let look = || {
                let alive = scene.agents().into_iter().find(|pid| procession_harness::alive(*pid));
                if alive.is_none() {
                    scene.agents().into_iter().for_each(|pid| scene.reap(pid));
                    scene.agent(1);
                    agents += 1;
                    assert!(agents < 30, "nobody finds out which item kills agents");
                }
            };
            let course = Course::since(Instant::now(), job, |_| {}, look);
            let is_itself = |x, value: &Payload| x != 5 && poison.value(value).is_ok_and(|value| value == x);
            let cost = course.cost(8, is_itself, |x, error| {
                let is_found = (x, error.kind(), error.attempts()) == (5, ErrorKind::Quarantined, 3);
                is_found && error.to_string().contains("3 agents were lost while they ran it and nothing else")
            });
            // Two for the chunk with whatever else there was, and three alone; three for its bad half, three for the item; who is
            // left.
            assert!(cost.failed == 1 && (10..=13).contains(&agents), "{agents} agents");
            Some(cost)
        });
    }
}
