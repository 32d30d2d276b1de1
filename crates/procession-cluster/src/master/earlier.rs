//! What an earlier master of the job has left with the broker: answers that nobody has heard, and chunks without one. Their
//! items come in with the others, and are not put another time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::Piece;
use crate::chunk::{Answer, Chunk, ChunkId, Fate};

/// See the module.
#[derive(Default)]
pub(super) struct Earlier {
    answered: HashMap<u64, Fate>,
    chunks: BTreeMap<ChunkId, Left>,
    /// Which chunk an item is in.
    under_way: HashMap<u64, ChunkId>,
}

/// A chunk without an answer.
struct Left {
    chunk: Chunk,
    /// Its items that have come in.
    pieces: Vec<Piece>,
    heard: Duration,
    copies: u32,
}

/// What is known of an item.
pub(super) enum Claimed {
    Unknown(Piece),
    UnderWay,
    Answered(Piece, Fate),
}

impl Earlier {
    pub(super) fn answer(&mut self, _id: ChunkId, answer: &Answer) {
        for (index, fate) in &answer.fates {
            // What was not begun has been put again, or is put now.
            if *fate != Fate::NotBegun && !answer.is_suspect {
                self.answered.insert(*index, fate.clone());
            }
        }
    }

    pub(super) fn chunk(&mut self, chunk: Chunk, now: Duration) {
        for item in &chunk.items {
            self.under_way.insert(item.index, chunk.id);
        }
        self.chunks.insert(chunk.id, Left { chunk, pieces: Vec::new(), heard: now, copies: 0 });
    }

    /// An item comes in.
    pub(super) fn claim(&mut self, piece: Piece) -> Claimed {
        let index = piece.item.index;
        if let Some(fate) = self.answered.remove(&index) {
            return Claimed::Answered(piece, fate);
        }
        match self.under_way.get(&index).and_then(|id| self.chunks.get_mut(id)) {
            Some(left) => {
                left.pieces.push(piece);
                Claimed::UnderWay
            }
            None => Claimed::Unknown(piece),
        }
    }

    /// The items of the chunk that have come in, if it is one; the others find their answer when they do.
    pub(super) fn answered(&mut self, id: ChunkId, answer: &Answer) -> Option<Vec<Piece>> {
        let left = self.remove(id)?;
        self.answer(id, answer);
        for piece in &left.pieces {
            self.answered.remove(&piece.item.index);
        }
        Some(left.pieces)
    }

    /// The items of the chunk that have come in: nobody has it.
    pub(super) fn take_back(&mut self, id: ChunkId) -> Vec<Piece> {
        self.remove(id).map(|left| left.pieces).unwrap_or_default()
    }

    pub(super) fn heard(&mut self, id: ChunkId, now: Duration) {
        if let Some(left) = self.chunks.get_mut(&id) {
            left.heard = now;
        }
    }

    /// The chunks that nobody speaks of and whose items somebody waits for, to be put again under their names: the how-many-th
    /// time, and which.
    pub(super) fn silent(
        &mut self,
        is_silent: impl Fn(Duration) -> bool,
        now: Duration,
    ) -> Vec<(u32, Chunk)> {
        let silent = self.chunks.values_mut().filter(|left| !left.pieces.is_empty() && is_silent(left.heard));
        silent
            .map(|left| {
                left.heard = now;
                left.copies += 1;
                // Whatever its first master called its copies: this one is another.
                (u32::MAX - left.copies, left.chunk.clone())
            })
            .collect()
    }

    pub(super) fn give_up(&mut self) -> Vec<Piece> {
        self.under_way.clear();
        std::mem::take(&mut self.chunks).into_values().flat_map(|left| left.pieces).collect()
    }

    fn remove(&mut self, id: ChunkId) -> Option<Left> {
        let left = self.chunks.remove(&id)?;
        for item in &left.chunk.items {
            if self.under_way.get(&item.index) == Some(&id) {
                self.under_way.remove(&item.index);
            }
        }
        Some(left)
    }
}
