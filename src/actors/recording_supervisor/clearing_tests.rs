use std::collections::BTreeSet;

use super::*;
use crate::{
    actors::accounts::kit::{HEAD, Stores, chunk, manifest, place, token},
    adapters::ports::{ChunkStore as _, Ledger as _, RecordingRef},
    domain::recording::{ClaimedWork, Finished, VideoFacts},
    protocol::recorder::VideoKey,
};

fn id() -> RecordId {
    token("talk").record_id().clone()
}

/// A recording whose second video was made under this claim.
fn second_version(fence: Fence) -> Manifest {
    let key = |extension| VideoKey::new(&id(), fence, extension);
    let video = VideoFacts {
        key: key("webm"),
        poster: Some(key("jpg")),
        duration_ms: 1,
        size_bytes: 1,
        sha256: Some(String::new()),
        codecs: vec![],
        complete: true,
        gaps: vec![],
        work: vec![],
    };
    let mime_type = "video/webm".to_owned();
    let finished =
        Finished { video, mime_type, missing: vec![], chunks: 1, ready_ms: 1, poster_follows: false };
    let finished = Some(Box::new(finished));
    Manifest { state: RecordingState::Ready, version: 2, fence, finished, ..manifest("talk") }
}

#[tokio::test]
async fn who_wakes_late_takes_away_what_it_has_overtaken_and_nothing_that_came_after_it() {
    let stores = Stores::open().await;
    let ports = stores.ports();
    let folder = stores.folder.path().join("recordings");
    let earlier = ["talk.webm", "talk.3.webm", "talk.3.jpg", "talk.3.mp4", "talk.4.mkv", "talk.mp4"];
    let own = ["talk.5.webm", "talk.5.jpg", "talk.5.mp4"];
    // By its name the last one may be of any claim since the third.
    let later = ["talk.6.webm", "talk.6.jpg", "talk.10.webm", "talk.3.00000000000000ab.webm"];
    let others = ["talks.3.webm"];
    for name in [&earlier[..], &own, &later, &others].concat() {
        std::fs::write(folder.join(name), "a video").expect("writable");
    }
    drop_superseded(&*ports.videos, &second_version(Fence(5))).await.expect("deleted");
    let left =
        std::fs::read_dir(&folder).expect("readable").map(|entry| entry.expect("readable").file_name());
    let left: BTreeSet<_> = left.map(|name| name.to_string_lossy().into_owned()).collect();
    let stay: BTreeSet<_> = [&own[..], &later, &others].concat().into_iter().map(str::to_owned).collect();
    assert_eq!(left, stay);
}

/// A ledger that has lost its last changes claims anew what was made before.
#[tokio::test]
async fn what_is_published_under_a_later_claim_keeps_its_mp4() {
    let stores = Stores::open().await;
    let folder = stores.folder.path().join("recordings");
    let ports = stores.ports();
    for name in ["talk.4.webm", "talk.4.mp4", "talk.5.webm", "talk.5.jpg", "talk.5.mp4"] {
        std::fs::write(folder.join(name), "a video").expect("writable");
    }
    let manifest = Manifest { fence: Fence(9), ..second_version(Fence(5)) };
    drop_superseded(&*ports.videos, &manifest).await.expect("deleted");
    let mut left = ports.videos.of(&id()).await.expect("readable");
    left.sort();
    assert_eq!(
        left.iter().map(VideoKey::as_str).collect::<Vec<_>>(),
        ["talk.5.jpg", "talk.5.mp4", "talk.5.webm"]
    );
}

