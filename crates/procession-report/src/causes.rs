//! Failures, grouped by what they have in common: the outcome, and the error without its numbers.

use std::collections::HashMap;

use procession_store::{Item, Reader};

use crate::error::Error;

/// Groups that are told apart while counting. With more, a run's errors have nothing in common.
const GROUPS_MAX: usize = 5_000;
/// Groups that are shown.
const SHOWN_MAX: usize = 50;
/// Indices that are shown of each.
const INDICES_MAX: usize = 12;
/// Letters by which errors are told apart.
const KEY_MAX: usize = 400;

/// Items that failed alike.
pub(crate) struct Cause {
    /// The word of the run store.
    pub(crate) outcome: String,
    /// The error, with `#` for its numbers.
    pub(crate) error: String,
    pub(crate) items: u64,
    /// The first ones.
    pub(crate) indices: Vec<u64>,
    /// The first one, with everything.
    pub(crate) example: Option<Item>,
}

/// All of them, the most frequent first.
pub(crate) struct Causes {
    pub(crate) shown: Vec<Cause>,
    /// Causes that are not shown, and how many items they have together.
    pub(crate) more: (u64, u64),
}

impl Causes {
    pub(crate) fn find(reader: &Reader) -> Result<Causes, Error> {
        let mut groups: HashMap<(String, String), (u64, Vec<u64>)> = HashMap::new();
        let (mut beyond, mut beyond_items) = (0, 0);
        reader.causes::<Error>(|cause| {
            let key = (cause.outcome.to_owned(), normalised(cause.error.unwrap_or_default()));
            if groups.len() >= GROUPS_MAX && !groups.contains_key(&key) {
                beyond += 1;
                beyond_items += 1;
                return Ok(());
            }
            let (items, indices) = groups.entry(key).or_default();
            *items += 1;
            if indices.len() < INDICES_MAX {
                indices.push(cause.index);
            }
            Ok(())
        })?;
        let mut all: Vec<Cause> = groups
            .into_iter()
            .map(|((outcome, error), (items, indices))| Cause {
                outcome,
                error,
                items,
                indices,
                example: None,
            })
            .collect();
        all.sort_by(|a, b| b.items.cmp(&a.items).then_with(|| a.indices.cmp(&b.indices)));
        for rest in all.drain(SHOWN_MAX.min(all.len())..) {
            beyond += 1;
            beyond_items += rest.items;
        }
        for cause in &mut all {
            if let Some(first) = cause.indices.first() {
                cause.example = reader.item(*first)?;
            }
        }
        Ok(Causes { shown: all, more: (beyond, beyond_items) })
    }
}

/// An error without what differs from item to item: numbers and addresses are `#`.
fn normalised(error: &str) -> String {
    let mut key = String::with_capacity(error.len().min(KEY_MAX));
    let mut rest = error.trim();
    while let Some(letter) = rest.chars().next().filter(|_| key.len() < KEY_MAX) {
        let in_word = key.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_');
        let number = if in_word { 0 } else { number(rest) };
        if number > 0 {
            key.push('#');
            rest = &rest[number..];
        } else {
            key.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    key
}

/// How many bytes at the beginning are a number: decimal, with a fraction and an exponent, or hexadecimal.
fn number(text: &str) -> usize {
    let run =
        |text: &str, is: fn(&char) -> bool| text.chars().take_while(is).map(char::len_utf8).sum::<usize>();
    if let Some(digits) = text.strip_prefix("0x") {
        let hexadecimal = run(digits, char::is_ascii_hexdigit);
        if hexadecimal > 0 {
            return 2 + hexadecimal;
        }
    }
    let word = run(text, |letter| letter.is_ascii_alphanumeric());
    // Digests and names of objects.
    if word >= 8
        && text[..word].bytes().all(|byte| byte.is_ascii_hexdigit())
        && text[..word].contains(|c: char| c.is_ascii_digit())
    {
        return word;
    }
    let mut length = run(text, char::is_ascii_digit);
    if length == 0 {
        return 0;
    }
    if let Some(fraction) = text[length..].strip_prefix('.') {
        let digits = run(fraction, char::is_ascii_digit);
        length += if digits > 0 { 1 + digits } else { 0 };
    }
    if let Some(exponent) = text[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let digits = run(&exponent[sign..], char::is_ascii_digit);
        length += if digits > 0 { 1 + sign + digits } else { 0 };
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_tell_errors_apart() {
        for (error, key) in [
            ("row 17: 3.5e-7 is not in 1..20", "row #: # is not in #..#"),
            ("utf8 at 0x7ffe12 of item_3", "utf8 at # of item_3"),
            ("object deadbeef01 is gone, so is defaced", "object # is gone, so is defaced"),
            ("took 30s. 5", "took #s. #"),
            ("π² = 9.87 ≠ 10", "π² = # ≠ #"),
            ("  0x", "#x"),
        ] {
            assert_eq!(normalised(error), key);
        }
        assert!(normalised(&"é".repeat(10_000)).len() <= KEY_MAX + 2);
    }
}
