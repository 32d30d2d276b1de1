//! A run, as far as signals must reach it whatever its own thread does: what runs it, and what it shows.
//!
//! It knows no signals but that which stops the program.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::activity::Activity;
use crate::engine::Engine;
use crate::progress::Screen;
use crate::terminal;

/// One run. Several pools may follow each other in a program, each with a host of its own.
pub(crate) struct Host {
    engine: Engine,
    screen: Screen,
    activity: Activity,
}

/// For how long a run was suspended so far.
#[derive(Clone, Default)]
pub(crate) struct Away(Arc<Mutex<Duration>>);

impl Host {
    pub(crate) fn new(engine: Engine, screen: Screen, activity: Activity) -> Host {
        Host { engine, screen, activity }
    }

    /// To be asked once the host is given away.
    pub(crate) fn away(&self) -> Away {
        self.activity.away()
    }

    /// Calls `stop` while nothing runs, no clock goes on, and nothing of ours is on the terminal.
    pub(crate) fn suspend(&self, stop: impl FnOnce()) {
        let start = Instant::now();
        self.screen.aside(|| {
            self.engine.pause();
            stop();
            self.engine.resume();
        });
        self.activity.away().add(start.elapsed());
    }

    /// Stops what runs.
    pub(crate) fn terminate(&self) {
        self.engine.terminate();
    }

    /// Says what it is doing.
    pub(crate) fn report(&self) {
        self.screen.say(self.activity.report().trim_end());
    }

    /// Says something without tearing what is on the terminal.
    pub(crate) fn say(&self, warning: &str) {
        self.screen.say(&terminal::warning(warning));
    }
}

impl Away {
    pub(crate) fn time(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}
