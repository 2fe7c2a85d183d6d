//! The application, the node or the catalog is away.

use greenroom::{
    adapters::{
        catalog::{SqlCatalog, sqlite_url},
        ports::{Catalog as _, Deletion, Outbox as _, OutboxEvent},
    },
    metrics::Metrics,
    protocol::{Fence, RecordId},
};
use serde_json::json;

use crate::{
    node, record,
    support::{Receiver, Recorder, Reply, eventually, free_port, metric, status, webm},
    tries,
};

#[tokio::test]
async fn what_happens_while_the_application_is_away_is_told_when_it_is_back() {
    let (storage, port) = (tempfile::tempdir().unwrap(), free_port());
    let node = node(storage.path(), &Receiver::flags_at(port), &[]);
    record(node.address(), "talk").await;
    record(node.address(), "song").await;
    tries(node.address(), "unreachable", 2.0).await;
    let waiting = async || metric(node.address(), "greenroom_webhook_waiting_events").await;
    eventually("four wait", async || (waiting().await >= 4.0).then_some(())).await;
    let receiver = Receiver::start_at(port);
    for id in ["talk", "song"] {
        receiver.hears(&format!("ready {id}")).await;
        assert_eq!(receiver.words_of(id), [format!("started {id}"), format!("ready {id}")]);
    }
    eventually("none waits", async || (waiting().await == 0.0).then_some(())).await;
}

#[tokio::test]
async fn what_a_node_did_not_get_to_tell_its_next_life_tells() {
    let (storage, port) = (tempfile::tempdir().unwrap(), free_port());
    let first = node(storage.path(), &Receiver::flags_at(port), &[]);
    record(first.address(), "talk").await;
    eventually("they wait", async || {
        (metric(first.address(), "greenroom_webhook_waiting_events").await >= 2.0).then_some(())
    })
    .await;
    first.kill();

    let receiver = Receiver::start_at(port);
    let second = node(storage.path(), &receiver.flags(), &[]);
    receiver.hears("ready talk").await;
    assert_eq!(receiver.words(), ["started talk", "ready talk"]);
    tries(second.address(), "taken", 2.0).await;
}

#[tokio::test]
async fn a_node_that_dies_while_it_tells_tells_once_more() {
    let storage = tempfile::tempdir().unwrap();
    let receiver = Receiver::answering(0, |_| Reply::Nothing);
    let first = node(storage.path(), &receiver.flags(), &[]);
    record(first.address(), "talk").await;
    let unanswered = receiver.hears("started talk").await;
    first.kill();

    receiver.answer(|_| Reply::Status(200));
    let _second = node(storage.path(), &receiver.flags(), &[]);
    receiver.hears("ready talk").await;
    let words = receiver.words();
    assert_eq!(words.last().map(String::as_str), Some("ready talk"), "{words:?}");
    assert!(
        words.len() >= 3 && words[..words.len() - 1].iter().all(|words| words == "started talk"),
        "{words:?}"
    );
    let ids = |at: usize| receiver.calls()[at].header("webhook-id").to_owned();
    assert_eq!(ids(1), unanswered.header("webhook-id"));
}

#[tokio::test]
async fn a_recording_of_which_nothing_is_left_is_told_as_failed() {
    let (storage, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let first = node(storage.path(), &receiver.flags(), &[]);
    let mut recorder = Recorder::start(first.address(), json!({ "recordId": "talk" })).await;
    recorder.store(0, webm()).await;
    receiver.hears("started talk").await;
    // Killed before it has noted that, it would tell it once more.
    tries(first.address(), "taken", 1.0).await;
    first.kill();
    // Somebody has taken its chunks away.
    std::fs::remove_dir_all(storage.path().join("chunks").join("talk")).unwrap();

    let second = node(storage.path(), &receiver.flags(), &[]);
    let failed = receiver.hears("failed talk").await.event();
    assert_eq!(failed["data"]["code"], "empty_recording", "{failed}");
    assert_eq!(receiver.words(), ["started talk", "failed talk"]);
    let shown = status(second.address(), "talk").await;
    assert_eq!((&shown["state"], &shown["error"]["code"]), (&json!("failed"), &json!("empty_recording")));
}

/// An event of this recording that happened then.
fn event(name: &str, at: &str) -> OutboxEvent {
    let body = json!({ "type": "recording.deleted", "id": name, "time": at, "data": { "recordId": name } });
    OutboxEvent {
        id: name.to_owned(),
        record_id: RecordId::parse(name).unwrap(),
        fence: Fence(1),
        stage: 9,
        body: body.to_string(),
    }
}

#[tokio::test]
async fn what_nobody_took_for_days_is_tried_once_more_and_given_up() {
    let storage = tempfile::tempdir().unwrap();
    let database = storage.path().join("recordings.db");
    let catalog = SqlCatalog::open(&sqlite_url(&database), Metrics::new().unwrap()).await.unwrap();
    for old in [event("old", "2020-02-20T20:20:20Z"), event("new", "2999-01-01T00:00:00Z")] {
        catalog.delete(Deletion::of(old.record_id.clone(), 1, 1), vec![old]).await.unwrap();
    }
    let receiver = Receiver::answering(0, |_| Reply::Status(500));
    let node = node(storage.path(), &receiver.flags(), &[]);
    tries(node.address(), "given_up", 1.0).await;
    tries(node.address(), "refused", 2.0).await;
    assert_eq!(receiver.words_of("old").len(), 1);
    let left = catalog.waiting(None, 9).await.unwrap();
    assert_eq!(left.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["new"]);
    let oldest = metric(node.address(), "greenroom_webhook_oldest_waiting_seconds").await;
    assert!(oldest < 1e9, "{oldest}");
}
