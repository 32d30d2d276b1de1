//! Items that go by between two looks at the clock.

use super::*;

/// Enough items to make strides long, then these.
fn after_quick_ones<'a>(payloads: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut all: Vec<&[u8]> = vec![b"quick"; 200];
    all.extend(payloads);
    all
}

#[test]
fn whatever_happens_in_a_stride_is_the_outcome_of_its_item_alone() {
    let ends: [&[u8]; 8] = [b"panic", b"quick", b"bad", b"longer", b"", b"panic", b"panic", b"last"];
    let bench = Bench::new();
    bench.run_of(1, TOLD, &after_quick_ones(&ends));
    let (_, frames, master) = bench.run();
    let records = records(&frames);
    let positions: Vec<u32> = records.iter().map(|(_, position, _)| *position).collect();
    assert_eq!(positions, (0..208).collect::<Vec<_>>(), "each has one outcome, in order");
    for (_, position, (status, payload)) in &records {
        let (expected, text): (_, &[u8]) = match position {
            200 | 205 | 206 => (Status::Panicked, b""),
            202 => (Status::DecodeArgs, b"no such argument"),
            203 => (Status::Ok, b"longer"),
            204 => (Status::Ok, b""),
            207 => (Status::Ok, b"last"),
            _ => (Status::Ok, b"quick"),
        };
        assert_eq!(*status, expected, "item {position}");
        if expected == Status::Panicked {
            assert_eq!(PanicReport::decode(payload).unwrap().message, "told to");
        } else {
            assert_eq!(payload, text, "item {position}");
        }
    }
    assert_eq!(master.claimed(1), Some(208));
}

/// The same where arguments have one length, and most results.
#[test]
fn whatever_happens_among_items_that_are_alike_is_the_outcome_of_its_item_alone() {
    let ends: [&[u8]; 6] = [b"panic", b"fault", b"short", b"large", b"bulky", b"haste"];
    for end in ends {
        let mut payloads = after_quick_ones(&[end, b"quick", b"quick", end, b"quick"]);
        payloads.extend(after_quick_ones(&[b"taken", b"never"]));
        let bench = Bench::new();
        bench.run_of(1, TOLD, &payloads);
        let (worker_end, frames, master, large) = bench.run_large();
        assert_eq!(worker_end, WorkerEnd::Disconnected);
        let mut next = 0;
        for (position, (status, payload)) in outcomes(&frames) {
            assert_eq!(position, next, "each has one outcome, in order");
            next += 1;
            let (expected, bytes) = match payloads[position as usize] {
                b"panic" => (Status::Panicked, None),
                b"fault" => (Status::DecodeArgs, None),
                b"short" => (Status::Ok, Some(b"s".to_vec())),
                b"large" => (Status::Ok, Some(b"larger".to_vec())),
                b"bulky" => (Status::Ok, Some(Vec::new())),
                b"taken" => (Status::Ok, Some(Vec::new())),
                echoed => (Status::Ok, Some(echoed.to_vec())),
            };
            assert_eq!(status, expected, "item {position}");
            assert!(bytes.is_none_or(|bytes| bytes == payload), "item {position}: {payload:?}");
        }
        assert_eq!(next, 406, "all but what was taken back");
        assert_eq!(large.len(), if end == b"bulky" { 2 * BIG_BYTES } else { 0 });
        assert_eq!(master.claimed(1), Some(406));
    }
}

/// Position and outcome of every item, in the order of the frames; of a large result without its bytes.
fn outcomes(frames: &[Vec<u8>]) -> Vec<(u32, Outcome)> {
    let mut all = Vec::new();
    for frame in &frames[1..] {
        match ToMaster::parse(frame) {
            Ok(ToMaster::LargeResult(head)) => all.push((head.offset, (head.status, Vec::new()))),
            Ok(ToMaster::Piece { .. } | ToMaster::FrameDone { .. }) => {}
            _ => {
                let this = [frames[0].clone(), frame.clone()];
                all.extend(records(&this).into_iter().map(|(_, at, outcome)| (at, outcome)));
            }
        }
    }
    all
}

