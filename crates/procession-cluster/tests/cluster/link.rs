//! A line between an agent and its broker that can be cut: then nothing comes through, and nobody is told.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A line on which nothing comes looks so often whether it is cut, or at its end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// See the module. It ends when this is dropped.
pub(crate) struct Link {
    port: u16,
    line: Arc<Line>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Cut,
    Over,
}

struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn become_now(&self, state: State) {
        *self.state() = state;
        self.changed.notify_all();
    }

    /// Waits as long as it is cut; whether it is at its end then.
    fn is_over(&self) -> bool {
        let state = self.changed.wait_while(self.state(), |state| *state == State::Cut);
        *state.unwrap_or_else(PoisonError::into_inner) == State::Over
    }
}

impl Link {
    /// A line to this address.
    pub(crate) fn to(address: &str) -> Link {
        let target = address.strip_prefix("nats://").expect("an address of a broker").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port to spare");
        let port = listener.local_addr().expect("it has one").port();
        let line = Arc::new(Line { state: Mutex::new(State::Whole), changed: Condvar::new() });
        let shared = Arc::clone(&line);
        thread::spawn(move || {
            for near in listener.incoming() {
                if *shared.state() == State::Over {
                    break;
                }
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(&target)) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || carry(from, to, &shared));
                }
            }
        });
        Link { port, line }
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Nothing comes through any more, in either direction, on what is open and on what is opened.
    pub(crate) fn cut(&self) {
        self.line.become_now(State::Cut);
    }

    pub(crate) fn heal(&self) {
        self.line.become_now(State::Whole);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.line.become_now(State::Over);
        // Whoever listens looks when somebody comes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, line: &Line) {
    from.set_read_timeout(Some(LOOK_EVERY)).expect("a socket has a timeout");
    let mut bytes = [0; 16 << 10];
    while !line.is_over() {
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(len) => {
                if to.write_all(&bytes[..len]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
