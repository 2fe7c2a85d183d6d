//! Recordings that are taken away slowly, by several nodes, or while the catalog does not answer.

use std::sync::{Arc, Mutex};

use actix::{Actor, Addr, Handler};

use super::*;
use crate::{
    actors::{
        accounts::kit::{HEAD, Stores, manifest, token},
        door::{Door, Lifeline},
        messages::{BeginRecording, CountRecordings, ToRecorder},
        recording_supervisor::{
            kit::{FlakyCatalog, becomes, config, facts, supervisor_on},
            row_of,
        },
    },
    adapters::{
        ports::{Catalog as _, ChunkStore as _, FileProof, Ledger as _, Outbox as _, VideoStore as _},
        video_store::FolderVideos,
    },
    domain::recording::Finished,
    protocol::{
        ConnectionId,
        recorder::{Framing, MimeType, Start},
    },
};

/// A recorder that notes what it is told.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<ToRecorder>>>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<ToRecorder> for Listener {
    type Result = ();

    fn handle(&mut self, message: ToRecorder, _: &mut Self::Context) {
        self.0.lock().expect("whole").push(message);
    }
}

/// A node on these stores.
fn run(stores: &Stores, catalog: &FlakyCatalog) -> Addr<RecordingSupervisor> {
    let ports = RecordingPorts { catalog: Arc::new(catalog.clone()), ..stores.ports() };
    supervisor_on(ports, config()).0.start()
}

fn videos(stores: &Stores) -> FolderVideos {
    FolderVideos::open(stores.folder.path()).expect("a folder")
}

/// Stores a video of a recording, made under this claim.
async fn make_video(stores: &Stores, name: &str, fence: Fence) -> VideoKey {
    let key = VideoKey::new(&id(name), fence, "webm");
    let file = stores.folder.path().join(format!("made-{}", key.as_str()));
    tokio::fs::write(&file, HEAD).await.expect("written");
    let proof = FileProof::of(&file).await.expect("read");
    videos(stores).put(&key, &file, proof).await.expect("stored");
    key
}

async fn has_video(stores: &Stores, key: &VideoKey) -> bool {
    videos(stores).find(key).await.expect("answers").is_some()
}

fn id(name: &str) -> RecordId {
    RecordId::parse(name).expect("valid")
}

/// A recording that became ready a while ago.
fn finished(name: &str) -> Manifest {
    let fence = Fence(manifest(name).started_ms + 1000);
    let video = facts(&id(name), fence);
    let mime_type = "video/webm;codecs=vp9".to_owned();
    let finished = Finished {
        video,
        mime_type,
        missing: Vec::new(),
        chunks: 1,
        ready_ms: fence.0,
        poster_follows: false,
    };
    Manifest {
        state: RecordingState::Ready,
        stopped: true,
        fence,
        merged_chunks: Some(1),
        keep_until_ms: Some(1 << 50),
        finished: Some(Box::new(finished)),
        ..manifest(name)
    }
}

/// Has one that is ready, with its account; or as its video and its row alone. Its video.
async fn keep(stores: &Stores, name: &str, has_account: bool) -> VideoKey {
    let manifest = finished(name);
    if has_account {
        stores.stored(&manifest, &[HEAD]).await;
        let chunks = stores.chunks.list(&id(name)).await.expect("listed");
        stores.ledger.restore(manifest.clone(), chunks).await.expect("answers");
    }
    stores.put(row_of(&manifest, 1)).await;
    make_video(stores, name, manifest.fence).await
}

async fn delete(node: &Addr<RecordingSupervisor>, name: &str) -> Result<(), Code> {
    let message = DeleteRecording { id: id(name), started_ms: None, token: None };
    node.send(message).await.expect("it is there").map_err(|refusal| refusal.code)
}

async fn abort(node: &Addr<RecordingSupervisor>, name: &str) -> Result<(), Code> {
    let message = AbortRecording { token: token(name) };
    node.send(message).await.expect("it is there").map_err(|refusal| refusal.code)
}

