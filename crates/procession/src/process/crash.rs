//! What a worker does when a fault ends it: it writes down where, and dies of the same signal as before.
//!
//! Between the fault and the death there is only what a signal handler may do: no allocation, no lock but the dynamic
//! loader's, and a limit on the time. Addresses are written down as they are; the master knows their names.
//!
//! A process that was just forked has none of the pages of its program's file in its tables, and each that it touches
//! costs it more than most of what is done with it. So what can be known beforehand is in memory of our own, which is
//! inherited as it is, and the way to the end is short.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use super::signals::{self, Earlier};
use crate::modules::{self, Module};
use crate::page::{LastWords, monotonic_ns};

/// Faults, and what Rust and C end a process with. No breakpoint: it would not be met again when its handler returns.
const SIGNALS: [libc::c_int; 5] = [libc::SIGSEGV, libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];

/// What handled them before.
static EARLIER: [Earlier; SIGNALS.len()] = [const { Earlier::new() }; SIGNALS.len()];

/// How long last words may take. Microseconds are usual; a crash inside the dynamic loader could make them wait for ever.
const SECONDS_MAX: libc::c_uint = 1;

/// The stack that a handler runs on. Rust's own, which its other threads have, is half as large.
const STACK_BYTES: usize = 16 << 10;

/// What is left of the signal's stack must be as much. A walk takes about 2 KiB.
const WALK_BYTES: usize = 3 << 10;

/// Has faults reported from now on, in this process and in those forked from it. What handled a signal before still
/// does so afterwards.
pub(super) fn install() {
    give_stack();
    NOTED.get_or_init(|| {
        let mut noted = Vec::new();
        modules::each(|module| noted.push(Noted::from(module)));
        noted
    });
    // The first walk binds and reads what the others find in place.
    walk(None, |_| false);
    for (number, earlier) in SIGNALS.into_iter().zip(&EARLIER) {
        // Whoever ignores it does not die of it.
        if signals::disposition(number).is_some_and(|current| current.sa_sigaction != libc::SIG_IGN) {
            signals::put_before(number, on_crash, &SIGNALS, earlier);
        }
    }
}

/// Gives this thread a stack for its handlers, if it has none that is large enough: its own may be what is used up.
fn give_stack() {
    let current = handlers_stack();
    if current.ss_flags & libc::SS_DISABLE == 0 && current.ss_size >= STACK_BYTES {
        return;
    }
    // SAFETY: the mapping is new, and ours for as long as the process lives; its first page is to catch what exceeds it.
    unsafe {
        let guard = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        let memory = libc::mmap(ptr::null_mut(), guard + STACK_BYTES, both, kind, -1, 0);
        // Without it, the stack overflow of this thread is not reported, or a walk has no room.
        if memory == libc::MAP_FAILED || libc::mprotect(memory, guard, libc::PROT_NONE) != 0 {
            return;
        }
        let stack = libc::stack_t { ss_sp: memory.byte_add(guard), ss_flags: 0, ss_size: STACK_BYTES };
        libc::sigaltstack(&raw const stack, ptr::null_mut());
    }
}

/// The stack that this thread's handlers run on.
fn handlers_stack() -> libc::stack_t {
    let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: it fills the struct, or leaves it zeroed.
    unsafe {
        libc::sigaltstack(ptr::null(), stack.as_mut_ptr());
        stack.assume_init()
    }
}

/// What was loaded beforehand: an address in it has its place without a question to the dynamic loader, which may be
/// locked.
static NOTED: OnceLock<Vec<Noted>> = OnceLock::new();

struct Noted {
    base: u64,
    range: Range<u64>,
    name: Vec<u8>,
    build: u64,
}

impl From<&Module<'_>> for Noted {
    fn from(module: &Module<'_>) -> Noted {
        let Module { base, ref range, name, build } = *module;
        Noted { base, range: range.clone(), name: name.to_vec(), build }
    }
}

impl Noted {
    fn all() -> &'static [Noted] {
        NOTED.get().map_or(&[], Vec::as_slice)
    }

    fn module(&self) -> Module<'_> {
        Module { base: self.base, range: self.range.clone(), name: &self.name, build: self.build }
    }
}

/// The stack of the thread that works, from its loop on: what called that says nothing of a crash.
static LOOP: AtomicU64 = AtomicU64::new(0);

