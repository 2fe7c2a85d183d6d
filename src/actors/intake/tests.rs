use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext as _, Addr, Context, Handler, Message};

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::*;
use crate::{
    actors::{
        accounts::kit::{HEAD, RULES, Stores, chunk, manifest, place, token, unplaced},
        recording_supervisor::row_of,
    },
    adapters::ports::{Catalog as _, Deletion, RecordingRef},
    domain::recording::Manifest,
    protocol::recorder::RecordingState,
};

/// Stands in the supervisor's place, and remembers of which recordings it was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<RecordId>>>);

impl Told {
    fn unnoted(&self) -> Vec<RecordId> {
        self.0.lock().expect("whole").clone()
    }
}

impl Actor for Told {
    type Context = Context<Self>;
}

impl Handler<ChunksUnnoted> for Told {
    type Result = ();

    fn handle(&mut self, message: ChunksUnnoted, _: &mut Self::Context) {
        self.0.lock().expect("whole").push(message.id);
    }
}

impl Handler<RecordingWentOn> for Told {
    type Result = ();

    fn handle(&mut self, _: RecordingWentOn, _: &mut Self::Context) {}
}

impl Handler<ChunkStored> for Told {
    type Result = ();

    fn handle(&mut self, _: ChunkStored, _: &mut Self::Context) {}
}

/// Ends it, as a panic would.
#[derive(Message)]
#[rtype(result = "()")]
struct Ends;

impl Handler<Ends> for Told {
    type Result = ();

    fn handle(&mut self, _: Ends, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never comes to that");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// An intake into these stores, and who is told.
fn intake(stores: &Stores) -> (Intake, Told, Addr<Told>) {
    intake_by(RULES, stores)
}

fn intake_by(rules: RecordingRules, stores: &Stores) -> (Intake, Told, Addr<Told>) {
    let ports = stores.ports();
    let told = Told::default();
    let supervisor = told.clone().start();
    let tell = IntakeLinks {
        went_on: supervisor.clone().recipient(),
        unnoted: supervisor.clone().recipient(),
        stored: supervisor.clone().recipient(),
    };
    let metrics = Metrics::new().expect("valid");
    let intake = Intake::new(&ports, (stores.accounts(), ChunkGates::default()), tell, rules, metrics);
    (intake, told, supervisor)
}

/// Takes a chunk to this place, or to the next one; gives the place, or why not.
async fn take(intake: &Intake, at: Option<u32>, bytes: &'static [u8]) -> Result<u32, Refusal> {
    let taken = intake.take(&token("talk"), at.map(place), chunk(bytes), Way::Http).await;
    taken.map(ChunkIndex::get)
}

async fn refused(intake: &Intake, at: Option<u32>, bytes: &'static [u8]) -> Code {
    take(intake, at, bytes).await.expect_err("it may not come").code
}

async fn stored(stores: &Stores) -> Vec<u32> {
    let chunks = stores.chunks.list(token("talk").record_id()).await.expect("readable");
    chunks.iter().map(|chunk| chunk.index.get()).collect()
}

#[actix::test]
async fn a_chunk_with_a_place_of_its_own_is_stored_while_the_ledger_is_away_and_its_account_follows() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, told, _supervisor) = intake(&stores);
    stores.ledger.away_for(|_| true);
    for (index, bytes) in [(2, &b"two"[..]), (1, b"one"), (2, b"two"), (0, HEAD)] {
        assert_eq!(take(&intake, Some(index), bytes).await, Ok(index));
    }
    assert_eq!(stored(&stores).await, [0, 1, 2]);

    stores.ledger.away_for(|_| false);
    let id = token("talk").record_id().clone();
    assert!(told.unnoted().iter().all(|unnoted| *unnoted == id) && !told.unnoted().is_empty());
    assert!(stores.accounts().catch_up(&id).await.expect("readable"));
    let view = stores.ledger.show(&id).await.expect("an answer").expect("an account");
    assert_eq!((view.chunks, view.next_index), (3, 3));
}

#[actix::test]
async fn one_that_was_stored_when_the_ledger_went_away_is_acknowledged_and_told_of() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, told, _supervisor) = intake(&stores);
    stores.ledger.away_for(|operation| operation == "note");
    assert_eq!(take(&intake, Some(1), b"one").await, Ok(1));
    assert_eq!(stored(&stores).await, [0, 1]);
    until(|| told.unnoted().len() == 1).await;
}

