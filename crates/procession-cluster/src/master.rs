//! What a master decides: how items become chunks, how many are out, which of them are put again, halved or given up, and
//! in which order outcomes come. Facts in, commands out; time is an argument.
//!
//! It knows neither NATS nor pools. Times are counted from the start of the master.

mod earlier;
mod fleet;
mod pace;
mod terms;
#[cfg(test)]
mod tests;
mod winding_up;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use procession::{ErrorKind, ErrorReport};

use self::earlier::{Earlier, Told};
use self::fleet::Fleet;
pub use self::fleet::{AgentStatus, Notice, Seats};
pub(crate) use self::fleet::{Hello, Parting, TROUBLE_AGAIN};
use self::pace::Pace;
pub(crate) use self::terms::{Command, Outcome, Queue, Settings};
use crate::chunk::{Answer, Chunk, ChunkId, Fate, Figures, Item};
use crate::wire::{BYTES_MAX, too_large};

/// Arguments of a chunk, in bytes, beyond which no more items join it.
const CHUNK_BYTES: usize = 256 << 10;
/// Arguments under way, values that wait for their turn, and what values are still to come as far as those so far can tell, in
/// bytes; beyond it nothing new is taken in.
const WINDOW_BYTES: usize = 64 << 20;
/// The same for each worker, where there are so many that they would have less.
const WINDOW_BYTES_A_WORKER: usize = 16 << 10;
/// Chunks under way where nobody has said yet how many workers there are.
const WINDOW_CHUNKS_LEAST: usize = 8;
/// Items under way and outcomes that nobody has taken, where nobody says how many: as with a local pool, or what chunks under
/// way have where there are many workers, which is some 100 bytes of memory an item.
const BUFFER_ITEMS: u64 = 65_536;
const BUFFER_ITEMS_MAX: u64 = 1 << 22;
/// A chunk that nobody has spoken of for so many leases, and that the broker does not have, is put again.
const SILENT_LEASES: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Runs,
    Drains,
    Stops { until: Duration },
}

/// The master of one job.
pub(crate) struct Master {
    settings: Settings,
    next_id: ChunkId,
    /// Items of the chunk that is being made.
    forming: Vec<Piece>,
    forming_bytes: usize,
    out: BTreeMap<ChunkId, Out>,
    out_bytes: usize,
    earlier: Earlier,
    fleet: Fleet,
    pace: Pace,
    /// Until then something that was said may not have been heard: there was no connection, or a large answer was on its way, and
    /// others behind it.
    up_since: Duration,
    /// Until then chunks waited at the broker, as far as is known; who took them has not said so yet.
    waited_until: Duration,
    pushed: u64,
    yielded: u64,
    /// Outcomes that nobody has taken, by payload.
    ready: BTreeMap<u64, Outcome>,
    ready_bytes: usize,
    figures: Vec<(u64, u32, Figures)>,
    /// Answers that the caller is to put on record first, with the payloads that they are about.
    to_release: Vec<(ChunkId, Vec<u64>)>,
    commands: VecDeque<Command>,
    stage: Stage,
}

/// An item, and which of the caller's payloads it is.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    payload: u64,
    item: Item,
}

/// A chunk that has no answer.
struct Out {
    pieces: Vec<Piece>,
    is_alone: bool,
    bytes: usize,
    /// When it was put, or when an agent last said that it has it.
    heard: Duration,
    is_held: bool,
    copies: u32,
}

impl Master {
    pub(crate) fn new(settings: Settings) -> Master {
        Master {
            next_id: ChunkId::first(settings.session),
            pace: Pace::new(settings.chunk_items, settings.at_most_once),
            fleet: Fleet::new(settings.lease),
            settings,
            forming: Vec::new(),
            forming_bytes: 0,
            out: BTreeMap::new(),
            out_bytes: 0,
            earlier: Earlier::default(),
            up_since: Duration::ZERO,
            waited_until: Duration::ZERO,
            pushed: 0,
            yielded: 0,
            ready: BTreeMap::new(),
            ready_bytes: 0,
            figures: Vec::new(),
            to_release: Vec::new(),
            commands: VecDeque::new(),
            stage: Stage::Runs,
        }
    }

