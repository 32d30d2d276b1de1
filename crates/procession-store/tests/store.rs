//! A run directory's life: begun, cut off, gone on with, changed, asked.

use std::path::{Path, PathBuf};

use procession_store::{Ending, ErrorKind, Item, Job, Key, Order, Reader, RunDir, Writer};
use tempfile::TempDir;

struct Scene {
    _temp: TempDir,
    path: PathBuf,
}

fn scene() -> Scene {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a").join("run");
    Scene { _temp: temp, path }
}

fn job(items: u64, idempotent: bool) -> Job {
    Job {
        name: "squares".to_owned(),
        task: "tutorial::square".to_owned(),
        signature: "(x: i64) -> i64".to_owned(),
        idempotent,
        items: Some(items),
        argv: vec!["procession".to_owned(), "run".to_owned(), "it's.toml".to_owned()],
        cwd: "/somewhere".into(),
        ..Job::default()
    }
}

fn key(x: u64) -> Key {
    Key::of(&x.to_le_bytes())
}

fn value(index: u64, x: u64) -> Item {
    Item { value: Some((x * x).to_string()), ..Item::value(index, key(x)) }
}

fn failed(index: u64, outcome: &'static str) -> Item {
    Item {
        outcome: outcome.into(),
        error: Some("it broke".to_owned()),
        signal: Some(11),
        args: Some(format!("[{index}]")),
        ..Item::value(index, key(index))
    }
}

fn write(writer: &mut Writer, item: Item) {
    writer.hand_out(item.index).unwrap();
    writer.item(item).unwrap();
}

fn outcomes(path: &Path) -> Vec<(u64, String, Option<String>)> {
    let items = Reader::open(path).unwrap().page(0, 1_000_000).unwrap();
    items.into_iter().map(|item| (item.index, item.outcome.into_owned(), item.value)).collect()
}

#[test]
fn what_was_written_is_read() {
    let scene = scene();
    let mut writer = RunDir::create(&scene.path, &job(3, false)).unwrap().begin("1.0", 4).unwrap();
    assert_eq!(writer.session(), 1);
    writer.worker_started(0, std::process::id()).unwrap();
    let full = Item {
        slot: Some(2),
        pid: Some(77),
        started_at: Some(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_500)),
        wall: Some(std::time::Duration::from_micros(250)),
        cpu: Some(std::time::Duration::from_micros(125)),
        peak_rss: Some(1 << 33),
        payload: Some(vec![1, 0, 255]),
        ..value(1, 1)
    };
    write(&mut writer, value(0, 0));
    write(&mut writer, full.clone());
    write(&mut writer, failed(2, "worker_lost"));
    writer.worker_ended(std::process::id(), None, Some(9)).unwrap();
    writer.flush().unwrap();
    assert_eq!(writer.unrecorded(), 0);
    writer.finish(Ending::Incomplete).unwrap();

    let reader = Reader::open(&scene.path).unwrap();
    assert_eq!(reader.job().unwrap(), job(3, false));
    let tally = reader.tally().unwrap();
    assert_eq!((tally.values, tally.items()), (2, 3));
    assert_eq!(tally.without, [("worker_lost".to_owned(), 1)]);
    assert_eq!(reader.item(1).unwrap(), Some(full.clone()));
    assert_eq!(reader.failures(0, 9).unwrap(), [failed(2, "worker_lost")]);
    assert_eq!(reader.failures(3, 9).unwrap(), []);
    assert_eq!(reader.slowest(9).unwrap(), [full]);
    assert_eq!(reader.item(3).unwrap(), None);
    let session = &reader.sessions().unwrap()[0];
    assert_eq!((session.ending.as_deref(), session.workers), (Some("incomplete"), 4));
    let worker = &reader.workers().unwrap()[0];
    assert_eq!((worker.slot, worker.signal), (0, Some(9)));
    assert!(worker.ended_at.is_some_and(|ended| ended >= worker.started_at));
}

