//! Signal dispositions of our processes.
//!
//! Rust installs a handler for SIGSEGV and SIGBUS that reports a stack overflow. For any other fault it restores the
//! default and returns, so that the fault happens again and kills. A signal that was *sent* does not happen again: the
//! first `kill -SEGV` would be swallowed. Workers therefore put a handler in front: sent signals kill at once, real
//! faults go on to Rust's handler, which keeps its message.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

/// Largest signal number; real-time signals included.
const SIGNAL_MAX: libc::c_int = 64;

/// Gives a helper or worker process defined dispositions, whatever its parent had: all default, SIGPIPE ignored, none
/// blocked. Rust's own handlers for faults stay.
pub(super) fn reset() {
    for number in 1..=SIGNAL_MAX {
        match number {
            libc::SIGKILL | libc::SIGSTOP | libc::SIGSEGV | libc::SIGBUS => {}
            libc::SIGPIPE => set(number, libc::SIG_IGN),
            _ => set(number, libc::SIG_DFL),
        }
    }
    unblock_all();
}

/// Blocks no signal.
pub(super) fn unblock_all() {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .expect("an empty signal mask is valid");
}

/// Lets the calling thread of the master write to who may be gone: an error says so, and the signal that would come with it
/// ends a program whose host left it at its default. The disposition is the host's; the mask is this thread's alone.
pub(crate) fn block_broken_pipe() {
    let mut broken_pipe = SigSet::empty();
    broken_pipe.add(Signal::SIGPIPE);
    broken_pipe.thread_block().expect("a signal that exists can be blocked");
}

fn set(number: libc::c_int, disposition: libc::sighandler_t) {
    // SAFETY: default and ignore run no code of ours. Numbers that libc keeps for itself are refused, harmlessly.
    unsafe { libc::signal(number, disposition) };
}

/// What happens to this process when the thread that started it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnParentDeath {
    /// It is killed, even while it is stopped.
    Kill,
    /// It kills its process group, and so itself. If it is stopped then, the kernel sends SIGHUP to the group, which is
    /// orphaned by that very death.
    KillGroup,
    /// Its present wait is interrupted, so that it can clean up.
    Interrupt,
}

/// Announces a parent's death. Chosen because nothing else on a modern system sends it.
const PARENT_DIED: Signal = Signal::SIGPWR;

/// Binds this process to its parent's life. A parent that is dead already is not noticed: ask for its id afterwards.
pub(super) fn bind_to_parent(on_death: OnParentDeath) -> nix::Result<()> {
    let handler: Option<extern "C" fn(libc::c_int)> = match on_death {
        OnParentDeath::Kill => None,
        OnParentDeath::KillGroup => Some(kill_group),
        OnParentDeath::Interrupt => Some(interrupt),
    };
    let Some(handler) = handler else {
        set(PARENT_DIED as libc::c_int, libc::SIG_DFL);
        return prctl::set_pdeathsig(Signal::SIGKILL);
    };
    // SAFETY: the struct is valid; both handlers are async-signal-safe. Without SA_RESTART a wait is interrupted.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        libc::sigaction(PARENT_DIED as libc::c_int, &raw const action, ptr::null_mut());
    }
    prctl::set_pdeathsig(PARENT_DIED)
}

/// Ends this process, which leads its group, and whatever it has started.
pub(super) fn kill_own_group() {
    kill_group(0);
}

extern "C" fn kill_group(_: libc::c_int) {
    // SAFETY: allowed in a handler. 0 means the caller's group, which a worker leads.
    unsafe { libc::kill(0, libc::SIGKILL) };
}

extern "C" fn interrupt(_: libc::c_int) {}

/// What handles a signal with all that the kernel tells.
pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// What handled a signal before ours.
pub(super) type Earlier = OnceLock<libc::sigaction>;

/// What handled SIGSEGV and SIGBUS before us.
static EARLIER: [Earlier; 2] = [const { Earlier::new() }; 2];

/// Makes a sent SIGSEGV or SIGBUS deadly. Once per process.
pub(super) fn make_sent_faults_deadly() {
    for (number, earlier) in [libc::SIGSEGV, libc::SIGBUS].into_iter().zip(&EARLIER) {
        // The default is deadly already.
        if disposition(number).is_some_and(|current| current.sa_sigaction != libc::SIG_DFL) {
            put_before(number, on_fault, &[], earlier);
        }
    }
}

/// How this process takes a signal; `None`: there is no such signal.
pub(super) fn disposition(number: libc::c_int) -> Option<libc::sigaction> {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `sigaction` fills the struct, or leaves it zeroed.
    unsafe {
        (libc::sigaction(number, ptr::null(), current.as_mut_ptr()) == 0).then(|| current.assume_init())
    }
}

/// Has a handler run before what handles the signal now, which is kept in `earlier`, unless that was done already. The
/// handler runs on the alternate stack, with these signals and its own blocked, and must be async-signal-safe.
pub(super) fn put_before(
    number: libc::c_int,
    handler: Handler,
    blocked: &[libc::c_int],
    earlier: &'static Earlier,
) {
    let Some(current) = disposition(number) else { return };
    if earlier.set(current).is_err() {
        return;
    }
    let mut ours = current;
    ours.sa_sigaction = handler as *const () as libc::sighandler_t;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the structs are valid and outlive the calls, and `earlier` is filled before the handler can run.
    unsafe {
        for other in blocked {
            libc::sigaddset(&raw mut ours.sa_mask, *other);
        }
        libc::sigaction(number, &raw const ours, ptr::null_mut());
    }
}

/// Runs on the alternate stack, and uses only what is allowed in a handler.
extern "C" fn on_fault(number: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let earlier = if number == libc::SIGSEGV { &EARLIER[0] } else { &EARLIER[1] };
    // SAFETY: the kernel passes a valid siginfo. Codes up to 0 mean that a process sent the signal: kill, tgkill, sigqueue.
    let was_sent = unsafe { (*info).si_code <= 0 };
    // SAFETY: these are what the kernel gave this handler.
    unsafe { hand_on(number, info, context, earlier.get().filter(|_| !was_sent)) };
}

/// The end of a handler: leaves the signal to what handled it before. If nothing did, the process dies of it.
///
/// # Safety
/// Within a handler of that signal, with what it was given.
pub(super) unsafe fn hand_on(
    number: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
    earlier: Option<&libc::sigaction>,
) {
    match earlier.map(|action| action.sa_sigaction) {
        None | Some(libc::SIG_DFL | libc::SIG_IGN) => {
            // SAFETY: allowed in a handler. The signal is blocked while it runs, and strikes on return.
            unsafe {
                libc::signal(number, libc::SIG_DFL);
                libc::raise(number);
            }
        }
        Some(handler) => {
            // SAFETY: it was installed for this signal by whoever expects to be called with these very arguments; with
            // SA_SIGINFO it takes three, without it the first.
            let handler: Handler = unsafe { std::mem::transmute(handler) };
            handler(number, info, context);
        }
    }
}

#[cfg(test)]
pub(super) mod scenes {
    //! Played in processes of their own: each is to die.

    use super::*;

    /// As Rust's handler: for a fault that it does not explain it would return. This one leaves a mark instead.
    extern "C" fn earlier(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: allowed in a handler.
        unsafe { libc::_exit(EARLIER_STATUS) };
    }

    /// Exit status of a process in which the earlier handler ran.
    pub(in super::super) const EARLIER_STATUS: libc::c_int = 5;

    pub(in super::super) fn install() {
        // SAFETY: the struct is valid, and the handler does what handlers may do.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = earlier as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut());
        }
        make_sent_faults_deadly();
    }
}
