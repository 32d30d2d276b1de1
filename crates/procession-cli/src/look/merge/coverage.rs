//! What of a job its parts have: every item once, some twice, some not at all. It looks and writes nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use procession_store::{Error, Item, Query, Reader, Selection};

use super::Part;
use crate::diagnostic::Diagnostic;
use crate::exit::Stop;
use crate::summary::counted;

/// So many parts that lack something are named.
const NAMED_MAX: usize = 4;

/// How much of the job there is.
pub(super) struct Coverage {
    /// How many items there should be.
    items: u64,
    /// Of each part, how many items of it have no outcome.
    unfinished: Vec<u64>,
    /// Items that have no outcome, and how many of these are in no part; the first of those.
    missing: u64,
    nowhere: u64,
    first_nowhere: Option<u64>,
}

impl Coverage {
    /// Goes through all parts side by side. Refuses an item that came to one thing here and to another there.
    pub(super) fn of(parts: &[Part<'_>]) -> Result<Coverage, Stop> {
        let whole = whole(parts);
        let all = parts.iter().filter_map(|part| part.job.items).max().unwrap_or(0);
        let items = whole.count(all);
        let mut coverage =
            Coverage { items, unfinished: Vec::new(), missing: 0, nowhere: 0, first_nowhere: None };
        let mut have = vec![0_u64; parts.len()];
        let mut queries =
            parts.iter().map(|part| part.reader.indices()).collect::<Result<Vec<Query<'_, u64>>, Error>>()?;
        let answers = queries.iter_mut().map(Query::ask).collect::<Result<Vec<_>, _>>()?;
        let mut merged = Merged::new(answers, |index: &u64| *index)?;
        let mut last: Option<(u64, usize)> = None;
        let mut next = 0;
        while let Some((part, index)) = merged.next()? {
            have[part] += 1;
            match last {
                Some((before, other)) if before == index => {
                    refuse_unlike(&parts[other], &parts[part], index)?
                }
                Some(_) | None => {
                    let place = whole.position(index).unwrap_or(next);
                    coverage.lacks(&whole, next..place, parts);
                    next = place + 1;
                    last = Some((index, part));
                }
            }
        }
        coverage.lacks(&whole, next..items, parts);
        let of_part = |part: &Part<'_>| part.job.selected().unwrap_or(0);
        coverage.unfinished =
            parts.iter().zip(have).map(|(part, have)| of_part(part).saturating_sub(have)).collect();
        Ok(coverage)
    }

    /// The items at these places have no outcome.
    fn lacks(&mut self, whole: &Selection, places: std::ops::Range<u64>, parts: &[Part<'_>]) {
        for index in places.filter_map(|place| whole.nth(place)) {
            self.missing += 1;
            if parts.iter().all(|part| !part.job.selection.contains(index)) {
                self.nowhere += 1;
                self.first_nowhere.get_or_insert(index);
            }
        }
    }

    pub(super) fn missing(&self) -> u64 {
        self.missing
    }

    /// What is missing, in words; none: nothing is.
    pub(super) fn lack(&self, parts: &[Part<'_>]) -> Option<String> {
        if self.missing == 0 {
            return None;
        }
        let mut words = vec![format!("{} of {} have no outcome", self.missing, counted(self.items, "item"))];
        if let Some(first) = self.first_nowhere {
            let nowhere = counted(self.nowhere, "item");
            words.push(match missing_shards(parts, self.items) {
                Some(shards) => format!("none of the directories has {shards} ({nowhere})"),
                None => {
                    format!("none of the directories has {nowhere} of these, the first of them item {first}")
                }
            });
        }
        let unfinished = parts.iter().zip(&self.unfinished).filter(|(_, left)| **left > 0);
        let unfinished: Vec<String> = unfinished
            .map(|(part, left)| {
                let flags = part.job.selection.flags().map(|flags| format!(" ({flags})")).unwrap_or_default();
                format!("{}{flags} is unfinished, with {left} to go", part.dir.display())
            })
            .collect();
        let more = unfinished.len().saturating_sub(NAMED_MAX);
        words.extend(unfinished.into_iter().take(NAMED_MAX));
        if more > 0 {
            words.push(format!("{more} more are unfinished"));
        }
        Some(words.join("; "))
    }
}

/// What the parts are parts of: the items that all of them select, or the job.
fn whole(parts: &[Part<'_>]) -> Selection {
    let mut bases = parts.iter().map(|part| part.job.selection.base());
    let first = bases.next().unwrap_or_default();
    if bases.all(|base| base == first) { first } else { Selection::default() }
}

/// The shards that there are not, if shards are what the parts are.
fn missing_shards(parts: &[Part<'_>], items: u64) -> Option<String> {
    let mut given = Vec::new();
    let mut of = None;
    for part in parts {
        let selection = &part.job.selection;
        let shard = selection.shard().filter(|_| selection.limit().is_none())?;
        if *of.get_or_insert(shard.of()) != shard.of() {
            return None;
        }
        given.push(shard.number());
    }
    let of = of.filter(|of| *of <= items)?;
    given.sort_unstable();
    given.dedup();
    let mut missing = (1..=of).filter(|number| given.binary_search(number).is_err());
    let named: Vec<String> =
        missing.by_ref().take(NAMED_MAX).map(|number| format!("--shard {number}/{of}")).collect();
    let more = missing.count();
    let named = named.join(", ");
    (!named.is_empty()).then(|| if more > 0 { format!("{named} and {more} more") } else { named })
}

/// Refuses an item that two parts have, and not with the same outcome.
fn refuse_unlike(one: &Part<'_>, other: &Part<'_>, index: u64) -> Result<(), Stop> {
    let ask = |reader: &Reader| reader.item(index);
    let (Some(here), Some(there)) = (ask(one.reader)?, ask(other.reader)?) else { return Ok(()) };
    let is_like = |a: &Item, b: &Item| {
        (&a.outcome, &a.value, &a.key, a.exit, a.signal) == (&b.outcome, &b.value, &b.key, b.exit, b.signal)
    };
    // What a command came to is what it printed.
    if is_like(&here, &there) && one.reader.printed(index)? == other.reader.printed(index)? {
        return Ok(());
    }
    let (one, other) = (one.dir.display(), other.dir.display());
    let what = if here.outcome == there.outcome {
        format!("item {index} came to one thing in {one} and to another in {other}")
    } else {
        format!("item {index} is `{}` in {one} and `{}` in {other}", here.outcome, there.outcome)
    };
    let refusal = Diagnostic::new(format!("parts overlap and do not agree: {what}"));
    Err(refusal
        .help("leave one of the directories out, or go on with the one that is not as it should be")
        .into())
}

/// Several streams of items, each in order, as one: with each the number of its stream.
pub(super) struct Merged<I, T> {
    streams: Vec<I>,
    index: fn(&T) -> u64,
    /// What each stream has next.
    held: Vec<Option<T>>,
    order: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<T, I: Iterator<Item = Result<T, Error>>> Merged<I, T> {
    pub(super) fn new(streams: Vec<I>, index: fn(&T) -> u64) -> Result<Merged<I, T>, Error> {
        let held = streams.iter().map(|_| None).collect();
        let mut merged = Merged { streams, index, held, order: BinaryHeap::new() };
        (0..merged.streams.len()).try_for_each(|stream| merged.pull(stream))?;
        Ok(merged)
    }

    pub(super) fn next(&mut self) -> Result<Option<(usize, T)>, Error> {
        let Some(Reverse((_, stream))) = self.order.pop() else { return Ok(None) };
        let item = self.held[stream].take();
        self.pull(stream)?;
        Ok(item.map(|item| (stream, item)))
    }

    fn pull(&mut self, stream: usize) -> Result<(), Error> {
        let next = self.streams[stream].next().transpose()?;
        if let Some(item) = &next {
            self.order.push(Reverse(((self.index)(item), stream)));
        }
        self.held[stream] = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_merged_and_what_is_equal_comes_together() {
        let streams = [vec![0, 3, 6, 9], vec![], vec![1, 3, 4], vec![9]];
        let streams = streams.into_iter().map(|stream| stream.into_iter().map(Ok)).collect();
        let mut merged = Merged::new(streams, |index: &u64| *index).unwrap();
        let mut all = Vec::new();
        while let Some(next) = merged.next().unwrap() {
            all.push(next);
        }
        assert_eq!(all, [(0, 0), (2, 1), (0, 3), (2, 3), (2, 4), (0, 6), (0, 9), (3, 9)]);
    }
}
