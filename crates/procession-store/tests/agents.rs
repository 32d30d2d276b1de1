//! What is on record of agents: who was there, from when to when, and what their workers did.

use std::time::{Duration, SystemTime};

use procession_store::{
    AgentChange, AgentNews, AgentStay, Ending, Item, Job, Key, Leaving, Reader, RunDir, Seating, Writer,
};

fn tell(writer: &mut Writer, name: &str, what: AgentChange) {
    writer.agent(AgentNews { name: name.to_owned(), what }).unwrap();
}

/// What can be said of an agent whatever the time.
fn facts(stay: &AgentStay) -> (i64, &str, u32, u32, bool, Option<&str>, u64) {
    let AgentStay { session, name, first_slot, workers, left_at, leaving, chunks, .. } = stay;
    (*session, name, *first_slot, *workers, left_at.is_some(), leaving.as_deref(), *chunks)
}

#[test]
fn agents_come_and_go_and_end_with_their_session() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("run");
    let mut writer = RunDir::create(&path, &Job::default()).unwrap().begin("1.0", 0).unwrap();
    tell(&mut writer, "a-1", AgentChange::Joined { first_slot: 0, workers: 2 });
    tell(&mut writer, "b-2", AgentChange::Joined { first_slot: 2, workers: 4 });
    tell(&mut writer, "a-1", AgentChange::Gone(Leaving::Silent));
    // It comes back.
    tell(&mut writer, "a-1", AgentChange::Joined { first_slot: 0, workers: 2 });
    tell(&mut writer, "a-1", AgentChange::Holds(3));
    tell(&mut writer, "b-2", AgentChange::Holds(5));
    writer.flush().unwrap();
    let reader = Reader::open(&path).unwrap();
    let stays = reader.agents().unwrap();
    let silent = (1, "a-1", 0, 2, true, Some("silent"), 0);
    assert_eq!(
        stays.iter().map(facts).collect::<Vec<_>>(),
        [silent, (1, "b-2", 2, 4, false, None, 5), (1, "a-1", 0, 2, false, None, 3)]
    );
    writer.finish(Ending::Complete).unwrap();
    let stays = reader.agents().unwrap();
    assert_eq!(
        stays.iter().map(facts).collect::<Vec<_>>(),
        [silent, (1, "b-2", 2, 4, true, None, 0), (1, "a-1", 0, 2, true, None, 0)]
    );
}

#[test]
fn items_are_counted_by_worker_and_by_time() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("run");
    let now = SystemTime::now();
    let at = |seconds: u64| now + Duration::from_secs(seconds);
    let item = |index: u64, slot, started_at: SystemTime| Item {
        slot,
        started_at: Some(started_at),
        wall: Some(Duration::from_secs(2)),
        ..Item::value(index, Key::of(b"args"))
    };
    for (session, items) in [
        vec![item(0, Some(7), at(0))],
        vec![
            item(1, Some(7), at(0)),
            item(2, Some(7), at(9)),
            item(3, None, at(9)),
            item(4, Some(7), now - Duration::from_secs(9)),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let dir = if session == 0 { RunDir::create(&path, &Job::default()) } else { RunDir::open(&path) };
        let mut writer = dir.unwrap().begin("1.0", 1).unwrap();
        items.into_iter().for_each(|item| writer.item(item).unwrap());
        writer.finish(Ending::Complete).unwrap();
    }
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.done(1, at(0)).unwrap(), (1, 1));
    assert_eq!(reader.done(2, at(10)).unwrap(), (3, 2));
    assert_eq!((reader.done_by_slot(2).unwrap(), reader.first_free_slot().unwrap()), (vec![(7, 2)], 1));
}

#[test]
fn a_slot_is_of_the_agent_that_has_it() {
    let mut seating = Seating::default();
    seating.seat("b", 4, 2);
    seating.seat("a", 1, 2);
    let owners: Vec<_> = (0..7).map(|slot| seating.of_slot(slot)).collect();
    assert_eq!(owners, [None, Some(("a", 0)), Some(("a", 1)), None, Some(("b", 0)), Some(("b", 1)), None]);
}