#[actix::test]
async fn one_that_needs_a_number_is_not_taken_and_may_come_again() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, told, _supervisor) = intake(&stores);
    for away in ["admit", "number"] {
        stores.ledger.away_for(move |operation| operation == away);
        let refusal = take(&intake, None, b"one").await.expect_err("nobody knows its number");
        assert_eq!(refusal.code, Code::StorageFailed, "{away}");
        assert!(refusal.code.row().retryable && refusal.retry_after_ms.is_some(), "{away}");
    }
    assert_eq!(stored(&stores).await, [0]);
    stores.ledger.away_for(|_| false);
    assert_eq!(take(&intake, None, b"one").await, Ok(1));
    assert_eq!(told.unnoted(), []);
}

/// Its account may have heard of it or not: sent again it would get another number, and be in the video twice.
#[actix::test]
async fn one_that_was_stored_under_its_number_when_the_ledger_went_away_is_acknowledged_and_told_of() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, told, _supervisor) = intake(&stores);
    let id = token("talk").record_id().clone();
    stores.ledger.away_for(|operation| operation == "note_numbered");
    assert_eq!(take(&intake, None, b"one").await, Ok(1));
    until(|| told.unnoted() == [id.clone()]).await;
    stores.ledger.away_for(|_| false);
    assert!(stores.accounts().catch_up(&id).await.expect("readable"));
    assert_eq!(take(&intake, None, b"two").await, Ok(2));
    assert_eq!(stored(&stores).await, [0, 1, 2]);
    let view = stores.ledger.show(&id).await.expect("an answer").expect("an account");
    assert_eq!((view.chunks, view.next_index), (3, 3));
}

/// Another node has ended the recording while this one stored a chunk of it.
#[actix::test]
async fn one_whose_recording_is_gone_is_not_acknowledged() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, told, _supervisor) = intake(&stores);
    for place in [Some(1), None] {
        let (inner, id) = (stores.ledger.inner(), token("talk").record_id().clone());
        let folder = stores.folder.path().join("chunks/talk");
        stores.ledger.away_for(move |operation| {
            if operation.starts_with("note") && folder.exists() {
                let closed = inner.close(&id, None).now_or_never().expect("at once");
                assert!(closed.expect("an answer").is_some());
                std::fs::remove_dir_all(&folder).expect("removable");
            }
            false
        });
        assert_eq!(refused(&intake, place, b"one").await, Code::RecordingUnknown, "{place:?}");
        stores.ledger.away_for(|_| false);
        stores.stored(&manifest("talk"), &[HEAD]).await;
    }
    assert_eq!(told.unnoted(), []);
}

#[actix::test]
async fn what_the_ledger_would_refuse_is_refused_without_it() {
    let stores = Stores::open().await;
    stores.stored(&Manifest { announced: Some(40), ..manifest("talk") }, &[HEAD]).await;
    let (intake, told, _supervisor) = intake(&stores);
    stores.ledger.away_for(|_| true);
    assert_eq!(refused(&intake, Some(0), b"\x1a\x45\xdf\xa3 others").await, Code::Conflict);
    assert_eq!(refused(&intake, Some(40), b"beyond what was announced").await, Code::IndexOutOfRange);
    let wrong = UploadToken::new(token("talk").record_id().clone(), [8; 32]);
    let taken = intake.take(&wrong, Some(place(1)), chunk(b"one"), Way::Http).await;
    assert_eq!(taken.map_err(|refusal| refusal.code), Err(Code::Unauthorised));
    let taken = intake.take(&token("nothing"), Some(place(1)), chunk(b"one"), Way::Http).await;
    assert_eq!(taken.map_err(|refusal| refusal.code), Err(Code::RecordingUnknown));
    assert_eq!((stored(&stores).await, told.unnoted()), (vec![0], vec![]));

    let stopped = Manifest { stopped: true, revision: 1, ..manifest("talk") };
    stores.chunks.save_manifest(stopped).await.expect("stored");
    assert_eq!(refused(&intake, Some(1), b"one").await, Code::RecordingStopped);
}

