//! Videos that go into the bucket while they are recorded: parts of an upload that is open as long as its recording, and beside it
//! what another node needs to go on.
//!
//! ```text
//!  assembly/<recordId>.<token>.<mark>.state   the note, which one node at a time replaces (If-Match)
//!                                    .first   the bytes of part 1
//!                                    .claim   which claim completes it, written once (If-None-Match)
//! ```
//! With the note stands which upload it is of, so that whoever finds one can end it. An upload becomes an object once, under a key
//! that is its own, and by one claim.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use object_store::{Attribute, Attributes, ObjectMeta, multipart::PartId};
use uuid::Uuid;

use super::{
    bucket::{self, Bucket, Tag},
    desk::Work,
    trouble::Trouble,
    upload::{self, PARTS_MAX},
    videos,
};
use crate::{
    adapters::{
        crash,
        ports::{PartsRef, PortFuture, RecordingRef, SavedNote, SentVideo, StoreError, Swept, VideoParts},
    },
    protocol::{Fence, recorder::VideoKey},
};

/// Of every part but the last: the least that S3 takes, because the first one and what came last go up while somebody waits for the
/// video. Unit: bytes.
const PART_BYTES: usize = 5 * 1024 * 1024;
const FOLDER: &str = "assembly/";
const STATE: &str = "state";
const FIRST: &str = "first";
const CLAIM: &str = "claim";
/// Metadata of a note: which upload it is of, what that will be called, and who has written it.
const UPLOAD: &str = "upload";
const KEY: &str = "key";
const WRITER: &str = "writer";
/// Longest that a note is. Unit: bytes.
const NOTE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest that a claim is. Unit: bytes.
const CLAIM_BYTES_MAX: usize = 32;
/// What nobody has saved anything of for so long nobody goes on with.
const LEFT_ALONE: Duration = Duration::from_secs(86_400);

/// The way into a bucket for what is being recorded.
#[derive(Clone)]
pub(super) struct S3Parts {
    bucket: Arc<Bucket>,
}

impl S3Parts {
    pub(super) const fn new(bucket: Arc<Bucket>) -> Self {
        Self { bucket }
    }
}

/// As it is given back.
fn told<T: Send + 'static>(work: Work<T, Trouble>) -> PortFuture<Result<T, StoreError>> {
    Box::pin(async move { work.await.map_err(StoreError::from) })
}

impl VideoParts for S3Parts {
    fn part_bytes(&self) -> usize {
        PART_BYTES
    }

    fn parts_max(&self) -> u32 {
        u32::try_from(PARTS_MAX).unwrap_or(u32::MAX)
    }

    fn begin(
        &self,
        recording: RecordingRef,
        fence: Fence,
        extension: &'static str,
    ) -> PortFuture<Result<SavedNote, StoreError>> {
        // To its end: what nobody knows of nobody could end.
        told(self.bucket.finish(move |bucket| async move {
            bucket.obeys().await.map_err(|trouble| match trouble {
                Trouble::Unsuitable(what) => Trouble::Missing(what),
                other => other,
            })?;
            let (mark, _) = Uuid::new_v4().as_u64_pair();
            let key = VideoKey::sent(&recording.id, fence, mark, extension);
            let name = videos::name(&key);
            let upload = bucket.begin_parts(&name, upload::about(&key, None)).await?;
            crash::point("bucket.opened");
            let parts = PartsRef { recording, key, upload };
            let put = bucket.put(&object(&parts, STATE), Bytes::new(), about(&parts, &writer())).await?;
            let tag = put.e_tag.ok_or_else(no_tag)?;
            Ok(SavedNote { parts, note: Bytes::new(), tag })
        }))
    }

    fn put(&self, to: &PartsRef, number: u32, bytes: Bytes) -> PortFuture<Result<String, StoreError>> {
        let (name, upload) = (videos::name(&to.key), to.upload.clone());
        told(self.bucket.run(move |bucket| async move {
            let part = bucket.put_part(&name, &upload, number, bytes).await?;
            Ok(part.content_id)
        }))
    }

    fn save_first(&self, to: &PartsRef, bytes: Bytes) -> PortFuture<Result<(), StoreError>> {
        let name = object(to, FIRST);
        told(
            self.bucket.run(move |bucket| async move {
                bucket.put(&name, bytes, Attributes::new()).await.map(drop)
            }),
        )
    }

