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
    Chunk { id: ChunkId::from(number), timeout: None, items: items.to_vec() }
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
    leases.leased(chunk(1), 1, at(0));
    assert_eq!(all(&mut leases), [Command::Begin(chunk(1))]);
    leases.tick(at(0));
    assert_eq!(all(&mut leases), []);
    leases.tick(at(1));
    assert_eq!(all(&mut leases), [Command::Renew(ChunkId::from(1))]);
    leases.alive(ChunkId::from(1), at(2));
    leases.tick(at(4));
    assert_eq!(all(&mut leases), [Command::Renew(ChunkId::from(1))]);
    leases.tick(at(6));
    assert_eq!(all(&mut leases), [], "the pool is silent");
    leases.ended(ChunkId::from(1), vec![(2, Fate::Lost), (3, Fate::Lost)], Vec::new());
    assert_eq!(all(&mut leases), [answer(1, &Fate::Lost, false)]);
    leases.answered(ChunkId::from(1));
    assert!(leases.is_empty());
}

#[test]
fn what_has_cost_too_many_agents_is_not_begun() {
    let mut leases = Leases::new("a", LEASE, false);
    leases.leased(chunk(1), LOSSES_MAX, at(0));
    leases.leased(chunk(2), LOSSES_MAX + 1, at(0));
    assert_eq!(all(&mut leases), [Command::Begin(chunk(1)), answer(2, &Fate::NotBegun, true)]);
}

#[test]
fn what_comes_again_while_it_is_in_hand_is_not_begun_again() {
    let mut leases = Leases::new("a", LEASE, false);
    leases.leased(chunk(1), 1, at(0));
    leases.leased(chunk(1), 2, at(5));
    assert_eq!(all(&mut leases), [Command::Begin(chunk(1)), Command::Renew(ChunkId::from(1))]);
}

#[test]
fn an_agent_that_drains_gives_back_what_it_has_not_begun() {
    let mut leases = Leases::new("a", LEASE, false);
    leases.leased(chunk(1), 1, at(0));
    leases.drain();
    leases.leased(chunk(2), 1, at(0));
    assert_eq!(all(&mut leases), [Command::Begin(chunk(1)), answer(2, &Fate::NotBegun, false)]);
    leases.answered(ChunkId::from(2));
    assert_eq!(leases.held(), [ChunkId::from(1)]);
}

#[test]
fn what_starts_at_most_once_is_claimed_first() {
    let mut leases = Leases::new("a", LEASE, true);
    leases.leased(chunk(1), 1, at(0));
    leases.leased(chunk(2), 2, at(0));
    leases.leased(chunk(3), 1, at(0));
    assert_eq!(all(&mut leases), [1, 2, 3].map(|id| Command::Claim(ChunkId::from(id))));
    leases.claimed(ChunkId::from(1), true, at(1));
    leases.claimed(ChunkId::from(2), false, at(1));
    leases.claimed(ChunkId::from(3), false, at(9));
    let expected = [Command::Begin(chunk(1)), answer(2, &Fate::Lost, false), Command::Drop(ChunkId::from(3))];
    assert_eq!(all(&mut leases), expected);
    // However often it was handed out before: it was never begun.
    leases.leased(chunk(4), LOSSES_MAX + 1, at(9));
    leases.claimed(ChunkId::from(4), true, at(9));
    assert_eq!(all(&mut leases), [Command::Claim(ChunkId::from(4)), Command::Begin(chunk(4))]);
    // What is given back may have been begun by somebody who is gone.
    leases.drain();
    leases.leased(chunk(5), 1, at(9));
    leases.leased(chunk(6), 2, at(9));
    leases.claimed(ChunkId::from(5), true, at(9));
    leases.claimed(ChunkId::from(6), false, at(9));
    let claims = [5, 6].map(|id| Command::Claim(ChunkId::from(id)));
    let answers = [answer(5, &Fate::NotBegun, false), answer(6, &Fate::Lost, false)];
    assert_eq!(all(&mut leases), [claims, answers].concat());
}
