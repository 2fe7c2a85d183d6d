//! Posting to an actor: never past its bound, never in silence.
//!
//! `do_send` ignores the bound, so a lint forbids it. What does not fit is counted here and acted on by the caller:
//! mostly, the act is to end the connection concerned, whose session can be resumed; between the managers, see
//! [`super::cluster_bridge`].

use actix::{Message, Recipient, prelude::SendError};

use crate::metrics::Metrics;

/// Which mailbox, in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mailbox {
    /// A peer's connection.
    Peer,
    /// The room manager.
    RoomManager,
    /// The cluster bridge.
    ClusterBridge,
    /// A recorder's connection.
    Recorder,
    /// The recording supervisor.
    Supervisor,
    /// The merge worker.
    MergeWorker,
    /// The assembly worker.
    AssemblyWorker,
}

impl Mailbox {
    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::RoomManager => "room_manager",
            Self::ClusterBridge => "cluster_bridge",
            Self::Recorder => "recorder",
            Self::Supervisor => "supervisor",
            Self::MergeWorker => "merge_worker",
            Self::AssemblyWorker => "assembly_worker",
        }
    }
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotPosted {
    /// The mailbox is at its bound.
    Full,
    /// The actor is gone.
    Gone,
}

/// Posts a message if there is room for it.
///
/// # Errors
/// [`NotPosted`], with a full mailbox counted.
pub fn post<M>(to: &Recipient<M>, mailbox: Mailbox, metrics: &Metrics, message: M) -> Result<(), NotPosted>
where
    M: Message + Send,
    M::Result: Send,
{
    offer(to, mailbox, metrics, message).map_err(|error| match error {
        SendError::Full(_) => NotPosted::Full,
        SendError::Closed(_) => NotPosted::Gone,
    })
}

/// Posts a message if there is room for it; otherwise it comes back.
///
/// # Errors
/// The message and why, with a full mailbox counted.
pub fn offer<M>(
    to: &Recipient<M>,
    mailbox: Mailbox,
    metrics: &Metrics,
    message: M,
) -> Result<(), SendError<M>>
where
    M: Message + Send,
    M::Result: Send,
{
    let offered = to.try_send(message);
    if matches!(offered, Err(SendError::Full(_))) {
        metrics.mailbox_overflows.with_label_values(&[mailbox.name()]).inc();
    }
    offered
}
