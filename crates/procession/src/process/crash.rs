//! What a worker does when a fault ends it: it writes down where, and dies of the same signal as before.
//!
//! The handlers, and the stack they run on, are those of the crate `crash-handler`. Between the fault and the death there
//! is only what a signal handler may do: no allocation, no lock but the dynamic loader's, and a limit on the time.
//! Addresses are written down as they are; the master knows their names.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crash_handler::{CrashContext, CrashEventResult, CrashHandler, make_crash_event};

use crate::modules::{self, Module};
use crate::page::{LastWords, monotonic_ns};

/// How long last words may take. Microseconds are usual; a crash inside the dynamic loader could make them wait for ever.
const SECONDS_MAX: libc::c_uint = 1;

/// What is left of the signal's stack must be as much: threads of a task have small ones. A walk takes about 2 KiB.
const WALK_BYTES: usize = 4 << 10;

/// Has faults reported from now on, in this process and in those forked from it. What handled a signal before still
/// does so afterwards. A program that has handlers of the same kind keeps its own, and gets no reports.
pub(super) fn install() {
    let mut trap = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `sigaction` fills the struct. `leave_last_words` does only what a handler may do.
    let installed = unsafe {
        libc::sigaction(libc::SIGTRAP, ptr::null(), trap.as_mut_ptr());
        CrashHandler::attach(make_crash_event(leave_last_words))
    };
    let Ok(handler) = installed else { return };
    // For as long as the process lives.
    std::mem::forget(handler);
    // A breakpoint is not met again when its handler returns: it would be swallowed.
    // SAFETY: the struct is what the system said.
    unsafe { libc::sigaction(libc::SIGTRAP, trap.as_ptr(), ptr::null_mut()) };
    PROGRAM.note();
    // The first walk binds and reads what the others find in place.
    walk(None, |_| true);
}

/// The program itself, noted beforehand: a fault that happens while the dynamic loader is locked can still be placed.
struct Program {
    base: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    build: AtomicU64,
}

static PROGRAM: Program = Program {
    base: AtomicU64::new(0),
    start: AtomicU64::new(0),
    end: AtomicU64::new(0),
    build: AtomicU64::new(0),
};

impl Program {
    fn note(&self) {
        modules::each(|module| {
            if module.name.is_empty() {
                self.base.store(module.base, Ordering::Relaxed);
                self.start.store(module.range.start, Ordering::Relaxed);
                self.end.store(module.range.end, Ordering::Relaxed);
                self.build.store(module.build, Ordering::Relaxed);
            }
        });
    }

    fn module(&self) -> Module<'static> {
        Module {
            base: self.base.load(Ordering::Relaxed),
            range: self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed),
            name: &[],
            build: self.build.load(Ordering::Relaxed),
        }
    }
}

fn leave_last_words(context: &CrashContext) -> CrashEventResult {
    LastWords::leave(|words| {
        let signal = context.siginfo.ssi_signo as libc::c_int;
        if words.begin(signal, monotonic_ns()) {
            let _limit = Limit::set(signal);
            say_where(words, signal, context);
        }
    });
    // Whoever handled this signal before has the last word: the report of a stack overflow is Rust's own.
    CrashEventResult::Handled(false)
}

fn say_where(words: &LastWords, signal: libc::c_int, context: &CrashContext) {
    let at = stopped_at(context);
    let mut is_walked = false;
    match at {
        // To walk on from what is no code is to read it, which may well be the next fault. Usually it was called through
        // a bad pointer, and the call has left its address.
        Some(at) if !is_code(at) => {
            words.push_frame(at);
            is_walked = true;
            if signal == libc::SIGSEGV {
                let caller = called_from(context);
                if is_code(caller) {
                    words.push_frame(caller);
                }
            }
        }
        Some(_) | None if has_room() => walk(at, |address| {
            is_walked = true;
            words.push_frame(address)
        }),
        Some(_) | None => {}
    }
    if !is_walked {
        words.push_frame(at.unwrap_or_default());
    }
    words.push_module(&PROGRAM.module());
    modules::each(|module| {
        if !module.name.is_empty() {
            words.push_module(module);
        }
    });
}

