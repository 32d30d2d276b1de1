//! The transport alone: what ipc-channel costs between two processes, with nothing of ours in between.

use std::error::Error;
use std::process::Command;
use std::time::Instant;

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender};
use serde::{Deserialize, Serialize};

use crate::arguments::EchoKind;

const ROUND_TRIPS: u64 = 20_000;
const MESSAGES: u64 = 200_000;

/// Both directions of numbers, as the echo process hands them over.
type Numbers = (IpcSender<(u64, u64)>, IpcReceiver<(u64, u64)>);
/// Both directions of bytes.
type Bytes = (IpcBytesSender, IpcBytesReceiver);

/// In the echo process: answers until the other end is gone.
pub(crate) fn echo(kind: EchoKind, name: &str) -> Result<(), Box<dyn Error>> {
    let name = name.to_owned();
    match kind {
        EchoKind::Numbers => {
            let (to_us, ours) = ipc::channel()?;
            let (theirs, from_us) = ipc::channel()?;
            IpcSender::<Numbers>::connect(name)?.send((to_us, from_us))?;
            while let Ok((number, answer)) = ours.recv() {
                if answer != 0 {
                    theirs.send((number, answer))?;
                }
            }
        }
        EchoKind::Bytes | EchoKind::Lengths => {
            let (to_us, ours) = ipc::bytes_channel()?;
            let (theirs, from_us) = ipc::bytes_channel()?;
            IpcSender::<Bytes>::connect(name)?.send((to_us, from_us))?;
            while let Ok(bytes) = ours.recv() {
                match kind {
                    EchoKind::Lengths => theirs.send(&bytes.len().to_le_bytes())?,
                    EchoKind::Bytes | EchoKind::Numbers => theirs.send(&bytes)?,
                }
            }
        }
    }
    Ok(())
}

/// Nanoseconds per message there and back. The echo process runs where this one may.
pub(crate) fn ping_pong() -> Result<f64, Box<dyn Error>> {
    with_echo(EchoKind::Numbers, |(sender, receiver): Numbers| {
        let start = Instant::now();
        for number in 0..ROUND_TRIPS {
            sender.send((number, 1))?;
            receiver.recv()?;
        }
        Ok(start.elapsed().as_nanos() as f64 / ROUND_TRIPS as f64)
    })
}

/// Nanoseconds per message one way.
pub(crate) fn stream() -> Result<f64, Box<dyn Error>> {
    with_echo(EchoKind::Numbers, |(sender, receiver): Numbers| {
        let start = Instant::now();
        for number in 0..MESSAGES {
            sender.send((number, u64::from(number + 1 == MESSAGES)))?;
        }
        receiver.recv()?;
        Ok(start.elapsed().as_nanos() as f64 / MESSAGES as f64)
    })
}

/// Bytes a second, both ways together.
pub(crate) fn bytes_echo(length: usize, times: usize) -> Result<f64, Box<dyn Error>> {
    let bytes = vec![1; length];
    with_echo(EchoKind::Bytes, |(sender, receiver): Bytes| {
        sender.send(&bytes)?;
        receiver.recv()?;
        let start = Instant::now();
        for _ in 0..times {
            sender.send(&bytes)?;
            receiver.recv()?;
        }
        Ok((2 * length * times) as f64 / start.elapsed().as_secs_f64())
    })
}

/// Bytes a second, one way; the answer is a few bytes.
pub(crate) fn bytes_one_way(bytes: &[u8], times: usize) -> Result<f64, Box<dyn Error>> {
    with_echo(EchoKind::Lengths, |(sender, receiver): Bytes| {
        sender.send(bytes)?;
        receiver.recv()?;
        let start = Instant::now();
        for _ in 0..times {
            sender.send(bytes)?;
            receiver.recv()?;
        }
        Ok((bytes.len() * times) as f64 / start.elapsed().as_secs_f64())
    })
}

fn with_echo<E: Serialize + for<'de> Deserialize<'de>>(
    kind: EchoKind,
    measure: impl FnOnce(E) -> Result<f64, Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let (server, name) = IpcOneShotServer::<E>::new()?;
    let mut child = Command::new(std::env::current_exe()?).args(["echo", kind.word(), &name]).spawn()?;
    let (_, ends) = server.accept()?;
    // The ends are dropped by then, which ends the echo process.
    let result = measure(ends);
    child.wait()?;
    result
}