    fn save(
        &self,
        to: &PartsRef,
        note: Bytes,
        tag: String,
    ) -> PortFuture<Result<Option<String>, StoreError>> {
        let to = to.clone();
        told(self.bucket.run(move |bucket| async move { save(&bucket, &to, note, Tag(tag)).await }))
    }

    fn load(&self, recording: &RecordingRef) -> PortFuture<Result<Option<SavedNote>, StoreError>> {
        let recording = recording.clone();
        told(self.bucket.run(move |bucket| async move { load(&bucket, recording).await }))
    }

    fn load_first(&self, of: &PartsRef) -> PortFuture<Result<Bytes, StoreError>> {
        let (name, longest) = (object(of, FIRST), self.part_bytes());
        told(self.bucket.run(move |bucket| async move { Ok(bucket.read(&name, longest).await?.bytes) }))
    }

    fn claim(&self, what: &PartsRef, fence: Fence) -> PortFuture<Result<bool, StoreError>> {
        let name = object(what, CLAIM);
        told(self.bucket.run(move |bucket| async move {
            let claim = fence.0.to_string();
            match bucket.create(&name, claim.clone().into(), Attributes::new()).await {
                Ok(()) => Ok(true),
                // An answer may have been lost, or this very claim has tried it before.
                Err(Trouble::Taken(_)) => {
                    Ok(bucket.read(&name, CLAIM_BYTES_MAX).await?.bytes == claim.as_bytes())
                }
                Err(other) => Err(other),
            }
        }))
    }

    fn complete(&self, sent: &SentVideo, size_bytes: u64) -> PortFuture<Result<(), StoreError>> {
        let sent = sent.clone();
        let done = self.bucket.run(move |bucket| async move { complete(&bucket, sent, size_bytes).await });
        Box::pin(done)
    }

    fn forget(&self, recording: &RecordingRef) -> PortFuture<Result<(), StoreError>> {
        let beginning = beginning(recording);
        told(self.bucket.run(move |bucket| async move {
            let found = listed(&bucket, &beginning).await?;
            clear(&bucket, found.into_values().flatten().collect()).await
        }))
    }
}

fn beginning(recording: &RecordingRef) -> String {
    format!("{FOLDER}{}.", recording.stem())
}

fn object(of: &PartsRef, kind: &str) -> String {
    format!("{}{}.{kind}", beginning(&of.recording), of.key.mark().unwrap_or_default())
}

/// What stands with a note.
fn about(parts: &PartsRef, writer: &str) -> Attributes {
    let told = [(UPLOAD, parts.upload.as_str()), (KEY, parts.key.as_str()), (WRITER, writer)];
    told.into_iter().map(|(name, value)| (Attribute::Metadata(name.into()), value.to_owned())).collect()
}

fn said<'a>(about: &'a Attributes, name: &'static str) -> Option<&'a str> {
    about.get(&Attribute::Metadata(name.into())).map(AsRef::as_ref)
}

fn writer() -> String {
    Uuid::new_v4().simple().to_string()
}

fn no_tag() -> Trouble {
    Trouble::Unsuitable("the server gives no ETag".to_owned())
}

async fn save(bucket: &Bucket, to: &PartsRef, note: Bytes, tag: Tag) -> Result<Option<String>, Trouble> {
    let (name, writer) = (object(to, STATE), writer());
    match bucket.replace_tagged(&name, &tag, note, about(to, &writer)).await {
        Ok(put) => put.e_tag.map(Some).ok_or_else(no_tag),
        // An answer may have been lost.
        Err(Trouble::Taken(_)) => match bucket.look(&name).await {
            Ok(stands) if said(&stands.attributes, WRITER) == Some(&writer) => {
                stands.meta.e_tag.map(Some).ok_or_else(no_tag)
            }
            Ok(_) | Err(Trouble::Missing(_)) => Ok(None),
            Err(other) => Err(other),
        },
        Err(other) => Err(other),
    }
}

/// Everything whose name begins so, by the video that it is of.
async fn listed(bucket: &Bucket, beginning: &str) -> Result<BTreeMap<String, Vec<ObjectMeta>>, Trouble> {
    let mut found: BTreeMap<String, Vec<ObjectMeta>> = BTreeMap::new();
    let each = |object: ObjectMeta| {
        let name = object.location.filename().and_then(|name| name.rsplit_once('.'));
        if let Some(stem) = name.map(|(stem, _)| stem.to_owned()) {
            found.entry(stem).or_default().push(object);
        }
        ControlFlow::Continue(())
    };
    bucket.walk(beginning, None, each).await?;
    Ok(found)
}

