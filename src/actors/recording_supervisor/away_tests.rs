//! A catalog that is away for long: videos become ready all the while, and their rows follow.

use std::{
    future::ready,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::{
    actors::{
        accounts::kit::{HEAD, Stores, manifest, place},
        messages::MergedVideo,
    },
    adapters::{
        catalog::SqlCatalog,
        ports::{
            Catalog, CatalogError, CatalogFilter, CatalogPage, CatalogRow, ChunkStore as _, Deletion,
            DueBefore, Ledger as _, Outbox as _, OutboxEvent, PortFuture,
        },
    },
    domain::recording::{Manifest, VideoFacts},
    protocol::{UserId, recorder::VideoKey},
};

/// More than a node has claims at one time.
const MANY: usize = finalise::CLAIMS_BESIDE + 6;
/// After so long, it does not come to pass.
const DEADLINE: Duration = Duration::from_secs(60);

/// A catalog that answers nothing while it is away.
struct AwayCatalog {
    inner: Arc<SqlCatalog>,
    is_away: AtomicBool,
}

impl AwayCatalog {
    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&SqlCatalog) -> PortFuture<Result<T, CatalogError>>,
    ) -> PortFuture<Result<T, CatalogError>> {
        if self.is_away.load(Ordering::Relaxed) {
            return Box::pin(ready(Err(CatalogError::Unavailable("it is away".to_owned()))));
        }
        ask(&self.inner)
    }
}

impl Catalog for AwayCatalog {
    fn put(&self, row: CatalogRow, events: Vec<OutboxEvent>) -> PortFuture<Result<bool, CatalogError>> {
        self.ask(|inner| inner.put(row, events))
    }

    fn get(&self, id: &RecordId) -> PortFuture<Result<Option<CatalogRow>, CatalogError>> {
        self.ask(|inner| inner.get(id))
    }

    fn page(&self, filter: CatalogFilter) -> PortFuture<Result<CatalogPage, CatalogError>> {
        self.ask(|inner| inner.page(filter))
    }

    fn delete(&self, deletion: Deletion, events: Vec<OutboxEvent>) -> PortFuture<Result<(), CatalogError>> {
        self.ask(|inner| inner.delete(deletion, events))
    }

    fn was_deleted(&self, id: &RecordId, started_ms: u64) -> PortFuture<Result<bool, CatalogError>> {
        self.ask(|inner| inner.was_deleted(id, started_ms))
    }

    fn forget_deleted(&self, before_ms: u64) -> PortFuture<Result<(), CatalogError>> {
        self.ask(|inner| inner.forget_deleted(before_ms))
    }

    fn owner_bytes(&self, owner: &UserId) -> PortFuture<Result<u64, CatalogError>> {
        self.ask(|inner| inner.owner_bytes(owner))
    }

    fn due(&self, before: DueBefore, limit: u32) -> PortFuture<Result<Vec<CatalogRow>, CatalogError>> {
        self.ask(|inner| inner.due(before, limit))
    }
}

/// Makes every video at once.
struct Maker(Recipient<MergeEnded>);

impl Actor for Maker {
    type Context = Context<Self>;
}

impl Handler<MergeRecording> for Maker {
    type Result = ();

    fn handle(&mut self, message: MergeRecording, _: &mut Self::Context) {
        let Manifest { record_id, fence, .. } = &message.manifest;
        let facts = VideoFacts {
            key: VideoKey::new(record_id, *fence, "webm"),
            poster: None,
            duration_ms: 1000,
            size_bytes: 2000,
            sha256: "07".repeat(32),
            codecs: vec!["vp9".to_owned()],
            complete: true,
            gaps: Vec::new(),
            work: Vec::new(),
        };
        let mime_type = "video/webm;codecs=vp9".to_owned();
        let outcome = Ok(MergedVideo { facts, mime_type, missing: Vec::new(), chunks: message.expected });
        self.0.try_send(MergeEnded { manifest: message.manifest, outcome }).expect("there is room");
    }
}

