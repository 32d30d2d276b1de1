//! Where other threads leave word for the supervisor, which alone waits here.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;

use super::effects::Order;
use crate::error::{Error, ErrorKind};

/// Where other threads leave orders. Nobody waits here but the supervisor.
pub(crate) struct Mailbox {
    /// Protects the orders alone; a leaf.
    orders: Mutex<Vec<Order>>,
    bell: EventFd,
}

impl Mailbox {
    pub(crate) fn new() -> Result<Mailbox, Error> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = EventFd::from_flags(flags).map_err(|errno| {
            Error::new(ErrorKind::Spawn, format!("no event descriptor to be had: {errno}"))
        })?;
        Ok(Mailbox { orders: Mutex::new(Vec::new()), bell })
    }

    /// Readable when there is something to take.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Leaves orders (or none, to have the clock looked at) and rings.
    pub(crate) fn post(&self, mut orders: Vec<Order>) {
        self.orders.lock().append(&mut orders);
        // It can only fail when the counter is full, and then the bell is ringing anyway.
        let _ = self.bell.write(1);
    }

    /// What was left since the last time.
    pub(super) fn take(&self) -> Vec<Order> {
        let _ = self.bell.read();
        std::mem::take(&mut *self.orders.lock())
    }
}
