//! Commands with a run directory: whatever ends the master, each runs at most once and has one outcome in the end, and the
//! output is whole and in order.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use procession_harness::{Ledger, wait_until};

use crate::program::{Finished, Running, procession, run, start, start_as_is, within};

/// Nothing of a test takes so long.
const LIMIT: Duration = Duration::from_secs(60);

const ITEMS: u64 = 200;

/// What a command of the long test does: it notes its start, goes wrong in its own way, and notes its end.
const SCRIPT: &str = "echo \"$1 start\" >> \"$2\"; echo \"out $1\"; case $(($1 % 80)) in 3) kill -SEGV $$;; 7) exec sleep 600;; \
    11) head -c 1048576 /dev/zero | tr '\\0' x;; 15) echo \"no luck $1\" >&2; exit 5;; esac; sleep 0.02; echo \"$1 end\" >> \"$2\"";

/// What it prints.
fn wanted(item: u64) -> String {
    let large = if item % 80 == 11 { "x".repeat(1 << 20) } else { String::new() };
    format!("out {item}\n{large}")
}

/// What becomes of it, where it runs to an end.
fn outcome_of(item: u64) -> &'static str {
    match item % 80 {
        3 => "killed",
        7 => "timed_out",
        15 => "exit_status",
        _ => "ok",
    }
}

/// How often each item has noted its start, or its end.
fn noted(ledger: &Ledger, what: &str) -> BTreeMap<u64, u32> {
    let mut noted = BTreeMap::new();
    for line in fs::read_to_string(ledger.path()).unwrap_or_default().lines() {
        let (item, word) = line.split_once(' ').expect("a line is an item and a word");
        if word == what {
            *noted.entry(item.parse().expect("a number")).or_default() += 1;
        }
    }
    noted
}

/// What the run store says: outcome by item.
fn outcomes(dir: &str) -> BTreeMap<u64, String> {
    let reader = procession_store::Reader::open(dir.as_ref()).expect("there is a run");
    let items = reader.page(0, u32::MAX).expect("the store can be read");
    items.into_iter().map(|item| (item.index, item.outcome.into_owned())).collect()
}

fn check(end: &Finished, code: i32) {
    assert_eq!(end.code(), Some(code), "{}", end.stderr);
}

fn refused(end: &Finished, told: &str) {
    check(end, 2);
    assert!(end.stderr.contains(told) && end.stdout.is_empty(), "wanted {told} in:\n{}", end.stderr);
}

/// Everything that a run over `items` writes to stdout.
fn text(items: impl Iterator<Item = u64>) -> String {
    items.map(wanted).collect()
}

/// Waits until something holds or the run has ended; false: it has.
fn goes_on(running: &mut Running, holds: impl Fn() -> bool) -> bool {
    let mut has_ended = false;
    let reached = wait_until(LIMIT, || {
        has_ended = running.has_ended();
        has_ended || holds()
    });
    assert!(reached, "the run does not go on; it said:\n{}", running.said());
    !has_ended
}