#[test]
fn a_directory_has_one_run_and_one_master() {
    let scene = scene();
    assert_eq!(Reader::open(&scene.path).unwrap_err().kind(), ErrorKind::NotARun);
    assert_eq!(RunDir::open(&scene.path).unwrap_err().kind(), ErrorKind::NotARun);
    let writer = RunDir::create(&scene.path, &job(1, false)).unwrap().begin("1.0", 1).unwrap();
    assert_eq!(RunDir::create(&scene.path, &job(1, false)).unwrap_err().kind(), ErrorKind::InUse);
    assert_eq!(RunDir::open(&scene.path).unwrap_err().kind(), ErrorKind::InUse);
    Reader::open(&scene.path).unwrap();
    writer.finish(Ending::Complete).unwrap();
    assert_eq!(RunDir::create(&scene.path, &job(1, false)).unwrap_err().kind(), ErrorKind::Exists);
    RunDir::open(&scene.path).unwrap();
    // Nobody but its owner reads it.
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&scene.path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_a_killed_master_had_handed_out_is_unknown() {
    for idempotent in [false, true] {
        let scene = scene();
        let mut writer = RunDir::create(&scene.path, &job(6, idempotent)).unwrap().begin("1.0", 1).unwrap();
        write(&mut writer, value(0, 0));
        writer.hand_out(1).unwrap();
        writer.hand_out(2).unwrap();
        write(&mut writer, value(3, 3));
        writer.hand_out(4).unwrap();
        // As a kill does: no end.
        drop(writer);
        let dir = RunDir::open(&scene.path).unwrap();
        let settle = || dir.settle_unknown(&job(6, idempotent), (0..6).map(|x| Some(key(x)))).unwrap();
        let unsettled = dir.unsettled(&job(6, idempotent)).unwrap();
        let unknown = settle();
        assert_eq!(unknown, unsettled);
        assert_eq!(settle(), 0, "they are settled");
        let listed: Vec<u64> = dir.reader().failures(0, 99).unwrap().iter().map(|item| item.index).collect();
        if idempotent {
            assert_eq!((unknown, listed), (0, vec![]));
        } else {
            // What was announced ahead of its time may be among them; what was not announced is not.
            assert!(listed.starts_with(&[1, 2, 4]) && unknown as usize == listed.len(), "{listed:?}");
        }
        assert_eq!(dir.forget(&["unknown"]).unwrap(), unknown);
        // An end in order leaves nothing unknown.
        let mut writer = dir.begin("1.0", 1).unwrap();
        writer.hand_out(5).unwrap();
        writer.finish(Ending::Signalled).unwrap();
        let dir = RunDir::open(&scene.path).unwrap();
        assert_eq!(dir.settle_unknown(&job(6, false), (0..6).map(|x| Some(key(x)))).unwrap(), 0);
    }
}

/// Kills a master that has begun item 0, and held items 1 to 3 that it took back.
fn killed_while_it_drained(path: &Path) -> RunDir {
    let mut writer = RunDir::create(path, &job(9, false)).unwrap().begin("1.0", 1).unwrap();
    (0..4).for_each(|item| writer.hand_out(item).unwrap());
    (1..4).for_each(|item| writer.not_run(item).unwrap());
    writer.flush().unwrap();
    drop(writer);
    RunDir::open(path).unwrap()
}

fn settle(dir: &RunDir) -> Vec<u64> {
    let unsettled = dir.unsettled(&job(9, false)).unwrap();
    assert_eq!(dir.settle_unknown(&job(9, false), (0..9).map(|x| Some(key(x)))).unwrap(), unsettled);
    let unknown = dir.reader().failures(0, 99).unwrap();
    assert!(unknown.iter().all(|item| item.outcome == "unknown"), "{unknown:?}");
    unknown.iter().map(|item| item.index).collect()
}

#[test]
fn what_was_not_begun_before_one_kill_may_have_been_begun_before_the_next() {
    let scene = scene();
    let dir = killed_while_it_drained(&scene.path);
    assert_eq!(settle(&dir), [0]);
    let mut writer = dir.begin("1.0", 1).unwrap();
    // Of the items that run, which are the same as before, it takes in the first ones.
    (0..3).for_each(|item| writer.hand_out(item).unwrap());
    drop(writer);
    assert_eq!(settle(&RunDir::open(&scene.path).unwrap()), [0, 1, 2]);
}

#[test]
fn what_was_not_begun_has_no_outcome_whoever_asks() {
    let scene = scene();
    let dir = killed_while_it_drained(&scene.path);
    let reader = dir.reader();
    assert_eq!((reader.tally().unwrap().items(), reader.item(2).unwrap()), (0, None));
    let nothing = |index| -> Result<(), procession_store::Error> { panic!("item {index} has an outcome") };
    reader.briefs(Order::Input, |item| nothing(item.index)).unwrap();
    reader.causes(|item| nothing(item.index)).unwrap();
    let other = Job { task: "tutorial::cube".to_owned(), ..job(9, false) };
    assert_eq!(dir.accept(&other, (0..9).map(|x| Some(key(x)))).unwrap(), 0);
}

#[test]
fn a_malformed_row_that_was_mended_may_have_been_begun() {
    let scene = scene();
    let mut writer = RunDir::create(&scene.path, &job(9, false)).unwrap().begin("1.0", 1).unwrap();
    let malformed = |index| Item { index, outcome: "invalid_input".into(), ..Item::default() };
    (0..2).for_each(|index| writer.item(malformed(index)).unwrap());
    writer.finish(Ending::Incomplete).unwrap();
    let mut writer = RunDir::open(&scene.path).unwrap().begin("1.0", 1).unwrap();
    // Row 0 is as it was, row 1 was mended.
    writer.item(malformed(0)).unwrap();
    writer.hand_out(1).unwrap();
    drop(writer);
    let dir = RunDir::open(&scene.path).unwrap();
    assert_eq!(dir.settle_unknown(&job(9, false), (0..9).map(|x| Some(key(x)))).unwrap(), 1);
    assert_eq!(dir.reader().item(1).unwrap().unwrap().outcome, "unknown");
}

#[test]
fn a_new_outcome_replaces_the_old_one() {
    let scene = scene();
    let mut writer = RunDir::create(&scene.path, &job(1, false)).unwrap().begin("1.0", 1).unwrap();
    write(&mut writer, failed(0, "panicked"));
    writer.finish(Ending::Incomplete).unwrap();
    let mut writer = RunDir::open(&scene.path).unwrap().begin("1.1", 1).unwrap();
    assert_eq!(writer.session(), 2);
    write(&mut writer, value(0, 5));
    writer.finish(Ending::Complete).unwrap();
    assert_eq!(outcomes(&scene.path), [(0, "ok".to_owned(), Some("25".to_owned()))]);
}

#[test]
fn outcomes_follow_their_arguments_into_a_changed_input() {
    let scene = scene();
    let mut writer = RunDir::create(&scene.path, &job(5, false)).unwrap().begin("1.0", 1).unwrap();
    for (index, x) in [(0, 10), (1, 20), (2, 10), (3, 30)] {
        write(&mut writer, value(index, x));
    }
    writer.item(Item { index: 4, key: None, outcome: "invalid_input".into(), ..Item::default() }).unwrap();
    writer.finish(Ending::Complete).unwrap();
    let dir = RunDir::open(&scene.path).unwrap();
    let changed = Job { name: "more squares".to_owned(), ..job(6, true) };
    // One 10 is gone, there is a new 40 and a malformed row, the rest moved.
    let keys = [Some(40), Some(30), None, Some(20), Some(10), Some(50)].map(|x| x.map(key));
    assert_eq!(dir.accept(&changed, keys.into_iter()).unwrap(), 3);
    assert_eq!(dir.reader().job().unwrap(), changed);
    drop(dir);
    let listed = outcomes(&scene.path);
    let expected = [(1, "900"), (3, "400"), (4, "100")];
    assert_eq!(listed, expected.map(|(index, value)| (index, "ok".to_owned(), Some(value.to_owned()))));
}

#[test]
fn a_store_that_cannot_be_written_says_so_and_stays_valid() {
    let scene = scene();
    let mut writer = RunDir::create(&scene.path, &job(100, false)).unwrap().begin("1.0", 1).unwrap();
    write(&mut writer, value(0, 0));
    writer.flush().unwrap();
    // Another connection that is in the middle of a change keeps ours from beginning one.
    let rival = rusqlite::Connection::open(scene.path.join("run.sqlite")).unwrap();
    rival.execute_batch("BEGIN IMMEDIATE; UPDATE session SET workers = 7").unwrap();
    writer.item(value(1, 1)).unwrap();
    let error = writer.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with("the run store: "), "{error}");
    assert_eq!(writer.hand_out(7).unwrap_err().to_string(), error.to_string());
    assert_eq!(writer.unrecorded(), 1);
    assert!(writer.finish(Ending::Unwritable).is_err());
    drop(rival);
    assert_eq!(outcomes(&scene.path).len(), 1);
}

