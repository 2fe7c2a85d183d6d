//! A recording from its beginning to the time when it is forgotten, over two nodes of which the first dies.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    s3::S3Server,
    support::{Cluster, Heard, Postgres, Recorder, Redis, cut, cut_evenly, large, longer, mp4, soon, webm},
};

/// Chunks of the recording.
pub const CHUNKS: usize = 5;
/// So many that what is assembled of them is saved three times before they are all there.
const MANY_CHUNKS: usize = 26;
/// Chunks of one of which parts go up while it comes.
const CHUNKS_OF_PARTS: usize = 40;
/// Where the second node has its files then, on a disk of its own.
pub const OTHER_DISK: &str = "tmp-of-another";
/// A recording of which nobody was told, and which has no chunk, is waited for as one over HTTP is: half a minute.
pub const FORGOTTEN_WITHIN: Duration = Duration::from_secs(60);
/// Before a page that was not let in tries again.
const AGAIN: Duration = Duration::from_millis(100);
/// What nodes are told: leases and graces as short as they can be, a recording is forgotten soon, and an owner has one at a time.
const FLAGS: [&str; 5] = [
    "--lease-secs=2",
    "--recording-grace-secs=3",
    "--reopen-secs=1",
    "--housekeeping-secs=1",
    "--max-owner-recordings=1",
];

/// Where it is recorded, and whose it is.
pub const ROOM: &str = "blue";
pub const OWNER: &str = "ada";
/// Points at which a recording has been begun, and nobody is told of it any more.
const UNTOLD: [&str; 3] = ["open.created", "open.opened", "bucket.begun"];

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
pub struct Story {
    pub cluster: Cluster,
    /// `None`: everything is in folders, or in Redis.
    pub bucket: Option<S3Server>,
    _database: Option<Postgres>,
    /// Where it happens to the first node.
    pub point: String,
    framing: Framing,
    pub media: &'static [u8],
    chunks: Vec<Vec<u8>>,
    pub token: Option<String>,
    acked: BTreeSet<u32>,
    /// Whether it says that everything was sent. Otherwise it waits for the end of its node.
    says_stop: bool,
    /// `recordingReady`, once it came.
    pub told: Option<Value>,
}

/// The first node dies at this point, whenever it comes to it.
pub async fn die_at(point: &str, framing: Framing, place: Place) {
    die(point, framing, place, (webm(), cut(webm(), CHUNKS, 400))).await;
}

/// The same with a video that goes into its bucket in parts.
pub async fn die_at_a_large_one(point: &str) {
    die(point, Framing::Indexed, Place::Bucket, (large(), cut_evenly(large(), CHUNKS))).await;
}

/// The same while the recording comes, of which nobody says that it is over before that.
pub async fn die_before_stop(point: &str, framing: Framing, place: Place) {
    let Some(mut story) = Story::begin("crash", point, place).await else { return };
    (story.framing, story.chunks, story.says_stop) = (framing, cut_evenly(webm(), MANY_CHUNKS), false);
    story.over_two_nodes().await;
}

/// The same at the end of one of which others could go on with what was saved.
pub async fn die_saved(point: &str, framing: Framing, place: Place) {
    die(point, framing, place, (webm(), cut_evenly(webm(), MANY_CHUNKS))).await;
}

/// The same in MP4.
pub async fn die_saved_in_mp4(point: &str) {
    die(point, Framing::Indexed, Place::Folder, (mp4(), cut_evenly(mp4(), MANY_CHUNKS))).await;
}

/// The first node dies when it has saved something, and the second at this point, as it takes that over.
pub async fn die_taking_over(point: &str, framing: Framing, place: Place) {
    die_second(point, framing, place, webm()).await;
}

/// The same in MP4.
pub async fn die_taking_over_in_mp4(point: &str) {
    die_second(point, Framing::Indexed, Place::Folder, mp4()).await;
}

async fn die_second(point: &str, framing: Framing, place: Place, media: &'static [u8]) {
    let Some(mut story) = Story::begin("crash", "assembly.saved", place).await else { return };
    (story.framing, story.media, story.says_stop) = (framing, media, false);
    story.chunks = cut_evenly(media, MANY_CHUNKS);
    story.record(0).await;
    story.cluster.ended(0).await;
    story.says_stop = true;
    story.cluster.add(&[&format!("--crash-at={point}")]).await;
    story.record(1).await;
    story.cluster.ended(1).await;
    story.cluster.restart(1).await;
    story.second_goes_on().await;
}

/// The same of one of which parts go into a bucket while it comes, over nodes with disks of their own.
pub async fn die_in_parts(point: &str, framing: Framing, place: Place) {
    let Some(story) = Story::begin("crash", point, place).await else { return };
    Story { framing, ..story.of_parts() }.over_two_nodes().await;
}

/// The same before anybody says that it is over.
pub async fn die_in_parts_before_stop(point: &str, framing: Framing, place: Place) {
    let Some(story) = Story::begin("crash", point, place).await else { return };
    Story { framing, says_stop: false, ..story.of_parts() }.over_two_nodes().await;
}

/// The same of one that only ffmpeg can make.
pub async fn die_at_in_mp4(point: &str) {
    die(point, Framing::Indexed, Place::Folder, (mp4(), cut(mp4(), CHUNKS, 402))).await;
}

