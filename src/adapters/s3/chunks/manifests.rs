//! How a recording begins, is known, and ends: one object for each, `manifests/<recordId>.json`, changed only from one known
//! state to the next.
//!
//! ```text
//!  nothing ──► manifest ──► manifest … ──► "deleting" ──► (its chunks go) ──► empty ──► nothing, a day later
//!                                                                               └──────► manifest: the name is another's
//! ```
//! Taking a recording away begins with its manifest, so that a half-done delete is never taken for a recording that lost its
//! chunks. Chunks are in `chunks/<recordId>/`; those of a recording whose name was another's a short while ago are in a folder of
//! their own below it, so that no delete that comes late, from whichever of several nodes, meets a chunk of the next one.

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;
use object_store::{Attribute, Attributes, ObjectMeta, path::Path};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        super::chunk_store::names::whose,
        bucket::{Bucket, DELETED_AT_ONCE, Tag},
        trouble::Trouble,
    },
    no_recording,
};
use crate::{
    adapters::{chance::chance, crash},
    domain::recording::Manifest,
    protocol::{RecordId, TokenDigest},
};

const FOLDER: &str = "manifests/";
/// In the place of a manifest while the recording's chunks are being taken away, with the name of their own folder, if they have
/// one.
const DELETING: &str = "deleting ";
/// Longer than that, and shorter than any manifest: so a listing tells them apart. Unit: bytes.
const DELETING_MAX: u64 = 64;
/// Longer than any manifest is. Unit: bytes.
const LONGEST: usize = 64 * 1024 * 1024;
/// How often a change begins anew because another came between.
const TRIES: u32 = 64;

/// The manifests in a bucket.
pub(super) struct Manifests<'a>(pub(super) &'a Bucket);

/// What is known of a name.
pub(super) enum Known {
    /// Nothing.
    Nothing,
    /// A recording.
    Manifest(Box<Kept>, Tag),
    /// One that is being taken away.
    Deleting(Home, Tag),
    /// One that was taken away.
    Gone(Tag),
}

/// A recording as its object has it.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(flatten)]
    pub(super) manifest: Manifest,
    /// The name of its chunks' own folder, where they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
}

impl Kept {
    pub(super) fn home(&self) -> Home {
        Home::new(&self.manifest.record_id, self.folder.as_deref())
    }
}

/// Where the chunks of one recording are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home(String);

impl Home {
    fn new(id: &RecordId, folder: Option<&str>) -> Self {
        let all = folder_of_all(id);
        Self(folder.map_or(all.clone(), |folder| format!("{all}{folder}/")))
    }

    /// The object of this name in it.
    pub(super) fn object(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }

    /// Everything that is in it, and not in folders below it, until `each` has enough.
    pub(super) async fn walk(
        &self,
        bucket: &Bucket,
        mut each: impl FnMut(ObjectMeta) -> ControlFlow<()>,
    ) -> Result<(), Trouble> {
        let mine = bucket.key(&self.0);
        let each = |object: ObjectMeta| {
            let direct = object.location.prefix_match(&mine).is_some_and(|rest| rest.count() == 1);
            if direct { each(object) } else { ControlFlow::Continue(()) }
        };
        bucket.walk(&self.0, None, each).await
    }
}

/// Where everything of a name is but the manifest.
pub(super) fn folder_of_all(id: &RecordId) -> String {
    format!("chunks/{id}/")
}

/// The object.
pub(super) fn name(id: &RecordId) -> String {
    format!("{FOLDER}{id}.json")
}

/// The recording that an object tells of.
pub(super) fn record_id(object: &ObjectMeta) -> Option<RecordId> {
    RecordId::parse(object.location.filename()?.strip_suffix(".json")?).ok()
}

/// Whether an object of this length is a manifest, and not what stands in its place after it.
pub(super) const fn is_manifest(object: &ObjectMeta) -> bool {
    object.size > DELETING_MAX
}

