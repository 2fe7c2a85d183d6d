//! The catalog in an SQL database: one table, one code path for every database that sqlx knows.
//!
//! Statements are portable (ADR 11): TEXT and BIGINT columns, `$1` placeholders, one statement for each change, no
//! transaction that reads before it writes. The catalog is no truth: what is durable is in the chunk store and the video
//! store, and a row that could not be put is put again later.

mod row;
mod search;
mod statements;

use std::{
    path::Path,
    str::FromStr as _,
    sync::{Arc, Once},
    time::Duration,
};

use sqlx::{
    AnyConnection, AnyPool, Connection as _,
    any::{AnyPoolOptions, AnyRow},
    migrate::MigrateError,
    sqlite::SqliteConnectOptions,
};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    disk,
    ports::{Catalog, CatalogCursor, CatalogError, CatalogFilter, CatalogPage, CatalogRow, PortFuture},
};
use crate::protocol::RecordId;

/// Longest that anything asked of the catalog may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of one node. Readers do not wait for a writer; writers wait for each other in any case.
const CONNECTIONS_MAX: u32 = 8;
/// Rows on one page, whatever is asked for.
const PAGE_MAX: u32 = 1000;
/// Openings that are tried while another node is making the same database's table, and the pause between two.
const OPENINGS: u32 = 5;
const OPENING_PAUSE: Duration = Duration::from_millis(100);

/// What each connection to SQLite is told. An answered write is on the disk (`FULL`); a writer waits for another,
/// shorter than whoever asked waits for it.
const SQLITE_MANNERS: &str =
    "PRAGMA busy_timeout = 4000; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";
/// Kept in the file: readers and a writer do not wait for each other.
const SQLITE_JOURNAL: &str = "PRAGMA journal_mode = WAL";

/// A catalog in an SQL database.
#[derive(Debug, Clone)]
pub struct SqlCatalog {
    pool: AnyPool,
    /// SQLite has one writer at a time and lets those who wait try again by chance; here they come in turn.
    writers: Arc<Semaphore>,
}

impl SqlCatalog {
    /// Opens the database of this URL, such as `sqlite:///srv/greenroom/recordings.db`, and brings its table up to date.
    /// A database of SQLite is made, with its folder, where there is none.
    ///
    /// # Errors
    /// It cannot be reached or made, or it is not ours.
    pub async fn open(url: &str) -> Result<Self, CatalogError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let url = prepare(url).await?;
        let mut tries = 1;
        loop {
            match Self::open_once(&url).await {
                Err(error) if error.is_transient() && tries < OPENINGS => tries += 1,
                done => return done,
            }
            tokio::time::sleep(OPENING_PAUSE).await;
        }
    }

    async fn open_once(url: &str) -> Result<Self, CatalogError> {
        greet(url).await.map_err(|error| in_words(&error))?;
        let is_sqlite = is_sqlite(url);
        let options = AnyPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(TIMEOUT);
        let options = options.after_connect(move |connection, _| {
            Box::pin(async move {
                if is_sqlite {
                    sqlx::raw_sql(SQLITE_MANNERS).execute(connection).await?;
                }
                Ok(())
            })
        });
        let pool = options.connect_lazy(url).map_err(|error| in_words(&error))?;
        match sqlx::migrate!("src/adapters/catalog/migrations").run(&pool).await {
            Ok(()) => {
                let writers = if is_sqlite { 1 } else { CONNECTIONS_MAX as usize };
                Ok(Self { pool, writers: Arc::new(Semaphore::new(writers)) })
            }
            Err(error) => {
                pool.close().await;
                Err(migration_in_words(&error))
            }
        }
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(AnyPool) -> Answer<T> + Send + 'static,
    ) -> PortFuture<Result<T, CatalogError>> {
        let pool = self.pool.clone();
        Box::pin(async move {
            let late = |_| CatalogError::Unavailable(format!("no answer within {} s", TIMEOUT.as_secs()));
            // A task of its own: a connection that is dropped halfway, with whoever asked, needs a runtime to go back to
            // its pool, and an actor that ends has none any more.
            let answered = tokio::spawn(timeout(TIMEOUT, work(pool))).await;
            answered.map_err(|_| CatalogError::Unavailable("the node is ending".to_owned()))?.map_err(late)?
        })
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(AnyPool) -> Answer<T> + Send + 'static,
    ) -> PortFuture<Result<T, CatalogError>> {
        let writers = self.writers.clone();
        self.run(move |pool| {
            Box::pin(async move {
                // Never closed; without a turn it would be the database that says when.
                let _turn = writers.acquire().await.ok();
                work(pool).await
            })
        })
    }
}

/// Connects by itself first: a pool goes on trying until its time is over, and then does not say why.
async fn greet(url: &str) -> Result<(), sqlx::Error> {
    let mut connection = AnyConnection::connect(url).await?;
    if is_sqlite(url) {
        for manners in [SQLITE_MANNERS, SQLITE_JOURNAL] {
            sqlx::raw_sql(manners).execute(&mut connection).await?;
        }
    }
    connection.close().await
}

