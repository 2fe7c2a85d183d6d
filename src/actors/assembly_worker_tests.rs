//! Who follows what comes in requests, and who makes it.

use std::sync::Mutex;

use actix::{Addr, Message, MessageResult};

use super::*;
use crate::{
    actors::messages::Standing,
    adapters::ports::{
        CameChunk, MergeError, MergeJob, Merged, PortFuture, StoreError, StoreState, StoredChunk, Swept,
    },
    domain::cluster::{Mode, PeerView},
    protocol::{
        Incarnation, NodeId, NodeRef, TokenDigest,
        chunk::{ChunkIndex, ChunkMark},
    },
};

/// Remembers what it was told to follow, and by how many chunks. Nothing comes to its end while somebody holds the lock.
#[derive(Clone, Default)]
struct Followed(Arc<Mutex<Vec<(RecordId, usize)>>>, Arc<tokio::sync::Mutex<()>>);

impl Followed {
    fn of(&self) -> Vec<(RecordId, usize)> {
        self.0.lock().expect("whole").clone()
    }
}

impl Merger for Followed {
    fn check(&self) -> PortFuture<Result<String, MergeError>> {
        Box::pin(async { Ok(String::new()) })
    }

    fn follow(&self, recording: RecordingRef, came: Vec<CameChunk>) -> PortFuture<Result<(), StoreError>> {
        self.0.lock().expect("whole").push((recording.id, came.len()));
        let ends = self.1.clone();
        Box::pin(async move {
            drop(ends.lock().await);
            Ok(())
        })
    }

    fn is_followed(&self, recording: RecordingRef) -> PortFuture<bool> {
        let is_followed = self.of().iter().any(|(id, _)| *id == recording.id);
        Box::pin(async move { is_followed })
    }

    fn merge(&self, _: MergeJob) -> PortFuture<Result<Merged, MergeError>> {
        Box::pin(async { Err(MergeError::Interrupted("it only follows".into())) })
    }

    fn forget(&self, _: RecordingRef) -> PortFuture<()> {
        Box::pin(async {})
    }

    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        Box::pin(async { Ok(Swept::default()) })
    }
}

/// What a worker has told others.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    /// How often it was asked which nodes there are.
    looks: usize,
    hints: Vec<(String, Hint)>,
    claims: Vec<String>,
    looked_at: Vec<String>,
}

impl Told {
    fn with<T>(&self, read: impl FnOnce(&mut Heard) -> T) -> T {
        read(&mut self.0.lock().expect("whole"))
    }

    /// How often others were told that this recording's chunks come in requests.
    fn of_requests(&self, id: &str) -> usize {
        let is_of =
            |hint: &Hint| matches!(hint, Hint::Requested { record_id, .. } if record_id.as_str() == id);
        self.with(|heard| heard.hints.iter().filter(|(_, hint)| is_of(hint)).count())
    }
}

/// Says how a node stands among three, of which one is going away, and hears what it has to tell.
struct Stands(&'static str, Told);

impl Actor for Stands {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // It is told of many at once.
        ctx.set_mailbox_capacity(1024);
    }
}

fn node(name: &str) -> NodeRef {
    NodeRef { id: NodeId::parse(name).expect("a name"), incarnation: Incarnation(1) }
}

impl Handler<ShowStanding> for Stands {
    type Result = MessageResult<ShowStanding>;

    fn handle(&mut self, _: ShowStanding, _: &mut Self::Context) -> Self::Result {
        self.1.with(|heard| heard.looks += 1);
        let peer = |name: &&str| PeerView {
            node: node(name),
            lease_left: Duration::from_secs(5),
            draining: *name == "c",
            unacked: 0,
        };
        let view = ClusterView {
            mode: Mode::Serving,
            node: node(self.0),
            draining: self.0 == "c",
            lease_left: Duration::from_secs(5),
            peers: ["a", "b", "c"].iter().filter(|name| **name != self.0).map(peer).collect(),
        };
        MessageResult(Standing { view, begun: true, store: StoreState::Closed })
    }
}

