//! Sabotage: the evidence of an episode in which all went well is spoilt in one place, and the judge must say so.

use std::time::Duration;

use procession::{ErrorKind, WorkerExit};

use super::{Invariant, check};
use crate::evidence::{Evidence, Exit, Failure, Fault, Outcome, Said, Seen, Told};
use crate::ledger::Start;
use crate::plan::{Call, Deeds, Stop, Verb};
use crate::tag::{Deed, Tag};

const KILLED: WorkerExit = WorkerExit::Signal(9);

/// The processes: one is killed from outside, one dies of its item, one lives to the end.
const VICTIM: u32 = 100;
const SUICIDE: u32 = 200;
const SURVIVOR: u32 = 300;

const ITEMS: u32 = 8;

/// The first items of the plain call: killed from outside; the others answer.
const HIT: u32 = 0;

fn plain() -> Call {
    Call { items: ITEMS, ..Call::plain(1) }
}

fn again() -> Call {
    Call { items: ITEMS, idempotent: true, verb: Verb::Unordered, ..Call::plain(2) }
}

fn fatal() -> Call {
    let deeds = Deeds::fatal(7);
    Call { items: 1, verb: Verb::ApplyAsync, deeds, ..Call::plain(3) }
}

fn start(call: &Call, index: u32, attempt: u32, pid: u32) -> Start {
    Start { tag: call.tag(index), attempt, pid }
}

fn value(call: &Call, index: u32) -> Outcome {
    let index_known = (call.verb != Verb::Unordered).then_some(index);
    Outcome { index: index_known, result: Ok(call.tag(index)), cancelled: None }
}

fn said(kind: ErrorKind, item: u32, attempts: u32, exit: Option<WorkerExit>) -> Failure {
    Failure::Error(Said {
        kind,
        item: Some(item.into()),
        attempts,
        pid: None,
        exit,
        ran: None,
        panic_message: None,
        text: String::new(),
    })
}

fn lost(call: &Call, index: u32, exit: WorkerExit) -> Outcome {
    let named = if call.verb == Verb::ApplyAsync { 0 } else { index };
    let failure = said(ErrorKind::WorkerLost, named, 1, Some(exit));
    Outcome { index: Some(index), result: Err(Box::new(failure)), cancelled: None }
}

fn seen(call: Call, outcomes: Vec<Outcome>) -> Seen {
    Seen {
        taken: call.items,
        call,
        told: Told::Each(outcomes),
        cancelled: None,
        callbacks: (0, 0),
        took: Duration::ZERO,
    }
}

/// All went well: of the plain call one item was killed from outside, of the other one item was and ran again, and the
/// fatal one killed its worker.
fn sound() -> Evidence {
    let (plain, again, fatal) = (plain(), again(), fatal());
    let exit = fatal.tag(0).death_at(1).expect("it is fatal");
    let mut starts = vec![start(&plain, HIT, 1, VICTIM), start(&again, 3, 1, VICTIM + 1)];
    starts.extend((1..ITEMS).map(|index| start(&plain, index, 1, SURVIVOR)));
    starts.extend((0..ITEMS).map(|index| start(&again, index, 1 + u32::from(index == 3), SURVIVOR)));
    starts.push(start(&fatal, 0, 1, SUICIDE));
    let mut outcomes = vec![lost(&plain, HIT, KILLED)];
    outcomes.extend((1..ITEMS).map(|index| value(&plain, index)));
    let kill = |pid| Fault { pid, signal: 9, by_helper: false };
    let end = |pid, exit, running| Exit { pid, exit, running };
    Evidence {
        calls: vec![
            seen(plain, outcomes),
            seen(again.clone(), (0..ITEMS).rev().map(|index| value(&again, index)).collect()),
            seen(fatal.clone(), vec![lost(&fatal, 0, exit)]),
        ],
        starts,
        faults: vec![kill(VICTIM), kill(VICTIM + 1)],
        exits: vec![
            end(VICTIM, KILLED, true),
            end(VICTIM + 1, KILLED, true),
            end(SUICIDE, exit, true),
            end(SURVIVOR, WorkerExit::Code(0), false),
        ],
        is_terminated: false,
        is_frail: false,
    }
}

/// What is complained of once the evidence is spoilt.
fn spoilt(spoil: impl FnOnce(&mut Evidence)) -> Vec<Invariant> {
    let mut evidence = sound();
    spoil(&mut evidence);
    let mut violated: Vec<Invariant> = check(&evidence).iter().map(|violation| violation.invariant).collect();
    violated.sort_unstable();
    violated.dedup();
    violated
}