/// A claim of a recording that is over, which another node now closes.
async fn claimed(stores: &Stores, manifest: &Manifest, chunks: &[&'static [u8]]) -> (Clearing, Manifest) {
    stores.stored(manifest, chunks).await;
    let accounts = stores.accounts();
    let there = stores.chunks.list(&id()).await.expect("readable");
    stores.ledger.restore(manifest.clone(), there).await.expect("an answer");
    let claim =
        stores.ledger.claim_due(1, Duration::ZERO).await.expect("an answer").pop().expect("it is due");
    let clearing = Clearing { ports: stores.ports(), accounts, gates: ChunkGates::default() };
    (clearing, claim.manifest)
}

fn nothing_came() -> Manifest {
    Manifest { state: RecordingState::Finalising, ..manifest("talk") }
}

#[tokio::test]
async fn nobody_puts_back_an_account_that_is_being_closed() {
    let stores = Stores::open().await;
    let (clearing, claim) = claimed(&stores, &nothing_came(), &[]).await;
    // It is closed, and nobody hears of it: this node stands still before the chunks go.
    stores.ledger.away_for(|operation| operation == "release");
    assert!(clearing.close(&claim, Why::Over, true).await.is_err());
    stores.ledger.away_for(|_| false);
    assert!(stores.ledger.release(id(), claim.fence).await.expect("an answer").is_some());
    assert!(
        !clearing.accounts.put_back_lost(&id()).await.expect("readable"),
        "its recorder is told that it is over"
    );
    // Nor is anything left when it goes on.
    stores.chunks.delete(&id(), Some(claim.token)).await.expect("deleted");
    assert!(!clearing.accounts.reopen(&id()).await.expect("readable"));
}

#[tokio::test]
async fn an_account_is_closed_once_and_its_chunks_go() {
    let stores = Stores::open().await;
    let (clearing, claim) = claimed(&stores, &nothing_came(), &[]).await;
    let closed = clearing.close(&claim, Why::Over, true).await.expect("closed");
    let Some((last, Ok(()))) = closed else { panic!("it is gone") };
    assert_eq!((last.fence, last.keep_until_ms), (claim.fence, None));
    assert_eq!(stores.chunks.manifest(&id()).await.expect("readable"), None);
    assert!(matches!(clearing.close(&claim, Why::Over, true).await, Ok(None)), "there is none any more");
}

/// As of one that was deleted, and that a ledger which has gone back in time has again.
#[tokio::test]
async fn an_account_of_which_nothing_is_stored_is_closed_too() {
    let stores = Stores::open().await;
    let (clearing, claim) = claimed(&stores, &nothing_came(), &[]).await;
    stores.chunks.delete(&id(), None).await.expect("deleted");
    assert!(matches!(clearing.close(&claim, Why::Over, true).await, Ok(Some((_, Ok(()))))));
    assert_eq!(stores.chunks.recordings().await.expect("readable"), []);
}

#[tokio::test]
async fn what_came_before_it_was_closed_keeps_it_open() {
    let stores = Stores::open().await;
    let (clearing, claim) = claimed(&stores, &nothing_came(), &[]).await;
    // By way of a node that could not tell the ledger.
    let late = chunk(HEAD);
    let staged = stores.chunks.stage(&RecordingRef::by(&token("talk")), late.payload).await.expect("staged");
    staged.commit(place(0), late.mark).await.expect("stored");
    assert!(matches!(clearing.close(&claim, Why::Over, true).await, Ok(None)));
    let again =
        stores.ledger.claim_due(1, Duration::ZERO).await.expect("an answer").pop().expect("it is due again");
    assert_eq!(again.work, ClaimedWork::Finalise { expected: 1, chunks: 1 });
    assert!(!again.manifest.stopped, "its recorder may go on");
}

#[tokio::test]
async fn who_was_overtaken_closes_nothing_and_leaves_the_later_state() {
    let stores = Stores::open().await;
    let (clearing, claim) = claimed(&stores, &nothing_came(), &[]).await;
    let attached = stores.ledger.attach(token("talk")).await.expect("an answer").expect("taken up");
    stores.chunks.save_manifest(attached.manifest.clone()).await.expect("saved");
    assert!(matches!(clearing.close(&claim, Why::Over, true).await, Ok(None)));
    assert_eq!(stores.chunks.manifest(&id()).await.expect("readable"), Some(attached.manifest));
}

/// Its recorder has taken it up by way of another node, and nothing more has come yet.
#[tokio::test]
async fn who_was_overtaken_takes_no_chunks_away() {
    let stores = Stores::open().await;
    let mut ready = second_version(Fence(5));
    (ready.keep_until_ms, ready.merged_chunks) = (Some(1_700_000_100_000), Some(1));
    let (clearing, claim) = claimed(&stores, &ready, &[HEAD]).await;
    stores.ledger.attach(token("talk")).await.expect("an answer").expect("taken up");
    assert!(matches!(clearing.clear(&claim).await, Ok(Cleared::Needed)));
    assert_eq!(stores.chunks.list(&id()).await.expect("readable").len(), 1, "its chunks are there");
}

/// Its time to come back was over while the ledger was away, and a chunk was acknowledged before that.
#[tokio::test]
async fn one_that_is_to_be_forgotten_goes_on_if_its_video_lacks_something() {
    let stores = Stores::open().await;
    let mut over = second_version(Fence(5));
    (over.keep_until_ms, over.merged_chunks) = (Some(1_700_000_100_000), Some(1));
    let (clearing, claim) = claimed(&stores, &over, &[HEAD]).await;
    assert!(!clearing.is_needed(&claim).await.expect("readable"));
    let late = chunk(b"late");
    let staged = stores.chunks.stage(&RecordingRef::by(&token("talk")), late.payload).await.expect("staged");
    staged.commit(place(1), late.mark).await.expect("stored");
    assert!(clearing.is_needed(&claim).await.expect("readable"));
    let view = stores.ledger.show(&id()).await.expect("an answer").expect("an account");
    assert_eq!((view.manifest.state, view.chunks), (RecordingState::Recording, 2));
    assert!(!stores.ledger.holds(id(), claim.fence).await.expect("an answer"), "the claim is over");
}
