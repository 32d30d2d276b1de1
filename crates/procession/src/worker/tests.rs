//! The worker's loop, driven by frames in memory: no process, no channel.

mod large;
mod strides;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::batch::{Batch, RunItem};
use crate::codec::{Room, Written};
use crate::page::PageMaster;
use crate::registry::{ParamInfo, TaskFault};
use crate::slab::{Arena, ArenaReader, WindowReader, WindowWriter};
use crate::wire::{
    FRAME_BYTES_MAX, PanicReport, Status, ToMaster, WorkBuilder, large_work, part, parts, stop,
};

/// Frames that were put in before the worker started; then the channel ends.
#[derive(Default)]
struct Script(RefCell<VecDeque<Vec<u8>>>);

impl WorkSource for Script {
    fn receive(&self) -> Received {
        self.0.borrow_mut().pop_front().map_or(Received::Disconnected, Received::Frame)
    }

    fn receive_within(&self, _time: Duration) -> Option<Received> {
        None
    }
}

/// Keeps what was sent; fails from a certain frame on. Large results it takes out of the window, as the master does.
struct Sent {
    frames: RefCell<Vec<Vec<u8>>>,
    fail_after: Cell<usize>,
    window: RefCell<WindowReader>,
    large: RefCell<Vec<u8>>,
    /// Pieces that are left in the window until a sign of life comes.
    lazy: Cell<bool>,
    untaken: RefCell<Vec<usize>>,
    /// The channel breaks before the first sign of life.
    broken_at_sign: Cell<bool>,
}

impl ReplySink for Sent {
    fn send(&self, frame: &[u8]) -> io::Result<()> {
        assert!(frame.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", frame.len());
        let mut frames = self.frames.borrow_mut();
        if frames.len() == self.fail_after.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if let Ok(ToMaster::Piece { len }) = ToMaster::parse(frame) {
            if len == 0 && self.broken_at_sign.get() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let mut untaken = self.untaken.borrow_mut();
            untaken.push(len as usize);
            self.lazy.set(self.lazy.get() && len > 0);
            if !self.lazy.get() {
                let (mut window, mut large) = (self.window.borrow_mut(), self.large.borrow_mut());
                untaken.drain(..).for_each(|len| window.take(len, &mut large).unwrap());
            }
            return Ok(());
        }
        frames.push(frame.to_vec());
        Ok(())
    }
}

/// Tasks by number; the arguments are a byte string and so is the result.
struct Numbered<'a> {
    page: &'a PageMaster,
}

const ECHO: u32 = 0;
const PANIC: u32 = 1;
const BAD_ARGS: u32 = 2;
const BIG: u32 = 3;
const TAKE_BACK: u32 = 4;
const WHO: u32 = 5;
const BAD_PAYLOAD: u32 = 6;
const TOLD: u32 = 7;
const NOTHING: u8 = u8::MAX;
const UNKNOWN: u32 = 99;
const BIG_BYTES: usize = 300_000;

impl Tasks for Numbered<'_> {
    fn path(&self, task: u32) -> Option<&'static str> {
        (task != UNKNOWN).then_some("tests::numbered")
    }

    fn returns(&self, _task: u32) -> &'static str {
        "Result<(), String>"
    }

    fn run(&self, task: u32, args: &[u8], out: &mut Vec<u8>) -> Result<(), TaskFault> {
        match task {
            ECHO => out.extend_from_slice(args),
            PANIC => panic!("told to: {}", String::from_utf8_lossy(args)),
            BAD_ARGS => return Err(TaskFault::Decode("no such argument".to_owned())),
            BIG => out.resize(BIG_BYTES, 7),
            // What the master may do at any moment, here while the item runs.
            TAKE_BACK => {
                self.page.reclaim(u32::from(args[0])).unwrap();
            }
            WHO => {
                let current = crate::current().unwrap();
                let text = format!("{} {} {}", current.index(), current.attempt(), current.worker_id());
                out.extend_from_slice(text.as_bytes());
                assert!(current.deadline().is_some());
            }
            // What the argument says: a result, or another end.
            TOLD => match args {
                b"panic" => panic!("told to"),
                b"short" => out.push(b's'),
                b"bad" | b"fault" => return Err(TaskFault::Decode("no such argument".to_owned())),
                b"big" | b"bulky" => out.resize(BIG_BYTES, 7),
                b"haste" => {
                    self.page.hasten(1);
                    out.extend_from_slice(args);
                }
                b"large" => out.extend_from_slice(b"larger"),
                b"take back" | b"taken" => {
                    self.page.reclaim(1).unwrap();
                }
                b"index" => {
                    let current = crate::current().unwrap();
                    assert_eq!((current.attempt(), current.worker_id(), current.deadline()), (2, 3, None));
                    out.extend_from_slice(&current.index().to_le_bytes());
                }
                b"look" => {
                    // What the master would find if the worker died here, whatever was sent before.
                    let found = (0..=u32::from(u8::MAX)).find_map(|epoch| self.page.salvage(epoch));
                    let finished = found.map_or(NOTHING, |bytes| match ToMaster::parse(&bytes) {
                        Ok(ToMaster::Results(view)) => (view.header.first + view.header.items) as u8,
                        other => panic!("not results: {other:?}"),
                    });
                    out.extend([finished, self.page.claimed(1).unwrap() as u8]);
                }
                _ => out.extend_from_slice(args),
            },
            BAD_PAYLOAD => std::panic::panic_any(Bomb),
            other => unreachable!("task {other}"),
        }
        Ok(())
    }

    fn run_batch(&self, task: u32, batch: &mut Batch<'_, '_>) -> Result<(), TaskFault> {
        batch.run(&(self, task), &[])
    }

    fn fingerprint(&self) -> u64 {
        42
    }
}

