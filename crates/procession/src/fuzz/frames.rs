//! Any bytes as frames. What a parser accepts is written anew and must say the same: so it has read what is there.

use super::Script;
use crate::wire::{
    self, LargeResult, PanicReport, PartAssembler, Record, Records, ResultsHeader, Status, ToMaster, ToWorker,
};

pub(super) fn check(bytes: &[u8]) {
    to_master(bytes);
    to_worker(bytes);
    left_behind(bytes);
    parts(&mut Script::new(bytes));
    report(bytes);
}

fn to_master(bytes: &[u8]) {
    let Ok(message) = ToMaster::parse(bytes) else { return };
    let mut again = Vec::new();
    match message {
        ToMaster::SettingUp { step } => wire::setting_up(&mut again, step),
        ToMaster::Ready { fingerprint } => wire::ready(&mut again, fingerprint),
        // Too long a message is cut when it is written.
        ToMaster::InitFailed { message } => {
            assert_eq!(message, &bytes[1..]);
            return;
        }
        ToMaster::Results(view) => again = results(&view.header, view.records(), bytes.len()),
        ToMaster::LargeResult(head) => {
            let LargeResult { frame_no, offset, busy_ns, status, total, usage } = head;
            let head = LargeResult::new(frame_no, offset, busy_ns, status, total as usize);
            let head = head.expect("a length that was read is no longer than one can be");
            wire::large_result(&mut again, &LargeResult { usage, ..head });
        }
        ToMaster::Piece { len } => wire::piece(&mut again, len),
        ToMaster::PartTaken => wire::part_taken(&mut again),
        ToMaster::FrameDone { frame_no } => wire::frame_done(&mut again, frame_no),
        ToMaster::Goodbye => wire::goodbye(&mut again),
        ToMaster::Nudge => wire::nudge(&mut again),
    }
    assert_eq!(again, bytes, "a frame that was read says something else when it is written: {message:?}");
}

/// The same results once more, record by record.
fn results(header: &ResultsHeader, mut records: Records<'_>, len: usize) -> Vec<u8> {
    let mut area = vec![0; len];
    wire::put_results_header(&mut area, header);
    let mut at = wire::RESULTS_HEADER_BYTES;
    assert_eq!(records.length_of(u64::from(header.items)), len - at);
    for _ in 0..header.items {
        let Record { status, payload } = records.take();
        if header.each == 0 {
            at = wire::put_record(&mut area, at, status, payload).expect("it is as long as it was");
        } else {
            assert_eq!(status, Status::Ok);
            area[at..at + payload.len()].copy_from_slice(payload);
            at += payload.len();
        }
    }
    assert!(records.bytes.is_empty(), "bytes follow the last record");
    assert_eq!(at, len);
    area
}

fn to_worker(bytes: &[u8]) {
    let Ok(message) = ToWorker::parse(bytes) else { return };
    match message {
        ToWorker::Work(mut view) => {
            // Every run and every item takes some bytes, so this ends, whatever counts the frame claims.
            let (mut before, mut steps) = (None, 0);
            while let Ok(Some(run)) = view.next_run(before) {
                let mut payloads = run.payloads;
                steps += 1;
                for _ in 0..run.items {
                    let whole = payloads;
                    let Ok(payload) = payloads.next() else { return };
                    assert!(payloads.each() == 0 || payload.len() == payloads.each());
                    if payloads.each() > 0 {
                        let mut whole = whole;
                        assert_eq!(whole.next_alike(), Some(payload));
                    }
                    steps += 1;
                }
                assert!(steps <= bytes.len(), "more items than bytes");
                before = Some(payloads);
            }
        }
        ToWorker::LargeWork(large) => {
            let mut again = Vec::new();
            wire::large_work(
                &mut again,
                large.frame_no,
                large.demands,
                &large.run,
                large.total as usize,
                large.place,
            )
            .expect("a length that was read is no longer than one can be");
            // All but the flags, of which others than ours count for nothing.
            assert_eq!(again[2..], bytes[2..]);
        }
        ToWorker::Part(part) => assert_eq!(part, &bytes[1..]),
        ToWorker::Stop => assert_eq!(bytes.len(), 1),
    }
}

/// As what lies in the page of a dead worker.
fn left_behind(bytes: &[u8]) {
    let Some(sealed) = wire::seal_results(bytes.to_vec()) else { return };
    let Ok(ToMaster::Results(view)) = ToMaster::parse(&sealed) else {
        panic!("what was sealed is no frame of results");
    };
    assert!(view.header.items > 0 && sealed.len() <= wire::FRAME_BYTES_MAX);
    assert_eq!(
        view.records().bytes,
        &bytes[wire::RESULTS_HEADER_BYTES..],
        "the records are those that were left"
    );
}

/// As parts of any length, of a payload of any length.
fn parts(script: &mut Script<'_>) {
    let total = script.u32();
    let mut assembler = PartAssembler::new(total);
    let mut pushed = 0;
    while !assembler.is_complete() {
        let part = script.bytes();
        match assembler.push(part) {
            Ok(is_last) => {
                pushed += part.len();
                assert_eq!((is_last, assembler.is_complete()), (pushed == total as usize, is_last));
            }
            Err(_) => return,
        }
    }
    let whole = assembler.into_bytes();
    assert_eq!((whole.len(), pushed), (total as usize, total as usize));
    assert!(whole.capacity() <= 2 * pushed + 64, "{} bytes for {pushed}", whole.capacity());
}

fn report(bytes: &[u8]) {
    let Ok(report) = PanicReport::decode(bytes) else { return };
    let mut again = Vec::new();
    report.encode(&mut again);
    let read = PanicReport::decode(&again).expect("what is written can be read");
    // What is too long is cut, and what was no text is text now.
    assert!(report.message.starts_with(&read.message) && report.location.starts_with(&read.location));
    assert!(report.stack.frames.len() >= read.stack.frames.len());
}
