//! Redis that forgets, goes back in time, goes away, hangs or takes nothing: what was acknowledged is in the video.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    only, state,
    support::{
        Cluster, Recorder, Redis, Upload, check_video, cut, eventually, get, ready, send, status, webm,
    },
};

/// Nodes whose clusters notice soon what has happened to Redis.
const FLAGS: [&str; 2] = ["--lease-secs=2", "--recording-grace-secs=2"];

/// The same with recorders that are waited for as long as a test may take.
const PATIENT: [&str; 2] = ["--lease-secs=2", "--recording-grace-secs=600"];

async fn becomes(cluster: &Cluster, node: usize, mode: &str) {
    eventually(mode, async || (cluster.mode(node).await == mode).then_some(())).await;
}

/// Begins a recording whose chunks are numbered as they come.
async fn raw(cluster: &Cluster, node: usize, id: &str) -> Recorder {
    Recorder::start(cluster.address(node), json!({ "recordId": id, "framing": "raw" })).await
}

/// Sends a chunk until it is taken, as the page does; where it then is.
async fn send_until_taken(recorder: &mut Recorder, chunk: &[u8]) -> u64 {
    eventually("the chunk is taken", async || {
        recorder.send_bytes(chunk.to_vec()).await;
        let answer = recorder.next().await;
        if answer["type"] == "chunkAck" {
            return answer["index"].as_u64();
        }
        assert_eq!((&answer["type"], &answer["retryable"]), (&json!("chunkError"), &json!(true)), "{answer}");
        None
    })
    .await
}

/// Says stop until it is taken, and waits for the video.
async fn stop_until_taken(recorder: &mut Recorder, chunks: &[Vec<u8>]) -> Value {
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    eventually("the stop is taken", async || {
        recorder.stop(json!({ "chunks": chunks.len(), "bytes": bytes })).await;
        let answer = recorder.next().await;
        if answer["type"] == "finished" {
            return Some(());
        }
        assert_eq!(
            (&answer["type"], &answer["retryable"]),
            (&json!("recordingError"), &json!(true)),
            "{answer}"
        );
        None
    })
    .await;
    recorder.ready().await
}

#[tokio::test]
async fn a_redis_that_forgets_everything_is_told_again_and_nobody_notices() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(2, &FLAGS).await;
    let chunks = cut(webm(), 9, 320);
    let mut indexed = Recorder::start(cluster.address(0), json!({ "recordId": "indexed" })).await;
    let mut numbered = raw(&cluster, 1, "numbered").await;
    let (upload, _) = Upload::start(cluster.address(0), json!({ "recordId": "uploaded" })).await;
    for (index, chunk) in (0u32..).zip(&chunks[..4]) {
        indexed.store(index, chunk).await;
        numbered.send_bytes(chunk.clone()).await;
        numbered.expect_ack(index).await;
        assert_eq!(upload.post(chunk).await.json()["index"], index);
        if index == 1 {
            cluster.redis().empty();
        }
    }
    cluster.redis().empty();
    for (index, chunk) in (4u32..).zip(&chunks[4..]) {
        // Whoever comes first, and by way of whichever node, has the account put back.
        let upload = Upload::of(cluster.address(1), upload.bearer.trim_start_matches("Bearer "));
        assert_eq!(upload.post(chunk).await.json()["index"], index, "a number is never given twice");
        numbered.send_bytes(chunk.clone()).await;
        numbered.expect_ack(index).await;
        indexed.store(index, chunk).await;
    }
    for recorder in [&mut indexed, &mut numbered] {
        let told = recorder.stop_and_wait(&chunks).await;
        assert_eq!(told["version"], 1);
        check_video(cluster.address(0), &told, webm()).await;
    }
    assert_eq!(upload.stop(json!({ "chunks": 9, "bytes": webm().len() })).await.status, 202);
    check_video(cluster.address(1), &ready(cluster.address(1), "uploaded").await, webm()).await;
}

