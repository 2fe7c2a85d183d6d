//! Who claims what is due, where one node knows of it sooner than the others.

use std::time::Duration;

use greenroom::{adapters::ports::Ledger as _, domain::recording::ClaimedWork, protocol::recorder::Made};

use crate::{
    ledger_kit::{Books, HOUR, id},
    support::Redis,
};

#[tokio::test]
async fn what_has_just_become_due_is_left_to_whoever_asks_for_it_by_name() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let [follower, other] = ["n1", "n2"].map(|name| Books::on(&redis, name));
    let (token, _) = other.opened("talk", None, None).await;
    other.noted("talk", 0).await;
    assert_eq!(follower.ledger.claim(&id("talk")).await, Ok(None), "it is not due yet");
    assert_eq!(follower.ledger.claim(&id("nobody")).await, Ok(None));
    other.ledger.stop(token, Made::default()).await.expect("Redis answers").expect("taken");
    assert_eq!(other.ledger.claim_due(9, HOUR).await, Ok(vec![]), "nor has it been for so long");
    let claim = follower.ledger.claim(&id("talk")).await.expect("Redis answers").expect("it is due");
    assert_eq!(claim.work, ClaimedWork::Finalise { expected: 1, chunks: 1 });
    let view = other.ledger.show(&id("talk")).await.expect("Redis answers").expect("an account");
    assert_eq!(view.claimed_by, Some(follower.node.clone()));
    assert_eq!(other.ledger.claim(&id("talk")).await, Ok(None), "it is somebody's");
    assert_eq!(other.ledger.claim_due(9, Duration::ZERO).await, Ok(vec![]));
}

#[tokio::test]
async fn what_nobody_has_asked_for_by_name_is_found_by_whoever_looks() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let books = ["n1", "n2"].map(|name| Books::on(&redis, name));
    let (token, _) = books[0].opened("talk", None, None).await;
    books[0].noted("talk", 0).await;
    books[0].ledger.stop(token, Made::default()).await.expect("Redis answers").expect("taken");
    let since = Duration::from_millis(1);
    let found = crate::support::eventually("it has been due for long enough", async || {
        books[1].ledger.claim_due(9, since).await.expect("Redis answers").pop()
    });
    assert_eq!(found.await.manifest.record_id, id("talk"));
}