async fn die(point: &str, framing: Framing, place: Place, takes: (&'static [u8], Vec<Vec<u8>>)) {
    let Some(mut story) = Story::begin("crash", point, place).await else { return };
    (story.framing, (story.media, story.chunks)) = (framing, takes);
    story.over_two_nodes().await;
}

impl Story {
    async fn over_two_nodes(mut self) {
        self.record(0).await;
        self.cluster.ended(0).await;
        let disk = format!("--temp-dir={}", self.cluster.storage(0).join(OTHER_DISK).display());
        let flags: &[&str] = if self.chunks.len() == CHUNKS_OF_PARTS { &[&disk] } else { &[] };
        self.cluster.add(flags).await;
        self.says_stop = true;
        self.second_goes_on().await;
    }

    /// The second node goes on with it.
    async fn second_goes_on(mut self) {
        if self.told.is_none() {
            self.record(1).await;
        }
        let row = self.check_video().await;
        // The dead node's next life clears up after it.
        self.cluster.restart(0).await;
        self.check_rest(&row).await;
    }

    /// One node, to which this (`crash`, `stop`) happens at that point. `None`: something that it takes is not installed.
    pub async fn begin(what: &str, point: &str, place: Place) -> Option<Self> {
        // Where a node stands still in the middle of a change, a file of SQLite is closed to all others.
        let in_postgres = place == Place::Bucket || what == "stop";
        if !Redis::is_here() || in_postgres && !Postgres::is_here() {
            return None;
        }
        let bucket = (place == Place::Bucket).then(S3Server::start);
        let mut flags = FLAGS.map(str::to_owned).to_vec();
        let mut database = None;
        if in_postgres {
            let postgres = Postgres::start().await;
            postgres.create("greenroom").await;
            flags.push(format!("--database-url={}", postgres.url("greenroom")));
            database = Some(postgres);
        }
        flags.extend(bucket.iter().flat_map(|bucket| bucket.flags("S3")));
        if place == Place::Redis {
            flags.push("--chunk-store=REDIS".to_owned());
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut cluster = Cluster::start_with(0, &flags).await;
        cluster.add(&[&format!("--{what}-at={point}")]).await;
        Some(Self {
            cluster,
            bucket,
            _database: database,
            point: point.to_owned(),
            framing: Framing::Indexed,
            media: webm(),
            chunks: cut(webm(), CHUNKS, 400),
            token: None,
            acked: BTreeSet::new(),
            says_stop: true,
            told: None,
        })
    }

    /// Of one whose chunks come in this way.
    pub fn framed(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    /// Of one that is saved while it comes.
    pub fn of_many(self) -> Self {
        Self { chunks: cut_evenly(webm(), MANY_CHUNKS), ..self }
    }

    /// Of one of which parts go into a bucket while it comes.
    pub fn of_parts(self) -> Self {
        let media = longer();
        Self { media, chunks: cut_evenly(media, CHUNKS_OF_PARTS), ..self }
    }

    /// Records by way of this node until the video is there, or the node is not.
    pub async fn record(&mut self, node: usize) {
        let Some(mut recorder) = self.let_in(self.cluster.address(node)).await else { return };
        self.token = Some(recorder.token());
        // It may be past taking chunks: then it says what has become of it.
        if recorder.started["state"] == "recording" && self.send(&mut recorder).await.is_none() {
            return;
        }
        self.told = self.hear(&mut recorder, "recordingReady").await;
    }

    /// Begins, or goes on. A recording of which nobody was told is one of its owner's until it is given up: meanwhile a page tries
    /// again. `None`: the node is gone.
    async fn let_in(&self, node: SocketAddr) -> Option<Recorder> {
        soon(FORGOTTEN_WITHIN, "its owner may record", async || {
            let mut recorder = Recorder::connect(node).await;
            recorder.ask_to_begin(self.start()).await;
            match recorder.hear().await {
                Heard::Closed(_) => Some(None),
                Heard::Message(event) if event["type"] == "started" => {
                    recorder.started = event;
                    Some(Some(recorder))
                }
                Heard::Message(event) => {
                    assert_eq!(event["code"], "too_many_recordings", "{event}");
                    assert!(self.is_untold(), "another of its owner's runs, and nobody knows of it");
                    sleep(AGAIN).await;
                    None
                }
            }
        })
        .await
    }

    /// Whether a recording was begun of which nobody was told.
    pub fn is_untold(&self) -> bool {
        UNTOLD.contains(&self.point.as_str())
    }

    fn start(&self) -> Value {
        let framing = if self.framing == Framing::Raw { "raw" } else { "indexed" };
        let new = |id| json!({ "recordId": id, "framing": framing, "roomName": ROOM, "owner": OWNER });
        match &self.token {
            Some(token) => json!({ "uploadToken": token, "framing": framing }),
            // Nobody was told of a recording whose beginning was cut off; its name may be taken.
            None if self.cluster.len() > 1 => new("again"),
            None => new("talk"),
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
                Framing::Raw => recorder.try_bytes(chunk.clone()).await,
            }
            let ack = self.hear(recorder, "chunkAck").await?;
            assert_eq!(ack["index"], index, "{ack}");
            self.acked.insert(index);
        }
        if !self.says_stop {
            return self.hear(recorder, "an end").await.map(drop);
        }
        recorder.try_stop(json!({ "chunks": self.chunks.len(), "bytes": self.media.len() })).await;
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
}

fn type_of(event: &Value) -> &str {
    event["type"].as_str().unwrap_or_default()
}
