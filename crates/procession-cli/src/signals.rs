//! Signals: Ctrl-C and SIGTERM drain, stop and kill, in turn; SIGHUP stops; Ctrl-Z suspends the pool with the program;
//! SIGUSR1 asks what it is doing.
//!
//! A thread counts; the run looks at the count. Another suspends and answers: it may have to wait for a terminal that takes no more,
//! and what ends the program must not. What a run can be asked to do is [`Host`]'s: nothing is known here of pools or items. Signals that were ignored when the program started (`nohup`, background jobs of
//! scripts) stay ignored.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::host::Host;

/// A run looks at the count every 50 ms. One that has not by then is stuck, most likely in a read that will never end or
/// a write that nobody reads.
const HEAR_WITHIN: Duration = Duration::from_millis(500);

/// So much may be left to do by whoever waits for the terminal. What comes beyond that would be said late, and again.
const ERRANDS_MAX: usize = 8;

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
#[derive(Clone, Default)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// How many have come; one that asks for more than the count says lifts it.
    count: AtomicU32,
    first: AtomicI32,
    /// How many of them the run has acted on.
    heard: Mutex<u32>,
    has_heard: Condvar,
    host: Mutex<Option<Arc<Host>>>,
}

/// What touches the terminal.
enum Errand {
    Suspend,
    Report,
    Warn(String),
}

/// As long as it lives, signals reach the run that it was given for.
pub(crate) struct Hosting(Watch);

impl Watch {
    /// Starts watching. From here on the signals no longer end the program by themselves, until the third.
    pub(crate) fn start() -> io::Result<Watch> {
        let watch = Watch::default();
        let seen = watch.clone();
        let ignored = ignored();
        let wanted = [SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGUSR1].into_iter();
        let mut signals = Signals::new(wanted.filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
        let (errands, to_do) = mpsc::sync_channel(ERRANDS_MAX);
        let runner = watch.clone();
        thread::Builder::new().name("errands".to_owned()).spawn(move || {
            to_do.iter().for_each(|errand| runner.run(errand));
        })?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGTSTP => leave(&errands, Errand::Suspend),
                    SIGUSR1 => leave(&errands, Errand::Report),
                    signal => seen.ask(signal, &errands),
                }
            }
        })?;
        Ok(watch)
    }

    /// Lets signals reach a run until the value that is returned is dropped.
    pub(crate) fn host(&self, host: Host) -> Hosting {
        *lock(&self.shared.host) = Some(Arc::new(host));
        Hosting(self.clone())
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
        *lock(&self.shared.heard) = self.shared.count.load(Ordering::Acquire);
        self.shared.has_heard.notify_all();
    }

    /// The first signal that came, by which the program will end.
    pub(crate) fn signal(&self) -> Option<i32> {
        (self.request() != Request::Run).then(|| self.shared.first.load(Ordering::Acquire))
    }

    /// Acts on a signal that asks the program to end.
    fn ask(&self, signal: i32, errands: &SyncSender<Errand>) {
        let was_heard = *lock(&self.shared.heard) > 0;
        let before = self.shared.count.load(Ordering::Acquire);
        let count = self.note(signal);
        // A terminal that goes may say so several times.
        let is_news = count > before;
        // The workers die with us, by their parent-death signal.
        if is_news && (count > 2 || (before > 0 && !was_heard)) {
            die_of(signal);
        }
        if count > 1
            && let Some(host) = self.its_host()
        {
            host.terminate();
        }
        if is_news && !self.is_heard() {
            if signal == SIGHUP {
                die_of(signal);
            }
            let name = name(signal);
            let warning = format!(
                "{name}: waiting for input that does not come or for output that nobody reads; once more to end at once"
            );
            leave(errands, Errand::Warn(warning));
        }
    }

    /// Whether the run acts on what is asked for, after a moment.
    fn is_heard(&self) -> bool {
        let heard = lock(&self.shared.heard);
        let waited = self.shared.has_heard.wait_timeout_while(heard, HEAR_WITHIN, |heard| *heard == 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0 > 0
    }

    /// The run that hears of signals, if there is one.
    fn its_host(&self) -> Option<Arc<Host>> {
        lock(&self.shared.host).clone()
    }

    /// Does what may take as long as the terminal likes.
    fn run(&self, errand: Errand) {
        // Stops the program, by the default action of SIGTSTP: its twin cannot be caught.
        let stop = || drop(low_level::emulate_default_handler(SIGTSTP));
        match (errand, self.its_host()) {
            // All that it runs before.
            (Errand::Suspend, Some(host)) => host.suspend(stop),
            (Errand::Suspend, None) => stop(),
            (Errand::Report, Some(host)) => host.report(),
            (Errand::Warn(warning), Some(host)) => host.say(&warning),
            (Errand::Report | Errand::Warn(_), None) => {}
        }
    }

    /// Counts one signal and tells how many there have been. Only the thread that watches writes.
    fn note(&self, signal: i32) -> u32 {
        let count = self.shared.count.load(Ordering::Acquire);
        if count == 0 {
            // Stored before the count says that there is one.
            self.shared.first.store(signal, Ordering::Release);
        }
        // Nobody is left to press Ctrl-C again.
        let count = if signal == SIGHUP { count.max(2) } else { count + 1 };
        self.shared.count.store(count, Ordering::Release);
        count
    }
}

impl Drop for Hosting {
    fn drop(&mut self) {
        // Not under the lock: dropping the host may drop a pool.
        let host = lock(&self.0.shared.host).take();
        drop(host);
    }
}

/// Leaves something to do, without waiting.
fn leave(errands: &SyncSender<Errand>, errand: Errand) {
    // Where there is too much to do already the terminal takes nothing.
    let _ = errands.try_send(errand);
}

/// From here on SIGUSR1 no longer ends the program, although there is no run yet that could answer.
pub(crate) fn spare() {
    if ignored() >> (SIGUSR1 - 1) & 1 == 0 {
        // Nobody looks at the flag. Without it the signal is as deadly as it was.
        let _ = signal_hook::flag::register(SIGUSR1, Arc::default());
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

/// The signals that are ignored, a bit each. Where `/proc` does not tell, none is.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn a_hangup_stops_however_often_it_comes() {
        let watch = Watch::default();
        assert_eq!([watch.note(SIGHUP), watch.note(SIGHUP)], [2, 2]);
        assert_eq!((watch.request(), watch.signal()), (Request::Stop, Some(SIGHUP)));
        assert_eq!(watch.note(SIGINT), 3);
    }

    #[test]
    fn ignored_signals_are_known() {
        // As every Rust program, this one ignores SIGPIPE.
        let bit = |signal: i32| ignored() >> (signal - 1) & 1;
        assert_eq!((bit(signal_hook::consts::SIGPIPE), bit(SIGTSTP)), (1, 0));
    }
}
