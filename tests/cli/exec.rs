//! Commands for every item: right, ordered and complete whatever some of them do, and none left behind.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use procession_harness::{Ledger, alive, wait_until};

use crate::program::{Finished, procession, run, start, start_as_is, within};

/// Nothing of a test takes so long.
const LIMIT: Duration = Duration::from_secs(60);

/// Names that somebody's quoting has stumbled over.
const NAMES: [&str; 8] =
    ["plain", "two  words", "it's", "\"quoted\"", "$(touch ran)", "-n", "line\nbreak", "back\\slash\t*?"];

/// Runs the program with this text as its standard input, and gives what it wrote to stdout as bytes.
fn run_with(words: &[&str], stdin: &[u8]) -> (Finished, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [input, output] = ["in", "out"].map(|name| within(&folder, name));
    fs::write(&input, stdin).expect("it can be written");
    let mut command = procession(words);
    command.stdin(File::open(&input).expect("it was written"));
    command.stdout(File::create(&output).expect("it can be written"));
    let end = start_as_is(command).finish();
    (end, fs::read(&output).expect("it was written"))
}

fn zero_ended(words: &[&str]) -> Vec<u8> {
    words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect()
}

fn failures(path: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).expect("failures were written");
    text.lines().map(|line| serde_json::from_str(line).expect("a failure is a JSON line")).collect()
}

