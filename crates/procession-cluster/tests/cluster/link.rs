//! A line between an agent and its broker that can be cut: then nothing comes through, and nobody is told.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a line looks whether it is cut, or at its end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// See the module. It ends when this is dropped.
pub(crate) struct Link {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    is_over: AtomicBool,
}

impl Link {
    /// A line to this address.
    pub(crate) fn to(address: &str) -> Link {
        let target = address.strip_prefix("nats://").expect("an address of a broker").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port to spare");
        let port = listener.local_addr().expect("it has one").port();
        listener.set_nonblocking(true).expect("a listener can be asked");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while !shared.is_over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((near, _)) => {
                        let Ok(far) = TcpStream::connect(&target) else { continue };
                        for (from, to) in [(&near, &far), (&far, &near)] {
                            let ends = (from.try_clone(), to.try_clone());
                            let (Ok(from), Ok(to)) = ends else { continue };
                            let shared = Arc::clone(&shared);
                            thread::spawn(move || carry(from, to, &shared));
                        }
                    }
                    Err(_) => thread::sleep(LOOK_EVERY),
                }
            }
        });
        Link { port, state }
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Nothing comes through any more, in either direction, on what is open and on what is opened.
    pub(crate) fn cut(&self) {
        self.state.is_cut.store(true, Ordering::Relaxed);
    }

    pub(crate) fn heal(&self) {
        self.state.is_cut.store(false, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let timeout = from.set_nonblocking(false).and_then(|()| from.set_read_timeout(Some(LOOK_EVERY)));
    timeout.expect("a socket has a timeout");
    let mut bytes = [0; 16 << 10];
    loop {
        if state.is_over.load(Ordering::Relaxed) {
            break;
        }
        if state.is_cut.load(Ordering::Relaxed) {
            thread::sleep(LOOK_EVERY);
            continue;
        }
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
