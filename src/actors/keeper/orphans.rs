//! Chunks and videos that belong to nothing any more.
//!
//! | chunks, of a recording that | |
//! |---|---|
//! | has an account | stay; of one with gaps, or failed, see [`super::retention`] |
//! | has a manifest whose time is not over | stay, and get their account back (L-4) |
//! | has one whose time is over, and whose row says that all of it is in the video | go after a day, where the operator keeps none |
//! | the same with gaps | go when `PARTIAL_RETENTION` is over |
//! | has neither manifest nor row | go after a day |
//!
//! A video goes after a day if its recording's row names a later one, or if there is neither row, account nor manifest. But
//! a catalog that knows fewer videos than it does not is taken for the wrong one: nothing goes because of it.

use std::time::Duration;

use tracing::error;

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
    Lost,
    /// Somebody is at its recording.
    Unsettled,
}

impl Sweep {
    /// Looks at recordings that have chunks.
    pub(super) async fn chunks(&mut self, now_ms: u64) -> Result<(), PutOff> {
        let mut all = self.ports.chunks.recordings().await?;
        all.sort();
        self.without_account.retain(|id| all.binary_search(id).is_ok());
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
        let Some(reason) = self.why_chunks_go(manifest.as_ref(), row.as_ref(), now_ms) else { return Ok(()) };
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
    fn why_chunks_go(
        &self,
        manifest: Option<&Manifest>,
        row: Option<&CatalogRow>,
        now_ms: u64,
    ) -> Option<Reason> {
        match (manifest, row) {
            (None, None) => Some(Reason::OrphanedChunks),
            (None, Some(_)) | (Some(_), None) => None,
            (Some(manifest), Some(row)) => {
                let is_its_own = row.started_ms == manifest.started_ms && row.state == RecordingState::Ready;
                let complete = row.video.as_ref().filter(|_| is_its_own)?.complete;
                if complete {
                    return self.config.cleanup_chunks.then_some(Reason::OrphanedChunks);
                }
                self.is_over(manifest, now_ms).then_some(Reason::Partial)
            }
        }
    }

    /// Looks at videos that are there.
    pub(super) async fn videos(&mut self) -> Result<(), PutOff> {
        for _ in 0..PAGES {
            let page = self.ports.videos.list(self.videos_after.take(), PAGE as usize).await?;
            let next = page.last().map(|video| video.key.clone()).filter(|_| page.len() == PAGE as usize);
            self.look_at_videos(page).await?;
            self.videos_after = next;
            if self.videos_after.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn look_at_videos(&self, page: Vec<StoredVideo>) -> Result<(), PutOff> {
        let (mut known, mut outdated, mut lost) = (0, Vec::new(), Vec::new());
        for video in page.into_iter().filter(|video| video.age >= LEFT_ALONE) {
            let Some(id) = video.key.record_id() else { continue };
            match self.known(&id, &video).await? {
                Known::Named => known += 1,
                Known::Outdated => outdated.push((id, video)),
                Known::Lost => lost.push((id, video)),
                Known::Unsettled => {}
            }
        }
        if lost.len() > known + outdated.len() {
            error!(
                videos = lost.len(),
                "the catalog does not know most of these videos: is it the right one? They stay"
            );
            lost.clear();
        }
        for (id, video) in outdated.into_iter().chain(lost) {
            let deleted = self.ports.videos.delete(&video.key).await.map_err(Into::into);
            if deleted.is_ok() {
                self.gone(&id, Reason::OrphanedVideo, video.key.as_str(), video.size_bytes);
            }
            passed_by(&id, deleted)?;
        }
        Ok(())
    }

    async fn known(&self, id: &RecordId, video: &StoredVideo) -> Result<Known, PutOff> {
        let names = |facts: &VideoFacts| facts.keys().any(|key| *key == video.key);
        // The account before the row: one that is over was written into its row before.
        if let Some(view) = self.ports.ledger.show(id).await? {
            let is_settled = view.manifest.state == RecordingState::Ready
                && view.claimed_by.is_none()
                && view.manifest.keep_until_ms.is_some();
            if !is_settled || view.manifest.finished.as_ref().is_some_and(|finished| names(&finished.video)) {
                return Ok(Known::Unsettled);
            }
        }
        let row = self.ports.catalog.get(id).await?;
        match row.as_ref().map(|row| row.video.as_ref()) {
            Some(Some(facts)) if names(facts) => Ok(Known::Named),
            // Made by a claim that was overtaken, or an earlier version.
            Some(Some(facts)) if facts.key.fence() > video.key.fence() => Ok(Known::Outdated),
            Some(_) => Ok(Known::Unsettled),
            None => match self.ports.chunks.manifest(id).await {
                Ok(None) => Ok(Known::Lost),
                Ok(Some(_)) | Err(_) => Ok(Known::Unsettled),
            },
        }
    }
}
