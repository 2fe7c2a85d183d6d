//! Whether the nodes of a cluster keep recordings in the same stores.
//!
//! A store has a name for itself, which stands in it. Each node says the names of its own, four times per lease; one that finds the
//! others elsewhere does not start. Where Redis or a store was away at the start, that is found later, and the node ends.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::anyhow;
use tokio::sync::oneshot;
use tracing::warn;

use crate::adapters::{
    ports::StoreError,
    redis::{RedisStore, StoresSaid},
    s3::Bucket,
    store_id,
};

/// Hears why the node cannot be one of its cluster.
pub type Apart = oneshot::Receiver<anyhow::Error>;

/// The stores of a node of a cluster.
pub(super) struct Sharing {
    redis: Arc<RedisStore>,
    stores: [Store; 2],
    /// What is known of their names.
    said: Vec<(&'static str, String)>,
    since_ms: Option<u64>,
    lease: Duration,
}

/// A store, and what is kept in it.
pub(super) struct Store {
    pub what: &'static str,
    pub place: Place,
}

/// Where a store is.
#[derive(Clone)]
pub(super) enum Place {
    Folder(PathBuf),
    Bucket(Arc<Bucket>),
    /// That of the cluster.
    Redis,
}

impl Place {
    /// What tells it from every other.
    async fn name(&self) -> Result<String, StoreError> {
        match self {
            Self::Folder(folder) => {
                let folder = folder.clone();
                let named = tokio::task::spawn_blocking(move || store_id::of_folder(&folder)).await;
                named.unwrap_or_else(|_| Err(StoreError::Failed("the work was interrupted".to_owned())))
            }
            Self::Bucket(bucket) => bucket.id().await,
            Self::Redis => Ok("redis".to_owned()),
        }
    }

    /// Which setting leads to it.
    fn setting(&self) -> String {
        match self {
            Self::Folder(folder) => format!("STORAGE_LOCAL_PATH {}", folder.display()),
            Self::Bucket(bucket) => format!("S3_BUCKET {}", bucket.place()),
            Self::Redis => "CHUNK_STORE=REDIS".to_owned(),
        }
    }
}

impl Sharing {
    pub(super) fn new(redis: Arc<RedisStore>, stores: [Store; 2], lease: Duration) -> Self {
        Self { redis, stores, said: Vec::new(), since_ms: None, lease }
    }

    /// Says where this node keeps recordings, as far as it can, and goes on saying so. What is given back resolves when the
    /// others turn out to keep them elsewhere.
    ///
    /// # Errors
    /// They do.
    pub(super) async fn begin(mut self) -> anyhow::Result<Apart> {
        match self.say().await {
            Ok(()) => {}
            Err(Unsaid::Apart(why)) => return Err(why),
            Err(Unsaid::Unknown(why)) => {
                warn!(why, "it is seen later whether the other nodes keep recordings in the same stores");
            }
        }
        Ok(self.go_on())
    }

    fn go_on(mut self) -> Apart {
        let (tell, told) = oneshot::channel();
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(self.lease / 4).await;
                if let Err(Unsaid::Apart(why)) = self.say().await {
                    // Where nobody listens any more the node has ended.
                    let _ = tell.send(why);
                    break;
                }
            }
        });
        told
    }

    async fn say(&mut self) -> Result<(), Unsaid> {
        let mut unknown = None;
        for Store { what, place } in &self.stores {
            if self.said.iter().any(|(said, _)| said == what) {
                continue;
            }
            match place.name().await {
                Ok(name) => self.said.push((what, name)),
                Err(error) => unknown = Some(Unsaid::Unknown(error.to_string())),
            }
        }
        if self.said.is_empty() {
            return unknown.map_or(Ok(()), Err);
        }
        // Twice a lease: a node that is slow to start has not left its place to another one.
        let said = self.redis.say_stores(&self.said, self.since_ms, self.lease * 2).await;
        match said.map_err(|error| Unsaid::Unknown(error.to_string()))? {
            StoresSaid::Same { since_ms } => {
                self.since_ms = Some(since_ms);
                unknown.map_or(Ok(()), Err)
            }
            StoresSaid::Elsewhere(what) => {
                let store = self.stores.iter().find(|store| store.what == what);
                let setting = store.map(|store| store.place.setting()).unwrap_or_default();
                Err(Unsaid::Apart(anyhow!(
                    "{setting} is not where the other nodes of the cluster keep {what}: all need the same folder or bucket."
                )))
            }
        }
    }
}

/// Why it was not said, or not of everything.
enum Unsaid {
    /// The other nodes keep recordings elsewhere.
    Apart(anyhow::Error),
    /// Redis or a store does not answer.
    Unknown(String),
}