procession_harness::cases! {
    fn a_master_killed_among_commands_goes_on_and_runs_none_twice() {
        let seed = std::env::var("EXEC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("EXEC_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (ledger, dir, output) = (Ledger::new("ledger"), within(&folder, "run"), within(&folder, "out"));
        let (items, noted_in) = (format!("0..{ITEMS}"), ledger.path());
        // One line for the first time and for every other, as in a service or a batch job.
        let words = ["exec", "-j", "4", "--timeout", "2s", "--range", &items, "--run-dir", &dir, "--no-progress", "--resume-or-start"];
        let words = [&words[..], &["--", "sh", "-c", SCRIPT, "sh", "{}", &noted_in]].concat();
        let mut kills = 0;
        let end = loop {
            let method = ["forkserver", "spawn", "fork"][random.usize(..3)];
            let words = [&["exec", "--start-method", method], &words[1..]].concat();
            // Whoever does not read a pipe stops the run when that is full.
            let mut command = procession(&words);
            // One that is starting has a directory, which nobody can remove if it is killed.
            command.env("TMPDIR", folder.path());
            command.stdout(File::create(&output).expect("the folder can be written"));
            let mut running = start_as_is(command);
            let (begun, wait) = (Instant::now(), Duration::from_micros(random.u64(..60_000)));
            let seen = noted(&ledger, "start").len();
            let more = random.usize(1..60);
            // Some die before they have begun anything, the others among their commands.
            let goes_on = if kills % 4 == 3 {
                goes_on(&mut running, || begun.elapsed() >= wait)
            } else {
                goes_on(&mut running, || noted(&ledger, "start").len() >= seen + more)
            };
            if !goes_on || kills == 8 {
                break running.finish();
            }
            running.signal(Signal::SIGKILL);
            running.finish();
            kills += 1;
        };
        assert!(kills >= 3, "it was over too soon: {kills} kills");
        check(&end, 1);
        let mut outcomes = outcomes(&dir);
        assert!(outcomes.keys().copied().eq(0..ITEMS), "{} of {ITEMS} items have an outcome", outcomes.len());
        let (starts, ends) = (noted(&ledger, "start"), noted(&ledger, "end"));
        assert!(starts.values().chain(ends.values()).all(|times| *times == 1), "begun twice: {starts:?}");
        let unknown: Vec<u64> =
            outcomes.iter().filter(|(_, outcome)| *outcome == "unknown").map(|(item, _)| *item).collect();
        outcomes.retain(|_, outcome| outcome != "unknown");
        for (item, outcome) in &outcomes {
            assert_eq!(outcome, outcome_of(*item), "item {item}");
            assert!(starts.contains_key(item), "item {item} has an outcome and never began");
        }
        // A master has four at a time, and puts on record what may begin within a moment.
        assert!(unknown.len() <= kills * 16, "{} are unknown after {kills} kills", unknown.len());
        let printed = fs::read_to_string(&output).expect("it was written");
        assert!(printed == text(outcomes.keys().copied()), "all outputs, in order: {} bytes", printed.len());
        let unlucky = end.stderr.lines().filter(|line| line.starts_with("no luck ")).count();
        assert_eq!(unlucky, outcomes.values().filter(|outcome| *outcome == "exit_status").count());
        let raw = run(&["export", &dir, "--raw"]);
        assert!(raw.stdout == printed, "{}", raw.stderr);

        let end = run(&["retry", &dir, "--unknown"]);
        check(&end, 1);
        assert!(end.stdout == text(0..ITEMS), "{} bytes", end.stdout.len());
        let starts = noted(&ledger, "start");
        for (item, times) in &starts {
            assert!(*times == 1 || *times == 2 && unknown.contains(item), "item {item} began {times} times");
        }
        assert!(self::outcomes(&dir).iter().all(|(item, outcome)| outcome == outcome_of(*item)));
    }

    fn what_is_piped_in_is_kept_and_a_changed_command_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (lines, dir) = (within(&folder, "lines"), within(&folder, "run"));
        fs::write(&lines, "a\nb b\n").expect("the folder can be written");
        let shell = |script: &'static str| {
            ["exec", "--run-dir", &dir, "--quiet", "--env", "COLOUR=blue", "--stdin", "in {}", "--", "sh", "-c", script, "sh", "{}"]
        };
        let script = "cat; echo \" $COLOUR $1\"; printf 'e\\377\\n' >&2";
        let mut command = procession(&shell(script));
        command.stdin(File::open(&lines).expect("it was written"));
        let first = start(command).finish();
        check(&first, 0);
        assert_eq!(first.stdout, "in a blue a\nin b b blue b b\n");
        let resuming = |words: &[&str], more: &[&str]| run(&[&words[..1], more, &words[1..]].concat());
        // Other limits, another place and other tags are the same commands.
        for (more, wanted) in [
            (&["--resume", "--timeout", "9s", "-j", "1"][..], first.stdout.clone()),
            (&["--resume", "--tag={}"], "a\tin a blue a\nb b\tin b b blue b b\n".to_owned()),
            (&["--resume-or-start", "--idempotent"], first.stdout.clone()),
        ] {
            let end = resuming(&shell(script), more);
            check(&end, 0);
            assert_eq!(end.stdout, wanted);
        }
        let words = shell("echo {}");
        let refusal = resuming(&words, &["--resume"]);
        refused(&refusal, "item 0 is `printf %s 'in a' | COLOUR=blue sh -c 'echo a' sh a` now, and was `printf %s 'in a' | COLOUR=blue sh -c 'cat;");
        for (at, word) in [(5, "COLOUR=red"), (7, "out {}")] {
            let mut words = shell(script);
            words[at] = word;
            refused(&resuming(&words, &["--resume"]), "this is not the job of");
        }
        refused(&resuming(&shell(script), &["--resume", "--cwd", "/"]), "item 0 is `cd / && ");
        refused(&resuming(&shell(script), &["--resume", "--values", "a"]), "the input has 1 item now, and had 2");
        // Where they run matters, and is no reason to run them again.
        let elsewhere = |more: &[&str]| {
            let mut command = procession(&[&["exec"], more, &shell(script)[1..]].concat());
            command.current_dir(folder.path());
            start(command).finish()
        };
        refused(&elsewhere(&["--resume"]), "commands run in ");
        let end = elsewhere(&["--resume", "--accept-changes"]);
        check(&end, 0);
        assert!(end.stdout == first.stdout && end.stderr.contains("2 outcomes kept"), "{}", end.stderr);
        let mut words = shell("echo {}").to_vec();
        words.splice(1..1, ["--resume", "--accept-changes"]);
        let end = run(&words);
        check(&end, 0);
        assert_eq!(end.stdout, "a\nb b\n");
        check(&run(&["retry", &dir]), 0);
    }

    /// Earlier failures count, and what they printed comes again in its place, byte by byte.
    fn a_run_of_commands_can_be_looked_at_and_mended() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (dir, failed) = (within(&folder, "run"), within(&folder, "failed.jsonl"));
        let [mended, output] = ["mended", "out"].map(|name| within(&folder, name));
        let script = "printf '<%s\\377>\\n' $1; echo \"err $1\" >&2; test $1 != 1 || test -e $2 || exit 3";
        let words = ["--range", "0..3", "--run-dir", &dir, "sh", "-c", script, "sh", "{}", &mended];
        let bytes = |words: &[&str]| {
            let mut command = procession(words);
            command.stdout(File::create(&output).expect("the folder can be written"));
            (start_as_is(command).finish(), fs::read(&output).expect("it was written"))
        };
        let (end, first) = bytes(&[&["exec", "--failures", &failed], &words[..]].concat());
        check(&end, 1);
        assert_eq!(first, b"<0\xff>\n<1\xff>\n<2\xff>\n");
        let written = fs::read_to_string(&failed).expect("failures were written");
        let (end, again) = bytes(&[&["exec", "--resume", "--failures", &failed], &words[..]].concat());
        check(&end, 1);
        assert_eq!(again, first);
        assert_eq!(end.stderr.matches("err ").count(), 3, "{}", end.stderr);
        let summary = "3 items, 2 values, 1 without (1 exit status not 0), 3 of them from before";
        assert!(end.stderr.contains(summary), "{}", end.stderr);
        let told = |text: &str| {
            let failure: serde_json::Value = serde_json::from_str(text).expect("it is one line of JSON");
            ["index", "args", "outcome", "exit", "stderr_tail", "reproduce"].map(|key| failure[key].clone())
        };
        assert_eq!(told(&fs::read_to_string(&failed).expect("failures were written")), told(&written));
        assert_eq!(told(&run(&["failed", &dir, "--json"]).stdout), told(&written));
        let (_, raw) = bytes(&["export", &dir, "--raw"]);
        assert_eq!(raw, first);
        let records = run(&["export", &dir]);
        let record: serde_json::Value = serde_json::from_str(records.lines()[1]).expect("JSON");
        assert_eq!((&record["exit"], &record["stdout"], &record["stderr"]), (&3.into(), &"<1\u{fffd}>\n".into(), &"err 1\n".into()));
        assert_eq!(run(&["export", &dir, "--format", "csv"]).stdout.matches("exit,signal").count(), 1);
        let shown = run(&["show", &dir, "1"]).stdout;
        for line in ["outcome   exit status not 0", "exit      3", "stdout:\n    <1\u{fffd}>", "stderr:\n    err 1", "reproduce sh -c 'printf "] {
            assert!(shown.contains(line), "wanted {line} in:\n{shown}");
        }
        // The line that reproduces it does.
        let line = shown.lines().find_map(|line| line.strip_prefix("reproduce ")).expect("there is one");
        let alone = Command::new("sh").args(["-c", line]).output().expect("there is a shell");
        assert_eq!((alone.status.code(), alone.stdout), (Some(3), b"<1\xff>\n".to_vec()));
        check(&run(&["report", &dir]), 0);
        fs::write(&mended, "").expect("the folder can be written");
        // The commands were not typed behind `--`, and more flags are put before them all the same.
        let (end, all) = bytes(&["retry", &dir, "--failed", "--", "--timeout", "9s"]);
        check(&end, 0);
        assert!(all == first && end.stderr.contains("3 values, 2 of them from before"), "{}", end.stderr);
        refused(&run(&["export", &within(&folder, "none")]), "there is no run in");
    }

    /// More waits for the first command than memory has room for, in this session and in the next one.
    fn what_waits_for_its_turn_is_whole_and_in_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [dir, gate, output] = ["run", "gate", "out"].map(|name| within(&folder, name));
        let script = "test $1 != 0 || while ! test -e $2; do sleep 0.01; done; echo $1; head -c 25000000 /dev/zero";
        let words = ["exec", "-j", "2", "--range", "0..4", "--run-dir", &dir, "--resume-or-start", "--rerun-unknown", "--quiet"];
        let words = [&words[..], &["--", "sh", "-c", script, "sh", "{}", &gate]].concat();
        let begin = || {
            let mut command = procession(&words);
            command.env("TMPDIR", folder.path());
            command.stdout(File::create(&output).expect("the folder can be written"));
            start_as_is(command)
        };
        let has_rest = || procession_store::Reader::open(dir.as_ref()).is_ok_and(|run| run.tally().is_ok_and(|tally| tally.values == 3));
        for _ in 0..2 {
            let mut running = begin();
            assert!(goes_on(&mut running, has_rest));
            running.signal(Signal::SIGKILL);
            running.finish();
        }
        fs::write(&gate, "").expect("the folder can be written");
        check(&begin().finish(), 0);
        let printed = fs::read(&output).expect("it was written");
        let wanted: Vec<u8> = (0..4).flat_map(|item| [format!("{item}\n").as_bytes(), &vec![0; 25_000_000]].concat()).collect();
        assert!(printed == wanted, "{} bytes instead of {}", printed.len(), wanted.len());
    }

    fn a_run_goes_on_for_its_directory_though_nobody_reads_stdout() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        let script = "echo $1; test $1 != 299";
        let words = ["exec", "--range", "0..300", "--run-dir", &dir, "--no-progress", "--", "sh", "-c", script, "sh"];
        let mut running = start(procession(&words));
        running.close_stdout();
        let end = running.finish();
        check(&end, 1);
        assert!(end.stderr.contains("nobody reads stdout any more"), "{}", end.stderr);
        let wanted: String = (0..300).map(|item| format!("{item}\n")).collect();
        assert_eq!(run(&["export", &dir, "--raw"]).stdout, wanted);
        assert_eq!(outcomes(&dir).values().filter(|outcome| *outcome != "ok").count(), 1);
    }

    /// A master and its zygote die: nobody ends the command, and whoever goes on waits for it.
    fn a_command_that_outlives_everybody_is_waited_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (ledger, dir) = (Ledger::new("ledger"), within(&folder, "run"));
        let (gate, noted_in) = (within(&folder, "gate"), ledger.path());
        let script = "echo \"$1 start\" >> $2; while ! test -e $3; do sleep 0.01; done; echo \"$1 end\" >> $2";
        let words = ["exec", "-j", "1", "--range", "0..2", "--run-dir", &dir, "--resume-or-start", "--no-progress"];
        let words = [&words[..], &["--", "sh", "-c", script, "sh", "{}", &noted_in, &gate]].concat();
        let mut command = procession(&words);
        command.env("TMPDIR", folder.path());
        let mut first = start(command);
        assert!(goes_on(&mut first, || noted(&ledger, "start").len() == 1));
        let zygotes = procession_harness::children_of(first.pid());
        first.signal(Signal::SIGSTOP);
        for pid in &zygotes {
            procession_harness::send_signal(*pid, Signal::SIGKILL);
        }
        first.signal(Signal::SIGKILL);
        first.finish();
        let mut second = start(procession(&words));
        second.wait_for("waiting for what the killed master has left: process");
        assert_eq!(noted(&ledger, "start").len(), 1, "nothing runs beside it");
        fs::write(&gate, "").expect("the folder can be written");
        let end = second.finish();
        check(&end, 1);
        assert_eq!(outcomes(&dir).into_values().collect::<Vec<_>>(), ["unknown", "ok"]);
        assert_eq!(noted(&ledger, "start"), BTreeMap::from([(0, 1), (1, 1)]));
        assert_eq!(noted(&ledger, "end"), noted(&ledger, "start"));
        let shown = run(&["show", &dir, "0"]).stdout;
        assert!(shown.contains("outcome   unknown") && shown.contains("reproduce sh -c "), "{shown}");
    }

    fn one_line_begins_a_run_and_goes_on_with_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [spec, dir, other] = ["job.toml", "run", "other"].map(|name| within(&folder, name));
        fs::write(&spec, format!("task = \"square\"\n[input]\nvalues = [1, 2, 3]\n[run]\ndir = {dir:?}\n")).expect("it can be written");
        // A directory that is there and has no run is as good as none.
        fs::create_dir(&dir).expect("the folder can be written");
        refused(&run(&["run", &spec, "--resume"]), "there is no run in");
        for from_before in ["3 values in", "3 of them from before", "3 of them from before"] {
            let end = run(&["run", &spec, "--resume-or-start"]);
            check(&end, 0);
            assert_eq!(end.lines(), ["1", "4", "9"]);
            assert!(end.stderr.contains(from_before), "{}", end.stderr);
        }
        check(&run(&["run", &spec, "--resume"]), 0);
        check(&run(&["run", &spec, "--run-dir", &other, "--resume-or-start", "--rerun-unknown"]), 0);
        assert_eq!(outcomes(&other).len(), 3);
        refused(&run(&["run", &spec, "--resume", "--resume-or-start"]), "cannot be used with");
        refused(&run(&["exec", "--range", "0..1", "--resume-or-start", "--", "true"]), "add --run-dir DIR");
        refused(&run(&["run", &spec, "--accept-changes"]), "--resume");
        // What is there is another program's.
        fs::write(within(&folder, "run/run.sqlite"), "no database").expect("it can be written");
        let end = run(&["run", &spec, "--resume-or-start"]);
        assert!(end.code() != Some(0) && end.stdout.is_empty(), "{}", end.stderr);
    }

    fn what_was_stopped_halted_or_tried_again_goes_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (ledger, gate) = (Ledger::new("ledger"), within(&folder, "gate"));
        let noted_in = ledger.path();
        let script = "echo \"$1 start\" >> $2; while ! test -e $3; do sleep 0.01; done; echo $1; test $1 != 3";
        let words = |dir: &str, workers: &str, more: &[&str]| -> Vec<String> {
            let begin = ["exec", "-j", workers, "--range", "0..6", "--run-dir", dir, "--no-progress"];
            let end = ["--", "sh", "-c", script, "sh", "{}", &noted_in, &gate];
            [&begin[..], more, &end[..]].concat().into_iter().map(str::to_owned).collect()
        };
        let begin = |words: &[String]| start(procession(&words.iter().map(String::as_str).collect::<Vec<_>>()));
        let all = "0\n1\n2\n3\n4\n5\n";

        // What runs when the first signal comes is finished, and nothing is unknown.
        let dir = within(&folder, "stopped");
        let mut running = begin(&words(&dir, "2", &[]));
        assert!(goes_on(&mut running, || noted(&ledger, "start").len() == 2));
        running.signal(Signal::SIGTERM);
        running.wait_for("finishing what runs");
        fs::write(&gate, "").expect("the folder can be written");
        let end = running.finish();
        assert_eq!((end.signal(), end.stdout.as_str()), (Some(Signal::SIGTERM), "0\n1\n"), "{}", end.stderr);
        assert!(end.stderr.contains("go on with: procession exec -j 2 ") && end.stderr.contains(" --resume -- sh -c "), "{}", end.stderr);
        let end = begin(&words(&dir, "2", &["--resume"])).finish();
        check(&end, 1);
        assert!(end.stdout == all && end.stderr.contains("2 of them from before"), "{}", end.stderr);
        assert!(noted(&ledger, "start").values().all(|times| *times == 1));

        let dir = within(&folder, "halted");
        let end = begin(&words(&dir, "1", &["--halt", "soon,fail=1"])).finish();
        check(&end, 1);
        assert!(end.stdout == "0\n1\n2\n3\n" && end.stderr.contains("go on with: "), "{}", end.stderr);
        let end = begin(&words(&dir, "2", &["--resume"])).finish();
        assert_eq!((end.code(), end.stdout.as_str()), (Some(1), all), "{}", end.stderr);

        let dir = within(&folder, "tried");
        let end = begin(&words(&dir, "2", &["--retries", "2", "--retry-delay", "10ms"])).finish();
        assert_eq!((end.code(), end.stdout.as_str()), (Some(1), all), "{}", end.stderr);
        let shown = run(&["show", &dir, "3"]).stdout;
        assert!(shown.contains("attempts  3\n"), "{shown}");
        assert_eq!(noted(&ledger, "start")[&3], 1 + 1 + 3);
    }
}