impl Handler<HintNode> for Stands {
    type Result = ();

    fn handle(&mut self, HintNode { to, hint }: HintNode, _: &mut Self::Context) {
        self.1.with(|heard| heard.hints.push((to.to_string(), hint)));
    }
}

impl Handler<ClaimRecording> for Stands {
    type Result = ();

    fn handle(&mut self, message: ClaimRecording, _: &mut Self::Context) {
        self.1.with(|heard| heard.claims.push(message.id.to_string()));
    }
}

impl Handler<LookAtRecording> for Stands {
    type Result = ();

    fn handle(&mut self, message: LookAtRecording, _: &mut Self::Context) {
        self.1.with(|heard| heard.looked_at.push(message.id.to_string()));
    }
}

/// How many recordings a worker has in hand: to be looked for, to be followed, told of.
#[derive(Message)]
#[rtype(result = "(usize, usize, usize)")]
struct Count;

impl Handler<Count> for AssemblyWorker {
    type Result = MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        MessageResult((self.requested.len(), self.came.len(), self.told.len()))
    }
}

/// The worker of the node of this name, which knows the others; what it follows, and what it tells.
async fn worker(name: &'static str) -> (Addr<AssemblyWorker>, Followed, Told) {
    let (followed, told) = (Followed::default(), Told::default());
    let there = Stands(name, told.clone()).start();
    let others = OtherNodes {
        standing: there.clone().recipient(),
        hint: there.clone().recipient(),
        claim: there.clone().recipient(),
        look: there.recipient(),
    };
    let metrics = Metrics::new().expect("valid");
    let worker = AssemblyWorker::new(Arc::new(followed.clone()), Some(others), metrics).start();
    // It claims what it does not know to be another's.
    let knows_them = || told.with(|heard| !heard.hints.is_empty());
    let stopped = async || {
        for id in ids() {
            worker.send(RecordingStopped { recording: recording(&id) }).await.expect("it lives");
        }
    };
    meanwhile(knows_them, stopped).await;
    told.with(|heard| (heard.hints.clear(), heard.claims.clear()));
    (worker, followed, told)
}

fn ids() -> Vec<String> {
    (0..30).map(|number| format!("talk-{number}")).collect()
}

fn record(id: &str) -> RecordId {
    RecordId::parse(id).expect("a name")
}

/// Which of the nodes that stay a recording is followed by.
fn own_of(id: &str) -> String {
    let nodes = ["a", "b"].map(|name| node(name).id);
    own_node(&record(id), &nodes).expect("there are some").to_string()
}

fn recording(id: &str) -> RecordingRef {
    let token = TokenDigest::parse(&"0".repeat(64)).expect("a digest");
    RecordingRef { id: record(id), token }
}

fn stored(id: &str, in_request: bool) -> ChunkStored {
    let recording = recording(id);
    let index = ChunkIndex::new(0).expect("a place");
    let came = CameChunk { chunk: StoredChunk { index, mark: ChunkMark::VOID }, bytes: None };
    ChunkStored { recording, came, in_request }
}

async fn until(is_so: impl Fn() -> bool) {
    meanwhile(is_so, async || ()).await;
}

/// Waits until it is so, and does this over and over.
async fn meanwhile(is_so: impl Fn() -> bool, act: impl AsyncFn()) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never comes to that");
        act().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix::test]
async fn of_what_comes_in_requests_one_node_follows_each_and_looks_for_itself() {
    let nodes = [worker("a").await, worker("b").await, worker("c").await];
    let begun = || nodes.iter().map(|(_, followed, _)| followed.of().len()).sum::<usize>();
    for (id, (worker, ..)) in ids().iter().flat_map(|id| nodes.iter().map(move |node| (id, node))) {
        worker.send(stored(id, true)).await.expect("it lives");
    }
    until(|| begun() >= ids().len()).await;
    let of = |node: usize| {
        let followed = nodes[node].1.of();
        assert!(followed.iter().all(|(_, came)| *came == 0), "it looks into the chunk store");
        followed.into_iter().map(|(id, _)| id.to_string()).collect::<HashSet<_>>()
    };
    let (a, b) = (of(0), of(1));
    assert!(a.is_disjoint(&b) && a.len() > 5 && b.len() > 5, "{a:?} {b:?}");
    assert_eq!(a.len() + b.len(), ids().len());
    assert!(of(2).is_empty(), "one that is going away begins nothing");
}

