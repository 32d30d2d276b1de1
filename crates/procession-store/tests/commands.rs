//! What a run directory keeps of commands: what they printed, and what is left of them when their master was killed.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use procession_store::{Ending, Item, Job, Key, Printed, Reader, RunDir};

fn printed(index: u64, outcome: &'static str, stdout: &[u8]) -> Item {
    let printed = Printed { stdout: stdout.to_vec(), stderr: b"\0\xff".to_vec() };
    Item {
        outcome: outcome.into(),
        exit: Some(index as i32),
        args: Some("[\"true\"]".to_owned()),
        reproduce: Some("true".to_owned()),
        printed: Some(printed),
        ..Item::value(index, Key::of(b"true"))
    }
}

#[test]
fn what_commands_printed_is_read_when_it_is_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = RunDir::create(temp.path(), &Job::default()).unwrap().begin("1.0", 1).unwrap();
    // More than travels together goes at once.
    let (start, large) = (Instant::now(), vec![b'x'; 5 << 20]);
    for item in [printed(0, "ok", b""), printed(1, "exit_status", b"out"), printed(2, "ok", &large)] {
        writer.hand_out(item.index).unwrap();
        writer.item(item).unwrap();
    }
    while writer.unrecorded() > 0 {
        assert!(start.elapsed().as_secs() < 30, "it is not on record");
        std::thread::yield_now();
    }
    let plain = Item { value: Some("1".to_owned()), ..Item::value(3, Key::of(b"")) };
    writer.item(plain.clone()).unwrap();
    writer.finish(Ending::Incomplete).unwrap();

    let reader = Reader::open(temp.path()).unwrap();
    let page = reader.page(0, 9).unwrap();
    let kept = [printed(0, "ok", b""), printed(1, "exit_status", b"out"), printed(2, "ok", &large)];
    for (item, kept) in page.iter().zip(&kept) {
        assert_eq!(*item, Item { printed: None, ..kept.clone() });
        assert!(reader.printed(item.index).unwrap() == kept.printed);
    }
    assert_eq!(page[3], plain);
    assert_eq!((reader.printed(3).unwrap(), reader.printed(u64::MAX).unwrap()), (None, None));
}

#[test]
fn what_a_dead_worker_has_started_is_a_survivor() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = RunDir::create(temp.path(), &Job::default()).unwrap().begin("1.0", 1).unwrap();
    // As a worker does: a group of its own, in which a command of its outlives it.
    let mut worker = Command::new("sh");
    worker.args(["-c", "sleep 600 & echo $!; read line"]).process_group(0);
    let mut worker = worker.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = worker.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let command: u32 = line.trim().parse().unwrap();
    writer.worker_started(0, worker.id()).unwrap();
    drop(writer);
    let dir = RunDir::open(temp.path()).unwrap();
    let survivors = || {
        let mut survivors = dir.survivors().unwrap();
        survivors.sort_unstable();
        survivors
    };
    let mut both = [worker.id(), command];
    both.sort_unstable();
    assert_eq!(survivors(), both);
    drop(worker.stdin.take());
    worker.wait().unwrap();
    assert_eq!(survivors(), [command]);
    let group = nix::unistd::Pid::from_raw(worker.id() as i32);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
    // Whoever adopts it reaps it in its own time; until then it is a zombie, which runs nothing.
    let killed = Instant::now();
    while !survivors().is_empty() {
        assert!(killed.elapsed() < Duration::from_secs(60), "it lives on");
        std::thread::yield_now();
    }
}

#[test]
fn what_nobody_knows_of_is_described_afterwards() {
    let temp = tempfile::tempdir().unwrap();
    let job = Job { items: Some(3), ..Job::default() };
    let mut writer = RunDir::create(temp.path(), &job).unwrap().begin("1.0", 1).unwrap();
    writer.hand_out(0).unwrap();
    writer.hand_out(1).unwrap();
    writer.item(printed(0, "ok", b"")).unwrap();
    drop(writer);
    let dir = RunDir::open(temp.path()).unwrap();
    let keys = [Some(Key::of(b"a")), Some(Key::of(b"b")), Some(Key::of(b"c"))];
    assert_eq!(dir.settle_unknown(&job, keys).unwrap(), 1);
    assert_eq!(dir.undescribed().unwrap(), [1]);
    dir.describe([(1, Some("[\"b\"]".to_owned()), Some("b".to_owned()))]).unwrap();
    assert_eq!(dir.undescribed().unwrap(), [0_u64; 0]);
    let item = dir.reader().item(1).unwrap().unwrap();
    assert_eq!((item.args.as_deref(), item.reproduce.as_deref()), (Some("[\"b\"]"), Some("b")));
}

#[test]
fn a_worker_is_on_record_before_anything_that_it_may_begin() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = RunDir::create(temp.path(), &Job::default()).unwrap().begin("1.0", 1).unwrap();
    // So many end at once that what follows is announced ahead: nothing has to wait for its own announcement.
    for index in 0..5_000 {
        writer.hand_out(index).unwrap();
        writer.item(Item::value(index, Key::of(b"0"))).unwrap();
    }
    for worker in 0..20 {
        writer.worker_started(worker, std::process::id() + worker).unwrap();
        writer.hand_out(5_000 + u64::from(worker)).unwrap();
        assert_eq!(Reader::open(temp.path()).unwrap().workers().unwrap().len() as u32, worker + 1);
    }
}

#[test]
fn a_disk_that_takes_nothing_does_not_fill_memory() {
    const ROW: usize = 8_000;
    let temp = tempfile::tempdir().unwrap();
    let mut writer = RunDir::create(temp.path(), &Job::default()).unwrap().begin("1.0", 1).unwrap();
    let rival = rusqlite::Connection::open(temp.path().join(procession_store::DATABASE)).unwrap();
    rival.execute_batch("BEGIN IMMEDIATE; UPDATE session SET workers = 7").unwrap();
    let row = |index| Item { value: Some("7".repeat(ROW)), ..Item::value(index, Key::of(b"0")) };
    // Until the thread gives up.
    let taken = (0..).take_while(|index| writer.item(row(*index)).is_ok()).count();
    assert!(taken * ROW <= 16 << 20, "{taken} rows were taken");
}