impl Manifests<'_> {
    pub(super) async fn look(&self, id: &RecordId) -> Result<Known, Trouble> {
        let object = match self.0.read(&name(id), LONGEST).await {
            Err(Trouble::Missing(_)) => return Ok(Known::Nothing),
            object => object?,
        };
        let tag = object.tag()?;
        if object.bytes.is_empty() {
            return Ok(Known::Gone(tag));
        }
        let text = std::str::from_utf8(&object.bytes).unwrap_or_default();
        if let Some(folder) = text.strip_prefix(DELETING) {
            let folder = Some(folder).filter(|folder| !folder.is_empty());
            return Ok(Known::Deleting(Home::new(id, folder), tag));
        }
        let kept = serde_json::from_slice(&object.bytes);
        let kept = kept.map_err(|error| Trouble::Unexpected(format!("{}: {error}", name(id))))?;
        Ok(Known::Manifest(Box::new(kept), tag))
    }

    pub(super) async fn read(&self, id: &RecordId) -> Result<Option<Kept>, Trouble> {
        match self.look(id).await? {
            Known::Manifest(kept, _) => Ok(Some(*kept)),
            Known::Nothing | Known::Deleting(..) | Known::Gone(_) => Ok(None),
        }
    }

    /// Every recording there is.
    pub(super) async fn ids(&self) -> Result<Vec<RecordId>, Trouble> {
        let mut ids = Vec::new();
        let each = |object| {
            ids.extend(record_id(&object).filter(|_| is_manifest(&object)));
            ControlFlow::Continue(())
        };
        self.walk(each).await?;
        Ok(ids)
    }

    pub(super) async fn walk(&self, each: impl FnMut(ObjectMeta) -> ControlFlow<()>) -> Result<(), Trouble> {
        self.0.walk(FOLDER, None, each).await
    }

    pub(super) async fn begin(&self, manifest: &Manifest) -> Result<bool, Trouble> {
        let id = &manifest.record_id;
        for attempt in 0..TRIES {
            pause(attempt).await;
            let written = match self.look(id).await? {
                Known::Nothing if self.is_empty(id).await? => {
                    self.0.create(&name(id), json(manifest, None)?, about_json()).await
                }
                Known::Nothing => self.0.create(&name(id), json_apart(manifest)?, about_json()).await,
                Known::Gone(tag) => {
                    self.0.replace(&name(id), &tag, json_apart(manifest)?, about_json()).await
                }
                // An answer may have been lost: then it is this very one.
                Known::Manifest(kept, _) => return Ok(kept.manifest == *manifest),
                Known::Deleting(home, tag) => {
                    self.clear(id, &home, &tag).await?;
                    continue;
                }
            };
            match written {
                Ok(()) => {
                    crash::point("bucket.begun");
                    return Ok(true);
                }
                Err(Trouble::Taken(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Err(came_between())
    }

    /// Whether nothing was left by whoever had the name before.
    async fn is_empty(&self, id: &RecordId) -> Result<bool, Trouble> {
        let mut empty = true;
        let each = |_| {
            empty = false;
            ControlFlow::Break(())
        };
        self.0.walk(&folder_of_all(id), None, each).await?;
        Ok(empty)
    }

    pub(super) async fn save(&self, manifest: &Manifest) -> Result<(), Trouble> {
        let id = &manifest.record_id;
        for attempt in 0..TRIES {
            pause(attempt).await;
            let Known::Manifest(kept, tag) = self.look(id).await? else { return Err(no_recording(id)) };
            if !kept.manifest.token.matches(&manifest.token) {
                return Err(no_recording(id));
            }
            if kept.manifest.revision > manifest.revision || kept.manifest == *manifest {
                return Ok(());
            }
            let json = json(manifest, kept.folder)?;
            crash::point("bucket.saving");
            match self.0.replace(&name(id), &tag, json, about_json()).await {
                Err(Trouble::Taken(_)) => {}
                done => {
                    crash::point("bucket.saved");
                    return done;
                }
            }
        }
        Err(came_between())
    }

    /// Makes it no recording; where what is to be cleared away is, and under which tag.
    pub(super) async fn begin_delete(
        &self,
        id: &RecordId,
        which: Option<TokenDigest>,
    ) -> Result<Option<(Home, Tag)>, Trouble> {
        for attempt in 0..TRIES {
            pause(attempt).await;
            let (kept, tag) = match self.look(id).await? {
                Known::Nothing | Known::Gone(_) => return Ok(None),
                // By this call, or by somebody who has died or is at it: together they are done no later.
                Known::Deleting(home, tag) => return Ok(Some((home, tag))),
                Known::Manifest(kept, tag) => (kept, tag),
            };
            if which.is_some_and(|which| !kept.manifest.token.matches(&which)) {
                return Ok(None);
            }
            let word = format!("{DELETING}{}", kept.folder.unwrap_or_default());
            match self.0.replace(&name(id), &tag, word.into(), Attributes::new()).await {
                Ok(()) | Err(Trouble::Taken(_)) => crash::point("bucket.deleting"),
                Err(other) => return Err(other),
            }
        }
        Err(came_between())
    }

    /// Takes away the chunks of a recording that is being taken away, and then lets go of its name. What was taken away.
    pub(super) async fn clear(
        &self,
        id: &RecordId,
        home: &Home,
        tag: &Tag,
    ) -> Result<Vec<ObjectMeta>, Trouble> {
        let mut cleared = Vec::new();
        loop {
            let mut next = Vec::new();
            let each = |object| {
                next.push(object);
                if next.len() < DELETED_AT_ONCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            home.walk(self.0, each).await?;
            if next.is_empty() {
                crash::point("bucket.cleared");
                return match self.0.replace(&name(id), tag, Bytes::new(), Attributes::new()).await {
                    Ok(()) | Err(Trouble::Taken(_)) => Ok(cleared),
                    Err(other) => Err(other),
                };
            }
            let keys: Vec<Path> = next.iter().map(|object| object.location.clone()).collect();
            self.0.delete_all(keys).await?;
            cleared.extend(next);
        }
    }
}

/// Of a recording whose chunks are in a folder of their own.
fn json_apart(manifest: &Manifest) -> Result<Bytes, Trouble> {
    json(manifest, Some(whose(&manifest.token)))
}

fn json(manifest: &Manifest, folder: Option<String>) -> Result<Bytes, Trouble> {
    let kept = Kept { manifest: manifest.clone(), folder };
    let json = serde_json::to_vec_pretty(&kept).map_err(|error| Trouble::Unexpected(error.to_string()))?;
    Ok(json.into())
}

fn about_json() -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, "application/json")])
}

fn came_between() -> Trouble {
    Trouble::Busy("others' changes of the same recording came between too often".to_owned())
}

/// Nothing before the first try; then, by chance, a little more before each.
async fn pause(attempt: u32) {
    if attempt > 0 {
        let longest = Duration::from_millis(10) * attempt.min(20);
        tokio::time::sleep(longest.mul_f64(chance())).await;
    }
}
