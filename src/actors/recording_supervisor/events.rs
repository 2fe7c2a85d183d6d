//! What the application's webhook is told, written together with the rows.

use super::RecordingSupervisor;
use crate::{
    actors::recording_events,
    adapters::ports::{CatalogRow, OutboxEvent},
    protocol::{Fence, RecordId},
};

impl RecordingSupervisor {
    /// What is told of a row.
    pub(super) fn events_of(&self, row: &CatalogRow) -> Vec<OutboxEvent> {
        if self.config.webhook {
            recording_events::of_row(row, &self.config.api_base_url)
        } else {
            Vec::new()
        }
    }

    /// What is told of a recording that is gone: after everything else of it, and before anything of the next one of its
    /// name, by the clock that both go by.
    pub(super) fn events_of_end(
        &self,
        id: &RecordId,
    ) -> impl Future<Output = Vec<OutboxEvent>> + Send + use<> {
        let (ledger, id) = (self.ports.ledger.clone(), id.clone());
        let (tells, own_ms) = (self.config.webhook, self.clock.now().wall_ms);
        async move {
            if !tells {
                return Vec::new();
            }
            let now_ms = ledger.now_ms().await.unwrap_or(own_ms);
            recording_events::of_end(&id, Fence(now_ms))
        }
    }
}