#[actix::test]
async fn a_recording_does_not_begin_with_something_else_nor_far_ahead() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[]).await;
    let (intake, _, _supervisor) = intake(&stores);
    stores.ledger.away_for(|_| true);
    assert_eq!(refused(&intake, Some(0), b"no media at all").await, Code::NotMedia);
    let last = limits::CHUNKS_MISSING_MAX;
    assert_eq!(refused(&intake, Some(last + 1), b"far").await, Code::IndexOutOfRange);
    assert_eq!(take(&intake, Some(last), b"just not too far").await, Ok(last));
    // What is missing already counts too: an account must be able to bear it.
    assert_eq!(refused(&intake, Some(last + 2), b"one hole more").await, Code::IndexOutOfRange);
    assert_eq!(take(&intake, Some(0), HEAD).await, Ok(0));
    assert_eq!(take(&intake, Some(last + 2), b"in its place").await, Ok(last + 2));
}

#[actix::test]
async fn what_came_since_the_outage_before_or_by_way_of_another_node_counts() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, _, _supervisor) = intake(&stores);
    stores.ledger.away_for(|_| true);
    assert_eq!(take(&intake, Some(1), b"in the first").await, Ok(1));
    for index in [2, 3, 4] {
        let chunk = chunk(b"meanwhile");
        let staged =
            stores.chunks.stage(&RecordingRef::by(&token("talk")), chunk.payload).await.expect("staged");
        staged.commit(place(index), chunk.mark).await.expect("stored");
    }
    let farthest = 5 + limits::CHUNKS_MISSING_MAX;
    assert_eq!(take(&intake, Some(farthest), b"in the second").await, Ok(farthest));
}

#[actix::test]
async fn a_recording_grows_no_larger_than_it_may_while_the_ledger_is_away() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let rules = RecordingRules { bytes_max: HEAD.len() as u64 + 9, ..RULES };
    let (intake, _, _supervisor) = intake_by(rules, &stores);
    stores.ledger.away_for(|_| true);
    assert_eq!(take(&intake, Some(1), b"one").await, Ok(1));
    assert_eq!(refused(&intake, Some(2), b"too much").await, Code::RecordingTooLarge);
    assert_eq!(take(&intake, Some(2), b"two").await, Ok(2), "a smaller one fits");

    // What comes by way of the ledger meanwhile counts in the next outage.
    stores.ledger.away_for(|_| false);
    assert_eq!(take(&intake, Some(3), b"end").await, Ok(3));
    stores.ledger.away_for(|_| true);
    assert_eq!(refused(&intake, Some(4), b"x").await, Code::RecordingTooLarge);
    // What is stored is acknowledged again, as ever.
    assert_eq!(take(&intake, Some(2), b"two").await, Ok(2));
    assert_eq!(refused(&intake, Some(2), b"TWO").await, Code::Conflict);
    assert_eq!(stored(&stores).await, [0, 1, 2, 3]);
}

#[actix::test]
async fn a_recording_grows_no_longer_than_it_may_while_the_ledger_is_away() {
    let stores = Stores::open().await;
    let started_ms = stores.ledger.known_now_ms().expect("it has a clock");
    stores.stored(&Manifest { started_ms, ..manifest("talk") }, &[HEAD]).await;
    stores.ledger.away_for(|_| true);
    let hour = RecordingRules { duration_max: Duration::from_secs(3600), ..RULES };
    let (intake, _, _supervisor) = intake_by(hour, &stores);
    assert_eq!(take(&intake, Some(1), b"in time").await, Ok(1));

    let nothing = RecordingRules { duration_max: Duration::ZERO, ..RULES };
    let (intake, _, _supervisor) = intake_by(nothing, &stores);
    assert_eq!(refused(&intake, Some(2), b"too late").await, Code::RecordingTooLong);
    assert_eq!(take(&intake, Some(1), b"in time").await, Ok(1), "it is stored");
}

/// The ledger has gone back to a time before the recording was deleted.
#[actix::test]
async fn a_chunk_of_a_recording_that_was_deleted_is_refused_for_good() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, _, _supervisor) = intake(&stores);
    assert_eq!(take(&intake, Some(1), b"one").await, Ok(1));
    let id = token("talk").record_id().clone();
    stores.put(row_of(&manifest("talk"), 2)).await;
    stores.chunks.delete(&id, None).await.expect("gone");
    // Something else may have taken its chunks away: then it is not given up.
    assert_eq!(refused(&intake, Some(2), b"two").await, Code::StorageFailed);
    let deletion = Deletion::of(id.clone(), manifest("talk").started_ms, 1);
    stores.catalog.delete(deletion, Vec::new()).await.expect("gone");
    assert_eq!(refused(&intake, Some(2), b"two").await, Code::RecordingUnknown);
    assert_eq!(stores.ledger.show(&id).await, Ok(None));
}

