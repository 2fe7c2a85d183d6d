//! What tests of accounts and of chunks on their way stand on: real stores in a folder, and a ledger that can be away.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tempfile::TempDir;

use super::Accounts;
use crate::{
    adapters::{
        catalog::{SqlCatalog, sqlite_url},
        chunk_store::FolderChunks,
        clock::Clock,
        ffmpeg::{FfmpegConfig, FfmpegMerger},
        memory_exports::MemoryExports,
        memory_ledger::MemoryLedger,
        ports::{
            Catalog as _, CatalogRow, ChunkStore as _, ClaimEnd, Committed, Ledger, LedgerError, LedgerView,
            Loss, Patience, PortFuture, RecordingPorts, RecordingRef, SameStores, StoredChunk,
        },
        video_store::FolderVideos,
    },
    domain::recording::{
        Attached, Claim, Finished, Kept, Manifest, Noted, Number, Placed, RecordingRules, StopRefused,
        StopTaken, Unplaced,
    },
    metrics::Metrics,
    protocol::{
        Fence, NodeId, RecordId, Refusal, RoomName, TokenDigest, UploadToken,
        chunk::{Chunk, ChunkIndex, ChunkMark},
        recorder::{Framing, Made, MimeType, RecordingState},
    },
};

/// Which operations get no answer.
type Away = Box<dyn Fn(&str) -> bool + Send>;

/// Rules that are in nobody's way.
pub const RULES: RecordingRules = RecordingRules {
    grace: Duration::from_secs(60),
    lease: Duration::from_secs(60),
    bytes_max: u64::MAX,
    duration_max: Duration::MAX,
};

/// A ledger in memory that does not answer what it is told not to, and counts what it is asked.
pub struct FlakyLedger {
    inner: Arc<MemoryLedger>,
    away: Mutex<Away>,
    hung: Mutex<Away>,
    asked: Mutex<HashMap<&'static str, u32>>,
    ahead_ms: AtomicU64,
}

impl FlakyLedger {
    fn new() -> Self {
        let inner = MemoryLedger::new(NodeId::parse("node").expect("valid"), Clock::start(), RULES);
        let none = || Mutex::new(Box::new(|_: &str| false) as Away);
        let (inner, ahead_ms) = (Arc::new(inner), AtomicU64::new(0));
        Self { inner, away: none(), hung: none(), asked: Mutex::default(), ahead_ms }
    }

    /// From now on these operations get no answer.
    pub fn away_for(&self, operations: impl Fn(&str) -> bool + Send + 'static) {
        *self.away.lock().expect("whole") = Box::new(operations);
    }

    /// From now on these operations never end.
    pub fn hang_at(&self, operations: impl Fn(&str) -> bool + Send + 'static) {
        *self.hung.lock().expect("whole") = Box::new(operations);
    }

    /// What answers where something does: for what others do meanwhile.
    pub fn inner(&self) -> Arc<MemoryLedger> {
        self.inner.clone()
    }

    /// Its clock is so much ahead of this node's, as far as is known without asking.
    pub fn clock_is_ahead(&self, by_ms: u64) {
        self.ahead_ms.store(by_ms, Ordering::Relaxed);
    }

    /// How often an operation was asked.
    pub fn asked(&self, operation: &str) -> u32 {
        self.asked.lock().expect("whole").get(operation).copied().unwrap_or(0)
    }

    fn ask<T: Send + 'static>(
        &self,
        operation: &'static str,
        ask: impl FnOnce(&MemoryLedger) -> PortFuture<Result<T, LedgerError>>,
    ) -> PortFuture<Result<T, LedgerError>> {
        *self.asked.lock().expect("whole").entry(operation).or_default() += 1;
        if self.away.lock().expect("whole")(operation) {
            return Box::pin(std::future::ready(Err(LedgerError::Unavailable("it is away".to_owned()))));
        }
        if self.hung.lock().expect("whole")(operation) {
            return Box::pin(std::future::pending());
        }
        ask(&self.inner)
    }
}

/// The operations as they are, but for what is away.
macro_rules! as_is {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($argument: $kind),*) -> PortFuture<Result<$answer, LedgerError>> {
            self.ask(stringify!($name), |inner| inner.$name($($argument),*))
        })*
    };
}

impl Ledger for FlakyLedger {
    fn known_now_ms(&self) -> Option<u64> {
        self.inner.known_now_ms().map(|now| now + self.ahead_ms.load(Ordering::Relaxed))
    }

