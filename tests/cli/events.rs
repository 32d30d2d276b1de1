//! `--events`: the stream of a run with every kind of trouble, held against its schema and the other files of the run.

use std::fs;

use procession_harness::wait_until;
use serde_json::Value;

use crate::program::{example, procession, run, start, within};

const SCHEMA: &str = include_str!("../../docs/events.schema.json");

/// Holds a line of a stream against the schema.
pub(crate) fn check(event: &Value) {
    let schema = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let schema = jsonschema::validator_for(&schema).expect("the schema is one");
    let flaws: Vec<String> = schema.iter_errors(event).map(|flaw| flaw.to_string()).collect();
    assert!(flaws.is_empty(), "{flaws:?} in {event}");
}

/// Every line of a stream, valid by the schema.
pub(crate) fn events(text: &str) -> Vec<Value> {
    let schema = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let schema = jsonschema::validator_for(&schema).expect("the schema is one");
    let mut events = Vec::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).expect("an event is a JSON line");
        let flaws: Vec<String> = schema.iter_errors(&event).map(|flaw| flaw.to_string()).collect();
        assert!(flaws.is_empty(), "{flaws:?} in {line}");
        events.push(event);
    }
    events
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

/// The outcomes of a stream, by item.
fn outcomes(events: &[Value]) -> Vec<(u64, String)> {
    let finished = of_kind(events, "item_finished");
    let outcome = |event: &&Value| {
        let outcome = event["outcome"].as_str().expect("it has an outcome").to_owned();
        (event["index"].as_u64().expect("it has an index"), outcome)
    };
    let mut outcomes: Vec<_> = finished.iter().map(outcome).collect();
    outcomes.sort();
    outcomes
}

