//! Tests that need a process of their own: one thread, its own limits, or a violent death. The test executable is
//! started again with the name of a scene, which it plays before `main`, while it has a single thread.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::super::boot::ROLE_VARIABLE;
use super::super::descriptors::ensure_descriptors;
use super::super::pidfd::{self, readable_within};
use super::super::{LaunchError, LaunchSettings, Launcher, StartMethod, WorkerExit, init};
use super::super::{crash, signals};
use super::seat::{LIMIT, Worker, settings};
use super::{tasks, traps};

const VARIABLE: &str = "PROCESSION_TEST_SCENE";

#[ctor::ctor(unsafe)]
fn play() {
    let Some(scene) = std::env::var_os(VARIABLE) else {
        return;
    };
    if std::env::var_os(ROLE_VARIABLE).is_some() {
        return; // a worker of the scene's own pool
    }
    init();
    let played = std::panic::catch_unwind(|| match scene.to_str().unwrap() {
        "fork" => fork(),
        "few descriptors" => few_descriptors(),
        "too few descriptors" => too_few_descriptors(),
        "no descriptor left" => no_descriptor_left(),
        "own tmpdir" => own_tmpdir(),
        "early death" => early_death(),
        "deep" => deep(),
        "uninitialised" => uninitialised(),
        "master" => master(),
        "sent fault" => sent_fault(),
        "real fault" => real_fault(),
        "hang while dying" => crash::scenes::hang_while_dying(),
        "send one large message" => traps::send_one_large_message(),
        "send many frames" => traps::send_many_frames(),
        "send tiny messages" => traps::send_tiny_messages(),
        other => panic!("no scene {other}"),
    });
    std::process::exit(if played.is_ok() { 0 } else { 1 });
}

/// A worker that dies when it has said where it listens leaves no descriptor behind.
fn early_death() {
    let mut launcher = Launcher::new(settings(StartMethod::Spawn)).unwrap();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut counts = (0..3).map(|_| {
        let launched = super::seat::launch_now(&mut launcher, 0).unwrap();
        let boot = launched.boot.unwrap();
        assert!(readable_within(&boot, LIMIT));
        launched.process.signal(Signal::SIGKILL);
        assert!(readable_within(&launched.process, LIMIT));
        boot.finish().unwrap_err();
        launcher.reap(&launched.process);
        drop((launched.process, launched.output, launched.sender));
        drop((launched.receiver, launched.goodbye, launched.page));
        open()
    });
    let first = counts.next();
    assert!(counts.all(|count| Some(count) == first));
}

pub(super) fn stage(scene: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(VARIABLE, scene);
    command
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let status: ExitStatus = output.status;
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&output.stderr));
}

fn fork() {
    let mut launcher = Launcher::new(settings(StartMethod::Fork)).unwrap();
    for round in 0..3 {
        let mut worker = Worker::ready(&mut launcher, round);
        assert_eq!(worker.run::<_, i64>(tasks::double, &(4_i64,)), 8);
        let open: Vec<i32> = worker.run(tasks::descriptors, &());
        worker.send(tasks::end, &("exit 3",));
        assert_eq!(worker.exit(&mut launcher).status, WorkerExit::Code(3));
        assert!(open.iter().filter(|fd| **fd >= 64).count() >= 2, "{open:?}");
    }
    let zygote = launcher.zygote_pid().unwrap();
    nix::sys::signal::kill(Pid::from_raw(zygote as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
    let zygote_fd = pidfd::open(Pid::from_raw(zygote as i32)).unwrap();
    assert!(readable_within(&zygote_fd, LIMIT));
    let error = super::seat::launch_now(&mut launcher, 0).unwrap_err();
    assert!(matches!(error, LaunchError::ForkedHelperGone) && error.is_fatal(), "{error}");
}

#[test]
fn a_worker_that_dies_before_it_is_connected_leaves_no_descriptor() {
    succeeds(&mut stage("early death"));
}

#[test]
fn a_program_with_one_thread_can_be_forked_again_and_again() {
    succeeds(&mut stage("fork"));
}

fn few_descriptors() {
    setrlimit(Resource::RLIMIT_NOFILE, 40, 64).unwrap();
    ensure_descriptors(1).unwrap();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let mut launcher = Launcher::new(settings(method)).unwrap();
        let mut worker = Worker::ready(&mut launcher, 0);
        assert_eq!(worker.run::<_, i64>(tasks::double, &(4_i64,)), 8);
    }
}

#[test]
fn a_low_descriptor_limit_is_raised_as_far_as_needed() {
    succeeds(&mut stage("few descriptors"));
}

fn too_few_descriptors() {
    setrlimit(Resource::RLIMIT_NOFILE, 40, 40).unwrap();
    let error = ensure_descriptors(2).unwrap_err();
    assert!(matches!(error, LaunchError::Descriptors { workers: 2, limit: 40, .. }), "{error}");
}

#[test]
fn a_hard_descriptor_limit_is_a_clear_refusal() {
    succeeds(&mut stage("too few descriptors"));
}

/// Whichever descriptor is the first that there is none for.
fn no_descriptor_left() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // ipc-channel asks how large a packet may be when it sends the first one, and panics if there is no socket to ask.
    let (sender, _receiver) = ipc_channel::ipc::bytes_channel().unwrap();
    sender.send(&[1]).unwrap();
    let mut refused = 0;
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        for spare in 0..24 {
            let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
            let limit = |most| setrlimit(Resource::RLIMIT_NOFILE, most, hard).unwrap();
            limit(open + spare);
            let launched = Launcher::new(settings(method)).and_then(|mut launcher| {
                let launched = super::seat::launch_now(&mut launcher, 0)?;
                launcher.reap(&launched.process);
                Ok(())
            });
            limit(soft);
            refused += u32::from(launched.is_err());
            let left = waitpid(None, Some(WaitPidFlag::WNOHANG));
            assert_eq!(left, Err(Errno::ECHILD), "{method:?}, {spare} to spare: {launched:?}");
        }
    }
    assert!(refused > 10, "{refused} starts were refused");
}