impl RunItem for (&Numbered<'_>, u32) {
    fn run_item(&self, _: &[ParamInfo], args: &[u8], room: Room<'_>) -> Result<Written, TaskFault> {
        let mut out = Vec::new();
        self.0.run(self.1, args, &mut out)?;
        Ok(room.put(&out))
    }
}

/// A panic payload whose destructor panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload's own panic");
    }
}

struct Bench {
    script: Script,
    sent: Sent,
    window: std::os::fd::OwnedFd,
    arena: Arc<Arena>,
    setup: Setup,
}

impl Bench {
    fn new() -> Bench {
        let (reader, window) = WindowReader::create().unwrap();
        let sent = Sent {
            frames: RefCell::default(),
            fail_after: Cell::new(usize::MAX),
            window: reader.into(),
            large: RefCell::default(),
            lazy: Cell::new(false),
            untaken: RefCell::default(),
            broken_at_sign: Cell::new(false),
        };
        let setup = Setup { slot: 3, ..Setup::default() };
        Bench { script: Script::default(), sent, window, arena: Arena::create().unwrap(), setup }
    }

    fn frame(&self, bytes: Vec<u8>) {
        self.script.0.borrow_mut().push_back(bytes);
    }

    fn work(&self, frame_no: u32, items: &[(u32, &[u8])]) {
        let mut bytes = Vec::new();
        let mut builder = WorkBuilder::begin(&mut bytes, frame_no, Demands::default());
        for (index, (task, payload)) in (10..).zip(items) {
            builder.run(&Run { task: *task, first: index, attempt: 2, timeout_ns: 1_000_000_000 });
            builder.push(payload);
        }
        builder.finish();
        self.frame(bytes);
    }

    /// One large item, which lies in the arena or follows in parts.
    fn large(&self, frame_no: u32, task: u32, payload: &[u8], place: Option<u64>) {
        let (mut bytes, run) = (Vec::new(), Run { task, first: 0, attempt: 1, timeout_ns: 0 });
        large_work(&mut bytes, frame_no, Demands::default(), &run, payload.len(), place).unwrap();
        self.frame(bytes);
    }

    fn stop(&self) {
        let mut bytes = Vec::new();
        stop(&mut bytes);
        self.frame(bytes);
    }

    /// A run of items of one task that know no time limit, so that they are run in strides.
    fn run_of(&self, frame_no: u32, task: u32, payloads: &[&[u8]]) {
        let mut bytes = Vec::new();
        let mut builder = WorkBuilder::begin(&mut bytes, frame_no, Demands::default());
        let run = Run { task, first: 10, attempt: 2, timeout_ns: 0 };
        // As the master does.
        let each = payloads[0].len();
        if each > 0 && payloads.iter().all(|payload| payload.len() == each) {
            builder.uniform_run(&run, each, &payloads.concat());
        } else {
            builder.run(&run);
            for payload in payloads {
                builder.push(payload);
            }
        }
        builder.finish();
        self.frame(bytes);
    }

    /// Offers all items, then runs to the end.
    fn run(self) -> (WorkerEnd, Vec<Vec<u8>>, PageMaster) {
        let (end, frames, master, _) = self.run_large();
        (end, frames, master)
    }

