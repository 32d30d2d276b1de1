//! Run directories of a part of a job, and those of the version of tables that knew none.

use std::path::PathBuf;

use procession_store::{ErrorKind, Item, Job, Key, Reader, RunDir, Selection, elements};
use tempfile::TempDir;

struct Scene {
    _temp: TempDir,
    path: PathBuf,
}

fn scene() -> Scene {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("run");
    Scene { _temp: temp, path }
}

fn job(items: u64, selection: Selection) -> Job {
    Job { items: Some(items), input: Some(Key::of(b"input")), selection, ..Job::default() }
}

fn shard(text: &str) -> Selection {
    Selection::of(None, Some(text.parse().unwrap()), None)
}

fn keys(items: u64) -> impl Iterator<Item = Option<Key>> {
    (0..items).map(|x| Some(Key::of(&x.to_le_bytes())))
}

/// Hands out the items at these places of the selection and kills the master; those in `ended` have a value.
fn killed(scene: &Scene, job: &Job, places: u64, ended: &[u64]) {
    let mut writer = RunDir::create(&scene.path, job).unwrap().begin("1.0", 1).unwrap();
    for place in 0..places {
        writer.hand_out(place).unwrap();
        if ended.contains(&place) {
            let index = job.selection.nth(place).unwrap();
            writer.item(Item::value(index, Key::of(&index.to_le_bytes()))).unwrap();
        }
    }
    drop(writer);
}

fn outcomes(reader: &Reader) -> Vec<(u64, String)> {
    reader.page(0, 999).unwrap().into_iter().map(|item| (item.index, item.outcome.into_owned())).collect()
}

#[test]
fn a_selection_is_on_record() {
    let list = elements("3,7,10-20,100-").unwrap();
    for selection in [
        Selection::default(),
        shard("2/3"),
        Selection::of(Some(&list), None, None),
        Selection::of(Some(&list), Some("1/4".parse().unwrap()), Some(5)),
    ] {
        let scene = scene();
        let job = job(200, selection);
        drop(RunDir::create(&scene.path, &job).unwrap());
        let read = Reader::open(&scene.path).unwrap().job().unwrap();
        assert_eq!(read, job);
        assert_eq!(read.selected(), Some(job.selection.indices(200).count() as u64));
    }
}

#[test]
fn what_a_killed_master_of_a_shard_had_handed_out_is_unknown_and_nothing_else_is() {
    let scene = scene();
    let job = job(30, shard("2/3"));
    killed(&scene, &job, 3, &[0, 2]);
    let dir = RunDir::open(&scene.path).unwrap();
    let unsettled = dir.unsettled(&job).unwrap();
    assert_eq!(dir.settle_unknown(&job, keys(30)).unwrap(), unsettled);
    let outcomes = outcomes(dir.reader());
    // What was announced ahead of its time may be among them.
    let wanted = [(1, "ok"), (4, "unknown"), (7, "ok")].map(|(index, outcome)| (index, outcome.to_owned()));
    assert!(outcomes.starts_with(&wanted), "{outcomes:?}");
    assert!(
        outcomes[3..].iter().all(|(index, outcome)| index % 3 == 1 && outcome == "unknown"),
        "{outcomes:?}"
    );
    assert_eq!(outcomes.len() as u64, unsettled + 2);
}

#[test]
fn a_part_that_grows_keeps_what_it_has() {
    let scene = scene();
    let part = job(30, shard("2/3"));
    killed(&scene, &part, 2, &[0, 1]);
    let dir = RunDir::open(&scene.path).unwrap();
    dir.settle_unknown(&part, keys(30)).unwrap();
    dir.forget(&["unknown"]).unwrap();
    // All items have the same arguments: an outcome stays with its item all the same.
    let same = || (0..30).map(|_| Some(Key::of(b"same")));
    assert_eq!(dir.accept(&job(30, Selection::default()), same()).unwrap(), 2);
    assert_eq!(outcomes(dir.reader()), [(1, "ok".to_owned()), (4, "ok".to_owned())]);
    assert!(dir.reader().job().unwrap().selection.is_whole());
}

#[test]
fn of_another_input_outcomes_go_to_items_of_the_part_alone() {
    let scene = scene();
    let part = job(6, shard("1/2"));
    killed(&scene, &part, 3, &[0, 1, 2]);
    let dir = RunDir::open(&scene.path).unwrap();
    let changed = Job { input: Some(Key::of(b"another")), ..part };
    // What was item 0 is item 1 now, which is none of the shard's; what was item 4 is item 2.
    let keys = [9, 0, 4, 8, 2, 7].map(|x: u64| Some(Key::of(&x.to_le_bytes())));
    assert_eq!(dir.accept(&changed, keys.into_iter()).unwrap(), 2);
    assert_eq!(outcomes(dir.reader()), [(2, "ok".to_owned()), (4, "ok".to_owned())]);
}

#[test]
fn what_is_written_meanwhile_belongs_to_another_moment() {
    let scene = scene();
    let mut writer =
        RunDir::create(&scene.path, &job(9, Selection::default())).unwrap().begin("1.0", 1).unwrap();
    let mut write = |index: u64| {
        writer.hand_out(index).unwrap();
        writer.item(Item::value(index, Key::of(b"args"))).unwrap();
        writer.flush().unwrap();
    };
    let reader = Reader::open(&scene.path).unwrap();
    let indices = || reader.indices().unwrap().ask().unwrap().collect::<Result<Vec<u64>, _>>().unwrap();
    write(0);
    let moment = reader.hold().unwrap();
    write(1);
    assert_eq!(indices(), [0]);
    drop(moment);
    assert_eq!(indices(), [0, 1]);
    let mut items = reader.items().unwrap();
    let items: Vec<Item> = items.ask().unwrap().map(Result::unwrap).collect();
    assert_eq!(items, reader.page(0, 9).unwrap());
}

#[test]
fn tables_of_older_versions_are_read_and_not_written() {
    let scene = scene();
    let whole = job(3, Selection::default());
    killed(&scene, &whole, 1, &[0]);
    let database = rusqlite::Connection::open(scene.path.join("run.sqlite")).unwrap();
    let older = "ALTER TABLE job DROP COLUMN chosen; ALTER TABLE job DROP COLUMN shard; ALTER TABLE job DROP COLUMN first;
                 DROP TABLE not_begun; DROP TABLE agent; PRAGMA user_version = 2";
    database.execute_batch(older).unwrap();
    let reader = Reader::open(&scene.path).unwrap();
    assert_eq!(reader.job().unwrap(), whole);
    assert_eq!(reader.tally().unwrap().values, 1);
    assert_eq!(reader.agents().unwrap(), []);
    let error = RunDir::open(&scene.path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotARun);
    assert!(
        error.to_string().contains("of version 2, which this program reads and does not write"),
        "{error}"
    );
    assert_eq!(RunDir::claim(&scene.path).unwrap_err().kind(), ErrorKind::Exists);
    for version in [1, 6] {
        database.pragma_update(None, "user_version", version).unwrap();
        assert_eq!(Reader::open(&scene.path).unwrap_err().kind(), ErrorKind::NotARun, "{version}");
    }
}