/// Who could not be told of it would never have it noted.
#[actix::test]
async fn without_anybody_who_sees_to_its_account_a_chunk_is_not_acknowledged() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, _, supervisor) = intake(&stores);
    stores.ledger.away_for(|_| true);
    supervisor.send(Ends).await.expect("it was there");
    until(|| !supervisor.connected()).await;
    assert_eq!(refused(&intake, Some(1), b"one").await, Code::Overloaded);
}

/// The supervisor hears of it too, but the node may die before.
#[actix::test]
async fn a_chunk_that_comes_after_the_video_is_not_acknowledged_before_that_is_written_down() {
    let stores = Stores::open().await;
    let ready = Manifest {
        state: RecordingState::Ready,
        merged_chunks: Some(1),
        unheard: 0,
        keep_until_ms: Some(u64::MAX),
        ..manifest("talk")
    };
    stores.stored(&ready, &[HEAD]).await;
    let (intake, _, _supervisor) = intake(&stores);
    assert_eq!(take(&intake, Some(1), b"late").await, Ok(1));
    let known = stores.chunks.manifest(token("talk").record_id()).await.expect("readable");
    let known = known.expect("a recording");
    assert_eq!((known.state, known.version), (RecordingState::Recording, 2));
}

#[actix::test]
async fn a_number_whose_chunk_did_not_come_is_void_and_who_comes_late_is_refused() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, _, _supervisor) = intake(&stores);
    let (token, id) = (token("talk"), token("talk").record_id().clone());
    assert_eq!(take(&intake, Some(0), HEAD).await, Ok(0), "its account is back");
    // A node that stands still before it stores its chunk. Its recorder sends it again.
    let slow = chunk(b"one");
    let staged = stores.chunks.stage(&RecordingRef::by(&token), slow.payload).await.expect("staged");
    let number = stores.ledger.number(token.clone(), unplaced(3)).await.expect("answers").expect("given out");
    assert_eq!(take(&intake, None, b"one").await, Ok(2));
    stores.ledger.attach(token.clone()).await.expect("answers").expect("its own");
    assert_eq!(take(&intake, None, b"two").await, Ok(3), "whoever gets a number sees to those that are late");
    assert_eq!(stored(&stores).await, [0, 1, 2, 3]);
    let committed = staged.commit(number.index, slow.mark).await.expect("stored");
    assert_eq!(committed, Committed::Taken(ChunkMark::VOID));
    let noted = stores.ledger.note_numbered(token, number, slow.mark, Patience::Http).await;
    assert_eq!(noted, Ok(Some(Noted::Withdrawn)));
    let view = stores.ledger.show(&id).await.expect("answers").expect("an account");
    assert_eq!((view.chunks, view.next_index), (3, 4));
    assert_eq!(stores.ledger.missing(&id).await, Ok(vec![]));
}

/// The shared store stood still, and the recorder has gone to another node.
#[actix::test]
async fn what_a_recorder_had_on_its_way_when_it_moved_is_not_stored_beside_what_it_sends_again() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, _, _supervisor) = intake(&stores);
    assert_eq!(take(&intake, Some(0), HEAD).await, Ok(0));
    let token = token("talk");
    let taken_up = |inner: &dyn Ledger| {
        let attached = inner.attach(token.clone()).now_or_never().expect("at once").expect("an answer");
        attached.expect("its own").generation
    };
    let by = |generation| Way::Socket { generation };
    let first = taken_up(&*stores.ledger.inner());
    let take = async |generation, bytes| {
        let taken = intake.take(&token, None, chunk(bytes), by(generation)).await;
        taken.map(ChunkIndex::get).map_err(|refusal| refusal.code)
    };
    assert_eq!(take(first, b"one").await, Ok(1));
    let (inner, moved) = (stores.ledger.inner(), token.clone());
    stores.ledger.away_for(move |operation| {
        if operation == "number" {
            drop(inner.attach(moved.clone()));
        }
        false
    });
    assert_eq!(take(first, b"two").await, Err(Code::Replaced), "it was admitted");
    stores.ledger.away_for(|_| false);
    let second = taken_up(&*stores.ledger.inner());
    assert_eq!(take(second, b"two").await, Ok(2));
    assert_eq!(take(first, b"three").await, Err(Code::Replaced));
    assert_eq!(stored(&stores).await, [0, 1, 2]);
}

