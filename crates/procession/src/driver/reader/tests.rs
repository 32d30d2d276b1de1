//! A reader and no process: the worker's ends are the test's, and so is what comes out of them.

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender};
use procession_core::Policy;

use super::*;
use crate::driver::Settings;
use crate::driver::effects::Order;
use crate::driver::seat::{Death, Link};
use crate::page::PageMaster;
use crate::process::{Exit, WorkerExit};
use crate::shortage::Shortage;
use crate::slab::{Arena, WindowReader};
use crate::wire::{self, Outlet, Status, Usage};

/// A pool of one worker, which is ready, and the worker's ends.
struct Scene {
    driver: Arc<Driver>,
    worker: WorkerId,
    link: Arc<Link>,
    reader: Reader,
    _work: IpcBytesReceiver,
    results: IpcBytesSender,
}

impl Scene {
    fn new() -> Scene {
        let arena = Arena::create().unwrap();
        let driver = Driver::new(Policy::new(1), None, Settings::default(), arena).unwrap();
        let driver = Arc::new(driver);
        driver.with_state(|state, now, effects| state.tick(now, effects));
        let [Order::Start { worker, .. }] = driver.mailbox.take()[..] else {
            panic!("one worker is ordered");
        };
        let (page, _) = PageMaster::create().unwrap();
        let (window, _) = WindowReader::create().unwrap();
        let (sender, work) = ipc::bytes_channel().unwrap();
        let (results, replies) = ipc::bytes_channel().unwrap();
        let (sender, goodbye) = (Outlet::new(sender).unwrap(), Outlet::new(results.clone()).unwrap());
        let link = Arc::new(Link { sender, goodbye, page, pid: 1 });
        assert!(driver.state.lock().connect(worker, Arc::clone(&link)));
        let reader = Reader::new(Arc::clone(&driver), worker, Inbox::new(replies), window);
        let mut scene = Scene { driver, worker, link, reader, _work: work, results };
        scene.say(|frame| wire::ready(frame, registry::fingerprint()));
        scene
    }

    /// The worker sends a frame, and it is heard.
    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = Vec::new();
        write(&mut frame);
        self.results.send(&frame).unwrap();
        self.reader.step();
    }

    /// What the worker has done wrong.
    fn violation(&self) -> Option<String> {
        self.driver.state.lock().seat(self.worker).unwrap().violation.clone()
    }

    fn die(&self, is_channel_ended: bool) {
        let mut state = self.driver.state.lock();
        let at = state.now();
        let exit = Exit { status: WorkerExit::Signal(9), max_rss: None, cpu: None };
        let shortage = Shortage::None;
        let death = Death { exit, output_tail: None, crash: None, shortage, at, is_channel_ended };
        state.seat(self.worker).unwrap().death = Some(death);
    }
}

#[test]
fn where_no_farewell_can_be_sent_the_end_of_the_channel_is_one() {
    let mut scene = Scene::new();
    scene.die(true);
    scene.link.goodbye.end();
    let mut steps = 0;
    while !scene.reader.has_ended() {
        scene.reader.step();
        steps += 1;
        assert!(steps <= 2 * REFUSED_MAX, "it listens for ever");
    }
    assert_eq!(scene.violation(), None, "it did nothing wrong");
}

#[test]
fn a_large_result_that_nobody_asked_for_is_refused_before_there_is_memory_for_it() {
    let mut scene = Scene::new();
    let head = LargeResult {
        frame_no: 0,
        offset: 0,
        busy_ns: 1,
        status: Status::Ok,
        total: u32::MAX,
        usage: Usage::default(),
    };
    scene.say(|frame| wire::large_result(frame, &head));
    assert!(scene.reader.large.is_none(), "memory was reserved");
    let violation = scene.violation().expect("it is a violation");
    assert!(violation.contains("news of frame 0, which it was never sent"), "{violation}");
}

#[test]
fn a_worker_is_ready_once() {
    let mut scene = Scene::new();
    assert_eq!(scene.violation(), None);
    scene.say(|frame| wire::ready(frame, registry::fingerprint()));
    let violation = scene.violation().expect("it is a violation");
    assert!(violation.contains("it is ready, it says once more"), "{violation}");
}
