//! More than one server: Redis Cluster, Sentinel; and TLS.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use greenroom::adapters::{
    ports::{Bus as _, BusNews, ChunkStore as _, Leases as _, Ledger as _, Registry as _, StoreState},
    redis::{CheckError, RedisChunks, RedisKind, RedisSettings, TIMEOUT},
};
use greenroom::{
    domain::{
        cluster::{Mine, Renewal},
        recording::{Noted, Placed},
    },
    protocol::{cluster::Event, recorder::Made},
};
use tokio::runtime::Runtime;

use crate::{
    agreement::agree_on_all,
    bus::{Ear, through},
    kit::{Part, unavailable},
    ledger_agreement::take_the_main_way,
    ledger_kit::{Books, HOUR, RULES, at, id, mark, unplaced},
    support::{
        Redis, Sentinel, cluster_agrees, eventually, free_port, master_of, setting, start_cluster,
        start_replica,
    },
};

/// How users enter: the host is of no meaning.
const LOGIN: &str = "redis://greenroom:node-secret@nowhere";

/// Three masters of a cluster.
struct Masters {
    servers: Vec<Redis>,
}

impl Masters {
    async fn start() -> Self {
        let lines = ["cluster-node-timeout 2000", "cluster-require-full-coverage no"];
        Self { servers: start_cluster(3, &lines).await }
    }

    fn settings(&self) -> RedisSettings {
        let nodes = self.servers.iter().map(|server| server.address().to_string()).collect();
        RedisSettings { kind: RedisKind::Cluster { nodes }, url: LOGIN.to_owned(), timeout: TIMEOUT }
    }
}