#[test]
fn a_start_that_is_refused_a_descriptor_leaves_no_child() {
    succeeds(&mut stage("no descriptor left"));
}

fn own_tmpdir() {
    let dir = std::env::temp_dir();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let mut launcher = Launcher::new(settings(method)).unwrap();
        let mut worker = Worker::ready(&mut launcher, 0);
        let seen: Option<String> = worker.run(tasks::variable, &("TMPDIR",));
        assert_eq!(seen.as_deref(), dir.to_str());
        let left: Vec<_> = std::fs::read_dir(&dir).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn nothing_is_left_in_the_temporary_directory() {
    let dir = tempfile::tempdir().unwrap();
    succeeds(stage("own tmpdir").env("TMPDIR", dir.path()));
}

#[test]
fn a_temporary_directory_with_a_long_name_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(200));
    std::fs::create_dir(&long).unwrap();
    succeeds(stage("own tmpdir").env("TMPDIR", long));
}

fn deep() {
    let error = Launcher::new(settings(StartMethod::ForkServer)).unwrap_err();
    assert!(matches!(error, LaunchError::TooDeep { .. }) && error.is_fatal(), "{error}");
}

#[test]
fn pools_nested_too_deep_are_refused() {
    succeeds(stage("deep").env("PROCESSION_DEPTH", super::super::init::DEPTH_MAX.to_string()));
}

fn uninitialised() {
    super::super::init::forget();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let error = Launcher::new(settings(method)).unwrap_err();
        assert!(matches!(error, LaunchError::NotInitialised) && error.is_fatal(), "{error}");
    }
    // As a worker whose program never reaches `init` would find it: no start method and no program helps.
    super::super::child::set_variable(ROLE_VARIABLE.as_ref(), "worker".as_ref());
    for method in [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork] {
        let program = Some("/bin/true".into());
        let error = Launcher::new(LaunchSettings { program, ..settings(method) }).unwrap_err();
        assert!(matches!(error, LaunchError::NotInitialised), "{error}");
    }
}

#[test]
fn a_program_without_init_gets_an_error_and_no_process() {
    succeeds(&mut stage("uninitialised"));
}

fn sent_fault() {
    signals::scenes::install();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGSEGV).unwrap();
}

fn real_fault() {
    signals::scenes::install();
    super::tasks::wild_write();
}

#[test]
fn a_sent_fault_kills_and_a_real_one_reaches_the_earlier_handler() {
    let sent = stage("sent fault").status().unwrap();
    assert_eq!(sent.signal(), Some(libc::SIGSEGV), "{sent}");
    let real = stage("real fault").status().unwrap();
    assert_eq!(real.code(), Some(signals::scenes::EARLIER_STATUS), "{real}");
}

#[test]
fn a_handler_that_hangs_does_not_keep_the_process() {
    let status = stage("hang while dying").status().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGFPE), "{status}");
}

fn master() {
    let mut launchers = Vec::new();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let mut launcher = Launcher::new(settings(method)).unwrap();
        let mut workers: Vec<_> = (0..2).map(|slot| Worker::ready(&mut launcher, slot)).collect();
        let grandchild: u32 = workers[0].run(tasks::start_grandchild, &());
        let pids: Vec<u32> = workers.iter().map(|worker| worker.launched.process.pid()).collect();
        println!("{} {} {} {grandchild}", pids[0], pids[1], launcher.zygote_pid().unwrap_or(pids[0]));
        launchers.push((launcher, workers));
    }
    println!("ready");
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn when_the_master_is_killed_all_its_processes_are_gone_at_once() {
    let mut master = stage("master").stdout(Stdio::piped()).spawn().unwrap();
    let mut pids = Vec::new();
    for line in BufReader::new(master.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line == "ready" {
            break;
        }
        pids.extend(line.split(' ').map(|pid| Pid::from_raw(pid.parse().unwrap())));
    }
    assert_eq!(pids.len(), 8, "workers, zygotes, and what tasks have started");
    let processes: Vec<_> = pids.into_iter().map(|pid| pidfd::open(pid).unwrap()).collect();
    master.kill().unwrap();
    master.wait().unwrap();
    let killed = std::time::Instant::now();
    for process in &processes {
        assert!(readable_within(process, LIMIT));
    }
    assert!(killed.elapsed() < std::time::Duration::from_secs(2), "{:?}", killed.elapsed());
}