#[tokio::test]
async fn what_nobody_asks_for_is_put_back_too_when_redis_has_forgotten_it() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(2, &FLAGS).await;
    let chunks = cut(webm(), 4, 321);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    // Its recorder is gone, its node is gone, and its account too.
    cluster.redis_mut().kill();
    recorder.lose();
    cluster.kill(0);
    cluster.redis_mut().restart();
    eventually("it is known again", async || {
        (get(cluster.address(1), "/recordings/talk/status").await.status == 200).then_some(())
    })
    .await;
    let row = ready(cluster.address(1), "talk").await;
    assert_eq!(row["version"], 1);
    check_video(cluster.address(1), &row, webm()).await;
}

#[tokio::test]
async fn while_redis_is_away_chunks_with_a_place_are_taken_and_the_others_wait() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(2, &FLAGS).await;
    let chunks = cut(webm(), 12, 322);
    let mut indexed = Recorder::start(cluster.address(0), json!({ "recordId": "indexed" })).await;
    let mut numbered = raw(&cluster, 1, "numbered").await;
    indexed.store_all(0, &chunks[..3]).await;
    for chunk in &chunks[..3] {
        send_until_taken(&mut numbered, chunk).await;
    }
    cluster.redis_mut().kill();
    indexed.store_all(3, &chunks[3..6]).await;
    numbered.send_bytes(chunks[3].clone()).await;
    let error = numbered.next().await;
    assert_eq!((&error["type"], &error["retryable"]), (&json!("chunkError"), &json!(true)), "{error}");
    for node in 0..2 {
        becomes(&cluster, node, "isolated").await;
    }
    // Out of order, twice, and by way of the other node.
    indexed.store(8, &chunks[8]).await;
    indexed.store(7, &chunks[7]).await;
    indexed.store(7, &chunks[7]).await;
    let upload = Upload::of(cluster.address(1), &indexed.token());
    assert_eq!(upload.put(6, &chunks[6]).await.status, 200);
    assert_eq!(upload.put(6, &chunks[5]).await.refusal(), (409, "conflict".into()));
    assert_eq!(upload.put(5000, &chunks[6]).await.refusal(), (400, "index_out_of_range".into()));
    let stop = json!({ "chunks": 9 });
    indexed.stop(stop.clone()).await;
    let refused = indexed.expect("recordingError").await;
    assert_eq!(refused["retryable"], true, "{refused}");
    let refused = upload.stop(stop).await;
    assert_eq!((refused.status, &refused.json()["retryable"]), (503, &json!(true)), "{refused:?}");

    cluster.redis_mut().restart();
    for (index, chunk) in (3u64..).zip(&chunks[3..]) {
        assert_eq!(send_until_taken(&mut numbered, chunk).await, index);
    }
    indexed.store_all(9, &chunks[9..]).await;
    for recorder in [&mut indexed, &mut numbered] {
        let told = stop_until_taken(recorder, &chunks).await;
        assert_eq!(told["version"], 1, "{told}");
        check_video(cluster.address(0), &told, webm()).await;
    }
    assert_eq!(status(cluster.address(1), "indexed").await["chunks"], 12);
}

/// What a node takes without Redis is bounded as what it takes with it.
#[tokio::test]
async fn a_recording_is_bounded_while_redis_is_away() {
    if !Redis::is_here() {
        return;
    }
    let chunks = cut(webm(), 6, 329);
    let most: usize = chunks[..4].iter().map(Vec::len).sum();
    let bytes = format!("--max-recording-bytes={most}");
    let flags = [&FLAGS[..], &[bytes.as_str(), "--max-recording-duration=6s"]].concat();
    let mut cluster = Cluster::start_with(2, &flags).await;
    let (large, _) = Upload::start(cluster.address(0), json!({ "recordId": "large" })).await;
    let (long, _) = Upload::start(cluster.address(1), json!({ "recordId": "long" })).await;
    assert_eq!(large.put(0, &chunks[0]).await.status, 200);
    assert_eq!(long.put(0, &chunks[0]).await.status, 200);
    cluster.redis_mut().kill();
    let mut index = 0;
    eventually("its time is over", async || {
        index += 1;
        let answer = long.put(index, b"x").await;
        if answer.status == 200 {
            return None;
        }
        assert_eq!(answer.refusal(), (409, "recording_too_long".into()));
        Some(())
    })
    .await;
    let refused = large.put(1, &chunks.concat()).await.refusal();
    assert_eq!(refused, (413, "recording_too_large".into()));
    assert_eq!(large.put(0, &chunks[0]).await.status, 200, "what is stored is acknowledged again");
}

