//! How programs and brokers prove who they are. Two users with the permissions that the documentation gives: they must be enough,
//! for what is large as well. And a broker that is known by its certificate, and knows others by a token.

use std::fs;
use std::path::Path;
use std::process::Command;

use procession_cluster::Cluster;
use procession_harness::start_part;

use crate::broker::Broker;
use crate::scene::Scene;
use crate::tasks::{inflate, once};

/// A user that may do what a job does, and one that may do what agents do: the seed and the name of each.
const JOB: (&str, &str) = (
    "SUAACAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAN7EY",
    "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L",
);
const AGENT: (&str, &str) = (
    "SUAAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAT6EE",
    "UCATS5YOVB6ROX2WUNKGNQ2MP3GMXDMKSG2O4N5CLX3A6W4PZGZZJPJO",
);
const SEED_VARIABLE: &str = "PROCESSION_NATS_NKEY_FILE";
/// More than the broker sends of an object before it wants to hear that it has come.
const LARGE: usize = 40 << 20;

const CA_VARIABLE: &str = "PROCESSION_NATS_CA_FILE";
const TOKEN_VARIABLE: &str = "PROCESSION_NATS_TOKEN_FILE";

/// Makes a broker's certificate and its key, here; false: there is nothing to make them with.
fn certify(certificate: &str, key: &str) -> bool {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    command.args(["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate]);
    command.output().is_ok_and(|made| made.status.success())
}

/// The example of the documentation, with real names of users.
fn documented() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cluster.md");
    let page = fs::read_to_string(page).expect("it is there");
    let from = page.find("accounts {").expect("it has an example");
    let example = page[from..].split("```").next().expect("the example ends");
    assert!(example.contains("UA…JOB") && example.contains("UB…AGENT"), "{example}");
    example.replace("UA…JOB", JOB.1).replace("UB…AGENT", AGENT.1)
}

procession_harness::parts! {
    /// A job of someone who is the user of jobs.
    fn documented_job() {
        let address = std::env::var("ADDRESS").expect("the test has set it");
        let cluster = Cluster::connect(&address).expect("the broker lets us in");
        let items = [(vec![7; 10], 10), (vec![7; LARGE], 10), (vec![7; 10], LARGE)];
        let sizes: Vec<usize> = items.iter().map(|(_, to)| *to).collect();
        let values = cluster.starmap(inflate, items).expect("all have values");
        assert_eq!(values.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        let ledger = std::env::var("LEDGER").expect("the test has set it");
        let values = cluster.starmap(once, (0..5).map(|x| (ledger.clone(), x, 0))).expect("all have values");
        assert_eq!(values, (0..5).collect::<Vec<_>>());
    }
}

procession_harness::parts! {
    /// A job that the broker does not let in: it says why.
    fn stranger() {
        let address = std::env::var("ADDRESS").expect("the test has set it");
        let refusal = Cluster::connect(&address).err().expect("nobody is let in").to_string();
        let expected = std::env::var("EXPECTED").expect("the test has set it");
        assert!(refusal.contains(&expected) && !refusal.contains("s3cret"), "{refusal}");
    }
}

procession_harness::cases! {
    fn brokers_are_known_by_certificates_and_programs_by_tokens() {
        if crate::broker::server().is_none() {
            return;
        }
        let dir = tempfile::tempdir().expect("the test's directory is writable");
        let [certificate, key, other, other_key, token, wrong] =
            ["cert", "key", "other", "other-key", "token", "wrong"].map(|name| dir.path().join(name).display().to_string());
        if !certify(&certificate, &key) || !certify(&other, &other_key) {
            return procession_harness::skip("openssl, to make certificates: install it");
        }
        fs::write(&token, "s3cret\n").expect("the test's directory is writable");
        fs::write(&wrong, "s3cret-not\n").expect("the test's directory is writable");
        let configuration = format!(
            "tls {{ cert_file: {certificate:?}, key_file: {key:?} }}\nauthorization {{ token: s3cret }}\n"
        );
        let Some(broker) = Broker::start_with(&configuration) else { return };
        let scene = Scene::around(broker);
        let address = scene.address().replace("nats://", "tls://");
        let known = [(CA_VARIABLE, &*certificate), (TOKEN_VARIABLE, &*token)];
        scene.agent_with(&address, 1, &known);
        let ledger = procession_harness::Ledger::new("once");
        let path = ledger.path();
        let variables = [&[("ADDRESS", &*address), ("LEDGER", &*path)], &known[..]].concat();
        let end = start_part("documented_job", &variables).wait().expect("it is ours");
        assert!(end.success(), "{end}");
        for (authorities, token, expected) in
            [(&other, &token, "certificate"), (&certificate, &wrong, "authorization"), (&certificate, &other, "authorization")]
        {
            let variables = [
                ("ADDRESS", &*address),
                (CA_VARIABLE, &**authorities),
                (TOKEN_VARIABLE, &**token),
                ("EXPECTED", expected),
            ];
            let end = start_part("stranger", &variables).wait().expect("it is ours");
            assert!(end.success(), "{expected}: {end}");
        }
    }

    fn the_documented_permissions_are_enough() {
        let Some(broker) = Broker::start_with(&documented()) else { return };
        let dir = tempfile::tempdir().expect("the test's directory is writable");
        let [job, agent] = [("job", JOB), ("agent", AGENT)].map(|(name, (seed, _))| {
            let path = dir.path().join(name);
            fs::write(&path, seed).expect("the test's directory is writable");
            path.display().to_string()
        });
        let ledger = procession_harness::Ledger::new("once");
        let scene = Scene::around(broker);
        let address = scene.address();
        scene.agent_with(&address, 1, &[(SEED_VARIABLE, &agent)]);
        let path = ledger.path();
        let variables = [("ADDRESS", &*address), ("LEDGER", &path), (SEED_VARIABLE, &job)];
        let mut master = start_part("documented_job", &variables);
        let end = master.wait().expect("it is ours");
        assert!(end.success(), "{end}");
    }
}