#[test]
fn what_is_no_run_is_refused() {
    let scene = scene();
    std::fs::create_dir_all(&scene.path).unwrap();
    let other = rusqlite::Connection::open(scene.path.join("run.sqlite")).unwrap();
    other.execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
    drop(other);
    let error = Reader::open(&scene.path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotARun);
    assert!(error.to_string().contains("another program"), "{error}");
    assert!(RunDir::open(&scene.path).is_err() && RunDir::create(&scene.path, &job(1, true)).is_err());
    std::fs::write(
        scene.path.join("run.sqlite"),
        "no database at all, but a text that is long enough to look at",
    )
    .unwrap();
    assert_eq!(Reader::open(&scene.path).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn outcomes_are_on_record_soon_without_being_asked_for() {
    let scene = scene();
    let mut writer = RunDir::create(&scene.path, &job(2, false)).unwrap().begin("1.0", 1).unwrap();
    writer.item(value(0, 3)).unwrap();
    let start = std::time::Instant::now();
    while outcomes(&scene.path).is_empty() {
        assert!(start.elapsed().as_secs() < 30, "nothing is on record");
        writer.tick().unwrap();
        std::thread::yield_now();
    }
    assert_eq!(writer.unrecorded(), 0);
}

#[test]
fn all_items_are_gone_through_in_either_order() {
    let scene = scene();
    let mut writer = RunDir::create(&scene.path, &job(4, false)).unwrap().begin("1.0", 2).unwrap();
    let at = |seconds| Some(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
    let wall = Some(std::time::Duration::from_millis(250));
    for (index, slot, began) in [(0, 1, 30), (1, 0, 20), (2, 1, 10)] {
        write(&mut writer, Item { slot: Some(slot), started_at: at(began), wall, ..value(index, index) });
    }
    write(&mut writer, failed(3, "panicked"));
    writer.finish(Ending::Incomplete).unwrap();

    let reader = Reader::open(&scene.path).unwrap();
    let indices = |order| {
        let mut indices = Vec::new();
        let gone = reader.briefs::<procession_store::Error>(order, |item| {
            indices.push(item.index);
            Ok(())
        });
        gone.unwrap();
        indices
    };
    assert_eq!(indices(Order::Input), [0, 1, 2, 3]);
    assert_eq!(indices(Order::Lane), [3, 1, 2, 0], "items without a worker come first");
    let mut causes = Vec::new();
    let gone = reader.at_once::<_, procession_store::Error>(|reader| {
        reader.briefs(Order::Input, |item| {
            assert_eq!((item.session, item.wall_s.is_some()), (1, item.outcome == "ok"));
            Ok::<_, procession_store::Error>(())
        })?;
        reader.causes(|cause| {
            causes.push((cause.index, cause.outcome.to_owned(), cause.error.map(str::to_owned)));
            Ok(())
        })
    });
    gone.unwrap();
    assert_eq!(causes, [(3, "panicked".to_owned(), Some("it broke".to_owned()))]);
}

#[test]
fn a_directory_whose_master_was_killed_at_once_can_be_begun() {
    let scene = scene();
    drop(RunDir::create(&scene.path, &job(1, false)).unwrap());
    // As far as a master comes that makes the tables first.
    let database = rusqlite::Connection::open(scene.path.join("run.sqlite")).unwrap();
    database.execute_batch("DELETE FROM job").unwrap();
    drop(database);
    assert_eq!(RunDir::open(&scene.path).unwrap_err().kind(), ErrorKind::NotARun);
    let error = Reader::open(&scene.path).unwrap_err();
    assert!(error.to_string().contains("has not begun"), "{error}");
    let mut writer = RunDir::create(&scene.path, &job(1, false)).unwrap().begin("1.0", 1).unwrap();
    write(&mut writer, value(0, 2));
    writer.finish(Ending::Complete).unwrap();
    assert_eq!(outcomes(&scene.path).len(), 1);
}

#[test]
fn a_run_has_begun_or_has_not_for_whoever_reads() {
    let temp = tempfile::tempdir().unwrap();
    for round in 0..40 {
        let path = temp.path().join(round.to_string());
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                loop {
                    match Reader::open(&path).and_then(|reader| reader.job()) {
                        Ok(job) => return job,
                        Err(error) => {
                            let told = error.to_string();
                            let is_early =
                                told.contains("there is no run in") || told.contains("has not begun");
                            assert!(is_early, "{told}");
                        }
                    }
                }
            });
            drop(RunDir::create(&path, &job(7, false)).unwrap());
            assert_eq!(reading.join().unwrap().items, Some(7));
        });
    }
}