    as_is! {
        now_ms() -> u64;
        open(manifest: Manifest, owner_max: u32) -> Result<Attached, Refusal>;
        attach(token: UploadToken) -> Result<Attached, Refusal>;
        authorise(token: UploadToken) -> Result<(), Refusal>;
        admit(token: UploadToken, chunk: Unplaced) -> Result<(), Refusal>;
        place(token: UploadToken, index: ChunkIndex, mark: ChunkMark, may_begin: bool)
            -> Result<Placed, Refusal>;
        number(token: UploadToken, chunk: Unplaced) -> Result<Number, Refusal>;
        give_back(id: RecordId, number: Number) -> bool;
        late_numbers(id: &RecordId) -> Vec<ChunkIndex>;
        fill(id: RecordId, whose: TokenDigest, voids: Vec<ChunkIndex>) -> ();
        note_numbered(token: UploadToken, number: Number, mark: ChunkMark, patience: Patience)
            -> Option<Noted>;
        note(token: UploadToken, index: ChunkIndex, mark: ChunkMark, patience: Patience) -> Option<Noted>;
        stop(token: UploadToken, made: Made) -> Result<StopTaken, StopRefused>;
        keep(id: RecordId, generation: u64) -> Option<Kept>;
        detach(id: RecordId, generation: u64) -> ();
        claim_due(limit: usize, since: Duration) -> Vec<Claim>;
        claim(id: &RecordId) -> Option<Claim>;
        keep_claim(id: RecordId, fence: Fence, percent: Option<u8>) -> bool;
        holds(id: RecordId, fence: Fence) -> bool;
        publish(id: RecordId, fence: Fence, finished: Finished) -> Option<Manifest>;
        settle(id: RecordId, fence: Fence, end: ClaimEnd) -> Option<Manifest>;
        release(id: RecordId, fence: Fence) -> Option<Manifest>;
        retry(id: &RecordId) -> bool;
        restore(manifest: Manifest, chunks: Vec<StoredChunk>) -> ();
        is_whole() -> bool;
        loss() -> Loss;
        set_whole(loss: Loss) -> ();
        missing(id: &RecordId) -> Vec<u32>;
        show(id: &RecordId) -> Option<LedgerView>;
        recorded_rooms() -> Arc<BTreeSet<RoomName>>;
        forget_chunks(id: &RecordId, fence: Fence) -> bool;
        close(id: &RecordId, which: Option<TokenDigest>) -> Option<Manifest>;
        leads(what: &'static str, term: Duration) -> bool;
    }
}

/// What a chunk is asked for that came over HTTP.
pub fn unplaced(length: u32) -> Unplaced {
    Unplaced { length, may_begin: true, generation: None }
}

/// A node's stores, with nothing in them.
pub struct Stores {
    /// Where everything is.
    pub folder: TempDir,
    /// Who may do what.
    pub ledger: Arc<FlakyLedger>,
    /// Where chunks are.
    pub chunks: Arc<FolderChunks>,
    /// What people look at.
    pub catalog: Arc<SqlCatalog>,
}

impl Stores {
    /// Stores in a folder of their own.
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = sqlite_url(&folder.path().join("recordings.db"));
        Self {
            ledger: Arc::new(FlakyLedger::new()),
            chunks: Arc::new(FolderChunks::open(folder.path()).expect("a folder")),
            catalog: Arc::new(
                SqlCatalog::open(&url, Metrics::new().expect("valid")).await.expect("a database"),
            ),
            folder,
        }
    }

    /// The way to the accounts.
    pub fn accounts(&self) -> Accounts {
        Accounts::of(&self.ports())
    }

    /// Everything that recordings stand on. Nothing can be merged.
    pub fn ports(&self) -> RecordingPorts {
        let program = || "nothing".into();
        let time_limit = Duration::from_secs(1);
        let merger = FfmpegMerger::new(FfmpegConfig { ffmpeg: program(), ffprobe: program(), time_limit });
        RecordingPorts {
            chunks: self.chunks.clone(),
            videos: Arc::new(FolderVideos::open(self.folder.path()).expect("a folder")),
            ledger: self.ledger.clone(),
            catalog: self.catalog.clone(),
            outbox: self.catalog.clone(),
            exporter: Arc::new(merger.clone()),
            merger: Arc::new(merger),
            exports: Arc::new(MemoryExports::new(Clock::start())),
            same_stores: SameStores::alone(),
        }
    }

    /// From now on the ledger counts as one that has lost nothing.
    pub async fn set_whole(&self) {
        let loss = self.ledger.loss().await.expect("answers");
        self.ledger.set_whole(loss).await.expect("answers");
    }

    /// A recording that is in the chunk store, with these chunks, and in no ledger.
    pub async fn stored(&self, manifest: &Manifest, chunks: &[&'static [u8]]) {
        assert!(self.chunks.create(manifest.clone()).await.expect("stored"));
        for (index, bytes) in (0..).zip(chunks) {
            let chunk = chunk(bytes);
            let staged = self.chunks.stage(&RecordingRef::of(manifest), chunk.payload).await.expect("staged");
            let committed = staged.commit(place(index), chunk.mark).await.expect("stored");
            assert_eq!(committed, Committed::Stored);
        }
    }

    /// A row that the catalog has.
    pub async fn put(&self, row: CatalogRow) {
        assert!(self.catalog.put(row, Vec::new()).await.expect("written"));
    }
}

/// The token of a recording, and so who may add to it.
pub fn token(name: &str) -> UploadToken {
    UploadToken::new(RecordId::parse(name).expect("valid"), [7; 32])
}

/// A place.
pub fn place(index: u32) -> ChunkIndex {
    ChunkIndex::new(index).expect("in range")
}

/// What a recording may begin with.
pub const HEAD: &[u8] = b"\x1a\x45\xdf\xa3 and so on";

/// A chunk of these bytes.
pub fn chunk(bytes: &'static [u8]) -> Chunk {
    Chunk::raw(Bytes::from_static(bytes)).expect("a chunk")
}

/// A recording under way.
pub fn manifest(name: &str) -> Manifest {
    let token = token(name);
    Manifest {
        record_id: token.record_id().clone(),
        token: token.digest(),
        mime_type: MimeType::parse("video/webm").expect("valid"),
        framing: Framing::Indexed,
        room: None,
        title: None,
        owner: None,
        started_ms: 1_700_000_000_000,
        ended_ms: None,
        state: RecordingState::Recording,
        stopped: false,
        announced: None,
        version: 1,
        fence: Fence(1_700_000_000_000),
        keep_until_ms: None,
        merged_chunks: None,
        unheard: 0,
        fault: None,
        finished: None,
        revision: 0,
    }
}
