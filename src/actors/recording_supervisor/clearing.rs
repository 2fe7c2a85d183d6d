//! The last steps of a claim: what nobody needs any more goes, and nothing else (M-4, M-5).

use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tracing::{info, warn};

use super::{RecordingSupervisor, finalise::FIRST_PAUSE};
use crate::{
    actors::{
        accounts::{Accounts, NotPutBack},
        chunk_gate::ChunkGates,
    },
    adapters::{
        crash,
        ports::{CatalogRow, ClaimEnd, RecordingPorts, StoreError, StoredChunk},
    },
    domain::recording::{Fault, Manifest},
    protocol::{Code, Refusal, recorder::RecordingState},
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

/// Who hears that an account was closed under which nothing was ever recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Its recorder and the catalog.
    Everybody,
    /// It had a video, or its end was told before.
    Nobody,
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
        let held = self.claims.get(&row.record_id).filter(|held| held.fence() == row.fence);
        let Some(manifest) = held.map(|held| held.manifest.clone()) else { return };
        let clears = taken && self.will_clear(&manifest);
        let clearing = self.clearing();
        let work = manifest.clone();
        let cleared = async move {
            if taken && let Err(error) = clearing.drop_superseded(&work).await {
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
            Ok(false) => supervisor.release(manifest, Told::Nobody, ctx),
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
        self.release(manifest.clone(), Told::Everybody, ctx);
    }

    /// It was deleted, and the ledger has forgotten that.
    pub(super) fn forget_deleted(&self, manifest: &Manifest, ctx: &mut Context<Self>) {
        warn!(recording = %manifest.record_id, "a recording that was deleted had an account again");
        self.release(manifest.clone(), Told::Nobody, ctx);
    }

    /// Closes the account of a claim, and takes its chunks away unless the operator keeps them. The account first, in one
    /// step with the fence: a recorder that comes back now either keeps everything or is told that it is over.
    fn release(&self, manifest: Manifest, told: Told, ctx: &mut Context<Self>) {
        let (ports, gates) = (self.ports.clone(), self.links.gates.clone());
        let takes_away = self.config.cleanup_chunks || manifest.state != RecordingState::Ready;
        let again = manifest.clone();
        let released = async move {
            let (id, fence) = (&manifest.record_id, manifest.fence);
            let alone = gates.close(id).await;
            let Some(last) = ports.ledger.release(id.clone(), fence).await? else { return Ok(None) };
            crash::point("release.closed");
            let deleted = async {
                if takes_away {
                    let remains = ports.chunks.begin_delete(id, Some(last.token)).await?;
                    drop(alone);
                    remains.clear().await?;
                }
                Ok::<_, StoreError>(())
            };
            let deleted = deleted.await;
            Ok::<_, NotPutBack>(Some((last, deleted)))
        };
        ctx.spawn(released.into_actor(self).map(move |released, supervisor, ctx| match released {
            Ok(Some((last, deleted))) => {
                if let Err(error) = &deleted {
                    warn!(recording = %last.record_id, %error, "chunks stay behind until they are looked for");
                }
                let outcome = if deleted.is_ok() { "forgotten" } else { "failed" };
                supervisor.metrics.cleanups.with_label_values(&[outcome]).inc();
                supervisor.released(last, told, ctx);
            }
            Ok(None) => supervisor.take_back_merge(&again.record_id, crate::protocol::Fence(again.fence.0 + 1)),
            Err(error) => {
                warn!(recording = %again.record_id, %error, "an account is closed later");
                ctx.run_later(FIRST_PAUSE, move |supervisor, ctx| supervisor.release(again, told, ctx));
            }
        }));
    }

    /// The account is closed; of one that never had anything its recorder and the catalog are told.
    fn released(&mut self, last: Manifest, told: Told, ctx: &mut Context<Self>) {
        let id = last.record_id.clone();
        info!(recording = %id, "forgotten");
        self.claims.remove(&id);
        self.faults.remove(&id);
        self.attended.remove(&id);
        if last.finished.is_none() && told == Told::Everybody {
            let refusal = Refusal::from(Code::EmptyRecording);
            warn!(recording = %id, "nothing was ever recorded");
            self.metrics.recordings_ended.with_label_values(&[super::finalise::how(&last), "failed"]).inc();
            let fault = Some(Fault::from(&refusal));
            let failed =
                Manifest { state: RecordingState::Failed, fault, revision: last.revision + 1, ..last };
            self.rows.put(super::row_of(&failed, 0));
            self.account_changed(&failed, 0);
        }
        self.write_rows(ctx);
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
        let stored = StoredChunk::count(&self.ports.chunks.list(&manifest.record_id).await?);
        if stored <= manifest.merged_chunks.unwrap_or(0) {
            return Ok(false);
        }
        self.accounts.catch_up(&manifest.record_id).await?;
        Ok(true)
    }

    /// Earlier versions of a video go when the row names the new one.
    async fn drop_superseded(&self, manifest: &Manifest) -> Result<(), NotPutBack> {
        let Some(finished) = manifest.finished.as_ref().filter(|_| manifest.version > 1) else {
            return Ok(());
        };
        let keys: Vec<_> = finished.video.keys().cloned().collect();
        Ok(self.ports.delete_videos(&manifest.record_id, |key| !keys.contains(key)).await?)
    }
}
