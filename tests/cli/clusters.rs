//! Jobs over agents, as they are typed: the same results as here, whatever ends meanwhile.

use std::fs;

use nix::sys::signal::Signal;

use crate::broker::Broker;
use crate::program::{Finished, Running, example, procession, run, start, within};

/// A broker and agents with a worker each.
struct Scene {
    broker: Broker,
    agents: Vec<Running>,
}

impl Scene {
    fn start(agents: usize) -> Option<Scene> {
        let mut scene = Scene { broker: Broker::start()?, agents: Vec::new() };
        (0..agents).for_each(|_| scene.agent());
        Some(scene)
    }

    fn agent(&mut self) {
        let mut agent = start(procession(&["agent", "--engine", &self.broker.address(), "--workers", "1"]));
        agent.wait_for("is there");
        self.agents.push(agent);
    }

    fn job<'a>(&self, words: &[&'a str], address: &'a str) -> Running {
        start(procession(&[words, &["--engine", address, "--no-progress"]].concat()))
    }

    /// Asks every agent to leave, which it does in order.
    fn end(self) {
        self.agents.iter().for_each(|agent| agent.signal(Signal::SIGTERM));
        for agent in self.agents {
            let end = agent.finish();
            assert_eq!(end.signal(), Some(Signal::SIGTERM), "{}", end.stderr);
            assert!(end.stderr.contains("finishing what runs, then leaving"), "{}", end.stderr);
        }
    }
}

/// A job of so many items that sleep for so many seconds.
fn write_sleeps(spec: &str, items: u32, seconds: f64) {
    let text = format!(
        "task = \"faults::sleep\"\n[pool]\nchunk_size = 1\n[input]\nrepeat = {items}\nargs = [{seconds:?}]\n"
    );
    fs::write(spec, text).expect("it can be written");
}

fn check_same(here: &Finished, there: &Finished) {
    assert_eq!(here.code(), there.code(), "{}", there.stderr);
    assert_eq!(here.stdout, there.stdout, "{}", there.stderr);
}

