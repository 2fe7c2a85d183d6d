//! How a recording begins, is known, and ends: one object for each name, `manifests/<recordId>.json`, changed only from one known
//! state to the next, and never taken away.
//!
//! ```text
//!  nothing ──► manifest ──► manifest … ──► "deleting" ──► (its chunks go) ──► empty ──► manifest: the name is another's
//!  (chunks without one) ─────────────────────► "deleting *" ──► (all of them go) ──┘
//! ```
//! A `DELETE` has no condition, and may arrive when a new recording has the name: so the empty object stays, for every name that was
//! ever used. Nobody lists these objects. Which recordings there are say the folders of their chunks, `chunks/<recordId>/`, where each
//! recording has an empty object of its own, `begun_<whose>`, before its manifest and as long as its chunks.
//!
//! Taking a recording away begins with its manifest, so that a half-done delete is never taken for a recording that lost its
//! chunks. Chunks of a recording whose name was another's before are in a folder of their own below the name's, so that no delete that
//! comes late, from whichever of several nodes, meets a chunk of the next one.

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{Attribute, Attributes, ObjectMeta};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        super::chunk_store::names::whose,
        bucket::{Bucket, DELETED_AT_ONCE, Tag},
        trouble::Trouble,
    },
    home::{self, Home, is_chunk},
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
/// An object that shows that there is a recording, also before its first chunk; then comes whose it is.
const BEGUN: &str = "begun_";
/// Longer than that, and shorter than any manifest: so their lengths tell them apart. Unit: bytes.
const DELETING_MAX: u64 = 64;
/// Longer than any manifest is. Unit: bytes.
const LONGEST: usize = 64 * 1024 * 1024;
/// Objects that are looked at at one time.
pub(super) const LOOKS_AT_ONCE: usize = 16;
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

/// What there is below a name that has no manifest.
struct Below {
    is_empty: bool,
    /// Where the chunks are of a recording that has lost it.
    lost: Option<Home>,
}

/// A recording's chunks, as far as it is known which they are.
pub(super) struct Found {
    pub(super) home: Home,
    /// `None`: the manifest is lost, which says it.
    pub(super) whose: Option<String>,
}

