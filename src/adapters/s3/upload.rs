//! A file on its way into the bucket: in parts, a few at one time, each with its checksum. It is read once, and becomes an
//! object only if what was read is what was meant. Whatever ends it before that, its parts are taken away.

use std::{
    fs::File,
    io::{self, Read as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use object_store::{Attribute, AttributeValue, Attributes, GetResult, MultipartUpload, PutPayload};
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Handle, task::spawn_blocking};

use super::{bucket::Bucket, trouble::Trouble};
use crate::{
    adapters::{
        crash,
        ports::{FileProof, StoreError},
        video_store::{media_type, prove},
    },
    protocol::{
        recorder::VideoKey,
        tokens::{hex, unhex},
    },
};

/// Metadata: SHA-256 of the whole, hexadecimal.
const DIGEST: &str = "sha256";
/// Of all parts but the last, where a file is not so long that they would be too many. Unit: bytes.
pub(super) const PART_BYTES: u64 = 8 * 1024 * 1024;
/// More no server takes.
pub(super) const PARTS_MAX: u64 = 10_000;
/// Parts on their way at one time; one more is being read.
const PARTS_AT_ONCE: usize = 3;

/// The digest that an object was stored with.
pub(super) fn digest(stands: &GetResult) -> Option<[u8; 32]> {
    unhex(stands.attributes.get(&Attribute::Metadata(DIGEST.into()))?.as_ref())
}

/// What stands with a video. What is sent while it is recorded has no digest: nobody knows it when it is begun.
pub(super) fn about(key: &VideoKey, digest: Option<String>) -> Attributes {
    let stem = key.record_id().map_or_else(|| "recording".to_owned(), |id| id.to_string());
    let kind = if key.extension() == "jpg" { "inline" } else { "attachment" };
    let disposition = format!("{kind}; filename=\"{stem}.{}\"", key.extension());
    let digest = digest.map(|digest| (Attribute::Metadata(DIGEST.into()), digest));
    let told =
        [(Attribute::ContentType, media_type(key).to_owned()), (Attribute::ContentDisposition, disposition)];
    told.into_iter().chain(digest).collect()
}

/// One file's way.
pub(super) struct Upload {
    bucket: Arc<Bucket>,
    name: String,
    proof: FileProof,
    /// As it goes with the object; without one nothing counts as stored.
    digest: Option<String>,
    about: Attributes,
}

impl Upload {
    pub(super) fn new(bucket: Arc<Bucket>, key: &VideoKey, name: String, proof: FileProof) -> Self {
        let digest = proof.sha256.map(|digest| hex(&digest));
        let about = about(key, digest.clone());
        Self { bucket, name, proof, digest, about }
    }

    /// Sends it, and sees that it is there as it was meant.
    pub(super) async fn send(&self, file: File) -> Result<(), StoreError> {
        let part_bytes = PART_BYTES.max(self.proof.size_bytes.div_ceil(PARTS_MAX));
        let parts = Parts::of(file, part_bytes);
        let tag = if self.proof.size_bytes <= part_bytes {
            let whole = parts.next().await?;
            // Nothing, if it is as long as it should be.
            parts.next().await?;
            prove(parts.read(), self.proof)?;
            crash::point("bucket.putting");
            self.bucket.put(&self.name, whole, self.about.clone()).await?.e_tag
        } else {
            self.send_parts(parts).await?
        };
        crash::point("bucket.put");
        let stands = self.bucket.look(&self.name).await?;
        let same_tag = tag.is_none() || stands.meta.e_tag.is_none() || tag == stands.meta.e_tag;
        if self.is_stored(&stands) && same_tag {
            return Ok(());
        }
        Err(StoreError::Failed(format!("{} is not in the bucket as it was sent", self.name)))
    }

    /// Whether what stands there is what was meant, by its length and the digest that went with it.
    pub(super) fn is_stored(&self, stands: &GetResult) -> bool {
        let digest = stands.attributes.get(&Attribute::Metadata(DIGEST.into()));
        let same = self.digest.is_some() && digest.map(AttributeValue::as_ref) == self.digest.as_deref();
        same && stands.meta.size == self.proof.size_bytes
    }

    async fn send_parts(&self, parts: Parts) -> Result<Option<String>, StoreError> {
        let mut begun = self.begin().await?;
        crash::point("bucket.part");
        match self.send_all(&mut begun, &parts).await {
            Ok(tag) => {
                begun.0 = None;
                Ok(tag)
            }
            Err(error) => {
                begun.abort().await;
                Err(error)
            }
        }
    }

    /// To its end, whether or not anybody waits for it: what nobody knows of nobody could abort.
    async fn begin(&self) -> Result<Begun, StoreError> {
        let (bucket, name, about) = (self.bucket.clone(), self.name.clone(), self.about.clone());
        let begun =
            tokio::spawn(async move { bucket.begin(&name, about).await.map(|upload| Begun(Some(upload))) });
        let stopped = |_| Err(Trouble::Away("the node stops".to_owned()));
        Ok(begun.await.unwrap_or_else(stopped)?)
    }

    /// Sends every part, and then makes them an object.
    async fn send_all(&self, begun: &mut Begun, parts: &Parts) -> Result<Option<String>, StoreError> {
        let Some(upload) = &mut begun.0 else { return Ok(None) };
        let mut under_way = FuturesUnordered::new();
        loop {
            let part = parts.next().await?;
            if part.is_empty() {
                break;
            }
            if under_way.len() == PARTS_AT_ONCE {
                under_way.next().await.transpose()?;
            }
            under_way.push(self.bucket.ask("part", upload.put_part(PutPayload::from(part))));
        }
        while let Some(sent) = under_way.next().await {
            sent?;
        }
        prove(parts.read(), self.proof)?;
        crash::point("bucket.sent");
        match self.bucket.ask("complete", upload.complete()).await {
            Ok(done) => Ok(done.e_tag),
            // The answer may have been lost: then there is no such upload any more, but the object.
            Err(Trouble::Missing(_)) if self.is_stored(&self.bucket.look(&self.name).await?) => Ok(None),
            Err(trouble) => Err(trouble.into()),
        }
    }
}

/// An upload that is not over; its parts are taken away when it is dropped.
struct Begun(Option<Box<dyn MultipartUpload>>);

impl Begun {
    async fn abort(&mut self) {
        if let Some(upload) = self.0.take() {
            abort(upload).await;
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(abort(upload));
        }
    }
}

/// Tells the server that its parts are of no use. Those it was not told of go by a rule of the bucket.
async fn abort(mut upload: Box<dyn MultipartUpload>) {
    if let Err(error) = upload.abort().await {
        tracing::warn!(%error, "the parts of an upload that failed stay until the bucket's rule takes them away");
    }
}

/// A file, piece by piece, and what was read of it.
struct Parts {
    part_bytes: u64,
    reader: Arc<Mutex<Reader>>,
}

struct Reader {
    file: File,
    digest: Sha256,
    size_bytes: u64,
}

impl Parts {
    fn of(file: File, part_bytes: u64) -> Self {
        let reader = Reader { file, digest: Sha256::new(), size_bytes: 0 };
        Self { part_bytes, reader: Arc::new(Mutex::new(reader)) }
    }

    /// The next piece; empty: there is no more.
    async fn next(&self) -> Result<Bytes, StoreError> {
        let (part_bytes, reader) = (self.part_bytes, self.reader.clone());
        let read = spawn_blocking(move || lock(&reader).next(part_bytes)).await;
        let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
        read.map_err(|error| StoreError::io("a finished file", &error))
    }

    /// What was read so far.
    fn read(&self) -> FileProof {
        let reader = lock(&self.reader);
        FileProof { size_bytes: reader.size_bytes, sha256: Some(reader.digest.clone().finalize().into()) }
    }
}

impl Reader {
    fn next(&mut self, part_bytes: u64) -> io::Result<Bytes> {
        let mut part = Vec::with_capacity(usize::try_from(part_bytes).unwrap_or(0));
        (&mut self.file).take(part_bytes).read_to_end(&mut part)?;
        self.digest.update(&part);
        self.size_bytes += part.len() as u64;
        Ok(part.into())
    }
}

fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    // A reader that panicked gave nothing, and what it has is not what was meant.
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}
