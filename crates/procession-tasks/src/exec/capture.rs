//! What two pipes carry, read at the same time by one thread and kept up to a bound. It knows no commands.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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

/// Reads both to their ends, and keeps up to `bound` bytes of each. The rest is read too, so that no writer has to wait.
pub(super) fn read_both(pipes: [OwnedFd; 2], bound: usize) -> io::Result<[Kept; 2]> {
    let mut streams = pipes.map(|pipe| Stream { pipe: Some(File::from(pipe)), kept: Kept::default() });
    loop {
        let ready = match streams.each_ref().map(|stream| stream.pipe.as_ref()) {
            [None, None] => return Ok(streams.map(|stream| stream.kept)),
            [Some(_), None] => [true, false],
            [None, Some(_)] => [false, true],
            [Some(first), Some(second)] => wait(first, second)?,
        };
        for (stream, is_ready) in streams.iter_mut().zip(ready) {
            if is_ready {
                stream.read(bound)?;
            }
        }
    }
}

/// Which of the two have something to read, or have ended.
fn wait(first: &File, second: &File) -> io::Result<[bool; 2]> {
    let mut both = [first, second].map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
    loop {
        match poll(&mut both, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(both.map(|pipe| pipe.any().unwrap_or(true))),
        }
    }
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
        let kept = read_both([first, second], bound).expect("pipes can be read");
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
