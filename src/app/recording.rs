//! The actors of recording, each with what it needs of the others.

use actix::{
    Actor as _, Addr, Arbiter, Context, Recipient,
    dev::channel::{self as address_channel, AddressReceiver},
};
use anyhow::Context as _;

use super::stores;
use crate::{
    actors::{
        accounts::Accounts,
        assembly_worker::{AssemblyWorker, OtherNodes},
        chunk_gate::ChunkGates,
        export_worker::{ExportWorker, ExportWorkerConfig},
        keeper::{Keeper, KeeperConfig, KeeperLinks},
        merge_worker::{MergeWorker, MergeWorkerConfig},
        messages::{HintNode, Hinted, ShowStanding},
        recording_supervisor::{RecordingSupervisor, Recovered, SupervisorLinks},
        room_manager::RoomManager,
    },
    adapters::{clock::Clock, ports::RecordingPorts, webhook::Webhook, work_folders::WorkFolders},
    config::Config,
    metrics::Metrics,
    protocol::limits,
};

/// The actors of recording.
pub(super) struct Recorders {
    pub(super) supervisor: Addr<RecordingSupervisor>,
    pub(super) worker: Addr<MergeWorker>,
    pub(super) assembly: Addr<AssemblyWorker>,
    pub(super) keeper: Addr<Keeper>,
    pub(super) exports: Addr<ExportWorker>,
}

/// Who says which other nodes there are, and who tells them of recordings.
pub(super) type Others = (Recipient<ShowStanding>, Recipient<HintNode>);

/// An assembly worker that other actors may write to already, and that is not built yet.
pub(super) struct AssemblyInbox {
    address: Addr<AssemblyWorker>,
    inbox: AddressReceiver<AssemblyWorker>,
    /// `None`: the node is alone.
    others: Option<Others>,
}

impl AssemblyInbox {
    /// Of a node alone.
    pub(super) fn alone() -> Self {
        let (sender, inbox) = address_channel::channel(limits::ASSEMBLY_WORKER_MAILBOX);
        Self { address: Addr::new(sender), inbox, others: None }
    }

    /// Of a node that has others beside it, and the way for what these let it know.
    pub(super) fn among(others: Others) -> (Self, Recipient<Hinted>) {
        let this = Self { others: Some(others), ..Self::alone() };
        let hints = this.address.clone().recipient();
        (this, hints)
    }
}

/// What the actors of recording are built from.
pub(super) struct Recording<'a> {
    pub(super) config: &'a Config,
    pub(super) ports: &'a RecordingPorts,
    pub(super) recovered: Recovered,
    pub(super) rooms: &'a Addr<RoomManager>,
    pub(super) assembly: AssemblyInbox,
    pub(super) gates: &'a ChunkGates,
    pub(super) accounts: &'a Accounts,
    pub(super) clock: Clock,
    pub(super) metrics: &'a Metrics,
}

impl Recording<'_> {
    /// Starts the supervisor and its workers, each knowing the other's address before it is built; and the keeper.
    pub(super) fn start(self, arbiter: &Arbiter) -> anyhow::Result<Recorders> {
        let (sender, inbox) = address_channel::channel(limits::RECORDING_SUPERVISOR_MAILBOX);
        let supervisor: Addr<RecordingSupervisor> = Addr::new(sender);
        let folders = WorkFolders::new(&self.config.recording.temp_folder, &self.config.node_id);
        let worker = self.start_worker(&supervisor, folders.clone(), arbiter);
        let exports = self.start_exports(folders.clone(), arbiter);
        let keeper = self.start_keeper(&supervisor, folders, arbiter)?;
        let links = SupervisorLinks {
            rooms: self.rooms.clone().recipient(),
            merge: worker.clone().recipient(),
            cancel: worker.clone().recipient(),
            stopped: self.assembly.address.clone().recipient(),
            ended: self.assembly.address.clone().recipient(),
            gates: self.gates.clone(),
            accounts: self.accounts.clone(),
        };
        let (ports, metrics, rules) =
            (self.ports.clone(), self.metrics.clone(), self.config.recording.rules.clone());
        let (clock, recovered) = (self.clock, self.recovered);
        arbiter.spawn_fn(move || {
            let supervisor = RecordingSupervisor::new(ports, rules, links, clock, metrics, recovered);
            Context::with_receiver(inbox).run(supervisor);
        });
        let (claim, look) = (supervisor.clone().recipient(), supervisor.clone().recipient());
        let metrics = self.metrics.clone();
        let (merger, AssemblyInbox { address: assembly, inbox, others }) =
            (self.ports.merger.clone(), self.assembly);
        let others = others.map(|(standing, hint)| OtherNodes { standing, hint, claim, look });
        arbiter.spawn_fn(move || {
            Context::with_receiver(inbox).run(AssemblyWorker::new(merger, others, metrics));
        });
        Ok(Recorders { supervisor, worker, assembly, keeper, exports })
    }

    fn start_keeper(
        &self,
        supervisor: &Addr<RecordingSupervisor>,
        folders: WorkFolders,
        arbiter: &Arbiter,
    ) -> anyhow::Result<Addr<Keeper>> {
        let settings = &self.config.recording;
        let webhook = settings.webhook.clone().map(Webhook::new).transpose();
        let links = KeeperLinks {
            ports: self.ports.clone(),
            accounts: self.accounts.clone(),
            folders,
            delete: supervisor.clone().recipient(),
            webhook: webhook.context("WEBHOOK_URL cannot be used")?,
        };
        let keeping = KeeperConfig {
            retention: settings.retention,
            every: settings.housekeeping,
            cleanup_chunks: settings.rules.cleanup_chunks,
            clustered: settings.rules.clustered,
        };
        let (clock, metrics) = (self.clock, self.metrics.clone());
        let keeper = move |_: &mut _| Keeper::new(keeping, links, clock, metrics);
        Ok(Keeper::start_in_arbiter(&arbiter.handle(), keeper))
    }

    fn start_exports(&self, folders: WorkFolders, arbiter: &Arbiter) -> Addr<ExportWorker> {
        let (ports, metrics) = (self.ports.clone(), self.metrics.clone());
        let min_free_bytes = self.config.recording.rules.min_free_bytes;
        let config = ExportWorkerConfig { folders, min_free_bytes, lease: stores::rules(self.config).lease };
        ExportWorker::start_in_arbiter(&arbiter.handle(), |_| ExportWorker::new(ports, config, metrics))
    }

    fn start_worker(
        &self,
        supervisor: &Addr<RecordingSupervisor>,
        folders: WorkFolders,
        arbiter: &Arbiter,
    ) -> Addr<MergeWorker> {
        let (ports, metrics, supervisor) = (self.ports.clone(), self.metrics.clone(), supervisor.clone());
        let settings = &self.config.recording;
        let config =
            MergeWorkerConfig { jobs: settings.rules.merge_jobs, folders, gates: self.gates.clone() };
        MergeWorker::start_in_arbiter(&arbiter.handle(), move |_| {
            let (progressed, ended) = (supervisor.clone().recipient(), supervisor.recipient());
            MergeWorker::new(ports, config, progressed, ended, metrics)
        })
    }
}