procession_harness::cases! {
    fn every_kind_of_trouble_is_told_by_the_schema() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [rows, stream, values] = ["rows.jsonl", "events.jsonl", "values.jsonl"].map(|name| within(&folder, name));
        fs::write(&rows, "\"sleep 0\"\n7\n\"kill -SEGV $PPID\"\n\"exit 3\"\n\"sleep 600\"\n\"kill $$\"\n").expect("rows");
        fs::write(&stream, "what an earlier run told\n").expect("it is written");
        let words = ["exec", "-j", "2", "--jsonl", &rows, "--timeout", "500ms", "--skip-invalid", "-o", &values];
        let words = [&words[..], &["--events", &stream, "--chunk-size", "1", "--shell", "eval {}"]].concat();
        let end = run(&words);
        assert_eq!(end.code(), Some(1), "{}", end.stderr);
        let events = events(&fs::read_to_string(&stream).expect("the stream was written"));
        let wanted = ["ok", "not_started", "worker_lost", "exit_status", "timed_out", "killed"];
        let told = outcomes(&events);
        assert_eq!(told.len(), 6, "{told:?}");
        for (index, outcome) in &told {
            let wanted = wanted[*index as usize];
            assert!(outcome == wanted || *index == 1, "item {index}: {outcome}, not {wanted}");
        }
        assert_eq!(events[0]["event"], "run_started");
        let last = events.last().expect("there are events");
        assert_eq!((&last["event"], &last["ending"]), (&"run_finished".into(), &"incomplete".into()), "{last}");
        assert_eq!(last["items"], 6, "{last}");
        // The crash: the worker, its item, and its successor.
        let lost = of_kind(&events, "item_finished").into_iter().find(|event| event["index"] == 2).expect("it is told");
        let exits = of_kind(&events, "worker_exited");
        let exit = exits.iter().find(|event| event["running"] == true).expect("a worker was lost");
        assert_eq!((&exit["pid"], &exit["signal"]), (&lost["pid"], &11.into()), "{exit} {lost}");
        assert_eq!(of_kind(&events, "worker_started").len(), exits.len(), "every worker that came has gone");
        assert_eq!(exits.len(), 3, "{exits:?}");
        let restarts = of_kind(&events, "worker_started").into_iter().filter(|event| event["restart"] == 1);
        assert_eq!(restarts.map(|event| &event["worker"]).collect::<Vec<_>>(), [&lost["worker"]]);
    }

    fn panics_and_rows_without_arguments_are_told_in_the_input_s_numbers() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [rows, values] = ["rows.jsonl", "values.jsonl"].map(|name| within(&folder, name));
        fs::write(&rows, "\"one\"\n-1\n0.001\n").expect("the rows are written");
        let words = ["map", "faults::sleep", "-j", "1", "--jsonl", &rows, "--skip-invalid", "-o", &values, "--events", "-"];
        let end = run(&words);
        let events = events(&end.stdout);
        let told = outcomes(&events);
        let wanted = [(0, "invalid_input"), (1, "panicked"), (2, "ok")].map(|(index, outcome)| (index, outcome.to_owned()));
        assert_eq!(told, wanted);
        let ok = of_kind(&events, "item_finished").into_iter().find(|event| event["index"] == 2).expect("it is told");
        assert!(ok["wall_s"].as_f64().expect("it was measured") >= 0.001, "{ok}");
        assert_eq!(fs::read_to_string(&values).expect("the values were written"), "0.001\n");
        let last = events.last().expect("there are events");
        assert_eq!(last["without"], serde_json::json!({"invalid_input": 1, "panicked": 1}), "{last}");
    }

    fn an_outcome_is_told_before_those_in_front_of_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [stream, values] = ["events.jsonl", "values.jsonl"].map(|name| within(&folder, name));
        let words = ["map", "faults::sleep", "-j", "2", "--chunk-size", "1", "-o", &values, "--events", &stream, "600", "0"];
        let mut running = start(procession(&words));
        let told = || fs::read_to_string(&stream).unwrap_or_default().contains(r#""index":1,"outcome":"ok""#);
        assert!(wait_until(std::time::Duration::from_secs(60), told), "{}", running.said());
        running.signal(nix::sys::signal::Signal::SIGTERM);
        running.wait_for("once more to stop it");
        running.signal(nix::sys::signal::Signal::SIGTERM);
        running.finish();
        let events = events(&fs::read_to_string(&stream).expect("the stream was written"));
        assert_eq!(outcomes(&events), [(0, "terminated".to_owned()), (1, "ok".to_owned())]);
        let told = of_kind(&events, "run_stopping").into_iter().map(|event| (&event["how"], &event["reason"]));
        let wanted = [("drain".into(), "SIGTERM".into()), ("stop".into(), "SIGTERM".into())];
        assert!(told.eq(wanted.iter().map(|(how, reason)| (how, reason))), "{events:?}");
        let last = events.last().expect("there are events");
        assert_eq!((&last["ending"], &last["signal"]), (&"signalled".into(), &15.into()), "{last}");
        // The output has its order all the same.
        assert_eq!(fs::read_to_string(&values).expect("the values were written"), "0.0\n");
    }

    fn what_happens_to_the_run_as_a_whole_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let values = within(&folder, "values.jsonl");
        let map = ["map", "faults::sleep", "-j", "1", "--chunk-size", "1", "-o", &values, "--events", "-"];
        for (more, wanted) in [
            (&["--halt", "soon,fail=1", "-1", "0", "0"][..], ("run_stopping", "how", "drain")),
            (&["--halt", "now,fail=1", "-1", "0", "0"], ("run_stopping", "how", "stop")),
            (&["--max-load", "0.000001", "0", "--halt", "soon,done=1"], ("run_held", "event", "run_held")),
        ] {
            let mut running = start(procession(&[&map[..], more].concat()));
            let (kind, key, value) = wanted;
            let event = loop {
                let line = running.line();
                assert!(!line.is_empty(), "no {kind}: {}", running.said());
                let event: Value = serde_json::from_str(&line).expect("an event is a JSON line");
                check(&event);
                if event["event"] == kind {
                    break event;
                }
            };
            assert_eq!(event[key], value, "{event}");
            assert!(event["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{event}");
            running.signal(nix::sys::signal::Signal::SIGKILL);
            running.finish();
        }
    }

    fn a_pause_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [stream, values] = ["events.jsonl", "values.jsonl"].map(|name| within(&folder, name));
        let words = ["map", "faults::sleep", "-j", "1", "--chunk-size", "1", "-o", &values, "--events", &stream, "0", "600"];
        let mut running = start(procession(&words));
        let limit = std::time::Duration::from_secs(60);
        let text = || fs::read_to_string(&stream).unwrap_or_default();
        assert!(wait_until(limit, || text().contains("item_finished")), "{}", running.said());
        running.signal(nix::sys::signal::Signal::SIGTSTP);
        let is_stopped = || procession_harness::state_of(running.pid()) == Some('T');
        assert!(wait_until(limit, is_stopped), "{}", text());
        running.signal(nix::sys::signal::Signal::SIGCONT);
        assert!(wait_until(limit, || text().contains("run_resumed")), "{}", text());
        let events = events(&text());
        let pauses = of_kind(&events, "run_resumed");
        assert!(pauses.len() == 1 && pauses[0]["paused_s"].as_f64() > Some(0.0), "{pauses:?}");
        running.signal(nix::sys::signal::Signal::SIGKILL);
        running.finish();
    }

    fn a_deadline_is_told_although_every_row_was_taken_in() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (spec, stream) = (within(&folder, "late.toml"), within(&folder, "events.jsonl"));
        let text = "task = \"faults::sleep\"\n[pool]\nworkers = 2\ndeadline = \"300ms\"\n[input]\nrepeat = 4\nargs = [60]\n";
        fs::write(&spec, text).expect("a spec is written");
        let end = run(&["run", &spec, "--events", &stream]);
        assert_eq!(end.code(), Some(1), "{}", end.stderr);
        let events = events(&fs::read_to_string(&stream).expect("the stream was written"));
        let stops = of_kind(&events, "run_stopping");
        assert!(stops.len() == 1 && stops[0]["how"] == "stop", "{stops:?}");
        assert_eq!(stops[0]["reason"], "the deadline of the run passed");
        assert_eq!(end.stderr.matches("the deadline of the run passed").count(), 1, "{}", end.stderr);
    }

    fn a_pool_that_gives_up_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let values = within(&folder, "values.jsonl");
        // Every item ends its worker.
        let args = "input.args=[\"{index}\", 1, \"segv\"]";
        let words = ["run", &example("faults.toml"), "--set", args, "--workers", "2", "-o", &values, "--events", "-"];
        let end = run(&words);
        assert_eq!(end.code(), Some(70), "{}", end.stderr);
        let events = events(&end.stdout);
        let broken = of_kind(&events, "pool_broken");
        assert!(broken.len() == 1 && broken[0]["reason"].as_str().is_some_and(|why| !why.is_empty()), "{broken:?}");
        assert_eq!(events.last().expect("there are events")["ending"], "broken");
    }

    fn events_are_not_mixed_with_values() {
        let end = run(&["map", "square", "1", "--events", "-"]);
        assert_eq!(end.code(), Some(2), "{}", end.stderr);
        assert!(end.stderr.contains("events would be mixed with the results on stdout"), "{}", end.stderr);
    }

    fn a_full_disk_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let values = within(&folder, "values.jsonl");
        let end = run(&["map", "square", "--range", "0..100000", "-o", &values, "--events", "/dev/full"]);
        assert_eq!(end.code(), Some(74), "{}", end.stderr);
        assert!(end.stderr.contains("cannot write to /dev/full"), "{}", end.stderr);
    }
}
