//! A worker that scribbles on its page, as a script tells it: whatever stands there, the master finds no more than it
//! offered, and a sound frame or none.

use super::{AREA_BYTES, PageMaster, PageWorker, slot};
use crate::fuzz::Script;
use crate::page::claims::FRAME_ITEMS_MAX;
use crate::page::{Begun, SLOTS};
use crate::wire::{ResultsHeader, Status, ToMaster, put_record, put_results_header};

/// The frame that is offered in a slot, and how it fares.
#[derive(Clone, Copy, Default)]
struct Offered {
    number: u32,
    items: u32,
    begun: u32,
    /// Behind the last item that was not taken back.
    end: u32,
    /// The worker has stopped.
    is_closed: bool,
    /// Somebody has written to its words who should not.
    is_damaged: bool,
}

/// Lives the script to its end.
pub(crate) fn live(script: &mut Script<'_>) {
    let (master, fd) = PageMaster::create().expect("there is memory for a page");
    let mut worker = PageWorker::open(&fd).expect("the page can be opened");
    drop(fd);
    let mut frames = [Offered::default(); SLOTS];
    for (number, frame) in (0..).zip(&mut frames) {
        master.open_slot(number, 0);
        frame.number = number;
    }
    let mut current = 0;
    while let Some(choice) = script.next(10) {
        match choice {
            0 => {
                let number = script.u32();
                let items = script.u32() % (FRAME_ITEMS_MAX + 1);
                current = slot(number);
                master.open_slot(number, items);
                frames[current] = Offered { number, items, end: items, ..Offered::default() };
            }
            1 => begin(&worker, &mut frames[current], script.u8()),
            2 => reclaim(&master, &mut frames[current]),
            3 => master.hasten(frames[current].number),
            4 => {
                current = usize::from(script.u8()) % SLOTS;
            }
            5 => {
                let words = script.u8();
                let begun = (words & 1 != 0).then(|| script.u64());
                let limit = (words & 2 != 0).then(|| script.u64());
                worker.damage(frames[current].number, begun, limit);
                frames[current].is_damaged |= words & 3 != 0;
            }
            6 => worker.stamp(script.u64()),
            7 => {
                // Beyond what an honest worker would commit, and of any epoch.
                let word = script.u64();
                worker.head.words().committed.store(word, std::sync::atomic::Ordering::Release);
                let (at, bytes) = (usize::from(script.u16()), script.bytes());
                let end = (at + bytes.len()).min(AREA_BYTES);
                worker.area()[at.min(end)..end].copy_from_slice(&bytes[..end - at.min(end)]);
            }
            8 => collect(&mut worker, script),
            _ => {
                salvage(&master, script.u32() % 4);
                worker.reset();
            }
        }
        check(&master, &frames[current]);
        salvage(&master, worker.epoch);
    }
    assert_eq!(
        worker.head.words().has_far_barrier.load(std::sync::atomic::Ordering::Acquire) != 0,
        worker.has_light_claims
    );
}

/// The worker begins up to so many of its items, as an honest one does.
fn begin(worker: &PageWorker, frame: &mut Offered, items: u8) {
    let mut claims = worker.claims(frame.number);
    for _ in 0..items {
        if frame.begun > frame.items {
            return;
        }
        match claims.begin(frame.begun) {
            Begun::Yes | Begun::Hastily => {
                assert!(frame.is_damaged || frame.begun < frame.end, "an item that was taken back is begun");
                frame.begun += 1;
            }
            Begun::No => {
                assert!(
                    frame.is_damaged || frame.begun == frame.end || frame.is_closed,
                    "an item is kept from it"
                );
                frame.is_closed = true;
                return;
            }
        }
    }
}

fn reclaim(master: &PageMaster, frame: &mut Offered) {
    let Some((first, end)) = master.reclaim(frame.number) else { return };
    assert!(first < end && end <= frame.items, "{first}..{end} of {} items", frame.items);
    if !frame.is_damaged {
        assert_eq!(
            (first, end),
            (frame.begun, frame.end),
            "all that was not begun is taken back, and nothing else"
        );
        frame.end = first;
    }
}

fn check(master: &PageMaster, frame: &Offered) {
    let claimed = master.claimed(frame.number);
    assert!(claimed.is_none_or(|claimed| claimed <= frame.items));
    if !frame.is_damaged {
        assert_eq!(claimed, Some(frame.begun));
    }
}

/// Results as an honest worker commits them.
fn collect(worker: &mut PageWorker, script: &mut Script<'_>) {
    let header =
        ResultsHeader { items: script.u32(), each: u32::from(script.u8() % 3), ..ResultsHeader::default() };
    let payload = script.bytes();
    let area = worker.area();
    put_results_header(area, &header);
    let at = crate::wire::RESULTS_HEADER_BYTES;
    if let Some(end) = put_record(area, at, Status::Ok, payload) {
        worker.commit(end);
    }
}

fn salvage(master: &PageMaster, epoch: u32) {
    let Some(bytes) = master.salvage(epoch) else { return };
    assert!(bytes.len() <= AREA_BYTES);
    match ToMaster::parse(&bytes) {
        Ok(ToMaster::Results(view)) => assert!(view.header.items > 0),
        other => panic!("what a worker left is no frame of results: {other:?}"),
    }
}
