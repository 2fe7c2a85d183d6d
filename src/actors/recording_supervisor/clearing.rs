//! The last steps of a claim: what nobody needs any more goes, and nothing else (M-4, M-5).

use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tracing::{info, warn};

use super::RecordingSupervisor;
use crate::{
    actors::{
        accounts::{Accounts, NotPutBack},
        chunk_gate::ChunkGates,
    },
    adapters::{
        crash,
        ports::{CatalogRow, ClaimEnd, RecordingPorts, RecordingRef, StoreError, StoredChunk, VideoStore},
    },
    domain::recording::{FIRST_PAUSE, Manifest},
    protocol::{Fence, RecordId, recorder::RecordingState},
};

/// The chunks of an incomplete recording stay until somebody deletes it: a hundred years.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What became of chunks that were to go.
enum Cleared {
    /// They are gone.
    Gone,
    /// They are needed: the recording is not as it was believed to be.
    Needed,
}

/// An account that was closed: the recording as it last stood, and whether what was to go is gone.
type Closed = (Manifest, Result<(), StoreError>);

/// Why an account is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Nothing was ever recorded under it: its recorder and the catalog are told.
    Empty,
    /// Nobody can come back to it.
    Over,
    /// It was deleted, and the ledger had forgotten that. Whatever is there of it goes.
    Deleted,
}

/// What clearing up needs.
#[derive(Clone)]
struct Clearing {
    ports: RecordingPorts,
    accounts: Accounts,
    gates: ChunkGates,
}

impl RecordingSupervisor {
    fn clearing(&self) -> Clearing {
        let (ports, accounts) = (self.ports.clone(), self.links.accounts.clone());
        Clearing { ports, accounts, gates: self.links.gates.clone() }
    }

    /// Whether the chunks of a recording whose video is there go at once.
    pub(super) fn will_clear(&self, manifest: &Manifest) -> bool {
        let complete = manifest.finished.as_ref().is_some_and(|finished| finished.video.complete);
        self.config.cleanup_chunks && complete && manifest.stopped
    }

    /// The row of a finished recording is in the catalog, or something newer is: the claim comes to its end.
    pub(super) fn row_is_there(&mut self, row: &CatalogRow, taken: bool, ctx: &mut Context<Self>) {
        let Some(manifest) = self.published_under(&row.record_id, row.fence) else { return };
        let clears = taken && self.will_clear(&manifest);
        let clearing = self.clearing();
        let work = manifest.clone();
        let cleared = async move {
            if taken && let Err(error) = drop_superseded(&*clearing.ports.videos, &work).await {
                warn!(recording = %work.record_id, %error, "an earlier version of a video stays behind");
            }
            if clears { Some(clearing.clear(&work).await) } else { None }
        };
        ctx.spawn(cleared.into_actor(self).map(move |cleared, supervisor, ctx| {
            let count = |what| supervisor.metrics.cleanups.with_label_values(&[what]).inc();
            match cleared {
                None => {}
                Some(Ok(Cleared::Gone)) => count("merged"),
                Some(Ok(Cleared::Needed)) => return,
                Some(Err(error)) => {
                    warn!(recording = %manifest.record_id, %error, "chunks of a finished recording stay behind");
                    count("failed");
                }
            }
            let complete = manifest.finished.as_ref().is_some_and(|finished| finished.video.complete);
            let keep = if complete { supervisor.config.reopen } else { FOR_EVER };
            supervisor.settle(&manifest, ClaimEnd::Ready { keep }, ctx);
        }));
    }

    /// A finished recording whose recorder did not come back: the rest of it goes.
    pub(super) fn forget_finished(&self, manifest: &Manifest, ctx: &mut Context<Self>) {
        let (clearing, work) = (self.clearing(), manifest.clone());
        let needed = async move { clearing.is_needed(&work).await };
        let manifest = manifest.clone();
        ctx.spawn(needed.into_actor(self).map(move |needed, supervisor, ctx| match needed {
            Ok(false) => supervisor.release(manifest, Why::Over, ctx),
            // Its account has heard of what is there, and goes on.
            Ok(true) => {}
            Err(error) => {
                warn!(recording = %manifest.record_id, %error, "a finished recording is looked at again");
                let end = ClaimEnd::TryAgain { pause: FIRST_PAUSE, fault: None };
                supervisor.settle(&manifest, end, ctx);
            }
        }));
    }

