//! Which job is next: the jobs with items to hand out, by priority, then in turn.
//!
//! A list threaded through one entry per job index, so that joining, leaving from anywhere (a cancelled job) and
//! going round are all O(1) with a hundred thousand jobs waiting. It knows indices and priorities, not jobs.

/// The end of a list.
const NONE: u32 = u32::MAX;

/// The jobs with something to hand out.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    /// By job index.
    links: Vec<Link>,
    /// Highest priority first; none is empty. Calls rarely differ in priority, so there is mostly one.
    levels: Vec<Level>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    linked: bool,
    previous: u32,
    next: u32,
}

#[derive(Debug)]
struct Level {
    priority: i32,
    first: u32,
    last: u32,
}

impl ReadyQueue {
    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Who is next.
    pub(crate) fn front(&self) -> Option<u32> {
        self.levels.first().map(|level| level.first)
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.links.get(index as usize).is_some_and(|link| link.linked)
    }

    /// Joins at the end of its priority, unless it waits already.
    pub(crate) fn push_back(&mut self, index: u32, priority: i32) {
        if self.join(index) {
            let level = self.level(priority);
            let last = std::mem::replace(&mut self.levels[level].last, index);
            self.links[index as usize].previous = last;
            match last {
                NONE => self.levels[level].first = index,
                last => self.links[last as usize].next = index,
            }
        }
    }

    /// Joins at the front of its priority; one that waits already moves there.
    pub(crate) fn push_front(&mut self, index: u32, priority: i32) {
        self.remove(index, priority);
        self.join(index);
        let level = self.level(priority);
        let first = std::mem::replace(&mut self.levels[level].first, index);
        self.links[index as usize].next = first;
        match first {
            NONE => self.levels[level].last = index,
            first => self.links[first as usize].previous = index,
        }
    }

    /// Leaves, from wherever it stands.
    pub(crate) fn remove(&mut self, index: u32, priority: i32) {
        if !self.contains(index) {
            return;
        }
        let level = self.level(priority);
        let link = std::mem::replace(&mut self.links[index as usize], Link::UNLINKED);
        match link.previous {
            NONE => self.levels[level].first = link.next,
            previous => self.links[previous as usize].next = link.next,
        }
        match link.next {
            NONE => self.levels[level].last = link.previous,
            next => self.links[next as usize].previous = link.previous,
        }
        if self.levels[level].first == NONE {
            self.levels.remove(level);
        }
        self.len -= 1;
    }

    /// Marks it as waiting; `false` if it was.
    fn join(&mut self, index: u32) -> bool {
        let at = index as usize;
        if at >= self.links.len() {
            self.links.resize(at + 1, Link::UNLINKED);
        }
        let joined = !std::mem::replace(&mut self.links[at].linked, true);
        self.len += usize::from(joined);
        joined
    }

    fn level(&mut self, priority: i32) -> usize {
        match self.levels.binary_search_by(|level| priority.cmp(&level.priority)) {
            Ok(at) => at,
            Err(at) => {
                self.levels.insert(at, Level { priority, first: NONE, last: NONE });
                at
            }
        }
    }
}

impl Link {
    const UNLINKED: Link = Link { linked: false, previous: NONE, next: NONE };
}
