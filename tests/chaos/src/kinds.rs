//! The three kinds of arguments behind one face, so that every verb is driven in one place. It knows how an item's
//! arguments are made and how its value is checked, not what the calls are for.

use std::time::Duration;

use procession::{AsyncResult, Broadcast, Error, Imap, ImapUnordered, Pool, Shared, Task, TaskOutput};

use crate::plan::{Call, Limits};
use crate::tag::Tag;
use crate::tasks::{self, Parcel, Reading};

/// One kind of arguments, on one pool, for one call.
pub(crate) trait Kind {
    type Value: TaskOutput + Send + 'static;

    /// Which item a value is of; an error: of none.
    fn answered(&self, value: &Self::Value) -> Result<Tag, String>;
    fn apply(&self, tag: Tag) -> Result<Self::Value, Error>;
    fn apply_async(&self, tag: Tag) -> AsyncResult<Self::Value>;
    fn map(&self, tags: impl Iterator<Item = Tag>) -> Result<Vec<Self::Value>, Error>;
    fn map_async(&self, tags: impl Iterator<Item = Tag>) -> AsyncResult<Vec<Self::Value>>;
    fn ordered<'a>(&'a self, tags: impl Iterator<Item = Tag> + 'a) -> Box<dyn Lazy<Self::Value> + 'a>;
    fn unordered<'a>(&'a self, tags: impl Iterator<Item = Tag> + 'a) -> Box<dyn Lazy<Self::Value> + 'a>;
}

/// A lazy call, ordered or not.
pub(crate) trait Lazy<R> {
    fn next_timeout(&mut self, limit: Duration) -> Option<Option<Result<R, Error>>>;
    fn cancel(&mut self);
}

/// A number each.
pub(crate) struct Tiny<'p> {
    pool: &'p Pool,
    task: Task<fn(u64) -> u64>,
}

/// Up to some MiB each way.
pub(crate) struct Large<'p> {
    pool: &'p Pool,
    task: Task<fn(Parcel) -> Parcel>,
    call: Call,
}

type Read = fn(u64, Shared<u64>, Broadcast<Vec<String>>) -> Reading;

/// Data that all items read; several arguments.
pub(crate) struct Reader<'p> {
    pool: &'p Pool,
    task: Task<Read>,
    data: Data,
}

/// What the items of an episode share.
#[derive(Clone)]
pub(crate) struct Data {
    table: Shared<u64>,
    book: Broadcast<Vec<String>>,
}

impl<'p> Tiny<'p> {
    pub(crate) fn new(pool: &'p Pool, call: &Call) -> Tiny<'p> {
        let task = if call.idempotent { tasks::tiny_again } else { tasks::tiny };
        Tiny { pool, task: limited(task, &call.limits) }
    }
}

impl<'p> Large<'p> {
    pub(crate) fn new(pool: &'p Pool, call: &Call) -> Large<'p> {
        let task = if call.idempotent { tasks::large_again } else { tasks::large };
        Large { pool, task: limited(task, &call.limits), call: call.clone() }
    }

    fn argument(&self, tag: Tag) -> Parcel {
        let (bytes, back) = self.call.sizes(tag.index());
        Parcel::new(tag.number(), bytes, back)
    }
}

impl<'p> Reader<'p> {
    pub(crate) fn new(pool: &'p Pool, call: &Call, data: &Data) -> Reader<'p> {
        let task = if call.idempotent { tasks::shared_again } else { tasks::shared };
        Reader { pool, task: limited(task, &call.limits), data: data.clone() }
    }

    fn arguments(&self, tag: Tag) -> (u64, Shared<u64>, Broadcast<Vec<String>>) {
        (tag.number(), self.data.table.clone(), self.data.book.clone())
    }
}

impl Data {
    pub(crate) fn new(pool: &Pool, seed: u64) -> Result<Data, Error> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let table: Vec<u64> = (0..rng.usize(1..100_000)).map(|_| rng.u64(..)).collect();
        let book: Vec<String> = (0..rng.usize(1..1_000)).map(|page| "x".repeat(page)).collect();
        Ok(Data { table: pool.share(&table)?, book: pool.broadcast(&book)? })
    }
}

fn limited<F: Copy>(task: Task<F>, limits: &Limits) -> Task<F> {
    let Limits { timeout, deadline, max_attempts, chunk_size, buffer, priority } = *limits;
    let task = task.priority(priority);
    let task = timeout.map_or(task, |limit| task.timeout(limit));
    let task = deadline.map_or(task, |limit| task.deadline(limit));
    let task = max_attempts.map_or(task, |starts| task.max_attempts(starts));
    let task = chunk_size.map_or(task, |items| task.chunk_size(items));
    buffer.map_or(task, |items| task.buffer(items))
}

impl Kind for Tiny<'_> {
    type Value = u64;

    fn answered(&self, value: &u64) -> Result<Tag, String> {
        Ok(Tag::answered_by(*value))
    }

    fn apply(&self, tag: Tag) -> Result<u64, Error> {
        self.pool.apply(self.task, (tag.number(),))
    }

