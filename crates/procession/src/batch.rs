//! Items of one run on their way through a task: arguments out of the frame, results into the shared page.
//!
//! A task's own loop drives it, compiled for the task's types, so that a short item costs little more than the task
//! itself. It must not know tasks, channels or scheduling; what to do with a result that does not fit is its owner's
//! business.

mod lane;

use std::cell::Cell;

use lane::Ended;

use crate::codec::{Room, Written};
use crate::page::{AREA_BYTES, Area, Begun, Claims};
use crate::registry::{ParamInfo, TaskFault};
use crate::wire::{
    Payloads, RECORD_HEADER_BYTES, RESULTS_HEADER_BYTES, ResultsHeader, Status, WireError, put_record_header,
    put_results_header,
};

/// Below this much free room a frame is full: most results would not fit.
pub(crate) const ROOM_BYTES_MIN: usize = 256;

/// The results in the shared page that are not sent yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collected {
    pub(crate) header: ResultsHeader,
    /// Where the next record goes.
    pub(crate) end: usize,
    /// Records are values of one length, without headers of their own; or are to be, if there is none yet.
    pub(crate) is_uniform: bool,
    /// By what was seen of these, the next frame's records may be so.
    pub(crate) next_is_uniform: bool,
    /// The length of the first record, if it is a value that a batch wrote. Uniform records are as long.
    each: usize,
}

impl Collected {
    /// Nothing yet.
    pub(crate) fn new(is_uniform: bool) -> Collected {
        Collected {
            header: ResultsHeader::default(),
            end: RESULTS_HEADER_BYTES,
            is_uniform,
            next_is_uniform: is_uniform,
            each: usize::MAX,
        }
    }

    /// What follows these. One record alone tells nothing.
    pub(crate) fn next(&self) -> Collected {
        Collected::new(self.next_is_uniform && (self.is_uniform || self.header.items > 1))
    }

    pub(crate) fn is_full(&self) -> bool {
        is_full(self.end)
    }
}

/// Whether records that end there leave room for no more.
fn is_full(end: usize) -> bool {
    end + ROOM_BYTES_MIN > AREA_BYTES
}

/// What a batch runs its items with. Not a closure: it must be compiled into both loops, and a closure cannot ask for it.
pub trait RunItem {
    /// Makes a result of arguments, and writes it where there is room.
    #[doc(hidden)]
    fn run_item(&self, params: &[ParamInfo], args: &[u8], room: Room<'_>) -> Result<Written, TaskFault>;
}

/// Consecutive items to run before the worker looks at the clock again.
pub struct Batch<'a, 'f> {
    claims: Claims<'a>,
    payloads: Payloads<'f>,
    /// Where the running item's index is to be noted.
    index: &'a Cell<u64>,
    /// Index of the item at position 0, if the run went back so far.
    first_index: u64,
    frame_no: u32,
    /// Position in the frame of the item that is under way, or next.
    position: u32,
    /// Position behind the last item that was begun.
    begun: u32,
    end: u32,
    area: Area<'a>,
    collected: Collected,
    /// A result that cannot be written where it should.
    aside: &'a mut Vec<u8>,
    is_aside: bool,
    is_taken_back: bool,
    damage: Option<WireError>,
}

/// What a batch is made from.
pub(crate) struct BatchParts<'a, 'f> {
    pub(crate) claims: Claims<'a>,
    pub(crate) area: Area<'a>,
    pub(crate) collected: Collected,
    pub(crate) aside: &'a mut Vec<u8>,
    pub(crate) frame_no: u32,
    /// The payloads from `position` on.
    pub(crate) payloads: Payloads<'f>,
    pub(crate) position: u32,
    /// Behind the last item to run.
    pub(crate) end: u32,
    /// Index of the item at `position`.
    pub(crate) item_index: u64,
    pub(crate) index: &'a Cell<u64>,
}

/// How far a batch came.
pub(crate) struct Progress<'f> {
    pub(crate) payloads: Payloads<'f>,
    pub(crate) collected: Collected,
    /// The first item that has no record.
    pub(crate) position: u32,
    /// That item was begun.
    pub(crate) is_under_way: bool,
    /// Its result is set aside.
    pub(crate) is_aside: bool,
    /// That item and all that follow in the frame were taken back.
    pub(crate) is_taken_back: bool,
    pub(crate) damage: Option<WireError>,
}

