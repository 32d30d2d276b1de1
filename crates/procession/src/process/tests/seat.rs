//! A worker under test, driven as the driver would: a reader thread, one frame at a time, every wait with a limit.

use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use procession_core::WorkerId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::exit::Exit;
use super::super::pidfd::{any_readable_within, readable_within};
use super::super::{Launch, LaunchError, LaunchSettings, Launched, Launcher, WorkerExit};
use crate::codec;
use crate::task::Task;
use crate::wire::{self, Demands, Inbox, Received, Run, Status, ToMaster, WorkBuilder};

/// Far more than anything here takes on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn id(slot: u32) -> WorkerId {
    WorkerId { slot, generation: 0 }
}

pub(super) fn settings(method: super::super::StartMethod) -> LaunchSettings {
    LaunchSettings { method, preload_limit: LIMIT, crash_reports: true, ..LaunchSettings::default() }
}

pub(super) fn call<F>(task: Task<F>, args: &impl Serialize) -> (u32, Vec<u8>) {
    let mut bytes = Vec::new();
    codec::encode(args, &mut bytes).unwrap();
    (task.info().index() as u32, bytes)
}

/// What a reader thread passes on.
pub(super) fn read_all(inbox: Inbox) -> mpsc::Receiver<Received> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        loop {
            let received = inbox.receive();
            let is_last = match &received {
                Received::Frame(frame) => matches!(ToMaster::parse(frame), Ok(ToMaster::Goodbye)),
                Received::Disconnected | Received::Violation(_) => true,
            };
            if sender.send(received).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

pub(super) struct Worker {
    pub(super) launched: Launched,
    pub(super) replies: mpsc::Receiver<Received>,
    frame_no: u32,
}

/// Launches, and waits for the zygote if it is being replaced.
pub(super) fn launch_now(launcher: &mut Launcher, slot: u32) -> Result<Launched, LaunchError> {
    let mut launch = launcher.launch(id(slot))?;
    while let Launch::Later(limit) = launch {
        assert!(limit < 2 * LIMIT, "{limit:?}");
        while !launcher.tend()? {
            any_readable_within(&launcher.to_tend().expect("it is on its way"), LIMIT);
        }
        launch = launcher.launch_again(id(slot))?;
    }
    match launch {
        Launch::Done(launched) => Ok(*launched),
        Launch::Later(_) => unreachable!("it was waited for"),
    }
}

impl Worker {
    /// Launches, and waits until the worker takes work.
    pub(super) fn ready(launcher: &mut Launcher, slot: u32) -> Worker {
        let mut worker = Worker::launch(launcher, slot);
        let frame = worker.next_frame();
        assert!(matches!(ToMaster::parse(&frame), Ok(ToMaster::Ready { .. })), "{frame:?}");
        worker.frame_no = 1;
        worker
    }

    pub(super) fn launch(launcher: &mut Launcher, slot: u32) -> Worker {
        let mut launched = launch_now(launcher, slot).unwrap();
        if let Some(boot) = launched.boot.take() {
            assert!(readable_within(boot.as_fd(), LIMIT), "the worker says nothing");
            boot.finish().unwrap();
        }
        let (_, unused) = ipc_channel::ipc::bytes_channel().unwrap();
        let inbox = std::mem::replace(&mut launched.receiver, Inbox::new(unused));
        Worker { launched, replies: read_all(inbox), frame_no: 0 }
    }

    /// The next frame, but for the news that it prepares itself.
    pub(super) fn next_frame(&mut self) -> Vec<u8> {
        loop {
            match self.replies.recv_timeout(LIMIT) {
                Ok(Received::Frame(frame))
                    if matches!(ToMaster::parse(&frame), Ok(ToMaster::SettingUp { .. })) => {}
                Ok(Received::Frame(frame)) => return frame,
                other => panic!("no frame: {other:?}"),
            }
        }
    }

    pub(super) fn send<F>(&mut self, task: Task<F>, args: &impl Serialize) {
        let (task, payload) = call(task, args);
        self.frame_no += 1;
        let mut frame = Vec::new();
        let mut builder = WorkBuilder::begin(&mut frame, self.frame_no, Demands::default());
        builder.run(&Run { task, first: 0, attempt: 1, timeout_ns: 0 });
        builder.push(&payload);
        let items = builder.finish();
        self.launched.page.open_slot(self.frame_no, items);
        self.launched.sender.send(&frame).unwrap();
    }

    /// Runs one item to its value.
    pub(super) fn run<F, R: DeserializeOwned>(&mut self, task: Task<F>, args: &impl Serialize) -> R {
        self.send(task, args);
        let frame = self.next_frame();
        let Ok(ToMaster::Results(view)) = ToMaster::parse(&frame) else { panic!("not results: {frame:?}") };
        assert_eq!(view.header.items, 1);
        let record = view.records().take();
        assert_eq!(record.status, Status::Ok, "{}", String::from_utf8_lossy(record.payload));
        codec::decode(record.payload).unwrap()
    }

    /// Waits for the process to die, and reaps it.
    pub(super) fn exit(&mut self, launcher: &mut Launcher) -> Exit {
        assert!(
            readable_within(&self.launched.process, LIMIT),
            "worker {} lives",
            self.launched.process.pid()
        );
        let exit = launcher.reap(&self.launched.process);
        let mut frame = Vec::new();
        wire::goodbye(&mut frame);
        self.launched.goodbye.send(&frame).unwrap();
        exit
    }

    /// Tells it to stop, and checks that it does.
    pub(super) fn stop(&mut self, launcher: &mut Launcher) {
        let mut frame = Vec::new();
        wire::stop(&mut frame);
        self.launched.sender.send(&frame).unwrap();
        assert_eq!(self.exit(launcher).status, WorkerExit::Code(0));
        let last = self.next_frame();
        assert!(matches!(ToMaster::parse(&last), Ok(ToMaster::Goodbye)), "nothing else was sent");
    }
}
