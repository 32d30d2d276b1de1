//! Scripts of what happens to an agent, and all that it does about it.

use procession::Payload;

use super::*;
use crate::chunk::Item;

const LEASE: Duration = Duration::from_secs(3);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn chunk(number: u64) -> Chunk {
    let items = [2 * number, 2 * number + 1].map(|index| Item { index, args: Payload::new() });
    Chunk { id: ChunkId::from(number), timeout: None, is_alone: false, items: items.to_vec() }
}

/// The how-many-th delivery of a message.
fn delivery(sequence: u64, number: u32) -> Delivery {
    Delivery { sequence, number }
}

fn claim(number: u64, delivery: Delivery) -> Command {
    Command::Claim(ChunkId::from(number), delivery)
}

fn all(leases: &mut Leases) -> Vec<Command> {
    std::iter::from_fn(|| leases.poll_command()).collect()
}

fn answer(number: u64, fate: &Fate, is_suspect: bool) -> Command {
    let fates = vec![(2 * number, fate.clone()), (2 * number + 1, fate.clone())];
    let answer = Answer { agent: "a".to_owned(), is_suspect, fates, figures: Vec::new() };
    Command::Answer(ChunkId::from(number), answer)
}

#[test]
fn a_chunk_is_begun_renewed_as_long_as_the_pool_has_it_and_answered() {
    let mut leases = Leases::new("a", LEASE, false);
    leases.leased(chunk(1), delivery(1, 1), at(0));
    assert_eq!(all(&mut leases), [Command::Begin(chunk(1))]);
    leases.tick(at(0));
    assert_eq!(all(&mut leases), []);
    leases.tick(at(1));
    assert_eq!(all(&mut leases), [Command::Renew(ChunkId::from(1))]);
    leases.alive(ChunkId::from(1), at(2));
    leases.connected(at(2));
    leases.tick(at(2));
    assert_eq!(all(&mut leases), [Command::Renew(ChunkId::from(1))], "at once: what was sent before is lost");
    leases.tick(at(4));
    assert_eq!(all(&mut leases), [Command::Renew(ChunkId::from(1))]);
    leases.tick(at(6));
    leases.leased(chunk(1), delivery(1, 2), at(6));
    assert_eq!(all(&mut leases), [], "the pool is silent, whoever is handed the chunk");
    leases.ended(ChunkId::from(1), vec![(2, Fate::Lost), (3, Fate::Lost)], Vec::new(), at(6));
    assert_eq!(all(&mut leases), [answer(1, &Fate::Lost, false)]);
    leases.answered(ChunkId::from(1));
    assert!(leases.is_empty());
}

#[test]
fn what_agents_were_lost_with_runs_alone_and_is_charged_for_that_alone() {
    let mut leases = Leases::new("a", LEASE, false);
    let id = ChunkId::from;
    let ended = |leases: &mut Leases, number| leases.ended(id(number), Vec::new(), Vec::new(), at(1));
    let done = |number| {
        let agent = "a".to_owned();
        Command::Answer(
            id(number),
            Answer { agent, is_suspect: false, fates: Vec::new(), figures: Vec::new() },
        )
    };
    leases.leased(chunk(1), delivery(1, 1), at(0));
    leases.leased(chunk(2), delivery(2, ALONE_FROM - 1), at(0));
    assert_eq!(all(&mut leases), [Command::Begin(chunk(1)), Command::Begin(chunk(2))]);
    assert!(leases.has_room());
    let half = Chunk { is_alone: true, ..chunk(4) };
    leases.leased(chunk(3), delivery(3, ALONE_FROM), at(0));
    leases.leased(half.clone(), delivery(4, 1), at(0));
    leases.leased(chunk(5), delivery(5, 1), at(0));
    ended(&mut leases, 1);
    assert_eq!(all(&mut leases), [done(1)], "another one runs");
    assert!(!leases.has_room());
    // However long it waits: it has not been begun, and its lease is renewed.
    leases.tick(at(2));
    assert_eq!(all(&mut leases), [1, 2, 3, 4, 5].map(|number| Command::Renew(id(number))));
    ended(&mut leases, 2);
    assert_eq!(all(&mut leases), [done(2), Command::Charge(id(3))]);
    leases.charged(id(3), true, at(2));
    assert_eq!(all(&mut leases), [Command::Begin(chunk(3))]);
    ended(&mut leases, 3);
    assert_eq!(all(&mut leases), [done(3), Command::Charge(id(4))]);
    leases.charged(id(4), false, at(2));
    assert_eq!(all(&mut leases), [answer(4, &Fate::NotBegun, true), Command::Begin(chunk(5))]);
    assert!(leases.has_room());
}

#[test]
fn what_comes_again_while_it_is_in_hand_is_not_begun_again() {
    let mut leases = Leases::new("a", LEASE, false);
    leases.leased(chunk(1), delivery(1, 1), at(0));
    leases.leased(chunk(1), delivery(1, 2), at(2));
    assert_eq!(all(&mut leases), [Command::Begin(chunk(1)), Command::Renew(ChunkId::from(1))]);
}