#[test]
fn a_lock_outlives_the_file_that_names_its_holder() {
    let scene = scene();
    let writer = RunDir::create(&scene.path, &job(1, false)).unwrap().begin("1.0", 1).unwrap();
    std::fs::remove_file(scene.path.join("lock")).unwrap();
    assert_eq!(RunDir::open(&scene.path).unwrap_err().kind(), ErrorKind::InUse);
    assert!(procession_store::holder(&scene.path).is_some());
    writer.finish(Ending::Complete).unwrap();
    assert_eq!(procession_store::holder(&scene.path), None);
}

#[test]
fn a_directory_that_was_removed_is_noticed_at_the_end() {
    for replace in [false, true] {
        let scene = scene();
        let mut writer = RunDir::create(&scene.path, &job(1, false)).unwrap().begin("1.0", 1).unwrap();
        write(&mut writer, value(0, 1));
        writer.flush().unwrap();
        std::fs::remove_dir_all(&scene.path).unwrap();
        if replace {
            drop(RunDir::create(&scene.path, &job(1, false)).unwrap());
        }
        let error = writer.finish(Ending::Complete).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("removed or replaced"), "{error}");
    }
}

#[test]
fn a_row_that_became_malformed_keeps_its_outcome() {
    let invalid = |index, error: &str| Item {
        index,
        outcome: procession_store::INVALID.into(),
        error: Some(error.to_owned()),
        ..Item::default()
    };
    let scene = scene();
    let mut writer = RunDir::create(&scene.path, &job(3, false)).unwrap().begin("1.0", 1).unwrap();
    write(&mut writer, value(0, 3));
    write(&mut writer, failed(1, "unknown"));
    writer.item(invalid(2, "odd")).unwrap();
    writer.finish(Ending::Incomplete).unwrap();
    let mut writer = RunDir::open(&scene.path).unwrap().begin("1.0", 1).unwrap();
    for index in 0..3 {
        writer.item(invalid(index, "odder")).unwrap();
    }
    writer.finish(Ending::Incomplete).unwrap();
    let reader = Reader::open(&scene.path).unwrap();
    assert_eq!(reader.item(0).unwrap(), Some(value(0, 3)));
    assert_eq!(reader.item(1).unwrap(), Some(failed(1, "unknown")));
    assert_eq!(reader.item(2).unwrap(), Some(invalid(2, "odder")));
}

