//! Publishing: one queue, one task, one connection, so that messages arrive in the order in which they were given.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use backon::BackoffBuilder as _;
use deadpool_redis::redis::Pipeline;
use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::warn;

use super::{super::RedisStore, pauses};
use crate::adapters::{
    ports::BusError,
    redis::{connect::Link, trouble::Trouble},
};

/// Messages that wait to be published. Overflow act: the caller is told that it will not be sent.
const POSTS_MAX: usize = 16 * 1024;
/// Their bytes. One message may exceed it when nothing else waits.
const POSTS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Messages sent in one go.
const AT_ONCE: usize = 128;

/// How long a channel of a cluster is left alone when its master did not answer.
const REST: Duration = Duration::from_secs(1);

/// Something to be published.
pub struct Post {
    pub channel: String,
    pub payload: String,
}

/// Where posts wait.
pub struct Outbox {
    posts: mpsc::Sender<Post>,
    bytes: Arc<AtomicUsize>,
}

impl Outbox {
    /// Puts a post behind those before it.
    pub fn put(&self, post: Post) -> Result<(), BusError> {
        let size = post.payload.len();
        if self.bytes.fetch_add(size, Ordering::Relaxed) > POSTS_BYTES_MAX
            || self.posts.try_send(post).is_err()
        {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            return Err(BusError::Full);
        }
        Ok(())
    }
}

/// Starts the task that publishes; it ends with the outbox.
pub fn start(store: &Arc<RedisStore>, rebuilds: watch::Receiver<u64>) -> Outbox {
    let (posts, waiting) = mpsc::channel(POSTS_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let publisher = Publisher {
        store: store.clone(),
        waiting,
        bytes: bytes.clone(),
        rebuilds,
        link: None,
        resting: HashMap::new(),
    };
    store.runtime.spawn(publisher.run());
    Outbox { posts, bytes }
}

struct Publisher {
    store: Arc<RedisStore>,
    waiting: mpsc::Receiver<Post>,
    bytes: Arc<AtomicUsize>,
    rebuilds: watch::Receiver<u64>,
    link: Option<Link>,
    /// Channels of a cluster whose master did not answer, and until when they are left alone: one master that hangs must not
    /// hold up what goes through the others.
    resting: HashMap<String, Instant>,
}

impl Publisher {
    async fn run(mut self) {
        let mut pause = pauses().build();
        let mut posts = Vec::with_capacity(AT_ONCE);
        while self.waiting.recv_many(&mut posts, AT_ONCE).await > 0 {
            let (size, count) = (posts.iter().map(|post| post.payload.len()).sum(), posts.len());
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            match self.send(&mut posts).await {
                Ok(lost) => {
                    self.count("sent", count.saturating_sub(lost));
                    self.count("lost", lost);
                    pause = pauses().build();
                }
                Err(trouble) => {
                    // Nothing is sent again here: it could then come twice or late, and links do it better.
                    self.link = None;
                    warn!(messages = count, error = %trouble, "nothing can be published to other nodes");
                    self.count("lost", count);
                    tokio::time::sleep(pause.next().unwrap_or_default()).await;
                }
            }
            posts.clear();
        }
    }

    /// Says how many were lost; an error is that all were.
    async fn send(&mut self, posts: &mut Vec<Post>) -> Result<usize, Trouble> {
        if self.rebuilds.has_changed().unwrap_or(false) {
            self.rebuilds.mark_unchanged();
            self.link = None;
        }
        let settings = &self.store.settings;
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let connecting = self.store.connector.link(settings);
                timeout(settings.connect_limit(), connecting).await.map_err(|_| Trouble::Late)??
            }
        };
        let lost = match link {
            Link::Single(_) => {
                let pipeline = pipeline("PUBLISH", posts);
                timeout(settings.timeout, pipeline.query_async::<()>(&mut link))
                    .await
                    .map_err(|_| Trouble::Late)??;
                0
            }
            Link::Cluster(_) => self.send_by_channel(&link, posts).await?,
        };
        self.link = Some(link);
        Ok(lost)
    }

    /// In a cluster a pipeline goes to one slot: one for each channel, all at once.
    async fn send_by_channel(&mut self, link: &Link, posts: &mut Vec<Post>) -> Result<usize, Trouble> {
        let (now, count) = (Instant::now(), posts.len());
        self.resting.retain(|_, until| *until > now);
        posts.retain(|post| !self.resting.contains_key(&post.channel));
        let mut lost = count - posts.len();
        posts.sort_by(|a, b| a.channel.cmp(&b.channel));
        let limit = self.store.settings.timeout;
        let sent = posts.chunk_by(|a, b| a.channel == b.channel).map(|posts| {
            let (mut link, pipeline) = (link.clone(), pipeline("SPUBLISH", posts));
            async move {
                let sent = timeout(limit, pipeline.query_async::<()>(&mut link)).await;
                sent.map_err(|_| Trouble::Late)?.map_err(Trouble::from)
            }
        });
        let sent = join_all(sent).await;
        let all_failed = !sent.is_empty() && sent.iter().all(Result::is_err);
        for (posts, sent) in posts.chunk_by(|a, b| a.channel == b.channel).zip(sent) {
            let Err(trouble) = sent else { continue };
            if all_failed {
                return Err(trouble);
            }
            let channel = posts.first().map(|post| post.channel.clone()).unwrap_or_default();
            warn!(%channel, messages = posts.len(), error = %trouble, "nothing can be published to this channel");
            self.resting.insert(channel, now + REST);
            lost += posts.len();
        }
        Ok(lost)
    }

    fn count(&self, outcome: &str, posts: usize) {
        let posts = u64::try_from(posts).unwrap_or(u64::MAX);
        self.store.metrics.bus_published.with_label_values(&[outcome]).inc_by(posts);
    }
}

fn pipeline(command: &str, posts: &[Post]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(posts.len());
    for post in posts {
        pipeline.cmd(command).arg(&post.channel).arg(&post.payload).ignore();
    }
    pipeline
}
