//! Tables that are brought up to date, as soon as their database can be reached.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use sqlx::{AnyConnection, Connection as _, migrate::MigrateError};
use tokio::time::{sleep, timeout};

use super::{
    database::{Database, Kind, SQLITE_MANNERS},
    trouble::Trouble,
};

/// Longest that it may take, with the wait for another node that is at it.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is tried while another node makes the same SQLite database, which has no lock for that, and the pause between
/// two.
const SQLITE_TRIES: u32 = 5;
const SQLITE_PAUSE: Duration = Duration::from_millis(100);

/// Kept in the file: readers and a writer do not wait for each other.
const SQLITE_JOURNAL: &str = "PRAGMA journal_mode = WAL";

/// The server works no longer than we wait; and that something is there already is no news.
const POSTGRES_MANNERS: &str = "SET statement_timeout = 120000; SET client_min_messages = warning;";
const POSTGRES_ENCODING: &str = "SELECT current_setting('server_encoding')";
/// One node at a time. The number is nobody else's (`greenroo` in ASCII); the lock ends with the connection.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_lock(7454131819570687855)";
/// The order of bytes, by the name that SQLite has for it: so statements can ask for it on both.
const POSTGRES_COLLATION: &str = r#"CREATE COLLATION IF NOT EXISTS "binary" FROM pg_catalog."C""#;

/// The tables of a database.
pub(super) struct Tables {
    database: Database,
    making: Mutex<Option<Making>>,
}

/// Done once; whoever comes meanwhile waits for the same.
pub(super) type Making = Shared<BoxFuture<'static, Result<(), Trouble>>>;

impl Tables {
    pub fn new(database: Database) -> Self {
        Self { database, making: Mutex::default() }
    }

    /// Resolves when they are up to date. After a failure it begins anew with whoever comes next.
    pub fn ready(&self) -> Making {
        // Only whole values are put in.
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(making) = making.as_ref().filter(|making| !matches!(making.peek(), Some(Err(_)))) {
            return making.clone();
        }
        let database = self.database.clone();
        // A task of its own: it may take longer than anybody waits for it.
        let work =
            tokio::spawn(
                async move { timeout(TIMEOUT, bring_up(&database)).await.unwrap_or(Err(Trouble::Late)) },
            );
        let ending = |_| Err(Trouble::Away("the node is ending".to_owned()));
        let new = work.map(move |done| done.unwrap_or_else(ending)).boxed().shared();
        making.insert(new).clone()
    }
}

async fn bring_up(database: &Database) -> Result<(), Trouble> {
    match database.kind {
        Kind::Postgres => bring_up_postgres(database.connect().await?).await,
        Kind::Sqlite => {
            let mut tries = 1;
            loop {
                match bring_up_sqlite(database.connect().await?).await {
                    Err(trouble) if trouble.is_transient() && tries < SQLITE_TRIES => tries += 1,
                    done => return done,
                }
                sleep(SQLITE_PAUSE).await;
            }
        }
    }
}

async fn bring_up_sqlite(mut connection: AnyConnection) -> Result<(), Trouble> {
    for manners in [SQLITE_MANNERS, SQLITE_JOURNAL] {
        sqlx::raw_sql(manners).execute(&mut connection).await?;
    }
    migrate(&mut connection).await.map_err(|error| match error {
        // Two nodes that make the same table at once disturb each other, and the one that lost finds it made.
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Trouble::Busy(error.to_string())
        }
        other => other.into(),
    })?;
    Ok(connection.close().await?)
}

async fn bring_up_postgres(mut connection: AnyConnection) -> Result<(), Trouble> {
    sqlx::raw_sql(POSTGRES_MANNERS).execute(&mut connection).await?;
    let encoding: String = sqlx::query_scalar(POSTGRES_ENCODING).fetch_one(&mut connection).await?;
    if encoding != "UTF8" {
        let words = format!(
            "the database is encoded in {encoding}, in which not every title can be written; UTF8 is needed"
        );
        return Err(Trouble::Refused(words));
    }
    for statement in [POSTGRES_LOCK, POSTGRES_COLLATION] {
        sqlx::raw_sql(statement).execute(&mut connection).await?;
    }
    migrate(&mut connection).await?;
    Ok(connection.close().await?)
}

async fn migrate(connection: &mut AnyConnection) -> Result<(), MigrateError> {
    // `run` in a task is more than the compiler can see through; this is what it calls.
    sqlx::migrate!("src/adapters/catalog/migrations").run_direct(None, connection, false).await
}
