//! The port of events that wait for the application's webhook.

use super::{CatalogError, PortFuture};
use crate::protocol::{Fence, RecordId};

/// Events that were written together with the row that they tell of ([`Catalog`](super::Catalog)), until somebody took them.
pub trait Outbox: Send + Sync + 'static {
    /// The oldest event of each recording, at most `limit`. Recordings come in order of their names, after this one: who goes
    /// round through all of them starves none.
    fn waiting(
        &self,
        after: Option<RecordId>,
        limit: u32,
    ) -> PortFuture<Result<Vec<OutboxEvent>, CatalogError>>;

    /// It was taken, or given up: it goes. Nothing there is no error.
    fn done(&self, record_id: &RecordId, fence: Fence, stage: u8) -> PortFuture<Result<(), CatalogError>>;

    /// How many wait.
    fn depth(&self) -> PortFuture<Result<u64, CatalogError>>;
}

/// An event for the application's webhook. A recording has one for each fence and stage, and they are taken in that order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEvent {
    /// For its receiver: the same event has the same id, however often it comes.
    pub id: String,
    /// Which recording it tells of.
    pub record_id: RecordId,
    /// Under which claim it happened.
    pub fence: Fence,
    /// Its place among the events of one claim.
    pub stage: u8,
    /// What is sent. Nobody here reads it.
    pub body: String,
}
