//! Brokers that die and come back, and masters that do.

use procession::Payload;
use procession_harness::Ledger;

use crate::scene::{Scene, outcomes};
use crate::tasks::{once, square_slowly};

fn squares(items: u64, milliseconds: u64) -> Vec<Payload> {
    (0..items).map(|x| square_slowly.payload(&(x, milliseconds)).expect("numbers have an encoding")).collect()
}

procession_harness::cases! {
    fn a_broker_that_is_killed_and_comes_back_costs_nothing() {
        let Some(scene) = Scene::start(2) else { return };
        let job = scene.job(square_slowly.info(), squares(80, 20), |options| options.stream.chunk_size = Some(1));
        let outcomes = outcomes(job, |done| {
            if done == 20 {
                let mut broker = scene.broker.borrow_mut();
                broker.kill();
                broker.restart();
            }
        });
        let values: Vec<u64> = outcomes
            .into_iter()
            .map(|outcome| square_slowly.value(&outcome.expect("it has a value")).expect("it is a number"))
            .collect();
        assert_eq!(values, (0..80).map(|x| x * x).collect::<Vec<_>>());
    }

    fn a_master_that_goes_on_hears_what_was_answered_meanwhile() {
        let Some(scene) = Scene::start(2) else { return };
        // Each starts at most once: what was answered and not heard would be lost.
        let ledger = Ledger::new("once");
        let open = || {
            let item = |x| once.payload(&(ledger.path(), x, 20)).expect("it has an encoding");
            scene.job(once.info(), (0..40).map(item).collect(), |options| {
                options.stream.chunk_size = Some(1);
                options.name = Some("goeson".to_owned());
                options.is_resumable = true;
            })
        };
        let mut first = open();
        for _ in 0..10 {
            let (_, outcome) = first.next().expect("there are more");
            outcome.expect("it has a value");
        }
        // Without a word, and with nothing put on record: as if it had been killed.
        drop(first);
        let outcomes = outcomes(open(), |_| {});
        let values: Vec<u64> = outcomes
            .into_iter()
            .map(|outcome| once.value(&outcome.expect("it has a value")).expect("it is a number"))
            .collect();
        assert_eq!(values, (0..40).collect::<Vec<_>>());
        let mut starts: Vec<u64> = ledger.lines().iter().map(|line| line.parse().expect("a number")).collect();
        starts.sort_unstable();
        assert_eq!(starts, values, "each has started once");
    }
}