impl Handler<CancelMerge> for Maker {
    type Result = ();

    fn handle(&mut self, _: CancelMerge, _: &mut Self::Context) {}
}

impl Handler<TellRecording> for Maker {
    type Result = ();

    fn handle(&mut self, _: TellRecording, _: &mut Self::Context) {}
}

/// A supervisor that runs, on these stores.
fn run(stores: &Stores, catalog: Arc<AwayCatalog>) -> actix::Addr<RecordingSupervisor> {
    let ports = RecordingPorts { catalog, ..stores.ports() };
    let config = RecordingConfig {
        grace: Duration::from_secs(5),
        reopen: Duration::from_secs(3600),
        duration_max: None,
        cleanup_chunks: true,
        api_base_url: String::new(),
        merge_jobs: 4,
        clustered: false,
        min_free_bytes: 0,
        owner_bytes_max: None,
        owner_recordings_max: 10,
        webhook: true,
    };
    let (accounts, metrics) = (Accounts::of(&ports), Metrics::new().expect("good names"));
    RecordingSupervisor::create(|ctx| {
        let maker = Maker(ctx.address().recipient()).start();
        let links = SupervisorLinks {
            rooms: maker.clone().recipient(),
            merge: maker.clone().recipient(),
            cancel: maker.recipient(),
            gates: ChunkGates::default(),
            accounts,
        };
        RecordingSupervisor::new(ports, config, links, Clock::start(), metrics, Recovered::default())
    })
}

/// Asks until it is so.
async fn becomes(what: &str, is_so: impl AsyncFn() -> bool) {
    let until = tokio::time::Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix::test]
async fn however_long_the_catalog_is_away_every_recording_becomes_ready_and_its_row_follows() {
    let stores = Stores::open().await;
    let catalog = Arc::new(AwayCatalog { inner: stores.catalog.clone(), is_away: AtomicBool::new(true) });
    let ids: Vec<_> = (0..MANY).map(|number| format!("talk-{number:03}")).collect();
    for id in &ids {
        let stopped =
            Manifest { state: RecordingState::Finalising, stopped: true, announced: Some(1), ..manifest(id) };
        stores.stored(&stopped, &[HEAD]).await;
        let chunks = stores.chunks.list(&stopped.record_id).await.expect("listed");
        assert_eq!(chunks.first().map(|chunk| chunk.index), Some(place(0)));
        stores.ledger.restore(stopped, chunks).await.expect("answers");
    }
    stores.set_whole().await;
    let _supervisor = run(&stores, catalog.clone());
    let ids: Vec<_> = ids.iter().map(|id| RecordId::parse(id).expect("valid")).collect();
    let in_state = async |wanted: RecordingState| {
        let mut count = 0;
        for id in &ids {
            let view = stores.ledger.show(id).await.expect("answers").expect("an account");
            count += usize::from(view.manifest.state == wanted);
        }
        count
    };
    becomes("all are ready", async || in_state(RecordingState::Ready).await == MANY).await;
    for id in &ids {
        assert!(stores.chunks.manifest(id).await.expect("answers").is_some(), "chunks go last (M-4)");
    }

    catalog.is_away.store(false, Ordering::Relaxed);
    let finished =
        CatalogFilter { state: Some(RecordingState::Ready), limit: 200, ..CatalogFilter::default() };
    becomes("every row is there", async || {
        stores.catalog.page(finished.clone()).await.expect("answers").rows.len() == MANY
    })
    .await;
    becomes("their chunks are gone", async || stores.chunks.recordings().await.expect("answers").is_empty())
        .await;
    // `recording.started` and `recording.ready` of each, once, and in this order.
    assert_eq!(stores.catalog.depth().await.expect("answers"), 2 * MANY as u64);
    let first = stores.catalog.waiting(None, 200).await.expect("answers");
    assert!(first.len() == MANY && first.iter().all(|event| event.stage == 0), "{first:?}");
}
