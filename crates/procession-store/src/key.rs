//! What an item is known by from one run to the next: a digest of its arguments.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// A digest of an item's encoded arguments: equal arguments have equal keys, and different ones do not by accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of an item with these arguments. SipHash-1-3 of 128 bits, without a secret: it guards against accidents.
    pub fn of(args: &[u8]) -> Key {
        let mut hasher = SipHasher13::new();
        hasher.write(args);
        Key(hasher.finish128().as_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Key> {
        bytes.try_into().ok().map(Key)
    }
}

/// A digest of the keys of all items, in order: what tells one input from another.
///
/// ```
/// use procession_store::{InputDigest, Key};
///
/// let keys = [Some(Key::of(b"a")), None, Some(Key::of(b"b"))];
/// let mut digest = InputDigest::default();
/// keys.iter().for_each(|key| digest.add(key.as_ref()));
/// assert_eq!(digest.items(), 3);
/// ```
#[derive(Clone, Debug, Default)]
pub struct InputDigest {
    hasher: SipHasher13,
    items: u64,
}

impl InputDigest {
    /// The next item; none is one whose arguments cannot be read.
    pub fn add(&mut self, key: Option<&Key>) {
        match key {
            Some(key) => {
                self.hasher.write(&[1]);
                self.hasher.write(&key.0);
            }
            None => self.hasher.write(&[0]),
        }
        self.items += 1;
    }

    /// How many items there were.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// The digest of those.
    pub fn finish(&self) -> Key {
        Key(self.hasher.finish128().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_changes() {
        // Written into databases that later versions read.
        assert_eq!(Key::of(b"").0[..4], [13, 180, 217, 97]);
        assert_ne!(Key::of(b"a"), Key::of(b"b"));
        assert_eq!(Key::from_bytes(Key::of(b"a").as_bytes()), Some(Key::of(b"a")));
        assert_eq!(Key::from_bytes(b"short"), None);
    }

    #[test]
    fn an_input_is_known_by_its_items_and_their_order() {
        let of = |items: &[Option<&[u8]>]| {
            let mut digest = InputDigest::default();
            items.iter().for_each(|args| digest.add(args.map(Key::of).as_ref()));
            digest.finish()
        };
        let (a, b): (Option<&[u8]>, Option<&[u8]>) = (Some(b"a"), Some(b"b"));
        assert_eq!(of(&[a, b]), of(&[a, b]));
        for other in [&[b, a][..], &[a], &[a, b, b], &[a, None, b], &[a, b, None], &[None, b]] {
            assert_ne!(of(&[a, b]), of(other));
        }
        // As that of an item, it is written into databases.
        assert_eq!(of(&[a, None]).0[..4], [6, 134, 181, 177]);
    }
}
