//! The one thread that runs user callbacks, so that a slow or panicking one harms neither workers nor other calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

type Callback = Box<dyn FnOnce() + Send>;

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
        let running = queue.get_or_insert_with(start);
        // It can only fail if the thread is gone, and the thread ends after us.
        let _ = running.sender.send(callback);
    }

    /// Whether the calling code is inside a callback.
    pub(crate) fn is_current(&self) -> bool {
        self.queue
            .lock()
            .as_ref()
            .is_some_and(|running| running.thread == thread::current().id())
    }
}

fn start() -> Running {
    let (sender, receiver) = channel::<Callback>();
    let handle = thread::Builder::new()
        .name("procession-callbacks".to_owned())
        .spawn(move || {
            for callback in receiver {
                run_one(callback);
            }
        })
        .expect("the system has a thread to spare for callbacks");
    Running {
        sender,
        thread: handle.thread().id(),
    }
}

/// A panicking callback is logged (by the panic hook as well) and changes nothing else.
pub(crate) fn run_one(callback: Callback) {
    if catch_unwind(AssertUnwindSafe(callback)).is_err() {
        tracing::error!("a callback panicked; the pool and its other callbacks go on");
    }
}