fn is(kind: &str, object: &ObjectMeta) -> bool {
    object
        .location
        .filename()
        .and_then(|name| name.rsplit_once('.'))
        .is_some_and(|(_, ending)| ending == kind)
}

async fn load(bucket: &Bucket, recording: RecordingRef) -> Result<Option<SavedNote>, Trouble> {
    let found = listed(bucket, &beginning(&recording)).await?;
    let free = found.into_iter().filter(|(_, objects)| !objects.iter().any(|object| is(CLAIM, object)));
    let newest = free
        .filter_map(|(stem, objects)| {
            objects.into_iter().find(|object| is(STATE, object)).map(|note| (note.last_modified, stem))
        })
        .max();
    let Some((_, stem)) = newest else { return Ok(None) };
    let object = match bucket.read(&format!("{FOLDER}{stem}.{STATE}"), NOTE_BYTES_MAX).await {
        Err(Trouble::Missing(_)) => return Ok(None),
        read => read?,
    };
    let upload = said(&object.about, UPLOAD).map(str::to_owned);
    let key = said(&object.about, KEY).and_then(VideoKey::parse);
    let Some((upload, key)) = upload.zip(key) else {
        return Err(Trouble::Unexpected(format!("{stem}: it does not say what it is of")));
    };
    let tag = object.tag()?.0;
    Ok(Some(SavedNote { parts: PartsRef { recording, key, upload }, note: object.bytes, tag }))
}

async fn complete(bucket: &Bucket, sent: SentVideo, size_bytes: u64) -> Result<(), StoreError> {
    let name = videos::name(&sent.parts.key);
    let parts = sent.tags.into_iter().map(|content_id| PartId { content_id }).collect();
    crash::point("bucket.completing");
    let done = bucket.complete_parts(&name, &sent.parts.upload, parts).await;
    crash::point("bucket.completed");
    let tag = match done {
        Ok(put) => put.e_tag,
        // The answer may have been lost, or one before it. What is there under this name is of this claim.
        Err(trouble) => match bucket.look(&name).await {
            Ok(_) => None,
            Err(_) => return Err(trouble.into()),
        },
    };
    let stands = bucket.look(&name).await?;
    let same_tag = tag.is_none() || stands.meta.e_tag.is_none() || tag == stands.meta.e_tag;
    if stands.meta.size == size_bytes && same_tag {
        return Ok(());
    }
    Err(StoreError::Failed(format!("{name} is not in the bucket as it was sent")))
}

/// Ends the uploads of these, and takes away what stands beside them.
async fn clear(bucket: &Bucket, objects: Vec<ObjectMeta>) -> Result<(), Trouble> {
    for note in objects.iter().filter(|object| is(STATE, object)) {
        let Some(name) = note.location.filename() else { continue };
        let stands = match bucket.look(&format!("{FOLDER}{name}")).await {
            Err(Trouble::Missing(_)) => continue,
            stands => stands?,
        };
        let key = said(&stands.attributes, KEY).and_then(VideoKey::parse);
        let Some((key, upload)) = key.zip(said(&stands.attributes, UPLOAD)) else { continue };
        match bucket.abort_parts(&videos::name(&key), upload).await {
            // Its note leads to it, and is looked for again.
            Err(trouble) if trouble.may_pass() => return Err(trouble),
            // It is over, most often because it was completed.
            Ok(()) | Err(_) => {}
        }
    }
    match objects.is_empty() {
        true => Ok(()),
        false => bucket.delete_all(objects.into_iter().map(|object| object.location).collect()).await,
    }
}

/// Ends what nobody goes on with, by the server's clock.
pub(super) async fn sweep(bucket: &Bucket) -> Result<Swept, Trouble> {
    let found = listed(bucket, FOLDER).await?;
    if found.is_empty() {
        return Ok(Swept::default());
    }
    let now: SystemTime = bucket.now().await?;
    let mut swept = Swept::default();
    for objects in found.into_values() {
        let is_new = |object: &ObjectMeta| bucket::age(object, now) < LEFT_ALONE;
        // The first part is as old as its upload, and the note as its last part.
        let notes: BTreeSet<bool> = objects.iter().filter(|object| is(STATE, object)).map(is_new).collect();
        let goes_on = if notes.is_empty() { objects.iter().any(is_new) } else { notes.contains(&true) };
        if !goes_on {
            let bytes = objects.iter().map(|object| object.size).sum();
            swept += Swept { count: objects.len() as u64, bytes };
            clear(bucket, objects).await?;
        }
    }
    Ok(swept)
}
