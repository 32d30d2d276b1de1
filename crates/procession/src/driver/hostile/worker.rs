//! A worker without a process: its ends of everything it shares with the master are in the script's hands.

use std::collections::VecDeque;
use std::sync::Arc;

use ipc_channel::ipc;
use procession_core::WorkerId;

use crate::driver::Driver;
use crate::driver::reader::Reader;
use crate::driver::seat::{Death, Link};
use crate::fuzz::Script;
use crate::page::{Begun, PageMaster, PageWorker};
use crate::process::{Exit, WorkerExit};
use crate::registry;
use crate::shortage::Shortage;
use crate::slab::{WindowReader, WindowWriter};
use crate::wire::{
    self, Inbox, LargeResult, Outlet, Received, ResultsHeader, Status, ToWorker, Usage, put_record,
    put_results_header,
};

/// What the worker has, and the master's reader of it.
pub(super) struct Worker {
    pub(super) id: WorkerId,
    /// It was sent a signal.
    pub(super) is_doomed: bool,
    is_ready: bool,
    is_to_stop: bool,
    reader: Reader,
    inbox: Inbox,
    page: PageWorker,
    window: WindowWriter,
    frames: VecDeque<Frame>,
    buffer: Vec<u8>,
}

/// A frame of items that it was sent.
struct Frame {
    number: u32,
    items: u32,
    done: u32,
}

impl Worker {
    pub(super) fn start(driver: &Arc<Driver>, id: WorkerId) -> Worker {
        let (page, page_fd) = PageMaster::create().expect("there is memory for a page");
        let (window, window_fd) = WindowReader::create().expect("there is memory for a window");
        let (sender, work) = ipc::bytes_channel().expect("there are descriptors for a channel");
        let (goodbye, replies) = ipc::bytes_channel().expect("there are descriptors for a channel");
        let outlet = |sender| Outlet::new(sender).expect("a frame fits its buffer");
        let link = Arc::new(Link { sender: outlet(sender), goodbye: outlet(goodbye), page, pid: 1 });
        {
            let mut state = driver.state.lock();
            state.seat(id).expect("a seat waits for the worker that was ordered for it").link = Some(link);
        }
        driver.pump(id.slot);
        Worker {
            id,
            is_doomed: false,
            is_ready: false,
            is_to_stop: false,
            reader: Reader::new(Arc::clone(driver), id, Inbox::new(replies), window),
            inbox: Inbox::new(work),
            page: PageWorker::open(page_fd).expect("the page can be opened"),
            window: WindowWriter::open(window_fd).expect("the window can be opened"),
            frames: VecDeque::new(),
            buffer: Vec::new(),
        }
    }

    /// Something that a worker may do, or that none should.
    pub(super) fn act(&mut self, choice: u8, script: &mut Script<'_>) {
        match choice {
            0 => {
                self.is_ready = true;
                self.say(|buffer, _| wire::ready(buffer, registry::fingerprint()));
            }
            1 => {
                let frame = script.bytes().to_vec();
                self.reader.hear(Received::Frame(frame));
            }
            2 => self.reader.hear(match script.u8() % 2 {
                0 => Received::Disconnected,
                _ => Received::Violation("stray bytes".to_owned()),
            }),
            3 => {
                self.begin(u32::from(script.u8()));
            }
            4 => self.reply(script),
            5 => self.leave(script),
            6 => self.reply_large(script),
            7 => {
                let (frame_no, words) = (script.u8(), script.u8());
                let begun = (words & 1 != 0).then(|| script.u64());
                let limit = (words & 2 != 0).then(|| script.u64());
                self.page.damage(u32::from(frame_no % 8), begun, limit);
            }
            8 => self.window.scribble(script.u32() as usize, script.u64()),
            9 => self.page.stamp(script.u64()),
            _ => match script.u8() % 3 {
                0 => self.finish_frame(script),
                1 => self.say(|buffer, _| wire::part_taken(buffer)),
                _ => {
                    self.work();
                }
            },
        }
        self.listen();
    }

