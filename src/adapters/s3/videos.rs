//! Videos as objects: `recordings/<key>`, which whoever wants one gets from the bucket by a link that is good for a while.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use object_store::ObjectMeta;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::{
    bucket::{self, Bucket},
    parts::{self, S3Parts},
    trouble::Trouble,
    upload::{self, PART_BYTES, Upload},
};
use crate::{
    adapters::{
        ports::{
            Elsewhere, FileProof, PortFuture, StoreError, StoredVideo, Swept, VideoParts, VideoSource,
            VideoStore,
        },
        video_store,
    },
    protocol::{RecordId, recorder::VideoKey},
};

const FOLDER: &str = "recordings/";
/// Of a video that is read here. Unit: bytes.
const FETCHED_AT_ONCE: u64 = 8 * 1024 * 1024;

/// A video store in a bucket.
#[derive(Clone)]
pub struct S3Videos {
    bucket: Arc<Bucket>,
}

impl S3Videos {
    /// The videos of this bucket.
    #[must_use]
    pub const fn new(bucket: Arc<Bucket>) -> Self {
        Self { bucket }
    }

    fn run<T, E, F>(
        &self,
        work: impl FnOnce(Arc<Bucket>) -> F + Send + 'static,
    ) -> PortFuture<Result<T, StoreError>>
    where
        T: Send + 'static,
        E: From<Trouble> + Into<StoreError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let bucket = self.bucket.clone();
        Box::pin(async move { bucket.run(work).await.map_err(E::into) })
    }
}

/// Of its object.
pub(super) fn name(key: &VideoKey) -> String {
    format!("{FOLDER}{}", key.as_str())
}

fn key_of(object: &ObjectMeta) -> Option<VideoKey> {
    VideoKey::parse(object.location.filename()?)
}

/// Sends a file, unless that was done already, by a node that died before it could say so.
async fn put(bucket: Arc<Bucket>, key: &VideoKey, path: &Path, proof: FileProof) -> Result<(), StoreError> {
    let name = name(key);
    let proof = measured(path, proof).await?;
    let upload = Upload::new(bucket.clone(), key, name.clone(), proof);
    match tokio::fs::File::open(path).await {
        Ok(file) => upload.send(file.into_std().await).await?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match bucket.look(&name).await {
                Ok(stands) if upload.is_stored(&stands) => Ok(()),
                Ok(_) => Err(StoreError::Failed(format!("{name} is not what was meant"))),
                Err(Trouble::Missing(_)) => Err(StoreError::io(path.display(), &error)),
                Err(other) => Err(other.into()),
            };
        }
        Err(error) => return Err(StoreError::io(path.display(), &error)),
    }
    if let Err(error) = tokio::fs::remove_file(path).await {
        tracing::warn!(file = %path.display(), %error, "cannot remove what was stored");
    }
    Ok(())
}

/// Why an object is not in its file.
#[derive(Debug, thiserror::Error)]
enum Unfetched {
    #[error(transparent)]
    Bucket(#[from] Trouble),
    #[error(transparent)]
    Disk(StoreError),
}

impl From<Unfetched> for StoreError {
    fn from(error: Unfetched) -> Self {
        match error {
            Unfetched::Bucket(trouble) => trouble.into(),
            Unfetched::Disk(error) => error,
        }
    }
}

/// Writes an object into a file, a piece at a time: none takes longer than a request may, and all are of one state of it.
async fn fetch(bucket: &Bucket, name: &str, path: &Path) -> Result<(), Unfetched> {
    let disk = |error: io::Error| Unfetched::Disk(StoreError::io(path.display(), &error));
    let about = bucket.look(name).await?.meta;
    let mut file = tokio::fs::File::create(path).await.map_err(disk)?;
    let mut at = 0;
    while at < about.size {
        let piece = at..about.size.min(at + FETCHED_AT_ONCE);
        at = piece.end;
        let bytes = bucket.piece(name, piece, about.e_tag.clone()).await?;
        file.write_all(&bytes).await.map_err(disk)?;
    }
    file.flush().await.map_err(disk)
}

/// What goes into a bucket is proven by its digest there.
async fn measured(path: &Path, proof: FileProof) -> Result<FileProof, StoreError> {
    if proof.sha256.is_some() {
        return Ok(proof);
    }
    let path = path.to_owned();
    let measured = tokio::task::spawn_blocking(move || video_store::measured(&path)).await;
    let measured = measured.map_err(|_| StoreError::Failed("the work was interrupted".to_owned()))??;
    video_store::prove(FileProof { sha256: None, ..measured }, proof)?;
    Ok(measured)
}

/// Of what was sent while it was recorded: nobody knew it when that was begun.
async fn read_digest(bucket: &Bucket, name: &str, object: &ObjectMeta) -> Result<[u8; 32], Trouble> {
    let mut digest = Sha256::new();
    let mut at = 0;
    while at < object.size {
        let end = object.size.min(at + PART_BYTES);
        digest.update(bucket.read_range(name, at..end, object.e_tag.clone()).await?);
        at = end;
    }
    Ok(digest.finalize().into())
}

impl VideoStore for S3Videos {
    fn put(&self, key: &VideoKey, file: &Path, proof: FileProof) -> PortFuture<Result<(), StoreError>> {
        let (key, file) = (key.clone(), file.to_owned());
        self.run(move |bucket| async move { put(bucket, &key, &file, proof).await })
    }

