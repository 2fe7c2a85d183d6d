//! A catalog that is away for long: videos become ready all the while, and their rows follow.

use super::{
    kit::{FlakyCatalog, becomes, config, facts, links},
    *,
};
use crate::{
    actors::{
        accounts::kit::{HEAD, Stores, manifest, place},
        messages::MergedVideo,
    },
    adapters::ports::{Catalog as _, CatalogFilter, ChunkStore as _, Ledger as _, Outbox as _},
    domain::recording::Manifest,
};

/// More than a node has claims at one time.
const MANY: usize = finalise::CLAIMS_BESIDE + 6;
/// Makes every video at once.
struct Maker(Recipient<MergeEnded>);

impl Actor for Maker {
    type Context = Context<Self>;
}

impl Handler<MergeRecording> for Maker {
    type Result = ();

    fn handle(&mut self, message: MergeRecording, _: &mut Self::Context) {
        let Manifest { record_id, fence, .. } = &message.manifest;
        let facts = facts(record_id, *fence);
        let mime_type = "video/webm;codecs=vp9".to_owned();
        let outcome = Ok(MergedVideo {
            facts,
            mime_type,
            missing: Vec::new(),
            chunks: message.expected,
            poster_follows: false,
        });
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

impl Handler<RecordingStopped> for Maker {
    type Result = ();

    fn handle(&mut self, _: RecordingStopped, _: &mut Self::Context) {}
}

impl Handler<RecordingEnded> for Maker {
    type Result = ();

    fn handle(&mut self, _: RecordingEnded, _: &mut Self::Context) {}
}

/// A supervisor of a node alone that runs, on these stores.
fn run(stores: &Stores, catalog: &FlakyCatalog) -> actix::Addr<RecordingSupervisor> {
    let ports = RecordingPorts { catalog: Arc::new(catalog.clone()), ..stores.ports() };
    let config =
        RecordingConfig { grace: Duration::from_secs(5), merge_jobs: 4, clustered: false, ..config() };
    let metrics = Metrics::new().expect("good names");
    RecordingSupervisor::create(|ctx| {
        let links = links(&Maker(ctx.address().recipient()).start(), &ports);
        RecordingSupervisor::new(ports, config, links, Clock::start(), metrics, Recovered::default())
    })
}

#[actix::test]
async fn however_long_the_catalog_is_away_every_recording_becomes_ready_and_its_row_follows() {
    let stores = Stores::open().await;
    let catalog = FlakyCatalog::of(&stores);
    catalog.away_for(|_| true);
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
    let _supervisor = run(&stores, &catalog);
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

    catalog.away_for(|_| false);
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
