//! Ctrl-C and SIGTERM: the first drains, the second stops, the third kills at once.
//!
//! A thread counts; the run looks at the count. It knows nothing of pools or items.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// What the signals so far ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    /// Nothing: go on.
    Run,
    /// Hand out nothing new, let what runs finish.
    Drain,
    /// Stop what runs, too.
    Stop,
}

/// The signals that have come. Cheap to clone and to ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU32,
    /// How many of them the run has acted on.
    heard: AtomicU32,
    first: AtomicI32,
}

impl Watch {
    /// Starts watching. From here on the signals no longer end the program by themselves, until the third.
    pub(crate) fn start() -> io::Result<Watch> {
        let watch = Watch::default();
        let seen = watch.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                let heard = seen.shared.heard.load(Ordering::Acquire);
                let count = seen.note(signal);
                // A run that did not hear of the first is stuck, most likely in a read that will never end.
                let is_stuck = count > 1 && heard == 0;
                if count > 2 || is_stuck {
                    // The workers die with us, by their parent-death signal.
                    die_of(signal);
                }
            }
        })?;
        Ok(watch)
    }

    /// What is asked for now.
    pub(crate) fn request(&self) -> Request {
        match self.shared.count.load(Ordering::Acquire) {
            0 => Request::Run,
            1 => Request::Drain,
            _ => Request::Stop,
        }
    }

    /// Says that the run acts on what is asked for now.
    pub(crate) fn hear(&self) {
        self.shared.heard.store(self.shared.count.load(Ordering::Acquire), Ordering::Release);
    }

    /// The first signal that came, by which the program will end.
    pub(crate) fn signal(&self) -> Option<i32> {
        (self.request() != Request::Run).then(|| self.shared.first.load(Ordering::Acquire))
    }

    /// Counts one signal and tells how many there have been.
    fn note(&self, signal: i32) -> u32 {
        // Only this thread writes, so the first is stored before the count says there is one.
        if self.shared.count.load(Ordering::Acquire) == 0 {
            self.shared.first.store(signal, Ordering::Release);
        }
        self.shared.count.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// The name of a signal, as a person writes it.
pub(crate) fn name(signal: i32) -> &'static str {
    low_level::signal_name(signal).unwrap_or("signal")
}

/// Ends the program by `signal`, as if it had never been caught.
pub(crate) fn die_of(signal: i32) {
    // Where even that fails the caller's exit code speaks.
    let _ = low_level::emulate_default_handler(signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_grow_with_the_count() {
        let watch = Watch::default();
        assert_eq!((watch.request(), watch.signal()), (Request::Run, None));
        watch.note(SIGTERM);
        assert_eq!((watch.request(), watch.signal()), (Request::Drain, Some(SIGTERM)));
        watch.note(SIGINT);
        assert_eq!((watch.request(), watch.signal()), (Request::Stop, Some(SIGTERM)));
    }
}
