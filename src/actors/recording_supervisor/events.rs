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

    /// When a recording is gone, and what is told of that: after everything else of it, and before anything of the next one of
    /// its name, by the clock that both go by.
    pub(super) fn end_of(
        &self,
        id: &RecordId,
    ) -> impl Future<Output = (u64, Vec<OutboxEvent>)> + Send + use<> {
        let (ledger, id) = (self.ports.ledger.clone(), id.clone());
        let (tells, own_ms) = (self.config.webhook, self.clock.now().wall_ms);
        async move {
            let now_ms = ledger.now_ms().await.unwrap_or(own_ms);
            let events = if tells { recording_events::of_end(&id, Fence(now_ms)) } else { Vec::new() };
            (now_ms, events)
        }
    }
}
