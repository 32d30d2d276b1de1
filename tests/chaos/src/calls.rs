//! Makes one call and writes down what comes back.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use procession::{AsyncResult, Error, Pool};

use crate::board::Entry;
use crate::evidence::{Failure, Outcome, Seen, Told};
use crate::kinds::{Data, Kind, Large, Lazy, Reader, Tiny};
use crate::plan::{self, Call, Stop, Verb};
use crate::tag::Tag;

/// Nothing that is waited for may take as long. Less than an episode may take, so that what is missing is named.
const LIMIT: Duration = Duration::from_secs(60);

/// Makes the call; `entry` shows meanwhile how far it has come.
pub(crate) fn make(pool: &Pool, call: &Call, data: &Data, entry: &Entry) -> Seen {
    let begun = Instant::now();
    let seen = match call.kind {
        plan::Kind::Tiny => run(&Tiny::new(pool, call), call, entry),
        plan::Kind::Large => run(&Large::new(pool, call), call, entry),
        plan::Kind::Shared => run(&Reader::new(pool, call, data), call, entry),
    };
    Seen { took: begun.elapsed(), ..seen }
}

fn run<K: Kind>(kind: &K, call: &Call, entry: &Entry) -> Seen {
    let taken = Cell::new(0);
    let tags = (0..call.items).map(|index| {
        taken.set(taken.get() + 1);
        entry.took();
        call.tag(index)
    });
    let mut seen = Seen {
        call: call.clone(),
        taken: 0,
        told: Told::Each(Vec::new()),
        cancelled: None,
        callbacks: (0, 0),
        took: Duration::ZERO,
    };
    match call.verb {
        Verb::Map => seen.told = collected(kind, kind.map(tags)),
        Verb::MapAsync => map_async(kind, call, tags, &mut seen),
        Verb::Apply => {
            seen.told = Told::Each(tags.map(|tag| single(kind, kind.apply(tag), tag, entry)).collect())
        }
        Verb::ApplyAsync => apply_async(kind, call, tags, entry, &mut seen),
        Verb::Ordered => seen.told = lazy(kind, call, kind.ordered(tags), entry),
        Verb::Unordered => seen.told = lazy(kind, call, kind.unordered(tags), entry),
    }
    seen.taken = taken.get();
    seen
}

fn result<K: Kind>(kind: &K, came: Result<K::Value, Error>) -> Result<Tag, Box<Failure>> {
    match came {
        Ok(value) => kind.answered(&value).map_err(|why| Box::new(Failure::Wrong(why))),
        Err(error) => Err(Box::new(error.into())),
    }
}

fn single<K: Kind>(kind: &K, came: Result<K::Value, Error>, tag: Tag, entry: &Entry) -> Outcome {
    entry.came();
    Outcome { index: Some(tag.index()), result: result(kind, came), cancelled: None }
}

fn collected<K: Kind>(kind: &K, came: Result<Vec<K::Value>, Error>) -> Told {
    match came {
        Ok(values) => {
            let outcome = |(index, value)| Outcome {
                index: Some(index),
                result: result(kind, Ok(value)),
                cancelled: None,
            };
            Told::Each((0..).zip(values).map(outcome).collect())
        }
        Err(error) => Told::Failure(error.into()),
    }
}

fn map_async<K: Kind>(kind: &K, call: &Call, tags: impl Iterator<Item = Tag>, seen: &mut Seen) {
    let called = Arc::new(AtomicU32::new(0));
    let mut handle = counted(kind.map_async(tags), &called);
    if let Stop::Cancel(millis) = call.stop {
        handle.wait(Some(Duration::from_millis(millis.into())));
        seen.cancelled = Some(handle.cancel());
    }
    seen.told = match handle.get_timeout(LIMIT) {
        Some(came) => collected(kind, came),
        None => Told::Failure(Failure::Missing),
    };
    seen.callbacks = (called.load(Ordering::SeqCst), 1);
}

/// Of a burst that is to be cancelled every second handle is, one after the other.
fn apply_async<K: Kind>(
    kind: &K,
    call: &Call,
    tags: impl Iterator<Item = Tag>,
    entry: &Entry,
    seen: &mut Seen,
) {
    let called = Arc::new(AtomicU32::new(0));
    let handles: Vec<_> = tags.map(|tag| (tag, counted(kind.apply_async(tag), &called))).collect();
    let answers: Vec<Option<bool>> = match call.stop {
        Stop::Cancel(millis) => {
            handles[0].1.wait(Some(Duration::from_millis(millis.into())));
            let is_chosen = |index: usize| index.is_multiple_of(2);
            let handles = handles.iter().enumerate();
            handles.map(|(index, (_, handle))| is_chosen(index).then(|| handle.cancel())).collect()
        }
        Stop::Never | Stop::Drop(_) => vec![None; handles.len()],
    };
    let expected = handles.len() as u32;
    let outcome = |((tag, mut handle), cancelled): ((Tag, AsyncResult<K::Value>), Option<bool>)| {
        let outcome = match handle.get_timeout(LIMIT) {
            Some(came) => single(kind, came, tag, entry),
            None => Outcome { index: Some(tag.index()), result: Err(Box::new(Failure::Missing)), cancelled },
        };
        Outcome { cancelled, ..outcome }
    };
    seen.told = Told::Each(handles.into_iter().zip(answers).map(outcome).collect());
    seen.callbacks = (called.load(Ordering::SeqCst), expected);
}

/// The handle, whose callback is counted.
fn counted<T: Send + 'static>(handle: AsyncResult<T>, called: &Arc<AtomicU32>) -> AsyncResult<T> {
    let called = Arc::clone(called);
    handle.on_done(move |_| {
        called.fetch_add(1, Ordering::SeqCst);
    })
}

fn lazy<K: Kind>(kind: &K, call: &Call, mut stream: Box<dyn Lazy<K::Value> + '_>, entry: &Entry) -> Told {
    let mut outcomes = Vec::new();
    loop {
        match call.stop {
            Stop::Drop(after) if outcomes.len() >= after as usize => return Told::Some(outcomes),
            Stop::Cancel(after) if outcomes.len() == after as usize => stream.cancel(),
            _ => {}
        }
        let came = match stream.next_timeout(LIMIT) {
            Some(Some(came)) => result(kind, came),
            Some(None) => return Told::Each(outcomes),
            None => Err(Box::new(Failure::Missing)),
        };
        let is_missing = came.as_ref().is_err_and(|failure| matches!(**failure, Failure::Missing));
        entry.came();
        let index = (call.verb == Verb::Ordered).then_some(outcomes.len() as u32);
        outcomes.push(Outcome { index, result: came, cancelled: None });
        if is_missing {
            return Told::Each(outcomes);
        }
    }
}
