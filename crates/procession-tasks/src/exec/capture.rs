//! What two pipes carry, read at the same time by one thread and kept up to a bound. It knows no commands.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::patience::Patience;

/// Most bytes taken at once.
const CHUNK_BYTES: usize = 16 << 10;

/// What is kept of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// The first ones.
    pub(super) bytes: Vec<u8>,
    /// There were more.
    pub(super) is_cut: bool,
}

struct Stream {
    /// `None`: it has ended.
    pipe: Option<File>,
    kept: Kept,
}

/// Both streams of a command.
pub(super) struct Streams {
    both: [Stream; 2],
    bound: usize,
}

impl Streams {
    /// Up to `bound` bytes of each are kept. The rest is read too, so that no writer has to wait.
    pub(super) fn new(pipes: [Option<OwnedFd>; 2], bound: usize) -> Streams {
        let both = pipes.map(|pipe| Stream { pipe: pipe.map(File::from), kept: Kept::default() });
        Streams { both, bound }
    }

    /// Reads both to their ends, and waits until `end` is readable, if it is given. False: the time was over before.
    pub(super) fn read(&mut self, end: Option<&OwnedFd>, mut patience: Patience) -> io::Result<bool> {
        let mut end = end.map(AsFd::as_fd);
        loop {
            let open = self.both.each_ref().map(|stream| stream.pipe.is_some());
            if open == [false, false] && end.is_none() {
                return Ok(true);
            }
            // With a single thing to wait for and all the time, reading it is waiting.
            let is_waiting = open != [true, false] && open != [false, true] || end.is_some();
            let ready = if is_waiting || patience.sleep().is_some() {
                let pipes = self.both.each_ref().map(|stream| stream.pipe.as_ref().map(AsFd::as_fd));
                wait([pipes[0], pipes[1], end], &patience)?
            } else {
                [open[0], open[1], false]
            };
            for (stream, is_ready) in self.both.iter_mut().zip(ready) {
                if is_ready {
                    stream.read(self.bound)?;
                }
            }
            if ready[2] {
                end = None;
            }
            if patience.is_over() {
                return Ok(false);
            }
        }
    }

    pub(super) fn into_kept(self) -> [Kept; 2] {
        self.both.map(|stream| stream.kept)
    }
}

/// Which of them have something to read, or have ended.
fn wait(of: [Option<BorrowedFd<'_>>; 3], patience: &Patience) -> io::Result<[bool; 3]> {
    let timeout = match patience.sleep() {
        // Rounded up: what is left of a millisecond is no reason to ask again and again.
        Some(sleep) => PollTimeout::from(u16::try_from(sleep.as_millis() + 1).unwrap_or(u16::MAX)),
        None => PollTimeout::NONE,
    };
    let mut given: Vec<PollFd<'_>> =
        of.iter().flatten().map(|&fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    match poll(&mut given, timeout) {
        Err(Errno::EINTR) => return Ok([false; 3]),
        Err(errno) => return Err(errno.into()),
        Ok(_) => {}
    }
    let mut asked = given.iter();
    let is_ready = |fd: Option<BorrowedFd<'_>>| match fd {
        Some(_) => asked.next().is_some_and(|fd| fd.any().unwrap_or(true)),
        None => false,
    };
    Ok(of.map(is_ready))
}

impl Stream {
    fn read(&mut self, bound: usize) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut chunk = [0; CHUNK_BYTES];
        match pipe.read(&mut chunk) {
            Ok(0) => self.pipe = None,
            Ok(len) => self.kept.take(&chunk[..len], bound),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Kept {
    fn take(&mut self, bytes: &[u8], bound: usize) {
        let len = bytes.len().min(bound - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..len]);
        self.is_cut |= len < bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Both streams, each written by a thread of its own, and what is kept of them.
    fn kept(written: [usize; 2], bound: usize) -> [(usize, bool); 2] {
        let both = written.map(|len| (std::io::pipe().expect("a pipe"), len));
        let writers = both.map(|((reader, mut writer), len)| {
            let writing = std::thread::spawn(move || writer.write_all(&vec![7; len]));
            (OwnedFd::from(reader), writing)
        });
        let [(first, a), (second, b)] = writers;
        let mut streams = Streams::new([Some(first), Some(second)], bound);
        assert!(streams.read(None, Patience::new(None)).expect("pipes can be read"));
        let kept = streams.into_kept();
        for writing in [a, b] {
            writing.join().expect("no panic").expect("all of it was taken");
        }
        kept.map(|kept| (kept.bytes.len(), kept.is_cut))
    }

    #[test]
    fn each_stream_is_kept_up_to_the_bound_and_read_to_its_end() {
        let bound = 200_000;
        assert_eq!(kept([0, 5], bound), [(0, false), (5, false)]);
        assert_eq!(kept([bound, bound + 1], bound), [(bound, false), (bound, true)]);
        assert_eq!(kept([3_000_000, 10], bound), [(bound, true), (10, false)]);
        assert_eq!(kept([1, 2_000_000], 0), [(0, true), (0, true)]);
    }
}