    /// How many more items are welcome now.
    pub(crate) fn wants(&self) -> u64 {
        let to_come = self.pace.value_bytes(self.pushed - self.yielded - self.ready.len() as u64);
        let bytes = (self.out_bytes + self.forming_bytes + self.ready_bytes).saturating_add(to_come);
        let is_idle = self.pushed == self.yielded;
        let workers = self.fleet.workers() as usize;
        let window = WINDOW_CHUNKS_LEAST.max(2 * workers + 2);
        let window_bytes = WINDOW_BYTES.max(workers.saturating_mul(WINDOW_BYTES_A_WORKER));
        if self.stage != Stage::Runs || self.out.len() >= window || (bytes >= window_bytes && !is_idle) {
            return 0;
        }
        // Where all chunks under way would have more items than there is room for, some workers would have none.
        let most = usize::try_from(self.settings.buffer.unwrap_or(BUFFER_ITEMS_MAX)).unwrap_or(usize::MAX);
        let chunk_items = self.pace.chunk_items(most / window);
        let under_way = (window as u64).saturating_mul(chunk_items as u64);
        let buffer = self.settings.buffer.unwrap_or(under_way.clamp(BUFFER_ITEMS, BUFFER_ITEMS_MAX));
        let room = buffer.saturating_sub(self.pushed - self.yielded);
        room.min(chunk_items.saturating_sub(self.forming.len()) as u64)
    }

    /// Takes an item in, which is the caller's next payload.
    pub(crate) fn push(&mut self, item: Item, now: Duration) {
        let piece = Piece { payload: self.pushed, item };
        self.pushed += 1;
        if piece.item.args.as_bytes().len() > BYTES_MAX {
            let report = too_large("its arguments", 0, &piece.item.args, BYTES_MAX);
            return self.settle(piece, Fate::Failed(report), &mut Vec::new());
        }
        match self.earlier.claim(piece) {
            earlier::Claimed::Unknown(piece) => {
                self.forming_bytes += piece.item.args.as_bytes().len();
                self.forming.push(piece);
            }
            earlier::Claimed::UnderWay => {}
            earlier::Claimed::Answered(piece, Told { fate, agent, figures }) => {
                if let Some(figures) = figures
                    && let Some(slot) = self.fleet.slot(&agent, figures.slot)
                {
                    self.figures.push((piece.payload, slot, figures));
                }
                self.settle(piece, fate, &mut Vec::new());
            }
        }
        self.keep_earlier();
        // Where there is no room for another item, those that are there wait for none.
        if self.forming_bytes >= CHUNK_BYTES || self.wants() == 0 {
            self.cut(now);
        }
    }

    /// The items taken in so far wait for no others.
    pub(crate) fn cut(&mut self, now: Duration) {
        if !self.forming.is_empty() {
            let pieces = std::mem::take(&mut self.forming);
            self.forming_bytes = 0;
            self.put(pieces, false, now);
        }
    }

    /// An agent has said what became of a chunk.
    pub(crate) fn answered(&mut self, id: ChunkId, answer: Answer, now: Duration) {
        self.fleet.spoke(&answer.agent, now);
        let Some(out) = self.take_out(id) else {
            // Late, or of an earlier master.
            match self.earlier.answered(id, &answer) {
                Some(pieces) => self.settle_all(pieces, false, answer, now),
                None => self.commands.push_back(Command::Release(id)),
            }
            return self.keep_earlier();
        };
        let payloads = out.pieces.iter().map(|piece| piece.payload).collect();
        self.settle_all(out.pieces, out.is_alone, answer, now);
        self.keep(id, payloads);
    }

    fn settle_all(&mut self, mut pieces: Vec<Piece>, is_alone: bool, answer: Answer, now: Duration) {
        self.note_figures(&pieces, &answer);
        self.pace.heard(&answer, self.fleet.workers());
        let Answer { agent, is_suspect, fates, .. } = answer;
        if is_suspect {
            self.suspect(pieces, &agent, now);
        } else {
            let mut fates: BTreeMap<u64, Fate> = fates.into_iter().collect();
            let mut again = Vec::new();
            for piece in pieces.drain(..) {
                // What an answer does not mention was not begun.
                let fate = fates.remove(&piece.item.index).unwrap_or(Fate::NotBegun);
                self.settle(piece, fate, &mut again);
            }
            if !again.is_empty() {
                self.put(again, is_alone, now);
            }
        }
    }

    /// Answers of earlier masters wait for items that have not come in.
    fn keep_earlier(&mut self) {
        for (id, payloads) in self.earlier.take_complete() {
            self.keep(id, payloads);
        }
    }

    /// An answer may go once these payloads are on record.
    fn keep(&mut self, id: ChunkId, payloads: Vec<u64>) {
        if self.settings.keeps_answers {
            self.to_release.push((id, payloads));
        } else {
            self.commands.push_back(Command::Release(id));
        }
    }

