//! Collects results in the shared page and sends them from there, as one frame, without another copy.
//!
//! A record is complete in the page before it counts, so a worker that dies loses nothing it had finished. The outbox
//! does not know where results come from.

use super::streams::ReplySink;
use crate::page::{AREA_BYTES, PageWorker, monotonic_ns};
use crate::wire::{
    self, LargeResult, RECORD_HEADER_BYTES, RESULTS_HEADER_BYTES, ResultsHeader, Status, put_record,
    put_results_header,
};

/// Largest payload of a record; beyond it a result travels in parts.
const RECORD_BYTES_MAX: usize = AREA_BYTES - RESULTS_HEADER_BYTES - RECORD_HEADER_BYTES;

/// Below this much free room a frame is full: most results would not fit.
const ROOM_BYTES_MIN: usize = 256;

/// The channel to the master does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendFailed;

pub(super) struct Outbox<'a, K> {
    sink: &'a K,
    page: PageWorker,
    header: ResultsHeader,
    /// Where the next record goes.
    end: usize,
    segment_start_ns: u64,
    /// For frames other than results.
    scratch: Vec<u8>,
}

impl<'a, K: ReplySink> Outbox<'a, K> {
    pub(super) fn new(sink: &'a K, page: PageWorker) -> Outbox<'a, K> {
        let header = ResultsHeader { frame_no: 0, first: 0, items: 0, busy_ns: 0 };
        Outbox { sink, page, header, end: RESULTS_HEADER_BYTES, segment_start_ns: 0, scratch: Vec::new() }
    }

    pub(super) fn page(&self) -> &PageWorker {
        &self.page
    }

    /// Time counts as busy from here.
    pub(super) fn begin_segment(&mut self, now_ns: u64) {
        self.segment_start_ns = now_ns;
    }

    /// How long the oldest result has waited, at most. 0: none waits.
    pub(super) fn is_waiting_since(&self, now_ns: u64) -> u64 {
        if self.header.items == 0 { 0 } else { now_ns.saturating_sub(self.segment_start_ns) }
    }

    /// Notes how long the results in the page took, in case the next item takes long and the master reads them there.
    pub(super) fn note_busy(&mut self, now_ns: u64) {
        if self.header.items > 0 {
            self.header.busy_ns = now_ns.saturating_sub(self.segment_start_ns);
            put_results_header(self.page.area(), &self.header);
        }
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
        if self.end + RECORD_HEADER_BYTES + payload.len() > AREA_BYTES {
            self.flush()?;
        }
        if self.header.items == 0 {
            self.header = ResultsHeader { frame_no, first: position, items: 0, busy_ns: 0 };
            put_results_header(self.page.area(), &self.header);
        }
        self.end =
            put_record(self.page.area(), self.end, status, payload).expect("room for the record was checked");
        self.header.items += 1;
        self.page.commit(self.end);
        if self.end + ROOM_BYTES_MIN > AREA_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends what has been collected, if anything.
    pub(super) fn flush(&mut self) -> Result<(), SendFailed> {
        if self.header.items == 0 {
            return Ok(());
        }
        self.header.busy_ns = self.end_segment();
        put_results_header(self.page.area(), &self.header);
        let end = self.end;
        self.sink.send(&self.page.area()[..end]).map_err(|_| SendFailed)?;
        // Only now: until the frame is sent, the master would find its records here.
        self.page.reset();
        self.header.items = 0;
        self.end = RESULTS_HEADER_BYTES;
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
            Ok(head) => head,
            Err(too_large) => {
                return self.record(frame_no, position, Status::TooLarge, too_large.to_string().as_bytes());
            }
        };
        self.send_with(|frame| wire::large_result(frame, &head))?;
        for bytes in wire::parts(payload) {
            self.send_with(|frame| wire::part(frame, bytes))?;
        }
        Ok(())
    }

    fn end_segment(&mut self) -> u64 {
        let now_ns = monotonic_ns();
        let busy_ns = now_ns.saturating_sub(self.segment_start_ns);
        self.segment_start_ns = now_ns;
        busy_ns
    }
}
