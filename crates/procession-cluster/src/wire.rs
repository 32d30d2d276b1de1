//! Chunks and answers as bytes. Whoever may publish may publish anything: every length is checked before it is believed.
//!
//! All numbers are little endian. A message begins with its version; who knows another one refuses it.

use std::fmt;
use std::time::Duration;

use procession::{ErrorKind, ErrorReport, Payload};

use crate::chunk::{Answer, Chunk, ChunkId, Fate, Figures, Item};

/// Raised whenever a message is written otherwise.
pub(crate) const VERSION: u8 = 2;

/// Items of a chunk at most.
pub(crate) const ITEMS_MAX: usize = 1 << 16;

/// Arguments of an item, and values of an answer, in bytes at most: what is put aside whole must fit into memory several times.
pub(crate) const BYTES_MAX: usize = 2 << 30;

const VALUE: u8 = 0;
const FAILED: u8 = 1;
const NOT_BEGUN: u8 = 2;
const LOST: u8 = 3;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Version(u8),
    Short,
    Long,
    /// A number that means nothing.
    Odd,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Version(version) => {
                write!(f, "it is of version {version}, and this program reads {VERSION}")
            }
            Flaw::Short => f.write_str("it ends too early"),
            Flaw::Long => f.write_str("it has more than it says"),
            Flaw::Odd => f.write_str("it has a number that means nothing"),
        }
    }
}

pub(crate) fn encode_chunk(chunk: &Chunk) -> Vec<u8> {
    let bytes: usize = chunk.items.iter().map(|item| item.args.as_bytes().len() + 12).sum();
    let mut out = Vec::with_capacity(bytes + 32);
    out.push(VERSION);
    put_u64(&mut out, chunk.id.number());
    // No limit is none, not the shortest.
    put_u64(&mut out, chunk.timeout.map_or(0, nanos));
    out.push(u8::from(chunk.is_alone));
    put_len(&mut out, chunk.items.len());
    for item in &chunk.items {
        put_u64(&mut out, item.index);
        put_bytes(&mut out, item.args.as_bytes());
    }
    out
}

pub(crate) fn decode_chunk(bytes: &[u8]) -> Result<Chunk, Flaw> {
    let mut rest = Cursor::open(bytes)?;
    let id = ChunkId::from(rest.u64()?);
    let timeout = Some(rest.u64()?).filter(|nanos| *nanos > 0).map(Duration::from_nanos);
    let is_alone = rest.flag()?;
    let count = rest.count()?;
    let items =
        (0..count).map(|_| Ok(Item { index: rest.u64()?, args: Payload::from(rest.bytes()?.to_vec()) }));
    let items = items.collect::<Result<Vec<Item>, Flaw>>()?;
    rest.end()?;
    Ok(Chunk { id, timeout, is_alone, items })
}

pub(crate) fn encode_answer(answer: &Answer) -> Vec<u8> {
    encode_answer_within(answer, BYTES_MAX)
}

/// What does not fit any more is a failure: an answer that cannot be read would be asked for again and again.
fn encode_answer_within(answer: &Answer, bytes_max: usize) -> Vec<u8> {
    let mut room = bytes_max;
    let mut out = vec![VERSION];
    put_bytes(&mut out, answer.agent.as_bytes());
    out.push(u8::from(answer.is_suspect));
    put_len(&mut out, answer.fates.len());
    for (index, fate) in &answer.fates {
        put_u64(&mut out, *index);
        match fate {
            Fate::Value(value) => match room.checked_sub(value.as_bytes().len()) {
                Some(left) => {
                    room = left;
                    out.push(VALUE);
                    put_bytes(&mut out, value.as_bytes());
                }
                None => {
                    out.push(FAILED);
                    put_bytes(&mut out, &too_large("its result", 1, value, bytes_max));
                }
            },
            Fate::Failed(report) => {
                out.push(FAILED);
                put_bytes(&mut out, report);
            }
            Fate::NotBegun => out.push(NOT_BEGUN),
            Fate::Lost => out.push(LOST),
        }
    }
    // One more attempt is not worth an answer that cannot be read.
    let figures = &answer.figures[..answer.figures.len().min(ITEMS_MAX)];
    put_len(&mut out, figures.len());
    for figures in figures {
        for number in [figures.first, figures.items, figures.attempt, figures.slot, figures.pid] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for time in [figures.since, figures.busy, figures.cpu] {
            put_u64(&mut out, nanos(time));
        }
        put_u64(&mut out, figures.peak_rss);
    }
    out
}

