//! The catalog in an SQL database, with an outbox beside it: the same tables and statements on SQLite and PostgreSQL.
//!
//! ```text
//!  SqlCatalog ─► ask: breaker, time limit, one more try ─► tables up to date? ─► a connection of the pool ─► statements
//! ```
//! Statements are portable (ADR 11): TEXT and BIGINT columns, `$1` placeholders, no transaction that reads before it writes,
//! and each may be done twice. The catalog is no truth: what is durable is in the chunk store and the video store, and a row
//! that could not be put is put again later. So a server that is away, also at the start, is no error of the node.
//!
//! Next: `database` makes connections, `tables` brings them up to date, `look` and `outbox` ask, `trouble` sorts what goes
//! wrong.

mod database;
mod look;
mod outbox;
mod row;
mod search;
mod statements;
mod tables;
mod trouble;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Once},
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, AnyPool, Connection as _};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use self::{
    database::{CONNECTIONS_MAX, Database, Kind},
    tables::Tables,
    trouble::Trouble,
};
use super::{
    breaker::Breaker,
    chance::chance,
    clock::Clock,
    ports::{
        Catalog, CatalogError, CatalogFilter, CatalogPage, CatalogRow, Deletion, DueBefore, Guarded,
        OutboxEvent, PortFuture, StoreState,
    },
};
use crate::{
    metrics::Metrics,
    protocol::{RecordId, UserId},
};

/// Longest that anything asked of the catalog may take. Shorter than the breaker's patience with a try.
const TIMEOUT: Duration = Duration::from_millis(4500);

/// A catalog in an SQL database, and its outbox.
#[derive(Clone)]
pub struct SqlCatalog {
    pool: AnyPool,
    tables: Arc<Tables>,
    /// SQLite has one writer at a time and lets those who wait try again by chance; here they come in turn.
    writers: Arc<Semaphore>,
    breaker: Arc<Breaker>,
    clock: Clock,
    metrics: Metrics,
}

impl SqlCatalog {
    /// Opens the database of this URL, such as `sqlite:///srv/greenroom/recordings.db` or
    /// `postgres://greenroom:secret@db.example.org/greenroom`, and brings its tables up to date. A database of SQLite is made,
    /// with its folder, where there is none. PostgreSQL may be away: then its tables are brought up to date when it comes, and
    /// until then each call says that it is away.
    ///
    /// # Errors
    /// It is not ours or lets this node not in, or, of SQLite, cannot be opened.
    pub async fn open(url: &str, metrics: Metrics) -> Result<Self, CatalogError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let database = Database::of(url).await?;
        let kind = database.kind;
        let writers = if kind == Kind::Sqlite { 1 } else { CONNECTIONS_MAX as usize };
        let catalog = Self {
            pool: database.pool()?,
            tables: Arc::new(Tables::new(database)),
            writers: Arc::new(Semaphore::new(writers)),
            breaker: Arc::default(),
            clock: Clock::start(),
            metrics,
        };
        catalog.breaker.show(&catalog.metrics.catalog_breaker);
        let ready = catalog.tables.ready();
        match kind {
            Kind::Sqlite => ready.await?,
            Kind::Postgres => match timeout(TIMEOUT, ready).await.unwrap_or(Err(Trouble::Late)) {
                Err(trouble) if trouble.is_transient() => {
                    tracing::warn!(%trouble, "the database of the catalog is away; recording goes on without it");
                }
                done => done?,
            },
        }
        Ok(catalog)
    }

    /// The same of a database that must be there.
    ///
    /// # Errors
    /// As [`Self::open`], or an SQLite database is not there.
    pub async fn open_existing(url: &str, metrics: Metrics) -> Result<Self, CatalogError> {
        if !url.starts_with("sqlite:") || url.contains("mode=") {
            return Self::open(url, metrics).await;
        }
        let mark = if url.contains('?') { '&' } else { '?' };
        Self::open(&format!("{url}{mark}mode=rw"), metrics).await
    }

    fn read<T: Send + 'static>(&self, work: impl Work<T>) -> PortFuture<Result<T, CatalogError>> {
        let catalog = self.clone();
        run(async move { catalog.ask(Instant::now() + TIMEOUT, work).await })
    }

    fn write<T: Send + 'static>(&self, work: impl Work<T>) -> PortFuture<Result<T, CatalogError>> {
        let catalog = self.clone();
        run(async move {
            let until = Instant::now() + TIMEOUT;
            // Never closed; without a turn it would be the database that says when.
            let _turn = timeout_at(until, catalog.writers.acquire()).await.map_err(|_| Trouble::Late)?;
            catalog.ask(until, work).await
        })
    }

    /// Asks, unless the database is left alone.
    async fn ask<T>(&self, until: Instant, work: impl Work<T>) -> Result<T, Trouble> {
        if !self.breaker.admits(self.clock.now().mono) {
            return Err(Trouble::NotAsked);
        }
        let mut answer = self.ask_once(until, &work).await;
        if matches!(answer, Err(Trouble::Lost(_))) {
            // A connection that had died unnoticed. Those beside it are thrown away too, so a new one is made.
            answer = self.ask_once(until, &work).await;
        }
        match &answer {
            Err(trouble) if trouble.is_the_servers() => self.breaker.failed(self.clock.now().mono, chance()),
            _ => self.breaker.succeeded(),
        }
        self.breaker.show(&self.metrics.catalog_breaker);
        answer
    }

    async fn ask_once<T>(&self, until: Instant, work: &impl Work<T>) -> Result<T, Trouble> {
        let late = |_| Trouble::Late;
        timeout_at(until, self.tables.ready()).await.map_err(late)??;
        let acquired = timeout_at(until, self.pool.acquire()).await.map_err(late)?;
        let answer = match acquired {
            Ok(mut connection) => {
                let answer = timeout_at(until, work(&mut connection)).await.map_err(late).flatten();
                if answer.as_ref().is_err_and(Trouble::is_the_servers) {
                    drop(connection.detach());
                }
                answer
            }
            Err(error) => Err(Trouble::connecting(&error)),
        };
        if answer.as_ref().is_err_and(Trouble::is_the_servers) {
            self.discard_idle();
        }
        answer
    }

    /// Ends connections that lead, as it seems, to a server that is gone: it would take long until each of them is missed.
    fn discard_idle(&self) {
        while let Some(idle) = self.pool.try_acquire() {
            drop(idle.detach());
        }
    }
}

