//! What is due, and what became of it.
//!
//! ```text
//!  claim ─► merge, put ─► published (everybody may know) ─► row in the catalog ─► chunks go ─► settled
//! ```
//! The order is the one thing that must never change (M-4). Whatever fails on the way, the chunks stay (M-5). A claim is
//! kept until its end; a node that dies on the way is followed by another, from where it was.

use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tracing::{debug, info, warn};

use super::{HEAD_START, RecordingSupervisor, faults::told};
use crate::{
    actors::{
        mailbox::{Mailbox, post},
        messages::{MergeEnded, MergeFault, MergeProgressed, MergeRecording, MergedVideo},
    },
    adapters::{
        crash,
        ports::{ClaimEnd, Ledger, LedgerError, MergeError, StoreError},
    },
    domain::recording::{Claim, ClaimedWork, FIRST_PAUSE, Fault, Finished, Manifest},
    protocol::{Fence, RecordId, recorder::RecordingState},
};

/// Claims that a node takes at once beside its merges, and merges that it lets wait: the rest is for other nodes.
///
/// Those whose posters follow are among them, and posters are made one by one: where more end at one moment, the last wait.
pub(super) const CLAIMS_BESIDE: usize = 128;
/// After the ledger was away, nobody is taken for gone for a grace, but at least and at most so long: whoever is there
/// says so at once, and what was stopped waits all the while.
const PATIENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// What is left of a recording whose account is due.
enum Left {
    /// Nobody wants it any more.
    Deleted,
    /// Its chunks, or it is not known that they are gone.
    Chunks,
    /// Its row in the catalog.
    Row,
    Nothing,
    /// It has no chunks, and the catalog does not say why.
    Unknown,
}

/// A claim under which this node works.
pub(super) struct Held {
    /// The recording as it stands under the claim.
    pub(super) manifest: Manifest,
    /// How far its merge is.
    percent: Option<u8>,
    /// Whether its video is still being made.
    pub(super) merging: bool,
}

impl Held {
    pub(super) fn fence(&self) -> Fence {
        self.manifest.fence
    }
}

impl RecordingSupervisor {
    /// Claims what is due, and follows what others have changed.
    pub(super) fn sweep(&mut self, ctx: &mut Context<Self>) {
        self.tell_rooms_again();
        if !self.ports.same_stores.are_same() {
            self.leave_to_others(ctx);
        }
        self.claim_due(ctx);
    }

    /// A place has become free: whoever waits for one need not wait for the next sweep.
    pub(super) fn claim_more(&mut self, ctx: &mut Context<Self>) {
        if self.more_is_due && self.claims_wanted() > 0 {
            self.claim_due(ctx);
        }
    }

