//! A node that stands still at a point, and goes on after another has taken over: it changes nothing of what has become of the
//! recording meanwhile, nor of the next one of its name.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    story::{CHUNKS, FORGOTTEN_WITHIN, Framing, OWNER, Place, ROOM, Story},
    support::{Cluster, Recorder, cut, eventually, metric, mp4, names, send, soon},
};

/// Chunks of the next recording that are acknowledged before the node wakes.
const BEFORE: u32 = 3;
/// Points from which a node that was overtaken has nothing to store any more.
const BEFORE_STORING: [&str; 2] = ["merge.planned", "merge.made"];

/// What becomes of the recording while the node stands still.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    /// It is ready.
    Kept,
    /// It is deleted, and another has its name.
    Deleted,
}

/// The first node stands still at this point, and wakes when the second has taken over.
pub async fn wake_at(point: &str, place: Place, meanwhile: Meanwhile) {
    let Some(story) = Story::begin("stop", point, place).await else { return };
    wake(story, meanwhile).await;
}

/// The same of a recording of which parts go into a bucket while it comes.
pub async fn wake_in_parts(point: &str, place: Place, meanwhile: Meanwhile) {
    let Some(story) = Story::begin("stop", point, place).await else { return };
    wake(story.of_parts(), meanwhile).await;
}

/// It stands still as it stores the chunk that comes to the place which is the next one's first free. The recorder has gone to
/// the second node, the recording was deleted, and another has its name: nothing of the chunk gets there.
pub async fn wake_with_a_chunk(point: &str, framing: Framing, place: Place) {
    let Some(story) = Story::begin("stop", point, place).await else { return };
    let mut story = story.framed(framing);
    story.ledger_is_whole().await;
    story.ready_by_another().await;
    let mut next = Next::instead_of(&story).await;
    story.cluster.thaw(0);
    story.cluster.serves(0).await;
    let node = story.cluster.address(0);
    eventually("it is through with its chunk", async || {
        (metric(node, "greenroom_chunks_in_flight").await == 0.0).then_some(())
    })
    .await;
    next.end(&mut story).await;
    let row = story.check_video().await;
    story.check_rest(&row).await;
}

/// It stands still in the middle of what it does to the file that grows. The second goes on in the same file, and completes it, before
/// the first writes the rest.
pub async fn wake_in_a_step(point: &str, framing: Framing, place: Place) {
    let Some(story) = Story::begin("stop", point, place).await else { return };
    let mut story = story.framed(framing).of_many();
    let folder = story.cluster.storage(0).join("assembly");
    let before = story.ready_by_another().await;
    story.taken_over().await;
    let pid = story.cluster.process(0).id();
    story.cluster.thaw(0);
    story.cluster.serves(0).await;
    eventually("it is through with its step", async || {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
        let leads = |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|path| is_video(&path));
        (!open.filter_map(Result::ok).any(leads)).then_some(())
    })
    .await;
    let row = story.check_video().await;
    assert_eq!(row["sha256"], before["sha256"], "and every byte of it");
    eventually("nothing grows any more", async || names(&folder).is_empty().then_some(())).await;
    story.check_rest(&row).await;
}

/// Whether a file is of media, whatever has become of it.
fn is_video(path: &Path) -> bool {
    let path = path.to_string_lossy();
    path.contains("/assembly/") || path.contains("/recordings/")
}

async fn wake(mut story: Story, meanwhile: Meanwhile) {
    let before = story.ready_by_another().await;
    match meanwhile {
        Meanwhile::Kept => {
            story.taken_over().await;
            story.wake().await;
            assert_eq!(story.check_video().await["key"], before["key"], "it is the same video");
        }
        Meanwhile::Deleted => {
            let mut next = Next::instead_of(&story).await;
            story.wake().await;
            next.end(&mut story).await;
        }
    }
    let row = story.check_video().await;
    story.check_rest(&row).await;
}

