//! Events that wait for the application's webhook, in the database of the rows that they tell of.

use sqlx::{AnyConnection, Connection as _, any::AnyRow};

use super::{SqlCatalog, look, row, statements, trouble::Trouble};
use crate::{
    adapters::ports::{CatalogError, Outbox, OutboxEvent, PortFuture},
    protocol::{Fence, RecordId},
};

impl Outbox for SqlCatalog {
    fn waiting(
        &self,
        after: Option<RecordId>,
        limit: u32,
    ) -> PortFuture<Result<Vec<OutboxEvent>, CatalogError>> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(move |connection| Box::pin(waiting(connection, after.clone(), look::wanted(limit))))
    }

    fn done(&self, record_id: &RecordId, fence: Fence, stage: u8) -> PortFuture<Result<(), CatalogError>> {
        let id = record_id.to_string();
        self.write(move |connection| {
            let statements = [statements::NOTE_TOLD, statements::DROP_EVENT].map(|statement| {
                sqlx::query(statement).bind(id.clone()).bind(row::number(fence.0)).bind(i64::from(stage))
            });
            Box::pin(async move {
                let mut both = connection.begin().await?;
                for statement in statements {
                    statement.execute(&mut *both).await?;
                }
                Ok(both.commit().await?)
            })
        })
    }

    fn depth(&self) -> PortFuture<Result<u64, CatalogError>> {
        self.read(|connection| {
            Box::pin(async move {
                let row = sqlx::query(statements::DEPTH).fetch_one(connection).await?;
                row::size(&row, "events")
            })
        })
    }
}

/// Has events wait, as a part of the transaction of their row.
pub(super) async fn add(connection: &mut AnyConnection, events: Vec<OutboxEvent>) -> Result<(), Trouble> {
    for event in events {
        let statement = sqlx::query(statements::ADD_EVENT)
            .bind(event.record_id.to_string())
            .bind(row::number(event.fence.0))
            .bind(i64::from(event.stage))
            .bind(row::text(&event.id))
            .bind(row::text(&event.body));
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Collects events that can be read. One that cannot is logged and left out, with what waits behind it.
async fn waiting(
    connection: &mut AnyConnection,
    mut after: String,
    wanted: usize,
) -> Result<Vec<OutboxEvent>, Trouble> {
    let mut events = Vec::new();
    while events.len() < wanted {
        let asked = wanted - events.len();
        let query = sqlx::query(statements::WAITING).bind(after).bind(row::count(asked));
        let batch = query.fetch_all(&mut *connection).await?;
        events.extend(batch.iter().filter_map(read_or_log));
        match batch.last() {
            Some(last) if batch.len() == asked => after = row::get(last, "record_id")?,
            _ => break,
        }
    }
    Ok(events)
}

fn read_or_log(row: &AnyRow) -> Option<OutboxEvent> {
    let read = read(row);
    if let Err(error) = &read {
        let recording = row::get::<String>(row, "record_id").unwrap_or_default();
        tracing::error!(%recording, %error, "an event in the outbox cannot be read");
    }
    read.ok()
}

fn read(row: &AnyRow) -> Result<OutboxEvent, Trouble> {
    Ok(OutboxEvent {
        id: row::get(row, "event_id")?,
        record_id: row::record_id(row)?,
        fence: Fence(row::size(row, "fence")?),
        stage: row::size(row, "stage")?,
        body: row::get(row, "body")?,
    })
}
