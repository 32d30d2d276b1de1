//! Which items of a job a run is of: a part of them, by their indices in the whole.
//!
//! It is arithmetic alone. From an index in the job to its place among the selected ones and back it goes without counting, so a shard
//! of a large job costs no more than its own items.

use std::fmt;
use std::iter;
use std::ops::Range;
use std::str::FromStr;

/// Some of a job's items: those that were selected, of these a shard's, of these the first few. Each keeps its index.
///
/// ```
/// use procession_store::Selection;
///
/// let part = Selection::of(None, Some("2/3".parse()?), None);
/// assert_eq!(part.indices(10).collect::<Vec<_>>(), [1, 4, 7]);
/// assert_eq!((part.nth(2), part.position(7), part.position(8)), (Some(7), Some(2), None));
/// assert_eq!(part.to_string(), "--shard 2/3");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Apart from each other, and in order.
    spans: Vec<Span>,
    shard: Shard,
    limit: Option<u64>,
}

/// Indices without a gap, of which those of the shard count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u64,
    /// `u64::MAX`: there is no end.
    last: u64,
    /// So many items of the shard are in the spans before.
    before: u64,
}

/// One of several parts of a job that are as large as each other: item `k` is in shard `k mod n + 1` of `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    number: u64,
    of: u64,
}

/// A piece of a list of indices: one, a range, or all from one on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Where it stands in the text.
    pub at: Range<usize>,
    /// Its first index.
    pub first: u64,
    /// Its last one; none: there is no end.
    pub last: Option<u64>,
}

/// What is wrong with a list of indices, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread {
    /// Where it stands in the text.
    pub at: Range<usize>,
    /// What is wrong.
    pub what: String,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection::of(None, None, None)
    }
}

impl Selection {
    /// The first `limit` of the items that are in the list and in the shard; none of the three is all.
    pub fn of(elements: Option<&[Element]>, shard: Option<Shard>, limit: Option<u64>) -> Selection {
        let shard = shard.unwrap_or(Shard::WHOLE);
        let all = [(0, u64::MAX)];
        let mut spans: Vec<(u64, u64)> = match elements {
            Some(elements) => {
                elements.iter().map(|element| (element.first, element.last.unwrap_or(u64::MAX))).collect()
            }
            None => all.to_vec(),
        };
        spans.sort_unstable();
        let mut apart: Vec<Span> = Vec::with_capacity(spans.len());
        for (first, last) in spans {
            match apart.last_mut() {
                Some(span) if first <= span.last.saturating_add(1) => span.last = span.last.max(last),
                _ => apart.push(Span { first, last, before: 0 }),
            }
        }
        let mut before = 0_u64;
        for span in &mut apart {
            span.before = before;
            before = before.saturating_add(shard.within(span.first, span.last));
        }
        Selection { spans: apart, shard, limit }
    }

    /// The one item with this index.
    pub fn only(index: u64) -> Selection {
        Selection::of(Some(&[Element { at: 0..0, first: index, last: Some(index) }]), None, None)
    }

    /// Whether it is the whole job.
    pub fn is_whole(&self) -> bool {
        self.chosen().is_none() && self.shard == Shard::WHOLE && self.limit.is_none()
    }

    /// The flags that select it, where it is not the whole job.
    pub fn flags(&self) -> Option<String> {
        (!self.is_whole()).then(|| self.to_string())
    }

    /// The list of indices, such as `3,7,10-20,100-`; none: all.
    pub fn chosen(&self) -> Option<String> {
        if let [Span { first: 0, last: u64::MAX, .. }] = self.spans.as_slice() {
            return None;
        }
        let spans = self.spans.iter().map(|span| match *span {
            Span { first, last, .. } if first == last => first.to_string(),
            Span { first, last: u64::MAX, .. } => format!("{first}-"),
            Span { first, last, .. } => format!("{first}-{last}"),
        });
        Some(spans.collect::<Vec<_>>().join(","))
    }

    /// The shard, if it is one.
    pub fn shard(&self) -> Option<Shard> {
        (self.shard != Shard::WHOLE).then_some(self.shard)
    }

    /// How many items it has at most.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// What shards and limits are of: the list of indices alone.
    #[must_use]
    pub fn base(&self) -> Selection {
        let mut spans = self.spans.clone();
        let mut before = 0_u64;
        for span in &mut spans {
            span.before = before;
            before = before.saturating_add(Shard::WHOLE.within(span.first, span.last));
        }
        Selection { spans, shard: Shard::WHOLE, limit: None }
    }

    /// The index of the item at that place among the selected ones.
    pub fn nth(&self, position: u64) -> Option<u64> {
        if self.limit.is_some_and(|limit| position >= limit) {
            return None;
        }
        let at = self.spans.partition_point(|span| span.before <= position).checked_sub(1)?;
        let Span { first, last, before } = self.spans[at];
        let index = self.shard.from(first)?.checked_add((position - before).checked_mul(self.shard.of)?)?;
        (index <= last).then_some(index)
    }

