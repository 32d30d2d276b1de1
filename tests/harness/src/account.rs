//! What must hold of the outcomes of a call: one each, the right one, and nobody blamed who did nothing.
//!
//! It is told what each item was to come to, what the caller was told, and what the items noted as they started. It
//! knows no faults, and does not know how the call was made.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::time::Duration;

use procession::{Error, ErrorKind, WorkerExit};

/// How an item's failure must read.
#[derive(Clone, Copy, Debug)]
pub struct Blame {
    /// Its kind.
    pub kind: ErrorKind,
    /// How its worker may have ended; empty: it says nothing of a worker's end, or anything.
    pub exits: &'static [WorkerExit],
    /// What its message must contain.
    pub words: &'static str,
}

/// What an item must come to.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// Its own value.
    Value,
    /// A failure.
    Fails(Blame),
    /// Either: it misbehaves when its work may be done.
    ValueOr(Blame),
}

/// A start, as the item noted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Which item of the call.
    pub item: u32,
    /// Its attempt, by what it was told.
    pub attempt: u32,
    /// In which process.
    pub pid: u32,
    /// When, by [`now`](crate::now).
    pub at: Duration,
}

/// What the caller was told.
#[derive(Debug)]
pub enum Told<T> {
    /// An outcome for each item, in order.
    Each(Vec<Result<T, Error>>),
    /// The first failing item, by index: no other outcome is told.
    First(Error),
}

/// What is expected of a call.
pub struct Account<'a, T> {
    /// How many inputs were given.
    pub items: u32,
    /// What each must come to.
    pub fate: &'a dyn Fn(u32) -> Fate,
    /// The value of each.
    pub value: &'a dyn Fn(u32) -> T,
    /// How often each may start.
    pub starts_max: u32,
    /// Each call has one item, so that is what their failures name.
    pub is_single: bool,
    /// So many items that did nothing may fail, as they ran in a worker that was ended for what another did.
    pub bystanders_max: u32,
    /// How those read.
    pub bystander: Blame,
    /// Items may count as begun that were not: what their worker noted cannot be believed.
    pub is_overcharged: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Inputs.
    pub items: u64,
    /// Outcomes that never came.
    pub lost: u64,
    /// Outcomes or starts beyond what is allowed.
    pub duplicated: u64,
    /// Outcomes that came before one of an earlier item.
    pub order_broken: u64,
    /// Failures of items that did nothing, and of others that read wrong.
    pub blamed_wrongly: u64,
    /// Values that are not the item's own, and failures that should have come.
    pub wrong: u64,
    /// Each of them in words.
    pub violations: Vec<String>,
}

impl Tally {
    /// Adds what was found elsewhere.
    pub fn add(&mut self, other: Tally) {
        self.items += other.items;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.order_broken += other.order_broken;
        self.blamed_wrongly += other.blamed_wrongly;
        self.wrong += other.wrong;
        self.violations.extend(other.violations);
    }

    /// Fails the test if anything was found.
    ///
    /// # Panics
    /// If there is a violation; it names the first of them.
    pub fn assert_clean(&self) {
        let first: Vec<_> = self.violations.iter().take(10).collect();
        assert!(first.is_empty(), "{} violations, beginning with {first:#?}", self.violations.len());
    }
}

impl Start {
    /// In a task: notes the start of an item, in one write.
    pub fn note(path: &str, item: u32) {
        let attempt = procession::current().map_or(0, |current| current.attempt());
        let line = format!("{item} {attempt} {} {}", std::process::id(), crate::now().as_nanos());
        crate::Ledger::note(path, line);
    }

    /// Reads what was noted.
    ///
    /// # Panics
    /// If the ledger has other lines.
    pub fn all(ledger: impl AsRef<Path>) -> Vec<Start> {
        let start = |line: &str| {
            let mut words = line.split(' ').map(|word| word.parse::<u64>().expect("a start is four numbers"));
            let mut word = || words.next().expect("a start is four numbers");
            Start {
                item: word() as u32,
                attempt: word() as u32,
                pid: word() as u32,
                at: Duration::from_nanos(word()),
            }
        };
        let text = fs::read_to_string(ledger).expect("the ledger exists");
        text.lines().map(start).collect()
    }
}

