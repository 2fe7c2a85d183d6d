//! A recording from its beginning to the time when it is forgotten, over two nodes of which the first dies.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::{
    s3::S3Server,
    support::{
        Cluster, Heard, Postgres, Recorder, Redis, age, assert_recorded, cut, cut_at, get, large, names,
        ready, soon, video, webm,
    },
};

/// Chunks of the recording.
const CHUNKS: usize = 5;
/// A recording of which nobody was told, and which has no chunk, is waited for as one over HTTP is: half a minute.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(60);
/// What nodes are told: leases and graces as short as they can be, and a recording is forgotten soon.
const FLAGS: [&str; 4] =
    ["--lease-secs=2", "--recording-grace-secs=3", "--reopen-secs=1", "--housekeeping-secs=1"];

/// How its chunks come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// With their places.
    Indexed,
    /// In order, and one by one.
    Raw,
}

/// Where chunks and videos are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In folders that the nodes share.
    Folder,
    /// In a bucket.
    Bucket,
    /// Chunks in Redis, videos in a folder.
    Redis,
}

/// A recorder as a page is: it has its chunks until they are acknowledged.
struct Story {
    cluster: Cluster,
    /// `None`: everything is in folders, or in Redis.
    bucket: Option<S3Server>,
    framing: Framing,
    media: &'static [u8],
    chunks: Vec<Vec<u8>>,
    token: Option<String>,
    acked: BTreeSet<u32>,
    /// `recordingReady`, once it came.
    told: Option<Value>,
}

/// The first node dies at this point, whenever it comes to it.
pub async fn die_at(point: &str, framing: Framing, place: Place) {
    die(point, framing, place, (webm(), cut(webm(), CHUNKS, 400))).await;
}

/// The same with a video that goes into its bucket in parts.
pub async fn die_at_a_large_one(point: &str) {
    let borders: Vec<usize> = (1..CHUNKS).map(|border| border * large().len() / CHUNKS).collect();
    die(point, Framing::Indexed, Place::Bucket, (large(), cut_at(large(), &borders))).await;
}

