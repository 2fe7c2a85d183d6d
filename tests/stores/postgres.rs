//! The SQL catalog on PostgreSQL: its suites, and what only a server can do wrong.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use greenroom::adapters::{
    catalog::SqlCatalog,
    ports::{Catalog, CatalogError, Deletion, Guarded as _, Outbox, StoreState},
};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::{
    catalog_suite::{self, filter, names, row},
    id, metrics,
    outbox_suite::{self, event},
    support::{Postgres, eventually},
};

async fn open(url: &str) -> SqlCatalog {
    SqlCatalog::open(url, metrics()).await.expect("it opens")
}

/// A server with one database, in which each part of a suite has a schema: that is made sooner than a database.
async fn server_for_suites() -> Arc<Postgres> {
    let server = Arc::new(Postgres::start().await);
    server.create("suites").await;
    server
}

async fn open_named(server: &Postgres, name: &str) -> SqlCatalog {
    let schema = name.replace(' ', "_");
    server.run("suites", &format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\" AUTHORIZATION greenroom")).await;
    open(&format!("{}?options[search_path]={schema}", server.url("suites"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_on_postgresql_does_what_every_catalog_must() {
    if !Postgres::is_here() {
        return;
    }
    let server = server_for_suites().await;
    let open = |name: &str| -> BoxFuture<'static, Arc<dyn Catalog>> {
        let (server, name) = (server.clone(), name.to_owned());
        Box::pin(async move { Arc::new(open_named(&server, &name).await) as Arc<dyn Catalog> })
    };
    catalog_suite::suite(&open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_on_postgresql_does_what_every_outbox_must() {
    if !Postgres::is_here() {
        return;
    }
    let server = server_for_suites().await;
    let open = |name: &str| -> BoxFuture<'static, (Arc<dyn Catalog>, Arc<dyn Outbox>)> {
        let (server, name) = (server.clone(), name.to_owned());
        Box::pin(async move {
            let catalog = Arc::new(open_named(&server, &name).await);
            (catalog.clone() as Arc<dyn Catalog>, catalog as Arc<dyn Outbox>)
        })
    };
    outbox_suite::suite(&open).await;

    // A row and its event are one thing.
    let catalog = open_named(&server, "half").await;
    catalog.put(row("stays", 1), vec![event("stays", 1, 0)]).await.unwrap();
    server.run("suites", "DROP TABLE half.outbox").await;
    let error = catalog.put(row("half", 1), vec![event("half", 1, 0)]).await.expect_err("nowhere to wait");
    assert!(!error.is_transient(), "{error}");
    catalog
        .delete(Deletion::of(id("stays"), 1, 1), vec![event("stays", 2, 0)])
        .await
        .expect_err("nowhere to wait");
    assert_eq!(names(&catalog, filter(9)).await, ["stays"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_open_an_empty_database_at_once_all_succeed() {
    if !Postgres::is_here() {
        return;
    }
    let server = Postgres::start().await;
    for round in 0..3 {
        let name = format!("round-{round}");
        server.create(&name).await;
        let url = server.url(&name).replace("postgres://", "postgresql://");
        let nodes = join_all((0..4).map(|_| open(&url))).await;
        for (at, node) in nodes.iter().enumerate() {
            assert!(node.put(row(&format!("of-{at}"), 1), vec![]).await.unwrap());
        }
        assert_eq!(names(&nodes[0], filter(9)).await.len(), 4);
    }
}

/// What a node says that cannot start.
async fn refused(url: &str, why: &str) {
    let error = SqlCatalog::open(url, metrics()).await.expect_err("it cannot be opened");
    assert!(matches!(&error, CatalogError::Refused(words) if words.contains(why)), "{url}: {error}");
    assert!(!error.is_transient() && !error.to_string().contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_must_set_right_is_said_at_the_start() {
    if !Postgres::is_here() {
        return;
    }
    let server = Postgres::start().await;
    server.create("ours").await;
    let url = server.url("ours");
    refused(&url.replace("node-secret", "old-secret"), "password authentication failed").await;
    refused(&url.replace("greenroom:", "nobody:"), "password authentication failed").await;
    refused(&server.url("missing"), "\"missing\" does not exist").await;
    refused(&format!("{url}?sslmode=require"), "TLS").await;
    refused(&format!("{url}?sslmode=perhaps"), "perhaps").await;
    refused(&url.replace("postgres://", "mysql://"), "postgres://").await;

    server.create_as("latin", "ENCODING 'LATIN1' LOCALE 'C'").await;
    refused(&server.url("latin"), "LATIN1").await;
    server.create("readable").await;
    server.run("readable", "ALTER DATABASE readable OWNER TO admin").await;
    refused(&server.url("readable"), "permission denied").await;
    // Somebody has set it right.
    server.run("readable", "GRANT CREATE ON SCHEMA public TO greenroom").await;
    let catalog = open(&server.url("readable")).await;
    assert!(catalog.put(row("one", 1), vec![]).await.unwrap());

    // And wrong again, while the node runs.
    server.run("readable", "REVOKE ALL ON recordings FROM greenroom").await;
    let error = catalog.get(&id("one")).await.expect_err("not allowed");
    assert!(matches!(&error, CatalogError::Refused(words) if words.contains("permission denied")), "{error}");
    assert_eq!(catalog.state(), StoreState::Closed, "it answers");
}

/// Asks until the catalog answers.
async fn answers(catalog: &SqlCatalog, name: &str) {
    eventually("the database is used again", async || catalog.put(row(name, 1), vec![]).await.ok()).await;
}

async fn unavailable(catalog: &SqlCatalog) -> String {
    let error = catalog.get(&id("one")).await.expect_err("it is away");
    assert!(matches!(error, CatalogError::Unavailable(_)) && error.is_transient(), "{error}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_is_used_again_when_it_is_back() {
    if !Postgres::is_here() {
        return;
    }
    let mut server = Postgres::start().await;
    server.create("ours").await;
    let catalog = open(&server.url("ours")).await;
    for life in 0_u64..2 {
        // All connections that there may be.
        join_all((0..20).map(|at| {
            let events = vec![event("told", life, at)];
            catalog.put(row(&format!("life-{life}-{at}"), 1), events)
        }))
        .await
        .into_iter()
        .for_each(|put| assert!(put.unwrap()));
        server.kill();
        unavailable(&catalog).await;
        server.restart().await;
        answers(&catalog, "back").await;
    }
    assert_eq!(names(&catalog, filter(50)).await.len(), 41);
    assert_eq!(catalog.depth().await.unwrap(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_before_its_database() {
    if !Postgres::is_here() {
        return;
    }
    let mut server = Postgres::start().await;
    server.create("ours").await;
    server.kill();
    let [one, other] = [open(&server.url("ours")).await, open(&server.url("ours")).await];
    unavailable(&one).await;
    assert!(one.put(row("lost", 1), vec![]).await.expect_err("it is away").is_transient());
    server.restart().await;
    tokio::join!(answers(&one, "of-one"), answers(&other, "of-other"));
    assert_eq!(names(&one, filter(9)).await, ["of-one", "of-other"]);

    // What is wrong is then said by each call, and a node that finds it right goes on.
    server.create("theirs").await;
    server.run("theirs", "ALTER DATABASE theirs OWNER TO admin").await;
    server.kill();
    let catalog = open(&server.url("theirs")).await;
    server.restart().await;
    eventually("its words are heard", async || match catalog.get(&id("one")).await {
        Err(CatalogError::Refused(words)) => Some(words),
        _ => None,
    })
    .await;
    server.run("theirs", "GRANT CREATE ON SCHEMA public TO greenroom").await;
    answers(&catalog, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_the_first_callers_their_time_and_nobody_else() {
    if !Postgres::is_here() {
        return;
    }
    let server = Postgres::start().await;
    server.create("ours").await;
    let catalog = open(&server.url("ours")).await;
    join_all((0..20).map(|at| catalog.put(row(&format!("early-{at}"), 1), vec![]))).await;
    server.freeze();
    let url = server.url("ours");
    let (started, _) =
        tokio::join!(SqlCatalog::open(&url, metrics()), join_all((0..8).map(|_| unavailable(&catalog))));
    let started = started.expect("a node starts nevertheless");
    assert_ne!(catalog.state(), StoreState::Closed);
    let answers_now = join_all((0..8).map(|_| unavailable(&catalog))).await;
    let not_asked = answers_now.iter().filter(|words| words.contains("not asked")).count();
    assert!(not_asked >= 7, "one may try: {answers_now:?}");
    server.thaw();
    tokio::join!(answers(&catalog, "late"), answers(&started, "late"));
    assert_eq!(catalog.state(), StoreState::Closed);
    assert_eq!(names(&catalog, filter(50)).await.len(), 21);
}

/// The process of the server at which a statement of a node waits for a lock; another than this one.
async fn waiting_at(admin: &mut PgConnection, before: Option<i32>) -> i32 {
    const WAITING: &str =
        "SELECT pid FROM pg_stat_activity WHERE usename = 'greenroom' AND wait_event_type = 'Lock'";
    eventually("a statement waits", async || {
        let waiting = sqlx::query(WAITING).fetch_optional(&mut *admin).await.unwrap();
        waiting.map(|row| row.get::<i32, _>("pid")).filter(|&pid| Some(pid) != before)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_connection_dies_is_asked_again_and_one_that_takes_too_long_is_not() {
    if !Postgres::is_here() {
        return;
    }
    let server = Postgres::start().await;
    server.create("ours").await;
    let catalog = open(&server.url("ours")).await;
    catalog.put(row("one", 1), vec![]).await.unwrap();
    let mut admin = server.admin("ours").await;
    let mut lock = server.admin("ours").await;
    let mut locked = lock.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE recordings").execute(&mut *locked).await.unwrap();

    let asked = tokio::spawn(catalog.get(&id("one")));
    let first = waiting_at(&mut admin, None).await;
    sqlx::query("SELECT pg_terminate_backend($1)").bind(first).execute(&mut admin).await.unwrap();
    waiting_at(&mut admin, Some(first)).await;
    locked.rollback().await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), Some(row("one", 1)));

    let mut locked = lock.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE recordings").execute(&mut *locked).await.unwrap();
    let put = catalog.put(row("two", 1), vec![event("two", 1, 0)]).await;
    let error = put.expect_err("somebody else holds the table");
    assert!(error.is_transient() && error.to_string().contains("statement timeout"), "{error}");
    assert_eq!(catalog.state(), StoreState::Closed, "it answers");
    locked.rollback().await.unwrap();
    assert_eq!(catalog.depth().await.unwrap(), 0);
    assert!(catalog.put(row("two", 1), vec![]).await.unwrap());
}