#[test]
fn an_agent_that_drains_gives_back_what_it_has_not_begun() {
    let mut leases = Leases::new("a", LEASE, false);
    leases.leased(chunk(1), delivery(1, 1), at(0));
    leases.drain();
    leases.leased(chunk(2), delivery(2, 1), at(0));
    assert_eq!(all(&mut leases), [Command::Begin(chunk(1)), answer(2, &Fate::NotBegun, false)]);
    leases.answered(ChunkId::from(2));
    assert_eq!(leases.held(), [ChunkId::from(1)]);
    let mut leases = Leases::new("a", LEASE, false);
    leases.leased(chunk(1), delivery(1, 1), at(0));
    leases.leased(chunk(2), delivery(2, ALONE_FROM), at(0));
    leases.drain();
    assert_eq!(all(&mut leases), [Command::Begin(chunk(1)), answer(2, &Fate::NotBegun, false)]);
}

#[test]
fn what_comes_again_although_it_was_answered_is_acknowledged_and_not_begun() {
    for at_most_once in [false, true] {
        let mut leases = Leases::new("a", LEASE, at_most_once);
        leases.leased(chunk(1), delivery(7, 1), at(0));
        leases.claimed(ChunkId::from(1), Claimed::Ours, at(0));
        // Its master has put it another time.
        leases.leased(chunk(1), delivery(8, 1), at(0));
        leases.ended(ChunkId::from(1), vec![(2, Fate::Lost), (3, Fate::Lost)], Vec::new(), at(6));
        leases.answered(ChunkId::from(1));
        let _ = all(&mut leases);
        for again in [delivery(7, 2), delivery(8, 2)] {
            leases.leased(chunk(1), again, at(9));
            assert_eq!(all(&mut leases), [Command::Acknowledge(ChunkId::from(1))]);
        }
        assert!(leases.is_empty());
        // Put after the answer: nobody has heard that.
        leases.leased(chunk(1), delivery(9, 1), at(9));
        let expected = if at_most_once { claim(1, delivery(9, 1)) } else { Command::Begin(chunk(1)) };
        assert_eq!(all(&mut leases), [expected]);
    }
}

#[test]
fn what_starts_at_most_once_is_claimed_first() {
    let mut leases = Leases::new("a", LEASE, true);
    leases.leased(chunk(1), delivery(1, 1), at(0));
    assert_eq!(all(&mut leases), [claim(1, delivery(1, 1))]);
    leases.claimed(ChunkId::from(1), Claimed::Ours, at(1));
    assert_eq!(all(&mut leases), [Command::Begin(chunk(1))]);
    // However often it was handed out before: it was never begun.
    leases.leased(chunk(4), delivery(4, LOSSES_MAX + 1), at(9));
    leases.claimed(ChunkId::from(4), Claimed::Ours, at(9));
    assert_eq!(all(&mut leases), [claim(4, delivery(4, LOSSES_MAX + 1)), Command::Begin(chunk(4))]);
    // What is given back may have been begun by somebody who is gone.
    leases.drain();
    leases.leased(chunk(5), delivery(5, 1), at(9));
    leases.leased(chunk(6), delivery(6, 3), at(9));
    leases.claimed(ChunkId::from(5), Claimed::Ours, at(9));
    leases.claimed(ChunkId::from(6), Claimed::Theirs { by: delivery(6, 1), is_there: true }, at(9));
    let claims = [claim(5, delivery(5, 1)), claim(6, delivery(6, 3))];
    let answers = [answer(5, &Fate::NotBegun, false), answer(6, &Fate::Lost, false)];
    assert_eq!(all(&mut leases), [claims, answers].concat());
}

#[test]
fn what_somebody_else_has_claimed_is_lost_only_if_the_broker_knows_that() {
    let check = |ours: Delivery, claimed: Claimed, expected: Command| {
        let mut leases = Leases::new("a", LEASE, true);
        leases.leased(chunk(1), ours, at(0));
        // However long that took: when it was received says nothing of when it was sent.
        leases.claimed(ChunkId::from(1), claimed, at(99));
        assert_eq!(all(&mut leases), [claim(1, ours), expected], "{ours:?} {claimed:?}");
    };
    let id = ChunkId::from(1);
    let theirs = |sequence, number, is_there| Claimed::Theirs { by: delivery(sequence, number), is_there };
    // We were held up, and it went to somebody else.
    check(delivery(7, 1), theirs(7, 2, true), Command::Drop(id));
    // They were held up, and may be back.
    check(delivery(7, 2), theirs(7, 1, true), Command::Drop(id));
    check(delivery(7, 3), theirs(7, 1, true), answer(1, &Fate::Lost, false));
    // A copy, while the other message has somebody.
    check(delivery(8, 1), theirs(7, 1, true), Command::Acknowledge(id));
    check(delivery(8, 1), theirs(7, 1, false), answer(1, &Fate::Lost, false));
    check(delivery(7, 1), Claimed::Nobodys, answer(1, &Fate::NotBegun, false));
    check(delivery(7, 1), Claimed::Gone, Command::Drop(id));
}