/// Redis is restarted with what it had some time ago: what happened since is unknown to it.
#[tokio::test]
async fn a_redis_that_goes_back_in_time_learns_what_has_happened_since() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::start_with(2, &FLAGS).await;
    let chunks = cut(webm(), 9, 323);
    let start = async |cluster: &Cluster, id: &str| {
        let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": id })).await;
        recorder.store_all(0, &chunks[..4]).await;
        recorder
    };
    let mut present = start(&cluster, "present").await;
    let mut gone = start(&cluster, "gone").await;
    let mut made = start(&cluster, "made").await;
    let mut deleted = start(&cluster, "deleted").await;
    let mut numbered = raw(&cluster, 1, "numbered").await;
    assert_eq!(send_until_taken(&mut numbered, &chunks[0]).await, 0);
    cluster.redis().run::<()>(&["SAVE"]);

    present.store_all(4, &chunks[4..7]).await;
    gone.store_all(4, &chunks[4..]).await;
    made.store_all(4, &chunks[4..]).await;
    let video = made.stop_and_wait(&chunks).await;
    state(cluster.address(1), "made", "ready").await;
    let bearer = format!("Bearer {}", deleted.token());
    let authorised = [("Authorization", bearer.as_str())];
    let delete = send(cluster.address(1), "DELETE /recordings/deleted", &authorised, b"").await;
    assert_eq!(delete.status, 204);
    deleted.expect_error("recording_unknown").await;
    let mut since = start(&cluster, "since").await;
    since.store_all(4, &chunks[4..]).await;
    for (index, chunk) in (1u64..).zip(&chunks[1..7]) {
        assert_eq!(send_until_taken(&mut numbered, chunk).await, index);
    }
    cluster.redis_mut().kill();
    let gone = gone.lose();
    since.lose();
    cluster.redis_mut().restart();

    for (index, chunk) in (7u64..).zip(&chunks[7..]) {
        assert_eq!(send_until_taken(&mut numbered, chunk).await, index, "none is given twice");
    }
    present.store_all(7, &chunks[7..]).await;
    for recorder in [&mut present, &mut numbered] {
        let told = stop_until_taken(recorder, &chunks).await;
        check_video(cluster.address(1), &told, webm()).await;
    }
    // Its recorder does not come back, but says stop: what it has sent is known.
    let upload = Upload::of(cluster.address(1), &gone);
    let stopped = upload.stop(json!({ "chunks": 9, "bytes": webm().len() })).await;
    assert_eq!(stopped.status, 202, "{stopped:?}");
    for id in ["gone", "since"] {
        let row = ready(cluster.address(1), id).await;
        assert_eq!((&row["chunks"], &row["missingChunks"]), (&json!(9), &json!([])), "{row}");
        check_video(cluster.address(1), &row, webm()).await;
    }
    eventually("what was deleted is gone for good", async || {
        let waits: Option<f64> = cluster.redis().run(&["ZSCORE", "recordings:active", "deleted"]);
        waits.is_none().then_some(())
    })
    .await;
    let refused = get(cluster.address(0), "/recordings/deleted/status").await;
    assert_eq!(refused.status, 404, "{refused:?}");
    let row = ready(cluster.address(0), "made").await;
    assert_eq!((&row["version"], &row["key"]), (&json!(1), &video["key"]), "it is not made again");
    check_video(cluster.address(0), &row, webm()).await;
}

