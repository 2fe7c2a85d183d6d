//! A supervisor whose ledger does not answer.

use actix::Actor as _;

use super::*;
use crate::{
    actors::{
        accounts::kit::{HEAD, Stores, manifest, token},
        door::Lifeline,
        messages::ChunksUnnoted,
        recording_supervisor::{
            kit::{supervisor, sweeps},
            recover,
        },
    },
    adapters::ports::Ledger as _,
};

#[actix::test]
async fn however_long_an_account_takes_nobody_asks_for_it_twice_at_one_time() {
    let stores = Stores::open().await;
    let (mut supervisor, deaf) = supervisor(&stores);
    let attached = stores.ledger.open(manifest("talk"), 1).await.expect("an answer").expect("opened");
    let lifeline = Lifeline::default();
    let door = Door::new(deaf.recipient(), &lifeline, None);
    let attachment = Attachment::new((ConnectionId(1), door), token("talk"), &attached, Duration::ZERO);
    supervisor.attach(token("talk").record_id(), attachment);
    stores.ledger.hang_at(|operation| operation == "keep");
    let _supervisor = supervisor.start();
    sweeps(&stores, 12).await;
    assert_eq!(stores.ledger.asked("keep"), 1);
}

#[actix::test]
async fn chunks_that_cannot_be_noted_wait_before_that_is_tried_again() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    stores.ledger.set_whole(stores.ledger.loss().await.expect("an answer")).await.expect("an answer");
    let (supervisor, _deaf) = supervisor(&stores);
    let supervisor = supervisor.start();
    let unnoted = async || {
        let id = token("talk").record_id().clone();
        supervisor.send(ChunksUnnoted { id }).await.expect("it is there");
    };
    stores.ledger.away_for(|operation| operation == "restore");
    unnoted().await;
    sweeps(&stores, 12).await;
    let tries = stores.ledger.asked("restore");
    assert!((1..4).contains(&tries), "{tries} in three seconds");
    stores.ledger.away_for(|_| false);
    // While that hangs, it is not begun once more.
    stores.ledger.hang_at(|operation| operation == "restore");
    unnoted().await;
    sweeps(&stores, 12).await;
    let tries = stores.ledger.asked("restore");
    unnoted().await;
    sweeps(&stores, 12).await;
    assert_eq!(stores.ledger.asked("restore"), tries);
}

#[actix::test]
async fn a_node_that_starts_in_a_cluster_leaves_the_others_time_to_say_who_is_there() {
    let stores = Stores::open().await;
    stores.stored(&manifest("talk"), &[HEAD]).await;
    let recovered = recover(&stores.ports(), &stores.accounts(), true).await.expect("it starts");
    assert!(recovered.found.is_empty() && !stores.ledger.is_whole().await.expect("an answer"));
    assert!(stores.ledger.show(token("talk").record_id()).await.expect("an answer").is_some());
    let (supervisor, _deaf) = supervisor(&stores);
    assert!(supervisor.claims_from > supervisor.clock.now().mono + Duration::from_secs(1));
    // One that is alone knows everything before it lets anybody in.
    let recovered = recover(&stores.ports(), &stores.accounts(), false).await.expect("it starts");
    assert_eq!(recovered.found.len(), 1);
    assert!(stores.ledger.is_whole().await.expect("an answer"));
}
