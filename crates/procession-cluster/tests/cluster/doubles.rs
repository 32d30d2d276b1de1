//! Chunks that are answered twice.

use procession_harness::{Signal, send_signal, stop};

use crate::faults::{repeat, square};
use crate::listener::{Again, Listener};
use crate::scene::{LEASE, Scene};

procession_harness::cases! {
    fn fault_two_agents_answer_a_chunk() {
        repeat("fault_two_agents_answer_a_chunk", || {
            let scene = Scene::start(2)?;
            let listener = Listener::at(&scene.address());
            let victim = scene.agents()[0];
            Some(square(&scene, (80, 30), |done| match done {
                10 => stop(victim, LEASE),
                // What it had has been answered by the other. The job is not over before its own answer has come.
                79 => {
                    send_signal(victim, Signal::SIGCONT);
                    listener.wait_for_two_answers();
                }
                _ => {}
            }))
        });
    }

    fn fault_answers_published_again() {
        repeat("fault_answers_published_again", || {
            let scene = Scene::start(2)?;
            let listener = Listener::at(&scene.address());
            let mut again = Again::default();
            let cost = square(&scene, (60, 20), |done| {
                if done % 10 == 0 {
                    again.add(listener.say_again(&listener.answers()));
                }
            });
            // Of either kind: those that the broker knows again, and those that reach the master once more.
            assert!(again.refused > 0 && again.kept > 0, "{again:?}");
            Some(cost)
        });
    }
}
