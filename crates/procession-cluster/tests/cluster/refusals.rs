//! What is refused before anything runs, and in which words.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession_cluster::{Cluster, ErrorKind, JobOptions, Notice};
use procession_harness::wait_until;

use crate::faults::{Course, repeat, single, squares};
use crate::listener::Listener;
use crate::scene::Scene;
use crate::tasks::{once, square_slowly};

const LIMIT: Duration = Duration::from_secs(30);

procession_harness::cases! {
    fn a_server_that_forgets_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port to spare");
        let address = format!("nats://{}", listener.local_addr().expect("it has one"));
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("the program comes");
            let info = r#"{"server_id":"x","version":"2.9.10","proto":1,"host":"127.0.0.1","port":0,"max_payload":1048576,
                "headers":true,"jetstream":true,"go":"","server_name":"x","client_id":1}"#;
            let info = info.replace('\n', "");
            write!(peer, "INFO {info}\r\n").expect("the program listens");
            for line in BufReader::new(peer.try_clone().expect("a descriptor to spare")).lines() {
                let Ok(line) = line else { break };
                if line.starts_with("PING") && write!(peer, "PONG\r\n").is_err() {
                    break;
                }
            }
        });
        let error = Cluster::connect(&address).err().expect("it is too old");
        assert_eq!(error.kind(), ErrorKind::Unsuitable, "{error}");
        assert!(error.to_string().contains("is 2.9.10, and versions before 2.10.23 forget"), "{error}");
        server.join().expect("it ends with the connection");
    }

    fn nobody_there_is_said() {
        let error = Cluster::connect("nats://127.0.0.1:9").err().expect("nobody listens there");
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.to_string().contains("cannot reach a broker at nats://127.0.0.1:9"), "{error}");
    }

    fn a_job_whose_rest_cannot_be_read_is_refused() {
        let Some(scene) = Scene::start(0) else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = async_nats::connect(scene.address()).await.expect("the broker is there");
            // Nobody answers requests for its messages: that is not the answer that it has none.
            let config = async_nats::jetstream::stream::Config {
                name: "PROCESSION_deaf_WORK".to_owned(),
                subjects: vec!["procession.deaf.work.*".to_owned()],
                ..Default::default()
            };
            async_nats::jetstream::new(client).create_stream(config).await.expect("the broker takes it");
        });
        let mut options = JobOptions::default();
        options.name = Some("deaf".to_owned());
        let items = std::iter::empty::<Option<(u64, procession::Payload)>>();
        let error = scene.cluster().stream(once.info(), items, options).expect_err("items might run twice");
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.to_string().contains("the job's chunks at the broker cannot be read"), "{error}");
    }

    fn an_agent_that_is_another_program_is_refused_and_both_say_so() {
        let Some(scene) = Scene::start(0) else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let said = runtime.block_on(async {
            let client = async_nats::connect(scene.address()).await.expect("the broker is there");
            let stream = async_nats::jetstream::new(client.clone());
            // As a master of another version would describe its job.
            let job = r#"{"job":"other","state":"open","session":1,"task":"tasks::frail","at_most_once":false,
                "program":{"version":"0.0.9","tasks":"00","wire":1},"lease":{"secs":1,"nanos":0},"pool":{"env":[]}}"#;
            let mut said = client.subscribe("procession.other.hello").await.expect("it may listen");
            client.flush().await.expect("the broker hears it");
            scene.agent(1);
            let publish = async {
                // The stream is made by whoever comes first.
                loop {
                    let sent = stream.publish("procession.jobs.other", job.into()).await;
                    if let Ok(sent) = sent && sent.await.is_ok() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), publish).await.expect("the agent makes the stream");
            use futures_util::StreamExt as _;
            let said = tokio::time::timeout(Duration::from_secs(30), said.next()).await.expect("the agent says so");
            String::from_utf8(said.expect("a message").payload.to_vec()).expect("it is JSON")
        });
        assert!(said.contains(r#""parting":{"Refused":"it is version 0.1.0 and the master 0.0.9"#), "{said}");
    }

    fn fault_agent_is_another_program() {
        let dir = tempfile::tempdir().expect("the test's directory is writable");
        let program = other_program(dir.path());
        repeat("fault_agent_is_another_program", || {
            let scene = Scene::start(2)?;
            let listener = Listener::at(&scene.address());
            let refused = |hello: &String| hello.contains(r#""parting":{"Refused":"its tasks are others"#);
            let course = Course::of(scene.job(square_slowly.info(), squares(60, 20), single), |done| match done {
                10 => drop(scene.agent_of(&program, &scene.address(), 1, &[])),
                // It has seen the job, and will not have it.
                50 => assert!(wait_until(LIMIT, || listener.hellos().iter().any(refused)), "it has not been refused"),
                _ => {}
            });
            let told: Vec<&String> = course
                .notices
                .iter()
                .filter_map(|notice| if let Notice::Refused { agent, .. } = notice { Some(agent) } else { None })
                .collect();
            let [stranger] = *told else { panic!("{:?}", course.notices) };
            // The name of an answer says whose it is.
            let is_theirs = |answer: &async_nats::Message| format!("{:?}", answer.headers).contains(stranger.as_str());
            assert!(!listener.answers().iter().any(is_theirs), "{stranger} has answered");
            Some(course.cost_of_squares(60))
        });
    }
}

/// A copy of this program in which a task is called something else.
fn other_program(dir: &Path) -> PathBuf {
    let program = dir.join("other");
    let ours = std::env::current_exe().expect("/proc is mounted");
    let mut bytes = fs::read(&ours).expect("it is there");
    let (name, other) = (b"cluster::tasks::inflate", b"cluster::tasks::inflame");
    let places: Vec<usize> =
        (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
    assert!(!places.is_empty(), "no task is called so");
    for at in places {
        bytes[at..at + other.len()].copy_from_slice(other);
    }
    fs::write(&program, bytes).expect("the test's directory is writable");
    let rights = fs::metadata(&ours).expect("it is there").permissions();
    fs::set_permissions(&program, rights).expect("it is ours");
    program
}
