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
    /// Where the running item's index is to be noted.
    index: &'a Cell<u64>,
    /// Index of the item at position 0, if the run went back so far.
    first_index: u64,
    frame_no: u32,
    end: u32,
    area: Area<'a>,
    at: At<'f>,
    /// A result that cannot be written where it should.
    aside: &'a mut Vec<u8>,
    is_aside: bool,
    is_taken_back: bool,
    damage: Option<WireError>,
}

/// How far a batch has come: all that changes from item to item.
#[derive(Clone, Copy)]
struct At<'f> {
    payloads: Payloads<'f>,
    /// Position in the frame of the item that is under way, or next.
    position: u32,
    /// Position behind the last item that was begun.
    begun: u32,
    collected: Collected,
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
            index,
            first_index: item_index.wrapping_sub(u64::from(position)),
            frame_no,
            end,
            area,
            at: At { payloads, position, begun: position, collected },
            aside,
            is_aside: false,
            is_taken_back: false,
            damage: None,
        }
    }

    pub(crate) fn finish(self) -> Progress<'f> {
        Progress {
            payloads: self.at.payloads,
            collected: self.at.collected,
            position: self.at.position,
            is_under_way: self.at.begun > self.at.position,
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
        if self.at.position == self.end {
            return None;
        }
        let payload = match self.at.payloads.next() {
            Ok(payload) => payload,
            Err(damage) => {
                self.damage = Some(damage);
                return None;
            }
        };
        match self.claims.begin(self.at.position) {
            Begun::Yes => {}
            Begun::Hastily => self.end = self.at.position + 1,
            Begun::No => {
                self.is_taken_back = true;
                return None;
            }
        }
        self.at.begun = self.at.position + 1;
        self.index.set(self.first_index.wrapping_add(u64::from(self.at.position)));
        Some(payload)
    }

    /// Where the result of the item under way goes.
    #[inline]
    fn room(&mut self) -> Room<'_> {
        let header = if self.at.collected.is_uniform { 0 } else { RECORD_HEADER_BYTES };
        let free = self.area.bytes.get_mut(self.at.collected.end + header..).unwrap_or_default();
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
        if self.at.collected.is_uniform && len == self.at.collected.each {
            self.at.collected.end += len;
        } else if !self.at.collected.is_uniform && self.at.collected.header.items > 0 {
            self.at.collected.next_is_uniform &= len == self.at.collected.each;
            put_record_header(&mut self.area.bytes[self.at.collected.end..], Status::Ok, len);
            self.at.collected.end += RECORD_HEADER_BYTES + len;
        } else if !self.end_unlike(len) {
            return false;
        }
        self.at.collected.header.items += 1;
        self.area.commit(self.at.collected.end);
        self.at.position = self.at.begun;
        !self.at.collected.is_full()
    }

    /// The first record of a frame, or one that is unlike those before it.
    #[cold]
    fn end_unlike(&mut self, len: usize) -> bool {
        let Batch { area, at: At { collected, .. }, .. } = self;
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
        let (frame_no, first) = (self.frame_no, self.at.position);
        collected.header = ResultsHeader { frame_no, first, each, ..ResultsHeader::default() };
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
