//! Videos that go into their bucket while they are recorded: what is up is not sent again, whoever goes on, and whatever happens to
//! it on the way costs time and nothing else.

use serde_json::{Value, json};

use crate::{
    s3::{Fault, S3Server},
    support::{
        Cluster, Postgres, Recorder, Redis, assert_recorded, cut_at, eventually, frame_of, longer, make_old,
        ready, send, sha256, soon, status, webm,
    },
};

/// Chunks of the recording: of less than a megabyte each.
const CHUNKS: usize = 40;
/// Of a video in its bucket, but for the last. Unit: bytes.
const PART_BYTES: u64 = 5 * 1024 * 1024;
/// So many that two parts are up before they are all there.
const ENOUGH: usize = 36;
/// A recording of this length takes its time in a test.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(90);

fn chunks() -> Vec<Vec<u8>> {
    let borders: Vec<usize> = (1..CHUNKS).map(|border| border * longer().len() / CHUNKS).collect();
    cut_at(longer(), &borders)
}

/// Nodes with chunks and videos in a bucket, and each with a disk of its own. `None`: a program is missing.
struct Nodes {
    server: S3Server,
    _postgres: Postgres,
    cluster: Cluster,
    _disks: Vec<tempfile::TempDir>,
}

impl Nodes {
    async fn start(nodes: usize) -> Option<Self> {
        if !(Redis::is_here() && Postgres::is_here()) {
            return None;
        }
        let (server, postgres) = (S3Server::start(), Postgres::start().await);
        postgres.create("greenroom").await;
        let mut flags = server.flags("S3");
        flags.push(format!("--database-url={}", postgres.url("greenroom")));
        let soon = ["--lease-secs=2", "--recording-grace-secs=2", "--housekeeping-secs=1"];
        flags.extend(soon.map(str::to_owned));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut cluster = Cluster::start_with(0, &flags).await;
        let mut disks = Vec::new();
        for _ in 0..nodes {
            let disk = tempfile::tempdir().expect("a folder");
            cluster.add(&[&format!("--temp-dir={}", disk.path().display())]).await;
            disks.push(disk);
        }
        Some(Self { server, _postgres: postgres, cluster, _disks: disks })
    }

    /// Records so much at the first node that parts of it are up, and waits for them.
    async fn begin(&self, id: &str, chunks: &[Vec<u8>]) -> Recorder {
        let mut recorder = Recorder::start(self.cluster.address(0), json!({ "recordId": id })).await;
        recorder.store_all(0, &chunks[..ENOUGH]).await;
        soon(WITHIN, "two parts are up, and noted", async || (self.noted(id)? >= 2).then_some(())).await;
        recorder
    }

    /// How many times a part was sent.
    fn parts(&self, id: &str, number: u64) -> u32 {
        self.server.seen_both("PUT", &format!("recordings/{id}."), &format!("partNumber={number}&"))
    }

    fn note(&self, id: &str) -> Option<String> {
        let is_note = |key: &String| key.starts_with(&format!("assembly/{id}.")) && key.ends_with(".state");
        self.server.keys().into_iter().find(is_note)
    }

    /// By which its key is told from those of other uploads.
    fn mark(&self, id: &str) -> String {
        self.note(id).expect("it is noted").rsplit('.').nth(1).expect("a mark").to_owned()
    }

    /// Of how many parts the note says that they are up. It begins with so much JSON as its second four bytes say.
    fn noted(&self, id: &str) -> Option<usize> {
        let note = std::fs::read(self.server.file(&self.note(id)?)).ok()?;
        let length = u32::from_be_bytes(note.get(4..8)?.try_into().ok()?);
        let told: Value = serde_json::from_slice(note.get(8..8 + usize::try_from(length).ok()?)?).ok()?;
        Some(told["parts"].as_array()?.len())
    }

    /// Reads of the bytes of these chunks.
    fn reads(&self, id: &str, chunks: std::ops::Range<usize>) -> u32 {
        chunks.map(|index| self.server.seen("GET", &format!("chunks/{id}/chunk_{index:08}"))).sum()
    }

    /// The video is in the bucket as its row says, with everything that was recorded; its row, with its digest.
    async fn check(&self, node: usize, id: &str) -> Value {
        ready(self.cluster.address(node), id).await;
        let row = soon(WITHIN, "its digest is there", async || {
            let row = status(self.cluster.address(node), id).await;
            row["sha256"].is_string().then_some(row)
        })
        .await;
        let video =
            std::fs::read(self.server.file(&format!("recordings/{}", key(&row)))).expect("it is there");
        assert_eq!((&row["complete"], &row["sha256"]), (&json!(true), &json!(sha256(&video))), "{row}");
        assert_recorded(&row, &video, longer());
        row
    }