    /// What this node was told of, then what has been due for a while; one question after the other.
    fn claim_due(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.sweeping, true) {
            return;
        }
        let (ledger, limit) = (self.ports.ledger.clone(), self.claims_wanted());
        // Of several places one is for what nobody has told of, such as a row that waits.
        let places = limit.saturating_sub(1).max(1).min(limit);
        let named: Vec<_> = self.wanted.drain(..places.min(self.wanted.len())).collect();
        let since = if self.config.clustered { HEAD_START } else { Duration::ZERO };
        let due = async move {
            let rooms = ledger.recorded_rooms().await?;
            // After the rooms and before the first claim: a ledger that is not whole says nothing of what it lacks.
            let is_whole = ledger.is_whole().await?;
            let claims = if is_whole { claims(&*ledger, &named, limit, since).await? } else { Vec::new() };
            Ok::<_, LedgerError>((rooms, is_whole, claims))
        };
        ctx.spawn(due.into_actor(self).map(move |due, supervisor, ctx| {
            supervisor.sweeping = false;
            match due {
                Ok((rooms, is_whole, claims)) => {
                    supervisor.ledger_answers();
                    supervisor.rooms_follow(rooms, is_whole);
                    if supervisor.ports.same_stores.are_same() {
                        if !is_whole {
                            supervisor.recover_lost(ctx);
                        }
                        supervisor.note_late(ctx);
                    }
                    // Such as all the rows that wait for a catalog.
                    supervisor.more_is_due =
                        is_whole && (claims.len() >= limit || !supervisor.wanted.is_empty());
                    claims.iter().for_each(|claim| supervisor.take_up(claim, ctx));
                    supervisor.claim_more(ctx);
                }
                Err(error) => {
                    supervisor.was_whole = false;
                    if !std::mem::replace(&mut supervisor.ledger_away, true) {
                        supervisor.ledger_failed("claim_due", &error);
                    }
                }
            }
        }));
    }

    /// As many as there is room for. None for a while after the ledger was away: those who are there must first have said
    /// so again; and none of what is in other stores.
    fn claims_wanted(&self) -> usize {
        if !self.ports.same_stores.are_same() {
            return 0;
        }
        if self.draining || self.ledger_away || self.clock.now().mono < self.claims_from {
            return 0;
        }
        let merging = self.claims.values().filter(|held| held.merging).count();
        let beside = CLAIMS_BESIDE.saturating_sub(self.claims.len() - merging);
        // As many again as can be made at once, so that a merge waits for the next place.
        (self.config.merge_jobs * 2).saturating_sub(merging).min(beside)
    }

    fn ledger_answers(&mut self) {
        if std::mem::replace(&mut self.ledger_away, false) {
            info!("the ledger is back");
            self.be_patient();
        }
    }

    pub(super) fn be_patient(&mut self) {
        let [least, most] = PATIENCE;
        self.claims_from = self.clock.now().mono + self.config.grace.clamp(least, most);
    }

    fn take_up(&mut self, claim: &Claim, ctx: &mut Context<Self>) {
        let manifest = &claim.manifest;
        if self.draining && self.config.clustered {
            // It was on its way when the drain came. The node is going: another takes it up at once.
            let end = ClaimEnd::TryAgain { pause: Duration::ZERO, fault: None };
            return self.settle(manifest, end, ctx);
        }
        let id = manifest.record_id.clone();
        let merging = matches!(claim.work, ClaimedWork::Finalise { .. });
        info!(recording = %id, fence = manifest.fence.0, work = ?claim.work, "claimed");
        crash::point(match claim.work {
            ClaimedWork::Finalise { .. } => "claim.finalise",
            ClaimedWork::Publish { .. } => "claim.publish",
            ClaimedWork::GiveUp => "claim.give_up",
            ClaimedWork::Forget => "claim.forget",
        });
        self.claims.insert(id, Held { manifest: manifest.clone(), percent: None, merging });
        match claim.work {
            ClaimedWork::Finalise { expected, chunks } => {
                self.merge_unless_deleted(manifest.clone(), (expected, chunks), ctx);
            }
            // Whoever made it did not get to the end.
            ClaimedWork::Publish { chunks } => {
                self.account_changed(manifest, chunks);
                self.write_ready(manifest, chunks, ctx);
            }
            ClaimedWork::GiveUp => {
                let why = "each node that made it died, or was stopped, while it did";
                let fault = MergeFault::Merge(MergeError::Impossible(why.to_owned()));
                self.merge_failed(manifest, &fault, ClaimEnd::Failed(Fault::from(&told(&fault).0)), ctx);
            }
            ClaimedWork::Forget => self.forget_finished(manifest, ctx),
        }
    }

    /// A ledger that has gone back in time has the accounts of recordings that were deleted since, or finished and cleared.
    /// The row of the latter says what has become of them, and must stand until that was read. Of the former the catalog knows
    /// that they were deleted, whatever a chunk store that has gone back too has of them.
    fn merge_unless_deleted(
        &self,
        manifest: Manifest,
        (expected, chunks): (u32, u32),
        ctx: &mut Context<Self>,
    ) {
        let (ports, id) = (self.ports.clone(), manifest.record_id.clone());
        let started_ms = manifest.started_ms;
        let looked = async move {
            let (stored, row, was_deleted) = tokio::join!(
                ports.chunks.manifest(&id),
                ports.catalog.get(&id),
                ports.catalog.was_deleted(&id, started_ms),
            );
            match (was_deleted, row) {
                (Ok(true), _) => Left::Deleted,
                _ if !matches!(stored, Ok(None)) => Left::Chunks,
                (Ok(false), Ok(Some(_))) => Left::Row,
                (Ok(false), Ok(None)) => Left::Nothing,
                _ => Left::Unknown,
            }
        };
        ctx.spawn(looked.into_actor(self).map(move |left, supervisor, ctx| {
            let id = &manifest.record_id;
            if supervisor.claims.get(id).is_none_or(|held| held.fence() != manifest.fence) {
                return;
            }
            let unwritten = supervisor.rows.get(id).is_some();
            match left {
                Left::Deleted => return supervisor.forget_deleted(&manifest, ctx),
                Left::Nothing if !unwritten => return supervisor.forget_deleted(&manifest, ctx),
                Left::Unknown => {
                    let end = ClaimEnd::TryAgain { pause: FIRST_PAUSE, fault: None };
                    return supervisor.settle(&manifest, end, ctx);
                }
                Left::Chunks => supervisor.row_changed(&manifest, chunks),
                Left::Row | Left::Nothing => {}
            }
            supervisor.account_changed(&manifest, chunks);
            supervisor.merge(&manifest, (expected, chunks), ctx);
        }));
    }

    /// Should the node die of it: a ledger that dies with the node learns from what is saved that it was tried.
    fn merge(&mut self, manifest: &Manifest, (expected, noted): (u32, u32), ctx: &mut Context<Self>) {
        let manifest = manifest.clone();
        let saved = self.saved(manifest.clone());
        ctx.spawn(saved.into_actor(self).map(move |saved, supervisor, ctx| {
            supervisor.note_saved(&manifest.record_id, saved);
            let held = supervisor.claims.get(&manifest.record_id);
            if held.is_none_or(|held| held.fence() != manifest.fence) {
                return;
            }
            let message = MergeRecording { manifest: manifest.clone(), expected, noted };
            if post(&supervisor.links.merge, Mailbox::MergeWorker, &supervisor.metrics, message).is_err() {
                let end = ClaimEnd::TryAgain { pause: FIRST_PAUSE, fault: None };
                supervisor.settle(&manifest, end, ctx);
            }
        }));
    }

    /// The ledger is told that this node is still at its claims, and how far. Those that no longer hold are dropped.
    pub(super) fn keep_claims(&mut self, ctx: &mut Context<Self>) {
        for (id, held) in &self.claims {
            let (id, fence) = (id.clone(), held.fence());
            let kept = self.ports.ledger.keep_claim(id.clone(), fence, held.percent);
            ctx.spawn(kept.into_actor(self).map(move |kept, supervisor, _| match kept {
                Ok(true) => {}
                Ok(false) => supervisor.lost_claim(&id, fence),
                Err(error) => supervisor.ledger_failed("keep_claim", &error),
            }));
        }
    }

    fn lost_claim(&mut self, id: &RecordId, fence: Fence) {
        if self.claims.get(id).is_some_and(|held| held.fence() == fence) {
            info!(recording = %id, fence = fence.0, "a claim no longer holds");
            self.take_back_merge(id, Fence(fence.0 + 1));
        }
    }

    /// Whoever has nothing but the chunk store should know it; should they not, they find the same things due again.
    pub(super) fn save_manifest(&self, manifest: Manifest, ctx: &mut Context<Self>) {
        let id = manifest.record_id.clone();
        let saved = self.saved(manifest);
        ctx.spawn(saved.into_actor(self).map(move |saved, supervisor, _| supervisor.note_saved(&id, saved)));
    }

    fn saved(&self, manifest: Manifest) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let (ports, gates) = (self.ports.clone(), self.links.gates.clone());
        async move {
            let _passing = gates.pass(&manifest.record_id).await;
            ports.chunks.save_manifest(manifest).await
        }
    }

    fn note_saved(&self, id: &RecordId, saved: Result<(), StoreError>) {
        if let Err(error) = saved {
            warn!(recording = %id, %error, "what is known of a recording could not be saved");
            self.metrics.storage_errors.with_label_values(&["chunks", "manifest"]).inc();
        }
    }

    pub(super) fn merge_progressed(&mut self, message: &MergeProgressed) {
        let held = self.claims.get_mut(&message.id).filter(|held| held.fence() == message.fence);
        if let Some(held) = held {
            held.percent = held.percent.max(Some(message.percent));
            self.tell_progress(&message.id, message.percent);
        }
    }

    pub(super) fn merge_ended(&mut self, message: MergeEnded, ctx: &mut Context<Self>) {
        let MergeEnded { manifest, outcome } = message;
        match outcome {
            Ok(video) => self.publish(manifest, video, ctx),
            Err(MergeFault::Overtaken) => self.overtaken(&manifest),
            Err(MergeFault::Empty) => self.nothing_came(&manifest, ctx),
            Err(fault) => {
                let end = self.after_fault(&manifest.record_id, &fault);
                self.merge_failed(&manifest, &fault, end, ctx);
            }
        }
    }

    /// A recording whose video is there, if this node has this claim of it.
    pub(super) fn published_under(&self, id: &RecordId, fence: Fence) -> Option<Manifest> {
        let held = self.claims.get(id).filter(|held| held.fence() == fence && !held.merging);
        held.map(|held| held.manifest.clone())
    }

    fn overtaken(&mut self, manifest: &Manifest) {
        info!(recording = %manifest.record_id, "a merge was overtaken");
        self.metrics.merges.with_label_values(&["outdated", "none"]).inc();
        self.lost_claim(&manifest.record_id, manifest.fence);
    }

    fn publish(&mut self, manifest: Manifest, video: MergedVideo, ctx: &mut Context<Self>) {
        let finished = Finished {
            video: video.facts.clone(),
            mime_type: video.mime_type.clone(),
            missing: video.missing.clone(),
            chunks: video.chunks,
            ready_ms: 0,
            poster_follows: video.poster_follows,
        };
        crash::point("publish.before");
        let published = self.ports.ledger.publish(manifest.record_id.clone(), manifest.fence, finished);
        ctx.spawn(published.into_actor(self).map(move |published, supervisor, ctx| match published {
            Ok(Some(manifest)) => supervisor.published(&manifest, &video, ctx),
            Ok(None) => supervisor.overtaken(&manifest),
            Err(error) => {
                supervisor.ledger_failed("publish", &error);
                ctx.run_later(FIRST_PAUSE, move |supervisor, ctx| supervisor.publish(manifest, video, ctx));
            }
        }));
    }

    fn published(&mut self, manifest: &Manifest, video: &MergedVideo, ctx: &mut Context<Self>) {
        crash::point("publish.after");
        let id = &manifest.record_id;
        let facts = &video.facts;
        let outcome = if facts.complete { "complete" } else { "incomplete" };
        info!(recording = %id, key = facts.key.as_str(), outcome, duration_ms = facts.duration_ms, "ready");
        self.faults.remove(id);
        self.merging_works = true;
        self.metrics.merges.with_label_values(&["ready", facts.path()]).inc();
        self.metrics.recordings_ended.with_label_values(&[how(manifest), outcome]).inc();
        let unsigned = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.metrics.chunks_missing.with_label_values::<&str>(&[]).inc_by(unsigned(video.missing.len()));
        self.metrics.gaps.with_label_values::<&str>(&[]).inc_by(unsigned(facts.gaps.len()));
        self.is_published(manifest);
        if !self.will_clear(manifest)
            || self.catalog_is_away()
            || facts.sha256.is_none()
            || video.poster_follows
        {
            // Otherwise its folder goes in a moment; whoever comes before that finds the row.
            self.save_manifest(manifest.clone(), ctx);
        }
        self.tell_other_nodes(id);
        self.account_changed(manifest, video.chunks);
        self.write_ready(manifest, video.chunks, ctx);
        self.claim_more(ctx);
    }

    /// The claim's video is there, and this is how its recording stands now.
    pub(super) fn is_published(&mut self, manifest: &Manifest) {
        let held = self.claims.get_mut(&manifest.record_id);
        if let Some(held) = held.filter(|held| held.fence() == manifest.fence) {
            held.manifest = manifest.clone();
            held.merging = false;
        }
    }

    /// Ends a claim. It stands until the ledger has heard of it.
    pub(super) fn settle(&mut self, manifest: &Manifest, end: ClaimEnd, ctx: &mut Context<Self>) {
        let (ledger, manifest) = (self.ports.ledger.clone(), manifest.clone());
        let (id, fence, again) = (manifest.record_id.clone(), manifest.fence, end.clone());
        crash::point("settle.before");
        let settled = async move {
            let settled = ledger.settle(id.clone(), fence, end).await?;
            let chunks = ledger.show(&id).await?.map_or(0, |view| view.chunks);
            Ok::<_, LedgerError>(settled.map(|manifest| (manifest, chunks)))
        };
        ctx.spawn(settled.into_actor(self).map(move |settled, supervisor, ctx| match settled {
            Ok(Some((manifest, chunks))) => supervisor.settled(&manifest, chunks, ctx),
            Ok(None) => supervisor.lost_claim(&manifest.record_id, manifest.fence),
            Err(error) => {
                supervisor.ledger_failed("settle", &error);
                ctx.run_later(FIRST_PAUSE, move |supervisor, ctx| supervisor.settle(&manifest, again, ctx));
            }
        }));
    }

    fn settled(&mut self, manifest: &Manifest, chunks: u32, ctx: &mut Context<Self>) {
        crash::point("settle.after");
        let id = &manifest.record_id;
        if self.claims.get(id).is_some_and(|held| held.fence() == manifest.fence) {
            self.claims.remove(id);
        }
        self.claim_more(ctx);
        if manifest.state == RecordingState::Failed {
            self.tell_other_nodes(id);
        }
        self.account_changed(manifest, chunks);
        if manifest.state == RecordingState::Ready && manifest.keep_until_ms.is_none() {
            // Its row is written under another claim, and nothing else has changed.
            return;
        }
        if manifest.state != RecordingState::Ready || !self.will_clear(manifest) {
            self.save_manifest(manifest.clone(), ctx);
        }
        // Given back as it was taken, there is nothing new in it; and it may be one that was deleted.
        if manifest.state != RecordingState::Finalising || manifest.fault.is_some() {
            self.row_changed(manifest, chunks);
        }
        self.write_rows(ctx);
    }

    /// A chunk came after a claim: the recording goes on.
    pub(super) fn went_on(&mut self, id: &RecordId, ctx: &mut Context<Self>) {
        let view = self.ports.ledger.show(id);
        ctx.spawn(view.into_actor(self).map(|view, supervisor, ctx| match view {
            Ok(Some(view)) => {
                // A claim that was made since may be at it: that one knows of the chunk.
                supervisor.take_back_merge(&view.manifest.record_id, view.manifest.fence);
                supervisor.save_manifest(view.manifest.clone(), ctx);
                supervisor.row_changed(&view.manifest, view.chunks);
                supervisor.account_changed(&view.manifest, view.chunks);
            }
            Ok(None) => {}
            Err(error) => supervisor.ledger_failed("show", &error),
        }));
    }
}

pub(super) fn how(manifest: &Manifest) -> &'static str {
    if manifest.stopped { "stopped" } else { "auto" }
}

#[cfg(test)]
#[path = "finalise_tests.rs"]
mod tests;

/// Claims these, where they are due, then others, so many in all. What was claimed is answered also where the ledger was lost on
/// the way.
async fn claims(
    ledger: &dyn Ledger,
    named: &[RecordId],
    limit: usize,
    since: Duration,
) -> Result<Vec<Claim>, LedgerError> {
    let mut claims = Vec::new();
    for id in named {
        match ledger.claim(id).await {
            Ok(claim) => claims.extend(claim),
            // Something is owed of this one; whether the ledger is away the others tell.
            Err(error) => debug!(recording = %id, %error, "a sweep finds it due"),
        }
    }
    match ledger.claim_due(limit.saturating_sub(claims.len()), since).await {
        Ok(due) => claims.extend(due),
        Err(error) if claims.is_empty() => return Err(error),
        Err(_) => {}
    }
    Ok(claims)
}
