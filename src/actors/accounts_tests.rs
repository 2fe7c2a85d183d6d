use std::{
    process::Command,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{
    kit::{HEAD, Stores, chunk, manifest, place, token},
    *,
};
use crate::{
    actors::recording_supervisor::row_of,
    adapters::ports::{CatalogRow, LedgerView, RecordingRef},
    domain::recording::ClaimedWork,
    protocol::{UploadToken, recorder::RecordingState},
};

const CHUNKS: [&[u8]; 2] = [HEAD, b"the rest"];

async fn authorise(accounts: &Accounts, token: &UploadToken) -> Result<Result<(), Refusal>, LedgerError> {
    accounts.ask(token.record_id(), |ledger| ledger.authorise(token.clone())).await
}

async fn shown(stores: &Stores, name: &str) -> Option<LedgerView> {
    stores.ledger.show(token(name).record_id()).await.expect("an answer")
}

#[tokio::test]
async fn an_account_that_was_lost_is_put_back_once_and_whoever_asks_is_answered() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &CHUNKS).await;
    let (accounts, token) = (stores.accounts(), token("talk"));
    // After an outage everybody asks at once.
    let answers = join_all((0..20).map(|_| authorise(&accounts, &token))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Ok(())))), "{answers:?}");
    assert_eq!(stores.ledger.asked("restore"), 1);
    assert_eq!(shown(&stores, "talk").await.map(|view| (view.chunks, view.next_index)), Some((2, 2)));
    // Once it is there, nobody looks into the chunk store.
    authorise(&accounts, &token).await.expect("an answer").expect("its own");
    assert_eq!(stores.ledger.asked("restore"), 1);
}

#[tokio::test]
async fn the_same_goes_for_what_is_none_without_an_account() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &CHUNKS).await;
    let id = token("talk").record_id().clone();
    let view = stores.accounts().find(&id, |ledger| ledger.show(&id)).await.expect("an answer");
    assert_eq!(view.map(|view| view.chunks), Some(2));
}

#[tokio::test]
async fn what_nobody_knows_stays_unknown_and_a_wrong_token_stays_wrong() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &CHUNKS).await;
    let accounts = stores.accounts();
    let answer = authorise(&accounts, &token("nothing")).await.expect("an answer");
    assert_eq!(answer.map_err(|refusal| refusal.code), Err(Code::RecordingUnknown));
    let wrong = UploadToken::new(token("talk").record_id().clone(), [8; 32]);
    let answer = authorise(&accounts, &wrong).await.expect("an answer");
    assert_eq!(answer.map_err(|refusal| refusal.code), Err(Code::Unauthorised));
}

#[tokio::test]
async fn chunks_that_are_kept_after_a_recording_is_over_bring_no_account_back() {
    let stores = Stores::open().await;
    let over =
        Manifest { state: RecordingState::Ready, keep_until_ms: Some(1_700_000_100_000), ..manifest("talk") };
    stores.stored(&over, &CHUNKS).await;
    let answer = authorise(&stores.accounts(), &token("talk")).await.expect("an answer");
    assert_eq!(answer.map_err(|refusal| refusal.code), Err(Code::RecordingUnknown));
    assert_eq!(stores.accounts().put_back_all().await.expect("readable").0, Vec::<RecordId>::new());
    assert_eq!(stores.ledger.asked("restore"), 0);
}

#[tokio::test]
async fn an_account_that_comes_back_is_not_older_than_its_row() {
    for (started_ms, version) in [(1_700_000_000_000, 3), (1_600_000_000_000, 1)] {
        let stores = Stores::open().await;
        let manifest = manifest("talk");
        stores.stored(&manifest, &CHUNKS).await;
        // Of this recording, or of an earlier one of the name.
        stores.put(CatalogRow { version: 3, started_ms, ..row_of(&manifest, 2) }).await;
        authorise(&stores.accounts(), &token("talk")).await.expect("an answer").expect("its own");
        let view = shown(&stores, "talk").await.expect("an account");
        assert_eq!(view.manifest.version, version);
    }
}