#[actix::test]
async fn a_ledger_that_has_forgotten_a_void_hears_of_it_and_counts_on() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, _, _supervisor) = intake(&stores);
    assert_eq!(take(&intake, Some(0), HEAD).await, Ok(0));
    let staged = stores.chunks.stage(&RecordingRef::by(&token("talk")), Bytes::new()).await.expect("staged");
    staged.commit(place(1), ChunkMark::VOID).await.expect("stored");
    let refusal = take(&intake, None, b"one").await.expect_err("its time may be over");
    assert_eq!((refusal.code, refusal.code.row().retryable), (Code::StorageFailed, true));
    assert_eq!(take(&intake, None, b"one").await, Ok(2));
}

/// Two chunks of which neither was acknowledged: that of a recorder who went away, and the next one's.
#[actix::test]
async fn what_was_stored_under_a_number_that_is_anothers_now_stays_in_its_place() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let (intake, _, _supervisor) = intake(&stores);
    let token = token("talk");
    assert_eq!(take(&intake, Some(0), HEAD).await, Ok(0));
    let slow = chunk(b"slow");
    let staged = stores.chunks.stage(&RecordingRef::by(&token), slow.payload).await.expect("staged");
    let number = stores.ledger.number(token.clone(), unplaced(4)).await.expect("answers").expect("given out");
    let back = stores.ledger.attach(token.clone()).await.expect("answers").expect("its own");
    assert_eq!((back.next_index, back.missing), (1, vec![]), "nothing came after it");
    assert_eq!(staged.commit(number.index, slow.mark).await.expect("stored"), Committed::Stored);
    let noted = stores.ledger.note_numbered(token, number, slow.mark, Patience::Http).await;
    assert_eq!(noted, Ok(Some(Noted::Withdrawn)), "it is not acknowledged");
    // Its recorder sends it again: it is there. And what comes after it comes after it.
    assert_eq!(take(&intake, None, b"slow").await, Ok(1));
    assert_eq!(take(&intake, None, b"next").await, Ok(2));
    assert_eq!(stored(&stores).await, [0, 1, 2]);
}

/// Its account is being closed, or was: nobody would ever look for the chunk.
#[actix::test]
async fn without_the_ledger_nothing_is_acknowledged_of_a_recording_that_is_closed() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk").closed(), &[HEAD]).await;
    let (intake, _, _supervisor) = intake(&stores);
    stores.ledger.away_for(|_| true);
    assert_eq!(refused(&intake, Some(1), b"one").await, Code::RecordingOver);
    assert_eq!(stored(&stores).await, [0]);
}

/// Another node that reaches the ledger ends the recording while this one stores a chunk of it.
#[actix::test]
async fn what_came_after_the_last_look_at_its_recording_is_not_acknowledged_without_the_ledger() {
    let stopped = Manifest { stopped: true, revision: 1, ..manifest("talk") };
    let ends = [
        (Some(manifest("talk").closed()), Err(Code::RecordingOver)),
        (Some(stopped.clone()), Err(Code::RecordingStopped)),
        (None, Err(Code::RecordingUnknown)),
        // The account has it: only the answer was lost.
        (Some(Manifest { announced: Some(2), ..stopped }), Ok(1)),
    ];
    for at in [Some(1), None] {
        for (end, wanted) in ends.clone() {
            let stores = Stores::open().await;
            stores.stored(&manifest("talk"), &[HEAD]).await;
            let (intake, _, _supervisor) = intake(&stores);
            let (chunks, id) = (stores.chunks.clone(), token("talk").record_id().clone());
            stores.ledger.away_for(move |operation| {
                let notes = operation.starts_with("note");
                if notes {
                    ended(chunks.clone(), id.clone(), end.clone());
                }
                notes
            });
            let taken = take(&intake, at, b"one").await.map_err(|refusal| refusal.code);
            assert_eq!(taken, wanted, "{at:?}");
        }
    }
}

/// By another node: what is known of the recording is this from now on, or nothing.
fn ended(chunks: Arc<dyn ChunkStore>, id: RecordId, end: Option<Manifest>) {
    let ends = async move {
        match end {
            Some(end) => chunks.save_manifest(end).await,
            None => chunks.delete(&id, None).await,
        }
    };
    let node = std::thread::spawn(|| actix::System::new().block_on(ends));
    node.join().expect("it lives").expect("stored");
}
