use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    actors::{
        accounts::kit::{HEAD, Stores, manifest},
        recording_supervisor::kit::facts,
    },
    adapters::ports::{
        CameChunk, FileProof, MergeError, MergeJob, Merged, Merger, PortFuture, RecordingRef, StoreError,
        Swept,
    },
    domain::recording::VideoFacts,
    protocol::recorder::{RecordingState, VideoKey},
};

/// Its pictures are this file; it counts them.
struct Painter {
    picture: PathBuf,
    painted: Arc<AtomicU32>,
}

impl Merger for Painter {
    fn picture(&self, _: PathBuf, _: u64) -> PortFuture<Option<PathBuf>> {
        self.painted.fetch_add(1, Ordering::Relaxed);
        let picture = self.picture.clone();
        Box::pin(async { Some(picture) })
    }

    fn check(&self) -> PortFuture<Result<String, MergeError>> {
        unreachable!("it only paints")
    }

    fn follow(&self, _: RecordingRef, _: Vec<CameChunk>) -> PortFuture<Result<(), StoreError>> {
        unreachable!("it only paints")
    }

    fn merge(&self, _: MergeJob) -> PortFuture<Result<Merged, MergeError>> {
        unreachable!("it only paints")
    }

    fn forget(&self, _: RecordingRef) -> PortFuture<()> {
        unreachable!("it only paints")
    }

    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        unreachable!("it only paints")
    }
}

/// A published video that has no digest; its claim, and where everything is.
struct Case {
    stores: Stores,
    ports: RecordingPorts,
    manifest: Manifest,
    video: VideoFacts,
    painted: Arc<AtomicU32>,
}

impl Case {
    async fn open() -> Self {
        let stores = Stores::open().await;
        let painted = Arc::<AtomicU32>::default();
        let picture = stores.folder.path().join("picture.jpg");
        tokio::fs::write(&picture, HEAD).await.expect("written");
        let ports = RecordingPorts {
            merger: Arc::new(Painter { picture, painted: painted.clone() }),
            ..stores.ports()
        };
        let mut manifest = manifest("talk");
        stores.stored(&manifest, &[HEAD]).await;
        let stopped = Manifest { state: RecordingState::Finalising, stopped: true, ..manifest.clone() };
        let chunks = ports.chunks.list(&manifest.record_id).await.expect("listed");
        ports.ledger.restore(stopped, chunks).await.expect("answers");
        let claims = ports.ledger.claim_due(1, Duration::ZERO).await.expect("answers");
        manifest.fence = claims.first().expect("it is due").manifest.fence;
        let video = VideoFacts { sha256: None, ..facts(&manifest.record_id, manifest.fence) };
        let case = Self { stores, ports, manifest, video, painted };
        case.put(&case.video.key).await;
        case
    }

    async fn put(&self, key: &VideoKey) {
        let file = self.stores.folder.path().join("made");
        tokio::fs::write(&file, HEAD).await.expect("written");
        let proof = FileProof::of(&file).await.expect("read");
        self.ports.videos.put(key, &file, proof).await.expect("stored");
    }

    /// The key of its poster, which is there.
    async fn with_poster(&mut self) -> VideoKey {
        let poster = VideoKey::new(&self.manifest.record_id, self.manifest.fence, "jpg");
        self.put(&poster).await;
        self.video.poster = Some(poster.clone());
        poster
    }

    /// Completes it. Under which claim, and with what.
    async fn complete(&self, fence: Fence, poster_follows: bool) -> Option<VideoFacts> {
        let finished = Finished {
            video: self.video.clone(),
            mime_type: "video/webm;codecs=vp9".to_owned(),
            missing: Vec::new(),
            chunks: 1,
            ready_ms: 1,
            poster_follows,
        };
        let turns = Arc::new(Semaphore::new(1));
        let whose = (self.manifest.record_id.clone(), fence);
        let published = complete(self.ports.clone(), whose, finished, turns).await.expect("answers");
        published.map(|manifest| manifest.finished.expect("it is ready").video)
    }

    async fn has(&self, key: &VideoKey) -> bool {
        self.ports.videos.find(key).await.expect("answers").is_some()
    }
}

/// Another node's, as far as this one is concerned.
const LOST: Fence = Fence(1);

#[tokio::test]
async fn what_is_lacking_is_published_with_the_rest() {
    let case = Case::open().await;
    let video = case.complete(case.manifest.fence, true).await.expect("it has the claim");
    assert_eq!(video.sha256.map(|digest| digest.len()), Some(64));
    let poster = video.poster.expect("it has one");
    assert!(case.has(&poster).await);
}

#[tokio::test]
async fn a_poster_that_was_made_under_a_lost_claim_goes() {
    let case = Case::open().await;
    assert_eq!(case.complete(LOST, true).await, None);
    assert_eq!(case.painted.load(Ordering::Relaxed), 1);
    assert!(!case.has(&VideoKey::new(&case.manifest.record_id, LOST, "jpg")).await);
    assert!(case.has(&case.video.key).await, "the video is whoever's the claim is");
}

#[tokio::test]
async fn one_that_was_there_before_stays() {
    let mut case = Case::open().await;
    let poster = case.with_poster().await;
    assert_eq!(case.complete(LOST, false).await, None);
    assert!(case.has(&poster).await, "whoever has the claim by now tells everybody of it");
}