/// Whether the address is in a file that is loaded.
fn is_code(address: u64) -> bool {
    // The program first, which needs no lock.
    let mut is_found = PROGRAM.module().range.contains(&address);
    if !is_found {
        modules::each(|module| is_found |= module.range.contains(&address));
    }
    is_found
}

/// Visits this thread's frames from the one at that address on, the innermost first, until told not to go on.
fn walk(from: Option<u64>, mut visit: impl FnMut(u64) -> bool) {
    let mut is_reached = from.is_none();
    // SAFETY: what must not happen at once in several threads is to give names to addresses, and nobody here does.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            let address = frame.ip() as u64;
            is_reached |= from == Some(address);
            !is_reached || visit(address)
        });
    }
}

/// Whether the stack that this runs on has room for a walk.
fn has_room() -> bool {
    let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: it fills the struct, or leaves it zeroed.
    let stack = unsafe {
        libc::sigaltstack(ptr::null(), stack.as_mut_ptr());
        stack.assume_init()
    };
    let left = (&raw const stack as usize).saturating_sub(stack.ss_sp as usize);
    // On a thread's own stack there is room, or the handler would not run.
    stack.ss_flags & libc::SS_ONSTACK == 0 || left >= WALK_BYTES
}

/// The instruction that the thread was at; `None`: not known for this processor.
fn stopped_at(context: &CrashContext) -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    return Some(context.context.uc_mcontext.gregs[libc::REG_RIP as usize] as u64);
    #[cfg(target_arch = "aarch64")]
    return Some(context.context.uc_mcontext.pc);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

/// Where the last call would return to, if it has only just been made; 0: not known for this processor.
fn called_from(context: &CrashContext) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let top = context.context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
        // SAFETY: the call has pushed the address there. If it has not, and nothing is there, this process dies of the
        // very signal it is dying of.
        unsafe { ptr::without_provenance::<u64>(top).read_volatile() }
    }
    #[cfg(target_arch = "aarch64")]
    return context.context.uc_mcontext.regs[30];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    0
}

/// The signal that the process is dying of, for when it takes too long.
static DYING_OF: AtomicI32 = AtomicI32::new(0);

/// Ends the process by its signal if this value is still there after [`SECONDS_MAX`].
struct Limit {
    earlier: MaybeUninit<libc::sigaction>,
    alarm: libc::c_uint,
}

impl Limit {
    fn set(signal: libc::c_int) -> Limit {
        DYING_OF.store(signal, Ordering::Relaxed);
        let mut earlier = MaybeUninit::zeroed();
        // SAFETY: the structs are valid and outlive the calls; the handler is async-signal-safe, as the calls are. The
        // signal's mask comes back when the handler that this runs in returns.
        let alarm = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = out_of_time as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_ONSTACK;
            libc::sigaction(libc::SIGALRM, &raw const action, earlier.as_mut_ptr());
            unblock(libc::SIGALRM);
            libc::alarm(SECONDS_MAX)
        };
        Limit { earlier, alarm }
    }
}

impl Drop for Limit {
    /// An earlier handler may know how to go on: then nothing is to remind of this.
    fn drop(&mut self) {
        // SAFETY: async-signal-safe; the struct is what the system said.
        unsafe {
            libc::alarm(self.alarm);
            libc::sigaction(libc::SIGALRM, self.earlier.as_ptr(), ptr::null_mut());
        }
    }
}

extern "C" fn out_of_time(_: libc::c_int) {
    let signal = DYING_OF.load(Ordering::Relaxed);
    // SAFETY: async-signal-safe calls that take no memory of ours.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        unblock(signal);
        libc::raise(signal);
    }
}

/// Lets a signal reach this thread. Allowed in a handler.
unsafe fn unblock(signal: libc::c_int) {
    // SAFETY: the set is filled before it is used.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
    }
}

#[cfg(test)]
pub(super) mod scenes {
    //! Played in processes of their own: each is to die.

    /// As a handler that hangs: nothing else ends this process.
    pub(in super::super) fn hang_while_dying() {
        // SAFETY: the signal is blocked, as it is in its own handler.
        let _limit = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigaddset(&raw mut set, libc::SIGFPE);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            super::Limit::set(libc::SIGFPE)
        };
        loop {
            std::hint::spin_loop();
        }
    }
}
