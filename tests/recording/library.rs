//! The list of recordings, its filters, and deleting.

use serde_json::{Value, json};

use crate::{
    link,
    support::{Node, Recorder, Upload, cut, get, pictured, ready, send, webm},
};

fn ids(list: &Value) -> Vec<&str> {
    let rows = list["recordings"].as_array().expect("a list");
    rows.iter().map(|row| row["recordId"].as_str().expect("an id")).collect()
}

async fn list(node: &Node, query: &str) -> Value {
    let answer = get(node.address(), &format!("/recordings{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()
}

/// Seven recordings, r0 the oldest; the even ones are ada's in blue, the odd ones bob's in green.
async fn seven(node: &Node) -> Vec<Upload> {
    let mut uploads = Vec::new();
    for number in 0..7 {
        let (owner, room) = if number % 2 == 0 { ("ada", "blue") } else { ("bob", "green") };
        let title = format!("Meeting {number} 100% <b>Ünï</b>");
        let start =
            json!({ "recordId": format!("r{number}"), "owner": owner, "roomName": room, "title": title });
        uploads.push(Upload::start(node.address(), start).await.0);
        // They are told apart by when they began.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    crate::support::eventually("the catalog knows all", async || {
        (list(node, "").await["recordings"].as_array()?.len() == 7).then_some(())
    })
    .await;
    uploads
}

#[tokio::test]
async fn pages_follow_one_another_the_newest_first() {
    let node = crate::node(&[]);
    seven(&node).await;
    assert_eq!(ids(&list(&node, "").await), ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
    let mut seen = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let page = list(&node, &query).await;
        assert!(ids(&page).len() <= 3);
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=3&cursor={next}");
    }
    assert_eq!(seen, ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
    // A recording that begins meanwhile does not move the pages.
    let first = list(&node, "?limit=2").await;
    Upload::start(node.address(), json!({ "recordId": "new" })).await;
    let next = format!("?limit=2&cursor={}", first["next"].as_str().expect("more"));
    assert_eq!(ids(&list(&node, &next).await), ["r4", "r3"]);
}

#[tokio::test]
async fn filters_choose() {
    let node = crate::node(&[]);
    let uploads = seven(&node).await;
    assert_eq!(uploads[2].put(0, webm()).await.status, 200);
    assert_eq!(uploads[2].stop(json!({})).await.status, 202);
    ready(node.address(), "r2").await;
    crate::support::eventually("the catalog follows", async || {
        (ids(&list(&node, "?state=ready").await) == ["r2"]).then_some(())
    })
    .await;
    for (query, expected) in [
        ("?owner=bob", &["r5", "r3", "r1"][..]),
        ("?room=blue", &["r6", "r4", "r2", "r0"]),
        ("?room=blue&state=recording", &["r6", "r4", "r0"]),
        ("?owner=ada&room=green", &[]),
        ("?q=r3", &["r3"]),
        ("?q=meeting%204", &["r4"]),
        ("?q=green", &["r5", "r3", "r1"]),
        ("?q=100%25", &["r6", "r5", "r4", "r3", "r2", "r1", "r0"]),
        ("?q=_", &[]),
        ("?q=%C3%BCn%C3%AF", &["r6", "r5", "r4", "r3", "r2", "r1", "r0"]),
        ("?q='%20OR%201=1%20--", &[]),
        ("?state=&room=&owner=&q=&cursor=", &["r6", "r5", "r4", "r3", "r2", "r1", "r0"]),
        ("?state=failed", &[]),
    ] {
        assert_eq!(ids(&list(&node, query).await), expected, "{query}");
    }
    for query in [
        "?state=lost",
        "?room=a%20b",
        "?owner=%00",
        "?cursor=nonsense",
        "?cursor=1.",
        "?limit=many",
        "?limit=-1",
    ] {
        let refused = get(node.address(), &format!("/recordings{query}")).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("malformed")), "{query}");
    }
    assert_eq!(ids(&list(&node, "?limit=0").await).len(), 1);
    assert_eq!(ids(&list(&node, "?limit=4000000000").await).len(), 7);
}

#[tokio::test]
async fn deleting_takes_the_video_and_the_row() {
    let node = crate::node(&[]);
    let chunks = cut(webm(), 2, 80);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    let delete = async || send(node.address(), "DELETE /recordings/talk", &[], b"").await;
    recorder.store_all(0, &chunks).await;
    assert_eq!(delete().await.refusal(), (409, "recording_active".into()));
    recorder.stop_and_wait(&chunks).await;
    let row = pictured(node.address(), "talk").await;
    let deleted = delete().await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    for path in ["/recordings/talk/status", link(&row, "downloadUrl"), link(&row, "posterUrl")] {
        assert_eq!(get(node.address(), path).await.status, 404, "{path}");
    }
    crate::support::eventually("the list is empty", async || {
        ids(&list(&node, "").await).is_empty().then_some(())
    })
    .await;
    crate::support::eventually("nothing is left", async || {
        crate::left_behind(&node).is_empty().then_some(())
    })
    .await;
    crate::support::eventually("nobody remembers it", async || {
        (delete().await.refusal() == (404, "recording_unknown".into())).then_some(())
    })
    .await;
    assert_eq!(send(node.address(), "DELETE /recordings/%2e%2e", &[], b"").await.status, 404);
    // The name is free again.
    recorder.ask_to_begin(json!({ "recordId": "talk" })).await;
    recorder.wait_for("started").await;
}

#[tokio::test]
async fn who_has_the_token_may_delete_what_still_runs() {
    let node = crate::node(&[]);
    let mut recorder = Recorder::start(node.address(), json!({ "recordId": "talk" })).await;
    recorder.store(0, webm()).await;
    let bearer = format!("Bearer {}", recorder.token());
    let deleted = send(node.address(), "DELETE /recordings/talk", &[("Authorization", &bearer)], b"").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    crate::support::eventually("nothing is left", async || {
        crate::left_behind(&node).is_empty().then_some(())
    })
    .await;
    recorder.chunk(1, b"more").await;
    let refused = recorder.wait_for("chunkError").await;
    assert!(refused["code"] == "recording_unknown" || refused["code"] == "not_started", "{refused}");
    assert_eq!(crate::left_behind(&node), Vec::<String>::new());
}
