//! What an earlier master of the job has left with the broker: answers that nobody has heard, and chunks without one. Their
//! items come in with the others, and are not put another time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::{Master, Piece, Seats};
use crate::chunk::{Answer, Chunk, ChunkId, Fate, Figures};

/// See the module.
#[derive(Default)]
pub(super) struct Earlier {
    answered: HashMap<u64, Told>,
    /// Answers whose items have not all come in: until then somebody may still want them.
    kept: BTreeMap<ChunkId, Kept>,
    /// Which of these an item is in.
    kept_of: HashMap<u64, Vec<ChunkId>>,
    /// Those whose items have, with their payloads.
    complete: Vec<(ChunkId, Vec<u64>)>,
    chunks: BTreeMap<ChunkId, Left>,
    /// Which chunk an item is in.
    under_way: HashMap<u64, ChunkId>,
}

/// What became of an item, and what is known of how.
pub(super) struct Told {
    pub(super) fate: Fate,
    pub(super) agent: String,
    pub(super) figures: Option<Figures>,
}

/// An answer.
struct Kept {
    /// So many of its items have not come in.
    to_come: usize,
    payloads: Vec<u64>,
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
    Answered(Piece, Told),
}

impl Earlier {
    /// An answer; these of its items have come in.
    pub(super) fn answer(&mut self, id: ChunkId, answer: &Answer, pieces: &[Piece]) {
        let came: HashSet<u64> = pieces.iter().map(|piece| piece.item.index).collect();
        let payloads = pieces.iter().map(|piece| piece.payload).collect();
        let mut kept = Kept { to_come: 0, payloads };
        for (place, (index, fate)) in (0..).zip(&answer.fates).filter(|(_, (index, _))| !came.contains(index))
        {
            kept.to_come += 1;
            self.kept_of.entry(*index).or_default().push(id);
            // What was not begun has been put again, or is put now.
            if *fate != Fate::NotBegun && !answer.is_suspect {
                let figures = answer.figures.iter().find_map(|figures| figures.of_item(place));
                let (fate, agent) = (fate.clone(), answer.agent.clone());
                self.answered.insert(*index, Told { fate, agent, figures });
            }
        }
        self.keep(id, kept);
    }

    fn keep(&mut self, id: ChunkId, kept: Kept) {
        if kept.to_come > 0 {
            self.kept.insert(id, kept);
        } else {
            self.complete.push((id, kept.payloads));
        }
    }

    /// The answers all of whose items have come in since this was last called, with their payloads.
    pub(super) fn take_complete(&mut self) -> Vec<(ChunkId, Vec<u64>)> {
        std::mem::take(&mut self.complete)
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
        for id in self.kept_of.remove(&index).unwrap_or_default() {
            if let Some(mut kept) = self.kept.remove(&id) {
                kept.to_come -= 1;
                kept.payloads.push(piece.payload);
                self.keep(id, kept);
            }
        }
        if let Some(told) = self.answered.remove(&index) {
            return Claimed::Answered(piece, told);
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
        self.answer(id, answer, &left.pieces);
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
                left.chunk.is_alone = true;
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

impl Master {
    /// What was there before this master: chunks, and answers.
    pub(crate) fn recover(&mut self, mut chunks: Vec<Chunk>, answers: Vec<(ChunkId, Answer)>, now: Duration) {
        for (id, answer) in &answers {
            self.earlier.answer(*id, answer, &[]);
        }
        self.keep_earlier();
        // A chunk that was not acknowledged gets no other answer. Of several with an item, the latest has it.
        let answered: HashSet<ChunkId> = answers.iter().map(|(id, _)| *id).collect();
        chunks.retain(|chunk| !answered.contains(&chunk.id));
        chunks.sort_by_key(|chunk| chunk.id);
        for chunk in chunks {
            self.earlier.chunk(chunk, now);
        }
    }

    /// Which seats agents had with earlier masters, and from which on there are others.
    pub(crate) fn recall(&mut self, seats: Vec<Seats>, first: u32) {
        self.fleet.recall(seats, first);
    }
}