#[tokio::test]
async fn without_the_ledger_or_the_chunk_store_nobody_is_told_that_there_is_no_recording() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &CHUNKS).await;
    let (accounts, token) = (stores.accounts(), token("talk"));
    stores.ledger.away_for(|operation| operation == "restore");
    authorise(&accounts, &token).await.expect_err("no answer");
    stores.ledger.away_for(|_| false);

    let path = stores.folder.path().join("chunks/talk/manifest.json");
    let whole = std::fs::read(&path).expect("readable");
    std::fs::write(&path, "{ half a").expect("writable");
    let error = authorise(&accounts, &token).await.expect_err("no answer");
    assert!(error.refusal().code.row().retryable, "{error}");
    std::fs::write(&path, whole).expect("writable");
    authorise(&accounts, &token).await.expect("an answer").expect("its own");
}

/// A beginning that is refused takes away what it had made, and closes the account; this one comes between the two.
#[tokio::test]
async fn what_is_taken_away_while_its_account_is_put_back_leaves_none() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[]).await;
    let chunks = stores.folder.path().join("chunks/talk");
    stores.ledger.away_for(move |operation| {
        if operation == "restore" {
            std::fs::remove_dir_all(&chunks).expect("it was there");
        }
        false
    });
    let id = token("talk").record_id().clone();
    assert!(!stores.accounts().put_back_lost(&id).await.expect("an answer"), "there is none");
    assert_eq!(stores.ledger.asked("restore"), 1);
    assert_eq!(shown(&stores, "talk").await, None, "nothing holds the name");
}

#[tokio::test]
async fn one_that_cannot_be_read_keeps_no_other_from_being_put_back() {
    let stores = Stores::open().await;
    for name in ["a", "broken", "z"] {
        stores.stored(&manifest(name), &CHUNKS).await;
    }
    let path = stores.folder.path().join("chunks/broken/manifest.json");
    std::fs::write(path, "{ half a").expect("writable");
    let (mut back, failed) = stores.accounts().put_back_all().await.expect("readable");
    back.sort();
    let names: Vec<_> = back.iter().map(RecordId::as_str).collect();
    assert_eq!((names, failed), (vec!["a", "z"], 1));
    assert!(shown(&stores, "z").await.is_some());
    assert!(shown(&stores, "broken").await.is_none());
}

#[tokio::test]
async fn an_account_learns_of_chunks_that_it_has_not_and_loses_none() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &CHUNKS[..1]).await;
    let (accounts, id) = (stores.accounts(), token("talk").record_id().clone());
    assert!(accounts.catch_up(&id).await.expect("readable"));
    let noted = stores
        .ledger
        .note(token("talk"), kit::place(1), kit::chunk(b"two").mark, crate::adapters::ports::Patience::Socket)
        .await;
    assert!(matches!(noted, Ok(Some(_))));
    assert!(accounts.catch_up(&id).await.expect("readable"));
    assert_eq!(shown(&stores, "talk").await.map(|view| view.chunks), Some(2));
    assert!(!accounts.catch_up(token("nothing").record_id()).await.expect("readable"));
}

/// Acknowledged while the ledger was away, over the end of the time to come back.
#[tokio::test]
async fn what_the_video_has_not_brings_an_account_back_however_late_it_is() {
    let stores = Stores::open().await;
    let over = Manifest {
        state: RecordingState::Ready,
        keep_until_ms: Some(1_700_000_100_000),
        merged_chunks: Some(1),
        ..manifest("talk")
    };
    stores.stored(&over, &CHUNKS).await;
    assert!(stores.accounts().catch_up(token("talk").record_id()).await.expect("readable"));
    let view = shown(&stores, "talk").await.expect("an account");
    assert_eq!((view.manifest.state, view.manifest.version), (RecordingState::Recording, 2));
    assert_eq!((view.chunks, view.manifest.keep_until_ms), (2, None));
}