#[test]
fn unknown_items_follow_their_arguments_too() {
    let scene = scene();
    let mut writer = RunDir::create(&scene.path, &job(2, false)).unwrap().begin("1.0", 1).unwrap();
    write(&mut writer, value(0, 0));
    writer.hand_out(1).unwrap();
    drop(writer);
    let dir = RunDir::open(&scene.path).unwrap();
    let changed = job(3, false);
    assert_eq!(dir.unsettled(&changed).unwrap(), 1);
    assert_eq!(dir.settle_unknown(&changed, [0, 1].map(|x| Some(key(x)))).unwrap(), 1);
    assert_eq!(dir.accept(&changed, [9, 1, 0].map(|x| Some(key(x))).into_iter()).unwrap(), 2);
    drop(dir);
    let listed: Vec<_> =
        outcomes(&scene.path).into_iter().map(|(index, outcome, _)| (index, outcome)).collect();
    assert_eq!(listed, [(1, "unknown".to_owned()), (2, "ok".to_owned())]);
}

#[test]
fn an_item_that_was_begun_runs_again_only_if_its_task_was_and_is_idempotent() {
    for (before, now, unknown) in [(true, true, 0), (true, false, 1), (false, true, 1), (false, false, 1)] {
        let scene = scene();
        let mut writer = RunDir::create(&scene.path, &job(1, before)).unwrap().begin("1.0", 1).unwrap();
        writer.hand_out(0).unwrap();
        drop(writer);
        let dir = RunDir::open(&scene.path).unwrap();
        assert_eq!(dir.settle_unknown(&job(1, now), [Some(key(0))]).unwrap(), unknown, "{before} {now}");
        dir.go_on(&job(1, now)).unwrap();
        assert_eq!(dir.reader().job().unwrap().idempotent, now);
    }
}