/// What is asked on a connection; it may be asked twice.
trait Work<T>:
    for<'c> Fn(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, Trouble>> + Send + Sync + 'static
{
}

impl<T, F> Work<T> for F where
    F: for<'c> Fn(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, Trouble>> + Send + Sync + 'static
{
}

/// Does it in a task of its own: a connection that is dropped halfway, with whoever asked, needs a runtime to go back to its
/// pool, and an actor that ends has none any more.
fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T, Trouble>> + Send + 'static,
) -> PortFuture<Result<T, CatalogError>> {
    Box::pin(async move {
        let answered = tokio::spawn(work).await;
        Ok(answered.map_err(|_| CatalogError::Unavailable("the node is ending".to_owned()))??)
    })
}

impl Guarded for SqlCatalog {
    fn state(&self) -> StoreState {
        self.breaker.state()
    }
}

impl fmt::Debug for SqlCatalog {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlCatalog").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Catalog for SqlCatalog {
    fn put(&self, row: CatalogRow, events: Vec<OutboxEvent>) -> PortFuture<Result<bool, CatalogError>> {
        self.write(move |connection| {
            let statement = row::bind(sqlx::query(statements::PUT), row.clone());
            let events = events.clone();
            Box::pin(async move {
                let mut both = connection.begin().await?;
                let is_put = statement.execute(&mut *both).await?.rows_affected() > 0;
                if is_put {
                    outbox::add(&mut both, events).await?;
                }
                both.commit().await?;
                Ok(is_put)
            })
        })
    }

    fn get(&self, id: &RecordId) -> PortFuture<Result<Option<CatalogRow>, CatalogError>> {
        let id = id.to_string();
        self.read(move |connection| {
            let statement = sqlx::query(statements::GET).bind(id.clone());
            Box::pin(async move {
                statement.fetch_optional(connection).await?.as_ref().map(row::read).transpose()
            })
        })
    }

    fn page(&self, filter: CatalogFilter) -> PortFuture<Result<CatalogPage, CatalogError>> {
        self.read(move |connection| Box::pin(look::page(connection, filter.clone())))
    }

    fn delete(&self, deletion: Deletion, events: Vec<OutboxEvent>) -> PortFuture<Result<(), CatalogError>> {
        let Deletion { record_id, started_ms, at_ms } = deletion;
        let (id, at_ms) = (record_id.to_string(), row::number(at_ms));
        self.write(move |connection| {
            let of_name = |statement| sqlx::query(statement).bind(id.clone());
            let each = started_ms.iter().map(|&started_ms| {
                let of_one = |statement| of_name(statement).bind(row::number(started_ms));
                (of_one(statements::MARK_DELETED).bind(at_ms), of_one(statements::DELETE))
            });
            let (each, forget) = (each.collect::<Vec<_>>(), of_name(statements::FORGET_TOLD));
            let events = events.clone();
            Box::pin(async move {
                let mut both = connection.begin().await?;
                let mut marked = 0;
                for (mark, delete) in each {
                    marked += mark.execute(&mut *both).await?.rows_affected();
                    delete.execute(&mut *both).await?;
                }
                forget.execute(&mut *both).await?;
                if marked > 0 {
                    outbox::add(&mut both, events).await?;
                }
                Ok(both.commit().await?)
            })
        })
    }

    fn was_deleted(&self, id: &RecordId, started_ms: u64) -> PortFuture<Result<bool, CatalogError>> {
        let id = id.to_string();
        self.read(move |connection| {
            let statement =
                sqlx::query(statements::WAS_DELETED).bind(id.clone()).bind(row::number(started_ms));
            Box::pin(async move { Ok(statement.fetch_optional(connection).await?.is_some()) })
        })
    }

    fn forget_deleted(&self, before_ms: u64) -> PortFuture<Result<(), CatalogError>> {
        self.write(move |connection| {
            let statement = sqlx::query(statements::FORGET_DELETED).bind(row::number(before_ms));
            Box::pin(async move { Ok(statement.execute(connection).await.map(drop)?) })
        })
    }

    fn owner_bytes(&self, owner: &UserId) -> PortFuture<Result<u64, CatalogError>> {
        let owner = owner.to_string();
        self.read(move |connection| {
            let statement = sqlx::query(statements::OWNER_BYTES).bind(owner.clone());
            Box::pin(async move { row::size(&statement.fetch_one(connection).await?, "bytes") })
        })
    }

    fn due(&self, before: DueBefore, limit: u32) -> PortFuture<Result<Vec<CatalogRow>, CatalogError>> {
        self.read(move |connection| Box::pin(look::due(connection, before, limit)))
    }
}

/// The URL of an SQLite database in this file.
#[must_use]
pub fn sqlite_url(file: &Path) -> String {
    use std::fmt::Write as _;
    let mut url = "sqlite://".to_owned();
    for &byte in file.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}