/// Begins a recording on a socket of this node.
async fn begin(node: &Addr<RecordingSupervisor>, name: &str, recorder: &Listener, lifeline: &Lifeline) {
    let door = Door::new(recorder.clone().start().recipient(), lifeline, None);
    let start = Start {
        record_id: Some(id(name)),
        mime_type: MimeType::parse("video/webm").expect("valid"),
        framing: Framing::Indexed,
        room_name: None,
        title: None,
        owner: None,
        upload_token: None,
    };
    let message = BeginRecording { start, socket: Some((ConnectionId(1), door)) };
    node.send(message).await.expect("it is there").expect("its name is free");
}

async fn row(stores: &Stores, name: &str) -> Option<CatalogRow> {
    stores.catalog.get(&id(name)).await.expect("answers")
}

/// Two nodes delete it. One is so slow that the name is taken again when it goes on.
#[actix::test]
async fn a_slow_deletion_leaves_alone_the_next_recording_of_its_name() {
    for has_account in [true, false] {
        let stores = Stores::open().await;
        stores.set_whole().await;
        let old = keep(&stores, "talk", has_account).await;
        let (quick, catalog) = (run(&stores, &FlakyCatalog::of(&stores)), FlakyCatalog::of(&stores));
        let slow = run(&stores, &catalog);
        catalog.keep_next_answer();
        let slowly = tokio::task::spawn_local({
            let slow = slow.clone();
            async move { delete(&slow, "talk").await }
        });
        becomes("it has looked", async || catalog.has_kept()).await;
        assert_eq!(delete(&quick, "talk").await, Ok(()));
        assert!(!has_video(&stores, &old).await);

        let (recorder, lifeline) = (Listener::default(), Lifeline::default());
        begin(&slow, "talk", &recorder, &lifeline).await;
        let next = stores.ledger.show(&id("talk")).await.expect("answers").expect("an account").manifest;
        let video = make_video(&stores, "talk", Fence(next.fence.0 + 1)).await;
        becomes("its row is there", async || row(&stores, "talk").await.is_some()).await;
        catalog.let_go();
        assert_eq!(slowly.await.expect("it ends"), Ok(()));

        assert!(has_video(&stores, &video).await, "{has_account}");
        assert_eq!(row(&stores, "talk").await.map(|row| row.started_ms), Some(next.started_ms));
        assert!(stores.chunks.manifest(&id("talk")).await.expect("answers").is_some());
        let view = stores.ledger.show(&id("talk")).await.expect("answers");
        assert_eq!(view.map(|view| view.manifest), Some(next));
        assert_eq!(slow.send(CountRecordings).await.expect("it is there").recorders, 1);
        assert!(recorder.0.lock().expect("whole").is_empty(), "it was told of another's end");
        // `recording.deleted` of the first, once, and `recording.started` of the second.
        assert_eq!(stores.catalog.depth().await.expect("answers"), 2);
    }
}

/// The row that stayed would be one of nothing, and the node that is to take it away may not live so long.
#[actix::test]
async fn while_the_catalog_is_away_what_is_over_is_not_deleted() {
    let stores = Stores::open().await;
    stores.set_whole().await;
    let catalog = FlakyCatalog::of(&stores);
    let node = run(&stores, &catalog);
    let videos = [keep(&stores, "with-account", true).await, keep(&stores, "row", false).await];
    let again = Manifest { version: 2, ..manifest("again") };
    stores.stored(&again, &[HEAD]).await;
    catalog.away_for(|operation| ["get", "put", "delete", "was_deleted"].contains(&operation));
    for _ in 0..2 {
        assert_eq!(delete(&node, "with-account").await, Err(Code::StorageFailed));
        assert_eq!(delete(&node, "row").await, Err(Code::StorageFailed));
        // There is a video of its first version, which people have heard of.
        assert_eq!(abort(&node, "again").await, Err(Code::StorageFailed));
    }
    for name in ["with-account", "again"] {
        assert!(stores.ledger.show(&id(name)).await.expect("answers").is_some(), "{name}");
        assert_eq!(stores.chunks.list(&id(name)).await.expect("listed").len(), 1, "{name}");
    }
    for video in &videos {
        assert!(has_video(&stores, video).await);
    }

    catalog.away_for(|_| false);
    assert_eq!(delete(&node, "with-account").await, Ok(()));
    assert_eq!(delete(&node, "row").await, Ok(()));
    assert_eq!(abort(&node, "again").await, Ok(()));
    for video in &videos {
        assert!(!has_video(&stores, video).await);
    }
    for name in ["with-account", "row", "again"] {
        assert_eq!(row(&stores, name).await, None);
    }
}