    /// The same, and what passed through the window.
    fn run_large(self) -> (WorkerEnd, Vec<Vec<u8>>, PageMaster, Vec<u8>) {
        let (master, fd) = PageMaster::create().unwrap();
        let page = PageWorker::open(&fd).unwrap();
        for frame in self.script.0.borrow().iter() {
            match ToWorker::parse(frame) {
                Ok(ToWorker::Work(view)) => master.open_slot(view.frame_no, view.items),
                Ok(ToWorker::LargeWork(large)) => master.open_slot(large.frame_no, 1),
                _ => {}
            }
        }
        let window = WindowWriter::open(&self.window).unwrap();
        let shared = Shared { page, window, arena: ArenaReader::open(&*self.arena).unwrap() };
        let end = run_with(&self.script, &self.sent, shared, &self.setup, &Numbered { page: &master });
        (end, self.sent.frames.into_inner(), master, self.sent.large.into_inner())
    }
}

type Outcome = (Status, Vec<u8>);

/// The `Ready` frame first, then the records of the results, with their positions.
fn records(frames: &[Vec<u8>]) -> Vec<(u32, u32, Outcome)> {
    assert!(matches!(ToMaster::parse(&frames[0]), Ok(ToMaster::Ready { fingerprint: 42 })));
    let mut all = Vec::new();
    for frame in &frames[1..] {
        let Ok(ToMaster::Results(view)) = ToMaster::parse(frame) else { panic!("not results: {frame:?}") };
        let mut records = view.records();
        for position in (view.header.first..).take(view.header.items as usize) {
            let record = records.take();
            all.push((view.header.frame_no, position, (record.status, record.payload.to_vec())));
        }
    }
    all
}

#[test]
fn items_run_in_order_and_each_gets_its_outcome() {
    let bench = Bench::new();
    bench.work(1, &[(ECHO, b"a"), (BAD_ARGS, b""), (UNKNOWN, b""), (WHO, b"")]);
    bench.work(2, &[(ECHO, b""), (ECHO, b"c")]);
    bench.stop();
    let (end, frames, _) = bench.run();
    assert_eq!(end, WorkerEnd::Stopped);
    assert_eq!(frames.len(), 6, "ready, then results for each change of task and each frame of work");
    assert_eq!(
        records(&frames),
        [
            (1, 0, (Status::Ok, b"a".to_vec())),
            (1, 1, (Status::DecodeArgs, b"no such argument".to_vec())),
            (1, 2, (Status::UnknownTask, b"no task has index 99 here".to_vec())),
            (1, 3, (Status::Ok, b"13 2 3".to_vec())),
            (2, 0, (Status::Ok, b"".to_vec())),
            (2, 1, (Status::Ok, b"c".to_vec())),
        ]
    );
}

#[test]
fn quick_tasks_that_take_turns_share_a_frame_of_results() {
    let bench = Bench::new();
    let items: Vec<(u32, &[u8])> = [(ECHO, b"a".as_slice()), (TOLD, b"b")].repeat(500);
    bench.work(1, &items);
    let (_, frames, _) = bench.run();
    let records = records(&frames);
    assert!(records.iter().map(|(_, position, _)| *position).eq(0..1_000));
    for (_, position, outcome) in &records {
        let expected = if position % 2 == 0 { b"a" } else { b"b" };
        assert_eq!(*outcome, (Status::Ok, expected.to_vec()));
    }
    assert!(frames.len() < 1_000, "at least some went together");
}

#[test]
fn a_panic_is_the_outcome_of_its_item_alone() {
    let bench = Bench::new();
    bench.work(1, &[(PANIC, b"one"), (ECHO, b"x"), (BAD_PAYLOAD, b""), (ECHO, b"y")]);
    let (end, frames, _) = bench.run();
    assert_eq!(end, WorkerEnd::Disconnected);
    let records = records(&frames);
    assert_eq!(records.len(), 4);
    let report = PanicReport::decode(&records[0].2.1).unwrap();
    assert_eq!((records[0].2.0, report.message.as_str()), (Status::Panicked, "told to: one"));
    assert!(report.location.contains("worker/tests.rs:"), "{}", report.location);
    assert!(!report.stack.frames.is_empty());
    assert_eq!(records[1].2, (Status::Ok, b"x".to_vec()));
    assert_eq!(records[2].2.0, Status::Panicked);
    assert_eq!(records[3].2, (Status::Ok, b"y".to_vec()));
}

#[test]
fn a_frame_that_promises_other_items_than_it_has_ends_the_worker() {
    for claimed in [1_u8, 3] {
        let bench = Bench::new();
        bench.run_of(1, ECHO, &[b"a", b"b"]);
        bench.script.0.borrow_mut()[0][6] = claimed;
        let (end, _, _) = bench.run();
        assert!(matches!(end, WorkerEnd::Protocol(_)), "{claimed} items: {end:?}");
    }
}

