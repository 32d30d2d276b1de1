//! Scripts of what a master hears, and all that it says.

mod lives;

use std::collections::VecDeque;

use procession::Payload;

use super::*;
use crate::leases::LOSSES_MAX;

const LEASE: Duration = Duration::from_secs(3);

fn settings(at_most_once: bool) -> Settings {
    Settings {
        session: 1,
        ordered: true,
        chunk_items: Some(4),
        buffer: Some(64),
        timeout: None,
        lease: LEASE,
        at_most_once,
        keeps_answers: false,
    }
}

fn item(index: u64) -> Item {
    Item { index, args: Payload::from(index.to_le_bytes().to_vec()) }
}

fn value_of(item: &Item) -> Fate {
    Fate::Value(item.args.clone())
}

fn all(master: &mut Master) -> Vec<Command> {
    std::iter::from_fn(|| master.poll_command()).collect()
}

fn answer(chunk: &Chunk, fate: impl Fn(&Item) -> Fate) -> Answer {
    let fates = chunk.items.iter().map(|item| (item.index, fate(item))).collect();
    Answer { agent: "a".to_owned(), is_suspect: false, fates, figures: Vec::new() }
}

fn put(command: Option<&Command>) -> (Chunk, u32) {
    match command {
        Some(Command::Put { chunk, copy }) => (chunk.clone(), *copy),
        other => panic!("{other:?} is no chunk"),
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn outcomes_come_in_order_and_late_answers_are_dropped() {
    let mut master = Master::new(Settings { chunk_items: Some(1), ..settings(false) });
    for index in [10, 11] {
        master.push(item(index), at(0));
    }
    let commands = all(&mut master);
    let (first, second) = (put(commands.first()).0, put(commands.get(1)).0);
    master.answered(second.id, answer(&second, value_of), at(1));
    assert_eq!(master.next_outcome(), None, "it is not its turn");
    master.answered(first.id, answer(&first, value_of), at(1));
    let outcome = |index: u64| Outcome::Value(item(index).args);
    assert_eq!(master.next_outcome(), Some((0, outcome(10))));
    assert_eq!(master.next_outcome(), Some((1, outcome(11))));
    assert!(master.is_settled());
    assert_eq!(all(&mut master), [Command::Release(second.id), Command::Release(first.id)]);
    master.answered(first.id, answer(&first, |_| Fate::Lost), at(9));
    assert_eq!((master.next_outcome(), all(&mut master)), (None, vec![Command::Release(first.id)]));
}

#[test]
fn what_was_not_begun_is_put_again_and_what_is_silent_too() {
    let mut master = Master::new(settings(false));
    (0..4).for_each(|index| master.push(item(index), at(0)));
    let (chunk, _) = put(all(&mut master).first());
    let half = |item: &Item| if item.index < 2 { value_of(item) } else { Fate::NotBegun };
    master.answered(chunk.id, answer(&chunk, half), at(1));
    let commands = all(&mut master);
    let (again, copy) = put(commands.first());
    assert_eq!((again.items.len(), again.id != chunk.id, copy), (2, true, 0));
    assert_eq!(commands[1..], [Command::Release(chunk.id)]);
    let queue = |asked, waiting| Some(Queue { waiting, has_consumer: true, asked });
    master.tick(queue(at(11), 1), at(11));
    assert_eq!(all(&mut master), [], "it waits in the queue");
    master.tick(queue(at(9), 0), at(9));
    assert_eq!(all(&mut master), [], "somebody may have it");
    master.tick(queue(at(14), 0), at(14));
    let copy = Chunk { is_alone: true, ..again.clone() };
    assert_eq!(put(all(&mut master).first()), (copy, 1), "under its own name, and with no other");
    master.heard(
        Hello { agent: "a".to_owned(), workers: 1, is_idle: false, held: vec![again.id], parting: None },
        at(19),
    );
    master.tick(queue(at(23), 0), at(23));
    assert_eq!(all(&mut master), [], "somebody has said so");
}

#[test]
fn silence_counts_from_when_the_broker_was_there_again_and_to_when_it_was_asked() {
    let mut master = Master::new(settings(false));
    (0..4).for_each(|index| master.push(item(index), at(0)));
    let (chunk, _) = put(all(&mut master).first());
    let hello =
        Hello { agent: "a".to_owned(), workers: 1, is_idle: false, held: vec![chunk.id], parting: None };
    master.heard(hello, at(1));
    let queue = |asked| Some(Queue { waiting: 0, has_consumer: true, asked: at(asked) });
    // Away for longer than three leases.
    master.connected(at(20));
    assert_eq!((master.status().len(), master.take_notices().len()), (1, 1));
    for seconds in [20, 28] {
        master.tick(queue(seconds), at(seconds));
        assert_eq!(all(&mut master), [], "{seconds} s");
        assert_eq!(master.take_notices(), [], "{seconds} s: its agents may be there as well");
    }
    // A large answer has been on its way since then.
    master.arrives(at(28));
    master.tick(queue(36), at(36));
    assert_eq!(all(&mut master), []);
    // Asked before the process stood still, and heard after it.
    master.tick(queue(36), at(99));
    assert_eq!(all(&mut master), []);
    master.tick(queue(37), at(99));
    assert_eq!(put(all(&mut master).first()), (Chunk { is_alone: true, ..chunk }, 1));
}

#[test]
fn a_chunk_that_has_waited_for_long_is_not_put_again_when_it_is_taken() {
    let mut master = Master::new(settings(false));
    master.push(item(0), at(0));
    master.cut(at(0));
    all(&mut master);
    let queue = |waiting, asked| Some(Queue { waiting, has_consumer: true, asked: at(asked) });
    master.tick(queue(1, 20), at(20));
    // An agent has it, and has not said so yet.
    master.tick(queue(0, 21), at(21));
    assert_eq!(all(&mut master), []);
    master.tick(queue(0, 23), at(23));
    assert_eq!(all(&mut master).len(), 1, "nobody has it");
}

#[test]
fn a_chunk_is_cut_where_there_is_no_room_for_more() {
    let mut master = Master::new(Settings { buffer: Some(2), ..settings(false) });
    let mut index = 0;
    while master.wants() > 0 {
        master.push(item(index), at(0));
        index += 1;
    }
    assert_eq!((index, put(all(&mut master).first()).0.items.len()), (2, 2), "four would fit into a chunk");
}

#[test]
fn every_worker_of_a_large_fleet_has_a_chunk() {
    let unlimited = Settings { chunk_items: None, buffer: None, ..settings(false) };
    let given = Settings { buffer: Some(50_000), ..unlimited.clone() };
    let workers = 20_000;
    // Chunks that a master keeps up with; and items of which there would not be room for as many as it likes.
    for (settings, milliseconds, least) in [(unlimited, 1_000, 2 * workers), (given, 10, workers)] {
        let mut master = Master::new(settings);
        let agent = "a".to_owned();
        master.heard(Hello { agent, workers, is_idle: true, held: Vec::new(), parting: None }, at(0));
        let (mut indices, mut chunks) = (0.., 0);
        // What an item takes becomes known.
        for _ in 0..20 {
            master.push(item(indices.next().expect("endless")), at(0));
            master.cut(at(0));
            let chunk = put(all(&mut master).first()).0;
            let busy = Duration::from_millis(milliseconds);
            master.answered(
                chunk.id,
                Answer { figures: vec![took(busy)], ..answer(&chunk, value_of) },
                at(0),
            );
            while master.next_outcome().is_some() {}
            all(&mut master);
        }
        while master.wants() > 0 {
            master.push(item(indices.next().expect("endless")), at(0));
            chunks += all(&mut master).len();
        }
        assert!(chunks >= least as usize, "{chunks} chunks for {workers} workers");
    }
}

fn took(busy: Duration) -> Figures {
    let (since, cpu) = (Duration::ZERO, Duration::ZERO);
    Figures { first: 0, items: 1, attempt: 1, slot: 0, pid: 1, since, busy, cpu, peak_rss: 0 }
}

#[test]
fn no_more_results_are_asked_for_than_there_is_room_for() {
    let mut master = Master::new(Settings { chunk_items: Some(1), ..settings(false) });
    let hello = Hello { agent: "a".to_owned(), workers: 99, is_idle: true, held: Vec::new(), parting: None };
    master.heard(hello, at(0));
    master.push(item(0), at(0));
    let (first, _) = put(all(&mut master).first());
    let large = Fate::Value(Payload::from(vec![0; 16 << 20]));
    master.answered(first.id, answer(&first, |_| large.clone()), at(1));
    let mut under_way = 0;
    while master.wants() > 0 {
        under_way += 1;
        master.push(item(under_way), at(1));
    }
    assert_eq!(under_way, 3, "with the one that is there they have 64 MiB");
    assert!(master.next_outcome().is_some() && master.wants() > 0);
}

#[test]
fn of_what_was_answered_before_it_is_known_who_ran_it() {
    let mut master = Master::new(Settings { session: 2, ..settings(false) });
    master.recall(vec![Seats { agent: "a".to_owned(), first: 4, workers: 2 }], 0);
    let id = ChunkId::first(1);
    let chunk = Chunk { id, timeout: None, is_alone: false, items: (0..3).map(item).collect() };
    let second = Duration::from_secs(1);
    let (cpu, peak_rss) = (3 * second, 9);
    let figures = Figures {
        first: 1,
        items: 2,
        attempt: 2,
        slot: 1,
        pid: 7,
        since: second,
        busy: 6 * second,
        cpu,
        peak_rss,
    };
    let left = Answer { figures: vec![figures], ..answer(&chunk, value_of) };
    master.recover(vec![chunk], vec![(id, left)], at(0));
    (0..3).for_each(|index| master.push(item(index), at(0)));
    let share = |first, since| Figures { first, items: 1, since, busy: 3 * second, cpu: cpu / 2, ..figures };
    assert_eq!(master.take_figures(), [(1, 5, share(1, 4 * second)), (2, 5, share(2, second))]);
}

#[test]
fn an_answer_is_released_once_all_its_items_are_on_record() {
    let mut master = Master::new(Settings { session: 2, keeps_answers: true, ..settings(false) });
    let id = ChunkId::first(1);
    let chunk = Chunk { id, timeout: None, is_alone: false, items: (0..3).map(item).collect() };
    // Nobody has acknowledged it, and one of its items was not begun.
    let left = answer(&chunk, |item| if item.index == 1 { Fate::NotBegun } else { value_of(item) });
    master.recover(vec![chunk], vec![(id, left)], at(0));
    let mut released = Vec::new();
    let mut take = |master: &mut Master| {
        let outcomes = std::iter::from_fn(|| master.next_outcome()).count();
        master.on_record();
        let commands = all(master);
        released.extend(commands.iter().filter(|command| matches!(command, Command::Release(_))).cloned());
        (outcomes, commands, released.len())
    };
    master.push(item(0), at(0));
    assert_eq!(take(&mut master), (1, Vec::new(), 0), "its other items have not come in");
    master.push(item(1), at(0));
    master.cut(at(0));
    let (outcomes, commands, count) = take(&mut master);
    let (again, _) = put(commands.first());
    assert_eq!((outcomes, again.items, again.id, count), (0, vec![item(1)], ChunkId::first(2), 0));
    master.push(item(2), at(0));
    assert_eq!(take(&mut master), (0, Vec::new(), 0), "there is an item before it");
    master.answered(again.id, answer(&chunk_of(again.id, &[1]), value_of), at(1));
    let (outcomes, commands, count) = take(&mut master);
    assert_eq!((outcomes, commands.len(), count), (2, 2, 2), "{commands:?}");
    assert!(!master.has_answers());
}

fn chunk_of(id: ChunkId, indices: &[u64]) -> Chunk {
    Chunk { id, timeout: None, is_alone: false, items: indices.iter().copied().map(item).collect() }
}

#[test]
fn a_chunk_that_costs_agents_is_halved_until_one_item_is_to_blame() {
    let mut master = Master::new(settings(false));
    (0..4).for_each(|index| master.push(item(index), at(0)));
    let mut open: VecDeque<Chunk> = all(&mut master).iter().map(|command| put(Some(command)).0).collect();
    let mut tries = 0;
    while let Some(chunk) = open.pop_front() {
        assert_eq!(chunk.is_alone, tries > 0, "what may have cost agents is kept apart");
        tries += 1;
        let is_suspect = chunk.items.iter().any(|item| item.index == 2);
        master.answered(chunk.id, Answer { is_suspect, ..answer(&chunk, value_of) }, at(1));
        let commands = all(&mut master);
        let puts = commands.iter().filter(|command| matches!(command, Command::Put { .. }));
        open.extend(puts.map(|command| put(Some(command)).0));
    }
    assert_eq!(tries, 5, "four, two and two, one and one");
    for payload in 0..4 {
        let (number, outcome) = master.next_outcome().expect("each has its outcome");
        assert_eq!(number, payload);
        match outcome {
            Outcome::Failed(report) if payload == 2 => {
                assert_eq!((report.kind, report.attempts), (ErrorKind::Quarantined, LOSSES_MAX));
            }
            Outcome::Value(value) if payload != 2 => assert_eq!(value, item(payload).args),
            other => panic!("payload {payload}: {other:?}"),
        }
    }
}

#[test]
fn a_queue_without_a_consumer_or_that_nobody_empties_gets_another() {
    let mut master = Master::new(settings(false));
    (0..4).for_each(|index| master.push(item(index), at(0)));
    let _ = all(&mut master);
    let hello = |seconds| Hello {
        agent: "a".to_owned(),
        workers: 1,
        is_idle: true,
        held: Vec::new(),
        parting: (seconds > 99).then_some(Parting::Leaves),
    };
    master.tick(Some(Queue { waiting: 0, has_consumer: false, asked: at(1) }), at(1));
    assert_eq!(all(&mut master), [Command::MakeConsumer]);
    for seconds in 1..=12 {
        master.heard(hello(seconds), at(seconds));
        master.tick(Some(Queue { waiting: 1, has_consumer: true, asked: at(seconds) }), at(seconds));
        let expected = if seconds == 10 { vec![Command::Recreate] } else { Vec::new() };
        assert_eq!(all(&mut master), expected, "{seconds} s");
    }
}

#[test]
fn what_does_not_succeed_is_said_now_and_then() {
    let mut master = Master::new(settings(false));
    let mut said = |what: &str, seconds| {
        master.trouble(what.to_owned(), at(seconds));
        master.take_notices().len()
    };
    let said =
        [("full", 1), ("full", 2), ("shut", 3), ("shut", 62), ("shut", 63)].map(|(what, at)| said(what, at));
    assert_eq!(said, [1, 0, 1, 0, 1]);
}

#[test]
fn drained_items_that_nobody_has_are_not_run() {
    let mut master = Master::new(settings(false));
    (0..9).for_each(|index| master.push(item(index), at(0)));
    let commands = all(&mut master);
    let (held, waiting) = (put(commands.first()).0, put(commands.get(1)).0);
    master.drain();
    assert_eq!((all(&mut master), master.wants()), (vec![Command::Drain, Command::TakeBack], 0));
    master.taken_back(waiting.id, false);
    master.answered(
        held.id,
        answer(&held, |item| if item.index == 0 { value_of(item) } else { Fate::NotBegun }),
        at(1),
    );
    let mut not_run = 0;
    while let Some((payload, outcome)) = master.next_outcome() {
        match outcome {
            Outcome::Failed(report) => {
                assert_eq!((report.kind, report.attempts), (ErrorKind::Cancelled, 0));
                not_run += 1;
            }
            Outcome::Value(_) => assert_eq!(payload, 0),
        }
    }
    assert!(not_run == 8 && master.is_settled());
}