#[test]
fn values_of_another_task_are_not_kept() {
    for (changed, kept) in [
        (job(2, false), 2),
        (Job { task: "tutorial::cube".to_owned(), ..job(2, false) }, 0),
        (Job { signature: "(x: f64) -> f64".to_owned(), ..job(2, false) }, 0),
        // Of one there is nothing that could be reduced.
        (Job { reduce: Some("sum".to_owned()), ..job(2, false) }, 1),
    ] {
        let scene = scene();
        let mut writer = RunDir::create(&scene.path, &job(2, false)).unwrap().begin("1.0", 1).unwrap();
        write(&mut writer, value(0, 0));
        write(&mut writer, Item { payload: Some(vec![1]), ..value(1, 1) });
        writer.finish(Ending::Complete).unwrap();
        let dir = RunDir::open(&scene.path).unwrap();
        assert_eq!(dir.accept(&changed, [0, 1].map(|x| Some(key(x))).into_iter()).unwrap(), kept);
    }
}

#[test]
fn numbers_beyond_all_items_are_answered() {
    let scene = scene();
    let error = RunDir::create(&scene.path, &job(u64::MAX, false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooMany);
    assert!(!scene.path.exists(), "nothing was made");
    drop(RunDir::create(&scene.path, &job(1, false)).unwrap());
    let reader = Reader::open(&scene.path).unwrap();
    assert_eq!(reader.item(u64::MAX).unwrap(), None);
    assert_eq!(reader.page(u64::MAX, 9).unwrap(), []);
    assert_eq!(reader.failures(1 << 63, 9).unwrap(), []);
}