type Answer<T> = PortFuture<Result<T, CatalogError>>;

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

fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

/// Makes the folder of an SQLite database, and says that the file may be made too.
async fn prepare(url: &str) -> Result<String, CatalogError> {
    if !is_sqlite(url) {
        return Ok(url.to_owned());
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| in_words(&error))?;
    let file = options.get_filename().to_owned();
    let making = tokio::task::spawn_blocking(move || make_folder(&file));
    making.await.unwrap_or_else(|_| Err(CatalogError::Unavailable("the work was interrupted".into())))?;
    let may_be_made = url.contains("mode=") || url.contains(":memory:");
    let mark = if url.contains('?') { '&' } else { '?' };
    Ok(if may_be_made { url.to_owned() } else { format!("{url}{mark}mode=rwc") })
}

fn make_folder(file: &Path) -> Result<(), CatalogError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), disk::make_folders);
    made.map_err(|error| CatalogError::Unavailable(format!("{}: {error}", file.display())))
}

impl Catalog for SqlCatalog {
    fn put(&self, row: CatalogRow) -> PortFuture<Result<bool, CatalogError>> {
        self.write(move |pool| {
            Box::pin(async move {
                let put = row::bind(sqlx::query(statements::PUT), row).execute(&pool).await;
                put.map(|done| done.rows_affected() > 0).map_err(|error| in_words(&error))
            })
        })
    }

    fn get(&self, id: &RecordId) -> PortFuture<Result<Option<CatalogRow>, CatalogError>> {
        let id = id.to_string();
        self.run(move |pool| {
            Box::pin(async move {
                let found = sqlx::query(statements::GET).bind(id).fetch_optional(&pool).await;
                found.map_err(|error| in_words(&error))?.as_ref().map(row::read).transpose()
            })
        })
    }

    fn page(&self, filter: CatalogFilter) -> PortFuture<Result<CatalogPage, CatalogError>> {
        self.run(move |pool| Box::pin(page(pool, filter)))
    }

    fn delete(&self, id: &RecordId) -> PortFuture<Result<(), CatalogError>> {
        let id = id.to_string();
        self.write(move |pool| {
            Box::pin(async move {
                let deleted = sqlx::query(statements::DELETE).bind(id).execute(&pool).await;
                deleted.map(|_| ()).map_err(|error| in_words(&error))
            })
        })
    }
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
            Some(cursor) => Self {
                started_ms: i64::try_from(cursor.started_ms).unwrap_or(i64::MAX),
                record_id: cursor.record_id.to_string(),
            },
        }
    }

    fn of_row(row: &AnyRow) -> Option<Self> {
        let started_ms = row::get(row, "started_ms").ok()?;
        Some(Self { started_ms, record_id: row::get(row, "record_id").ok()? })
    }
}

/// Collects rows that can be read, one more than wanted to know whether there are more. One that cannot be read is
/// logged and left out: it must not hide the others.
async fn page(pool: AnyPool, mut filter: CatalogFilter) -> Result<CatalogPage, CatalogError> {
    let wanted = usize::try_from(filter.limit.min(PAGE_MAX)).unwrap_or(0);
    if wanted == 0 {
        return Ok(CatalogPage::default());
    }
    let mut place = Place::of(filter.after.take());
    let mut rows = Vec::new();
    while rows.len() <= wanted {
        let asked = wanted + 1 - rows.len();
        let batch = fetch(&pool, &filter, &place, asked).await?;
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
    pool: &AnyPool,
    filter: &CatalogFilter,
    place: &Place,
    limit: usize,
) -> Result<Vec<AnyRow>, CatalogError> {
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
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query.fetch_all(pool).await.map_err(|error| in_words(&error))
}

/// Sorts what can go wrong: what may go better another time, and what holds something strange.
fn in_words(error: &sqlx::Error) -> CatalogError {
    let strange = match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_strange(&code)),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => true,
        sqlx::Error::Configuration(_) => true,
        _ => false,
    };
    if strange {
        CatalogError::Corrupt(error.to_string())
    } else {
        CatalogError::Unavailable(error.to_string())
    }
}

/// Whether a code of SQLite says that the database is damaged, is none, or is not ours. Its lowest byte is the class:
/// 1 a statement that does not fit the tables, 11 damaged, 20 wrong type, 26 not a database.
fn is_strange(code: &str) -> bool {
    const CLASSES: [u32; 4] = [1, 11, 20, 26];
    code.parse::<u32>().is_ok_and(|code| CLASSES.contains(&(code & 0xff)))
}

/// Two nodes that make the same table at once disturb each other, and the one that lost finds it made.
fn migration_in_words(error: &MigrateError) -> CatalogError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            CatalogError::Unavailable(error.to_string())
        }
        other => CatalogError::Corrupt(other.to_string()),
    }
}