#[test]
fn items_taken_back_are_not_run_and_their_frame_is_said_to_be_done() {
    let bench = Bench::new();
    bench.work(1, &[(ECHO, b"a"), (TAKE_BACK, &[1]), (ECHO, b"never")]);
    bench.work(2, &[(ECHO, b"b")]);
    let (end, frames, master) = bench.run();
    assert_eq!(end, WorkerEnd::Disconnected);
    let (done, results): (Vec<_>, Vec<_>) = frames
        .into_iter()
        .partition(|frame| matches!(ToMaster::parse(frame), Ok(ToMaster::FrameDone { frame_no: 1 })));
    assert_eq!(done.len(), 1);
    let positions: Vec<_> =
        records(&results).iter().map(|(frame, position, _)| (*frame, *position)).collect();
    assert_eq!(positions, [(1, 0), (1, 1), (2, 0)]);
    assert_eq!((master.claimed(1), master.claimed(2)), (Some(2), Some(1)));
}

#[test]
fn results_that_fill_the_area_are_sent_in_between() {
    let bench = Bench::new();
    let payload = vec![5; 20_000];
    for frame_no in 0..3 {
        bench.work(frame_no, &[(ECHO, &payload), (ECHO, &payload)]);
    }
    bench.work(3, &[(BIG, b""), (ECHO, b"after")]);
    let (_, frames, master, payload) = bench.run_large();
    let large = frames
        .iter()
        .position(|frame| matches!(ToMaster::parse(frame), Ok(ToMaster::LargeResult(_))))
        .unwrap();
    assert_eq!(records(&frames[..large]).len(), 6);
    let Ok(ToMaster::LargeResult(head)) = ToMaster::parse(&frames[large]) else { unreachable!() };
    assert_eq!((head.frame_no, head.offset, head.status, head.total as usize), (3, 0, Status::Ok, BIG_BYTES));
    assert!(payload == vec![7; BIG_BYTES]);
    let next = large + 1;
    let Ok(ToMaster::Results(view)) = ToMaster::parse(&frames[next]) else { panic!("not results") };
    assert_eq!((view.header.frame_no, view.header.first, view.header.items), (3, 1, 1));
    assert_eq!(frames.len(), next + 1, "nothing else was sent");
    assert_eq!(master.salvage(5), None, "and nothing is left");
}

#[test]
fn an_unsent_result_is_found_by_the_master() {
    let bench = Bench::new();
    bench.work(1, &[(ECHO, b"kept"), (ECHO, b"also")]);
    bench.sent.fail_after.set(1);
    let (end, frames, master) = bench.run();
    assert_eq!((end, frames.len()), (WorkerEnd::ChannelClosed, 1));
    let found = master.salvage(0).unwrap();
    let Ok(ToMaster::Results(view)) = ToMaster::parse(&found) else { panic!("not results") };
    assert_eq!(view.header.items, 2);
    let mut records = view.records();
    assert_eq!((records.take().payload, records.take().payload), (&b"kept"[..], &b"also"[..]));
}

#[test]
fn a_setup_that_fails_is_said_and_no_work_is_taken() {
    for (task, args, expected) in [
        (PANIC, &b"x"[..], "told to: x"),
        (BAD_ARGS, b"", "failed: no such argument"),
        (UNKNOWN, b"", "initializer `unknown task` failed: no task has index 99 here"),
        (ECHO, b"\x01\0\0\0\x03\0\0\0\0\0\0\0bad", "initializer `tests::numbered` failed: bad"),
        (ECHO, b"\x01\0\0\0\xff", "it returned an error (its type is `Result<(), String>`)"),
    ] {
        let mut bench = Bench::new();
        bench.setup.initializer = Some((task, args.to_vec()));
        bench.work(1, &[(ECHO, b"never")]);
        let (end, frames, _) = bench.run();
        assert_eq!((end, frames.len()), (WorkerEnd::InitFailed, 2));
        assert!(matches!(ToMaster::parse(&frames[0]), Ok(ToMaster::SettingUp { step: 1 })));
        let Ok(ToMaster::InitFailed { message }) = ToMaster::parse(&frames[1]) else {
            panic!("not a failure")
        };
        let message = String::from_utf8_lossy(message);
        assert!(message.contains(expected), "{message}");
    }
    let mut bench = Bench::new();
    bench.setup.initializer = Some((ECHO, vec![0; 4]));
    assert_eq!(records(&bench.run().1[1..]), []);
}

#[test]
fn frames_that_make_no_sense_end_the_worker() {
    for bytes in [vec![], vec![200], vec![1, 0, 1], vec![3, 1, 2]] {
        let bench = Bench::new();
        bench.frame(bytes.clone());
        let (end, _, _) = bench.run();
        assert!(matches!(end, WorkerEnd::Protocol(_)), "{bytes:?}: {end:?}");
    }
}
