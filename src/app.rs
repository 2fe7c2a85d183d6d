//! A node put together: the same for `main` and for tests.
//!
//! All addresses are taken first, then each part is built whole. [`App::start`] returns a [`Running`] node that is
//! already listening.

mod cluster;
mod import;
mod listening;
mod recording;
mod sharing;
mod stores;

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::{Actor as _, Addr, Arbiter};
use actix_web::dev::ServerHandle;
use anyhow::Context as _;
use tokio::{sync::Semaphore, task::JoinHandle};
use tracing::{info, warn};

pub use self::import::{Imported, import_catalog};
use self::{
    cluster::{Bridge, Joining},
    recording::{AssemblyInbox, Recorders, Recording},
};
use crate::{
    actors::{
        accounts::Accounts,
        assembly_worker::AssemblyWorker,
        chunk_gate::ChunkGates,
        cluster_bridge::BridgeLinks,
        intake::{Intake, IntakeLinks},
        messages::{DrainRecordings, DrainRooms},
        peer_session::RoomsLink,
        recorder_session::RecordingLink,
        recording_supervisor::{RecordingSupervisor, Recovered, recover},
        room_manager::{ClusterLink, RoomManager},
    },
    adapters::{
        clock::Clock,
        memory::MemoryRegistry,
        ports::{Breakers, ClusterPorts, RecordingPorts, Registry},
    },
    config::{ClusterSettings, Config},
    domain::rooms::{Rooms, RoomsConfig},
    http::{Connections, HttpState, Overviews},
    metrics::Metrics,
    protocol::{Incarnation, NodeRef, limits},
};

/// Browsers told to come back do so over this span, so that they do not come all at once.
const RECONNECT_SPREAD: Duration = Duration::from_secs(2);
/// How long the recording supervisor may take to hear of the drain. It takes none, unless it is in trouble.
const RECORDERS_TOLD: Duration = Duration::from_secs(1);
/// A node that can be started.
#[derive(Debug)]
pub struct App;

/// A node that listens.
pub struct Running {
    address: SocketAddr,
    draining: Arc<AtomicBool>,
    drain_deadline: Duration,
    rooms: Addr<RoomManager>,
    supervisor: Addr<RecordingSupervisor>,
    server: ServerHandle,
    served: JoinHandle<std::io::Result<()>>,
    cluster: Option<Bridge>,
    managers: Vec<Arbiter>,
}

/// What a node stands on.
pub struct Ports {
    /// Who is in which room.
    pub registry: Arc<dyn Registry>,
    /// What it shares with other nodes; `None`: it is alone.
    pub cluster: Option<ClusterPorts>,
    /// What recordings need.
    pub recording: RecordingPorts,
    /// What of all this is left alone while it does not answer.
    pub breakers: Breakers,
    /// Where it is counted what they do.
    pub metrics: Metrics,
}

impl App {
    /// Starts a node, alone or in its cluster. Must be called within an actix system.
    ///
    /// # Errors
    /// As [`Self::start_on`], or what the node stands on cannot be opened.
    pub async fn start(config: &Config) -> anyhow::Result<Running> {
        #[cfg(debug_assertions)]
        if let Some((act, at)) = &config.aim {
            crate::adapters::crash::aim(*act, at);
        }
        let clock = Clock::start();
        let ports = Ports::open(config, clock).await?;
        Self::start_on(config, clock, ports).await
    }

