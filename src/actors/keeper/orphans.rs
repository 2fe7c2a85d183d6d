//! Chunks and videos that belong to nothing any more.
//!
//! | chunks, of a recording that | |
//! |---|---|
//! | has an account | stay; of one with gaps, or failed, see [`super::retention`] |
//! | has a manifest whose time is not over | stay, and get their account back (L-4) |
//! | has one whose time is over, and whose row says that all of it is in the video | go after a day, where the operator keeps none |
//! | the same with gaps | go when `PARTIAL_RETENTION` is over |
//! | has no row, or a row and no manifest | stay |
//! | is none: no account, no manifest and no row | go after a day |
//!
//! | a video or poster, of a recording whose row | |
//! |---|---|
//! | names it | stays |
//! | names a later one of the same recording | goes after a day |
//! | is not there, or is another recording's of this name | stays, and is told of |
//!
//! So a video goes because of what the catalog says, and never because it says nothing: it may be another's, new, or put back
//! from a backup, and then what it does not know is the only copy of somebody's recording. Chunks that are somebody's have a
//! manifest, which is no part of the catalog.

use std::time::Duration;

use tracing::{error, warn};

use super::sweep::{PAGE, PAGES, PutOff, Reason, Sweep, passed_by};
use crate::{
    adapters::ports::{CatalogRow, StoredChunk, StoredVideo},
    domain::recording::{Manifest, VideoFacts},
    protocol::{RecordId, recorder::RecordingState},
};

/// What belongs to nothing is left alone for so long: whoever is at it may be slow.
const LEFT_ALONE: Duration = Duration::from_secs(86_400);

/// What a video is to the catalog.
enum Known {
    Named,
    /// Its recording is known, and has another.
    Outdated,
    /// Nothing is known of its recording.
    Unknown,
    /// Somebody is at its recording.
    Unsettled,
}

/// What was seen of the videos, once through all of them.
#[derive(Debug, Default)]
pub(super) struct Round {
    named: u64,
    unknown: u64,
    unknown_bytes: u64,
}

impl std::ops::AddAssign for Round {
    fn add_assign(&mut self, more: Self) {
        self.named += more.named;
        self.unknown += more.unknown;
        self.unknown_bytes += more.unknown_bytes;
    }
}

impl Sweep {
    /// Looks at recordings that have chunks.
    pub(super) async fn chunks(&mut self, now_ms: u64) -> Result<(), PutOff> {
        let mut all = self.ports.chunks.recordings().await?;
        all.sort();
        for seen in [&mut self.without_account, &mut self.unknown_chunks] {
            seen.retain(|id| all.binary_search(id).is_ok());
        }
        let after = self.chunks_after.take();
        let rest = all.into_iter().filter(|id| after.as_ref().is_none_or(|after| id > after));
        let mut left = (PAGE * PAGES) as usize;
        for id in rest {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            let looked = self.look_at_chunks(&id, now_ms).await;
            passed_by(&id, looked)?;
            self.chunks_after = Some(id);
        }
        self.chunks_after = None;
        Ok(())
    }

    async fn look_at_chunks(&mut self, id: &RecordId, now_ms: u64) -> Result<(), PutOff> {
        if let Some(view) = self.ports.ledger.show(id).await? {
            self.without_account.remove(id);
            return self.let_go(&view, now_ms).await;
        }
        if self.without_account.insert(id.clone()) {
            return Ok(());
        }
        let manifest = self.ports.chunks.manifest(id).await?;
        if manifest.as_ref().is_some_and(|manifest| manifest.keep_until_ms.is_none_or(|until| until > now_ms))
        {
            self.accounts.put_back_lost(id).await?;
            return Ok(());
        }
        if manifest
            .as_ref()
            .is_some_and(|manifest| manifest.is_closed() && manifest.state != RecordingState::Ready)
        {
            // Whoever closed it has died before anybody was told what has become of it.
            self.accounts.reopen(id).await?;
            return Ok(());
        }
        let row = self.ports.catalog.get(id).await?;
        let reason = match (&manifest, &row) {
            (None, None) => Some(Reason::OrphanedChunks),
            (Some(manifest), Some(row)) if self.has_its_video(row).await? => {
                self.why_chunks_go(manifest, row, now_ms)
            }
            (Some(_), Some(_)) => None,
            (Some(_), None) | (None, Some(_)) => {
                if self.unknown_chunks.insert(id.clone()) {
                    warn!(recording = %id, "of these chunks there is not both a manifest and a row; they stay");
                }
                None
            }
        };
        let Some(reason) = reason else { return Ok(()) };
        let is_young =
            async || Ok::<_, PutOff>(self.ports.chunks.age(id).await?.is_none_or(|age| age < LEFT_ALONE));
        if matches!(reason, Reason::OrphanedChunks) && is_young().await? {
            return Ok(());
        }
        let stored = self.ports.chunks.list(id).await?;
        if manifest.as_ref().is_some_and(|manifest| manifest.has_less_than(StoredChunk::count(&stored))) {
            self.accounts.reopen(id).await?;
            return Ok(());
        }
        let bytes = stored.iter().map(|chunk| u64::from(chunk.mark.length)).sum();
        self.ports.chunks.delete(id, manifest.map(|manifest| manifest.token)).await?;
        self.without_account.remove(id);
        self.gone(id, reason, "chunks", bytes);
        Ok(())
    }