#[test]
fn a_large_result_in_a_stride_keeps_its_place() {
    let bench = Bench::new();
    bench.run_of(1, TOLD, &after_quick_ones(&[b"big", b"after"]));
    let (_, frames, _) = bench.run();
    let large = frames
        .iter()
        .position(|frame| matches!(ToMaster::parse(frame), Ok(ToMaster::LargeResult(_))))
        .expect("there is a large result");
    assert_eq!(records(&frames[..large]).len(), 200);
    let Ok(ToMaster::LargeResult(head)) = ToMaster::parse(&frames[large]) else { unreachable!() };
    assert_eq!((head.frame_no, head.offset, head.total as usize), (1, 200, BIG_BYTES));
    let Some(Ok(ToMaster::Results(view))) = frames.last().map(|frame| ToMaster::parse(frame)) else {
        panic!("not results")
    };
    assert_eq!((view.header.first, view.header.items), (201, 1));
}

#[test]
fn a_stride_ends_where_items_were_taken_back() {
    let bench = Bench::new();
    bench.run_of(1, TOLD, &after_quick_ones(&[b"take back", b"never", b"never"]));
    bench.run_of(2, TOLD, &[b"next"]);
    let (_, mut frames, master) = bench.run();
    frames.retain(|frame| !matches!(ToMaster::parse(frame), Ok(ToMaster::FrameDone { frame_no: 1 })));
    let last: Vec<_> = records(&frames).into_iter().rev().take(2).map(|(frame, at, _)| (frame, at)).collect();
    assert_eq!(last, [(2, 0), (1, 200)]);
    assert_eq!(master.claimed(1), Some(201));
}

#[test]
fn in_a_stride_each_item_knows_its_index() {
    let bench = Bench::new();
    bench.run_of(1, TOLD, &[b"index".as_slice(); 100]);
    for (_, position, outcome) in records(&bench.run().1) {
        assert_eq!(outcome, (Status::Ok, (u64::from(position) + 10).to_le_bytes().to_vec()));
    }
}

/// Whenever the worker dies, the master finds every finished item, and which one was running.
#[test]
fn at_every_item_of_a_stride_the_page_tells_what_is_finished_and_what_runs() {
    let bench = Bench::new();
    bench.run_of(1, TOLD, &[b"look".as_slice(); 100]);
    let frames = bench.run().1;
    let is_first_of_a_frame = |position| {
        frames.iter().any(|frame| match ToMaster::parse(frame) {
            Ok(ToMaster::Results(view)) => view.header.first == position,
            _ => false,
        })
    };
    let records = records(&frames);
    assert_eq!(records.len(), 100);
    for (_, position, (_, payload)) in records {
        let finished = if is_first_of_a_frame(position) { NOTHING } else { position as u8 };
        assert_eq!(payload, [finished, position as u8 + 1], "finished and begun");
    }
}

/// How many results each frame holds, and whether they are uniform.
fn shapes(frames: &[Vec<u8>]) -> Vec<(u32, bool)> {
    let shape = |frame: &Vec<u8>| match ToMaster::parse(frame) {
        Ok(ToMaster::Results(view)) => Some((view.header.items, view.header.each > 0)),
        _ => None,
    };
    frames.iter().filter_map(shape).collect()
}

/// A stride has one item here, so each record is seen by a batch of its own.
#[test]
fn results_that_are_alike_again_are_uniform_again() {
    for odd in [b"panic".as_slice(), b"bad", b"", b"longer"] {
        let bench = Bench::new();
        for frame_no in 0..8 {
            let mut bytes = Vec::new();
            let mut builder =
                WorkBuilder::begin(&mut bytes, frame_no, Demands { timed: true, measured: false });
            builder.run(&Run { task: TOLD, first: 10, attempt: 2, timeout_ns: 0 });
            for item in 0..10 {
                builder.push(if (frame_no, item) == (1, 4) { odd } else { b"quick" });
            }
            builder.finish();
            bench.frame(bytes);
        }
        let frames = bench.run().1;
        assert_eq!(records(&frames).len(), 80);
        let shapes = shapes(&frames);
        let uneven = shapes.iter().position(|(_, is_uniform)| !is_uniform).expect("one result is odd");
        let later = &shapes[uneven..];
        assert!(later.iter().any(|(items, is_uniform)| *items > 1 && *is_uniform), "{odd:?}: {shapes:?}");
    }
}