fn outcomes(evidence: &mut Evidence, call: usize) -> &mut Vec<Outcome> {
    match &mut evidence.calls[call].told {
        Told::Each(outcomes) | Told::Some(outcomes) => outcomes,
        Told::Failure(_) => unreachable!("its items have outcomes"),
    }
}

fn fail(evidence: &mut Evidence, call: usize, index: u32, failure: Failure) {
    let place = if call == 1 { ITEMS - 1 - index } else { index };
    outcomes(evidence, call)[place as usize].result = Err(Box::new(failure));
}

#[test]
fn what_is_sound_is_left_alone() {
    assert_eq!(check(&sound()), []);
}

#[test]
fn a_number_that_two_processes_had_proves_nothing() {
    let went_on = |all: &mut Evidence| all.starts.push(start(&plain(), 1, 1, VICTIM));
    assert!(spoilt(went_on).contains(&Invariant::Blame));
    let complaints = spoilt(|all| {
        let start = all.starts.iter_mut().find(|start| start.tag == plain().tag(1)).expect("it was begun");
        start.pid = VICTIM;
        all.exits.push(Exit { pid: VICTIM, exit: WorkerExit::Code(0), running: false });
    });
    assert_eq!(complaints, []);
}

#[test]
fn a_missing_outcome_is_lost() {
    assert_eq!(spoilt(|all| drop(outcomes(all, 0).pop())), [Invariant::Lost]);
    assert_eq!(spoilt(|all| drop(outcomes(all, 1).remove(4))), [Invariant::Lost]);
    assert_eq!(spoilt(|all| fail(all, 0, 5, Failure::Missing)), [Invariant::Lost]);
    assert_eq!(spoilt(|all| all.calls[1].told = Told::Failure(Failure::Missing)), [Invariant::Lost]);
    assert_eq!(spoilt(|all| all.calls[0].callbacks = (7, 8)), [Invariant::Lost]);
    let stopped_early = |all: &mut Evidence| {
        all.calls[0].call.items += 1;
    };
    assert_eq!(spoilt(stopped_early), [Invariant::Lost]);
}

#[test]
fn a_second_outcome_is_a_duplicate() {
    let again = |all: &mut Evidence| outcomes(all, 1).push(value(&again(), 4));
    assert_eq!(spoilt(again), [Invariant::Duplicated]);
    let beyond = |all: &mut Evidence| outcomes(all, 0).push(value(&plain(), ITEMS));
    assert!(spoilt(beyond).contains(&Invariant::Duplicated));
    assert_eq!(spoilt(|all| all.calls[0].callbacks = (9, 8)), [Invariant::Duplicated]);
}

#[test]
fn a_second_start_is_a_duplicate() {
    let same = |all: &mut Evidence| all.starts.push(start(&plain(), 4, 1, SURVIVOR));
    assert!(spoilt(same).contains(&Invariant::Duplicated));
    let again = |all: &mut Evidence| all.starts.push(start(&plain(), 4, 2, SURVIVOR));
    assert!(spoilt(again).contains(&Invariant::Duplicated));
    let fourth = |all: &mut Evidence| all.starts.push(start(&super::tests::again(), 4, 4, SURVIVOR));
    assert!(spoilt(fourth).contains(&Invariant::Duplicated));
    let never_taken = |all: &mut Evidence| all.starts.push(start(&plain(), ITEMS, 1, SURVIVOR));
    assert!(spoilt(never_taken).contains(&Invariant::Duplicated));
    let said_not_to = |all: &mut Evidence| {
        all.calls[0].call.stop = Stop::Cancel(0);
        fail(all, 0, 4, said(ErrorKind::Cancelled, 4, 0, None));
    };
    assert_eq!(spoilt(said_not_to), [Invariant::Duplicated], "its error says it was never started");
}

#[test]
fn a_wrong_value_is_found() {
    let swapped = |all: &mut Evidence| {
        outcomes(all, 0)[4].result = Ok(plain().tag(5));
        outcomes(all, 0)[5].result = Ok(plain().tag(4));
    };
    assert_eq!(spoilt(swapped), [Invariant::Value]);
    let corrupt = |all: &mut Evidence| fail(all, 0, 4, Failure::Wrong("its bytes".to_owned()));
    assert_eq!(spoilt(corrupt), [Invariant::Value]);
    let from_nowhere = |all: &mut Evidence| all.starts.retain(|start| start.tag != plain().tag(4));
    assert_eq!(spoilt(from_nowhere), [Invariant::Value], "a value without a start");
    let from_the_dead = |all: &mut Evidence| outcomes(all, 2)[0].result = Ok(fatal().tag(0));
    assert_eq!(spoilt(from_the_dead), [Invariant::Value]);
}

