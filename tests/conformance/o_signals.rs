//! Section O: signals, and masters that die.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, killpg, sigaction};
use nix::unistd::Pid;
use procession::{ErrorKind, Pool, StartMethod};
use procession_harness::{Gate, Ledger, Signal, alive, parent_of, send_signal, start_part, wait_until};

use crate::held::{held, note_and_wait};
use crate::scenes::{LIMIT, both, both_described, kinds, wait_lines, wait_workers};
use crate::tasks::{crash, own_pid, sleep_ms, square};

/// A master's death reaches all its processes within this time.
const DEATH_LIMIT: Duration = Duration::from_secs(2);

/// What a test tells the process that plays a part.
const METHOD: &str = "CONFORMANCE_METHOD";
const LEDGER: &str = "CONFORMANCE_LEDGER";
const ERRORS: &str = "CONFORMANCE_ERRORS";

/// Marks the processes of a master that is killed while they start.
const STARTING: &str = "CONFORMANCE_STARTING";

const METHODS: [(&str, StartMethod); 2] =
    [("forkserver", StartMethod::ForkServer), ("spawn", StartMethod::Spawn)];

/// A pool of the start method that the test wants.
fn told_pool(workers: usize) -> Pool {
    let method = std::env::var(METHOD).expect("the test sets it");
    let (_, method) = METHODS.into_iter().find(|(name, _)| *name == method).expect("a start method");
    Pool::builder().workers(workers).start_method(method).build().expect("a pool can be built")
}

/// A gate that nobody opens.
const NEVER: &str = "/";

/// Starts a grandchild by executing another program, notes it, and stays.
#[procession::task]
#[expect(clippy::zombie_processes, reason = "it ends with its worker")]
fn start_program_and_stay(path: String) -> u64 {
    let child = Command::new("sleep").arg("80").spawn().expect("`sleep` exists");
    Ledger::note(path, child.id());
    sleep_ms(80_000)
}

/// The line that a part says.
fn line_of(part: &mut Child) -> String {
    let mut line = String::new();
    let mut stdout = BufReader::new(part.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).expect("it says a line");
    line
}

fn numbers(line: &str) -> Vec<u32> {
    line.split(|other: char| !other.is_ascii_digit()).filter_map(|pid| pid.parse().ok()).collect()
}

/// The living processes that have this variable in their environment.
fn marked(variable: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_marked = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|text| text.split(|&byte| byte == 0).any(|pair| pair == variable.as_bytes()))
    };
    pids.filter(is_marked).filter(|pid| alive(*pid)).collect()
}

static INTERRUPTIONS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count_interruption(_: libc::c_int) {
    INTERRUPTIONS.fetch_add(1, Ordering::Relaxed);
}

/// Interrupts every other thread of this process again and again, until it is told to stop.
fn interrupt_all(stop: &AtomicBool) {
    let process = std::process::id();
    while !stop.load(Ordering::Relaxed) {
        for entry in fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten() {
            let thread: i32 = entry.file_name().to_string_lossy().parse().expect("a thread id");
            // SAFETY: takes plain numbers. A thread that is gone by now is an error and nothing else.
            unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
        }
        thread::sleep(Duration::from_micros(200));
    }
}

procession_harness::parts! {
    /// Says which processes its pool has, and waits for calls that never end.
    fn waiting_master() {
        let pool = told_pool(2);
        let ledger = std::env::var(LEDGER).expect("the test sets it");
        let calls = pool.starmap_async(note_and_wait.chunk_size(1), (0..20).map(|x| (ledger.clone(), x, NEVER.to_owned())));
        let begun = || fs::read_to_string(&ledger).is_ok_and(|text| text.lines().count() == 2);
        assert!(wait_until(LIMIT, begun));
        let mut pids = wait_workers(&pool, 2);
        pids.extend(parent_of(pids[0]).filter(|pid| *pid != std::process::id()));
        println!("{pids:?}");
        drop(calls.get());
    }

    /// As [`waiting_master`], as the foreground job of a terminal has it: a process group of its own.
    fn foreground_master() {
        nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)).expect("no session leader");
        let errors = fs::File::create(std::env::var(ERRORS).expect("the test sets it")).expect("it can be made");
        nix::unistd::dup2_stderr(errors).expect("it is open");
        waiting_master();
    }

    /// Starts one pool after the other, until it is killed.
    fn starting_master() {
        loop {
            drop(told_pool(2));
        }
    }
}