#[test]
fn rooms_and_leases_are_spread_over_the_masters_of_a_cluster() {
    if !Redis::is_here() {
        return;
    }
    let runtime = Runtime::new().expect("a runtime");
    let masters = runtime.block_on(Masters::start());
    let settings = masters.settings();
    let parts =
        runtime.block_on(async { ["n-1.a", "n2"].map(|name| Arc::new(Part::with(settings.clone(), name))) });
    // Each way goes through a room of its own, so all masters are asked.
    agree_on_all(12, &runtime, None, &parts);
    runtime.block_on(async {
        let beat = |part: &Part, renewal| part.leases.beat(&part.node, renewal, Duration::from_secs(8));
        let first = beat(&parts[0], Renewal::First).await.expect("answers");
        let again = beat(&parts[0], Renewal::Again).await.expect("answers");
        assert_eq!((first.mine, again.mine), (Mine::Absent, Mine::Until(first.ends_ms)));
        assert_eq!(beat(&parts[1], Renewal::Look).await.expect("answers").peers[0].node, parts[0].node);
        assert_eq!(parts[0].store.check().await, Ok(()));
        masters.servers[1].run::<()>(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
        assert!(matches!(parts[0].store.check().await, Err(CheckError::Unsuitable(_))), "each master counts");
    });
}

#[tokio::test]
async fn in_a_cluster_messages_are_ordered_and_come_again_after_a_master_was_lost() {
    if !Redis::is_here() {
        return;
    }
    let mut masters = Masters::start().await;
    let mut one = Ear::of(Part::with(masters.settings(), "n1")).await;
    let mut two = Ear::of(Part::with(masters.settings(), "n2")).await;
    for _ in 0..3 {
        // To two inboxes and to all, through three masters or fewer, mixed.
        for number in 0..1000 {
            one.bus.publish(&two.id, &crate::bus::probe(number)).expect("room for it");
            one.bus.publish(&one.id, &crate::bus::probe(number)).expect("room for it");
        }
        for number in 0..1000 {
            assert_eq!((one.probe().await, two.probe().await), (number, number));
        }
    }
    let home = master_of(&masters.servers, "cluster:messages:n2");
    masters.servers[home].restart();
    cluster_agrees(&masters.servers).await;
    two.subscribed().await;
    through(&mut two).await;
    one.bus.rebuild();
    one.subscribed().await;
    through(&mut one).await;
}

#[tokio::test]
async fn in_a_cluster_a_master_that_is_away_makes_nobody_deaf_to_the_others() {
    if !Redis::is_here() {
        return;
    }
    let mut masters = Masters::start().await;
    let home = master_of(&masters.servers, "cluster:events");
    assert_ne!(
        home,
        master_of(&masters.servers, "cluster:messages:n1"),
        "another name for the node is needed"
    );
    let mut ear = Ear::of(Part::with(masters.settings(), "n1")).await;
    masters.servers[home].kill();
    ear.subscribed().await;
    through(&mut ear).await;
    // What cannot be published holds up nothing.
    for number in 0..100 {
        let _ = ear.bus.announce(&Event::Up(crate::kit::node("n1", number)));
    }
    through(&mut ear).await;
    masters.servers[home].restart();
    cluster_agrees(&masters.servers).await;
    eventually("events come again", async || {
        let _ = ear.bus.announce(&Event::Up(crate::kit::node("n1", 1)));
        while let Ok(Some(news)) = tokio::time::timeout(Duration::from_millis(50), ear.link.news.recv()).await
        {
            if matches!(news, BusNews::Event(_)) {
                return Some(());
            }
        }
        None
    })
    .await;
}

#[tokio::test]
async fn a_master_of_a_cluster_that_hangs_holds_up_only_what_is_there() {
    if !Redis::is_here() {
        return;
    }
    let masters = Masters::start().await;
    let [part, other] = ["n1", "n2"].map(|name| Part::with(masters.settings(), name));
    // A room of the second master; the nodes' indexes are at the others.
    part.admitted("green", "ada").await;
    let home = master_of(&masters.servers, "rooms:{green}:participants");
    masters.servers[home].freeze();
    unavailable(part.registry.admit(part.request("green", "bob", 9))).await;
    for n in 0..20 {
        part.admitted("red", &format!("user-{n}")).await;
    }
    // Also for who comes only now.
    eventually("other masters serve", async || {
        other.registry.admit(other.request("red", "eve", 99)).await.ok()?.ok()
    })
    .await;
    masters.servers[home].thaw();
    eventually("all is served", async || {
        part.registry.admit(part.request("green", "bob", 9)).await.ok()?.ok()
    })
    .await;
}

#[tokio::test]
async fn recordings_are_spread_over_the_masters_of_a_cluster() {
    if !Redis::is_here() {
        return;
    }
    let masters = Masters::start().await;
    let settings = RedisSettings { timeout: Duration::from_secs(10), ..masters.settings() };
    let books = ["n1", "n2"].map(|name| Books::with(settings.clone(), name, RULES));
    let mut homes = BTreeSet::new();
    for n in 0..12 {
        let name = format!("r{n}");
        homes.insert(master_of(&masters.servers, &format!("recording:{{{name}}}")));
        take_the_main_way(&books[n % 2], &name, "ada").await;
    }
    assert_eq!(homes.len(), 3);
    let ledger = &books[0].ledger;
    assert_eq!(ledger.is_whole().await, Ok(false));
    let loss = ledger.loss().await.expect("answers");
    ledger.set_whole(loss).await.expect("answers");
    assert_eq!(books[1].ledger.is_whole().await, Ok(true));
    assert!(ledger.leads("sweep", Duration::from_secs(8)).await.expect("answers"));
    assert!(!books[1].ledger.leads("sweep", Duration::from_secs(8)).await.expect("answers"));
    assert!(ledger.now_ms().await.expect("answers") > 0);
}

#[tokio::test]
async fn a_master_of_a_cluster_that_hangs_holds_up_only_its_recordings() {
    if !Redis::is_here() {
        return;
    }
    let masters = Masters::start().await;
    let books = Books::with(masters.settings(), "n1", RULES);
    let active = master_of(&masters.servers, "recordings:active");
    let rooms = master_of(&masters.servers, "recordings:rooms");
    let home = (0..3).find(|home| ![active, rooms].contains(home)).expect("three");
    let owner = (0..).map(|n| format!("user-{n}"));
    let owner = owner
        .into_iter()
        .find(|name| master_of(&masters.servers, &format!("recordings:owner:{{{name}}}")) != home);
    let owner = owner.expect("one of them");
    let on = |away: bool| {
        let mut names = (0..).map(|n| format!("r{n}"));
        names
            .find(|name| (master_of(&masters.servers, &format!("recording:{{{name}}}")) == home) == away)
            .expect("one")
    };
    let (away, here) = (on(true), on(false));
    // A script that is not known yet is sent to all of them, so the way is taken once before.
    take_the_main_way(&books, &here, &owner).await;
    let (token, _) = books.opened(&away, None, None).await;
    books.noted(&away, 0).await;
    books.ledger.stop(token, Made::default()).await.expect("answers").expect("taken");
    masters.servers[home].freeze();
    take_the_main_way(&books, &here, &owner).await;
    masters.servers[home].thaw();
    eventually("it is claimed", async || books.ledger.claim_due(9, Duration::ZERO).await.ok()?.pop()).await;
}

/// A recording whose account is on one of these masters.
fn name_on(masters: &Masters, fits: impl Fn(usize) -> bool) -> String {
    let mut names = (0..).map(|n| format!("r{n}"));
    names
        .find(|name| fits(master_of(&masters.servers, &format!("recording:{{{name}}}"))))
        .expect("there are many names")
}

#[tokio::test]
async fn a_master_that_hangs_with_the_index_of_times_holds_up_no_chunk() {
    if !Redis::is_here() {
        return;
    }
    let masters = Masters::start().await;
    let books = Books::with(masters.settings(), "n1", RULES);
    let active = master_of(&masters.servers, "recordings:active");
    let name = name_on(&masters, |home| home != active);
    let (token, _) = books.opened(&name, None, None).await;
    let again = async || books.ledger.attach(token.clone()).await.expect("answers").expect("its own");
    let store = async |index: u32| {
        let placed = books.ledger.place(token.clone(), at(index), mark(index), true).await;
        assert_eq!(placed.expect("answers").expect("free"), Placed::New);
        assert_eq!(books.noted(&name, index).await, Some(Noted::InTime));
    };
    // A script that is not known yet is sent to all of them, so each is used once before.
    let generation = again().await.generation;
    store(0).await;
    books.ledger.keep(id(&name), generation).await.expect("answers");
    take_the_main_way(&books, "other", "ada").await;
    masters.servers[active].freeze();
    // The index cannot be told when it is due.
    let generation = again().await.generation;
    for index in 1..50 {
        store(index).await;
        assert!(books.ledger.keep(id(&name), generation).await.expect("answers").is_some());
    }
    // Nobody would look at it so soon, were the index not told later.
    books.ledger.stop(token.clone(), Made::default()).await.expect("answers").expect("taken");
    masters.servers[active].thaw();
    eventually("it is claimed", async || books.ledger.claim_due(9, Duration::ZERO).await.ok()?.pop()).await;
}

#[tokio::test]
async fn who_waits_for_a_master_that_hangs_takes_no_turn_of_others() {
    if !Redis::is_here() {
        return;
    }
    let masters = Masters::start().await;
    let books = Books::with(masters.settings(), "n1", RULES);
    let active = master_of(&masters.servers, "recordings:active");
    let home = (active + 1) % 3;
    let (away, here) = (name_on(&masters, |at| at == home), name_on(&masters, |at| at != home));
    let (token, attached) = books.opened(&away, None, None).await;
    books.opened(&here, None, None).await;
    let number = async || books.ledger.number(token.clone(), unplaced(10)).await;
    assert_eq!(number().await.expect("answers").expect("given").index.get(), 0);
    books.noted(&away, 0).await;
    books.ledger.keep(id(&away), attached.generation).await.expect("answers");
    masters.servers[home].freeze();
    number().await.expect_err("no answer");
    // Many more than run at one time, and each would first give the number back.
    let keeps = (0..500).map(|_| books.ledger.keep(id(&away), attached.generation));
    let keeps = tokio::spawn(join_all(keeps.collect::<Vec<_>>()));
    for index in 0..20 {
        assert_eq!(books.noted(&here, index).await, Some(Noted::InTime));
    }
    assert!(keeps.await.expect("an end").iter().all(Result::is_err));
    masters.servers[home].thaw();
    let next = eventually("it answers", async || number().await.ok()?.ok()).await;
    assert_eq!(next.index.get(), 1, "the number that nobody has heard of was given back");
}

#[tokio::test]
async fn chunks_are_as_safe_and_have_as_much_space_as_each_master_says() {
    if !Redis::is_here() {
        return;
    }
    let masters = Masters::start().await;
    let store = Part::with(masters.settings(), "n1").store;
    let chunks = RedisChunks::new(store, HOUR);
    for server in &masters.servers {
        assert!(chunks.fear().await.is_some(), "one of them forgets");
        assert_eq!(chunks.free_bytes().await.expect("answers"), None, "one of them has no bound");
        server.run::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
        server.run::<()>(&["CONFIG", "SET", "maxmemory", "1gb"]);
    }
    assert_eq!(chunks.fear().await, None);
    let free = chunks.free_bytes().await.expect("answers").expect("a bound");
    assert!((2 << 30..3 << 30).contains(&free), "{free}");
}

/// How a store finds its master by a sentinel, of which another one is gone.
fn found_by(sentinel: &Sentinel) -> RedisSettings {
    let sentinels = vec!["redis://127.0.0.1:1".to_owned(), sentinel.url()];
    let kind = RedisKind::Sentinel { sentinels, master: "main".to_owned() };
    RedisSettings { kind, url: LOGIN.to_owned(), timeout: TIMEOUT }
}

/// Whoever is in stays in, and somebody else can come: there is a master that takes both.
async fn used(part: &Part, guest: &str) {
    eventually("there is a master", async || {
        part.registry.admit(part.request("blue", guest, 9)).await.ok()?.ok()
    })
    .await;
    assert_eq!(part.leases.state(), StoreState::Closed);
    assert!(part.picture("blue").await.rows.len() > 1, "the new master has what the old one had");
}

#[tokio::test]
async fn behind_sentinel_the_present_master_is_used() {
    if !Redis::is_here() {
        return;
    }
    let master = Redis::start();
    let replica = start_replica(&master);
    let sentinel = Sentinel::watching(&master, 1, Some("sentinel-secret"));
    sentinel.knows(0).await;
    let part = Part::with(found_by(&sentinel), "n1");
    part.admitted("blue", "ada").await;
    let mut ear = Ear::of(Part::with(found_by(&sentinel), "n2")).await;
    through(&mut ear).await;
    eventually("the replica has it", async || {
        (replica.run::<i64>(&["HLEN", "rooms:{blue}:participants"]) == 1).then_some(())
    })
    .await;

    // The master changes places with its replica, and lives on without the right to write.
    sentinel.ask::<()>(&["SENTINEL", "FAILOVER", "main"]).expect("it is taken");
    eventually("the replica is the master", async || {
        let known: Vec<String> = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"])?;
        (known[1] == replica.address().port().to_string()).then_some(())
    })
    .await;
    // What the sentinel will say to the old one itself, but only after some ten seconds.
    master.run::<()>(&["REPLICAOF", "127.0.0.1", &replica.address().port().to_string()]);
    for kind in ["normal", "pubsub"] {
        master.run::<i64>(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
    }
    used(&part, "bob").await;
    through(&mut ear).await;

    // And now the master dies, so the first is master again.
    eventually("the first has all that the second has", async || {
        let replication: String = master.run(&["INFO", "replication"]);
        let rows: i64 = master.run(&["HLEN", "rooms:{blue}:participants"]);
        (replication.contains("master_link_status:up") && rows == 2).then_some(())
    })
    .await;
    drop(replica);
    used(&part, "eve").await;
    ear.subscribed().await;
    through(&mut ear).await;
}

/// What openssl makes: an authority, and a server's certificate by it.
fn certificates(folder: &Path) {
    let script = "set -e; cd \"$1\"
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=redis
        printf 'subjectAltName=IP:127.0.0.1\\n' > names
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names";
    let made = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(folder)
        .stderr(Stdio::null())
        .status()
        .expect("a shell");
    assert!(made.success(), "openssl is installed");
}

#[tokio::test]
async fn with_tls_a_server_must_prove_who_it_is() {
    if !Redis::is_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    certificates(folder.path());
    let (port, at) = (free_port(), folder.path().display());
    let lines = [
        format!("tls-port {port}"),
        format!("tls-cert-file {at}/server.crt"),
        format!("tls-key-file {at}/server.key"),
        format!("tls-ca-cert-file {at}/ca.crt"),
        "tls-auth-clients no".to_owned(),
    ];
    let Ok(_redis) = Redis::try_start_with(&lines.each_ref().map(String::as_str)) else {
        println!("skipped: this redis-server knows no TLS");
        return;
    };
    let url = format!("rediss://greenroom:node-secret@127.0.0.1:{port}");
    let stranger = Part::with(RedisSettings::single(&url), "n1");
    let why = unavailable(stranger.registry.admit(stranger.request("blue", "ada", 9))).await;
    assert!(why.to_lowercase().contains("certificate"), "{why}");
    // The authorities that count are the system's, or those in the file that this variable names; it counts for a whole process.
    let trusting = Command::new(std::env::current_exe().expect("this test"))
        .args(["several::with_an_authority_that_is_trusted", "--exact", "--ignored"])
        .env("SSL_CERT_FILE", folder.path().join("ca.crt"))
        .env("REDIS_TLS_URL", &url)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&trusting.stdout);
    assert!(trusting.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "with_tls_a_server_must_prove_who_it_is runs it"]
async fn with_an_authority_that_is_trusted() {
    let Some(url) = setting("REDIS_TLS_URL") else { return };
    let part = Part::with(RedisSettings::single(&url), "n1");
    part.admitted("blue", "ada").await;
    let mut ear = Ear::of(Part::with(RedisSettings::single(&url), "n2")).await;
    through(&mut ear).await;
}