#[test]
fn an_innocent_item_that_fails_is_found() {
    // In the process that lives on, as an item that was not the last one there, and as one nobody saw start.
    let lives = |all: &mut Evidence| fail(all, 0, 7, said(ErrorKind::WorkerLost, 7, 1, Some(KILLED)));
    assert_eq!(spoilt(lives), [Invariant::Blame]);
    let earlier = |all: &mut Evidence| {
        let at = all.starts.iter().position(|start| start.tag == plain().tag(7)).expect("it was started");
        all.starts.remove(at);
        all.starts.insert(0, start(&plain(), 7, 1, VICTIM));
        fail(all, 0, 7, said(ErrorKind::WorkerLost, 7, 1, Some(KILLED)));
    };
    assert_eq!(spoilt(earlier), [Invariant::Blame], "two items of one death");
    let unseen = |all: &mut Evidence| {
        all.starts.retain(|start| start.tag != plain().tag(7));
        fail(all, 0, 7, said(ErrorKind::WorkerLost, 7, 1, Some(KILLED)));
    };
    assert_eq!(spoilt(unseen), [Invariant::Blame], "no death is left to explain it");
    let explained = |all: &mut Evidence| {
        unseen(all);
        all.faults.push(Fault { pid: 400, signal: 9, by_helper: false });
        all.exits.push(Exit { pid: 400, exit: KILLED, running: true });
    };
    assert_eq!(spoilt(explained), [], "a worker was killed before its item could write down its start");
    for kind in [ErrorKind::TimedOut, ErrorKind::Cancelled, ErrorKind::Terminated, ErrorKind::Broken] {
        let without_reason = |all: &mut Evidence| fail(all, 0, 4, said(kind, 4, 1, None));
        assert_eq!(spoilt(without_reason), [Invariant::Blame], "{kind:?}");
    }
    let panicked = |all: &mut Evidence| fail(all, 0, 4, said(ErrorKind::Panicked, 4, 1, None));
    assert_eq!(spoilt(panicked), [Invariant::Blame], "it does not panic");
}

/// The fatal item has a time limit, which it has exceeded as it died slowly: it was stopped, with `text` for a reason.
fn too_late(all: &mut Evidence, text: &str, exit: WorkerExit) {
    all.calls[2].call.limits.timeout = Some(Duration::from_millis(600));
    let died = all.exits.iter_mut().find(|exit| exit.pid == SUICIDE).expect("it has ended");
    died.exit = exit;
    let failure = Said {
        kind: ErrorKind::TimedOut,
        item: Some(0),
        attempts: 1,
        pid: None,
        exit: Some(exit),
        ran: None,
        panic_message: None,
        text: text.to_owned(),
    };
    outcomes(all, 2)[0].result = Err(Box::new(Failure::Error(failure)));
}

#[test]
fn a_dying_item_that_timed_out_is_looked_at() {
    let own = fatal().tag(0).death_at(1).expect("it is fatal");
    let stopped = WorkerExit::Signal(15);
    for exit in [own, stopped] {
        let late = |all: &mut Evidence| too_late(all, "limit 600ms per item", exit);
        assert_eq!(spoilt(late), [], "{exit:?}");
        let went_on = |all: &mut Evidence| {
            late(all);
            all.calls[0].call.items += 1;
            all.calls[0].taken += 1;
            all.starts.push(start(&plain(), ITEMS, 1, SUICIDE));
            outcomes(all, 0).push(value(&plain(), ITEMS));
        };
        assert!(
            spoilt(went_on).contains(&Invariant::Blame),
            "its worker answered for another item, then {exit:?}"
        );
        let never_ended = |all: &mut Evidence| {
            late(all);
            all.exits.retain(|exit| exit.pid != SUICIDE);
        };
        assert!(spoilt(never_ended).contains(&Invariant::Blame), "{exit:?}");
        let without_limit = |all: &mut Evidence| {
            late(all);
            all.calls[2].call.limits.timeout = None;
        };
        assert_eq!(spoilt(without_limit), [Invariant::Blame], "{exit:?}");
    }
    let early = |all: &mut Evidence| too_late(all, "time limit passed", stopped);
    assert_eq!(spoilt(early), [Invariant::Blame], "it did not run for as long");
    let deadline = |all: &mut Evidence| {
        too_late(all, "the call's deadline of 1s passed", stopped);
        all.calls[2].call.limits.deadline = Some(Duration::from_secs(1));
    };
    assert_eq!(spoilt(deadline), []);
    let no_deadline = |all: &mut Evidence| too_late(all, "the call's deadline of 1s passed", stopped);
    assert_eq!(spoilt(no_deadline), [Invariant::Blame]);
    let elsewhere = |all: &mut Evidence| {
        too_late(all, "limit 600ms per item", stopped);
        all.exits.iter_mut().filter(|exit| exit.pid == SUICIDE).for_each(|exit| exit.exit = own);
    };
    assert_eq!(spoilt(elsewhere), [Invariant::Blame], "its worker ended in another way than its error says");
    let strange = |all: &mut Evidence| too_late(all, "limit 600ms per item", WorkerExit::Code(77));
    assert!(spoilt(strange).contains(&Invariant::Blame), "nobody ends workers like that");
}

