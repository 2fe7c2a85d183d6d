//! What the handlers share.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Addr, Message, Recipient};
use actix_web::http::header::HeaderValue;
use tokio::sync::Semaphore;

use super::{client::Connections, error::Problem, overview::Overviews};
use crate::{
    actors::{
        keeper::Keeper,
        messages::{
            AskExport, CancelMerge, CountRecordings, CountRooms, DeleteRecording, ListRooms, ShowRecordings,
            ShowRoom, ShowRooms, ShowStanding, Standing,
        },
        peer_session::RoomsLink,
        recorder_session::RecordingLink,
    },
    adapters::{
        clock::Clock,
        ports::{Breakers, Catalog, Leases, Merger, Registry, SameStores, VideoStore},
    },
    domain::{clock::Now, ice::IceServers},
    metrics::Metrics,
    protocol::{Code, ConnectionId, NodeRef, limits::Limits},
};

/// How long a request waits for a manager.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The ways to what nodes share.
#[derive(Clone)]
pub struct ClusterAccess {
    /// How this node stands among the others.
    pub standing: Recipient<ShowStanding>,
    /// What each node has, by its index.
    pub leases: Arc<dyn Leases>,
    /// Who is in which room.
    pub registry: Arc<dyn Registry>,
}

/// One node's facts and ways, shared by all its workers.
#[derive(Clone)]
pub struct HttpState {
    /// This node in its first life.
    pub node: NodeRef,
    /// What it shares with others; `None`: it is alone.
    pub cluster: Option<ClusterAccess>,
    /// What people see of all nodes and rooms.
    pub overviews: Overviews,
    /// The settable limits.
    pub limits: Limits,
    /// What browsers connect through.
    pub ice: IceServers,
    /// Whose pages may open a WebSocket; empty: all.
    pub allowed_origins: Arc<BTreeSet<String>>,
    /// WebSockets by client address.
    pub connections: Connections,
    /// Where peers' connections post to.
    pub rooms: RoomsLink,
    /// How many there are.
    pub count: Recipient<CountRooms>,
    /// Which rooms there are.
    pub list: Recipient<ListRooms>,
    /// Who is in a room.
    pub show: Recipient<ShowRoom>,
    /// Who is in all of them.
    pub show_all: Recipient<ShowRooms>,
    /// Where recorders' connections post to.
    pub recording: RecordingLink,
    /// How recordings stand that are not over.
    pub recordings: Recipient<ShowRecordings>,
    /// How many recorders there are.
    pub count_recordings: Recipient<CountRecordings>,
    /// Takes a recording away.
    pub delete_recording: Recipient<DeleteRecording>,
    /// Merges.
    pub merges: Recipient<CancelMerge>,
    /// Keeps house, and tells the application.
    pub keeper: Addr<Keeper>,
    /// MP4s of finished videos.
    pub exports: Recipient<AskExport>,
    /// Rows of recordings.
    pub catalog: Arc<dyn Catalog>,
    /// Whether other nodes keep recordings where this one does.
    pub same_stores: SameStores,
    /// Where videos are.
    pub videos: Arc<dyn VideoStore>,
    /// What they are made by, and shown by while they are made.
    pub merger: Arc<dyn Merger>,
    /// What the node stands on that is left alone while it does not answer.
    pub breakers: Arc<Breakers>,
    /// In front of every link; may be empty.
    pub api_base_url: Arc<str>,
    /// Bytes that bodies over HTTP may take.
    pub uploads: Arc<Semaphore>,
    /// Everything that is counted.
    pub metrics: Metrics,
    /// Both clocks.
    pub clock: Clock,
    /// When the node started.
    pub started: Now,
    /// Set when the node is going away.
    pub draining: Arc<AtomicBool>,
    /// The last number given to a connection.
    pub last_connection: Arc<AtomicU64>,
}

impl HttpState {
    /// A number for a new connection.
    #[must_use]
    pub fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.last_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether the node is going away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether every manager lives. One that has died does not come back: the process must be restarted.
    #[must_use]
    pub fn managers_alive(&self) -> bool {
        let cluster = self.cluster.as_ref();
        self.count.connected()
            && self.recordings.connected()
            && self.merges.connected()
            && self.keeper.connected()
            && self.exports.connected()
            && cluster.is_none_or(|cluster| cluster.standing.connected())
    }

    /// How this node stands in its cluster; `None`: it is alone.
    ///
    /// # Errors
    /// [`Code::NotReady`] when the cluster bridge does not answer in time.
    pub async fn standing(&self) -> Result<Option<Standing>, Problem> {
        match &self.cluster {
            Some(cluster) => ask(&cluster.standing, ShowStanding).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether pages of this origin may open a WebSocket. Programs that are no browsers send none.
    #[must_use]
    pub fn allows_origin(&self, origin: Option<&HeaderValue>) -> bool {
        let Some(origin) = origin else { return true };
        let allowed = |origin: &str| self.allowed_origins.contains(&origin.to_lowercase());
        self.allowed_origins.is_empty() || origin.to_str().is_ok_and(allowed)
    }
}

/// Asks a manager something.
///
/// # Errors
/// [`Code::NotReady`] when it does not answer in time.
pub async fn ask<M>(manager: &Recipient<M>, question: M) -> Result<M::Result, Problem>
where
    M: Message + Send,
    M::Result: Send,
{
    match tokio::time::timeout(ANSWER_TIMEOUT, manager.send(question)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(Code::NotReady.into()),
    }
}