    /// Not one chunk was ever stored: there is nothing to keep, and nothing to wait for.
    pub(super) fn nothing_came(&self, manifest: &Manifest, ctx: &mut Context<Self>) {
        self.metrics.merges.with_label_values(&["empty", "none"]).inc();
        self.release(manifest.clone(), Why::Empty, ctx);
    }

    /// It was deleted, and the ledger has forgotten that.
    pub(super) fn forget_deleted(&self, manifest: &Manifest, ctx: &mut Context<Self>) {
        warn!(recording = %manifest.record_id, "a recording that was deleted had an account again");
        self.release(manifest.clone(), Why::Deleted, ctx);
    }

    /// Closes the account of a claim, and takes its chunks away unless the operator keeps them.
    fn release(&self, manifest: Manifest, why: Why, ctx: &mut Context<Self>) {
        let clearing = self.clearing();
        let takes_away = self.config.cleanup_chunks || manifest.state != RecordingState::Ready;
        let again = manifest.clone();
        let released = async move { clearing.close(&manifest, why, takes_away).await };
        ctx.spawn(released.into_actor(self).map(move |released, supervisor, ctx| match released {
            Ok(Some((last, deleted))) => {
                if let Err(error) = &deleted {
                    warn!(recording = %last.record_id, %error, "chunks stay behind until they are looked for");
                }
                let outcome = if deleted.is_ok() { "forgotten" } else { "failed" };
                supervisor.metrics.cleanups.with_label_values(&[outcome]).inc();
                supervisor.released(&last, why, ctx);
            }
            Ok(None) => supervisor.take_back_merge(&again.record_id, Fence(again.fence.0 + 1)),
            Err(error) => {
                warn!(recording = %again.record_id, %error, "an account is closed later");
                ctx.run_later(FIRST_PAUSE, move |supervisor, ctx| supervisor.release(again, why, ctx));
            }
        }));
    }

    /// The account is closed; of one that never had anything its recorder and the catalog are told.
    fn released(&mut self, last: &Manifest, why: Why, ctx: &mut Context<Self>) {
        let id = last.record_id.clone();
        info!(recording = %id, "forgotten");
        self.claims.remove(&id);
        self.faults.remove(&id);
        self.attended.remove(&id);
        if last.finished.is_none() && why == Why::Empty {
            warn!(recording = %id, "nothing was ever recorded");
            self.metrics.recordings_ended.with_label_values(&[super::finalise::how(last), "failed"]).inc();
            let failed = last.empty();
            self.rows.put(super::row_of(&failed, 0));
            self.account_changed(&failed, 0);
        }
        self.write_rows(ctx);
        self.claim_more(ctx);
    }
}

impl Clearing {
    /// Takes away the chunks of a recording whose video holds them all: of this recording, under this claim, and only if
    /// nothing has come that the video does not hold.
    async fn clear(&self, manifest: &Manifest) -> Result<Cleared, NotPutBack> {
        let (id, fence) = (&manifest.record_id, manifest.fence);
        if self.is_needed(manifest).await? {
            return Ok(Cleared::Needed);
        }
        let alone = self.gates.close(id).await;
        if !self.ports.ledger.holds(id.clone(), fence).await? {
            return Ok(Cleared::Needed);
        }
        crash::point("delete.before");
        let remains = self.ports.chunks.begin_delete(id, Some(manifest.token)).await?;
        crash::point("delete.after");
        self.ports.ledger.forget_chunks(id, fence).await?;
        crash::point("delete.forgotten");
        // Nobody has to wait for files that are nobody's.
        drop(alone);
        remains.clear().await?;
        Ok(Cleared::Gone)
    }