    /// The place of an item among the selected ones, if it is one of them.
    pub fn position(&self, index: u64) -> Option<u64> {
        let at = self.spans.partition_point(|span| span.first <= index).checked_sub(1)?;
        let Span { first, last, before } = self.spans[at];
        if index > last || !self.shard.has(index) {
            return None;
        }
        let position = before.saturating_add(self.shard.within(first, index) - 1);
        self.limit.is_none_or(|limit| position < limit).then_some(position)
    }

    /// Whether the item is one of them.
    pub fn contains(&self, index: u64) -> bool {
        self.position(index).is_some()
    }

    /// How many there are in a job of so many items.
    pub fn count(&self, items: u64) -> u64 {
        let Some(end) = items.checked_sub(1) else { return 0 };
        let at = self.spans.partition_point(|span| span.first <= end);
        let count = at.checked_sub(1).map_or(0, |at| {
            let Span { first, last, before } = self.spans[at];
            before.saturating_add(self.shard.within(first, last.min(end)))
        });
        self.limit.map_or(count, |limit| count.min(limit))
    }

    /// Their indices in a job of so many items, in order.
    pub fn indices(&self, items: u64) -> impl Iterator<Item = u64> + '_ {
        let mut positions = 0..self.count(items);
        iter::from_fn(move || self.nth(positions.next()?))
    }

    /// The first of its items, in a job of so many, that another selection leaves out.
    pub fn left_out_by(&self, other: &Selection, items: u64) -> Option<u64> {
        self.indices(items).find(|index| !other.contains(*index))
    }
}

