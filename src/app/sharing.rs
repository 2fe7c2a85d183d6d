//! Whether the nodes of a cluster keep recordings in the same stores.
//!
//! A store has a name for itself, which stands in it. Each node says the names of its own, four times per lease; one that finds the
//! others elsewhere takes no part in recordings ([`SameStores`]) until they agree, and serves everything else.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::adapters::{
    ports::{SameStores, StoreError},
    redis::{RedisStore, Standing, StoresSaid},
    s3::Bucket,
    store_id,
};

/// How often it is asked what the others say, until anything is known.
const SOON: Duration = Duration::from_millis(250);

/// The stores of a node of a cluster.
pub(super) struct Sharing {
    redis: Arc<RedisStore>,
    stores: [Store; 2],
    /// What is known of their names.
    said: Vec<(&'static str, String)>,
    standing: Standing,
    lease: Duration,
    same: SameStores,
    /// What the others keep elsewhere.
    apart: Option<String>,
    /// Since when no other node says anything, while this one has no say.
    quiet_since: Option<Instant>,
    /// Until then what was heard may have been the last word of nodes that were stopped before this one was started.
    young_until: Instant,
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
    pub(super) fn new(redis: Arc<RedisStore>, stores: [Store; 2], lease: Duration, same: SameStores) -> Self {
        Self {
            redis,
            stores,
            said: Vec::new(),
            standing: Standing::New,
            lease,
            same,
            apart: None,
            quiet_since: None,
            // Their word has two leases, and one more shows that they are quiet.
            young_until: Instant::now() + lease * 4,
        }
    }

    /// Says where this node keeps recordings, as far as it can, and goes on saying so.
    pub(super) async fn begin(mut self) {
        if let Err(why) = self.learn().await {
            warn!(
                why,
                "no recordings here until it is seen whether the other nodes keep them in the same stores"
            );
        }
        tokio::task::spawn_local(async move {
            loop {
                let pause = self.lease / 4;
                // Recorders may be waiting for it.
                let unsure = !self.same.are_same() && self.apart.is_none();
                tokio::time::sleep(if unsure { pause.min(SOON) } else { pause }).await;
                // Where nothing is heard, what was known stands.
                let _: Result<(), String> = self.learn().await;
            }
        });
    }

    /// Learns whether the others keep recordings in the same stores.
    async fn learn(&mut self) -> Result<(), String> {
        match self.say().await? {
            StoresSaid::Same { since_ms } => {
                self.standing = Standing::Since(since_ms);
                if self.apart.take().is_some() {
                    info!(
                        "the other nodes keep recordings in the same stores now: this node takes part in them"
                    );
                }
                self.same.set(true);
            }
            StoresSaid::Elsewhere(what) => {
                self.same.set(false);
                (self.standing, self.quiet_since) = (Standing::Elsewhere, None);
                // The right folder may be mounted any time.
                self.said.clear();
                if self.apart.as_ref() != Some(&what) {
                    self.complain(&what);
                    self.apart = Some(what);
                }
            }
            StoresSaid::Nothing => {
                let now = Instant::now();
                let quiet = now - *self.quiet_since.get_or_insert(now);
                if quiet >= self.lease && now < self.young_until {
                    self.standing = Standing::New;
                }
            }
        }
        Ok(())
    }

    fn complain(&self, what: &str) {
        let store = self.stores.iter().find(|store| store.what == what);
        let setting = store.map(|store| store.place.setting()).unwrap_or_default();
        error!(
            "no recordings here: {setting} is not where the other nodes of the cluster keep {what}; give all of them the \
             same folder or bucket"
        );
    }

    /// # Errors
    /// Redis or a store does not answer, and nothing is elsewhere as far as is known.
    async fn say(&mut self) -> Result<StoresSaid, String> {
        let mut unknown = None;
        for Store { what, place } in &self.stores {
            if self.said.iter().any(|(said, _)| said == what) {
                continue;
            }
            match place.name().await {
                Ok(name) => self.said.push((what, name)),
                Err(error) => unknown = Some(error.to_string()),
            }
        }
        if let Some(why) = unknown.take_if(|_| self.said.is_empty()) {
            return Err(why);
        }
        // Twice a lease: a node that is slow to start has not left its place to another one.
        let said = self.redis.say_stores(&self.said, self.standing, self.lease * 2).await;
        match (said.map_err(|error| error.to_string())?, unknown) {
            (StoresSaid::Same { .. }, Some(why)) => Err(why),
            (said, _) => Ok(said),
        }
    }
}