#[actix::test]
async fn its_own_node_is_told_of_what_comes_in_requests_elsewhere_once_between_two_looks() {
    for name in ["a", "c"] {
        let (worker, followed, told) = worker(name).await;
        let others: Vec<_> = ids().into_iter().filter(|id| own_of(id) != name).collect();
        let again = || others.iter().all(|id| told.of_requests(id) >= 2);
        let come = async || {
            for id in &ids() {
                worker.send(stored(id, true)).await.expect("it lives");
            }
            // Each look asks which nodes there are, before it may be told of once more.
            let looks = told.with(|heard| heard.looks);
            for id in &others {
                assert!(told.of_requests(id) <= looks, "{id} {looks}");
            }
        };
        meanwhile(again, come).await;
        told.with(|heard| {
            for (to, hint) in &heard.hints {
                let Hint::Requested { record_id, .. } = hint else { panic!("{hint:?}") };
                assert_eq!(*to, own_of(record_id.as_str()));
            }
        });
        assert!(followed.of().iter().all(|(id, _)| own_of(id.as_str()) == name), "the rest it leaves to it");
    }
}

/// It may have looked already when the last of them came.
#[actix::test]
async fn of_what_came_after_it_was_told_its_own_node_hears_too() {
    let (worker, _, told) = worker("a").await;
    let id = ids().into_iter().find(|id| own_of(id) != "a").expect("one of another");
    for _ in 0..3 {
        worker.send(stored(&id, true)).await.expect("it lives");
    }
    until(|| told.of_requests(&id) >= 2).await;
    let looks = told.with(|heard| heard.looks);
    until(|| told.with(|heard| heard.looks) >= looks + 2).await;
    assert_eq!(told.of_requests(&id), 2, "and nothing when nothing came");
}

#[actix::test]
async fn who_is_told_of_requests_looks_for_their_chunks_unless_it_is_going_away() {
    let told = [worker("c").await, worker("a").await];
    let token = TokenDigest::parse(&"0".repeat(64)).expect("a digest");
    for (worker, ..) in &told {
        for id in ids() {
            let hint = Hint::Requested { record_id: record(&id), token };
            worker.send(Hinted(hint.clone())).await.expect("it lives");
            worker.send(Hinted(hint)).await.expect("it lives");
        }
    }
    let [(_, by_c, _), (_, by_a, said)] = &told;
    until(|| by_a.of().len() >= ids().len()).await;
    let mut followed: Vec<_> = by_a.of().into_iter().map(|(id, came)| (id.to_string(), came)).collect();
    followed.sort_unstable();
    let mut all: Vec<_> = ids().into_iter().map(|id| (id, 0)).collect();
    all.sort_unstable();
    assert_eq!(followed, all, "each once, by the chunk store, also where it would leave it to another one");
    assert!(by_c.of().is_empty());
    assert!(said.with(|heard| heard.hints.is_empty()), "nobody passes on what it was told");
}

#[actix::test]
async fn what_was_stopped_is_claimed_by_whoever_follows_it_and_by_nobody_else() {
    for name in ["a", "b", "c"] {
        let (worker, _, told) = worker(name).await;
        for id in ids() {
            worker.send(RecordingStopped { recording: recording(&id) }).await.expect("it lives");
        }
        let all = || told.with(|heard| heard.hints.len() + heard.claims.len()) >= ids().len();
        until(all).await;
        let (here, there): (Vec<_>, Vec<_>) = ids().into_iter().partition(|id| own_of(id) == name);
        let hints = there.into_iter().map(|id| (own_of(&id), Hint::Stopped { record_id: record(&id) }));
        told.with(|heard| {
            assert_eq!(heard.claims, here);
            assert_eq!(heard.hints, hints.collect::<Vec<_>>());
            heard.claims.clear();
        });
        // Whoever is told does it, whatever it thinks of it.
        for id in ids() {
            worker.send(Hinted(Hint::Stopped { record_id: record(&id) })).await.expect("it lives");
        }
        until(|| told.with(|heard| heard.claims == ids())).await;
    }
}