    fn parts(&self) -> Option<Arc<dyn VideoParts>> {
        Some(Arc::new(S3Parts::new(self.bucket.clone())))
    }

    fn find(&self, key: &VideoKey) -> PortFuture<Result<Option<VideoSource>, StoreError>> {
        let name = name(key);
        self.run(|bucket| async move {
            match bucket.look(&name).await {
                Ok(stands) => Ok(Some(VideoSource::Elsewhere(Elsewhere {
                    size_bytes: stands.meta.size,
                    tag: stands.meta.e_tag,
                    modified: stands.meta.last_modified.into(),
                }))),
                Err(Trouble::Missing(_)) => Ok(None),
                Err(other) => Err(other),
            }
        })
    }

    fn local(&self, key: &VideoKey, folder: &Path) -> PortFuture<Result<Option<PathBuf>, StoreError>> {
        let (name, file) = (name(key), folder.join(key.as_str()));
        self.run(|bucket| async move {
            match fetch(&bucket, &name, &file).await {
                Ok(()) => Ok(Some(file)),
                Err(Unfetched::Bucket(Trouble::Missing(_))) => Ok(None),
                Err(other) => Err(other),
            }
        })
    }

    fn sha256(&self, key: &VideoKey) -> PortFuture<Result<Option<[u8; 32]>, StoreError>> {
        let name = name(key);
        self.run(|bucket| async move {
            match bucket.look(&name).await {
                Ok(stands) => match upload::digest(&stands) {
                    None => read_digest(&bucket, &name, &stands.meta).await.map(Some),
                    kept => Ok(kept),
                },
                Err(Trouble::Missing(_)) => Ok(None),
                Err(other) => Err(other),
            }
        })
    }

    fn link(&self, key: &VideoKey, disposition: String) -> PortFuture<Result<Option<String>, StoreError>> {
        let name = name(key);
        self.run(move |bucket| async move { bucket.link(&name, disposition).await.map(Some) })
    }

    fn of(&self, id: &RecordId) -> PortFuture<Result<Vec<VideoKey>, StoreError>> {
        let beginning = format!("{FOLDER}{id}.");
        self.run(|bucket| async move {
            let mut keys = Vec::new();
            let each = |object: ObjectMeta| {
                keys.extend(key_of(&object));
                ControlFlow::Continue(())
            };
            bucket.walk(&beginning, None, each).await?;
            Ok::<_, Trouble>(keys)
        })
    }

    fn list(
        &self,
        after: Option<VideoKey>,
        limit: usize,
    ) -> PortFuture<Result<Vec<StoredVideo>, StoreError>> {
        self.run(move |bucket| async move {
            let now = bucket.now().await?;
            let after = after.as_ref().map(name);
            let mut found = Vec::new();
            let each = |object: ObjectMeta| {
                let (size_bytes, age) = (object.size, bucket::age(&object, now));
                found.extend(key_of(&object).map(|key| StoredVideo { key, size_bytes, age }));
                if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            bucket.walk(FOLDER, after.as_deref(), each).await?;
            Ok::<_, Trouble>(found)
        })
    }

    fn delete(&self, key: &VideoKey) -> PortFuture<Result<(), StoreError>> {
        let name = name(key);
        self.run(|bucket| async move { bucket.delete(&name).await })
    }

    fn free_bytes(&self) -> PortFuture<Result<Option<u64>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    /// Of uploads that have a note. Parts of others that never ended go by a rule of the bucket,
    /// `AbortIncompleteMultipartUpload`: whether somebody is at work on them the bucket alone can tell.
    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        self.run(|bucket| async move { parts::sweep(&bucket).await })
    }
}
