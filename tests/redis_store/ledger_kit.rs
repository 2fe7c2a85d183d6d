//! Nodes as far as the ledger sees them, and short words for what they ask.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use greenroom::{
    adapters::{
        clock::Clock,
        ports::{Ledger as _, LedgerError, Patience, StoredChunk},
        redis::{RedisLedger, RedisSettings, RedisStore},
    },
    domain::recording::{
        Attached, Claim, Fault, Finished, Manifest, Noted, RecordingRules, Unplaced, VideoFacts,
    },
    metrics::Metrics,
    protocol::{
        Fence, NodeId, RecordId, Refusal, UploadToken,
        chunk::{ChunkIndex, ChunkMark},
        recorder::{Framing, MimeType, RecordingState, VideoKey},
    },
};

use crate::{
    kit::{room, user},
    support::Redis,
};

pub const HOUR: Duration = Duration::from_secs(3600);
pub const RULES: RecordingRules = RecordingRules {
    grace: Duration::from_secs(60),
    lease: HOUR,
    bytes_max: 1 << 30,
    duration_max: Duration::from_secs(8 * 3600),
};

/// A node's ledger.
pub struct Books {
    pub node: NodeId,
    pub store: Arc<RedisStore>,
    pub ledger: RedisLedger,
    pub metrics: Metrics,
}

impl Books {
    pub fn on(redis: &Redis, name: &str) -> Self {
        Self::under(RULES, redis, name)
    }

    /// The same by other rules.
    pub fn under(rules: RecordingRules, redis: &Redis, name: &str) -> Self {
        Self::with(patient(&redis.url()), name, rules)
    }

    pub fn with(settings: RedisSettings, name: &str, rules: RecordingRules) -> Self {
        let node = NodeId::parse(name).expect("valid");
        let metrics = Metrics::new().expect("good names");
        let store = RedisStore::new(settings, Clock::start(), metrics.clone()).expect("good settings");
        let ledger = RedisLedger::new(store.clone(), node.clone(), rules);
        Self { node, store, ledger, metrics }
    }

    /// Opens a recording, in a room and by an owner where these are named.
    pub async fn opened(
        &self,
        name: &str,
        in_room: Option<&str>,
        by: Option<&str>,
    ) -> (UploadToken, Attached) {
        let token = token(&id(name), 1);
        let attached = self.open(&token, in_room, by, 100).await.expect("Redis answers").expect("opened");
        (token, attached)
    }

    pub async fn open(
        &self,
        token: &UploadToken,
        in_room: Option<&str>,
        by: Option<&str>,
        owner_max: u32,
    ) -> Result<Result<Attached, Refusal>, LedgerError> {
        let mut manifest = manifest_of(token, self.ledger.now_ms().await?);
        (manifest.room, manifest.owner) = (in_room.map(room), by.map(user));
        self.ledger.open(manifest, owner_max).await
    }

    pub async fn noted(&self, name: &str, index: u32) -> Option<Noted> {
        let noted = self.ledger.note(token(&id(name), 1), at(index), mark(index), Patience::Socket).await;
        noted.expect("Redis answers")
    }

    pub async fn claims(&self) -> Vec<Claim> {
        self.ledger.claim_due(100, Duration::ZERO).await.expect("Redis answers")
    }

    pub async fn rooms(&self) -> Vec<String> {
        let rooms = self.ledger.recorded_rooms().await.expect("Redis answers");
        rooms.iter().map(ToString::to_string).collect()
    }
}

/// Settings of a node that waits as long as a busy machine may take.
pub fn patient(url: &str) -> RedisSettings {
    RedisSettings { timeout: Duration::from_secs(10), ..RedisSettings::single(url) }
}

pub fn id(name: &str) -> RecordId {
    RecordId::parse(name).expect("valid")
}

pub fn token(id: &RecordId, secret: u8) -> UploadToken {
    UploadToken::new(id.clone(), [secret; 32])
}

/// As indexes of rooms and owners name the recording of this token.
pub fn entry(id: &RecordId, secret: u8) -> String {
    format!("{id} {}", &token(id, secret).digest().to_hex()[..16])
}

/// What a chunk is asked for that came over HTTP.
pub fn unplaced(length: u32) -> Unplaced {
    Unplaced { length, may_begin: true, generation: None }
}

pub fn at(index: u32) -> ChunkIndex {
    ChunkIndex::new(index).expect("in range")
}

pub fn mark(index: u32) -> ChunkMark {
    ChunkMark { length: 10 + index, crc: index, begins_segment: index == 0, timecode_ms: None }
}

pub fn fault() -> Fault {
    Fault { code: "merge_failed".to_owned(), message: "\"quoted\"".to_owned() }
}

pub fn finished(id: &RecordId, chunks: u32) -> Finished {
    let video = VideoFacts {
        key: VideoKey::new(id, Fence(1), "webm"),
        poster: None,
        duration_ms: 1,
        size_bytes: u64::MAX,
        sha256: Some(String::new()),
        codecs: vec![],
        complete: true,
        gaps: vec![],
        work: vec![],
    };
    Finished {
        video,
        mime_type: "video/webm".to_owned(),
        missing: vec![],
        chunks,
        ready_ms: 1,
        poster_follows: false,
    }
}

pub fn manifest_of(token: &UploadToken, started_ms: u64) -> Manifest {
    Manifest {
        record_id: token.record_id().clone(),
        token: token.digest(),
        mime_type: MimeType::parse("video/webm;codecs=\"vp8,opus\"").expect("valid"),
        framing: Framing::Raw,
        room: None,
        title: None,
        owner: None,
        started_ms,
        ended_ms: None,
        state: RecordingState::Recording,
        stopped: false,
        announced: None,
        version: 1,
        fence: Fence(started_ms),
        keep_until_ms: None,
        merged_chunks: None,
        unheard: 0,
        fault: None,
        finished: None,
        revision: 0,
    }
}

/// A chunk store as far as a ledger is put back from it: whatever is there first stands.
#[derive(Default)]
pub struct Shelf(Mutex<BTreeMap<u32, ChunkMark>>);

impl Shelf {
    /// What has the place now.
    pub fn commit(&self, index: ChunkIndex, mark: ChunkMark) -> ChunkMark {
        *self.0.lock().expect("whole").entry(index.get()).or_insert(mark)
    }

    pub fn list(&self) -> Vec<StoredChunk> {
        let stored = self.0.lock().expect("whole");
        stored.iter().map(|(&index, &mark)| StoredChunk { index: at(index), mark }).collect()
    }
}