    /// Starts a node on these ports.
    ///
    /// # Errors
    /// Its recordings cannot be read, another node has its name, or the address cannot be listened on.
    pub async fn start_on(config: &Config, clock: Clock, ports: Ports) -> anyhow::Result<Running> {
        let Ports { registry, cluster, recording, breakers, metrics } = ports;
        let accounts = Accounts::of(&recording);
        let recovered = look_back(config, &recording, &accounts).await?;
        let started = clock.now();
        let node = first_life(config, started.wall_ms, &metrics);

        let (managers, recorders, gates) = (Arbiter::new(), Arbiter::new(), ChunkGates::default());
        let shared = (registry, config.cluster.as_ref().zip(cluster));
        let (rooms, inbox, bridge) = start_rooms(config, &node, shared, clock, &metrics, &managers).await?;
        let Recorders { supervisor, worker, assembly, keeper, exports } = Recording {
            config,
            ports: &recording,
            recovered,
            rooms: &rooms,
            assembly: inbox,
            gates: &gates,
            accounts: &accounts,
            clock,
            metrics: &metrics,
        }
        .start(&recorders)?;
        let (told, rules) = (intake_links(&supervisor, assembly), stores::rules(config));
        let intake = Intake::new(&recording, (accounts, gates), told, rules, metrics.clone());
        let draining = Arc::new(AtomicBool::new(false));
        let state = HttpState {
            node,
            cluster: bridge.as_ref().map(Bridge::access),
            overviews: Overviews::default(),
            limits: config.limits.clone(),
            ice: config.ice.clone(),
            allowed_origins: Arc::new(config.allowed_origins.clone()),
            connections: Connections::new(config.trusted_proxies.clone(), config.limits.connections_per_ip),
            rooms: rooms_link(&rooms),
            count: rooms.clone().recipient(),
            list: rooms.clone().recipient(),
            show: rooms.clone().recipient(),
            show_all: rooms.clone().recipient(),
            recording: recording_link(&supervisor, intake),
            recordings: supervisor.clone().recipient(),
            count_recordings: supervisor.clone().recipient(),
            delete_recording: supervisor.clone().recipient(),
            merges: worker.recipient(),
            keeper,
            exports: exports.recipient(),
            catalog: recording.catalog,
            same_stores: recording.same_stores,
            videos: recording.videos,
            merger: recording.merger,
            breakers: Arc::new(breakers),
            api_base_url: Arc::from(config.recording.rules.api_base_url.as_str()),
            uploads: Arc::new(Semaphore::new(limits::UPLOADS_BYTES_MAX)),
            metrics,
            clock,
            started,
            draining: draining.clone(),
            last_connection: Arc::default(),
        };
        let (address, server) = listening::listen(config, state)?;
        Ok(Running {
            address,
            draining,
            drain_deadline: config.drain_deadline,
            rooms,
            supervisor,
            server: server.handle(),
            served: tokio::task::spawn_local(server),
            cluster: bridge,
            managers: vec![managers, recorders],
        })
    }
}

/// This node in its first life, which begins now.
fn first_life(config: &Config, now_ms: u64, metrics: &Metrics) -> NodeRef {
    let node = NodeRef { id: config.node_id.clone(), incarnation: Incarnation(now_ms) };
    metrics.node_info.with_label_values(&[env!("CARGO_PKG_VERSION"), node.id.as_str()]).set(1);
    node
}

/// Takes up the recordings of an earlier life.
async fn look_back(
    config: &Config,
    recording: &RecordingPorts,
    accounts: &Accounts,
) -> anyhow::Result<Recovered> {
    let recovered = recover(recording, accounts, config.cluster.is_some()).await;
    recovered.context("the recordings of an earlier life cannot be read")
}

fn rooms_link(rooms: &Addr<RoomManager>) -> RoomsLink {
    RoomsLink {
        open: rooms.clone().recipient(),
        ask: rooms.clone().recipient(),
        post: rooms.clone().recipient(),
    }
}

fn intake_links(supervisor: &Addr<RecordingSupervisor>, assembly: Addr<AssemblyWorker>) -> IntakeLinks {
    IntakeLinks {
        went_on: supervisor.clone().recipient(),
        unnoted: supervisor.clone().recipient(),
        stored: assembly.recipient(),
    }
}

fn recording_link(supervisor: &Addr<RecordingSupervisor>, intake: Intake) -> RecordingLink {
    RecordingLink {
        begin: supervisor.clone().recipient(),
        stop: supervisor.clone().recipient(),
        abort: supervisor.clone().recipient(),
        gone: supervisor.clone().recipient(),
        intake,
    }
}

impl Ports {
    /// What the settings say that a node stands on: alone on memory, a folder and SQLite; or on what it shares with others.
    ///
    /// # Errors
    /// Something of it cannot be used.
    pub async fn open(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let metrics = Metrics::new().context("a metric is defined wrongly")?;
        let shared = match &config.cluster {
            Some(settings) => Some(cluster::open_store(settings, clock, &metrics).await?),
            None => None,
        };
        let (recording, sharing, breakers) = stores::open(config, shared.as_ref(), clock, &metrics).await?;
        if let Some(sharing) = sharing {
            sharing.begin().await;
        }
        let registry = Arc::new(MemoryRegistry::new(clock));
        let mut ports = Self { registry, cluster: None, recording, breakers, metrics };
        if let Some(store) = &shared {
            ports.join(&config.node_id, store);
        }
        Ok(ports)
    }
}