    /// Whether more is stored than the video was made of: acknowledged while the ledger was away. Then the account learns
    /// of it, and the recording goes on.
    async fn is_needed(&self, manifest: &Manifest) -> Result<bool, NotPutBack> {
        if !self.has_more(manifest).await? {
            return Ok(false);
        }
        self.learn(&manifest.record_id).await?;
        Ok(true)
    }

    async fn has_more(&self, manifest: &Manifest) -> Result<bool, NotPutBack> {
        let stored = self.ports.chunks.list(&manifest.record_id).await?;
        Ok(manifest.has_less_than(StoredChunk::count(&stored)))
    }

    async fn learn(&self, id: &RecordId) -> Result<(), NotPutBack> {
        if self.accounts.reopen(id).await? {
            return Ok(());
        }
        // Taken for learnt, it would stand under this claim for ever.
        Err(StoreError::Missing(format!("what is known of {id} beside its chunks")).into())
    }

    /// Closes the account of a claim. First the chunk store says so: a recorder that comes back now, to whatever node and
    /// however long this one stands still, either keeps everything, because the claim no longer holds, or is told that it is
    /// over, because nobody puts the account back. Only then it is looked what is there for the last time. `None`: the
    /// recording is not as it was believed to be, and goes on.
    async fn close(
        &self,
        manifest: &Manifest,
        why: Why,
        takes_away: bool,
    ) -> Result<Option<Closed>, NotPutBack> {
        let (id, fence) = (&manifest.record_id, manifest.fence);
        let alone = self.gates.close(id).await;
        if self.ports.ledger.holds(id.clone(), fence).await? {
            let closed = manifest.closed();
            self.save(closed.clone()).await?;
            crash::point("release.marked");
            if why != Why::Deleted && self.has_more(&closed).await? {
                self.save(Manifest { revision: closed.revision + 1, ..manifest.clone() }).await?;
                self.learn(id).await?;
                return Ok(None);
            }
        }
        let Some(last) = self.ports.ledger.release(id.clone(), fence).await? else {
            if let Some(now) = self.ports.ledger.show(id).await? {
                self.save(now.manifest).await?;
            }
            return Ok(None);
        };
        crash::point("release.closed");
        let deleted = async {
            if takes_away {
                let remains = self.ports.chunks.begin_delete(id, Some(last.token)).await?;
                // Nobody has to wait for files that are nobody's.
                drop(alone);
                remains.clear().await?;
            }
            Ok(())
        };
        let deleted = deleted.await;
        self.ports.merger.forget(RecordingRef::of(&last)).await;
        Ok(Some((last, deleted)))
    }

    /// Of a recording that has nothing in the chunk store any more nothing need be known.
    async fn save(&self, manifest: Manifest) -> Result<(), StoreError> {
        let (id, token) = (manifest.record_id.clone(), manifest.token);
        let Err(error) = self.ports.chunks.save_manifest(manifest).await else { return Ok(()) };
        match self.ports.chunks.manifest(&id).await? {
            Some(there) if there.token == token => Err(error),
            Some(_) | None => Ok(()),
        }
    }
}

/// Videos of earlier versions go when the row names the new one, and so does what was made by claims that were overtaken, each with
/// its MP4; that of the video that the row names stays with it. But not what came later: whoever wakes late deletes nothing of those
/// that have gone on without it (M-3). What was sent while it was recorded may be older by its name than by its claim: the sweep, which
/// asks the catalog first, takes it.
async fn drop_superseded(videos: &dyn VideoStore, manifest: &Manifest) -> Result<(), StoreError> {
    let Some(finished) = manifest.finished.as_ref().filter(|_| manifest.version > 1) else {
        return Ok(());
    };
    for key in videos.of(&manifest.record_id).await? {
        let is_older = key.mark().is_none() && key.fence() < manifest.fence;
        if is_older && key.fence() != finished.video.key.fence() {
            videos.delete(&key).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "clearing_tests.rs"]
mod tests;
