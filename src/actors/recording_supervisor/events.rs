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
    /// its name, by the clock that both go by. While the ledger does not answer, it is known how its clock has gone on since.
    pub(super) fn end_of(
        &self,
        id: &RecordId,
    ) -> impl Future<Output = (u64, Vec<OutboxEvent>)> + Send + use<> {
        let (ledger, id) = (self.ports.ledger.clone(), id.clone());
        let (tells, own_ms) = (self.config.webhook, self.clock.now().wall_ms);
        async move {
            // A node that takes something away has heard of it.
            let known_ms = || ledger.known_now_ms().unwrap_or(own_ms);
            let now_ms = ledger.now_ms().await.unwrap_or_else(|_| known_ms());
            let events = if tells { recording_events::of_end(&id, Fence(now_ms)) } else { Vec::new() };
            (now_ms, events)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::actors::{
        accounts::kit::{Stores, token},
        recording_supervisor::kit::supervisor,
    };

    /// Otherwise the next recording of its name would be told of before this one has ended, or long after.
    #[actix::test]
    async fn while_the_ledger_is_away_an_end_goes_by_its_clock_all_the_same() {
        const HOUR_MS: u64 = 3_600_000;
        let stores = Stores::open().await;
        let (supervisor, _deaf) = supervisor(&stores);
        let own_ms = supervisor.clock.now().wall_ms;
        stores.ledger.clock_is_ahead(HOUR_MS);
        stores.ledger.away_for(|operation| operation == "now_ms");
        let (at_ms, _) = supervisor.end_of(token("talk").record_id()).await;
        assert!(at_ms.abs_diff(own_ms) > HOUR_MS / 2, "{at_ms}");
    }
}