    fn apply_async(&self, tag: Tag) -> AsyncResult<u64> {
        self.pool.apply_async(self.task, (tag.number(),))
    }

    fn map(&self, tags: impl Iterator<Item = Tag>) -> Result<Vec<u64>, Error> {
        self.pool.map(self.task, tags.map(Tag::number))
    }

    fn map_async(&self, tags: impl Iterator<Item = Tag>) -> AsyncResult<Vec<u64>> {
        self.pool.map_async(self.task, tags.map(Tag::number))
    }

    fn ordered<'a>(&'a self, tags: impl Iterator<Item = Tag> + 'a) -> Box<dyn Lazy<u64> + 'a> {
        Box::new(self.pool.imap(self.task, tags.map(Tag::number)))
    }

    fn unordered<'a>(&'a self, tags: impl Iterator<Item = Tag> + 'a) -> Box<dyn Lazy<u64> + 'a> {
        Box::new(self.pool.imap_unordered(self.task, tags.map(Tag::number)))
    }
}

impl Kind for Large<'_> {
    type Value = Parcel;

    fn answered(&self, value: &Parcel) -> Result<Tag, String> {
        let tag = Tag::answered_by(value.number);
        let (_, back) = self.call.sizes(tag.index());
        if value.bytes.len() != back as usize {
            return Err(format!("{} bytes came back instead of {back}", value.bytes.len()));
        }
        if !tasks::is_filling(value.number, &value.bytes) {
            return Err("the bytes that came back are not its own".to_owned());
        }
        Ok(tag)
    }

    fn apply(&self, tag: Tag) -> Result<Parcel, Error> {
        self.pool.apply(self.task, (self.argument(tag),))
    }

    fn apply_async(&self, tag: Tag) -> AsyncResult<Parcel> {
        self.pool.apply_async(self.task, (self.argument(tag),))
    }

    fn map(&self, tags: impl Iterator<Item = Tag>) -> Result<Vec<Parcel>, Error> {
        self.pool.map(self.task, tags.map(|tag| self.argument(tag)))
    }

    fn map_async(&self, tags: impl Iterator<Item = Tag>) -> AsyncResult<Vec<Parcel>> {
        self.pool.map_async(self.task, tags.map(|tag| self.argument(tag)))
    }

    fn ordered<'a>(&'a self, tags: impl Iterator<Item = Tag> + 'a) -> Box<dyn Lazy<Parcel> + 'a> {
        Box::new(self.pool.imap(self.task, tags.map(|tag| self.argument(tag))))
    }

    fn unordered<'a>(&'a self, tags: impl Iterator<Item = Tag> + 'a) -> Box<dyn Lazy<Parcel> + 'a> {
        Box::new(self.pool.imap_unordered(self.task, tags.map(|tag| self.argument(tag))))
    }
}

impl Kind for Reader<'_> {
    type Value = Reading;

    fn answered(&self, (answer, found): &Reading) -> Result<Tag, String> {
        let tag = Tag::answered_by(*answer);
        let expected = tasks::look_up(tag.number(), &self.data.table, &self.data.book);
        if *found != expected {
            return Err(format!("it read {found:#x} in the shared data instead of {expected:#x}"));
        }
        Ok(tag)
    }

    fn apply(&self, tag: Tag) -> Result<Reading, Error> {
        self.pool.apply(self.task, self.arguments(tag))
    }

    fn apply_async(&self, tag: Tag) -> AsyncResult<Reading> {
        self.pool.apply_async(self.task, self.arguments(tag))
    }

    fn map(&self, tags: impl Iterator<Item = Tag>) -> Result<Vec<Reading>, Error> {
        self.pool.starmap(self.task, tags.map(|tag| self.arguments(tag)))
    }

    fn map_async(&self, tags: impl Iterator<Item = Tag>) -> AsyncResult<Vec<Reading>> {
        self.pool.starmap_async(self.task, tags.map(|tag| self.arguments(tag)))
    }

    fn ordered<'a>(&'a self, tags: impl Iterator<Item = Tag> + 'a) -> Box<dyn Lazy<Reading> + 'a> {
        Box::new(self.pool.istarmap(self.task, tags.map(|tag| self.arguments(tag))))
    }

    fn unordered<'a>(&'a self, tags: impl Iterator<Item = Tag> + 'a) -> Box<dyn Lazy<Reading> + 'a> {
        Box::new(self.pool.istarmap_unordered(self.task, tags.map(|tag| self.arguments(tag))))
    }
}

impl<I: Iterator, R> Lazy<R> for Imap<I, R> {
    fn next_timeout(&mut self, limit: Duration) -> Option<Option<Result<R, Error>>> {
        self.next_timeout(limit)
    }

    fn cancel(&mut self) {
        self.cancel();
    }
}

impl<I: Iterator, R> Lazy<R> for ImapUnordered<I, R> {
    fn next_timeout(&mut self, limit: Duration) -> Option<Option<Result<R, Error>>> {
        self.next_timeout(limit)
    }

    fn cancel(&mut self) {
        self.cancel();
    }
}