    /// What a claim between the beginning of the upload and its end has stored goes when it is old.
    async fn only_what_is_named_stays(&self, row: &Value) {
        let fence: u64 = key(row).split('.').nth(1).unwrap().parse().unwrap();
        let (named, other) =
            (format!("recordings/{}", key(row)), format!("recordings/talk.{}.mkv", fence + 1));
        // Made of it for somebody who wanted one.
        let mp4 = named.replace(".mkv", ".mp4");
        for name in [&other, &mp4] {
            std::fs::write(self.server.file(name), "a try").unwrap();
        }
        for name in [&named, &other, &mp4] {
            make_old(&self.server.file(name));
        }
        soon(WITHIN, "it goes", async || (!self.server.file(&other).exists()).then_some(())).await;
        assert!(self.server.file(&named).exists() && self.server.file(&mp4).exists());
    }

    /// Nothing of an upload is left, nor of what stands beside one.
    async fn nothing_left(&self) {
        soon(WITHIN, "nothing is left of what was sent", async || {
            let notes = self.server.keys().into_iter().filter(|key| key.starts_with("assembly/")).count();
            (notes == 0 && self.server.parts() == 0).then_some(())
        })
        .await;
    }
}

fn key(row: &Value) -> &str {
    row["key"].as_str().expect("a name")
}

/// `<recordId>.<fence>.<mark>.<extension>`
fn was_sent_in_parts(row: &Value) -> bool {
    key(row).split('.').count() == 4
}

/// The digest of the video as one node makes it that nothing happens to.
async fn undisturbed(nodes: &Nodes, node: usize, chunks: &[Vec<u8>]) -> Value {
    let mut recorder = Recorder::start(nodes.cluster.address(node), json!({ "recordId": "again" })).await;
    recorder.store_all(0, chunks).await;
    recorder.stop_and_wait(chunks).await;
    nodes.check(node, "again").await["sha256"].clone()
}

#[tokio::test]
async fn parts_go_up_while_it_is_recorded_and_the_first_one_at_its_end() {
    let (Some(nodes), chunks) = (Nodes::start(1).await, chunks()) else { return };
    let mut recorder = nodes.begin("talk", &chunks).await;
    assert_eq!(nodes.parts("talk", 1), 0, "its head is not complete");
    assert!(
        !nodes.server.keys().iter().any(|key| key.starts_with("recordings/")),
        "nothing is there before its end"
    );
    recorder.store_all(u32::try_from(ENOUGH).unwrap(), &chunks[ENOUGH..]).await;
    recorder.stop_and_wait(&chunks).await;
    let row = nodes.check(0, "talk").await;
    assert!(was_sent_in_parts(&row), "{row}");
    let video = nodes.server.file(&format!("recordings/{}", key(&row)));
    let parts = std::fs::metadata(video).expect("it is there").len().div_ceil(PART_BYTES);
    let sent: Vec<_> = (1..=parts).map(|number| nodes.parts("talk", number)).collect();
    assert!(parts > 5 && sent.iter().all(|times| *times == 1), "each of them once: {sent:?}");
    nodes.nothing_left().await;
    nodes.only_what_is_named_stays(&row).await;
}

/// What is up is neither read nor sent again, and the bytes are the same.
#[tokio::test]
async fn another_node_goes_on_with_what_is_up() {
    let (Some(mut nodes), chunks) = (Nodes::start(2).await, chunks()) else { return };
    // The rest comes to the other node, or there is none but what is acknowledged already.
    for (id, all_before) in [("goes-on", false), ("is-over", true)] {
        let mut recorder = nodes.begin(id, &chunks).await;
        if all_before {
            recorder.store_all(u32::try_from(ENOUGH).unwrap(), &chunks[ENOUGH..]).await;
        }
        let token = recorder.token();
        nodes.cluster.kill(0);
        let (sent, read) = (nodes.parts(id, 2), nodes.reads(id, 0..16));
        let mut recorder = Recorder::go_on(nodes.cluster.address(1), &token).await;
        if !all_before {
            recorder.store_all(u32::try_from(ENOUGH).unwrap(), &chunks[ENOUGH..]).await;
        }
        recorder.stop_and_wait(&chunks).await;
        let row = nodes.check(1, id).await;
        assert!(was_sent_in_parts(&row), "{row}");
        let again = (nodes.parts(id, 2), nodes.reads(id, 0..16));
        assert_eq!(again, (sent, read), "{id}: the second part, and the chunks that are in it");
        assert_eq!(nodes.parts(id, 3), 1, "{id}");
        nodes.nothing_left().await;
        nodes.cluster.restart(0).await;
        if all_before {
            assert_eq!(row["sha256"], undisturbed(&nodes, 1, &chunks).await);
        }
    }
}

