//! Starting, and every way to fail at it.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::super::pidfd::readable_within;
use super::super::{LaunchError, LaunchSettings, Launcher, StartMethod};
use super::seat::{LIMIT, Worker, call, launch_now, settings};
use super::tasks;
use crate::wire::ToMaster;

const EXECUTED: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

#[test]
fn workers_run_items_and_stop_when_told() {
    for method in EXECUTED {
        let mut launcher = Launcher::new(settings(method)).unwrap();
        let mut workers: Vec<_> = (0..3).map(|slot| Worker::ready(&mut launcher, slot)).collect();
        for (i, worker) in (0_i64..).zip(&mut workers) {
            assert_eq!(worker.run::<_, i64>(tasks::double, &(i,)), 2 * i);
            assert_eq!(worker.launched.page.claimed(2), Some(1));
        }
        for worker in &mut workers {
            worker.stop(&mut launcher);
        }
    }
}

#[test]
fn a_program_of_another_build_is_named_with_ours() {
    for method in EXECUTED {
        let env = vec![(OsString::from("PROCESSION_TEST_FINGERPRINT"), OsString::from("7"))];
        let error = first_error(LaunchSettings { env, ..settings(method) });
        assert!(error.is_fatal());
        let text = error.to_string();
        assert!(matches!(error, LaunchError::Mismatch { .. }), "{text}");
        assert!(text.contains("tasks 0000000000000007"), "{text}");
        assert!(text.contains(&format!("tasks {:016x}", crate::registry::fingerprint())), "{text}");
    }
}

#[test]
fn a_program_that_is_missing_or_forgets_init_is_fatal() {
    for method in EXECUTED {
        let with =
            |program: &str| LaunchSettings { program: Some(PathBuf::from(program)), ..settings(method) };
        let missing = first_error(with("/no/such/program"));
        assert!(matches!(missing, LaunchError::Program { .. }) && missing.is_fatal(), "{missing}");
        let directory = first_error(with("/"));
        assert!(matches!(directory, LaunchError::Program { .. }) && directory.is_fatal(), "{directory}");
        let forgetful = first_error(with("/bin/false"));
        assert!(forgetful.is_fatal());
        assert_eq!(
            forgetful.to_string(),
            "worker program `/bin/false` ended with status 1 before it called procession::init(): call it first in its main"
        );
    }
}

#[test]
fn a_program_that_is_refused_what_its_start_needs_may_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("few-descriptors");
    let program = std::env::current_exe().unwrap();
    // Enough to execute it.
    std::fs::write(&script, format!("#!/bin/sh\nulimit -n 4\nexec '{}'\n", program.display())).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).unwrap();
    for method in EXECUTED {
        let error = first_error(LaunchSettings { program: Some(script.clone()), ..settings(method) });
        assert!(!error.is_fatal(), "{error}");
        assert!(error.to_string().contains("could not start"), "{error}");
    }
}

#[test]
fn a_program_of_another_version_is_no_program_without_init() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("other-version");
    std::fs::write(&script, "#!/bin/sh\nexit 78\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).unwrap();
    for method in EXECUTED {
        let error = first_error(LaunchSettings { program: Some(script.clone()), ..settings(method) });
        assert!(error.is_fatal(), "{error}");
        assert!(error.to_string().contains("another version of procession"), "{error}");
    }
}

/// The error of starting the first worker.
fn first_error(settings: LaunchSettings) -> LaunchError {
    let mut launcher = match Launcher::new(settings) {
        Ok(launcher) => launcher,
        Err(error) => return error,
    };
    let launched = match launch_now(&mut launcher, 0) {
        Ok(launched) => launched,
        Err(error) => return error,
    };
    let boot = launched.boot.expect("a forked worker is ready when it is launched");
    assert!(readable_within(&boot, LIMIT));
    let error = boot.finish().unwrap_err();
    launcher.reap(&launched.process);
    error
}

#[test]
fn fork_is_refused_in_a_program_with_threads() {
    let error = Launcher::new(settings(StartMethod::Fork)).unwrap_err();
    assert!(matches!(error, LaunchError::Threads { threads } if threads > 1), "{error}");
    assert!(error.is_fatal());
}

#[test]
fn initializer_and_preload_leave_state_for_tasks() {
    let text = |text: &str| Some(call(tasks::set_state, &(text,)));
    for method in EXECUTED {
        let mut launcher =
            Launcher::new(LaunchSettings { preload: text("preloaded"), ..settings(method) }).unwrap();
        let mut worker = Worker::ready(&mut launcher, 0);
        assert_eq!(worker.run::<_, Option<String>>(tasks::state, &()), Some("preloaded".to_owned()));

        let both =
            LaunchSettings { preload: text("preloaded"), initializer: text("own"), ..settings(method) };
        let mut launcher = Launcher::new(both).unwrap();
        let mut worker = Worker::ready(&mut launcher, 0);
        assert_eq!(worker.run::<_, Option<String>>(tasks::state, &()), Some("own".to_owned()));
    }
}

#[test]
fn an_initializer_that_fails_is_reported_with_its_reason() {
    for method in EXECUTED {
        let initializer = Some(call(tasks::set_state, &("fail",)));
        let mut launcher = Launcher::new(LaunchSettings { initializer, ..settings(method) }).unwrap();
        let mut worker = Worker::launch(&mut launcher, 0);
        let frame = worker.next_frame();
        let Ok(ToMaster::InitFailed { message }) = ToMaster::parse(&frame) else { panic!("{frame:?}") };
        let message = String::from_utf8_lossy(message);
        assert!(message.ends_with("set_state` failed: told to fail"), "{message}");
        assert!(message.starts_with("initializer `procession::"), "{message}");
    }
}

#[test]
fn a_preload_that_fails_or_starts_threads_is_refused() {
    let refused = |preload| {
        let preload = Some(preload);
        Launcher::new(LaunchSettings { preload, ..settings(StartMethod::ForkServer) })
            .unwrap_err()
            .to_string()
    };
    assert!(refused(call(tasks::set_state, &("fail",))).ends_with("failed: told to fail"));
    assert!(refused(call(tasks::start_thread, &())).contains("left 1 threads running"));
}