    /// Why chunks without an account go; `None`: they stay.
    fn why_chunks_go(&self, manifest: &Manifest, row: &CatalogRow, now_ms: u64) -> Option<Reason> {
        // A row that was put back from a backup may be that of an earlier version.
        let is_its_own = row.started_ms == manifest.started_ms
            && row.version >= manifest.version
            && row.state == RecordingState::Ready;
        if row.video.as_ref().filter(|_| is_its_own)?.complete {
            return self.config.cleanup_chunks.then_some(Reason::OrphanedChunks);
        }
        self.is_over(manifest, now_ms).then_some(Reason::Partial)
    }

    /// Whether the video that a row names is there: a video store may have been put back from a backup too.
    async fn has_its_video(&self, row: &CatalogRow) -> Result<bool, PutOff> {
        let Some(facts) = &row.video else { return Ok(false) };
        Ok(self.ports.videos.find(&facts.key).await?.is_some())
    }

    /// Looks at videos that are there.
    pub(super) async fn videos(&mut self) -> Result<(), PutOff> {
        for _ in 0..PAGES {
            let page = self.ports.videos.list(self.videos_after.clone(), PAGE as usize).await?;
            let next = page.last().map(|video| video.key.clone()).filter(|_| page.len() == PAGE as usize);
            let seen = self.look_at_videos(page).await?;
            self.round += seen;
            self.videos_after = next;
            if self.videos_after.is_none() {
                self.end_round();
                break;
            }
        }
        Ok(())
    }

    async fn look_at_videos(&self, page: Vec<StoredVideo>) -> Result<Round, PutOff> {
        let mut seen = Round::default();
        for video in page.into_iter().filter(|video| video.age >= LEFT_ALONE) {
            let Some(id) = video.key.record_id() else { continue };
            match self.known(&id, &video).await? {
                Known::Named => seen.named += 1,
                Known::Unsettled => {}
                Known::Unknown => {
                    seen.unknown += 1;
                    seen.unknown_bytes += video.size_bytes;
                }
                Known::Outdated => {
                    let deleted = self.ports.videos.delete(&video.key).await.map_err(Into::into);
                    if deleted.is_ok() {
                        self.gone(&id, Reason::OrphanedVideo, video.key.as_str(), video.size_bytes);
                    }
                    passed_by(&id, deleted)?;
                }
            }
        }
        Ok(seen)
    }

    /// Says once what the catalog does not know, and again when that has changed.
    fn end_round(&mut self) {
        let round = std::mem::take(&mut self.round);
        let Round { named, unknown: videos, unknown_bytes: bytes } = round;
        if videos == std::mem::replace(&mut self.unknown_said, videos) || videos == 0 {
            return;
        }
        if videos > named {
            error!(
                videos,
                bytes, "the catalog does not know most of the videos: is it the right one? They stay"
            );
        } else {
            warn!(videos, bytes, "videos of which the catalog knows nothing; they stay");
        }
    }

    async fn known(&self, id: &RecordId, video: &StoredVideo) -> Result<Known, PutOff> {
        // An MP4 of the video that a row names goes with it, and is in no row.
        let names =
            |facts: &VideoFacts| facts.keys().any(|key| *key == video.key) || facts.key.as_mp4() == video.key;
        // The account before the row: one that is over was written into its row before.
        if let Some(view) = self.ports.ledger.show(id).await? {
            let is_settled = view.manifest.state == RecordingState::Ready
                && view.claimed_by.is_none()
                && view.manifest.keep_until_ms.is_some();
            if !is_settled || view.manifest.finished.as_ref().is_some_and(|finished| names(&finished.video)) {
                return Ok(Known::Unsettled);
            }
        }
        let fence = video.key.fence();
        match self.ports.catalog.get(id).await? {
            Some(CatalogRow { video: Some(facts), .. }) if names(&facts) => Ok(Known::Named),
            // Of an earlier recording of this name, which this catalog never knew: a claim is not older than its recording.
            Some(row) if fence.0 < row.started_ms => Ok(Known::Unknown),
            // Made by a claim that was overtaken, or an earlier version.
            Some(row) if row.video.is_some() && row.fence > fence => Ok(Known::Outdated),
            Some(_) => Ok(Known::Unsettled),
            None => match self.ports.chunks.manifest(id).await {
                Ok(None) => Ok(Known::Unknown),
                Ok(Some(_)) | Err(_) => Ok(Known::Unsettled),
            },
        }
    }
}