/// Whoever thinks better of it is not held up, and has no video that people have heard of.
#[actix::test]
async fn while_the_catalog_is_away_what_still_records_can_be_aborted() {
    let stores = Stores::open().await;
    stores.set_whole().await;
    let catalog = FlakyCatalog::of(&stores);
    let node = run(&stores, &catalog);
    stores.stored(&manifest("talk"), &[HEAD]).await;
    stores.put(row_of(&manifest("talk"), 1)).await;
    catalog.away_for(|operation| ["get", "put", "delete"].contains(&operation));
    assert_eq!(abort(&node, "talk").await, Ok(()));
    assert_eq!(stores.ledger.show(&id("talk")).await, Ok(None));
    assert!(row(&stores, "talk").await.is_some());
    catalog.away_for(|_| false);
    becomes("its row has followed", async || row(&stores, "talk").await.is_none()).await;
}

/// It was there when the deletion began.
#[actix::test]
async fn a_deletion_whose_row_could_not_go_is_not_said_to_be_done() {
    let stores = Stores::open().await;
    stores.set_whole().await;
    let catalog = FlakyCatalog::of(&stores);
    let node = run(&stores, &catalog);
    keep(&stores, "talk", true).await;
    catalog.away_for(|operation| ["delete"].contains(&operation));
    assert_eq!(delete(&node, "talk").await, Err(Code::StorageFailed));
    catalog.away_for(|operation| ["get", "delete"].contains(&operation));
    assert_eq!(delete(&node, "talk").await, Err(Code::StorageFailed));
    catalog.away_for(|_| false);
    becomes("its row has followed", async || row(&stores, "talk").await.is_none()).await;
    assert_eq!(stores.catalog.depth().await.expect("answers"), 1, "one end");
}

/// Retention means the one whose time is over.
#[actix::test]
async fn who_means_one_that_began_at_another_time_deletes_nothing() {
    let stores = Stores::open().await;
    stores.set_whole().await;
    let node = run(&stores, &FlakyCatalog::of(&stores));
    let video = keep(&stores, "talk", true).await;
    let began = manifest("talk").started_ms;
    let meaning = async |started_ms| {
        let message = DeleteRecording { id: id("talk"), started_ms: Some(started_ms), token: None };
        node.send(message).await.expect("it is there").map_err(|refusal| refusal.code)
    };
    assert_eq!(meaning(began - 1).await, Err(Code::RecordingUnknown));
    assert!(has_video(&stores, &video).await);
    assert_eq!(meaning(began).await, Ok(()));
    assert!(!has_video(&stores, &video).await);
}

#[tokio::test]
async fn an_mp4_that_is_stored_while_its_video_is_taken_away_goes_too() {
    let stores = Stores::open().await;
    let key = make_video(&stores, "talk", Fence(5)).await;
    let mp4 = stores.folder.path().join("recordings").join(key.as_mp4().as_str());
    // Whoever stores it has seen that its video is there, after everything was listed.
    let store = |listed: &VideoKey| {
        if *listed == key {
            std::fs::write(&mp4, "an MP4").expect("written");
        }
        true
    };
    stores.ports().delete_videos(&id("talk"), store).await.expect("deleted");
    assert_eq!(videos(&stores).of(&id("talk")).await.expect("readable"), []);
}