pub(crate) fn decode_answer(bytes: &[u8]) -> Result<Answer, Flaw> {
    let mut rest = Cursor::open(bytes)?;
    let agent = String::from_utf8_lossy(rest.bytes()?).into_owned();
    let is_suspect = rest.flag()?;
    let count = rest.count()?;
    let fates = (0..count).map(|_| Ok((rest.u64()?, rest.fate()?)));
    let fates = fates.collect::<Result<Vec<(u64, Fate)>, Flaw>>()?;
    let count = rest.count()?;
    let figures = (0..count).map(|_| {
        Ok(Figures {
            first: rest.u32()?,
            items: rest.u32()?,
            attempt: rest.u32()?,
            slot: rest.u32()?,
            pid: rest.u32()?,
            since: Duration::from_nanos(rest.u64()?),
            busy: Duration::from_nanos(rest.u64()?),
            cpu: Duration::from_nanos(rest.u64()?),
            peak_rss: rest.u64()?,
        })
    });
    let figures = figures.collect::<Result<Vec<Figures>, Flaw>>()?;
    rest.end()?;
    Ok(Answer { agent, is_suspect, fates, figures })
}

/// The report of an item whose arguments or result cannot travel.
pub(crate) fn too_large(what: &str, attempts: u32, payload: &Payload, bytes_max: usize) -> Vec<u8> {
    let bytes = payload.as_bytes().len();
    let reason = format!(
        "{what} has {bytes} bytes, and with others at most {bytes_max} travel together: write it to a file that all nodes have, and \
         pass its name"
    );
    serde_json::to_vec(&ErrorReport::new(ErrorKind::TooLarge, attempts, reason)).expect("a report is data")
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("whatever travels is kept below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// What is left of a message.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn open(bytes: &'a [u8]) -> Result<Cursor<'a>, Flaw> {
        let mut rest = Cursor(bytes);
        match rest.u8()? {
            VERSION => Ok(rest),
            version => Err(Flaw::Version(version)),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Flaw::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        self.take(N)?.try_into().map_err(|_| Flaw::Short)
    }

    fn u8(&mut self) -> Result<u8, Flaw> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, Flaw> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Flaw::Odd),
        }
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Flaw> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Flaw> {
        let len = self.u32()?;
        self.take(usize::try_from(len).map_err(|_| Flaw::Short)?)
    }

    /// How many follow: never more than there are bytes for.
    fn count(&mut self) -> Result<usize, Flaw> {
        let count = usize::try_from(self.u32()?).map_err(|_| Flaw::Short)?;
        if count > self.0.len() {
            Err(Flaw::Short)
        } else if count > ITEMS_MAX {
            Err(Flaw::Odd)
        } else {
            Ok(count)
        }
    }

    fn fate(&mut self) -> Result<Fate, Flaw> {
        Ok(match self.u8()? {
            VALUE => Fate::Value(Payload::from(self.bytes()?.to_vec())),
            FAILED => Fate::Failed(self.bytes()?.to_vec()),
            NOT_BEGUN => Fate::NotBegun,
            LOST => Fate::Lost,
            _ => return Err(Flaw::Odd),
        })
    }

    fn end(&self) -> Result<(), Flaw> {
        if self.0.is_empty() { Ok(()) } else { Err(Flaw::Long) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> Chunk {
        let item = |index: u64| Item { index, args: Payload::from(vec![7; index as usize]) };
        let timeout = Some(Duration::from_millis(5));
        Chunk { id: ChunkId::first(2).next(), timeout, is_alone: true, items: [0, 9, 3].map(item).to_vec() }
    }

    fn answer() -> Answer {
        let fates = vec![
            (0, Fate::Value(Payload::from(vec![1, 2]))),
            (9, Fate::Failed(b"{}".to_vec())),
            (3, Fate::NotBegun),
            (4, Fate::Lost),
        ];
        let second = Duration::from_secs(1);
        let figures = Figures {
            first: 1,
            items: 2,
            attempt: 3,
            slot: 4,
            pid: 5,
            since: second,
            busy: 2 * second,
            cpu: 3 * second,
            peak_rss: 6,
        };
        Answer { agent: "a".to_owned(), is_suspect: true, fates, figures: vec![figures] }
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        assert_eq!(decode_chunk(&encode_chunk(&chunk())), Ok(chunk()));
        assert_eq!(decode_answer(&encode_answer(&answer())), Ok(answer()));
        let unlimited = Chunk { timeout: None, ..chunk() };
        assert_eq!(decode_chunk(&encode_chunk(&unlimited)), Ok(unlimited));
    }

    #[test]
    fn what_does_not_fit_is_a_failure_that_can_be_read() {
        let value = |index: u64, bytes| (index, Fate::Value(Payload::from(vec![7; bytes])));
        let fates = vec![value(0, 60), value(1, 60), value(2, 40)];
        let figures = vec![answer().figures[0]; ITEMS_MAX + 1];
        let read = decode_answer(&encode_answer_within(&Answer { fates, figures, ..answer() }, 100));
        let read = read.expect("it can be read");
        assert_eq!(
            (read.figures.len(), &read.fates[0], &read.fates[2]),
            (ITEMS_MAX, &value(0, 60), &value(2, 40))
        );
        let Fate::Failed(report) = &read.fates[1].1 else { panic!("{:?}", read.fates[1]) };
        let report: ErrorReport = serde_json::from_slice(report).expect("it is a report");
        assert_eq!(report.kind, ErrorKind::TooLarge);
        assert!(report.reason.contains("its result has 60 bytes"), "{report:?}");
    }

    #[test]
    fn what_is_cut_off_or_longer_is_refused() {
        let (chunk, answer) = (encode_chunk(&chunk()), encode_answer(&answer()));
        for len in 0..chunk.len() {
            assert_eq!(decode_chunk(&chunk[..len]), Err(Flaw::Short), "{len} bytes");
        }
        for len in 0..answer.len() {
            assert!(decode_answer(&answer[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(decode_chunk(&[&chunk[..], &[0]].concat()), Err(Flaw::Long));
        assert_eq!(decode_answer(&[&answer[..], &[0]].concat()), Err(Flaw::Long));
    }

    #[test]
    fn damage_is_refused_or_read_as_something_but_never_believed_in_size() {
        let mut random = fastrand::Rng::with_seed(7);
        for good in [encode_chunk(&chunk()), encode_answer(&answer())] {
            for _ in 0..20_000 {
                let mut bytes = good.clone();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(..bytes.len());
                    bytes[at] = random.u8(..);
                }
                if let Ok(chunk) = decode_chunk(&bytes) {
                    assert!(chunk.items.len() <= bytes.len());
                }
                if let Ok(answer) = decode_answer(&bytes) {
                    assert!(answer.fates.len() <= bytes.len());
                }
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = encode_chunk(&chunk());
        bytes[0] = 9;
        assert_eq!(decode_chunk(&bytes), Err(Flaw::Version(9)));
        assert_eq!(Flaw::Version(9).to_string(), "it is of version 9, and this program reads 2");
    }
}