/// The object.
pub(super) fn name(id: &RecordId) -> String {
    format!("{FOLDER}{id}.json")
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

    /// The length and age of what stands in the place of a manifest.
    pub(super) async fn meta(&self, id: &RecordId) -> Result<Option<ObjectMeta>, Trouble> {
        match self.0.look(&name(id)).await {
            Err(Trouble::Missing(_)) => Ok(None),
            found => Ok(Some(found?.meta)),
        }
    }

    /// Where a recording's chunks are; one that has lost its manifest is known by them alone.
    pub(super) async fn find(&self, id: &RecordId) -> Result<Option<Found>, Trouble> {
        match self.look(id).await? {
            Known::Manifest(kept, _) => {
                Ok(Some(Found { home: kept.home(), whose: Some(whose(&kept.manifest.token)) }))
            }
            Known::Nothing => {
                let home = self.below(id).await?.lost;
                Ok(home.map(|home| Found { home, whose: None }))
            }
            Known::Deleting(..) | Known::Gone(_) => Ok(None),
        }
    }

    /// What there is below a name that has no manifest.
    async fn below(&self, id: &RecordId) -> Result<Below, Trouble> {
        let all = Home::all(id);
        let mut below = Below { is_empty: true, lost: None };
        let each = |object: ObjectMeta| {
            below.is_empty = false;
            if !is_chunk(&object) {
                return ControlFlow::Continue(());
            }
            below.lost = Some(Home::of(self.0, id, &object));
            ControlFlow::Break(())
        };
        all.walk(self.0, each).await?;
        Ok(below)
    }

    /// Every name below which there is anything.
    pub(super) async fn names(&self) -> Result<Vec<RecordId>, Trouble> {
        let folders = self.0.folders(home::CHUNKS).await?;
        Ok(folders.iter().filter_map(|folder| RecordId::parse(folder.filename()?).ok()).collect())
    }

    /// Every recording there is, also one that has lost its manifest. What is left of one that was taken away is none.
    pub(super) async fn ids(&self) -> Result<Vec<RecordId>, Trouble> {
        let ids = self.names().await?.into_iter().map(|id| async move {
            let is_there = match self.meta(&id).await? {
                Some(object) => is_manifest(&object),
                None => self.below(&id).await?.lost.is_some(),
            };
            Ok::<_, Trouble>(is_there.then_some(id))
        });
        let ids = stream::iter(ids).buffered(LOOKS_AT_ONCE).try_filter_map(|id| async move { Ok(id) });
        ids.try_collect().await
    }

    pub(super) async fn begin(&self, manifest: &Manifest) -> Result<bool, Trouble> {
        let id = &manifest.record_id;
        let mut shown = Vec::new();
        for attempt in 0..TRIES {
            pause(attempt).await;
            let (folder, tag) = match self.look(id).await? {
                Known::Nothing => match self.below(id).await? {
                    // A recording that has lost its manifest has its name all the same.
                    Below { lost: Some(_), .. } => return Ok(false),
                    Below { is_empty: true, .. } => (None, None),
                    _ => (Some(whose(&manifest.token)), None),
                },
                Known::Gone(tag) => (Some(whose(&manifest.token)), Some(tag)),
                Known::Manifest(kept, _) => {
                    if !kept.manifest.token.matches(&manifest.token) {
                        self.unshow(&shown).await;
                    }
                    // An answer may have been lost: then it is this very one.
                    return Ok(kept.manifest == *manifest);
                }
                Known::Deleting(home, tag) => {
                    self.clear(id, &home, &tag).await?;
                    continue;
                }
            };
            shown.push(self.show(manifest, folder.as_deref()).await?);
            let json = json(manifest, folder)?;
            let written = match tag {
                None => self.0.create(&name(id), json, about_json()).await,
                Some(tag) => self.0.replace(&name(id), &tag, json, about_json()).await,
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

    /// Shows that there is a recording, before there is one (C-6). The object that shows it.
    async fn show(&self, manifest: &Manifest, folder: Option<&str>) -> Result<String, Trouble> {
        let shown = format!("{BEGUN}{}", whose(&manifest.token));
        let shown = Home::new(&manifest.record_id, folder).object(&shown);
        self.0.put(&shown, Bytes::new(), Attributes::new()).await?;
        Ok(shown)
    }

    /// Another has the name. What stays is swept.
    async fn unshow(&self, shown: &[String]) {
        for shown in shown {
            if let Err(error) = self.0.delete(shown).await {
                tracing::debug!(%error, "what shows a recording stays, and there is none");
            }
        }
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
                Known::Nothing if which.is_none() && !self.below(id).await?.is_empty => {
                    return self.begin_delete_lost(id).await;
                }
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

    /// The same of what there is below a name without a manifest, unless a recording takes the name at the same moment.
    async fn begin_delete_lost(&self, id: &RecordId) -> Result<Option<(Home, Tag)>, Trouble> {
        let word = format!("{DELETING}{}", home::EVERYTHING);
        match self.0.create(&name(id), word.into(), Attributes::new()).await {
            Ok(()) | Err(Trouble::Taken(_)) => {}
            Err(other) => return Err(other),
        }
        Ok(match self.look(id).await? {
            Known::Deleting(home, tag) => Some((home, tag)),
            Known::Nothing | Known::Manifest(..) | Known::Gone(_) => None,
        })
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
            let next = self.some_of(home, |_| true).await?;
            if next.is_empty() {
                crash::point("bucket.cleared");
                return match self.0.replace(&name(id), tag, Bytes::new(), Attributes::new()).await {
                    Ok(()) | Err(Trouble::Taken(_)) => Ok(cleared),
                    Err(other) => Err(other),
                };
            }
            // The next recording of this name is below it too. What was seen before it could begin is not its own.
            if home.with_all_below && !matches!(self.look(id).await?, Known::Deleting(_, now) if now == *tag)
            {
                return Ok(cleared);
            }
            self.take_away(&next).await?;
            cleared.extend(next);
        }
    }

    /// Takes away what is old below a name that nobody has, because it came too late; but no chunk that may be the only copy.
    /// What was taken away.
    pub(super) async fn clear_late(
        &self,
        id: &RecordId,
        is_old: impl Fn(&ObjectMeta) -> bool,
    ) -> Result<Vec<ObjectMeta>, Trouble> {
        let left = self.some_of(&Home::all(id), is_old).await?;
        // After it was listed: a recording that begins now has nothing of it.
        let goes = match self.look(id).await? {
            Known::Gone(_) => true,
            Known::Nothing => self.below(id).await?.lost.is_none(),
            Known::Manifest(..) | Known::Deleting(..) => false,
        };
        if !goes || left.is_empty() {
            return Ok(Vec::new());
        }
        self.take_away(&left).await?;
        Ok(left)
    }

    /// As many of these as one request takes away.
    async fn some_of(
        &self,
        home: &Home,
        which: impl Fn(&ObjectMeta) -> bool,
    ) -> Result<Vec<ObjectMeta>, Trouble> {
        let mut some = Vec::new();
        let each = |object| {
            if which(&object) {
                some.push(object);
            }
            if some.len() < DELETED_AT_ONCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        home.walk(self.0, each).await?;
        Ok(some)
    }

    async fn take_away(&self, objects: &[ObjectMeta]) -> Result<(), Trouble> {
        self.0.delete_all(objects.iter().map(|object| object.location.clone()).collect()).await
    }
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