#[test]
fn a_retry_without_a_fault_is_found() {
    let needless = |all: &mut Evidence| all.starts.insert(0, start(&again(), 5, 1, SURVIVOR));
    assert!(spoilt(needless).contains(&Invariant::Blame));
    assert_eq!(spoilt(|all| all.faults.truncate(1)), [Invariant::Blame], "no fault, no death, no retry");
}

#[test]
fn a_wrong_cause_is_found() {
    let other = WorkerExit::Signal(11);
    let signal = |all: &mut Evidence| fail(all, 0, HIT, said(ErrorKind::WorkerLost, HIT, 1, Some(other)));
    assert_eq!(spoilt(signal), [Invariant::Blame]);
    let item = |all: &mut Evidence| fail(all, 0, HIT, said(ErrorKind::WorkerLost, 4, 1, Some(KILLED)));
    assert_eq!(spoilt(item), [Invariant::Blame]);
    let attempts = |all: &mut Evidence| fail(all, 0, HIT, said(ErrorKind::WorkerLost, HIT, 2, Some(KILLED)));
    assert_eq!(spoilt(attempts), [Invariant::Blame]);
    let kind = |all: &mut Evidence| fail(all, 0, HIT, said(ErrorKind::Quarantined, HIT, 1, Some(KILLED)));
    assert_eq!(spoilt(kind), [Invariant::Blame]);
    let died_of_nothing = |all: &mut Evidence| {
        all.exits.push(Exit { pid: 400, exit: other, running: false });
    };
    assert_eq!(spoilt(died_of_nothing), [Invariant::Blame]);
    let faulty = |all: &mut Evidence| all.exits.push(Exit { pid: 400, exit: KILLED, running: false });
    assert_eq!(spoilt(faulty), [Invariant::Blame], "the pool kills no worker that does its duty");
}

#[test]
fn what_cancel_says_is_what_becomes() {
    for (answer, becomes_cancelled) in [(true, false), (false, true)] {
        let contradicted = |all: &mut Evidence| {
            all.calls[0].call.stop = Stop::Cancel(0);
            if becomes_cancelled {
                fail(all, 0, 4, said(ErrorKind::Cancelled, 4, 1, None));
            }
            outcomes(all, 0)[4].cancelled = Some(answer);
        };
        assert_eq!(spoilt(contradicted), [Invariant::Blame]);
    }
    assert_eq!(spoilt(|all| all.calls[0].cancelled = Some(true)), [Invariant::Blame]);
}

#[test]
fn a_map_fails_with_the_first_item_that_does() {
    let with = |index: u32, panics: Option<u32>| {
        let mut evidence = sound();
        evidence.calls[0].call.verb = Verb::Map;
        let exits = [KILLED; 1];
        let failure = said(ErrorKind::WorkerLost, index, 1, Some(exits[0]));
        evidence.calls[0].told = Told::Failure(failure);
        if let Some(panics) = panics {
            // Every item of that call panics.
            let deeds = Deeds { panic: 10_000, ..Deeds::default() };
            assert_eq!(Call { deeds, ..plain() }.tag(panics).deed(), Deed::Panic);
            evidence.calls[0].call.deeds = deeds;
            for start in evidence.starts.iter_mut().filter(|start| start.tag.call() == 1) {
                start.tag = Tag::new(1, start.tag.index(), Deed::Panic);
            }
        }
        check(&evidence).len()
    };
    assert_eq!(with(HIT, None), 0);
    assert_eq!(with(HIT, Some(1)), 0, "it is the first");
    assert!(with(4, Some(1)) > 0, "others failed before");
}