impl Story {
    /// Waits until the node puts no accounts back any more. One that stands still while it does may leave an entry in an index,
    /// which leads nowhere and is taken out by whoever comes across it.
    async fn ledger_is_whole(&self) {
        eventually("its ledger is whole", async || {
            let whole: Option<String> = self.cluster.redis().run(&["GET", "recordings:whole"]);
            whole.is_some_and(|whole| !whole.starts_with("lost ")).then_some(())
        })
        .await;
    }

    /// The first node stands still, and the video is made by way of the second. Its row.
    async fn ready_by_another(&mut self) -> Value {
        self.record_until_it_stops().await;
        self.cluster.add(&[]).await;
        if self.told.is_none() {
            self.record(1).await;
        }
        self.check_video().await
    }

    /// Records by way of the first node, as far as it goes. Its sockets say nothing any more, and do not end.
    async fn record_until_it_stops(&mut self) {
        let pid = self.cluster.process(0).id();
        let stops = soon(FORGOTTEN_WITHIN, "the node stands still", async || stands_still(pid).then_some(()));
        tokio::pin!(stops);
        tokio::select! {
            biased;
            () = self.record(0) => stops.await,
            () = &mut stops => {}
        }
    }

    /// Waits until the second node has done what the first has left.
    async fn taken_over(&self) {
        eventually("its account is closed", async || {
            let kind: String = self.cluster.redis().run(&["TYPE", "recording:{talk}"]);
            (kind == "none").then_some(())
        })
        .await;
    }

    /// The first node goes on. Waits until it knows that it was overtaken, and is through with what it was about to do.
    async fn wake(&self) {
        // The keeper, too, begins a file now and then: to learn what time it is there.
        let named = || self.videos().into_iter().filter(|name| !name.starts_with(".partial-"));
        let videos: Vec<_> = named().collect();
        self.cluster.thaw(0);
        self.cluster.serves(0).await;
        eventually("it knows that it was overtaken", async || {
            self.cluster.process(0).logs().contains("a claim no longer holds").then_some(())
        })
        .await;
        let merges = self.cluster.storage(0).join(format!("tmp/merges-{}", Cluster::name(0)));
        assert!(merges.is_dir(), "it has made videos there");
        eventually("its merge is over", async || names(&merges).is_empty().then_some(())).await;
        if BEFORE_STORING.contains(&self.point.as_str()) {
            assert_eq!(named().collect::<Vec<_>>(), videos, "who was overtaken stores nothing");
        }
    }
}

/// Whether a process was stopped by a signal.
fn stands_still(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name in parentheses may have spaces; the state follows it.
    stat.rsplit_once(") ").expect("proc(5)").1.starts_with('T')
}

/// The next recording of the same name.
struct Next {
    recorder: Recorder,
    chunks: Vec<Vec<u8>>,
}

impl Next {
    /// Begins it when the first one was deleted; some of it is acknowledged.
    async fn instead_of(story: &Story) -> Self {
        let gone = send(story.cluster.address(1), "DELETE /recordings/talk", &[], b"").await;
        assert_eq!(gone.status, 204, "{gone:?}");
        let start = json!({ "recordId": "talk", "mimeType": "video/mp4", "roomName": ROOM, "owner": OWNER });
        let mut recorder = Recorder::start(story.cluster.address(1), start).await;
        let chunks = cut(mp4(), CHUNKS, 400);
        recorder.store_all(0, &chunks[..BEFORE as usize]).await;
        Self { recorder, chunks }
    }

    /// Records the rest. From now on the story is about it.
    async fn end(&mut self, story: &mut Story) {
        self.recorder.store_all(BEFORE, &self.chunks[BEFORE as usize..]).await;
        story.told = Some(self.recorder.stop_and_wait(&self.chunks).await);
        story.token = Some(self.recorder.token());
        story.media = mp4();
    }
}