/// Its sound goes on in another codec: ffmpeg makes all of it, and what is up already goes.
#[tokio::test]
async fn what_is_up_of_one_that_only_ffmpeg_can_make_goes() {
    let (Some(nodes), chunks) = (Nodes::start(1).await, chunks()) else { return };
    let mut recorder = nodes.begin("talk", &chunks).await;
    recorder.store_all(u32::try_from(ENOUGH).unwrap(), &chunks[ENOUGH..]).await;
    let (last, length) = (u32::try_from(CHUNKS).unwrap(), u32::try_from(webm().len()).unwrap());
    recorder.send_bytes(frame_of(last, 1, length, crc32c::crc32c(webm()), webm())).await;
    recorder.expect_ack(last).await;
    recorder.stop(json!({ "chunks": CHUNKS + 1 })).await;
    recorder.expect("finished").await;
    let row = soon(WITHIN, "it is ready", async || {
        let row = status(nodes.cluster.address(0), "talk").await;
        (row["state"] == "ready").then_some(row)
    })
    .await;
    assert_eq!((&row["complete"], &row["chunks"]), (&json!(true), &json!(CHUNKS + 1)), "{row}");
    assert!(!was_sent_in_parts(&row), "{row}");
    nodes.nothing_left().await;
}

#[tokio::test]
async fn a_bucket_that_takes_no_parts_for_a_while_holds_nothing_up() {
    let (Some(nodes), chunks) = (Nodes::start(1).await, chunks()) else { return };
    nodes.server.fail("PUT", "partNumber=2&", u32::MAX, Fault::Answer(500, "InternalError"));
    let mut recorder = Recorder::start(nodes.cluster.address(0), json!({ "recordId": "talk" })).await;
    recorder.store_all(0, &chunks[..ENOUGH]).await;
    eventually("it was tried", async || (nodes.parts("talk", 2) > 0).then_some(())).await;
    nodes.server.mend();
    for (index, chunk) in (u32::try_from(ENOUGH).unwrap()..).zip(&chunks[ENOUGH..]) {
        soon(WITHIN, "the chunk is taken", async || {
            recorder.chunk(index, chunk).await;
            (recorder.next().await["type"] == "chunkAck").then_some(())
        })
        .await;
    }
    recorder.stop_and_wait(&chunks).await;
    let row = nodes.check(0, "talk").await;
    assert!(was_sent_in_parts(&row), "they went up later: {row}");
    nodes.nothing_left().await;
}

/// By somebody, or by a rule of the bucket that ends what is a day old.
#[tokio::test]
async fn an_upload_that_somebody_has_ended_is_sent_as_a_whole() {
    let (Some(mut nodes), chunks) = (Nodes::start(2).await, chunks()) else { return };
    for (id, dies) in [("talk", false), ("another", true)] {
        let mut recorder = nodes.begin(id, &chunks).await;
        let gone = Fault::Answer(404, "NoSuchUpload");
        nodes.server.fail("PUT", &format!(".{}.mkv", nodes.mark(id)), u32::MAX, gone);
        let (token, node) = (recorder.token(), usize::from(dies));
        if dies {
            nodes.cluster.kill(0);
            recorder = Recorder::go_on(nodes.cluster.address(1), &token).await;
        }
        recorder.store_all(u32::try_from(ENOUGH).unwrap(), &chunks[ENOUGH..]).await;
        recorder.stop(json!({ "chunks": CHUNKS, "bytes": longer().len() })).await;
        let row = nodes.check(node, id).await;
        assert!(!was_sent_in_parts(&row), "{row}");
        nodes.server.mend();
        nodes.nothing_left().await;
    }
}

#[tokio::test]
async fn a_recording_that_is_aborted_leaves_nothing_of_it_in_its_bucket() {
    let (Some(nodes), chunks) = (Nodes::start(1).await, chunks()) else { return };
    let recorder = nodes.begin("talk", &chunks).await;
    let bearer = format!("Bearer {}", recorder.token());
    let gone =
        send(nodes.cluster.address(0), "DELETE /recordings/talk", &[("Authorization", &bearer)], b"").await;
    assert_eq!(gone.status, 204, "{gone:?}");
    nodes.nothing_left().await;
    assert!(!nodes.server.keys().iter().any(|key| key.starts_with("recordings/talk")));
}
