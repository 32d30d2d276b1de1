//! Collects results in the shared page and sends them from there, as one frame, without another copy.
//!
//! A record is complete in the page before it counts, so a worker that dies loses nothing it had finished. The outbox
//! does not know where results come from.

use std::cell::Cell;
use std::time::Duration;

use super::meter::Meter;
use super::streams::ReplySink;
use crate::batch::{Batch, BatchParts, Collected, Progress};
use crate::page::{AREA_BYTES, PageWorker};
use crate::slab::WindowWriter;
use crate::wire::{
    self, LargeResult, Payloads, RECORD_HEADER_BYTES, RESULTS_HEADER_BYTES, ResultsHeader, Status, Usage,
    put_record, put_results_header,
};

/// Largest payload of a record; beyond it a result passes through the window.
const RECORD_BYTES_MAX: usize = AREA_BYTES - RESULTS_HEADER_BYTES - RECORD_HEADER_BYTES;

/// A buffer for results set aside that grew beyond this is given back.
const ASIDE_CAPACITY_KEPT: usize = 8 << 20;

/// How often to look for room in the window before sleeping, and how long to sleep at first and at last.
const SPINS_MAX: u32 = 1_000;
const NAP: Duration = Duration::from_micros(20);
const NAP_MAX: Duration = Duration::from_millis(1);

/// While it waits, a worker says this rarely that it is still there.
const NAPS_PER_SIGN: u32 = 100;

/// The channel to the master does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendFailed;

pub(super) struct Outbox<'a, K> {
    sink: &'a K,
    page: PageWorker,
    /// What does not fit the page passes through here.
    window: WindowWriter,
    collected: Collected,
    segment_start_ns: u64,
    /// Of the items of this frame, if that is asked for.
    meter: Option<Meter>,
    /// Results that did not fit where they should go.
    aside: Vec<u8>,
    /// For frames other than results.
    scratch: Vec<u8>,
}

