//! Frames come back as they were written, and any bytes are read without harm.

use super::super::noise::hammer;
use super::*;

const USAGE: Usage = Usage { cpu_ns: 70, peak_rss_kib: 9 };
const HEADER: ResultsHeader =
    ResultsHeader { frame_no: 5, first: 2, items: 3, busy_ns: 77, each: 0, usage: USAGE };

fn results(items: u32) -> Vec<u8> {
    let mut area = vec![0; 128];
    put_results_header(&mut area, &ResultsHeader { items, ..HEADER });
    let mut at = RESULTS_HEADER_BYTES;
    for (status, payload) in
        [(Status::Ok, &b"four"[..]), (Status::Ok, b""), (Status::EncodeResult, b"too odd")]
    {
        at = put_record(&mut area, at, status, payload).unwrap();
    }
    area.truncate(at);
    area
}

fn walk(bytes: &[u8]) {
    if let Ok(ToMaster::Results(view)) = ToMaster::parse(bytes) {
        let records = view.records();
        assert_eq!(records.length_of(u64::from(view.header.items)), records.bytes.len());
    }
    if let Some(sealed) = seal_results(bytes.to_vec()) {
        assert!(matches!(ToMaster::parse(&sealed), Ok(ToMaster::Results(_))));
    }
}

#[test]
fn results_come_back_as_they_were_written() {
    let bytes = results(3);
    let ToMaster::Results(view) = ToMaster::parse(&bytes).unwrap() else { panic!("not results") };
    assert_eq!(view.header, HEADER);
    let mut records = view.records();
    let read: Vec<_> = (0..3).map(|_| records.take()).collect();
    assert_eq!(records.bytes, b"");
    assert_eq!(
        read,
        [
            Record { status: Status::Ok, payload: b"four" },
            Record { status: Status::Ok, payload: b"" },
            Record { status: Status::EncodeResult, payload: b"too odd" },
        ]
    );
}

fn uniform(items: u32) -> Vec<u8> {
    let mut area = vec![0; RESULTS_HEADER_BYTES];
    put_results_header(&mut area, &ResultsHeader { items, each: 2, ..HEADER });
    area.extend_from_slice(b"aabbcc");
    area
}

#[test]
fn values_of_one_length_need_no_headers() {
    let bytes = uniform(3);
    let ToMaster::Results(view) = ToMaster::parse(&bytes).unwrap() else { panic!("not results") };
    let mut records = view.records();
    assert_eq!(records.length_of(2), 4);
    assert_eq!(records.take(), Record { status: Status::Ok, payload: b"aa" });
    for items in [0, 2, 4, u32::MAX] {
        assert!(ToMaster::parse(&uniform(items)).is_err(), "{items} items");
        let sealed = seal_results(uniform(items)).unwrap();
        let ToMaster::Results(view) = ToMaster::parse(&sealed).unwrap() else { panic!("not results") };
        assert_eq!(view.header, ResultsHeader { each: 2, ..HEADER });
    }
    let mut cut = uniform(3);
    cut.pop();
    assert!(ToMaster::parse(&cut).is_err());
    assert_eq!(seal_results(cut), None);
    hammer(&bytes, walk);
}

#[test]
fn a_wrong_count_is_refused_and_sealing_corrects_it() {
    for items in [0, 2, 4, u32::MAX] {
        let bytes = results(items);
        assert!(ToMaster::parse(&bytes).is_err(), "{items} items");
        let sealed = seal_results(bytes).unwrap();
        let ToMaster::Results(view) = ToMaster::parse(&sealed).unwrap() else { panic!("not results") };
        assert_eq!(view.header, HEADER);
    }
    let mut cut = results(3);
    cut.pop();
    assert_eq!(seal_results(cut), None);
    assert_eq!(seal_results(results(3)[..RESULTS_HEADER_BYTES].to_vec()), None);
}

#[test]
fn a_record_that_does_not_fit_leaves_the_area_alone() {
    let mut area = [9; 10];
    assert_eq!(put_record(&mut area, 2, Status::Ok, b"abcd"), None);
    assert_eq!(area, [9; 10]);
    assert_eq!(put_record(&mut area, 2, Status::Ok, b"abc"), Some(10));
}

#[test]
fn small_frames_come_back() {
    let mut out = Vec::new();
    ready(&mut out, 0xfeed);
    assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::Ready { fingerprint: 0xfeed })));
    hammer(&out, walk);
    setting_up(&mut out, 1);
    assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::SettingUp { step: 1 })));
    init_failed(&mut out, "no such file");
    assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::InitFailed { message: b"no such file" })));
    init_failed(&mut out, &"ä".repeat(100_000));
    assert!(out.len() <= FRAME_BYTES_MAX);
    piece(&mut out, 77);
    assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::Piece { len: 77 })));
    hammer(&out, walk);
    part_taken(&mut out);
    assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::PartTaken)));
    goodbye(&mut out);
    assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::Goodbye)));
    nudge(&mut out);
    assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::Nudge)));
    out.push(0);
    assert!(ToMaster::parse(&out).is_err());
    let head = LargeResult::new(1, 2, 3, Status::Ok, 4).unwrap();
    large_result(&mut out, &head);
    assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::LargeResult(read)) if read == head));
    hammer(&out, walk);
}

#[test]
fn any_bytes_are_read_without_panic() {
    hammer(&results(3), walk);
    assert!(ToMaster::parse(&[]).is_err());
    assert_eq!(ToMaster::parse(&[kind::STOP]).unwrap_err(), WireError::UnknownKind { kind: kind::STOP });
}