/// Starts the room manager, and in a cluster its bridge, which passes hints on to an assembly worker that is still to be built;
/// waits until the node has its place.
async fn start_rooms(
    config: &Config,
    node: &NodeRef,
    (registry, shared): (Arc<dyn Registry>, Option<(&ClusterSettings, ClusterPorts)>),
    clock: Clock,
    metrics: &Metrics,
    managers: &Arbiter,
) -> anyhow::Result<(Addr<RoomManager>, AssemblyInbox, Option<Bridge>)> {
    let grace = config.limits.session_grace;
    let joining = shared.map(|(settings, ports)| Joining::new(node, settings, grace, ports));
    let link = joining.as_ref().map(Joining::link);
    let rooms = start_room_manager(config, node, (registry, link), clock, metrics, managers);
    let Some(joining) = joining else {
        metrics.cluster_mode.with_label_values(&["local"]).set(1);
        return Ok((rooms, AssemblyInbox::alone(), None));
    };
    let (assembly, hints) = AssemblyInbox::among(joining.others());
    let links = BridgeLinks { rooms: rooms.clone().recipient(), hints };
    Ok((rooms, assembly, Some(joining.begin(links, clock, metrics).await?)))
}

fn start_room_manager(
    config: &Config,
    node: &NodeRef,
    (registry, link): (Arc<dyn Registry>, Option<ClusterLink>),
    clock: Clock,
    metrics: &Metrics,
    managers: &Arbiter,
) -> Addr<RoomManager> {
    let rooms = Rooms::new(RoomsConfig {
        node: node.clone(),
        limits: config.limits.clone(),
        ice: config.ice.clone(),
        clustered: config.cluster.is_some(),
        lease: config.cluster.as_ref().map_or(Duration::ZERO, |cluster| cluster.lease),
    });
    let metrics = metrics.clone();
    RoomManager::start_in_arbiter(&managers.handle(), move |_| {
        RoomManager::new(rooms, registry, link, clock, metrics)
    })
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address to open in a browser on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        format!("http://{}/", SocketAddr::new(ip, self.address.port()))
    }

    /// Prints where it listens, for people and for scripts.
    pub fn announce(&self) {
        // A closed standard output is no reason not to serve.
        let _ = writeln!(std::io::stdout(), "greenroom: {}", self.url());
    }

    /// Waits until the node can no longer go on, and says why; mostly for ever.
    pub async fn outdone(&mut self) -> anyhow::Error {
        match &mut self.cluster {
            Some(cluster) => cluster.outdone().await,
            None => std::future::pending().await,
        }
    }

    /// Drains and stops: no longer ready, browsers told to come back, connections ended, by the deadline (S-1). In a cluster
    /// sessions move to other nodes meanwhile, and the end is told to them.
    pub async fn stop(self) {
        info!("draining");
        self.draining.store(true, Ordering::Release);
        if let Some(cluster) = &self.cluster {
            cluster.drain().await;
        }
        // Recorders go on with another node, or with the next life of this one; merges are begun anew.
        let _ = tokio::time::timeout(RECORDERS_TOLD, self.supervisor.send(DrainRecordings)).await;
        let spread_ms = u64::try_from(RECONNECT_SPREAD.as_millis()).unwrap_or(u64::MAX);
        let drained =
            tokio::time::timeout(self.drain_deadline, self.rooms.send(DrainRooms { spread_ms })).await;
        let drained = matches!(drained, Ok(Ok(())));
        if !drained {
            warn!("some sessions did not end before the drain's deadline");
        }
        if let Some(cluster) = &self.cluster {
            if drained {
                cluster.clear_index().await;
            }
            cluster.stop().await;
        }
        self.server.stop(true).await;
        // The server's own end; an error was a listener's, and there is nothing left to serve.
        let _ = self.served.await;
        for arbiter in &self.managers {
            arbiter.stop();
        }
        info!("stopped");
    }
}