impl<'a, K: ReplySink> Outbox<'a, K> {
    pub(super) fn new(sink: &'a K, page: PageWorker, window: WindowWriter) -> Outbox<'a, K> {
        Outbox {
            sink,
            page,
            window,
            collected: Collected::new(true),
            segment_start_ns: 0,
            meter: None,
            aside: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(super) fn page(&self) -> &PageWorker {
        &self.page
    }

    /// Time counts as busy from now, which is returned. `measured`: so does what is used.
    pub(super) fn begin_frame(&mut self, measured: bool) -> u64 {
        self.meter = measured.then(Meter::start);
        self.segment_start_ns = self.page.now_ns();
        self.segment_start_ns
    }

    /// How long the oldest result has waited, at most. 0: none waits.
    pub(super) fn waiting_ns(&self, now_ns: u64) -> u64 {
        if self.collected.header.items == 0 { 0 } else { now_ns.saturating_sub(self.segment_start_ns) }
    }

    /// Notes how long the results in the page took, in case the next item takes long and the master reads them there.
    pub(super) fn note_busy(&mut self, now_ns: u64) {
        if self.collected.header.items > 0 {
            self.collected.header.busy_ns = now_ns.saturating_sub(self.segment_start_ns);
            put_results_header(self.page.area(), &self.collected.header);
        }
    }

    /// A batch of the items of a frame from `position` up to `end`, whose results are collected here. What becomes of
    /// it is to be told to [`resume`](Outbox::resume) before anything else.
    pub(super) fn batch<'b, 'f>(
        &'b mut self,
        frame_no: u32,
        payloads: Payloads<'f>,
        position: u32,
        end: u32,
        item_index: u64,
        index: &'b Cell<u64>,
    ) -> Batch<'b, 'f> {
        let (claims, area) = self.page.parts(frame_no);
        let (collected, aside) = (self.collected, &mut self.aside);
        let parts = BatchParts {
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
        };
        Batch::new(parts)
    }

    /// Goes on from where a batch came to.
    pub(super) fn resume(&mut self, progress: &Progress<'_>) {
        self.collected = progress.collected;
    }

    /// Gives the memory for results set aside back.
    pub(super) fn give_back(&mut self) {
        self.aside = Vec::new();
    }

    /// Whether the result that a batch set aside is too large for the page.
    pub(super) fn is_large_aside(&self) -> bool {
        self.aside.len() > RECORD_BYTES_MAX
    }

    /// Takes the result that a batch set aside.
    pub(super) fn record_aside(&mut self, frame_no: u32, position: u32) -> Result<(), SendFailed> {
        let mut aside = std::mem::take(&mut self.aside);
        let recorded = self.record(frame_no, position, Status::Ok, &aside);
        aside.clear();
        aside.shrink_to(ASIDE_CAPACITY_KEPT);
        self.aside = aside;
        recorded
    }

    /// Sends what has been collected, if nearly nothing more fits.
    pub(super) fn flush_if_full(&mut self) -> Result<(), SendFailed> {
        if self.collected.is_full() { self.flush() } else { Ok(()) }
    }

    /// Takes the outcome of the next item of a frame.
    pub(super) fn record(
        &mut self,
        frame_no: u32,
        position: u32,
        status: Status,
        payload: &[u8],
    ) -> Result<(), SendFailed> {
        if payload.len() > RECORD_BYTES_MAX {
            self.flush()?;
            return self.send_large(frame_no, position, status, payload);
        }
        let is_alike = |header: &ResultsHeader| {
            header.each == 0 || (status == Status::Ok && header.each as usize == payload.len())
        };
        if self.collected.end + RECORD_HEADER_BYTES + payload.len() > AREA_BYTES
            || !is_alike(&self.collected.header)
        {
            self.collected.next_is_uniform = false;
            self.flush()?;
        }
        let collected = &mut self.collected;
        if collected.header.items == 0 {
            collected.header = ResultsHeader { frame_no, first: position, ..ResultsHeader::default() };
            collected.is_uniform = false;
            put_results_header(self.page.area(), &collected.header);
        }
        if collected.is_uniform {
            let end = collected.end + payload.len();
            self.page.area()[collected.end..end].copy_from_slice(payload);
            collected.end = end;
        } else {
            collected.next_is_uniform = false;
            collected.end = put_record(self.page.area(), collected.end, status, payload)
                .expect("room for the record was checked");
        }
        collected.header.items += 1;
        self.page.commit(collected.end);
        self.flush_if_full()
    }

    /// Sends what has been collected, if anything.
    pub(super) fn flush(&mut self) -> Result<(), SendFailed> {
        if self.collected.header.items == 0 {
            return Ok(());
        }
        self.collected.header.busy_ns = self.end_segment();
        self.collected.header.usage = self.used();
        put_results_header(self.page.area(), &self.collected.header);
        let end = self.collected.end;
        self.sink.send(&self.page.area()[..end]).map_err(|_| SendFailed)?;
        // Only now: until the frame is sent, the master would find its records here.
        self.page.reset();
        self.collected = self.collected.next();
        Ok(())
    }

    /// Sends another frame.
    pub(super) fn send_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendFailed> {
        write(&mut self.scratch);
        self.sink.send(&self.scratch).map_err(|_| SendFailed)
    }

    fn send_large(
        &mut self,
        frame_no: u32,
        position: u32,
        status: Status,
        payload: &[u8],
    ) -> Result<(), SendFailed> {
        let busy_ns = self.end_segment();
        let head = match LargeResult::new(frame_no, position, busy_ns, status, payload.len()) {
            Ok(head) => LargeResult { usage: self.used(), ..head },
            Err(too_large) => {
                return self.record(frame_no, position, Status::TooLarge, too_large.to_string().as_bytes());
            }
        };
        self.send_with(|frame| wire::large_result(frame, &head))?;
        let (mut rest, mut waited) = (payload, 0);
        while !rest.is_empty() {
            match self.window.write(rest) {
                0 => {
                    self.wait_for_room(waited)?;
                    waited += 1;
                }
                len => {
                    self.send_with(|frame| wire::piece(frame, len as u32))?;
                    (rest, waited) = (&rest[len..], 0);
                }
            }
        }
        Ok(())
    }

    /// The window is full, because the master's thread that reads it does not run just now: nothing else keeps it. It
    /// is not asked to tell when there is room, since what it sends a worker must never be able to block it.
    fn wait_for_room(&mut self, waited: u32) -> Result<(), SendFailed> {
        if waited < SPINS_MAX {
            std::hint::spin_loop();
            return Ok(());
        }
        let naps = waited - SPINS_MAX;
        std::thread::sleep(NAP.saturating_mul(naps + 1).min(NAP_MAX));
        // A master that is gone is noticed by sending.
        if naps % NAPS_PER_SIGN == NAPS_PER_SIGN - 1 {
            self.send_with(|frame| wire::piece(frame, 0))?;
        }
        Ok(())
    }

    /// What was used since this was asked last.
    fn used(&mut self) -> Usage {
        self.meter.as_mut().map_or_else(Usage::default, Meter::read)
    }

    fn end_segment(&mut self) -> u64 {
        let now_ns = self.page.now_ns();
        let busy_ns = now_ns.saturating_sub(self.segment_start_ns);
        self.segment_start_ns = now_ns;
        busy_ns
    }
}