/// Whatever its own node may have heard of it.
#[actix::test]
async fn what_was_stopped_where_it_is_followed_is_claimed_there() {
    let stopped = async |name| {
        let (worker, _, told) = worker(name).await;
        for id in ids() {
            worker.send(stored(&id, false)).await.expect("it lives");
            worker.send(RecordingStopped { recording: recording(&id) }).await.expect("it lives");
        }
        until(|| told.with(|heard| heard.hints.len() + heard.claims.len()) >= ids().len()).await;
        told
    };
    stopped("a").await.with(|heard| assert_eq!((&heard.claims, heard.hints.len()), (&ids(), 0)));
    // It is going away.
    stopped("c").await.with(|heard| assert_eq!((heard.claims.len(), heard.hints.len()), (0, ids().len())));
}

#[actix::test]
async fn that_one_has_ended_is_said_to_all_others_and_looked_at_where_it_is_heard() {
    let (worker, _, told) = worker("a").await;
    worker.send(RecordingEnded { id: record("talk") }).await.expect("it lives");
    until(|| told.with(|heard| heard.hints.len() == 2)).await;
    let ended = Hint::Ended { record_id: record("talk") };
    let others = ["b", "c"].map(|name| (name.to_owned(), ended.clone()));
    assert_eq!(told.with(|heard| heard.hints.clone()), others);
    worker.send(Hinted(ended)).await.expect("it lives");
    until(|| told.with(|heard| heard.looked_at == ["talk"])).await;
    assert_eq!(told.with(|heard| (heard.hints.len(), heard.claims.len())), (2, 0));
}

#[actix::test]
async fn however_many_recordings_others_speak_of_so_many_are_remembered_and_no_more() {
    let (worker, ..) = worker("a").await;
    let token = TokenDigest::parse(&"0".repeat(64)).expect("a digest");
    for number in 0..2 * REQUESTED_MAX {
        let id = format!("talk-{number}");
        worker.send(Hinted(Hint::Requested { record_id: record(&id), token })).await.expect("it lives");
        worker.send(stored(&id, true)).await.expect("it lives");
        let (requested, came, told) = worker.send(Count).await.expect("it lives");
        assert!(requested + came <= REQUESTED_MAX && told <= TOLD_MAX, "{requested} {came} {told}");
    }
}

/// Whatever came last too, of which nothing more may follow.
#[actix::test]
async fn of_more_than_can_wait_all_is_looked_for() {
    for (waiting, heard) in [(WAITING_MAX, WAITING_MAX), (WAITING_MAX + 1, 0), (3 * WAITING_MAX, 0)] {
        let (worker, followed, _) = worker("a").await;
        let slow = followed.1.lock().await;
        for _ in 0..=waiting {
            worker.send(stored("talk", false)).await.expect("it lives");
        }
        drop(slow);
        until(|| followed.of().len() > 1).await;
        let came: Vec<_> = followed.of().into_iter().map(|(_, came)| came).collect();
        assert_eq!(came, [1, heard], "the first is at work while the others wait");
    }
}

#[actix::test]
async fn what_comes_by_a_socket_or_to_a_node_alone_is_followed_where_it_comes() {
    let (among_others, by_socket, _) = worker("c").await;
    let alone = Followed::default();
    let metrics = Metrics::new().expect("valid");
    let by_itself = AssemblyWorker::new(Arc::new(alone.clone()), None, metrics).start();
    for (worker, followed, in_request) in [(among_others, by_socket, false), (by_itself, alone, true)] {
        worker.send(stored("talk", in_request)).await.expect("it lives");
        until(|| !followed.of().is_empty()).await;
        assert_eq!(followed.of()[0].1, 1, "it is told of the chunk");
    }
}
