//! The SQL catalog on SQLite: its suite, and what only a file can do wrong.

use std::{path::Path, sync::Arc};

use futures_util::future::BoxFuture;
use greenroom::adapters::{
    catalog::{SqlCatalog, sqlite_url},
    ports::{Catalog, CatalogError, CatalogFilter, Deletion, DueBefore, Outbox},
};
use tempfile::TempDir;

use crate::{
    catalog_suite::{self, filter, names, row},
    id, metrics,
    outbox_suite::{self, event},
};

async fn open(file: &Path) -> SqlCatalog {
    SqlCatalog::open(&sqlite_url(file), metrics()).await.expect("it opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_on_sqlite_does_what_every_catalog_must() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().to_owned();
    let open = move |name: &str| -> BoxFuture<'static, Arc<dyn Catalog>> {
        // Names that a URL does not take as they are, in a folder that is not there yet.
        let file = root.join("new folder? 100%").join(format!("{name}#.db"));
        Box::pin(async move { Arc::new(open(&file).await) as Arc<dyn Catalog> })
    };
    catalog_suite::suite(&open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_on_sqlite_does_what_every_outbox_must() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().to_owned();
    let open = move |name: &str| -> BoxFuture<'static, (Arc<dyn Catalog>, Arc<dyn Outbox>)> {
        let file = root.join(format!("{name}.db"));
        Box::pin(async move {
            let catalog = Arc::new(open(&file).await);
            (catalog.clone() as Arc<dyn Catalog>, catalog as Arc<dyn Outbox>)
        })
    };
    outbox_suite::suite(&open).await;
}

#[tokio::test]
async fn a_row_whose_event_cannot_be_written_is_not_written() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("half.db");
    let catalog = open(&file).await;
    catalog.put(row("stays", 1), vec![event("stays", 1, 0)]).await.unwrap();
    change(&file, "DROP TABLE outbox").await;
    let error = catalog.put(row("half", 1), vec![event("half", 1, 0)]).await.expect_err("nowhere to wait");
    assert!(!error.is_transient(), "{error}");
    catalog
        .delete(Deletion::of(id("stays"), 1, 1), vec![event("stays", 2, 0)])
        .await
        .expect_err("nowhere to wait");
    assert_eq!(names(&catalog, filter(9)).await, ["stays"]);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_holds_up_no_other_recording() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("events.db");
    let catalog = open(&file).await;
    for name in ["a", "b", "c", "d", "e"] {
        catalog.delete(Deletion::of(id(name), 1, 1), vec![event(name, 1, 0)]).await.unwrap();
    }
    for statement in [
        "UPDATE outbox SET record_id = '../etc' WHERE record_id = 'a'",
        "UPDATE outbox SET stage = 256 WHERE record_id = 'b'",
        "UPDATE outbox SET fence = -1 WHERE record_id = 'd'",
    ] {
        damage(&file, statement).await;
    }
    for limit in [2, 3, 9] {
        let waiting = catalog.waiting(None, limit).await.unwrap();
        assert_eq!(waiting, [event("c", 1, 0), event("e", 1, 0)], "{limit}");
    }
}

async fn damage(file: &Path, statement: &'static str) {
    assert!(change(file, statement).await > 0, "{statement}");
}

/// Does something behind the node's back, and says how many rows it was done to.
async fn change(file: &Path, statement: &'static str) -> u64 {
    use sqlx::Connection as _;
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(&sqlite_url(file)).await.unwrap();
    let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    done.rows_affected()
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hides_no_other() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("damaged.db");
    let catalog = open(&file).await;
    for at in 0..12 {
        catalog.put(row(&format!("row-{at:02}"), at), vec![]).await.unwrap();
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
    let before = DueBefore { ready_ms: None, partial_ms: Some(u64::MAX) };
    change(&file, "UPDATE recordings SET state = 'failed' WHERE typeof(state) = 'text'").await;
    for limit in [1, 6, 50] {
        let due = catalog.due(before, limit).await.unwrap();
        let expected = readable.iter().rev().take(limit as usize);
        assert!(due.iter().map(|row| row.record_id.as_str()).eq(expected.copied()), "{limit}");
    }
    let error = catalog.get(&id("row-08")).await.expect_err("it cannot be read");
    assert!(matches!(&error, CatalogError::Corrupt(what) if what.contains("chunks")), "{error}");
    assert!(!error.is_transient());
    // Whoever has the truth writes it anew.
    catalog.put(row("row-08", 8), vec![]).await.unwrap();
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
    let error = catalog.put(row("late", 1), vec![]).await.expect_err("somebody else writes all the time");
    assert!(error.is_transient(), "{error}");
    assert!(
        catalog.page(CatalogFilter { limit: 5, ..CatalogFilter::default() }).await.is_ok(),
        "reading goes on"
    );
    lock.rollback().await.unwrap();
    assert!(catalog.put(row("late", 1), vec![]).await.unwrap());
}

#[tokio::test]
async fn what_is_no_database_is_said_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("letter.db");
    let letter = "Dear Ada, this is not a database. ".repeat(100);
    std::fs::write(&file, &letter).unwrap();
    let error = SqlCatalog::open(&sqlite_url(&file), metrics()).await.expect_err("not a database");
    assert!(!error.is_transient(), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), letter);

    let url = sqlite_url(&folder.path().join("letter.db").join("below a file.db"));
    assert!(SqlCatalog::open(&url, metrics()).await.is_err());
    assert!(SqlCatalog::open("mongodb://localhost/x", metrics()).await.is_err());
    assert!(SqlCatalog::open("", metrics()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_may_make_the_same_database_at_once() {
    let folder = TempDir::new().unwrap();
    for round in 0..10 {
        let file = folder.path().join(format!("{round}.db"));
        let url = sqlite_url(&file);
        let both = tokio::join!(SqlCatalog::open(&url, metrics()), SqlCatalog::open(&url, metrics()));
        let (one, other) = (both.0.expect("opened"), both.1.expect("opened"));
        one.put(row("a", 1), vec![]).await.unwrap();
        assert!(other.get(&id("a")).await.unwrap().is_some());
    }
}