/// Frames of what called the worker's loop are less than so far from it.
const CALLERS_BYTES: u64 = 1 << 20;

/// The worker's loop begins here. It is what this thread does from now on.
pub(super) fn note_loop() {
    let here = 0_u8;
    LOOP.store(&raw const here as u64, Ordering::Relaxed);
}

/// Runs on the alternate stack, and uses only what is allowed in a handler.
extern "C" fn on_crash(number: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid context with SA_SIGINFO.
    leave_last_words(number, unsafe { &*context.cast() });
    // Whoever handled this signal before has the last word: the report of a stack overflow is Rust's own. It ends by
    // SIGABRT, for which there may be no room left here.
    let mut earlier = None;
    for (signal, known) in SIGNALS.into_iter().zip(&EARLIER) {
        if let Some(known) = known.get() {
            if signal == number {
                earlier = Some(known);
            }
            stand_back(signal, known);
        }
    }
    // SAFETY: these are what the kernel gave this handler.
    unsafe { signals::hand_on(number, info, context, earlier) };
}

/// Gives a signal back to what handled it before us, unless a task has taken it meanwhile.
fn stand_back(signal: libc::c_int, earlier: &libc::sigaction) {
    let is_ours =
        |action: &libc::sigaction| action.sa_sigaction == on_crash as *const () as libc::sighandler_t;
    if signals::disposition(signal).as_ref().is_some_and(is_ours) {
        // SAFETY: async-signal-safe; the struct is what the system said.
        unsafe { libc::sigaction(signal, earlier, ptr::null_mut()) };
    }
}

/// Its frame is to be gone before the signal is handed on.
#[inline(never)]
fn leave_last_words(signal: libc::c_int, context: &libc::ucontext_t) {
    LastWords::leave(|words| {
        if words.begin(signal, monotonic_ns()) {
            let _limit = Limit::set(signal);
            say_where(words, signal, context);
        }
    });
}

fn say_where(words: &LastWords, signal: libc::c_int, context: &libc::ucontext_t) {
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
    for noted in Noted::all() {
        words.push_module(&noted.module());
    }
    // What was loaded later is asked for only if somebody was there.
    if words.has_strays() {
        modules::each(|module| {
            if !Noted::all().iter().any(|noted| noted.range == module.range) {
                words.push_module(module);
            }
        });
    }
}

/// Whether the address is in a file that is loaded.
fn is_code(address: u64) -> bool {
    let mut is_found = Noted::all().iter().any(|noted| noted.range.contains(&address));
    if !is_found {
        modules::each(|module| is_found |= module.range.contains(&address));
    }
    is_found
}

/// Visits this thread's frames from the one at that address up to the worker's loop, the innermost first, until told
/// not to go on.
fn walk(from: Option<u64>, mut visit: impl FnMut(u64) -> bool) {
    let mut is_reached = from.is_none();
    let callers = LOOP.load(Ordering::Relaxed);
    let callers = callers..callers.saturating_add(CALLERS_BYTES);
    // SAFETY: what must not happen at once in several threads is to give names to addresses, and nobody here does.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            let address = frame.ip() as u64;
            is_reached |= from == Some(address);
            !is_reached || !callers.contains(&(frame.sp() as u64)) && visit(address)
        });
    }
}

/// Whether the stack that this runs on has room for a walk.
fn has_room() -> bool {
    let stack = handlers_stack();
    let left = (&raw const stack as usize).saturating_sub(stack.ss_sp as usize);
    // On a thread's own stack there is room, or the handler would not run.
    stack.ss_flags & libc::SS_ONSTACK == 0 || left >= WALK_BYTES
}

/// The instruction that the thread was at; `None`: not known for this processor.
fn stopped_at(context: &libc::ucontext_t) -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    return Some(context.uc_mcontext.gregs[libc::REG_RIP as usize] as u64);
    #[cfg(target_arch = "aarch64")]
    return Some(context.uc_mcontext.pc);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

/// Where the last call would return to, if it has only just been made; 0: not known for this processor.
fn called_from(context: &libc::ucontext_t) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let top = context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
        // SAFETY: the call has pushed the address there. If it has not, and nothing is there, this process dies of the
        // very signal it is dying of.
        unsafe { ptr::without_provenance::<u64>(top).read_volatile() }
    }
    #[cfg(target_arch = "aarch64")]
    return context.uc_mcontext.regs[30];
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
