//! The one thread that runs user callbacks, so that a slow or panicking one harms neither workers nor other calls.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

type Callback = Box<dyn FnOnce() + Send>;

thread_local! {
    /// This thread runs a callback in place of the callback thread.
    static RUNS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Starts its thread with the first callback. The thread ends when this is dropped.
#[derive(Default)]
pub(crate) struct CallbackThread {
    /// Protects the start of the thread; the queue itself needs no lock. A leaf.
    queue: Mutex<Option<Running>>,
}

struct Running {
    sender: Sender<Callback>,
    thread: ThreadId,
}

impl CallbackThread {
    /// Queues a callback; callbacks run one after the other in this order. Unbounded: each entry belongs to a call
    /// the program made and still holds a handle for, or to an event of a worker's life.
    pub(crate) fn run(&self, callback: Callback) {
        let mut queue = self.queue.lock();
        if queue.is_none() {
            match start() {
                Ok(running) => *queue = Some(running),
                Err(error) => {
                    drop(queue);
                    tracing::error!(
                        "no thread for callbacks, so one runs on a thread of the driver: {error}"
                    );
                    return run_here(callback);
                }
            }
        }
        if let Some(running) = &*queue {
            // It can only fail if the thread is gone, and the thread ends after us.
            let _ = running.sender.send(callback);
        }
    }

    /// Whether the calling code is inside a callback.
    pub(crate) fn is_current(&self) -> bool {
        let is_ours = |running: &Running| running.thread == thread::current().id();
        RUNS_HERE.get() || self.queue.lock().as_ref().is_some_and(is_ours)
    }
}

/// A call whose callback never ran would never be complete: better on the wrong thread than not at all.
fn run_here(callback: Callback) {
    let before = RUNS_HERE.replace(true);
    run_one(callback);
    RUNS_HERE.set(before);
}

fn start() -> io::Result<Running> {
    let (sender, receiver) = channel::<Callback>();
    let handle = thread::Builder::new().name("procession-callbacks".to_owned()).spawn(move || {
        for callback in receiver {
            run_one(callback);
        }
    })?;
    Ok(Running { sender, thread: handle.thread().id() })
}

/// A panicking callback is logged (by the panic hook as well) and changes nothing else.
pub(crate) fn run_one(callback: Callback) {
    if catch_unwind(AssertUnwindSafe(callback)).is_err() {
        tracing::error!("a callback panicked; the pool and its other callbacks go on");
    }
}
