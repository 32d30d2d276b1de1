//! Faults that meet the program as a whole: F23, it is stopped and continued; F25, its output is full; F29, nobody reads
//! it; and I11, the second of two signals that are to end it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use procession_harness::{Report, Signal, Tally, now, repetitions, send_signal, state_of, wait_until};

use crate::matrix::{LIMIT, REPORT_LIMIT, WORKERS};

/// The exit status of a program that cannot write what it has computed.
const UNWRITTEN: i32 = 74;

/// Runs `body` with the program for each number of workers and start method, as often as is wanted.
fn scenes(words: &[&str], mut body: impl FnMut(Command, usize)) {
    for method in ["fork", "forkserver", "spawn"] {
        for workers in WORKERS {
            for _ in 0..repetitions() {
                eprintln!("with {method}, {workers} workers:");
                let mut command = Command::new(env!("CARGO_BIN_EXE_procession"));
                command.args(words).args(["--start-method", method, "-j", &workers.to_string()]);
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                body(command, workers);
            }
        }
    }
}

/// The end of a program whose streams are nearly done: its exit, and the rest that it says.
struct End {
    code: Option<i32>,
    signal: Option<i32>,
    said: String,
}

fn finish(mut program: Child) -> End {
    let status = program.wait().expect("it is our child");
    let mut said = String::new();
    program.stderr.take().expect("it is piped").read_to_string(&mut said).expect("it says text");
    End { code: status.code(), signal: status.signal(), said }
}

/// The program's values, line by line.
fn values(program: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(program.stdout.take().expect("it is piped")).lines();
    lines.map(|line| line.expect("values are text"))
}

fn all_well(items: usize) -> Tally {
    Tally { items: items as u64, ..Tally::default() }
}

procession_harness::cases! {
    fn f23_program_stopped_and_continued() {
        let mut report = Report::new("f23_program_stopped_and_continued");
        scenes(&["map", "faults::sleep", "--chunk-size", "1"], |mut command, workers| {
            // The first tells that the run is under way; none of the others is done before the program is stopped.
            let mut seconds = vec!["0"];
            seconds.extend(vec!["0.2"; 2 * workers]);
            let mut program = command.args(&seconds).spawn().expect("the program starts");
            let mut lines = values(&mut program);
            assert_eq!(lines.next().as_deref(), Some("0.0"));
            send_signal(program.id(), Signal::SIGTSTP);
            let is_stopped = wait_until(LIMIT, || state_of(program.id()) == Some('T'));
            assert!(is_stopped, "it is {:?}", state_of(program.id()));
            send_signal(program.id(), Signal::SIGCONT);
            let rest: Vec<_> = lines.collect();
            let end = finish(program);
            assert_eq!(end.code, Some(0), "{}", end.said);
            assert_eq!(rest, vec!["0.2"; 2 * workers], "{}", end.said);
            report.add(all_well(seconds.len()), None);
        });
        report.finish(REPORT_LIMIT);
    }

    /// Nothing of it can be kept, and it says so of each.
    fn f25_output_on_a_full_device() {
        let mut report = Report::new("f25_output_on_a_full_device");
        scenes(&["map", "square", "--range", "0..10000"], |mut command, _| {
            command.stdout(File::create("/dev/full").expect("there is a full device"));
            let end = finish(command.spawn().expect("the program starts"));
            assert_eq!(end.code, Some(UNWRITTEN), "{}", end.said);
            assert!(end.said.contains("10000 of 10000 outcomes unrecorded"), "{}", end.said);
            report.add(all_well(10_000), None);
        });
        report.finish(REPORT_LIMIT);
    }

    /// As programs in a pipe do, it ends by SIGPIPE. How many items there were is nobody's business any more.
    fn f29_output_that_nobody_reads() {
        let mut report = Report::new("f29_output_that_nobody_reads");
        scenes(&["map", "square", "--range", "0..1000000000"], |mut command, _| {
            let mut program = command.spawn().expect("the program starts");
            let mut lines = values(&mut program);
            assert_eq!((lines.next().as_deref(), lines.next().as_deref()), (Some("0"), Some("1")));
            drop(lines);
            let end = finish(program);
            assert_eq!((end.signal, end.said.as_str()), (Some(Signal::SIGPIPE as i32), ""));
            report.add(Tally::default(), None);
        });
        report.finish(REPORT_LIMIT);
    }

    fn i11_second_signal_to_the_program() {
        let mut report = Report::new("i11_second_signal_to_the_program");
        let words = ["map", "faults::sleep", "--chunk-size", "1", "0", "600", "600", "600"];
        scenes(&words, |mut command, _| {
            let mut program = command.spawn().expect("the program starts");
            let mut lines = values(&mut program);
            assert_eq!(lines.next().as_deref(), Some("0.0"));
            let pid = program.id();
            send_signal(pid, Signal::SIGTERM);
            let mut said = BufReader::new(program.stderr.as_mut().expect("it is piped")).lines();
            let is_heard = said.by_ref().any(|line| line.expect("text").contains("finishing what runs"));
            assert!(is_heard, "the first signal is answered");
            send_signal(pid, Signal::SIGTERM);
            let sent = now();
            let rest: Vec<String> = said.map(|line| line.expect("text")).collect();
            assert_eq!(finish(program).signal, Some(Signal::SIGTERM as i32), "{rest:?}");
            let told = now() - sent;
            assert!(rest.iter().any(|line| line.contains("4 items, 1 value, 3 without (")), "{rest:?}");
            assert_eq!(lines.count(), 0, "nothing else has a value");
            report.add(all_well(4), Some(told));
        });
        // A second is promised; as for crashes, ten times that.
        report.finish(4 * REPORT_LIMIT);
    }
}
