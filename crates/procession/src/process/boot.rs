//! What the master and a process it starts say to each other on the boot socket and the order channel.
//!
//! The first message is the same in every version of this crate, so that different builds can tell each other so:
//! magic, protocol number, and a memory file with the rest. It is sent before the child proves to be one of ours, so
//! it must never fill the socket: hence the file.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::descriptors::{receive_with_descriptors, send_with_descriptors};
use super::settings::SeatSettings;
use crate::codec;

/// Set for a process that the pool starts, to the role it is to play.
pub(super) const ROLE_VARIABLE: &str = "PROCESSION_BOOT";

/// How many pools this process is nested in.
pub(super) const DEPTH_VARIABLE: &str = "PROCESSION_DEPTH";

/// Changes whenever a message here or a frame in `wire` changes.
const PROTOCOL: u32 = 6;
const MAGIC: [u8; 4] = *b"PRCN";

/// Longest reply of a child: a preload's error text with room to spare.
const REPLY_BYTES_MAX: u32 = 64 * 1024;

/// How long a process may take from its start to its first word. Also the limit of any later reply.
pub(super) const REPLY_LIMIT: Duration = Duration::from_secs(10);

/// A secret by which the child knows the master on the order channel.
pub(super) type Nonce = [u8; 16];

/// What a process that was started is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The helper that workers are forked from.
    Zygote,
    /// A worker.
    Worker,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Zygote => "zygote",
            Role::Worker => "worker",
        }
    }

    pub(super) fn parse(name: &std::ffi::OsStr) -> Option<Role> {
        [Role::Zygote, Role::Worker].into_iter().find(|role| name == role.name())
    }
}

/// The master's first message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Boot {
    pub(super) nonce: Nonce,
    /// The child's parent, if all is well: the master.
    pub(super) parent: i32,
    pub(super) identity: Identity,
    /// `TMPDIR` as the worker is to see it.
    pub(super) tmpdir: Option<OsString>,
    pub(super) settings: SeatSettings,
}

/// What must be equal on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Where the program is; for messages only.
    pub(crate) program: String,
    pub(crate) version: String,
    pub(crate) protocol: u32,
    /// Of the registry of tasks; `None`: unknown, since the protocols differ.
    pub(crate) fingerprint: Option<u64>,
}

impl Identity {
    /// Of this process.
    pub(super) fn ours() -> Identity {
        let program = std::env::current_exe().map(|path| path.display().to_string());
        Identity {
            program: program.unwrap_or_else(|_| "unknown program".to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            fingerprint: Some(fingerprint()),
        }
    }

    /// Whether workers of one can serve the other.
    pub(super) fn matches(&self, other: &Identity) -> bool {
        (&self.version, self.protocol, self.fingerprint)
            == (&other.version, other.protocol, other.fingerprint)
    }
}

#[cfg(not(test))]
fn fingerprint() -> u64 {
    crate::registry::fingerprint()
}

/// A test can make a worker of another build by a variable in its environment.
#[cfg(test)]
fn fingerprint() -> u64 {
    let other = std::env::var("PROCESSION_TEST_FINGERPRINT").ok().and_then(|text| text.parse().ok());
    other.unwrap_or_else(crate::registry::fingerprint)
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (procession {}, protocol {}", self.program, self.version, self.protocol)?;
        match self.fingerprint {
            Some(fingerprint) => write!(f, ", tasks {fingerprint:016x})"),
            None => f.write_str(")"),
        }
    }
}

/// What a child says on the boot socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// Connect your order channel here. The listening socket comes along.
    Listening { name: String },
    /// We are different programs.
    Mismatch { theirs: Identity },
    /// I cannot be what I was started for.
    Refused { reason: String },
    /// The preload task returned, or there is none.
    Prepared,
    /// The preload task failed.
    PreloadFailed { message: String },
    /// A worker was forked.
    Forked { pid: i32 },
    /// A worker could not be forked.
    ForkFailed { errno: i32 },
    /// How a worker ended.
    Reaped { pid: i32, status: i32, max_rss: u64, cpu_ns: u64 },
    /// That process is not a dead child of mine.
    NotReaped { pid: i32 },
}

/// What the master says on the order channel. `Fork` is followed by descriptors on the boot socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// The first order: proves that it comes from who wrote [`Boot`].
    Hello { nonce: Nonce },
    /// Make a worker; in role `Worker`: be one.
    Fork(Ends),
    /// Read the status of a worker that is dead.
    Reap { pid: i32 },
}

/// A worker's half of its channels.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ends {
    pub(super) slot: u32,
    pub(super) work: IpcBytesReceiver,
    pub(super) results: IpcBytesSender,
}

/// A fresh secret.
pub(super) fn fresh_nonce() -> io::Result<Nonce> {
    let mut nonce = Nonce::default();
    File::open("/dev/urandom")?.read_exact(&mut nonce)?;
    Ok(nonce)
}