#[tokio::test]
async fn a_recorder_on_a_node_without_redis_is_missed_by_the_others_and_loses_nothing() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::behind_proxies(2, &FLAGS).await;
    let chunks = cut(webm(), 10, 324);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..3]).await;
    cluster.proxy(0).cut();
    recorder.store_all(3, &chunks[3..5]).await;
    let first = ready(cluster.address(1), "talk").await;
    assert_eq!((&first["version"], &first["chunks"]), (&json!(1), &json!(5)), "all that was there: {first}");
    recorder.store_all(5, &chunks[5..8]).await;
    cluster.proxy(0).heal();
    becomes(&cluster, 0, "cluster").await;
    // Its recorder never noticed: it goes on, and hears of the video that it asked for, and of no other.
    recorder.store_all(8, &chunks[8..]).await;
    let told = stop_until_taken(&mut recorder, &chunks).await;
    assert_eq!(told["version"], 2);
    for node in 0..2 {
        check_video(cluster.address(node), &told, webm()).await;
        only(cluster.address(node), "talk").await;
    }
}

/// Nothing came meanwhile: there is no chunk that would tell the others of its recorder.
#[tokio::test]
async fn a_silent_recorder_on_a_node_that_was_cut_off_goes_on() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::behind_proxies(2, &FLAGS).await;
    let chunks = cut(webm(), 6, 325);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..3]).await;
    cluster.proxy(0).silence();
    ready(cluster.address(1), "talk").await;
    cluster.proxy(0).heal();
    state(cluster.address(1), "talk", "recording").await;
    recorder.store_all(3, &chunks[3..]).await;
    let told = stop_until_taken(&mut recorder, &chunks).await;
    assert_eq!(told["version"], 2);
    check_video(cluster.address(1), &told, webm()).await;
}

#[tokio::test]
async fn a_redis_that_hangs_holds_nobody_up() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(2, &PATIENT).await;
    let chunks = cut(webm(), 8, 326);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..2]).await;
    cluster.redis().freeze();
    recorder.store_all(2, &chunks[2..5]).await;
    becomes(&cluster, 0, "isolated").await;
    recorder.store_all(5, &chunks[5..7]).await;
    cluster.redis().thaw();
    recorder.store_all(7, &chunks[7..]).await;
    let told = stop_until_taken(&mut recorder, &chunks).await;
    assert_eq!(told["version"], 1);
    check_video(cluster.address(1), &told, webm()).await;
}

#[tokio::test]
async fn a_redis_that_may_not_be_written_is_one_that_is_away() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::start_with(2, &PATIENT).await;
    let chunks = cut(webm(), 6, 327);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    let mut numbered = raw(&cluster, 1, "numbered").await;
    recorder.store_all(0, &chunks[..2]).await;
    assert_eq!(send_until_taken(&mut numbered, &chunks[0]).await, 0);
    // A replica of a server that is not there, and that would sooner be asked than tell nothing.
    cluster.redis().run::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    recorder.store_all(2, &chunks[2..4]).await;
    numbered.send_bytes(chunks[1].clone()).await;
    let error = numbered.next().await;
    assert_eq!((&error["type"], &error["retryable"]), (&json!("chunkError"), &json!(true)), "{error}");
    recorder.stop(json!({ "chunks": 4 })).await;
    assert_eq!(recorder.expect("recordingError").await["retryable"], true);
    cluster.redis().run::<()>(&["REPLICAOF", "NO", "ONE"]);
    for (index, chunk) in (1u64..).zip(&chunks[1..]) {
        assert_eq!(send_until_taken(&mut numbered, chunk).await, index);
    }
    recorder.store_all(4, &chunks[4..]).await;
    for recorder in [&mut recorder, &mut numbered] {
        let told = stop_until_taken(recorder, &chunks).await;
        check_video(cluster.address(0), &told, webm()).await;
    }
}

/// Redis is slow enough that answers come late, and not so slow that it is given up.
#[tokio::test]
async fn a_slow_redis_only_takes_longer() {
    if !Redis::is_here() {
        return;
    }
    let cluster = Cluster::behind_proxies(2, &PATIENT).await;
    let chunks = cut(webm(), 4, 328);
    for node in 0..2 {
        cluster.proxy(node).delay(Duration::from_millis(50));
    }
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks).await;
    let told = recorder.stop_and_wait(&chunks).await;
    check_video(cluster.address(1), &told, webm()).await;
}

