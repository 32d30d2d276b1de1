//! Hears all that is said of jobs at a broker, also what the broker does not take; and says it again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{self, context::Context};
use async_nats::{Client, HeaderMap, Message};
use futures_util::StreamExt as _;
use procession_harness::wait_until;
use tokio::runtime::{Builder, Runtime};

const LIMIT: Duration = Duration::from_secs(30);
/// By which the broker knows a message that it has had.
const ID_HEADER: &str = "Nats-Msg-Id";

/// See the module. It ends when this is dropped.
pub(crate) struct Listener {
    runtime: Runtime,
    client: Client,
    heard: Arc<Mutex<Vec<Message>>>,
}

/// What a broker does with an answer that is published again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Again {
    /// It has it already, and says so or refuses it.
    pub(crate) refused: u32,
    /// The first one was taken from it, so it keeps this one.
    pub(crate) kept: u32,
}

impl Again {
    pub(crate) fn add(&mut self, other: Again) {
        self.refused += other.refused;
        self.kept += other.kept;
    }
}

impl Listener {
    pub(crate) fn at(address: &str) -> Listener {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread to spare");
        let client = runtime.block_on(async_nats::connect(address)).expect("the broker is there");
        let mut said = runtime.block_on(client.subscribe("procession.>")).expect("it may listen");
        runtime.block_on(client.flush()).expect("the broker hears it");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heard);
        runtime.spawn(async move {
            while let Some(message) = said.next().await {
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(message);
            }
        });
        Listener { runtime, client, heard }
    }

    /// All answers of agents so far: by its subject each is of one chunk, by its name of one agent.
    pub(crate) fn answers(&self) -> Vec<Message> {
        self.heard(|message| {
            message.subject.split('.').nth(2) == Some("answer") && name_of(message).starts_with("answer-")
        })
    }

    /// What agents have said of themselves so far.
    pub(crate) fn hellos(&self) -> Vec<String> {
        let hellos = self.heard(|message| message.subject.ends_with(".hello"));
        hellos.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
    }

    fn heard(&self, is_wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|message| is_wanted(message)).cloned().collect()
    }

    /// Waits until two answers of a chunk were published, each under a name of its own: no try of the same one.
    pub(crate) fn wait_for_two_answers(&self) {
        let are_two = || {
            let answers = self.answers();
            answers.iter().any(|a| answers.iter().any(|b| a.subject == b.subject && name_of(a) != name_of(b)))
        };
        assert!(wait_until(LIMIT, are_two), "no chunk was answered twice");
    }

    /// Publishes answers once more as they were, and once more as others.
    pub(crate) fn say_again(&self, answers: &[Message]) -> Again {
        // The client starts a task of its own.
        let _within = self.runtime.enter();
        let context = jetstream::new(self.client.clone());
        let (mut again, heard) = (Again::default(), self.heard(|_| true).len());
        for (number, answer) in answers.iter().enumerate() {
            let other = format!("again-{heard}-{number}");
            for name in [name_of(answer), other] {
                if self.runtime.block_on(publish(&context, answer, &name)) {
                    again.kept += 1;
                } else {
                    again.refused += 1;
                }
            }
        }
        again
    }
}

/// Whether the broker keeps it.
async fn publish(context: &Context, answer: &Message, name: &str) -> bool {
    let mut headers = HeaderMap::new();
    headers.insert(ID_HEADER, name);
    let sent = context.publish_with_headers(answer.subject.clone(), headers, answer.payload.clone()).await;
    sent.expect("the broker is there").await.is_ok_and(|acknowledged| !acknowledged.duplicate)
}

fn name_of(message: &Message) -> String {
    let name = message.headers.as_ref().and_then(|headers| headers.get(ID_HEADER));
    name.map_or_else(String::new, ToString::to_string)
}