async fn die(point: &str, framing: Framing, place: Place, (media, chunks): (&'static [u8], Vec<Vec<u8>>)) {
    if !Redis::is_here() {
        return;
    }
    if place == Place::Bucket && !Postgres::is_here() {
        return;
    }
    let bucket = (place == Place::Bucket).then(S3Server::start);
    let mut database = None;
    let mut flags = FLAGS.map(str::to_owned).to_vec();
    match &bucket {
        Some(bucket) => {
            let postgres = Postgres::start().await;
            postgres.create("greenroom").await;
            flags.push(format!("--database-url={}", postgres.url("greenroom")));
            flags.extend(bucket.flags("S3"));
            database = Some(postgres);
        }
        None if place == Place::Redis => flags.push("--chunk-store=REDIS".to_owned()),
        None => {}
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Cluster::start_with(0, &flags).await;
    cluster.add(&[&format!("--crash-at={point}")]).await;
    let (acked, token, told) = (BTreeSet::new(), None, None);
    let mut story = Story { cluster, bucket, framing, media, chunks, token, acked, told };
    story.record(0).await;
    story.cluster.ended(0).await;
    story.cluster.add(&[]).await;
    if story.told.is_none() {
        story.record(1).await;
    }
    story.check().await;
    drop(database);
}

impl Story {
    /// Records by way of this node until the video is there, or the node is not.
    async fn record(&mut self, node: usize) {
        let mut recorder = Recorder::connect(self.cluster.address(node)).await;
        recorder.ask_to_begin(self.start()).await;
        let Some(started) = self.hear(&mut recorder, "started").await else { return };
        self.token = started["uploadToken"].as_str().map(str::to_owned);
        recorder.started = started;
        // It may be past taking chunks: then it says what has become of it.
        if recorder.started["state"] == "recording" && self.send(&mut recorder).await.is_none() {
            return;
        }
        self.told = self.hear(&mut recorder, "recordingReady").await;
    }

    fn start(&self) -> Value {
        let framing = if self.framing == Framing::Raw { "raw" } else { "indexed" };
        match &self.token {
            Some(token) => json!({ "uploadToken": token, "framing": framing }),
            // Nobody was told of a recording whose beginning was cut off; its name may be taken.
            None if self.cluster.len() > 1 => json!({ "recordId": "again", "framing": framing }),
            None => json!({ "recordId": "talk", "framing": framing }),
        }
    }

    /// Sends what is not acknowledged, one after the other, and says stop. `None`: the node is gone.
    async fn send(&mut self, recorder: &mut Recorder) -> Option<()> {
        let stored = recorder.started["nextIndex"].as_u64().expect("a number");
        for (index, chunk) in (0..).zip(self.chunks.clone()) {
            match self.framing {
                Framing::Indexed if self.acked.contains(&index) => continue,
                // What is stored has a number, acknowledged or not.
                Framing::Raw if u64::from(index) < stored => continue,
                Framing::Indexed => recorder.try_chunk(index, &chunk).await,
                Framing::Raw => recorder.try_bytes(chunk).await,
            }
            let ack = self.hear(recorder, "chunkAck").await?;
            assert_eq!(ack["index"], index, "{ack}");
            self.acked.insert(index);
        }
        recorder.try_stop(json!({ "chunks": CHUNKS, "bytes": self.media.len() })).await;
        self.hear(recorder, "finished").await.map(drop)
    }

    /// Waits for an event of this type; what is refused, is told. `None`: the socket has ended.
    async fn hear(&mut self, recorder: &mut Recorder, kind: &str) -> Option<Value> {
        loop {
            match recorder.hear().await {
                Heard::Closed(_) => return None,
                Heard::Message(event) if event["type"] == kind => return Some(event),
                Heard::Message(event) if ["mergeProgress", "finished"].contains(&type_of(&event)) => {}
                Heard::Message(event) => panic!("{kind} is awaited: {event}"),
            }
        }
    }

    /// Everything, as it is at the end.
    async fn check(mut self) {
        let node = self.cluster.address(1);
        let token = self.token.take().expect("it was begun");
        let (id, _) = token.split_once('.').expect("a token");
        let row = ready(node, id).await;
        assert_eq!((&row["complete"], &row["version"]), (&json!(true), &json!(1)), "{row}");
        if let Some(told) = &self.told {
            assert_eq!(told["sha256"], row["sha256"], "what was told is what there is");
        }
        let bytes = match &self.bucket {
            Some(bucket) => {
                let key = row["key"].as_str().expect("a name");
                std::fs::read(bucket.file(&format!("recordings/{key}"))).expect("it is in the bucket")
            }
            None => video(node, &row).await,
        };
        assert_recorded(&row, &bytes, self.media);
        self.only_left(&row).await;
        let list = get(node, "/recordings?state=ready").await.json();
        assert_eq!(list["recordings"].as_array().map(Vec::len), Some(1), "{list}");
    }

    /// Waits until nothing is left but the video: in no folder, however young it was, and not in Redis.
    async fn only_left(&mut self, row: &Value) {
        // The dead node's next life clears up after it.
        self.cluster.restart(0).await;
        let storage = self.cluster.storage(1);
        let name = |url: &Value| url.as_str().expect("a link").rsplit_once('/').expect("a link").1.to_owned();
        let kept = BTreeSet::from([name(&row["downloadUrl"]), name(&row["posterUrl"])]);
        soon(FORGOTTEN_WITHIN, "nothing but the video is left", async || {
            age(&storage);
            let merges = names(&storage.join("tmp")).into_iter();
            let merges: usize = merges.map(|node| names(&storage.join("tmp").join(node)).len()).sum();
            let (chunks, videos) = match &self.bucket {
                Some(bucket) => {
                    age(&bucket.file(""));
                    let keys = bucket.keys().into_iter();
                    let chunks = keys.filter(|key| key.starts_with("chunks/")).count();
                    (chunks, names(&bucket.file("recordings")))
                }
                None => (names(&storage.join("chunks")).len(), names(&storage.join("recordings"))),
            };
            (chunks == 0 && merges == 0 && videos == kept).then_some(())
        })
        .await;
        let redis = self.cluster.redis();
        soon(FORGOTTEN_WITHIN, "Redis has forgotten it", async || {
            let left = redis.keys().into_iter().filter(|key| key.starts_with("recording:"));
            // Bytes of chunks that belong to nothing any more go by themselves.
            let goes = |key: &String| key.contains(":data:") && redis.run::<i64>(&["PTTL", key]) > 0;
            let left = left.filter(|key| !goes(key)).count();
            let due: u64 = redis.run(&["ZCARD", "recordings:active"]);
            (left == 0 && due == 0).then_some(())
        })
        .await;
    }
}

fn type_of(event: &Value) -> &str {
    event["type"].as_str().unwrap_or_default()
}
