//! Agents whose clocks are wrong: `clock.c` is loaded into them before the system's own library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use procession::Payload;
use procession_harness::Ledger;

use crate::faults::{Course, repeat, single};
use crate::scene::Scene;
use crate::tasks::clocked;

/// What two agents' clocks say beyond the right time, in seconds: an hour too early, and two days too late.
const OFFSETS: [i64; 2] = [3_600, -172_800];
/// Nothing here takes so long: what differs by more is another clock.
const TOLERANCE: i64 = 600;
const ITEMS: u64 = 60;

/// The compiled library; none: there is no compiler, and the test says so.
fn shifted_clock(dir: &Path) -> Option<PathBuf> {
    let library = dir.join("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/clock.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).output();
    let Ok(compiled) = compiled else {
        procession_harness::skip("a C compiler: install one that is called `cc`");
        return None;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    Some(library)
}

fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(now.as_secs()).expect("not that late")
}

procession_harness::cases! {
    fn fault_clocks_wrong_and_agent_killed() {
        let dir = tempfile::tempdir().expect("the test's directory is writable");
        let Some(library) = shifted_clock(dir.path()) else { return };
        repeat("fault_clocks_wrong_and_agent_killed", || {
            // The one with the right time is killed: when its lease runs out, the others must have what it had.
            let scene = Scene::start(1)?;
            let victim = scene.agents()[0];
            for offset in OFFSETS {
                let (library, offset) = (library.display().to_string(), offset.to_string());
                let wrong = [("LD_PRELOAD", library.as_str()), ("CLOCK_OFFSET_SECONDS", offset.as_str())];
                scene.agent_with(&scene.address(), 1, &wrong);
            }
            let ledger = Ledger::new("clocks");
            let item = |x| clocked.payload(&(ledger.path(), x, 30)).expect("it has an encoding");
            let job = scene.job(clocked.info(), (0..ITEMS).map(item).collect(), single);
            let course = Course::of(job, |done| if done == 10 { scene.kill(victim) });
            for offset in OFFSETS {
                let is_shifted = |line: &String| {
                    let told: i64 = line.parse().expect("seconds");
                    (told - seconds() - offset).abs() < TOLERANCE
                };
                assert!(ledger.lines().iter().any(is_shifted), "nobody's clock is {offset} s off");
            }
            let is_own = |x: u64, value: &Payload| clocked.value(value).is_ok_and(|value| value == x);
            Some(course.cost(ITEMS, is_own, |_, _| false))
        });
    }
}
