//! A pool that is suspended for a while: its workers and its clock stand still.

use super::Pool;

impl Pool {
    /// Stops every worker, with whatever it has started in its process group, and the pool's clock: no time limit, deadline
    /// or pause between restarts runs on until [`resume`](Pool::resume). For programs that are suspended themselves, or
    /// that need the machine for something else for a while. Idempotent; returns once the workers were sent the signal.
    ///
    /// Calls can be made meanwhile and wait. A worker that dies is noticed, and its replacement is stopped, too. Items that
    /// are running when they are cancelled end when the pool goes on. [`close`](Pool::close),
    /// [`terminate`](Pool::terminate) and dropping the last handle end the pause. Waiting with a limit
    /// ([`get_timeout`](crate::AsyncResult::get_timeout) and the like) is the caller's own affair and is not held up.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), procession::Error> {
    /// let pool = procession::Pool::new()?;
    /// pool.pause();
    /// pool.resume();
    /// # pool.close()
    /// # }
    /// ```
    pub fn pause(&self) {
        self.handle.driver.pause();
    }

    /// Lets a paused pool go on. Idempotent; several pauses are ended by one call.
    pub fn resume(&self) {
        self.handle.driver.resume();
    }

    /// Whether the pool is paused.
    pub fn is_paused(&self) -> bool {
        self.handle.driver.inspect(|state| state.is_paused().0)
    }
}
