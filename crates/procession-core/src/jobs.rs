//! The jobs that are not settled, in the slab whose places the driver chooses. It must not know what a job is.

use crate::JobId;
use crate::job::Job;

/// The slab.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    slots: Vec<Option<Job>>,
    len: usize,
}

impl Jobs {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, job: Job) {
        let index = job.id.index as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        assert!(self.slots[index].is_none(), "{} was submitted in the place of an unsettled job", job.id);
        self.slots[index] = Some(job);
        self.len += 1;
    }

    /// The job of that name, unless it is settled.
    pub(crate) fn get(&self, id: JobId) -> Option<&Job> {
        self.slots.get(id.index as usize)?.as_ref().filter(|job| job.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.slots.get_mut(id.index as usize)?.as_mut().filter(|job| job.id == id)
    }

    /// The job that our own books say is there.
    pub(crate) fn at(&self, index: u32) -> &Job {
        self.slots[index as usize].as_ref().expect("our books name a job that was forgotten")
    }

    pub(crate) fn at_mut(&mut self, index: u32) -> &mut Job {
        self.slots[index as usize].as_mut().expect("our books name a job that was forgotten")
    }

    pub(crate) fn remove(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        assert!(slot.is_some(), "a job was forgotten twice");
        *slot = None;
        self.len -= 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.slots.iter().flatten()
    }

    /// One more than the highest place ever used.
    pub(crate) fn places(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(crate) fn is_taken(&self, index: u32) -> bool {
        self.slots[index as usize].is_some()
    }
}