    /// Agents were lost one after the other while they had this chunk: halves of it are tried, until it is one item.
    fn suspect(&mut self, mut pieces: Vec<Piece>, agent: &str, now: Duration) {
        if self.stage != Stage::Runs {
            pieces.into_iter().for_each(|piece| self.settle(piece, Fate::NotBegun, &mut Vec::new()));
        } else if pieces.len() > 1 {
            let second = pieces.split_off(pieces.len() / 2);
            self.put(pieces, true, now);
            self.put(second, true, now);
        } else if let Some(piece) = pieces.pop() {
            let reason = format!(
                "{} agents were lost while they ran it and nothing else; agent {agent} did not begin it",
                crate::leases::LOSSES_MAX
            );
            let report = ErrorReport::new(ErrorKind::Quarantined, crate::leases::LOSSES_MAX, reason);
            self.ready(piece.payload, Outcome::Failed(Box::new(report)));
        }
    }

    fn settle(&mut self, piece: Piece, fate: Fate, again: &mut Vec<Piece>) {
        let outcome = match fate {
            Fate::Value(value) => Outcome::Value(value),
            Fate::Failed(report) => Outcome::Failed(Box::new(read_report(&report))),
            Fate::Lost => {
                let reason = "its agent was lost, and it starts at most once; it may have run";
                Outcome::Failed(Box::new(ErrorReport::new(ErrorKind::WorkerLost, 1, reason)))
            }
            Fate::NotBegun if self.stage == Stage::Runs => return again.push(piece),
            Fate::NotBegun => Outcome::Failed(Box::new(ErrorReport::new(ErrorKind::Cancelled, 0, ""))),
        };
        self.ready(piece.payload, outcome);
    }

    fn ready(&mut self, payload: u64, outcome: Outcome) {
        if let Outcome::Value(value) = &outcome {
            self.ready_bytes += value.as_bytes().len();
        }
        let before = self.ready.insert(payload, outcome);
        assert!(before.is_none() && payload < self.pushed, "payload {payload} has one outcome");
    }

    /// The next outcome, if one is there: in order, if that is wanted.
    pub(crate) fn next_outcome(&mut self) -> Option<(u64, Outcome)> {
        let (&payload, _) = self.ready.first_key_value()?;
        if self.settings.ordered && payload != self.yielded {
            return None;
        }
        let (payload, outcome) = self.ready.pop_first()?;
        if let Outcome::Value(value) = &outcome {
            self.ready_bytes -= value.as_bytes().len();
        }
        self.yielded += 1;
        Some((payload, outcome))
    }

    /// Items that have an outcome, whether it was yielded or not.
    pub(crate) fn answered_items(&self) -> u64 {
        self.yielded + self.ready.len() as u64
    }

    /// Every item taken in so far has been yielded.
    pub(crate) fn is_settled(&self) -> bool {
        self.yielded == self.pushed
    }

    /// What items took: payload of the first, a number for the worker that no other has, and the rest.
    pub(crate) fn take_figures(&mut self) -> Vec<(u64, u32, Figures)> {
        std::mem::take(&mut self.figures)
    }

    /// There are answers that wait to be released.
    pub(crate) fn has_answers(&self) -> bool {
        !self.to_release.is_empty()
    }

    /// Every outcome yielded so far is on record. Answers with items that are not yielded yet wait on.
    pub(crate) fn on_record(&mut self) {
        let is_taken = |payload: &u64| !self.ready.contains_key(payload);
        let (taken, kept) = std::mem::take(&mut self.to_release)
            .into_iter()
            .partition(|(_, payloads): &(ChunkId, Vec<u64>)| payloads.iter().all(is_taken));
        self.to_release = kept;
        self.commands.extend(taken.into_iter().map(|(id, _)| Command::Release(id)));
    }

