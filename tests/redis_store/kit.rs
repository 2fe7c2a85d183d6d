//! Nodes as far as the store sees them, and short words for what they ask.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use greenroom::{
    adapters::{
        clock::Clock,
        ports::{Leases as _, PortFuture, Registry, RegistryError},
        redis::{RedisLeases, RedisRegistry, RedisSettings, RedisStore},
    },
    domain::membership::{AdmissionRequest, Admitted, Change, RoomPicture, Row, RowUpdate, SyncRequest},
    metrics::Metrics,
    protocol::{
        Code, Incarnation, NodeId, NodeRef, ResumeToken, RoomName, SessionId, UserId, command::Username,
        event::Presence, metadata::Metadata,
    },
};
use uuid::Uuid;

use crate::support::Redis;

/// A node's part of the store.
pub struct Part {
    pub node: NodeRef,
    pub store: Arc<RedisStore>,
    pub registry: RedisRegistry,
    pub leases: RedisLeases,
    pub metrics: Metrics,
}

impl Part {
    /// A node that may write for an hour.
    pub fn on(redis: &Redis, name: &str) -> Self {
        Self::with(RedisSettings::single(&redis.url()), name)
    }

    /// The same by these settings.
    pub fn with(settings: RedisSettings, name: &str) -> Self {
        let part = Self::without_lease(settings, name);
        part.leases.granted(&part.node, in_an_hour());
        part
    }

    pub fn without_lease(settings: RedisSettings, name: &str) -> Self {
        let node = node(name, 1);
        let metrics = Metrics::new().expect("good names");
        let store = RedisStore::new(settings, Clock::start(), metrics.clone()).expect("good settings");
        let registry = RedisRegistry::new(store.clone(), node.id.clone());
        Self { registry, leases: RedisLeases::new(store.clone()), store, metrics, node }
    }

    /// What is asked for when somebody comes to this node.
    pub fn request(&self, room_name: &str, user_id: &str, participants_max: usize) -> AdmissionRequest {
        let user_id = user(user_id);
        AdmissionRequest {
            room: room(room_name),
            node: self.node.clone(),
            session: new_session(),
            username: Username::from(&user_id),
            metadata: Metadata::default(),
            proof: ResumeToken::new([7; 32]).digest(),
            participants_max,
            user_id,
        }
    }

    /// Lets somebody in; fails if that is refused.
    pub async fn admitted(&self, room: &str, user: &str) -> Admitted {
        self.registry.admit(self.request(room, user, 100)).await.expect("Redis answers").expect("let in")
    }

    /// Why somebody is not let in.
    pub async fn refused(&self, room: &str, user: &str, participants_max: usize) -> Code {
        let answer = self.registry.admit(self.request(room, user, participants_max)).await;
        answer.expect("Redis answers").expect_err("refused").code
    }

    /// The room as it stands.
    pub async fn picture(&self, name: &str) -> RoomPicture {
        self.registry.show(room(name)).await.expect("Redis answers")
    }

    /// A sync of this node that holds these rows.
    pub fn sync_request(&self, name: &str, mine: Vec<(UserId, Row)>) -> SyncRequest {
        let (node, grace) = (self.node.clone(), Duration::from_secs(10));
        SyncRequest {
            room: room(name),
            node,
            mine,
            keep: vec![],
            lock: Default::default(),
            dead: vec![],
            grace,
        }
    }

    /// The sessions in a node's index.
    pub async fn indexed(&self, node: &NodeRef) -> Vec<SessionId> {
        let entries = self.leases.index(&node.id).await.expect("Redis answers");
        entries.into_iter().map(|entry| entry.session).collect()
    }

    /// How often commands came out so.
    pub fn counted(&self, command: &str, outcome: &str) -> u64 {
        self.metrics.redis_operations.with_label_values(&[command, outcome]).get()
    }
}

pub fn in_an_hour() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

pub fn room(name: &str) -> RoomName {
    RoomName::parse(name).expect("valid")
}

pub fn user(id: &str) -> UserId {
    UserId::parse(id).expect("valid")
}

pub fn node(id: &str, incarnation: u64) -> NodeRef {
    NodeRef { id: NodeId::parse(id).expect("valid"), incarnation: Incarnation(incarnation) }
}

pub fn new_session() -> SessionId {
    SessionId::new(Uuid::new_v4())
}

pub fn withdraw(name: &str, id: &str, row: &Row) -> Change {
    Change::Withdraw { room: room(name), user_id: user(id), session: row.session, generation: row.generation }
}

pub fn update(name: &str, id: &str, row: &Row, revision: u64, state: Presence) -> Change {
    let (room, user_id, generation) = (room(name), user(id), row.generation);
    Change::Update(RowUpdate { room, user_id, generation, revision, state, metadata: Metadata::default() })
}

/// Whether the answer is that there is none.
pub async fn unavailable<T: std::fmt::Debug>(answer: PortFuture<Result<T, RegistryError>>) -> String {
    let RegistryError::Unavailable(why) = answer.await.expect_err("no answer");
    why
}
