//! What a node does when its registry is away, late, or broken. The in-memory registry can be none of that, so these
//! stand in for one that is reached over a network.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use greenroom::{
    adapters::{
        clock::Clock,
        memory::MemoryRegistry,
        ports::{CatalogError, Outbox, OutboxEvent, PortFuture, Registry, RegistryError},
    },
    domain::membership::{AdmissionRequest, Admitted, Change, RoomPicture, Row, SyncRequest, TakeOver},
    protocol::{Fence, RecordId, Refusal, RoomName, UserId},
};
use serde_json::json;
use support::{Node, Peer, eventually, get, knock, metric};
use tokio::sync::Semaphore;

type Answer = PortFuture<Result<Result<Admitted, Refusal>, RegistryError>>;

/// A registry that does as it is told.
struct Told {
    inner: MemoryRegistry,
    away: AtomicBool,
    broken: AtomicBool,
    /// Each admission waits for a permit.
    permits: Arc<Semaphore>,
    /// Admissions that were asked for.
    asked: AtomicUsize,
}

impl Told {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryRegistry::new(Clock::start()),
            away: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            permits: Arc::new(Semaphore::new(permits)),
            asked: AtomicUsize::new(0),
        })
    }

    fn answer<T: Send + 'static>(
        &self,
        answer: PortFuture<Result<T, RegistryError>>,
    ) -> PortFuture<Result<T, RegistryError>> {
        assert!(!self.broken.load(Ordering::SeqCst), "the registry's adapter has a bug");
        if self.away.load(Ordering::SeqCst) {
            return Box::pin(async { Err(RegistryError::Unavailable("refused".into())) });
        }
        answer
    }
}

impl Registry for Told {
    fn admit(&self, request: AdmissionRequest) -> Answer {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let permits = self.permits.clone();
        let answer = self.answer(self.inner.admit(request));
        Box::pin(async move {
            // The semaphore is never closed.
            if let Ok(permit) = permits.acquire().await {
                permit.forget();
            }
            answer.await
        })
    }

    fn mirror(&self, change: Change) -> PortFuture<Result<bool, RegistryError>> {
        self.answer(self.inner.mirror(change))
    }

    fn sync(&self, request: SyncRequest) -> PortFuture<Result<RoomPicture, RegistryError>> {
        self.answer(self.inner.sync(request))
    }

    fn find(&self, room: RoomName, user_id: UserId) -> PortFuture<Result<Option<Row>, RegistryError>> {
        self.answer(self.inner.find(room, user_id))
    }

    fn show(&self, room: RoomName) -> PortFuture<Result<RoomPicture, RegistryError>> {
        self.answer(self.inner.show(room))
    }

    fn take_over(&self, request: TakeOver) -> Answer {
        self.answer(self.inner.take_over(request))
    }
}

const PLENTY: usize = 1000;

#[tokio::test]
async fn while_the_registry_is_away_nobody_comes_in_and_the_room_goes_on() {
    let registry = Told::new(PLENTY);
    let node = Node::start_on(&["--session-grace-secs=0"], registry.clone());
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    ada.expect("UserJoined").await;

    registry.away.store(true, Ordering::SeqCst);
    let mut eve = Peer::connect(node.address()).await;
    eve.send(json!({ "type": "Join", "room_name": "blue", "user_id": "eve", "id": 1 })).await;
    let error = eve.expect_error("overloaded").await;
    assert_eq!((&error["id"], &error["retryable"]), (&json!(1), &json!(true)));

    ada.send(json!({ "type": "Offer", "target_user_id": "bob", "sdp": "v=0" })).await;
    bob.expect("Offer").await;
    bob.send(json!({ "type": "Leave" })).await;
    ada.expect_left("bob", "left").await;
    let failed = "greenroom_registry_errors_total{operation=\"mirror\"}";
    eventually("the failed change is counted", async || {
        (metric(node.address(), failed).await > 0.0).then_some(())
    })
    .await;

    registry.away.store(false, Ordering::SeqCst);
    eve.enter(json!({ "room_name": "blue", "user_id": "eve" })).await;
    ada.expect("UserJoined").await;
}

#[tokio::test]
async fn a_late_admission_holds_up_nobody_else_and_what_follows_a_join_waits_for_it() {
    let registry = Told::new(1);
    let node = Node::start_on(&[], registry.clone());
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let mut bob = Peer::connect(node.address()).await;
    bob.send(json!({ "type": "Join", "room_name": "blue", "user_id": "bob" })).await;
    // Said before the node has answered: it belongs to the room that bob is about to be in.
    bob.send(json!({ "type": "Message", "data": "early" })).await;
    ada.expect_nothing().await;

    registry.permits.add_permits(PLENTY);
    ada.expect("UserJoined").await;
    let message = ada.expect("Message").await;
    assert_eq!(message["data"], "early");
    bob.expect("RoomJoined").await;
}

