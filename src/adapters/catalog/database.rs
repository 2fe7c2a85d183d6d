//! The way to a database: what its URL says, and how connections are made.

use std::{str::FromStr as _, time::Duration};

use sqlx::{AnyConnection, AnyPool, Connection as _, any::AnyPoolOptions, sqlite::SqliteConnectOptions};
use tokio::time::timeout;

use super::trouble::Trouble;
use crate::adapters::disk;

/// Connections of one node. Readers do not wait for a writer; writers wait for each other in any case.
pub(super) const CONNECTIONS_MAX: u32 = 8;
/// Longest that getting a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// What each connection to SQLite is told. An answered write is on the disk (`FULL`); a writer waits for another,
/// shorter than whoever asked waits for it.
pub(super) const SQLITE_MANNERS: &str =
    "PRAGMA busy_timeout = 4000; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";
/// What each connection to PostgreSQL is told: how long the server works at one statement, shorter than whoever asked
/// waits for it, and how long it keeps the locks of a node that stands still in a transaction.
const POSTGRES_MANNERS: &str =
    "SET statement_timeout = 3000; SET idle_in_transaction_session_timeout = 10000;";

/// Which database, and how to come to it.
#[derive(Clone)]
pub(super) struct Database {
    pub kind: Kind,
    /// With a password in it, maybe: never shown.
    url: String,
}

/// The databases that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file on this machine: what is wrong with it is wrong at the start.
    Sqlite,
    /// A server: it may be away, also at the start.
    Postgres,
}

impl Database {
    /// Reads a URL. Makes the folder of an SQLite database, and says that the file may be made too.
    pub async fn of(url: &str) -> Result<Self, Trouble> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self { kind: Kind::Postgres, url: url.to_owned() });
        }
        if !url.starts_with("sqlite:") {
            let words = "its URL begins neither with sqlite: nor with postgres://";
            return Err(Trouble::Refused(words.to_owned()));
        }
        let options = SqliteConnectOptions::from_str(url).map_err(|error| Trouble::connecting(&error))?;
        let file = options.get_filename().to_owned();
        let making = tokio::task::spawn_blocking(move || {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let made = folder.map_or(Ok(()), disk::make_folders);
            made.map_err(|error| Trouble::Away(format!("{}: {error}", file.display())))
        });
        making.await.unwrap_or_else(|_| Err(Trouble::Away("the work was interrupted".to_owned())))?;
        let may_be_made = url.contains("mode=") || url.contains(":memory:");
        let mark = if url.contains('?') { '&' } else { '?' };
        let url = if may_be_made { url.to_owned() } else { format!("{url}{mark}mode=rwc") };
        Ok(Self { kind: Kind::Sqlite, url })
    }

    /// A connection by itself, told nothing yet. A pool would go on trying until its time is over, and then not say why.
    pub async fn connect(&self) -> Result<AnyConnection, Trouble> {
        let connected = timeout(CONNECT, AnyConnection::connect(&self.url)).await;
        connected.map_err(|_| Trouble::Late)?.map_err(|error| Trouble::connecting(&error))
    }

    /// Connections for statements; none is made yet. Each is tried before it is given out again.
    pub fn pool(&self) -> Result<AnyPool, Trouble> {
        let manners = match self.kind {
            Kind::Sqlite => SQLITE_MANNERS,
            Kind::Postgres => POSTGRES_MANNERS,
        };
        let options = AnyPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECT)
            .test_before_acquire(true)
            .after_connect(move |connection, _| {
                Box::pin(async move { sqlx::raw_sql(manners).execute(connection).await.map(drop) })
            });
        options.connect_lazy(&self.url).map_err(|error| Trouble::connecting(&error))
    }
}