/// Sends the first message. Never blocks: the socket is empty.
pub(super) fn send_boot(stream: &UnixStream, boot: &Boot) -> io::Result<()> {
    let mut bytes = Vec::new();
    codec::encode(boot, &mut bytes).map_err(io::Error::other)?;
    let mut file = File::from(memfd_create(c"procession-boot", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&bytes)?;
    file.rewind()?;
    let mut head = [0; 8];
    head[..4].copy_from_slice(&MAGIC);
    head[4..].copy_from_slice(&PROTOCOL.to_le_bytes());
    send_with_descriptors(stream.as_fd(), &head, &[file.as_fd()])
}

/// Why there is no first message to act on.
#[derive(Debug)]
pub(super) enum BootError {
    /// The other side speaks another version of these messages.
    Protocol,
    /// This is no boot socket, or nobody is there.
    NotABoot(String),
}

/// Receives the first message.
pub(super) fn receive_boot(stream: &UnixStream) -> Result<Boot, BootError> {
    let not_a_boot = |reason: String| BootError::NotABoot(reason);
    let mut head = [0; 8];
    let (read, mut descriptors) =
        receive_with_descriptors(stream.as_fd(), &mut head).map_err(|error| not_a_boot(error.to_string()))?;
    if read != head.len() || head[..4] != MAGIC {
        return Err(not_a_boot("standard input is no socket of a pool".to_owned()));
    }
    if head[4..] != PROTOCOL.to_le_bytes() {
        return Err(BootError::Protocol);
    }
    let file = descriptors.pop().ok_or_else(|| not_a_boot("the settings are missing".to_owned()))?;
    let mut bytes = Vec::new();
    File::from(file).read_to_end(&mut bytes).map_err(|error| not_a_boot(error.to_string()))?;
    codec::decode(&bytes).map_err(|error| not_a_boot(error.to_string()))
}

/// Sends a reply.
pub(super) fn send_reply(mut stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    stream.write_all(&frame(reply)?)
}

/// Says where this process listens, and sends the listening socket along.
pub(super) fn send_listening(stream: &UnixStream, name: String, listener: BorrowedFd<'_>) -> io::Result<()> {
    send_with_descriptors(stream.as_fd(), &frame(&Reply::Listening { name })?, &[listener])
}

fn frame(reply: &Reply) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    codec::encode(reply, &mut bytes).map_err(io::Error::other)?;
    let len = bytes.len() as u32 - 4;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    Ok(bytes)
}

/// Receives a reply, all of it within the time limit. End of stream: `UnexpectedEof`.
pub(super) fn receive_reply<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<T> {
    let until = Instant::now() + REPLY_LIMIT;
    let mut len = [0; 4];
    read_by(until, stream, &mut len)?;
    receive_rest(until, stream, len)
}

/// Receives a child's first reply, and the descriptors that came with it.
pub(super) fn receive_first_reply(stream: &UnixStream) -> io::Result<(Reply, Vec<OwnedFd>)> {
    let until = Instant::now() + REPLY_LIMIT;
    let mut len = [0; 4];
    // Small and sent at once: nothing cuts it.
    match receive_with_descriptors(stream.as_fd(), &mut len)? {
        (4, descriptors) => Ok((receive_rest(until, stream, len)?, descriptors)),
        (read, _) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{read} bytes are no reply"))),
    }
}

fn receive_rest<T: DeserializeOwned>(until: Instant, stream: &UnixStream, len: [u8; 4]) -> io::Result<T> {
    let len = u32::from_le_bytes(len);
    if len > REPLY_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("reply of {len} bytes is too long")));
    }
    let mut bytes = vec![0; len as usize];
    read_by(until, stream, &mut bytes)?;
    codec::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// Fills `bytes`, however many pieces they come in.
fn read_by(until: Instant, mut stream: &UnixStream, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes = &mut bytes[read..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The memory that a worker shares with its master.
#[derive(Debug)]
pub(super) struct SharedFiles<Fd = OwnedFd> {
    pub(super) page: Fd,
    pub(super) window: Fd,
    pub(super) arena: Fd,
}

/// Hands a worker its shared memory and, if there is one, its output pipe.
pub(super) fn send_descriptors(
    stream: &UnixStream,
    files: &SharedFiles<BorrowedFd<'_>>,
    output: Option<&OwnedFd>,
) -> io::Result<()> {
    let files = [files.page, files.window, files.arena];
    let descriptors: Vec<_> = files.into_iter().chain(output.map(AsFd::as_fd)).collect();
    send_with_descriptors(stream.as_fd(), &[0], &descriptors)
}

/// Receives what [`send_descriptors`] sent.
pub(super) fn receive_descriptors(stream: &UnixStream) -> io::Result<(SharedFiles, Option<OwnedFd>)> {
    let (_, descriptors) = receive_with_descriptors(stream.as_fd(), &mut [0])?;
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or(io::Error::from(io::ErrorKind::UnexpectedEof));
    let files = SharedFiles { page: next()?, window: next()?, arena: next()? };
    Ok((files, descriptors.next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_drips_is_not_waited_for() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let dripping = std::thread::spawn(move || {
            while theirs.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let until = Instant::now() + Duration::from_millis(100);
        let refused = read_by(until, &ours, &mut [0; 1 << 20]).unwrap_err();
        assert!(matches!(refused.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{refused}");
        drop(ours);
        dripping.join().unwrap();
    }
}