    /// From now on each item of a chunk may run for so long.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.settings.timeout = Some(timeout);
    }

    /// An agent has said that it is there.
    pub(crate) fn heard(&mut self, hello: Hello, now: Duration) {
        for id in &hello.held {
            if let Some(out) = self.out.get_mut(id) {
                (out.heard, out.is_held) = (now, true);
            }
            self.earlier.heard(*id, now);
        }
        self.fleet.heard(hello, now);
    }

    /// The broker is there again.
    pub(crate) fn connected(&mut self, now: Duration) {
        self.up_since = now;
        self.fleet.connected(now);
    }

    /// The broker is away.
    pub(crate) fn disconnected(&mut self) {
        self.fleet.disconnected();
    }

    /// An answer is on its way, and others may be behind it.
    pub(crate) fn arrives(&mut self, now: Duration) {
        self.up_since = now;
    }

    /// Something at the broker does not succeed.
    pub(crate) fn trouble(&mut self, what: String, now: Duration) {
        self.fleet.trouble(what, now);
    }

    /// What the caller should tell people.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        self.fleet.take_notices()
    }

    /// Why no agent can run anything, where all there were have said so.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.fleet.broken()
    }

    /// The agents that are there.
    pub(crate) fn status(&self) -> Vec<AgentStatus> {
        self.fleet.status()
    }

    /// Time has passed; `queue` is the latest that is known of the broker's.
    pub(crate) fn tick(&mut self, queue: Option<Queue>, now: Duration) {
        self.fleet.tick(now);
        if let Stage::Stops { until } = self.stage
            && now >= until
        {
            self.give_up();
        }
        let Some(queue) = queue else { return };
        if self.stage == Stage::Runs && !queue.has_consumer {
            return self.commands.push_back(Command::MakeConsumer);
        }
        let silence = self.settings.lease * SILENT_LEASES;
        if queue.waiting > 0 {
            self.waited_until = queue.asked;
            if self.stage == Stage::Runs && self.fleet.is_idle_for(silence, now) {
                self.fleet.spoke_of_queue(now);
                self.commands.push_back(Command::Recreate);
            }
            return;
        }
        // As of when the queue was asked: what was said since then may not have been heard yet.
        let up_since = self.up_since;
        // Agents say three times a lease what they have.
        let all_said = self.waited_until + self.settings.lease <= queue.asked;
        let is_silent = |heard: Duration| all_said && heard.max(up_since) + silence <= queue.asked;
        let silent: Vec<ChunkId> =
            self.out.iter().filter(|(_, out)| is_silent(out.heard)).map(|(id, _)| *id).collect();
        for id in silent {
            self.put_again(id, now);
        }
        for (copy, chunk) in self.earlier.silent(is_silent, now) {
            if self.stage == Stage::Runs {
                self.commands.push_back(Command::Put { chunk, copy });
            } else {
                let pieces = self.earlier.take_back(chunk.id);
                pieces.into_iter().for_each(|piece| self.settle(piece, Fate::Lost, &mut Vec::new()));
            }
        }
    }

    /// Nobody has it, and there is no answer.
    fn put_again(&mut self, id: ChunkId, now: Duration) {
        if self.stage != Stage::Runs {
            // Whoever had it will not say so any more.
            let Some(out) = self.take_out(id) else { return };
            let may_have_run = out.is_held || self.settings.at_most_once;
            let fate = if may_have_run { Fate::Lost } else { Fate::NotBegun };
            return out
                .pieces
                .into_iter()
                .for_each(|piece| self.settle(piece, fate.clone(), &mut Vec::new()));
        }
        let timeout = self.settings.timeout;
        let Some(out) = self.out.get_mut(&id) else { return };
        out.copies += 1;
        (out.heard, out.is_held) = (now, false);
        // How often it was handed out before, its copy does not know.
        out.is_alone = true;
        let items = out.pieces.iter().map(|piece| piece.item.clone()).collect();
        let chunk = Chunk { id, timeout, is_alone: out.is_alone, items };
        self.commands.push_back(Command::Put { chunk, copy: out.copies });
    }

    fn put(&mut self, pieces: Vec<Piece>, is_alone: bool, now: Duration) {
        let id = self.next_id;
        self.next_id = id.next();
        let items: Vec<Item> = pieces.iter().map(|piece| piece.item.clone()).collect();
        let bytes = items.iter().map(|item| item.args.as_bytes().len()).sum();
        self.out_bytes += bytes;
        self.out.insert(id, Out { pieces, is_alone, bytes, heard: now, is_held: false, copies: 0 });
        let chunk = Chunk { id, timeout: self.settings.timeout, is_alone, items };
        self.commands.push_back(Command::Put { chunk, copy: 0 });
    }

    fn take_out(&mut self, id: ChunkId) -> Option<Out> {
        let out = self.out.remove(&id)?;
        self.out_bytes -= out.bytes;
        Some(out)
    }

    fn note_figures(&mut self, pieces: &[Piece], answer: &Answer) {
        for figures in &answer.figures {
            let first = pieces.get(figures.first as usize);
            let last = (figures.first as usize + figures.items as usize).checked_sub(1);
            let last = last.and_then(|last| pieces.get(last));
            // Figures are told of consecutive payloads.
            if let (Some(first), Some(last)) = (first, last)
                && last.payload - first.payload.min(last.payload) + 1 == u64::from(figures.items)
                && let Some(slot) = self.fleet.slot(&answer.agent, figures.slot)
            {
                self.figures.push((first.payload, slot, *figures));
            }
        }
    }

    /// What is to be done next.
    #[must_use]
    pub(crate) fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }
}

fn read_report(bytes: &[u8]) -> ErrorReport {
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        ErrorReport::new(ErrorKind::Decode, 1, format!("the report of a failure: {error}"))
    })
}
