//! Rows that are looked for: pages, and what may go. One that cannot be read is logged and left out: it must not hide the
//! others.

use sqlx::{AnyConnection, any::AnyRow};

use super::{row, search, statements, trouble::Trouble};
use crate::adapters::ports::{CatalogCursor, CatalogFilter, CatalogPage, CatalogRow, DueBefore};

/// Rows on one page, whatever is asked for.
const PAGE_MAX: u32 = 1000;

/// How many rows there will be.
pub(super) fn wanted(limit: u32) -> usize {
    usize::try_from(limit.min(PAGE_MAX)).unwrap_or(0)
}

/// Where a page goes on, as the columns say it: also after a row that cannot be read as a whole.
struct Place {
    started_ms: i64,
    record_id: String,
}

impl Place {
    /// Before everything, or after what a cursor names.
    fn of(after: Option<CatalogCursor>) -> Self {
        match after {
            None => Self { started_ms: i64::MAX, record_id: String::new() },
            Some(cursor) => {
                Self { started_ms: row::number(cursor.started_ms), record_id: cursor.record_id.to_string() }
            }
        }
    }

    fn of_row(row: &AnyRow) -> Option<Self> {
        let started_ms = row::get(row, "started_ms").ok()?;
        Some(Self { started_ms, record_id: row::get(row, "record_id").ok()? })
    }
}

/// Collects rows that can be read, one more than wanted to know whether there are more.
pub(super) async fn page(
    connection: &mut AnyConnection,
    mut filter: CatalogFilter,
) -> Result<CatalogPage, Trouble> {
    let wanted = wanted(filter.limit);
    if wanted == 0 {
        return Ok(CatalogPage::default());
    }
    let mut place = Place::of(filter.after.take());
    let mut rows = Vec::new();
    while rows.len() <= wanted {
        let asked = wanted + 1 - rows.len();
        let batch = fetch(connection, &filter, &place, asked).await?;
        let is_last = batch.len() < asked;
        let Some(reached) = batch.iter().rev().find_map(Place::of_row) else { break };
        place = reached;
        rows.extend(batch.iter().filter_map(read_or_log));
        if is_last {
            break;
        }
    }
    let more = rows.len() > wanted;
    rows.truncate(wanted);
    let last = rows.last().filter(|_| more);
    let next = last.map(|row| CatalogCursor { started_ms: row.started_ms, record_id: row.record_id.clone() });
    Ok(CatalogPage { rows, next })
}

fn read_or_log(row: &AnyRow) -> Option<CatalogRow> {
    let read = row::read(row);
    if let Err(error) = &read {
        let recording = row::get::<String>(row, "record_id").unwrap_or_default();
        tracing::error!(%recording, %error, "a row of the catalog cannot be read");
    }
    read.ok()
}

async fn fetch(
    connection: &mut AnyConnection,
    filter: &CatalogFilter,
    place: &Place,
    limit: usize,
) -> Result<Vec<AnyRow>, Trouble> {
    let statement = match filter {
        CatalogFilter { room: Some(_), .. } => statements::PAGE_OF_ROOM,
        CatalogFilter { owner: Some(_), .. } => statements::PAGE_OF_OWNER,
        CatalogFilter { state: Some(_), .. } => statements::PAGE_OF_STATE,
        _ => statements::PAGE,
    };
    let query = sqlx::query(statement)
        .bind(filter.state.map(|state| state.name()))
        .bind(filter.room.as_ref().map(ToString::to_string))
        .bind(filter.owner.as_ref().map(ToString::to_string))
        .bind(filter.search.as_deref().map(search::pattern))
        .bind(place.started_ms)
        .bind(place.record_id.clone())
        .bind(row::count(limit));
    Ok(query.fetch_all(connection).await?)
}

/// What may go, of both kinds, the oldest first.
pub(super) async fn due(
    connection: &mut AnyConnection,
    before: DueBefore,
    limit: u32,
) -> Result<Vec<CatalogRow>, Trouble> {
    let wanted = wanted(limit);
    let mut due = Vec::new();
    for (ending, before_ms) in [("complete", before.ready_ms), ("partial", before.partial_ms)] {
        if let Some(before_ms) = before_ms {
            due.extend(due_of(connection, ending, before_ms, wanted).await?);
        }
    }
    due.sort_by(|(one_ms, one), (other_ms, other)| {
        (one_ms, &one.record_id).cmp(&(other_ms, &other.record_id))
    });
    due.truncate(wanted);
    Ok(due.into_iter().map(|(_, row)| row).collect())
}

async fn due_of(
    connection: &mut AnyConnection,
    ending: &'static str,
    before_ms: u64,
    wanted: usize,
) -> Result<Vec<(i64, CatalogRow)>, Trouble> {
    let mut due = Vec::new();
    let mut seen = 0;
    while due.len() < wanted {
        let asked = wanted - due.len();
        let query = sqlx::query(statements::DUE)
            .bind(ending)
            .bind(row::number(before_ms))
            .bind(row::count(asked))
            .bind(row::count(seen));
        let batch = query.fetch_all(&mut *connection).await?;
        seen += batch.len();
        for row in &batch {
            let since_ms = row::get(row, "since_ms")?;
            due.extend(read_or_log(row).map(|row| (since_ms, row)));
        }
        if batch.len() < asked {
            break;
        }
    }
    Ok(due)
}