#[tokio::test]
async fn who_is_gone_before_it_is_admitted_leaves_no_ghost() {
    let registry = Told::new(1);
    let node = Node::start_on(&["--session-grace-secs=1"], registry.clone());
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let mut bob = Peer::connect(node.address()).await;
    bob.send(json!({ "type": "Join", "room_name": "blue", "user_id": "bob" })).await;
    ada.expect_nothing().await;
    drop(bob);
    registry.permits.add_permits(PLENTY);
    ada.expect("UserJoined").await;
    ada.expect_updated("bob", "state", "suspect").await;
    ada.expect_left("bob", "timeout").await;
}

#[tokio::test]
async fn an_admission_that_is_never_answered_is_taken_back() {
    let registry = Told::new(1);
    let node = Node::start_on(&["--room-max-participants=2"], registry.clone());
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    let mut bob = Peer::connect(node.address()).await;
    bob.send(json!({ "type": "Join", "room_name": "blue", "user_id": "bob" })).await;
    bob.expect_error("overloaded").await;

    registry.permits.add_permits(PLENTY);
    let mut eve = Peer::connect(node.address()).await;
    eve.enter(json!({ "room_name": "blue", "user_id": "eve" })).await;
    let news = ada.expect("UserJoined").await;
    assert_eq!(news["user"]["user_id"], "eve", "bob's place in the registry is free again");
}

#[tokio::test]
async fn a_draining_node_is_not_ready_and_takes_no_new_socket() {
    let registry = Told::new(0);
    let mut node = Node::start_on(&[], registry.clone());
    // Its join is never answered, so the node waits for it until it pulls the switch.
    let mut ada = Peer::connect(node.address()).await;
    ada.send(json!({ "type": "Join", "room_name": "blue", "user_id": "ada" })).await;
    eventually("the join has come", async || (registry.asked.load(Ordering::SeqCst) > 0).then_some(())).await;
    node.begin_stop();
    let ready = eventually("not ready", async || {
        let ready = get(node.address(), "/health/ready").await;
        (ready.status == 503).then_some(ready)
    })
    .await;
    assert_eq!(ready.json()["code"], "draining");
    assert_eq!(get(node.address(), "/health/live").await.status, 200);
    let refused = knock(node.address(), "").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("draining")));
    node.stopped().await;
}

#[tokio::test]
async fn a_manager_that_has_died_is_seen_by_the_health_checks() {
    let registry = Told::new(PLENTY);
    let node = Node::start_on(&[], registry.clone());
    let mut ada = Peer::join(node.address(), "blue", "ada").await;
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(get(node.address(), path).await.status, 200, "{path}");
    }

    registry.broken.store(true, Ordering::SeqCst);
    let mut bob = Peer::connect(node.address()).await;
    bob.send(json!({ "type": "Join", "room_name": "blue", "user_id": "bob" })).await;
    bob.expect_close(1013, "overloaded").await;
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(get(node.address(), path).await.status, 503, "{path}");
    }
    ada.send(json!({ "type": "Ping" })).await;
    ada.expect_close(1013, "overloaded").await;
}

/// Events that cannot be looked for: the adapter has a bug.
struct Broken;

impl Outbox for Broken {
    fn waiting(&self, after: Option<RecordId>, _: u32) -> PortFuture<Result<Vec<OutboxEvent>, CatalogError>> {
        assert!(after.is_some(), "the outbox's adapter has a bug");
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn done(&self, _: &RecordId, _: Fence, _: u8) -> PortFuture<Result<(), CatalogError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn depth(&self) -> PortFuture<Result<u64, CatalogError>> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

#[tokio::test]
async fn so_is_a_keeper() {
    let webhook = ["--webhook-url=http://127.0.0.1:9/", "--webhook-secret=north"];
    let node = Node::start_with(&webhook, |ports| ports.recording.outbox = Arc::new(Broken));
    for path in ["/health", "/health/live", "/health/ready"] {
        eventually(path, async || (get(node.address(), path).await.status == 503).then_some(())).await;
    }
    let health = get(node.address(), "/health").await.json();
    assert_eq!(
        (&health["status"], &health["checks"]["keeper"]),
        (&json!("down"), &json!("down")),
        "{health}"
    );
    assert_eq!(health["checks"]["recording_supervisor"], "ok", "{health}");
}
