//! Who makes what was stopped.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Addr, Handler};

use super::{
    super::{
        HEAD_START,
        kit::{Deaf, becomes, supervisor_on, sweeps},
        presence::Attachment,
    },
    *,
};
use crate::{
    actors::{
        accounts::kit::{HEAD, Stores, manifest, token},
        door::{Door, Lifeline},
        messages::{ClaimRecording, LookAtRecording, StopRecording},
        recording_supervisor::{RecordingConfig, kit::config},
    },
    adapters::ports::{ChunkStore as _, Ledger as _},
    domain::recording::Manifest,
    protocol::{ConnectionId, recorder::Made},
};

/// Hears what was stopped, and does nothing about it.
#[derive(Clone, Default)]
struct Follower(Arc<Mutex<Vec<RecordId>>>);

impl Follower {
    fn heard(&self) -> Vec<RecordId> {
        self.0.lock().expect("whole").clone()
    }
}

impl Actor for Follower {
    type Context = Context<Self>;
}

impl Handler<RecordingEnded> for Follower {
    type Result = ();

    fn handle(&mut self, _: RecordingEnded, _: &mut Self::Context) {}
}

impl Handler<RecordingStopped> for Follower {
    type Result = ();

    fn handle(&mut self, message: RecordingStopped, _: &mut Self::Context) {
        self.0.lock().expect("whole").push(message.recording.id);
    }
}

/// Stores with a recording under way that has all its chunks.
async fn stores() -> Stores {
    let stores = Stores::open().await;
    put(&stores, "talk").await;
    stores.set_whole().await;
    stores
}

/// Puts in another one.
async fn put(stores: &Stores, name: &str) {
    stores.stored(&manifest(name), &[HEAD]).await;
    let there = stores.chunks.list(&id(name)).await.expect("readable");
    stores.ledger.restore(manifest(name), there).await.expect("an answer");
}

fn id(name: &str) -> RecordId {
    token(name).record_id().clone()
}

/// A supervisor that has been there for long, and whoever hears from it what was stopped.
fn among_others(stores: &Stores, merge_jobs: usize) -> (RecordingSupervisor, Follower, Addr<Deaf>) {
    let (mut supervisor, deaf) =
        supervisor_on(stores.ports(), RecordingConfig { merge_jobs, clustered: true, ..config() });
    let follower = Follower::default();
    supervisor.claims_from = Duration::ZERO;
    supervisor.links.stopped = follower.clone().start().recipient();
    (supervisor, follower, deaf)
}

async fn stop(supervisor: &Addr<RecordingSupervisor>, name: &str) {
    let message = StopRecording { token: token(name), made: Made::default() };
    supervisor.send(message).await.expect("it is there").expect("everything has come");
}

/// A recording, once somebody has claimed it.
async fn claimed(stores: &Stores, name: &str) -> Manifest {
    let view = async || stores.ledger.show(&id(name)).await.expect("an answer").expect("an account");
    becomes("it is claimed", async || view().await.claimed_by.is_some()).await;
    view().await.manifest
}

#[actix::test]
async fn what_was_stopped_is_left_for_a_moment_to_whoever_has_followed_it() {
    let stores = stores().await;
    let (supervisor, follower, _deaf) = among_others(&stores, 1000);
    let supervisor = supervisor.start();
    // Of so many some are stopped just before a sweep.
    let (mut names, until) = (Vec::new(), stores.ledger.asked("claim_due") + 4);
    while stores.ledger.asked("claim_due") < until {
        let name = format!("talk-{}", names.len());
        put(&stores, &name).await;
        stop(&supervisor, &name).await;
        names.push(name);
    }
    let stopped: Vec<_> = names.iter().map(|name| id(name)).collect();
    becomes("they hear of it", async || follower.heard() == stopped).await;
    for name in &names {
        let manifest = claimed(&stores, name).await;
        // A fence is no lower than the time of its claim, by the clock of the ledger.
        let waited_ms = manifest.fence.0 - manifest.ended_ms.expect("it was stopped");
        assert!(u128::from(waited_ms) >= HEAD_START.as_millis(), "{waited_ms}");
    }
    assert_eq!(stores.ledger.asked("claim"), 0, "sweeps have found them");
}

#[actix::test]
async fn what_was_stopped_is_claimed_at_once_where_there_are_no_others() {
    let stores = stores().await;
    let (supervisor, _deaf) = supervisor_on(stores.ports(), RecordingConfig { clustered: false, ..config() });
    let supervisor = supervisor.start();
    stop(&supervisor, "talk").await;
    claimed(&stores, "talk").await;
    assert_eq!(stores.ledger.asked("claim"), 1);
}

#[actix::test]
async fn who_is_told_that_it_is_due_claims_it_where_there_is_room_and_it_is_due() {
    let stores = stores().await;
    let (supervisor, ..) = among_others(&stores, 1);
    let supervisor = supervisor.start();
    let told = async || supervisor.send(ClaimRecording { id: id("talk") }).await.expect("it is there");
    told().await;
    becomes("it has looked", async || stores.ledger.asked("claim") == 1).await;
    let view = stores.ledger.show(&id("talk")).await.expect("an answer").expect("an account");
    assert_eq!(view.claimed_by, None, "it goes on");
    // Each is told of several times, in the order in which they were stopped.
    let names = ["one", "two", "three", "four"];
    for name in names {
        put(&stores, name).await;
        stores.ledger.stop(token(name), Made::default()).await.expect("an answer").expect("it has all");
    }
    for name in names {
        for _ in 0..2 {
            supervisor.send(ClaimRecording { id: id(name) }).await.expect("it is there");
        }
    }
    sweeps(&stores, 3).await;
    let mut made = Vec::new();
    for name in names {
        let view = stores.ledger.show(&id(name)).await.expect("an answer").expect("an account");
        made.extend(view.claimed_by.map(|_| name));
    }
    assert_eq!((made.len(), made.first()), (2, Some(&"one")), "as many as there is room for");
}

#[actix::test]
async fn what_another_node_has_ended_is_looked_at_where_its_recorder_is_before_the_next_time() {
    const TIMES: u32 = 20;
    let stores = stores().await;
    let (mut supervisor, _follower, deaf) = among_others(&stores, 1);
    let attached = stores.ledger.attach(token("talk")).await.expect("an answer").expect("it goes on");
    let lifeline = Lifeline::default();
    let door = Door::new(deaf.recipient(), &lifeline, None);
    let attachment = Attachment::new((ConnectionId(1), door), token("talk"), &attached, Duration::ZERO);
    supervisor.attach(&id("talk"), attachment);
    let supervisor = supervisor.start();
    for _ in 0..TIMES {
        let looks = stores.ledger.asked("keep");
        supervisor.send(LookAtRecording { id: id("other") }).await.expect("it is there");
        supervisor.send(LookAtRecording { id: id("talk") }).await.expect("it is there");
        becomes("it is looked at", async || stores.ledger.asked("keep") > looks).await;
    }
    // By itself it looks with every other sweep.
    assert!(stores.ledger.asked("claim_due") < TIMES);
}

#[actix::test]
async fn a_node_that_is_going_away_claims_nothing_that_it_is_told_of() {
    let stores = stores().await;
    let (mut supervisor, ..) = among_others(&stores, 1);
    supervisor.draining = true;
    let supervisor = supervisor.start();
    supervisor.send(ClaimRecording { id: id("talk") }).await.expect("it is there");
    sweeps(&stores, 1).await;
    assert_eq!(stores.ledger.asked("claim"), 0);
}