    /// Sends a frame.
    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>, &VecDeque<Frame>)) {
        write(&mut self.buffer, &self.frames);
        self.reader.hear(Received::Frame(self.buffer.clone()));
    }

    /// Takes what it was sent, so that there is always room.
    fn listen(&mut self) {
        while let Some(Received::Frame(bytes)) = self.inbox.try_receive() {
            match ToWorker::parse(&bytes).expect("the master sends sound frames") {
                ToWorker::Work(view) => {
                    self.frames.push_back(Frame { number: view.frame_no, items: view.items, done: 0 });
                }
                ToWorker::LargeWork(large) => {
                    self.frames.push_back(Frame { number: large.frame_no, items: 1, done: 0 });
                }
                ToWorker::Part(_) => self.say(|buffer, _| wire::part_taken(buffer)),
                ToWorker::Stop => self.is_to_stop = true,
            }
        }
    }

    /// Begins up to so many items of its first frame, and returns how many are its own.
    fn begin(&mut self, items: u32) -> u32 {
        let Some(frame) = self.frames.front() else { return 0 };
        let mut claims = self.page.claims(frame.number);
        let end = frame.items.min(frame.done + items);
        (frame.done..end).take_while(|position| claims.begin(*position) != Begun::No).count() as u32
    }

    /// Results of its first frame, right or not.
    fn reply(&mut self, script: &mut Script<'_>) {
        let Some(frame) = self.frames.front_mut() else { return };
        let (twist, items) = (script.u8(), u32::from(script.u8()));
        let header = ResultsHeader {
            frame_no: if twist & 1 == 0 { frame.number } else { script.u32() },
            first: if twist & 2 == 0 { frame.done } else { script.u32() },
            items: if twist & 4 == 0 { items.min(frame.items - frame.done) } else { items },
            busy_ns: if twist & 8 == 0 { 1_000 } else { script.u64() },
            each: if twist & 16 == 0 { 0 } else { 1 + u32::from(script.u8() % 3) },
            usage: Usage { cpu_ns: u64::from(twist), peak_rss_kib: items },
        };
        frame.done = (frame.done + header.items).min(frame.items);
        if frame.done == frame.items {
            self.frames.pop_front();
        }
        let len = put_results(&mut self.buffer, &header, script.u8());
        self.reader.hear(Received::Frame(self.buffer[..len].to_vec()));
        if twist & 32 == 0 {
            self.page.reset();
        }
    }

    /// Results of its first frame that it has ready and does not send.
    fn leave(&mut self, script: &mut Script<'_>) {
        let (first, items, status) = (script.u8(), script.u8(), script.u8());
        let Some(frame) = self.frames.front() else { return };
        let header = ResultsHeader {
            frame_no: frame.number,
            first: frame.done + u32::from(first % 4),
            items: u32::from(items),
            busy_ns: 1_000,
            each: u32::from(status & 1),
            usage: Usage::default(),
        };
        let len = put_results(&mut self.buffer, &header, status);
        self.page.area()[..len].copy_from_slice(&self.buffer[..len]);
        self.page.commit(len);
    }

    /// A result that passes through the window, whole or not.
    fn reply_large(&mut self, script: &mut Script<'_>) {
        let (twist, status) = (script.u8(), script.u8());
        let total = if twist & 1 == 0 { u32::from(script.u16()) * 8 } else { script.u32() };
        let Some(frame) = self.frames.front() else { return };
        let head = LargeResult {
            frame_no: frame.number,
            offset: frame.done,
            busy_ns: 1_000,
            status: status_of(status),
            total,
            usage: Usage::default(),
        };
        self.say(|buffer, _| wire::large_result(buffer, &head));
        let mut left = total as usize;
        for _ in 0..twist >> 4 {
            let len = self.window.write(&vec![status; left.min(100_000)]);
            let said = if twist & 2 == 0 { len as u32 } else { script.u32() };
            self.say(|buffer, _| wire::piece(buffer, said));
            left = left.saturating_sub(len);
            if left == 0 {
                break;
            }
        }
        if left == 0
            && let Some(frame) = self.frames.front_mut()
        {
            frame.done += 1;
            if frame.done == frame.items {
                self.frames.pop_front();
            }
        }
    }

    /// It says that it is past a frame.
    fn finish_frame(&mut self, script: &mut Script<'_>) {
        let other = script.u8();
        self.frames.pop_front();
        self.say(|buffer, frames| {
            let next = frames.front().map_or(0, |frame| frame.number);
            wire::frame_done(buffer, next.wrapping_sub(u32::from(other % 2)));
        });
    }

    /// Does everything it was given, honestly; `false`: it leaves.
    pub(super) fn work(&mut self) -> bool {
        if !std::mem::replace(&mut self.is_ready, true) {
            self.say(|buffer, _| wire::ready(buffer, registry::fingerprint()));
        }
        self.listen();
        while let Some(frame) = self.frames.front() {
            let (number, items, done) = (frame.number, frame.items, frame.done);
            let begun = self.begin(items);
            self.frames.pop_front();
            if begun > 0 {
                let header = ResultsHeader {
                    frame_no: number,
                    first: done,
                    items: begun,
                    busy_ns: 1_000,
                    ..ResultsHeader::default()
                };
                let len = put_results(&mut self.buffer, &header, 0);
                self.reader.hear(Received::Frame(self.buffer[..len].to_vec()));
                self.page.reset();
            }
            if done + begun < items {
                self.say(|buffer, _| wire::frame_done(buffer, number));
            }
            self.listen();
        }
        !self.is_to_stop && !self.is_doomed
    }

    /// The process is gone. Returns how many items may have been running.
    pub(super) fn die(mut self, driver: &Driver) -> u64 {
        let begun = {
            let mut state = driver.state.lock();
            let exit = Exit { status: WorkerExit::Signal(9), max_rss: None, cpu: None };
            let (shortage, at) = (Shortage::None, state.now());
            let death = Death { exit, output_tail: None, crash: None, shortage, at, is_channel_ended: false };
            let seat = state.seat(self.id).expect("the seat is taken until its worker is settled");
            seat.death = Some(death);
            seat.may_have_begun()
        };
        self.say(|buffer, _| wire::goodbye(buffer));
        assert!(self.reader.has_ended(), "a farewell is the end");
        self.reader.settle_estate();
        begun
    }
}

/// Results of one byte each, as far as they fit the buffer; of one kind, but the first is of another.
fn put_results(buffer: &mut Vec<u8>, header: &ResultsHeader, status: u8) -> usize {
    buffer.resize(wire::FRAME_BYTES_MAX, 0);
    put_results_header(buffer, header);
    let mut at = wire::RESULTS_HEADER_BYTES;
    for item in 0..header.items {
        let next = match header.each {
            0 => put_record(buffer, at, if item == 0 { status_of(status) } else { Status::Ok }, &[status]),
            each => Some(at + each as usize).filter(|end| *end <= buffer.len()),
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

fn status_of(choice: u8) -> Status {
    match choice % 6 {
        0 => Status::Ok,
        1 => Status::Panicked,
        2 => Status::DecodeArgs,
        3 => Status::EncodeResult,
        4 => Status::UnknownTask,
        _ => Status::TooLarge,
    }
}