procession_harness::cases! {
    /// Some crash, hang, fail or print a megabyte; the names are what they are, and what is printed is no UTF-8.
    fn two_hundred_files_and_everything_that_can_go_wrong() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut names, mut wanted) = (Vec::new(), Vec::new());
        let mut outcomes = BTreeMap::new();
        for index in 0..200_u64 {
            let name = format!("{index} {}", NAMES[index as usize % NAMES.len()]);
            let content = [format!("file {index}\n").as_bytes(), b"\xff\0end"].concat();
            File::create(folder.path().join(&name)).and_then(|mut file| file.write_all(&content)).expect("a file");
            wanted.extend_from_slice(&content);
            match index % 20 {
                3 => drop(outcomes.insert(index, ("killed", None, Some(11)))),
                7 => drop(outcomes.insert(index, ("timed_out", None, Some(15)))),
                11 => wanted.extend_from_slice(&vec![b'x'; 1 << 20]),
                15 => drop(outcomes.insert(index, ("exit_status", Some(5), None))),
                _ => {}
            }
            names.push(name);
        }
        let script = "cat \"$1\"; case $(($2 % 20)) in 3) kill -SEGV $$;; 7) exec sleep 600;; \
            11) head -c 1048576 /dev/zero | tr '\\0' x;; 15) echo no luck >&2; exit 5;; esac";
        let failed = within(&folder, "failed.jsonl");
        let cwd = folder.path().to_str().expect("it is text");
        let words = ["exec", "-0", "-j", "8", "--timeout", "4s", "--cwd", cwd, "--failures", &failed, "--"];
        let words = [&words[..], &["sh", "-c", script, "sh", "./{}", "{index}"]].concat();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (end, stdout) = run_with(&words, &zero_ended(&names));
        assert_eq!(end.code(), Some(1), "{}", end.stderr);
        assert!(stdout == wanted, "{} bytes instead of {}", stdout.len(), wanted.len());
        let failed = failures(&failed);
        let seen = failed.iter().map(|failure| {
            let number = |key: &str| failure[key].as_i64();
            let index = failure["index"].as_u64().expect("it has an index");
            (index, (failure["outcome"].as_str().expect("an outcome"), number("exit"), number("signal")))
        });
        assert_eq!(seen.collect::<BTreeMap<_, _>>(), outcomes);
        let tails = failed.iter().filter(|failure| failure["stderr_tail"] == "no luck\n").count();
        assert_eq!((tails, end.stderr.matches("\nno luck\n").count()), (10, 10), "{}", end.stderr);
        let summary = "200 items, 170 values, 30 without (10 exit status not 0, 10 killed by a signal, 10 timed out)";
        assert!(end.stderr.contains(summary), "wanted {summary} in:\n{}", end.stderr);
        assert!(!folder.path().join("ran").exists(), "a name was run as a script");
    }

    /// What people use today gets the same words, and gives the same output.
    fn words_are_those_that_xargs_and_parallel_give() {
        let (end, ours) = run_with(&["exec", "-0", "-j", "3", "--quiet", "--", "printf", "<%s>\\n"], &zero_ended(&NAMES));
        assert_eq!((end.code(), end.stderr.as_str()), (Some(0), ""));
        let wanted: String = NAMES.iter().map(|name| format!("<{name}>\n")).collect();
        assert_eq!(String::from_utf8_lossy(&ours), wanted);
        for theirs in [
            &["xargs", "-0", "-n", "1", "printf", "<%s>\\n"][..],
            &["parallel", "--will-cite", "--keep-order", "-0", "printf", "'<%s>\\n'"],
        ] {
            let mut command = Command::new(theirs[0]);
            command.args(&theirs[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let Ok(mut child) = command.spawn() else {
                println!("skipped: no `{}` here to compare with", theirs[0]);
                continue;
            };
            child.stdin.take().expect("it is piped").write_all(&zero_ended(&NAMES)).expect("it reads");
            let output = child.wait_with_output().expect("it ends");
            assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{theirs:?}");
        }
    }

    fn a_script_gets_values_and_never_reads_them() {
        let script = "printf '<%s>' {} \"{}\" '{}' \"$(printf %s {})\"";
        let (end, stdout) = run_with(&["exec", "-0", "--shell", "--quiet", "--", script], &zero_ended(&NAMES));
        assert_eq!((end.code(), end.stderr.as_str()), (Some(0), ""));
        let wanted: String = NAMES.iter().map(|name| format!("<{name}>").repeat(4)).collect();
        assert_eq!(String::from_utf8_lossy(&stdout), wanted);
    }

    fn output_comes_whole_in_any_order() {
        let script = "for i in 1 2 3; do echo {} $i; echo {} $i >&2; done";
        let words = ["exec", "-u", "-j", "4", "--range", "0..40", "--shell", "--quiet", "--", script];
        let end = run(&words);
        assert_eq!(end.code(), Some(0));
        for text in [&end.stdout, &end.stderr] {
            let lines: Vec<&str> = text.lines().collect();
            let mut items: Vec<&str> = Vec::new();
            for three in lines.chunks(3) {
                let item = three[0].split(' ').next().expect("a word");
                assert_eq!(three, [1, 2, 3].map(|i| format!("{item} {i}")), "torn apart");
                items.push(item);
            }
            items.sort_unstable_by_key(|item| item.parse::<u32>().expect("a number"));
            assert_eq!(items, (0..40).map(|item| item.to_string()).collect::<Vec<_>>());
        }
    }

    fn output_goes_to_a_file_for_each_command() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (outputs, failed) = (within(&folder, "outputs"), within(&folder, "failed.jsonl"));
        let words = ["exec", "--range", "0..3", "--output-dir", &outputs, "--failures", &failed, "--quiet"];
        let end = run(&[&words[..], &["--shell", "--", "echo out {}; echo err {} >&2; exit {}"]].concat());
        assert_eq!((end.code(), end.stdout.as_str()), (Some(1), ""), "{}", end.stderr);
        for index in 0..3 {
            for (stream, word) in [("stdout", "out"), ("stderr", "err")] {
                let text = fs::read_to_string(format!("{outputs}/{index}.{stream}")).expect("it was written");
                assert_eq!(text, format!("{word} {index}\n"));
            }
        }
        let tails: Vec<_> = failures(&failed).iter().map(|failure| failure["stderr_tail"].clone()).collect();
        assert_eq!(tails, ["err 1\n", "err 2\n"]);
    }

    fn every_command_is_an_object_if_wanted() {
        let words = ["exec", "--format", "jsonl", "--quiet", "--values", "0", "7", "/nowhere/at/all", "--shell"];
        let end = run(&[&words[..], &["--", "printf 'o\\377'; echo e >&2; exit {}"]].concat());
        let lines: Vec<serde_json::Value> =
            end.lines().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!((lines.len(), end.code()), (3, Some(1)));
        assert_eq!((&lines[0]["exit"], &lines[0]["stdout"], &lines[0]["stderr"]), (&0.into(), &"o\u{fffd}".into(), &"e\n".into()));
        assert_eq!((&lines[1]["index"], &lines[1]["exit"]), (&1.into(), &7.into()));
        assert_eq!(lines[1]["argv"][4], "7");
        let end = run(&["exec", "--format", "jsonl", "--quiet", "--range", "0..1", "--", "/nowhere/at/all"]);
        let line: serde_json::Value = serde_json::from_str(&end.stdout).expect("JSON");
        assert!(line["error"].as_str().is_some_and(|error| error.starts_with("cannot run `/nowhere/at/all`")));
        assert_eq!(line["exit"], serde_json::Value::Null);
    }

    fn two_signals_end_commands_and_what_they_have_started() {
        let ledger = Ledger::new("ledger");
        let script = format!("sleep 600 & echo $! >> '{0}'; echo $$ >> '{0}'; wait", ledger.path());
        let mut running = start(procession(&["exec", "-j", "2", "--range", "0..4", "--shell", "--", &script]));
        let pids = || -> Vec<u32> {
            let text = fs::read_to_string(ledger.path()).unwrap_or_default();
            text.lines().filter_map(|line| line.parse().ok()).collect()
        };
        assert!(wait_until(LIMIT, || pids().len() == 4), "two commands are started");
        running.signal(Signal::SIGINT);
        running.wait_for("SIGINT: finishing what runs");
        assert!(pids().into_iter().all(alive), "the first signal stops nothing");
        running.signal(Signal::SIGINT);
        let end = running.finish();
        assert_eq!(end.signal(), Some(Signal::SIGINT), "{}", end.stderr);
        let summary = "4 items, 0 values, 4 without (2 not run, 2 stopped while running)";
        assert!(end.stderr.contains(summary), "wanted {summary} in:\n{}", end.stderr);
        assert!(wait_until(LIMIT, || !pids().into_iter().any(alive)), "they outlive the program");
    }

    fn commands_have_the_grace_to_clean_up() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let gate = within(&folder, "gate");
        let script = format!("trap 'echo cleaned > {{}}; exit 3' TERM; echo > {gate}; while :; do sleep 0.05; done");
        let made = within(&folder, "made");
        let mut running = start(procession(&["exec", "--values", &made, "--shell", "--", &script]));
        assert!(wait_until(LIMIT, || Path::new(&gate).exists()), "it is under way");
        running.signal(Signal::SIGTERM);
        running.wait_for("SIGTERM: finishing what runs");
        running.signal(Signal::SIGTERM);
        let end = running.finish();
        assert_eq!(end.signal(), Some(Signal::SIGTERM), "{}", end.stderr);
        assert_eq!(fs::read_to_string(&made).expect("it has cleaned up"), "cleaned\n");
    }

    /// A command that its limit ends costs no worker, and takes all with it, also what went into a session of its own.
    fn a_time_limit_ends_all_of_a_command_and_nothing_else() {
        let ledger = Ledger::new("ledger");
        let script =
            format!("case {{}} in 1) setsid sh -c 'echo $$ >> {0}; exec sleep 600' & sleep 600;; *) echo {{}};; esac", ledger.path());
        let words = ["exec", "-j", "1", "--timeout", "2s", "--range", "0..3", "--shell", "--", &script];
        let end = run(&words);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(1), "0\n2\n"), "{}", end.stderr);
        let noted = fs::read_to_string(ledger.path()).expect("the command noted it");
        let pid: u32 = noted.trim().parse().expect("a number");
        assert!(!alive(pid), "it outlives its command");
        assert!(end.stderr.contains("timed out after 2."), "{}", end.stderr);
        assert!(!end.stderr.contains("restart"), "a worker was lost: {}", end.stderr);
    }

    /// A worker that is killed takes its command with it; a command that may be started again is.
    fn a_lost_worker_costs_one_command_unless_it_may_run_again() {
        // The parent of a command is its worker. It dies once, at the first attempt.
        let script = "echo {index}; test {index} != 1 || test $PROCESSION_ATTEMPT != 1 || { kill -KILL $PPID; sleep 600; }";
        let words = ["exec", "-j", "2", "--range", "0..4", "--quiet", "--shell", "--", script];
        let end = run(&words);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(1), "0\n2\n3\n"), "{}", end.stderr);
        assert!(end.stderr.contains("worker lost: `exec::command`, item 1, attempt 1"), "{}", end.stderr);
        let end = run(&[&["exec", "--idempotent"], &words[1..]].concat());
        assert_eq!((end.code(), end.stdout.as_str()), (Some(0), "0\n1\n2\n3\n"), "{}", end.stderr);
    }
}