procession_harness::cases! {
    fn o2_workers_end_with_a_master_that_is_signalled() {
        for (method, _) in METHODS {
            for signal in [Signal::SIGTERM, Signal::SIGINT] {
                let ledger = Ledger::new("ledger");
                let mut master = start_part("waiting_master", &[(METHOD, method), (LEDGER, &ledger.path())]);
                let pids = numbers(&line_of(&mut master));
                assert!(pids.len() >= 2 && pids.iter().all(|pid| alive(*pid)), "{pids:?}");
                send_signal(master.id(), signal);
                assert_eq!(master.wait().unwrap().signal(), Some(signal as i32), "it dies of it");
                let left = || pids.iter().copied().filter(|pid| alive(*pid)).collect::<Vec<_>>();
                assert!(wait_until(DEATH_LIMIT, || left().is_empty()), "{method}, {signal}: {:?} live on", left());
            }
        }
    }

    fn o3_one_interrupt_of_the_foreground_group_ends_all_without_a_word() {
        for (method, _) in METHODS {
            let ledger = Ledger::new("ledger");
            let errors = std::env::temp_dir().join("errors");
            let variables =
                [(METHOD, method), (LEDGER, &ledger.path()), (ERRORS, &errors.to_string_lossy())];
            let mut master = start_part("foreground_master", &variables);
            let pids = numbers(&line_of(&mut master));
            assert!(pids.len() >= 2 && pids.iter().all(|pid| alive(*pid)), "{pids:?}");
            killpg(Pid::from_raw(master.id().cast_signed()), Signal::SIGINT).unwrap();
            assert_eq!(master.wait().unwrap().signal(), Some(Signal::SIGINT as i32), "130, as shells count");
            let left = || pids.iter().copied().filter(|pid| alive(*pid)).collect::<Vec<_>>();
            assert!(wait_until(DEATH_LIMIT, || left().is_empty()), "{method}: {:?} live on", left());
            assert_eq!(ledger.lines().len(), 2, "what was queued is not started");
            assert_eq!(fs::read_to_string(&errors).unwrap(), "", "nobody complains");
            fs::remove_file(errors).unwrap();
        }
    }

    fn o4_what_a_task_started_ends_with_its_worker() {
        both_described(1, |builder| {
            let pool = builder.grace(Duration::from_millis(200)).build().unwrap();
            let ends: [fn(&Pool, &procession::AsyncResult<u64>); 3] = [
                |pool, _| send_signal(pool.worker_pids()[0], Signal::SIGKILL),
                |_, call| assert!(call.cancel()),
                |pool, _| pool.terminate(),
            ];
            let expected = [ErrorKind::WorkerLost, ErrorKind::Cancelled, ErrorKind::Terminated];
            for (end, expected) in ends.into_iter().zip(expected) {
                let ledger = Ledger::new("grandchildren");
                let call = pool.apply_async(start_program_and_stay, (ledger.path(),));
                let grandchild = wait_lines(&ledger, 1)[0].parse().unwrap();
                assert!(alive(grandchild));
                end(&pool, &call);
                assert_eq!(kinds(vec![call]), [Err(expected)]);
                assert!(wait_until(LIMIT, || !alive(grandchild)), "{grandchild} lives on: {expected:?}");
            }
            pool.join(Some(LIMIT)).unwrap();
        });
    }

    fn o5_the_thread_that_made_a_pool_ends() {
        both_described(2, |builder| {
            let pool = thread::spawn(move || {
                let pool = builder.build().unwrap();
                assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
                pool
            });
            let pool = pool.join().unwrap();
            let before = wait_workers(&pool, 2);
            let pids = pool.starmap(own_pid.chunk_size(1), (0..100).map(|_| ())).unwrap();
            assert!(pids.iter().all(|pid| before.contains(pid)), "its end killed nobody");
            assert_eq!(pool.worker_pids(), before);
            pool.close().unwrap();
        });
    }

    fn o6_a_master_dies_while_its_workers_start() {
        let folder = std::env::temp_dir().join("o6");
        let mark = format!("{STARTING}=1");
        for (method, _) in METHODS {
            for processes in [2, 3, 2, 3] {
                // What a master leaves that is killed at this time.
                fs::create_dir(&folder).unwrap();
                let temporary = folder.to_string_lossy();
                let variables = [(METHOD, method), (STARTING, "1"), ("TMPDIR", &*temporary)];
                let mut master = start_part("starting_master", &variables);
                assert!(wait_until(LIMIT, || marked(&mark).len() >= processes), "it starts its processes");
                send_signal(master.id(), Signal::SIGKILL);
                master.wait().unwrap();
                let all_gone = wait_until(DEATH_LIMIT, || marked(&mark).is_empty());
                assert!(all_gone, "{method}: {:?} live on", marked(&mark));
                fs::remove_dir_all(&folder).unwrap();
            }
        }
    }

    fn o7_other_children_of_the_program_are_left_alone() {
        both_described(2, |builder| {
            let mut ended = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
            let mut running = Command::new("sleep").arg("80").spawn().unwrap();
            assert!(wait_until(LIMIT, || !alive(ended.id())), "it ends, and nobody has waited for it");
            let pool = builder.grace(Duration::from_millis(200)).build().unwrap();
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            assert_eq!(pool.apply(crash, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
            let late = pool.apply(sleep_ms.timeout(Duration::from_millis(100)), (80_000,));
            assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
            pool.terminate();
            pool.join(Some(LIMIT)).unwrap();
            assert_eq!(ended.wait().unwrap().code(), Some(7), "its status is still to be had");
            assert!(alive(running.id()));
            running.kill().unwrap();
            assert_eq!(running.wait().unwrap().signal(), Some(9));
        });
    }

    fn o8_interrupted_system_calls_fail_nothing() {
        // Without SA_RESTART: whatever blocks returns EINTR.
        let action = SigAction::new(SigHandler::Handler(count_interruption), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing but count.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| interrupt_all(&stop));
            both(2, |pool| {
                assert_eq!(pool.map(square, 0..20_000).unwrap().len(), 20_000);
                for x in 0..200 {
                    assert_eq!(pool.apply(square, (x,)).unwrap(), x * x);
                }
                let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
                let mut waiting = held(pool, &ledger, &gate);
                assert!(waiting.get_timeout(Duration::from_millis(200)).is_none(), "it waits for its time");
                gate.open();
                assert_eq!(waiting.get().unwrap(), 7);
                assert_eq!(pool.apply(crash, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
                let large = vec![7; 3 << 20];
                assert!(pool.apply(crate::tasks::echo_bytes, (large.clone(),)).unwrap() == large);
            });
            stop.store(true, Ordering::Relaxed);
        });
        assert!(INTERRUPTIONS.load(Ordering::Relaxed) > 100, "there was a storm");
    }
}
