//! Who follows what comes in requests.

use std::sync::Mutex;

use actix::MessageResult;

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

/// Remembers what it was told to follow, and by how many chunks.
#[derive(Clone, Default)]
struct Followed(Arc<Mutex<Vec<(RecordId, usize)>>>);

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
        Box::pin(async { Ok(()) })
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

/// Says how a node stands among three, of which one is going away.
struct Stands(&'static str);

impl Actor for Stands {
    type Context = Context<Self>;
}

fn node(name: &str) -> NodeRef {
    NodeRef { id: NodeId::parse(name).expect("a name"), incarnation: Incarnation(1) }
}

impl Handler<ShowStanding> for Stands {
    type Result = MessageResult<ShowStanding>;

    fn handle(&mut self, _: ShowStanding, _: &mut Self::Context) -> Self::Result {
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

fn stored(id: &str, in_request: bool) -> ChunkStored {
    let token = TokenDigest::parse(&"0".repeat(64)).expect("a digest");
    let recording = RecordingRef { id: RecordId::parse(id).expect("a name"), token };
    let index = ChunkIndex::new(0).expect("a place");
    let came = CameChunk { chunk: StoredChunk { index, mark: ChunkMark::VOID }, bytes: None };
    ChunkStored { recording, came, in_request }
}

async fn until(is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never comes to that");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix::test]
async fn of_what_comes_in_requests_one_node_follows_each_and_looks_for_itself() {
    let nodes: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            let (followed, standing) = (Followed::default(), Stands(name).start().recipient());
            let metrics = Metrics::new().expect("valid");
            let merger = Arc::new(followed.clone());
            (AssemblyWorker::new(merger, Some(standing), metrics).start(), followed)
        })
        .into();
    let ids: Vec<_> = (0..30).map(|number| format!("talk-{number}")).collect();
    // Each chunk comes to each node, also to one that does not yet know of the others.
    let begun = || nodes.iter().map(|(_, followed)| followed.of().len()).sum::<usize>();
    while begun() < ids.len() {
        for (id, (worker, _)) in ids.iter().flat_map(|id| nodes.iter().map(move |node| (id, node))) {
            worker.send(stored(id, true)).await.expect("it lives");
        }
    }
    let of = |node: usize| {
        let followed = nodes[node].1.of();
        assert!(followed.iter().all(|(_, came)| *came == 0), "it looks into the chunk store");
        followed.into_iter().map(|(id, _)| id.to_string()).collect::<HashSet<_>>()
    };
    let (a, b) = (of(0), of(1));
    assert!(a.is_disjoint(&b) && a.len() > 5 && b.len() > 5, "{a:?} {b:?}");
    assert_eq!(a.len() + b.len(), ids.len());
    assert!(of(2).is_empty(), "one that is going away begins nothing");
}

#[actix::test]
async fn what_comes_by_a_socket_or_to_a_node_alone_is_followed_where_it_comes() {
    for (in_request, standing) in [(false, Some(Stands("c").start().recipient())), (true, None)] {
        let followed = Followed::default();
        let metrics = Metrics::new().expect("valid");
        let worker = AssemblyWorker::new(Arc::new(followed.clone()), standing, metrics).start();
        worker.send(stored("talk", in_request)).await.expect("it lives");
        until(|| !followed.of().is_empty()).await;
        assert_eq!(followed.of()[0].1, 1, "it is told of the chunk");
    }
}