impl<'a, 'f> Batch<'a, 'f> {
    pub(crate) fn new(parts: BatchParts<'a, 'f>) -> Batch<'a, 'f> {
        let BatchParts {
            claims,
            area,
            collected,
            aside,
            frame_no,
            payloads,
            position,
            end,
            item_index,
            index,
        } = parts;
        Batch {
            claims,
            payloads,
            index,
            first_index: item_index.wrapping_sub(u64::from(position)),
            frame_no,
            position,
            begun: position,
            end,
            area,
            collected,
            aside,
            is_aside: false,
            is_taken_back: false,
            damage: None,
        }
    }

    pub(crate) fn finish(self) -> Progress<'f> {
        Progress {
            payloads: self.payloads,
            collected: self.collected,
            position: self.position,
            is_under_way: self.begun > self.position,
            is_aside: self.is_aside,
            is_taken_back: self.is_taken_back,
            damage: self.damage,
        }
    }

    /// Runs the items one after another.
    ///
    /// # Errors
    /// Why the item under way has no result.
    #[inline]
    pub fn run(&mut self, task: &impl RunItem, params: &[ParamInfo]) -> Result<(), TaskFault> {
        loop {
            if self.has_lane() {
                match self.run_lane(task, params)? {
                    Ended::AtNext => {}
                    Ended::Full => return Ok(()),
                    Ended::Unlike(written) => {
                        if !self.end(written) {
                            return Ok(());
                        }
                    }
                }
            }
            let Some(args) = self.begin() else {
                return Ok(());
            };
            let written = task.run_item(params, args, self.room())?;
            if !self.end(written) {
                return Ok(());
            }
        }
    }

    /// Begins the next item and returns its arguments. `None`: that is all.
    #[inline]
    fn begin(&mut self) -> Option<&'f [u8]> {
        if self.position == self.end {
            return None;
        }
        let payload = match self.payloads.next() {
            Ok(payload) => payload,
            Err(damage) => {
                self.damage = Some(damage);
                return None;
            }
        };
        match self.claims.begin(self.position) {
            Begun::Yes => {}
            Begun::Hastily => self.end = self.position + 1,
            Begun::No => {
                self.is_taken_back = true;
                return None;
            }
        }
        self.begun = self.position + 1;
        self.index.set(self.first_index.wrapping_add(u64::from(self.position)));
        Some(payload)
    }

    /// Where the result of the item under way goes.
    #[inline]
    fn room(&mut self) -> Room<'_> {
        let header = if self.collected.is_uniform { 0 } else { RECORD_HEADER_BYTES };
        let free = self.area.bytes.get_mut(self.collected.end + header..).unwrap_or_default();
        Room::new(free, self.aside)
    }

    /// The item under way has its result. `false`: no other may begin before this batch's owner has seen to it.
    #[inline]
    fn end(&mut self, written: Written) -> bool {
        let Written { len, is_aside } = written;
        if is_aside {
            self.is_aside = true;
            return false;
        }
        if self.collected.is_uniform && len == self.collected.each {
            self.collected.end += len;
        } else if !self.collected.is_uniform && self.collected.header.items > 0 {
            self.collected.next_is_uniform &= len == self.collected.each;
            put_record_header(&mut self.area.bytes[self.collected.end..], Status::Ok, len);
            self.collected.end += RECORD_HEADER_BYTES + len;
        } else if !self.end_unlike(len) {
            return false;
        }
        self.collected.header.items += 1;
        self.area.commit(self.collected.end);
        self.position = self.begun;
        !self.collected.is_full()
    }

    /// The first record of a frame, or one that is unlike those before it.
    #[cold]
    fn end_unlike(&mut self, len: usize) -> bool {
        let Batch { area, collected, .. } = self;
        if collected.header.items > 0 {
            collected.next_is_uniform = false;
            self.aside.clear();
            self.aside.extend_from_slice(&area.bytes[collected.end..collected.end + len]);
            self.is_aside = true;
            return false;
        }
        // A record of no length could not be counted.
        collected.is_uniform &= len > 0;
        collected.next_is_uniform = len > 0;
        let each = if collected.is_uniform { len as u32 } else { 0 };
        collected.header =
            ResultsHeader { frame_no: self.frame_no, first: self.position, items: 0, busy_ns: 0, each };
        put_results_header(area.bytes, &collected.header);
        if collected.is_uniform {
            collected.end += len;
        } else {
            put_record_header(&mut area.bytes[collected.end..], Status::Ok, len);
            collected.end += RECORD_HEADER_BYTES + len;
        }
        collected.each = len;
        true
    }
}