procession_harness::cases! {
    fn clusters_give_the_examples_results_byte_for_byte() {
        let Some(scene) = Scene::start(3) else { return };
        for (name, code) in [("pi.toml", 0), ("faults.toml", 1), ("powers.toml", 0)] {
            let (job, address) = (example(name), scene.broker.address());
            let here = run(&["run", &job, "--no-progress"]);
            let there = scene.job(&["run", &job], &address).finish();
            assert_eq!(here.code(), Some(code), "{}", here.stderr);
            check_same(&here, &there);
        }
        scene.end();
    }

    fn clusters_give_the_same_bytes_whatever_dies() {
        // An agent that dies takes with it what may start once at most, such as items of faults.toml: that is told, and not the same.
        let fates = [("pi.toml", "agent"), ("pi.toml", "broker"), ("pi.toml", "job")];
        for (name, fate) in fates.into_iter().chain([("faults.toml", "broker"), ("faults.toml", "job")]) {
            let Some(mut scene) = Scene::start(3) else { return };
            let (folder, address) = (tempfile::tempdir().expect("a temporary folder"), scene.broker.address());
            let [dir, values, wanted] = ["run", "values.jsonl", "here.jsonl"].map(|name| within(&folder, name));
            let path = example(name);
            let here = run(&["run", &path, "--no-progress", "--output", &wanted]);
            let words = ["run", &path, "--run-dir", &dir, "--output", &values];
            let mut there = scene.job(&words, &address);
            there.wait_for("takes part");
            match fate {
                "agent" => {
                    let killed = scene.agents.remove(0);
                    killed.signal(Signal::SIGKILL);
                    killed.finish();
                }
                "broker" => {
                    scene.broker.kill();
                    scene.broker.restart();
                }
                _ => there.signal(Signal::SIGKILL),
            }
            let mut end = there.finish();
            if fate == "job" && end.signal() == Some(Signal::SIGKILL) {
                end = scene.job(&[&words[..], &["--resume"]].concat(), &address).finish();
            }
            check_same(&here, &end);
            let [values, wanted] = [values, wanted].map(|path| fs::read(path).expect("it was written"));
            assert!(values == wanted, "{name}, {fate}: {}", end.stderr);
            scene.end();
        }
    }

    fn clusters_lose_nothing_with_an_agent_that_is_killed_or_leaves() {
        let Some(mut scene) = Scene::start(3) else { return };
        let (folder, address) = (tempfile::tempdir().expect("a temporary folder"), scene.broker.address());
        let spec = within(&folder, "job.toml");
        write_sleeps(&spec, 80, 0.05);
        let here = run(&["run", &spec, "--no-progress"]);
        let mut there = scene.job(&["run", &spec], &address);
        (0..10).for_each(|_| drop(there.line()));
        let killed = scene.agents.remove(0);
        killed.signal(Signal::SIGKILL);
        killed.finish();
        let left = scene.agents.remove(0);
        left.signal(Signal::SIGTERM);
        let left = left.finish();
        assert_eq!(left.signal(), Some(Signal::SIGTERM), "{}", left.stderr);
        let there = there.finish();
        assert_eq!(there.code(), Some(0), "{}", there.stderr);
        assert_eq!(there.lines().len(), here.lines().len() - 10);
        scene.end();
    }

    fn clusters_lose_nothing_with_an_agent_that_is_stopped() {
        let Some(mut scene) = Scene::start(2) else { return };
        let (folder, address) = (tempfile::tempdir().expect("a temporary folder"), scene.broker.address());
        let spec = within(&folder, "job.toml");
        write_sleeps(&spec, 10, 1.0);
        let mut job = scene.job(&["run", &spec], &address);
        assert_eq!(job.line(), "1.0");
        // Twice: what runs is stopped, here alone.
        let mut stopped = scene.agents.remove(0);
        stopped.signal(Signal::SIGTERM);
        stopped.wait_for("finishing what runs");
        stopped.signal(Signal::SIGTERM);
        stopped.wait_for("stopping what runs");
        assert_eq!(stopped.finish().signal(), Some(Signal::SIGTERM));
        let end = job.finish();
        assert_eq!((end.code(), end.lines().len()), (Some(0), 9), "{}", end.stderr);
        scene.end();
    }

    fn clusters_show_who_runs_what() {
        let Some(mut scene) = Scene::start(2) else { return };
        let (folder, address) = (tempfile::tempdir().expect("a temporary folder"), scene.broker.address());
        let [spec, dir, stream] = ["job.toml", "run", "events.jsonl"].map(|name| within(&folder, name));
        let text = "task = \"faults::die_every\"\n[pool]\nchunk_size = 1\n[input]\nrepeat = 60\nargs = [\"{index}\", 20, \"segv\"]\n";
        fs::write(&spec, text).expect("it can be written");
        let words = ["run", &spec, "--run-dir", &dir, "--events", &stream];
        let end = scene.job(&words, &address).finish();
        assert_eq!(end.code(), Some(1), "{}", end.stderr);
        let events = crate::events::events(&fs::read_to_string(&stream).expect("the stream was written"));
        let joined: Vec<_> = events.iter().filter(|event| event["event"] == "agent_joined").collect();
        let names: Vec<&str> = joined.iter().filter_map(|event| event["agent"].as_str()).collect();
        assert!(!names.is_empty() && events[0]["workers"] == 0, "{joined:?}");
        // Of those that were lost as well it is told who had them.
        let items: Vec<_> = events.iter().filter(|event| event["event"] == "item_finished").collect();
        assert!(items.len() == 60 && items.iter().all(|item| names.contains(&item["agent"].as_str().unwrap_or_default())));
        let lost: Vec<_> = items.iter().filter(|item| item["outcome"] == "worker_lost").collect();
        assert!(lost.len() == 3 && lost.iter().all(|item| item["started_at"].is_f64()), "{lost:?}");
        // While it runs: who has what, also of one that is gone.
        write_sleeps(&spec, 400, 0.05);
        let [dir, page, trace] = ["second", "report.html", "trace.json"].map(|name| within(&folder, name));
        let mut job = scene.job(&["run", &spec, "--run-dir", &dir], &address);
        let agents = || {
            let status: serde_json::Value = serde_json::from_str(&run(&["status", &dir, "--json"]).stdout).unwrap_or_default();
            status["agents"].as_array().cloned().unwrap_or_default()
        };
        let items = |agent: &serde_json::Value| agent["items"].as_u64().unwrap_or_default();
        let within_limit = |what: &str, is_so: &dyn Fn() -> bool| {
            assert!(procession_harness::wait_until(std::time::Duration::from_secs(15), is_so), "{what}: {:?}", agents());
        };
        within_limit("both have run some", &|| {
            agents().iter().filter(|agent| items(agent) > 0 && agent["chunks"] != 0).count() == 2
        });
        job.signal(Signal::SIGUSR1);
        job.wait_for(" in hand");
        let left = scene.agents.remove(0);
        left.signal(Signal::SIGTERM);
        left.finish();
        let is_gone = |agent: &serde_json::Value| agent["leaving"] == "left" && agent["chunks"] == 0;
        within_limit("one has left", &|| agents().iter().filter(|agent| is_gone(agent)).count() == 1);
        let text = run(&["status", &dir]).stdout;
        assert!(text.contains(", left after ") && text.contains("/s in the last minute, "), "{text}");
        assert_eq!(job.finish().code(), Some(0));
        let agents = agents();
        assert_eq!((agents.len(), agents.iter().map(items).sum::<u64>()), (2, 400), "{agents:?}");
        let report = run(&["report", &dir, "-o", &page, "--trace", &trace]);
        assert_eq!(report.code(), Some(0), "{}", report.stderr);
        let (page, trace) = (fs::read_to_string(&page).expect("a page"), fs::read_to_string(&trace).expect("a trace"));
        for agent in agents {
            let lane = format!("{}, worker 0", agent["name"].as_str().expect("it has a name"));
            assert!(page.contains(&lane) && trace.contains(&lane), "{lane} is missing");
        }
        scene.end();
    }

    fn clusters_wait_for_a_broker_that_was_killed() {
        let Some(mut scene) = Scene::start(2) else { return };
        let (folder, address) = (tempfile::tempdir().expect("a temporary folder"), scene.broker.address());
        let spec = within(&folder, "job.toml");
        write_sleeps(&spec, 300, 0.05);
        let mut job = scene.job(&["run", &spec], &address);
        (0..10).for_each(|_| drop(job.line()));
        scene.broker.kill();
        job.wait_for("the broker is gone");
        scene.broker.restart();
        job.wait_for("the broker is there again");
        let end = job.finish();
        assert_eq!((end.code(), end.lines().len()), (Some(0), 290), "{}", end.stderr);
        scene.end();
    }

    fn clusters_go_on_with_a_job_that_was_killed() {
        let Some(scene) = Scene::start(2) else { return };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [spec, ledger, dir, values] =
            ["job.toml", "ledger", "run", "values.jsonl"].map(|name| within(&folder, name));
        let text = format!(
            "task = \"faults::note\"\n[pool]\nchunk_size = 1\n[input]\nrepeat = 300\nargs = [{ledger:?}, \"{{index}}\", 0.03]\n"
        );
        fs::write(&spec, text).expect("it can be written");
        let address = scene.broker.address();
        let words = ["run", &spec, "--run-dir", &dir, "--output", &values];
        let first = scene.job(&words, &address);
        let seen = || fs::read_to_string(&ledger).unwrap_or_default().lines().count();
        assert!(procession_harness::wait_until(std::time::Duration::from_secs(60), || seen() > 20));
        first.signal(Signal::SIGKILL);
        let first = first.finish();
        assert_eq!(first.signal(), Some(Signal::SIGKILL), "{}", first.stderr);
        // Somebody who runs it here would run items twice.
        let here = run(&["run", &spec, "--run-dir", &dir, "--output", &values, "--resume"]);
        assert_eq!(here.code(), Some(2), "{}", here.stderr);
        assert!(here.stderr.contains("was begun with --engine"), "{}", here.stderr);
        let end = scene.job(&[&words[..], &["--resume"]].concat(), &address).finish();
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        // It may start once at most, and did.
        let text = fs::read_to_string(&ledger).expect("it was written");
        let mut starts: Vec<u64> = text.lines().map(|line| line.parse().expect("an item")).collect();
        starts.sort_unstable();
        assert_eq!(starts, (0..300).collect::<Vec<_>>());
        assert_eq!(fs::read_to_string(&values).expect("it was written").lines().count(), 300);
        scene.end();
    }

    fn clusters_forget_a_job_that_nobody_goes_on_with() {
        let Some(scene) = Scene::start(1) else { return };
        let (folder, address) = (tempfile::tempdir().expect("a temporary folder"), scene.broker.address());
        let [spec, dir] = ["job.toml", "run"].map(|name| within(&folder, name));
        write_sleeps(&spec, 300, 0.1);
        let plan = run(&["run", &spec, "--engine", &address, "--dry-run"]);
        assert!(plan.stdout.contains(&format!("workers   those of agents, by {address}\n")), "{plan:?}");
        let list = ["jobs", "--engine", &address];
        let listed = || {
            let end = run(&[&list[..], &["--json"]].concat());
            assert_eq!(end.code(), Some(0), "{}", end.stderr);
            let json = |line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON");
            end.lines().into_iter().map(json).collect::<Vec<_>>()
        };
        assert_eq!(listed(), Vec::<serde_json::Value>::new());
        let mut job = scene.job(&["run", &spec, "--run-dir", &dir], &address);
        assert_eq!(job.line(), "0.1");
        let name = fs::read_to_string(within(&folder, "run/cluster-job")).expect("it was written");
        let forget = [&list[..], &["--forget", &name]].concat();
        let end = run(&forget);
        assert_eq!(end.code(), Some(2), "{}", end.stderr);
        assert!(end.stderr.contains("somebody listens to the agents of job "), "{}", end.stderr);
        let text = run(&list).stdout;
        assert!(text.starts_with(&name) && text.contains("faults::sleep: its master is there; "), "{text}");
        job.signal(Signal::SIGKILL);
        job.finish();
        let [left] = &listed()[..] else { panic!("{:?}", listed()) };
        assert!(left["job"] == *name && left["has_master"] == false, "{left}");
        assert!(left["chunks_waiting"].as_u64() > Some(0) && left["bytes"].as_u64() > Some(0), "{left}");
        let end = run(&forget);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(0), ""), "{}", end.stderr);
        assert_eq!(listed(), Vec::<serde_json::Value>::new());
        let end = run(&forget);
        assert_eq!(end.code(), Some(2), "{}", end.stderr);
        assert!(end.stderr.contains(&format!("the broker has no job {name}")), "{}", end.stderr);
        // The agent is free, and what was forgotten only runs again.
        let end = scene.job(&["run", &spec, "--run-dir", &dir, "--resume"], &address).finish();
        assert_eq!((end.code(), end.lines().len()), (Some(0), 300), "{}", end.stderr);
        scene.end();
    }

    fn clusters_start_nothing_again_that_was_forgotten() {
        let Some(scene) = Scene::start(2) else { return };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [spec, ledger, dir, values] =
            ["job.toml", "ledger", "run", "values.jsonl"].map(|name| within(&folder, name));
        let text = format!(
            "task = \"faults::note\"\n[pool]\nchunk_size = 1\n[input]\nrepeat = 100\nargs = [{ledger:?}, \"{{index}}\", 0.05]\n"
        );
        fs::write(&spec, text).expect("it can be written");
        let address = scene.broker.address();
        let words = ["run", &spec, "--run-dir", &dir, "--output", &values];
        let starts = || fs::read_to_string(&ledger).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
        // Twice: what the first one had handed out is still on record once the second is killed.
        for (more, seen) in [(&[][..], 10), (&["--resume"], 30)] {
            let job = scene.job(&[&words[..], more].concat(), &address);
            assert!(procession_harness::wait_until(std::time::Duration::from_secs(60), || starts().len() > seen));
            job.signal(Signal::SIGKILL);
            job.finish();
        }
        let name = fs::read_to_string(within(&folder, "run/cluster-job")).expect("it was written");
        let end = run(&["jobs", "--engine", &address, "--forget", &name]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        let end = scene.job(&[&words[..], &["--resume"]].concat(), &address).finish();
        assert!(end.stderr.contains("may have been running when the run was cut off"), "{}", end.stderr);
        assert_eq!(end.code(), Some(1), "{}", end.stderr);
        let all = starts();
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        scene.end();
    }

    fn clusters_refuse_what_concerns_this_machine_and_secrets_in_addresses() {
        let job = example("pi.toml");
        let words = ["run", &job, "--engine", "nats://127.0.0.1:9"];
        for more in [&["--max-load", "80%"][..], &["--max-load", "80%", "--dry-run"]] {
            let end = run(&[&words[..], more].concat());
            assert_eq!(end.code(), Some(2), "{}", end.stderr);
            assert!(end.stderr.contains("concerns this machine"), "{}", end.stderr);
        }
        let end = run(&["run", &job, "--engine", "nats://me:secret@127.0.0.1:9"]);
        assert_eq!(end.code(), Some(2), "{}", end.stderr);
        assert!(end.stderr.contains("has credentials in it") && !end.stderr.contains("secret@"), "{}", end.stderr);
        for words in [&words[..], &[&words[..], &["--dry-run"]].concat()] {
            let end = run(words);
            assert_eq!((end.code(), end.stdout.as_str()), (Some(70), ""), "{}", end.stderr);
            assert!(end.stderr.contains("cannot reach a broker at nats://127.0.0.1:9"), "{}", end.stderr);
        }
    }
}
