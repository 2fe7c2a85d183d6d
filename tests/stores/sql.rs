//! The SQL catalog on SQLite: its suite, and what only a file can do wrong.

use std::{path::Path, sync::Arc};

use greenroom::adapters::{
    catalog::{SqlCatalog, sqlite_url},
    ports::{Catalog, CatalogError, CatalogFilter},
};
use tempfile::TempDir;

use crate::{
    catalog_suite::{self, filter, names, row},
    id,
};

async fn open(file: &Path) -> SqlCatalog {
    SqlCatalog::open(&sqlite_url(file)).await.expect("it opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_on_sqlite_does_what_every_catalog_must() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().to_owned();
    let open = move |name: &str| -> futures_util::future::BoxFuture<'static, Arc<dyn Catalog>> {
        // Names that a URL does not take as they are, in a folder that is not there yet.
        let file = root.join("new folder? 100%").join(format!("{name}#.db"));
        Box::pin(async move { Arc::new(open(&file).await) as Arc<dyn Catalog> })
    };
    catalog_suite::suite(&open).await;
}

async fn damage(file: &Path, statement: &'static str) {
    use sqlx::Connection as _;
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(&sqlite_url(file)).await.unwrap();
    let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
    assert!(done.rows_affected() > 0, "{statement}");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hides_no_other() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("damaged.db");
    let catalog = open(&file).await;
    for at in 0..12 {
        catalog.put(row(&format!("row-{at:02}"), at)).await.unwrap();
    }
    for statement in [
        "UPDATE recordings SET missing = 'no list' WHERE record_id = 'row-11'",
        "UPDATE recordings SET chunks = -1 WHERE record_id = 'row-08'",
        "UPDATE recordings SET state = x'00ff' WHERE record_id = 'row-07'",
        "UPDATE recordings SET record_id = '../etc' WHERE record_id = 'row-06'",
        "UPDATE recordings SET key = 'no/key' WHERE record_id = 'row-05'",
        "UPDATE recordings SET key = 'row.webm' WHERE record_id = 'row-00'",
    ] {
        damage(&file, statement).await;
    }
    let readable = ["row-10", "row-09", "row-04", "row-03", "row-02", "row-01"];
    for limit in [1, 2, 3, 5, 50] {
        assert_eq!(names(&catalog, filter(limit)).await, readable, "{limit} on a page");
    }
    let error = catalog.get(&id("row-08")).await.expect_err("it cannot be read");
    assert!(matches!(&error, CatalogError::Corrupt(what) if what.contains("chunks")), "{error}");
    assert!(!error.is_transient());
    // Whoever has the truth writes it anew.
    catalog.put(row("row-08", 8)).await.unwrap();
    assert!(catalog.get(&id("row-08")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_locked_database_is_worth_another_try() {
    use sqlx::Connection as _;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("locked.db");
    let catalog = open(&file).await;
    let mut other = sqlx::AnyConnection::connect(&sqlite_url(&file)).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = catalog.put(row("late", 1)).await.expect_err("somebody else writes all the time");
    assert!(error.is_transient(), "{error}");
    assert!(
        catalog.page(CatalogFilter { limit: 5, ..CatalogFilter::default() }).await.is_ok(),
        "reading goes on"
    );
    lock.rollback().await.unwrap();
    assert!(catalog.put(row("late", 1)).await.unwrap());
}

#[tokio::test]
async fn what_is_no_database_is_said_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("letter.db");
    let letter = "Dear Ada, this is not a database. ".repeat(100);
    std::fs::write(&file, &letter).unwrap();
    let error = SqlCatalog::open(&sqlite_url(&file)).await.expect_err("not a database");
    assert!(!error.is_transient(), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), letter);

    let url = sqlite_url(&folder.path().join("letter.db").join("below a file.db"));
    assert!(SqlCatalog::open(&url).await.is_err());
    assert!(SqlCatalog::open("mongodb://localhost/x").await.is_err());
    assert!(SqlCatalog::open("").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_may_make_the_same_database_at_once() {
    let folder = TempDir::new().unwrap();
    for round in 0..10 {
        let file = folder.path().join(format!("{round}.db"));
        let url = sqlite_url(&file);
        let both = tokio::join!(SqlCatalog::open(&url), SqlCatalog::open(&url));
        let (one, other) = (both.0.expect("opened"), both.1.expect("opened"));
        one.put(row("a", 1)).await.unwrap();
        assert!(other.get(&id("a")).await.unwrap().is_some());
    }
}
