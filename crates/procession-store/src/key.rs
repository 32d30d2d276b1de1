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
}