impl<'a, T> Account<'a, T> {
    /// Of items that all have their values, and may be started up to three times, as idempotent ones may.
    pub fn of(items: u32, value: &'a dyn Fn(u32) -> T) -> Account<'a, T> {
        Account {
            items,
            fate: &|_| Fate::Value,
            value,
            starts_max: 3,
            is_single: false,
            bystanders_max: 0,
            bystander: Blame { kind: ErrorKind::WorkerLost, exits: &[], words: "" },
            is_overcharged: false,
        }
    }
}

impl<T: PartialEq + Debug> Account<'_, T> {
    /// One outcome for each input; each value the item's own; no more starts than allowed, and as many as a failure
    /// says; nobody fails who is to have a value; and each failure reads as its fault does.
    pub fn check(&self, told: &Told<T>, starts: &[Start]) -> Tally {
        let mut books =
            Books { account: self, tally: Tally::default(), counts: BTreeMap::new(), bystanders: 0 };
        books.tally.items = u64::from(self.items);
        for start in starts {
            *books.counts.entry(start.item).or_default() += 1;
        }
        books.check_starts(starts);
        match told {
            Told::Each(outcomes) => books.check_each(outcomes),
            Told::First(error) => books.check_first(error),
        }
        if books.bystanders > self.bystanders_max {
            let (found, allowed) = (books.bystanders, self.bystanders_max);
            books.tally.blamed_wrongly += u64::from(found - allowed);
            books.say(format!("{found} bystanders failed where {allowed} may"));
        }
        books.tally
    }
}

struct Books<'a, T> {
    account: &'a Account<'a, T>,
    tally: Tally,
    counts: BTreeMap<u32, u32>,
    bystanders: u32,
}

impl<T: PartialEq + Debug> Books<'_, T> {
    fn say(&mut self, violation: String) {
        self.tally.violations.push(violation);
    }

    fn check_starts(&mut self, starts: &[Start]) {
        let most = self.account.starts_max;
        let often: Vec<_> =
            self.counts.iter().filter(|(_, count)| **count > most).map(|(x, n)| (*x, *n)).collect();
        for (item, count) in often {
            self.tally.duplicated += u64::from(count - most);
            self.say(format!("item {item} was started {count} times, where {most} are allowed"));
        }
        let mut seen = BTreeMap::<u32, u32>::new();
        for start in starts {
            let attempts = seen.entry(start.item).or_default();
            *attempts += 1;
            let is_told = start.attempt == *attempts
                || (self.account.is_overcharged && (*attempts..=most).contains(&start.attempt));
            if !is_told {
                let (item, attempt, number) = (start.item, start.attempt, *attempts);
                self.tally.duplicated += 1;
                self.say(format!("start {number} of item {item} was told to be attempt {attempt}"));
            }
        }
    }

    fn check_each(&mut self, outcomes: &[Result<T, Error>]) {
        let (items, found) = (self.account.items as usize, outcomes.len());
        self.tally.lost += items.saturating_sub(found) as u64;
        self.tally.duplicated += found.saturating_sub(items) as u64;
        if items != found {
            self.say(format!("{found} outcomes of {items} items"));
        }
        for (item, outcome) in (0..self.account.items).zip(outcomes) {
            match outcome {
                Ok(value) => self.check_value(item, value),
                Err(error) => self.check_failure(item, error),
            }
        }
    }

    /// Nothing is known of the others, but that none before it may have been bound to fail.
    fn check_first(&mut self, error: &Error) {
        let Some(item) = error.item() else {
            self.tally.blamed_wrongly += 1;
            return self.say(format!("it names no item: {error}"));
        };
        let item = item as u32;
        if let Some(before) = (0..item).find(|item| matches!((self.account.fate)(*item), Fate::Fails(_))) {
            self.tally.wrong += 1;
            self.say(format!("item {before} should have failed before {error}"));
        }
        self.check_failure(item, error);
    }

    fn check_value(&mut self, item: u32, value: &T) {
        let own = (self.account.value)(item);
        if *value != own {
            self.tally.wrong += 1;
            self.say(format!("item {item} has {value:?} instead of {own:?}"));
        }
        if let Fate::Fails(blame) = (self.account.fate)(item) {
            self.tally.wrong += 1;
            self.say(format!("item {item} has a value instead of {blame:?}"));
        }
        if !self.counts.contains_key(&item) {
            self.tally.wrong += 1;
            self.say(format!("item {item} has a value and was never started"));
        }
    }

    fn check_failure(&mut self, item: u32, error: &Error) {
        let blame = match (self.account.fate)(item) {
            Fate::Fails(blame) | Fate::ValueOr(blame) => blame,
            Fate::Value => {
                self.bystanders += 1;
                if self.account.bystanders_max == 0 {
                    return self.say(format!("item {item} did nothing: {error}"));
                }
                self.account.bystander
            }
        };
        let named = if self.account.is_single { 0 } else { u64::from(item) };
        if error.item().is_some_and(|found| found != named) {
            self.tally.blamed_wrongly += 1;
            self.say(format!("item {item} is told as another: {error}"));
        }
        let is_exit_right =
            blame.exits.is_empty() || error.exit().is_some_and(|exit| blame.exits.contains(&exit));
        if error.kind() != blame.kind || !is_exit_right || !error.to_string().contains(blame.words) {
            self.tally.blamed_wrongly += 1;
            self.say(format!("item {item} should read as {blame:?}: {error}"));
        }
        let started = self.counts.get(&item).copied().unwrap_or(0);
        if error.attempts() < started || (error.attempts() > started && !self.account.is_overcharged) {
            self.tally.wrong += 1;
            self.say(format!("item {item} was started {started} times: {error} says {}", error.attempts()));
        }
    }
}