/// The flags that select it.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            self.chosen().map(|chosen| format!("--select {chosen}")),
            self.shard().map(|shard| format!("--shard {shard}")),
            self.limit.map(|limit| format!("--limit {limit}")),
        ];
        f.write_str(&flags.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

impl Shard {
    /// All items are in one.
    const WHOLE: Shard = Shard { number: 1, of: 1 };

    /// Which of them it is, from 1.
    pub fn number(self) -> u64 {
        self.number
    }

    /// How many there are.
    pub fn of(self) -> u64 {
        self.of
    }

    fn has(self, index: u64) -> bool {
        index % self.of == self.number - 1
    }

    /// Its first item from an index on.
    fn from(self, index: u64) -> Option<u64> {
        let (here, wanted) = (index % self.of, self.number - 1);
        index.checked_add(if wanted >= here { wanted - here } else { self.of - here + wanted })
    }

    /// How many of its items are from one index up to another, with both.
    fn within(self, first: u64, last: u64) -> u64 {
        match self.from(first) {
            Some(from) if from <= last => ((last - from) / self.of).saturating_add(1),
            _ => 0,
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    /// Reads `2/3`: the second of three.
    fn from_str(text: &str) -> Result<Shard, String> {
        const HELP: &str = "write it as I/N: 1/4 is the first of four";
        let (number, of) = text.split_once('/').ok_or_else(|| format!("no `/`; {HELP}"))?;
        let read =
            |word: &str| word.parse::<u64>().map_err(|_| format!("`{word}` is not a whole number; {HELP}"));
        match (read(number)?, read(of)?) {
            (_, 0) => Err(format!("there are no 0 shards; {HELP}")),
            (number, of) if number == 0 || number > of => {
                Err(format!("there is no shard {number} of {of}: they are counted from 1"))
            }
            (number, of) => Ok(Shard { number, of }),
        }
    }
}

/// Reads a list of indices: `3,7,10-20,100-`. They may overlap, and come in any order.
///
/// # Errors
/// What is wrong with the first piece that is no index and no range of them.
pub fn elements(text: &str) -> Result<Vec<Element>, Misread> {
    let mut start = 0;
    let mut pieces = Vec::new();
    for piece in text.split(',') {
        let word = piece.trim();
        let from = start + (piece.len() - piece.trim_start().len());
        pieces.push(element(word, from)?);
        start += piece.len() + 1;
    }
    Ok(pieces)
}

fn element(word: &str, from: usize) -> Result<Element, Misread> {
    let misread = |at: Range<usize>, what: String| Misread { at, what };
    let whole = from..from + word.len().max(1);
    if word.is_empty() {
        return Err(misread(whole, "no index here".to_owned()));
    }
    let number = |text: &str, at: usize| {
        text.parse::<u64>().map_err(|_| {
            let what = if text.is_empty() {
                "no index before the `-`".to_owned()
            } else {
                format!("`{text}` is not an index")
            };
            misread(at..at + text.len().max(1), what)
        })
    };
    let (first, last) = match word.split_once('-') {
        None => {
            let index = number(word, from)?;
            (index, Some(index))
        }
        Some((first, "")) => (number(first, from)?, None),
        Some((first, last)) => {
            let (first, last) = (number(first, from)?, number(last, from + first.len() + 1)?);
            if last < first {
                return Err(misread(whole, format!("`{word}` has no items: it ends before it begins")));
            }
            (first, Some(last))
        }
    };
    Ok(Element { at: from..from + word.len(), first, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(list: Option<&str>, shard: Option<&str>, limit: Option<u64>) -> Selection {
        let list = list.map(|list| elements(list).unwrap());
        Selection::of(list.as_deref(), shard.map(|shard| shard.parse().unwrap()), limit)
    }

    #[test]
    fn arithmetic_and_counting_agree() {
        let lists = [
            None,
            Some("0"),
            Some("3,7,10-20,40-"),
            Some("5-5,5,4-9,0-2"),
            Some("11-12,14-15,17"),
            Some("60-"),
        ];
        let shards = [None, Some("1/2"), Some("2/3"), Some("3/3"), Some("7/7"), Some("50/64")];
        for (list, shard, limit) in lists.into_iter().flat_map(|list| {
            shards
                .into_iter()
                .flat_map(move |shard| [None, Some(1), Some(4)].map(|limit| (list, shard, limit)))
        }) {
            let part = selection(list, shard, limit);
            let pieces = list.map(|list| elements(list).unwrap());
            let is_in = |index: u64| {
                let listed = pieces.as_ref().is_none_or(|pieces| {
                    pieces.iter().any(|p| p.first <= index && p.last.is_none_or(|last| index <= last))
                });
                let (number, of) = shard.map_or((1, 1), |shard| {
                    let (number, of) = shard.split_once('/').unwrap();
                    (number.parse().unwrap(), of.parse::<u64>().unwrap())
                });
                listed && index % of + 1 == number
            };
            for items in [0, 1, 6, 21, 50, 70] {
                let counted: Vec<u64> = (0..items).filter(|index| is_in(*index)).collect();
                let counted = &counted[..counted.len().min(limit.unwrap_or(u64::MAX) as usize)];
                assert_eq!(part.indices(items).collect::<Vec<_>>(), counted, "{part} of {items}");
                assert_eq!(part.count(items), counted.len() as u64, "{part} of {items}");
                for index in 0..items {
                    let at = counted.iter().position(|item| *item == index).map(|at| at as u64);
                    assert_eq!(part.position(index), at, "{part}: {index}");
                }
            }
        }
    }

    #[test]
    fn shards_of_what_has_no_end_are_apart_and_together_everything() {
        let shards: Vec<Selection> =
            ["1/3", "2/3", "3/3"].map(|shard| selection(None, Some(shard), None)).into_iter().collect();
        for index in (0..100).chain([u64::MAX - 2, u64::MAX - 1]) {
            assert_eq!(shards.iter().filter(|shard| shard.contains(index)).count(), 1, "{index}");
        }
        assert_eq!(shards[1].nth(1_000_000_000_000), Some(3_000_000_000_001));
        assert_eq!(shards.iter().map(|shard| shard.count(1 << 60)).sum::<u64>(), 1 << 60);
        assert_eq!(Selection::default().count(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_selection_is_known_by_what_it_selects() {
        let part = selection(Some("10-20, 3,15-25,26,100-,7"), Some("2/4"), Some(9));
        assert_eq!(part.to_string(), "--select 3,7,10-26,100- --shard 2/4 --limit 9");
        let again = selection(part.chosen().as_deref(), Some("2/4"), Some(9));
        assert_eq!(part, again);
        assert_eq!(part.base().to_string(), "--select 3,7,10-26,100-");
        assert_eq!(Selection::only(7).indices(9).collect::<Vec<_>>(), [7]);
        assert!(selection(Some("5-,0-4"), Some("1/1"), None).is_whole());
        assert_eq!(selection(None, None, Some(3)).left_out_by(&selection(None, None, Some(2)), 9), Some(2));
        assert_eq!(selection(None, None, Some(2)).left_out_by(&selection(None, None, Some(3)), 9), None);
    }

    #[test]
    fn nonsense_is_refused_where_it_stands() {
        for (text, at, what) in [
            ("", 0..1, "no index here"),
            ("3,,7", 2..3, "no index here"),
            ("3, x", 3..4, "`x` is not an index"),
            ("3,-7", 2..3, "no index before the `-`"),
            ("1-y", 2..3, "`y` is not an index"),
            ("1-2-3", 2..5, "`2-3` is not an index"),
            ("4,20-10", 2..7, "`20-10` has no items: it ends before it begins"),
            ("99999999999999999999", 0..20, "`99999999999999999999` is not an index"),
        ] {
            assert_eq!(elements(text), Err(Misread { at, what: what.to_owned() }), "{text}");
        }
        for text in ["3", "0/3", "4/3", "1/0", "a/3", "1/-3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
