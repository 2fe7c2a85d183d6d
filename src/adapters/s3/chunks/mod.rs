//! Chunks as objects: `chunks/<recordId>/chunk_<index, 8 digits>`, each exactly the bytes of its chunk.
//!
//! A place is taken by one write that must find it empty, so the first stands, whichever nodes come at once (L-2). What was
//! noted of a chunk goes with it as metadata, and before it, for whoever lists, as the name of an empty object, `mark_…`. Both
//! name the recording by its token too: a name may be another's by now, and what comes late belongs to nobody then.
//!
//! A staged chunk is in memory, and durable once it is committed: one PUT is all there is on S3. ADR 16 says why. Next:
//! `manifests` (how a recording begins and ends), `place` (how a chunk gets its own).

mod home;
mod listing;
mod manifests;
mod place;
mod sweep;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;

use self::{
    home::Home,
    manifests::{Found, Manifests},
    place::Place,
};
use super::{
    bucket::{self, Bucket},
    settings::S3Unusable,
    trouble::Trouble,
};
use crate::{
    adapters::ports::{
        ChunkStore, Committed, PortFuture, RecordingRef, Remains, StagedChunk, StoreError, StoredChunk, Swept,
    },
    domain::recording::Manifest,
    protocol::{
        RecordId, TokenDigest,
        chunk::{ChunkIndex, ChunkMark},
        limits,
    },
};

/// A chunk store in a bucket.
#[derive(Clone)]
pub struct S3Chunks {
    bucket: Arc<Bucket>,
}

impl S3Chunks {
    /// Looks whether the server obeys the conditions on which chunks are written. One that is away is looked at when it is
    /// first needed.
    ///
    /// # Errors
    /// It does not.
    pub async fn open(bucket: Arc<Bucket>) -> Result<Self, S3Unusable> {
        let looked = bucket.run(|bucket| async move { bucket.proven().await });
        bucket.judge(looked.await)?;
        Ok(Self { bucket })
    }

    /// Does it to its end, whether or not anybody waits for it: what was begun is not left half done.
    fn run<T, F>(
        &self,
        work: impl FnOnce(Arc<Bucket>) -> F + Send + 'static,
    ) -> PortFuture<Result<T, StoreError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let bucket = self.bucket.clone();
        Box::pin(async move {
            let done = bucket.finish(|bucket| async move {
                bucket.proven().await?;
                work(bucket).await
            });
            done.await.map_err(StoreError::from)
        })
    }
}

fn no_recording(id: &RecordId) -> Trouble {
    // Not Missing: that is said of a chunk, and never makes anybody try again.
    Trouble::Unexpected(format!("there is no recording {id}, or it is another's by now"))
}

impl ChunkStore for S3Chunks {
    fn create(&self, manifest: Manifest) -> PortFuture<Result<bool, StoreError>> {
        self.run(|bucket| async move { Manifests(&bucket).begin(&manifest).await })
    }

    fn save_manifest(&self, manifest: Manifest) -> PortFuture<Result<(), StoreError>> {
        self.run(|bucket| async move { Manifests(&bucket).save(&manifest).await })
    }

    fn manifest(&self, id: &RecordId) -> PortFuture<Result<Option<Manifest>, StoreError>> {
        let id = id.clone();
        self.run(|bucket| async move { Ok(Manifests(&bucket).read(&id).await?.map(|kept| kept.manifest)) })
    }

    fn recordings(&self) -> PortFuture<Result<Vec<RecordId>, StoreError>> {
        self.run(|bucket| async move { Manifests(&bucket).ids().await })
    }

    fn stage(
        &self,
        recording: &RecordingRef,
        payload: Bytes,
    ) -> PortFuture<Result<Box<dyn StagedChunk>, StoreError>> {
        let (store, recording) = (self.clone(), recording.clone());
        self.run(|bucket| async move {
            let kept = Manifests(&bucket).read(&recording.id).await?;
            let kept = kept.filter(|kept| kept.manifest.token.matches(&recording.token));
            let home = kept.ok_or_else(|| no_recording(&recording.id))?.home();
            let place = Arc::new(Place::new(recording, home, payload));
            Ok(Box::new(S3Staged { store, place }) as Box<dyn StagedChunk>)
        })
    }

    fn list(&self, id: &RecordId) -> PortFuture<Result<Vec<StoredChunk>, StoreError>> {
        let id = id.clone();
        self.run(|bucket| async move { listing::list(&bucket, &id).await })
    }

    fn read(&self, id: &RecordId, index: ChunkIndex) -> PortFuture<Result<Bytes, StoreError>> {
        let id = id.clone();
        self.run(move |bucket| async move {
            let found = Manifests(&bucket).find(&id).await?;
            let found = found.ok_or_else(|| Trouble::Missing(format!("chunk {index} of {id}")))?;
            let name = place::chunk(&found.home, index);
            Ok(bucket.read(&name, limits::UPLOAD_BYTES_MAX).await?.bytes)
        })
    }

    fn begin_delete(
        &self,
        id: &RecordId,
        which: Option<TokenDigest>,
    ) -> PortFuture<Result<Remains, StoreError>> {
        let (store, named) = (self.clone(), id.clone());
        let begun = self.run({
            let id = id.clone();
            move |bucket| async move { Manifests(&bucket).begin_delete(&id, which).await }
        });
        Box::pin(async move {
            let Some((home, tag)) = begun.await? else { return Ok(Remains::none()) };
            Ok(Remains::new(store.run(move |bucket| async move {
                Manifests(&bucket).clear(&named, &home, &tag).await.map(drop)
            })))
        })
    }

    fn age(&self, id: &RecordId) -> PortFuture<Result<Option<Duration>, StoreError>> {
        let id = id.clone();
        self.run(|bucket| async move { age(&bucket, &id).await })
    }

    fn free_bytes(&self) -> PortFuture<Result<Option<u64>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        self.run(|bucket| async move { sweep::sweep(&bucket).await })
    }
}

/// Since its youngest object, by the server's clock.
async fn age(bucket: &Bucket, id: &RecordId) -> Result<Option<Duration>, Trouble> {
    let manifests = Manifests(bucket);
    let home = match manifests.find(id).await? {
        None => return Ok(None),
        // Whose it is nobody knows, so all of it counts.
        Some(Found { whose: None, .. }) => Home::all(id),
        Some(Found { home, .. }) => home,
    };
    let now = bucket.now().await?;
    let mut youngest = manifests.meta(id).await?.map(|manifest| bucket::age(&manifest, now));
    let each = |object| {
        let age = bucket::age(&object, now);
        youngest = Some(youngest.map_or(age, |youngest| youngest.min(age)));
        ControlFlow::Continue(())
    };
    home.walk(bucket, each).await?;
    Ok(youngest)
}

/// A chunk in memory, for one recording.
struct S3Staged {
    store: S3Chunks,
    place: Arc<Place>,
}

impl StagedChunk for S3Staged {
    fn commit(&self, index: ChunkIndex, mark: ChunkMark) -> PortFuture<Result<Committed, StoreError>> {
        let place = self.place.clone();
        self.store.run(move |bucket| async move { place.take(&bucket, index, mark).await })
    }
}