#[tokio::test]
async fn one_that_is_being_closed_comes_back_only_if_it_is_wanted() {
    let stores = Stores::open().await;
    let claimed = Manifest { state: RecordingState::Finalising, ..manifest("talk") };
    stores.stored(&claimed.closed(), &CHUNKS).await;
    let accounts = stores.accounts();
    let answer = authorise(&accounts, &token("talk")).await.expect("an answer");
    assert_eq!(answer.map_err(|refusal| refusal.code), Err(Code::RecordingUnknown));
    assert_eq!(accounts.put_back_all().await.expect("readable").0, Vec::<RecordId>::new());

    // Its recorder may have been told that it is over: its end is told, and nothing more is taken.
    assert!(accounts.reopen(token("talk").record_id()).await.expect("readable"));
    let claims = stores.ledger.claim_due(9, Duration::ZERO).await.expect("an answer");
    let [claim] = claims.as_slice() else { panic!("it is due: {claims:?}") };
    assert_eq!(claim.work, ClaimedWork::Finalise { expected: 2, chunks: 2 });
    let refused = stores.ledger.admit(token("talk"), kit::unplaced(10)).await.expect("an answer");
    assert_eq!(refused.map_err(|refusal| refusal.code), Err(Code::RecordingStopped));
}

/// A store that does not answer for one recording, such as a bucket that times out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_that_cannot_be_read_at_the_moment_holds_up_no_other() {
    let stores = Stores::open().await;
    for name in ["hangs", "talk"] {
        stores.stored(&manifest(name), &CHUNKS).await;
    }
    // Whoever reads it waits until somebody writes.
    let path = stores.folder.path().join("chunks/hangs/manifest.json");
    std::fs::remove_file(&path).expect("there");
    assert!(Command::new("mkfifo").arg(&path).status().expect("coreutils").success());
    let accounts = stores.accounts();
    let hangs = tokio::spawn({
        let accounts = accounts.clone();
        async move { accounts.put_back_lost(token("hangs").record_id()).await }
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while stores.ledger.asked("show") == 0 {
        assert!(Instant::now() < deadline, "it never begins");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let talk = token("talk");
    let answer = tokio::time::timeout(Duration::from_secs(10), authorise(&accounts, &talk)).await;
    // First of all nobody waits any more: a test that fails must end.
    drop(std::fs::OpenOptions::new().write(true).open(&path).expect("there"));
    assert_eq!(answer.expect("not held up").expect("an answer"), Ok(()));
    hangs.await.expect("it has ended").expect_err("half a manifest");
}

/// Nodes died, one before it stored what it had a number for; and then the ledger lost everything.
#[tokio::test]
async fn what_never_came_to_a_recording_that_was_stopped_is_not_missing() {
    for (announced, missing) in [(1, vec![]), (2, vec![]), (3, vec![1])] {
        let stores = Stores::open().await;
        let stopped = Manifest { stopped: true, announced: Some(announced), ..manifest("talk") };
        stores.stored(&stopped, &[HEAD]).await;
        let id = token("talk").record_id().clone();
        let staged = stores
            .chunks
            .stage(&RecordingRef::by(&token("talk")), chunk(b"two").payload)
            .await
            .expect("staged");
        staged.commit(place(2), chunk(b"two").mark).await.expect("stored");
        assert!(stores.accounts().put_back_lost(&id).await.expect("readable"));
        let found = stores.ledger.missing(&id).await.expect("an answer");
        assert_eq!(found, missing, "{announced} were announced");
        // Nor does anything come there any more.
        let late = stores
            .chunks
            .stage(&RecordingRef::by(&token("talk")), chunk(b"late").payload)
            .await
            .expect("staged");
        let taken = late.commit(place(1), chunk(b"late").mark).await.expect("an answer");
        assert_eq!(taken == Committed::Taken(ChunkMark::VOID), missing.is_empty());
    }
}
