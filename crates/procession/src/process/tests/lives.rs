//! What a worker finds: its descriptors, environment, output, limits.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;

use super::super::pidfd::readable_within;
use super::super::{LaunchSettings, Launcher, Output, StartMethod};
use super::seat::{LIMIT, Worker, settings};
use super::tasks;

const EXECUTED: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

#[test]
fn channels_lie_above_the_floor_and_nothing_is_inherited() {
    // What a careless host leaves open in its children.
    let leaked = File::open("/dev/zero").unwrap();
    nix::fcntl::fcntl(&leaked, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    for method in EXECUTED {
        let mut launcher = Launcher::new(settings(method)).unwrap();
        for slot in 0..3 {
            let mut worker = Worker::ready(&mut launcher, slot);
            let open: Vec<i32> = worker.run(tasks::descriptors, &());
            assert_eq!(open[..3], [0, 1, 2]);
            assert_eq!(open.len(), 5, "{method:?}: two channel ends beside the standard three, but {open:?}");
            assert!(open[3] >= 64, "{open:?}");
        }
    }
}

#[test]
fn the_environment_is_the_masters_with_additions_and_no_traces() {
    let env = vec![(OsString::from("PROCESSION_TEST_ADDED"), OsString::from("yes"))];
    for method in EXECUTED {
        let mut launcher = Launcher::new(LaunchSettings { env: env.clone(), ..settings(method) }).unwrap();
        let mut worker = Worker::ready(&mut launcher, 0);
        let mut variable = |name: &str| worker.run::<_, Option<String>>(tasks::variable, &(name,));
        assert_eq!(variable("PROCESSION_TEST_ADDED").as_deref(), Some("yes"));
        assert_eq!(variable("PROCESSION_BOOT"), None);
        assert_eq!(variable("PROCESSION_DEPTH").as_deref(), Some("1"));
        assert_eq!(variable("TMPDIR"), std::env::var("TMPDIR").ok());
    }
}

#[test]
fn output_goes_where_the_settings_say() {
    for method in EXECUTED {
        for (output, expected) in [
            (Output::Capture, Some("out hello\nerr hello\n")),
            (Output::Inherit, Some("err hello\n")),
            (Output::Null, None),
        ] {
            let mut launcher = Launcher::new(LaunchSettings { output, ..settings(method) }).unwrap();
            let mut worker = Worker::ready(&mut launcher, 0);
            worker.run::<_, ()>(tasks::print, &("hello",));
            worker.stop(&mut launcher);
            let printed = worker.launched.output.take().map(|pipe| {
                assert!(readable_within(&pipe, LIMIT));
                // No wait for the end of the pipe: a process that is being started elsewhere may hold it for a moment.
                let mut text = vec![0; 100];
                let len = File::from(pipe).read(&mut text).unwrap();
                String::from_utf8(text[..len].to_vec()).unwrap()
            });
            assert_eq!(printed.as_deref(), expected, "{method:?} {output:?}");
        }
    }
}

/// Of this process, which may itself have been started by `nice`.
fn own_niceness() -> i32 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name, in brackets, may hold spaces; niceness is the 19th field, the 17th after the name.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(16).unwrap().parse().unwrap()
}

#[test]
fn limits_are_applied_and_a_refusal_is_reported() {
    let mut launcher = Launcher::new(LaunchSettings {
        nice: Some(3),
        cpu_affinity: vec![vec![0]],
        memory_limit: Some(1 << 30),
        ..settings(StartMethod::ForkServer)
    })
    .unwrap();
    let mut worker = Worker::ready(&mut launcher, 7);
    let niceness = own_niceness() + 3;
    assert_eq!(worker.run::<_, (u64, i32, usize)>(tasks::limits, &()), (0, niceness, 1));

    let settings = LaunchSettings { cpu_affinity: vec![vec![1000]], ..settings(StartMethod::ForkServer) };
    let mut launcher = Launcher::new(settings).unwrap();
    let frame = Worker::launch(&mut launcher, 0).next_frame();
    let text = String::from_utf8_lossy(&frame);
    assert!(text.contains("cpu affinity [1000] was refused"), "{text}");
}
