//! What is told of a crash: which signal, which process, how long, how much, and where it was, by function names.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::sys::signal::{SigHandler, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use procession::{Error, ErrorKind, Output, Pool, Task, TaskFn, WorkerExit};
use procession_harness::Signal;
use procession_tasks::faults;

use crate::scenes::{LIMIT, both, each};

/// Ways to crash. Their functions are not inlined, so that their names can be looked for.
mod crash {
    use super::*;

    #[inline(never)]
    pub(super) fn innermost_segv() {
        let nowhere = black_box(std::ptr::without_provenance::<u8>(8));
        // SAFETY: none: it is to fault.
        black_box(unsafe { nowhere.read_volatile() });
    }

    #[inline(never)]
    pub(super) fn innermost_bus() {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        use nix::sys::mman::{MapFlags, ProtFlags, mmap};
        let file = memfd_create(c"empty", MFdFlags::MFD_CLOEXEC).unwrap();
        let size = std::num::NonZeroUsize::new(4096).unwrap();
        // SAFETY: a new mapping; nothing is in the file, so that to read it is to fault.
        black_box(unsafe {
            let memory = mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &file, 0).unwrap();
            memory.cast::<u8>().as_ptr().read_volatile()
        });
    }

    #[inline(never)]
    pub(super) fn innermost_ill() {
        // SAFETY: none: there is no such instruction.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            std::arch::asm!("ud2");
            #[cfg(target_arch = "aarch64")]
            std::arch::asm!("udf #0");
        }
    }

    #[inline(never)]
    pub(super) fn innermost_fpe() {
        // SAFETY: none: the division has no result. Other processors make one up, so there it is raised.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            std::arch::asm!("xor edx, edx", "mov eax, 1", "xor ecx, ecx", "idiv ecx",
                out("eax") _, out("ecx") _, out("edx") _);
            #[cfg(not(target_arch = "x86_64"))]
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGFPE).unwrap();
        }
        black_box(());
    }

    #[inline(never)]
    pub(super) fn innermost_abrt() {
        black_box(());
        std::process::abort();
    }

    /// A panic that cannot unwind, as every panic of a program that is built so.
    #[inline(never)]
    pub(super) extern "C" fn innermost_panic() {
        panic!("nobody can catch this");
    }

    #[inline(never)]
    #[expect(unconditional_recursion, reason = "the stack is to overflow")]
    pub(super) fn innermost_overflow(depth: u64) -> u64 {
        let kept = black_box([depth; 64]);
        innermost_overflow(depth + 1) + kept[7]
    }

    /// Calls what is not a function.
    #[inline(never)]
    pub(super) fn innermost_jump() {
        let nowhere = black_box(std::ptr::without_provenance::<u8>(16));
        // SAFETY: none: it is to fault.
        let function: extern "C" fn() = unsafe { std::mem::transmute(nowhere) };
        function();
        black_box(());
    }
}

/// Between the task and the crash.
#[inline(never)]
fn halfway(how: &str) {
    match how {
        "segv" => crash::innermost_segv(),
        "bus" => crash::innermost_bus(),
        "ill" => crash::innermost_ill(),
        "fpe" => crash::innermost_fpe(),
        "abrt" => crash::innermost_abrt(),
        "panic" => crash::innermost_panic(),
        "jump" => crash::innermost_jump(),
        "overflow" => drop(black_box(crash::innermost_overflow(1))),
        _ => panic!("no way to crash is named `{how}`"),
    }
    black_box(());
}

#[procession::task]
fn crash_by(how: String) {
    halfway(&how);
    black_box(());
}

#[procession::task]
fn crash_in_thread(how: String) {
    std::thread::spawn(move || halfway(&how)).join().unwrap();
}

/// Crashes while another thread has the dynamic loader's lock, and keeps it.
#[procession::task]
fn crash_beside_loader() {
    unsafe extern "C" fn wait(_: *mut libc::dl_phdr_info, _: usize, here: *mut libc::c_void) -> i32 {
        // SAFETY: it is the flag that the call below was given.
        unsafe { &*here.cast::<AtomicBool>() }.store(true, Ordering::Release);
        loop {
            std::thread::park();
        }
    }
    static HERE: AtomicBool = AtomicBool::new(false);
    // SAFETY: the flag is static, and `wait` never returns.
    std::thread::spawn(|| unsafe { libc::dl_iterate_phdr(Some(wait), (&raw const HERE).cast_mut().cast()) });
    while !HERE.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    halfway("fpe");
}

/// Crashes in a process that this one has forked; the signal that ended it.
#[procession::task]
fn crash_in_child(how: String) -> i32 {
    // SAFETY: a worker has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            halfway(&how);
            0
        }
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Signaled(_, signal, _) => signal as i32,
            other => panic!("the child was to crash: {other:?}"),
        },
    }
}

/// Has a handler of its own for what follows.
#[procession::task]
fn crash_with_own_handler() {
    extern "C" fn leave(_: i32) {
        // SAFETY: allowed in a handler.
        unsafe { libc::_exit(33) };
    }
    // SAFETY: the handler does what handlers may do.
    unsafe { signal(Signal::SIGSEGV, SigHandler::Handler(leave)) }.unwrap();
    halfway("segv");
}

/// What lists of processes show: the short name, and the first word of the command.
#[procession::task]
fn own_name() -> (String, String) {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    let command = std::fs::read_to_string("/proc/self/cmdline").unwrap();
    (name.trim_end().to_owned(), command.split('\0').next().unwrap().to_owned())
}

