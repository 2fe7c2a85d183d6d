use actix::{Actor as _, Handler, Message};

use super::*;
use crate::{
    actors::{
        accounts::kit::{HEAD, Stores, manifest, token},
        messages::DrainRecordings,
        recording_supervisor::kit::{supervisor, sweeps},
    },
    adapters::ports::ChunkStore as _,
    protocol::Code,
};

/// The ledger has answered with this.
#[derive(Message)]
#[rtype(result = "()")]
struct Claimed(Claim);

impl Handler<Claimed> for RecordingSupervisor {
    type Result = ();

    fn handle(&mut self, Claimed(claim): Claimed, ctx: &mut Self::Context) {
        self.take_up(&claim, ctx);
    }
}

#[actix::test]
async fn what_is_claimed_while_the_node_goes_is_given_back_at_once() {
    let stores = Stores::open().await;
    let due = Manifest { state: RecordingState::Finalising, stopped: true, ..manifest("talk") };
    stores.stored(&due, &[HEAD]).await;
    let id = token("talk").record_id().clone();
    let there = stores.chunks.list(&id).await.expect("readable");
    stores.ledger.restore(due, there).await.expect("an answer");
    let claim =
        stores.ledger.claim_due(1, Duration::ZERO).await.expect("an answer").pop().expect("it is due");
    let (supervisor, _deaf) = supervisor(&stores);
    let supervisor = supervisor.start();
    supervisor.send(DrainRecordings).await.expect("it is there");
    supervisor.send(Claimed(claim.clone())).await.expect("it is there");
    sweeps(&stores, 2).await;
    let again = stores
        .ledger
        .claim_due(1, Duration::ZERO)
        .await
        .expect("an answer")
        .pop()
        .expect("it is due at once");
    assert_eq!(again.work, claim.work);
    assert!(again.manifest.fence > claim.manifest.fence);
}

#[test]
fn what_others_are_told_names_no_place_on_the_node() {
    let words = || "/srv/greenroom/chunks/talk/chunk_00000001: Input/output error".to_owned();
    for fault in [MergeFault::Store(words()), MergeFault::Merge(MergeError::Interrupted(words()))] {
        let (refusal, _) = told(&fault);
        assert_eq!(refusal.code, Code::MergeFailed);
        assert!(!refusal.message().contains('/'), "{}", refusal.message());
        assert!(fault.to_string().contains("/srv/greenroom"), "the log has it: {fault}");
    }
}