/// Finalised without a stop, and complete. Redis is away when its time to come back is over; before that a chunk comes.
async fn late_over_the_end(seed: u64, away: fn(&mut Cluster), back: fn(&mut Cluster)) {
    if !Redis::is_here() {
        return;
    }
    let flags = ["--lease-secs=2", "--recording-grace-secs=1", "--reopen-secs=5"];
    let mut cluster = Cluster::start_with(2, &flags).await;
    let chunks = cut(webm(), 4, seed);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..3]).await;
    let upload = Upload::of(cluster.address(1), &recorder.lose());
    ready(cluster.address(1), "talk").await;
    let over_ms = eventually("it is known when it is over", async || keep_until_ms(&cluster)).await;
    away(&mut cluster);
    assert_eq!(upload.put(3, &chunks[3]).await.status, 200);
    assert!(now_ms() < over_ms, "it has taken too long to show anything");
    eventually("its time is over", async || (now_ms() > over_ms + 500).then_some(())).await;
    back(&mut cluster);
    eventually("its account has heard of it", async || {
        let answer = get(cluster.address(0), "/recordings/talk/status").await;
        (answer.status == 200 && answer.json()["chunks"] == 4).then_some(())
    })
    .await;
    eventually("the other node has found Redis again, too", async || {
        let stopped = upload.stop(json!({ "chunks": 4, "bytes": webm().len() })).await;
        (stopped.status == 202).then_some(())
    })
    .await;
    let row = ready(cluster.address(0), "talk").await;
    assert_eq!(row["version"], 2, "{row}");
    check_video(cluster.address(1), &row, webm()).await;
}

/// Until when the chunk store says that a recording is kept.
fn keep_until_ms(cluster: &Cluster) -> Option<u64> {
    let revisions = fs::read_dir(cluster.storage(0).join("chunks/talk/revisions")).ok()?;
    let texts = revisions.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let manifests = texts.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
    manifests.max_by_key(|manifest| manifest["revision"].as_u64())?["keepUntilMs"].as_u64()
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    now.as_millis().try_into().unwrap()
}

#[tokio::test]
async fn a_chunk_taken_while_redis_hung_over_the_end_of_its_recording_is_in_the_next_video() {
    late_over_the_end(330, |cluster| cluster.redis().freeze(), |cluster| cluster.redis().thaw()).await;
}

#[tokio::test]
async fn a_chunk_taken_over_the_end_of_its_recording_is_not_forgotten_with_what_redis_had() {
    late_over_the_end(331, |cluster| cluster.redis_mut().kill(), |cluster| cluster.redis_mut().restart())
        .await;
}

/// As when all machines come back at once: the new node has not seen that anything was away.
#[tokio::test]
async fn a_node_that_starts_leaves_the_others_time_to_say_that_their_recorders_are_there() {
    if !Redis::is_here() {
        return;
    }
    let mut cluster = Cluster::behind_proxies(1, &["--lease-secs=2", "--recording-grace-secs=5"]).await;
    let chunks = cut(webm(), 4, 332);
    let mut recorder = Recorder::start(cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..2]).await;
    cluster.proxy(0).cut();
    let is_overdue = |cluster: &Cluster| {
        let deadline_ms: Option<u64> = cluster.redis().run(&["HGET", "recording:{talk}", "deadline"]);
        deadline_ms.is_none_or(|deadline_ms| now_ms() > deadline_ms)
    };
    eventually("its recorder is silent for too long", async || is_overdue(&cluster).then_some(())).await;
    cluster.add(&[]).await;
    cluster.proxy(0).heal();
    eventually("its node says that it is there", async || (!is_overdue(&cluster)).then_some(())).await;
    let logs = cluster.process(1).logs();
    assert!(!logs.contains("claimed"), "nobody is taken for gone: {logs}");
    recorder.store_all(2, &chunks[2..]).await;
    let told = stop_until_taken(&mut recorder, &chunks).await;
    assert_eq!(told["version"], 1);
    check_video(cluster.address(1), &told, webm()).await;
}
