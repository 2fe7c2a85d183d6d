//! The keeper: what is done for all nodes by one of them. It looks for what may go (`sweep`), and has the application told
//! of recordings (`deliveries`).
//!
//! Who does it is asked of the ledger each time; for a moment two may, and nothing of it is wrong then. Both wait for nobody:
//! a sweep is one task, each delivery another.

mod deliveries;
mod orphans;
mod retention;
mod sweep;

use std::time::Duration;

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Recipient, WrapFuture as _};

use self::{deliveries::Deliveries, sweep::Sweep};
use super::{accounts::Accounts, messages::DeleteRecording};
use crate::{
    adapters::{clock::Clock, ports::RecordingPorts, webhook::Webhook, work_folders::WorkFolders},
    metrics::Metrics,
};

/// How often it is looked whether there is something to tell.
const TELL: Duration = Duration::from_secs(1);
/// A sweep that takes longer waits for something that never comes. The next one goes on where it was.
const SWEEP_MAX: Duration = Duration::from_secs(3600);

/// What is kept for how long; `None`: until somebody deletes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Finished recordings.
    pub finished: Option<Duration>,
    /// Chunks of which no complete video could be made.
    pub partial: Option<Duration>,
}

/// What an operator has set.
#[derive(Debug, Clone, Copy)]
pub struct KeeperConfig {
    /// What is kept for how long.
    pub retention: Retention,
    /// How often it is looked for what may go.
    pub every: Duration,
    /// Whether chunks are taken away once their video is complete.
    pub cleanup_chunks: bool,
    /// Whether other nodes share the ledger.
    pub clustered: bool,
}

/// What the keeper works with.
pub struct KeeperLinks {
    /// What recordings stand on.
    pub ports: RecordingPorts,
    /// How lost accounts are put back.
    pub accounts: Accounts,
    /// Where merges work.
    pub folders: WorkFolders,
    /// Takes recordings away, in the right order.
    pub delete: Recipient<DeleteRecording>,
    /// Who is told of recordings; `None`: nobody.
    pub webhook: Option<Webhook>,
}

/// Keeps house.
pub struct Keeper {
    config: KeeperConfig,
    /// `None` while it is under way.
    sweep: Option<Sweep>,
    deliveries: Option<Deliveries>,
}

impl Keeper {
    /// A keeper that has seen nothing yet.
    #[must_use]
    pub fn new(config: KeeperConfig, links: KeeperLinks, clock: Clock, metrics: Metrics) -> Self {
        let KeeperLinks { ports, accounts, folders, delete, webhook } = links;
        let deliveries =
            webhook.map(|webhook| Deliveries::new(webhook, &ports, clock, config.clustered, metrics.clone()));
        let sweep = Sweep::new(config, (ports, folders), accounts, delete, metrics);
        Self { config, sweep: Some(sweep), deliveries }
    }

    fn sweep(&mut self, ctx: &mut Context<Self>) {
        let Some(mut sweep) = self.sweep.take() else { return };
        let swept = async move {
            sweep.run(SWEEP_MAX).await;
            sweep
        };
        ctx.spawn(swept.into_actor(self).map(|sweep, keeper, _| keeper.sweep = Some(sweep)));
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.config.every, Self::sweep);
        if self.deliveries.is_some() {
            ctx.run_interval(TELL, Self::tell);
        }
    }
}