fn lost<F: TaskFn>(pool: &Pool, task: Task<F>, args: F::Args) -> Error {
    let outcome = pool.apply_async(task, args).get_timeout(LIMIT).expect("no crash takes as long");
    let Err(error) = outcome else { panic!("it was to crash") };
    assert_eq!(error.kind(), ErrorKind::WorkerLost, "{error}");
    error
}

fn backtrace(error: &Error) -> &str {
    error.backtrace().unwrap_or_else(|| panic!("no backtrace: {error}"))
}

/// The ways to crash, and how each ends.
const WAYS: [(&str, Signal); 8] = [
    ("segv", Signal::SIGSEGV),
    ("bus", Signal::SIGBUS),
    ("ill", Signal::SIGILL),
    ("fpe", Signal::SIGFPE),
    ("abrt", Signal::SIGABRT),
    ("panic", Signal::SIGABRT),
    ("jump", Signal::SIGSEGV),
    ("overflow", Signal::SIGABRT),
];

fn check_trace(how: &str, is_task: bool, trace: &str) {
    assert!(trace.contains(&format!("innermost_{how}")), "{how}:\n{trace}");
    assert!(!trace.contains("run_worker") && !trace.contains("leave_last_words"), "{how}:\n{trace}");
    match how {
        "overflow" => assert!(trace.ends_with("and more\n"), "{trace}"),
        // Only who made the call is known.
        "jump" => assert!(trace.starts_with("   0: 0x10\n"), "{trace}"),
        _ => {
            assert!(trace.contains("halfway"), "{how}:\n{trace}");
            assert_eq!(trace.contains("crash_by"), is_task, "{how}:\n{trace}");
        }
    }
}

procession_harness::cases! {
    fn every_crash_names_the_function_it_was_in() {
        each(1, |builder| {
            let pool = builder.build().unwrap();
            for (how, signal) in WAYS {
                for (is_task, task) in [(true, crash_by as Task<fn(String)>), (false, crash_in_thread)] {
                    let error = lost(&pool, task, (how.to_owned(),));
                    check_trace(how, is_task, backtrace(&error));
                    assert_eq!(error.exit(), Some(WorkerExit::Signal(signal as i32)), "{how}: {error}");
                }
            }
            pool.close().unwrap();
        });
    }

    fn a_stack_overflow_is_still_reported_by_rust() {
        both(1, |builder| {
            let pool = builder.output(Output::Capture).build().unwrap();
            for task in [crash_by as Task<fn(String)>, crash_in_thread] {
                let error = lost(&pool, task, ("overflow".to_owned(),));
                let said = error.stderr_tail().unwrap_or_default();
                assert!(said.contains("has overflowed its stack"), "{said}");
            }
            pool.close().unwrap();
        });
    }

    fn a_report_that_cannot_be_finished_does_not_keep_the_process() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let error = lost(&pool, crash_beside_loader, ());
            assert_eq!(error.exit(), Some(WorkerExit::Signal(Signal::SIGFPE as i32)), "{error}");
            // What had been said by then counts.
            assert!(backtrace(&error).contains("innermost_fpe"), "{}", backtrace(&error));
            pool.close().unwrap();
        });
    }

    fn reports_can_be_switched_off() {
        both(1, |builder| {
            let pool = builder.crash_reports(false).build().unwrap();
            for (how, signal) in WAYS {
                let error = lost(&pool, crash_by, (how.to_owned(),));
                let told = (error.exit(), error.backtrace());
                assert_eq!(told, (Some(WorkerExit::Signal(signal as i32)), None), "{how}: {error}");
            }
            pool.close().unwrap();
        });
    }

    fn a_crash_elsewhere_is_not_taken_for_the_workers_own() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            for (how, signal) in WAYS {
                assert_eq!(pool.apply(crash_in_child, (how.to_owned(),)).unwrap(), signal as i32, "{how}");
            }
            let error = lost(&pool, faults::kill_self, ());
            assert_eq!(error.backtrace(), None, "{error}");
            pool.close().unwrap();
        });
    }

    fn a_tasks_own_handler_comes_first() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let error = lost(&pool, crash_with_own_handler, ());
            assert_eq!((error.exit(), error.backtrace()), (Some(WorkerExit::Code(33)), None), "{error}");
            pool.close().unwrap();
        });
    }

    fn a_loss_says_what_is_known_of_the_process() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let pid = pool.worker_pids()[0];
            let first = lost(&pool, crash_by, ("segv".to_owned(),));
            assert_eq!(first.pid(), Some(pid), "{first}");
            assert!(first.run_time().is_some_and(|ran| ran < LIMIT), "{:?}", first.run_time());
            assert!(first.cpu_time().is_some_and(|cpu| cpu < LIMIT), "{:?}", first.cpu_time());
            assert!(first.peak_rss().is_none_or(|bytes| bytes > 1 << 18), "{:?}", first.peak_rss());
            let digest = |error: &Error| {
                let digest = error.args_digest().unwrap_or_else(|| panic!("no digest: {error}"));
                assert!(digest.len() == 16 && digest.chars().all(|c| c.is_ascii_hexdigit()), "{digest}");
                digest.to_owned()
            };
            let same = lost(&pool, crash_in_thread, ("segv".to_owned(),));
            let other = lost(&pool, crash_by, ("abrt".to_owned(),));
            assert_ne!(same.pid(), Some(pid));
            assert_eq!(digest(&first), digest(&same), "the arguments are the same");
            assert_ne!(digest(&first), digest(&other));
            pool.close().unwrap();
        });
    }

    fn workers_are_listed_under_the_programs_name() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let (name, command) = pool.apply(own_name, ()).unwrap();
            assert_eq!(command, std::env::args().next().unwrap());
            let file = command.rsplit('/').next().unwrap();
            assert_eq!(name, file[..file.len().min(15)]);
            pool.close().unwrap();
        });
    }
}
