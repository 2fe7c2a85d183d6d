//! A supervisor whose ledger does not answer.

use std::time::Instant;

use actix::{Actor, Addr, Handler};

use super::*;
use crate::{
    actors::{
        accounts::kit::{HEAD, Stores, manifest, token},
        chunk_gate::ChunkGates,
        messages::{CancelMerge, ChunksUnnoted, Lifeline, MergeRecording},
        recording_supervisor::{RecordingConfig, Recovered, SupervisorLinks, recover},
    },
    adapters::{clock::Clock, ports::Ledger as _},
    metrics::Metrics,
};

/// Hears everything, and does nothing.
struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

macro_rules! hears {
    ($($message:ty),*) => {
        $(impl Handler<$message> for Deaf {
            type Result = ();

            fn handle(&mut self, _: $message, _: &mut Self::Context) {}
        })*
    };
}

hears!(TellRecording, MergeRecording, CancelMerge, ToRecorder);

fn supervisor(stores: &Stores) -> (RecordingSupervisor, Addr<Deaf>) {
    let deaf = Deaf.start();
    let links = SupervisorLinks {
        rooms: deaf.clone().recipient(),
        merge: deaf.clone().recipient(),
        cancel: deaf.clone().recipient(),
        gates: ChunkGates::default(),
        accounts: stores.accounts(),
    };
    let config = RecordingConfig {
        grace: Duration::from_secs(60),
        reopen: Duration::from_secs(60),
        duration_max: None,
        cleanup_chunks: true,
        api_base_url: String::new(),
        merge_jobs: 1,
        clustered: true,
        min_free_bytes: 0,
        owner_bytes_max: None,
        owner_recordings_max: 1,
        webhook: false,
    };
    let metrics = Metrics::new().expect("valid");
    let supervisor = RecordingSupervisor::new(
        stores.ports(),
        config,
        links,
        Clock::start(),
        metrics,
        Recovered::default(),
    );
    (supervisor, deaf)
}

/// Waits until the supervisor has looked so often more for what is due.
async fn sweeps(stores: &Stores, count: u32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let until = stores.ledger.asked("is_whole") + count;
    while stores.ledger.asked("is_whole") < until {
        assert!(Instant::now() < deadline, "it does not sweep");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

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
