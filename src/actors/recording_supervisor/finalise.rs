//! What is due, and what became of it.
//!
//! The order at the end is the one thing that must never change: the video is in its store and proven, then its row is
//! in the catalog, and only then its chunks go (M-4). Whatever fails on the way, the chunks stay (M-5).

use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tracing::{error, info, warn};

use super::RecordingSupervisor;
use crate::{
    actors::{
        mailbox::{Mailbox, post},
        messages::{MergeEnded, MergeFault, MergeProgressed, MergeRecording, MergedVideo},
    },
    adapters::ports::{CatalogRow, ClaimEnd, LedgerError, MergeError},
    domain::recording::{Claim, ClaimedWork, Manifest},
    protocol::{
        Code, RecordId, Refusal,
        recorder::{RecorderEvent, RecordingState},
    },
};

/// Merges that are cut off, by a signal, their time limit or a full disk, before a person must look: over half an hour.
const TRIES: u32 = 12;
/// The pause before the second try; it doubles with each, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How often it is looked whether ffmpeg is there now.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(10);
/// The chunks of an incomplete recording stay until somebody deletes it: a hundred years.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

impl RecordingSupervisor {
    /// Claims what is due.
    pub(super) fn sweep(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.sweeping, true) {
            return;
        }
        let claimed = self.ports.ledger.claim_due();
        ctx.spawn(claimed.into_actor(self).map(|claimed, supervisor, ctx| {
            supervisor.sweeping = false;
            match claimed {
                Ok(claims) => claims.iter().for_each(|claim| supervisor.take_up(claim, ctx)),
                Err(error) => supervisor.ledger_failed("claim_due", &error),
            }
        }));
    }

    fn take_up(&mut self, claim: &Claim, ctx: &mut Context<Self>) {
        match claim.work {
            ClaimedWork::Finalise { expected, chunks } => {
                let now = self.clock.now().wall_ms;
                self.row_of(&claim.manifest, |row| {
                    row.chunks = chunks;
                    row.ended_ms = row.ended_ms.or(Some(now));
                });
                self.merge(&claim.manifest, expected, ctx);
            }
            ClaimedWork::Forget => self.forget_finished(&claim.manifest, ctx),
        }
    }

    fn merge(&self, manifest: &Manifest, expected: u32, ctx: &mut Context<Self>) {
        info!(recording = %manifest.record_id, fence = manifest.fence.0, stopped = manifest.stopped, "finalising");
        self.save_manifest(manifest.clone(), ctx);
        let message = MergeRecording { manifest: manifest.clone(), expected };
        if post(&self.links.merge, Mailbox::MergeWorker, &self.metrics, message).is_err() {
            self.put_off(manifest, ClaimEnd::TryAgain(FIRST_PAUSE), ctx);
        }
    }

    /// Gives a claim back, so that what was due is due again a little later.
    fn put_off(&self, manifest: &Manifest, end: ClaimEnd, ctx: &mut Context<Self>) {
        let settled = self.ports.ledger.settle(manifest.record_id.clone(), manifest.fence, end);
        ctx.spawn(settled.into_actor(self).map(|settled, supervisor, _| {
            if let Err(error) = settled {
                supervisor.ledger_failed("settle", &error);
            }
        }));
    }

    /// A new life of the node should know it; should it not, it finds the same things due again.
    fn save_manifest(&self, manifest: Manifest, ctx: &mut Context<Self>) {
        let (ports, gates) = (self.ports.clone(), self.links.gates.clone());
        let saved = async move {
            let _passing = gates.pass(&manifest.record_id).await;
            ports.chunks.save_manifest(manifest).await
        };
        ctx.spawn(saved.into_actor(self).map(|saved, supervisor, _| {
            if let Err(error) = saved {
                warn!(%error, "what is known of a recording could not be saved");
                supervisor.metrics.storage_errors.with_label_values(&["chunks", "manifest"]).inc();
            }
        }));
    }

    pub(super) fn merge_progressed(&mut self, message: &MergeProgressed) {
        let current = self.rows.get(&message.id).is_some_and(|row| row.fence == message.fence);
        if !current {
            return;
        }
        let before = self.merging.insert(message.id.clone(), message.percent);
        if before.is_none_or(|before| before < message.percent) {
            let record_id = message.id.clone();
            self.tell(&message.id, RecorderEvent::MergeProgress { record_id, percent: message.percent });
        }
    }

    pub(super) fn merge_ended(&mut self, message: MergeEnded, ctx: &mut Context<Self>) {
        let MergeEnded { manifest, outcome } = message;
        let id = manifest.record_id.clone();
        match &outcome {
            Err(MergeFault::Empty) => return self.nothing_came(&manifest, ctx),
            Err(MergeFault::Overtaken) => return self.overtaken(&manifest),
            _ => {}
        }
        let end = match &outcome {
            Ok(video) => {
                let keep = if video.facts.complete { self.config.reopen } else { FOR_EVER };
                ClaimEnd::Ready { keep }
            }
            Err(fault) => self.after_fault(&id, fault),
        };
        let settled = self.ports.ledger.settle(id, manifest.fence, end.clone());
        ctx.spawn(settled.into_actor(self).map(move |settled, supervisor, ctx| match settled {
            Ok(Some(manifest)) => supervisor.settled(&manifest, outcome, &end, ctx),
            Ok(None) => supervisor.overtaken(&manifest),
            Err(error) => {
                supervisor.ledger_failed("settle", &error);
                let again = MergeEnded { manifest, outcome };
                ctx.run_later(FIRST_PAUSE, move |supervisor, ctx| supervisor.merge_ended(again, ctx));
            }
        }));
    }

    fn overtaken(&self, manifest: &Manifest) {
        info!(recording = %manifest.record_id, "a merge was overtaken by more chunks");
        self.metrics.merges.with_label_values(&["outdated", "none"]).inc();
    }

    /// What a merge that came to nothing means for the next one.
    fn after_fault(&mut self, id: &RecordId, fault: &MergeFault) -> ClaimEnd {
        let tries = match fault {
            MergeFault::Merge(MergeError::Unavailable(_)) => {
                return ClaimEnd::TryAgain(UNAVAILABLE_PAUSE);
            }
            // A disk that is full or away says nothing against the recording.
            MergeFault::Store(_) => u32::MAX,
            MergeFault::Merge(error) if error.is_transient() => TRIES,
            MergeFault::Merge(_) | MergeFault::Empty | MergeFault::Overtaken => 1,
        };
        let faults = self.faults.entry(id.clone()).or_default();
        *faults += 1;
        if *faults >= tries {
            return ClaimEnd::Failed;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << (*faults - 1).min(16));
        ClaimEnd::TryAgain(pause.min(LONGEST_PAUSE))
    }

    fn settled(
        &mut self,
        manifest: &Manifest,
        outcome: Result<MergedVideo, MergeFault>,
        end: &ClaimEnd,
        ctx: &mut Context<Self>,
    ) {
        self.merging.remove(&manifest.record_id);
        let complete = outcome.as_ref().is_ok_and(|video| video.facts.complete);
        if !(complete && manifest.stopped && self.config.cleanup_chunks) {
            // Otherwise its folder goes in a moment; a node that dies before that makes the same video once more.
            self.save_manifest(manifest.clone(), ctx);
        }
        match outcome {
            Ok(video) => self.video_is_there(manifest, video),
            Err(fault) => self.video_is_not_there(manifest, &fault, end),
        }
        self.write_rows(ctx);
    }

    /// Not one chunk was ever stored: there is nothing to keep, and nothing to wait for.
    fn nothing_came(&self, manifest: &Manifest, ctx: &mut Context<Self>) {
        self.release(manifest, ctx, |supervisor, manifest| {
            let failed = Manifest { state: RecordingState::Failed, ..manifest };
            supervisor.merging.remove(&failed.record_id);
            supervisor.video_is_not_there(&failed, &MergeFault::Empty, &ClaimEnd::Failed);
        });
    }

    fn video_is_there(&mut self, manifest: &Manifest, video: MergedVideo) {
        let id = &manifest.record_id;
        let MergedVideo { facts, mime_type, missing } = video;
        let outcome = if facts.complete { "complete" } else { "incomplete" };
        info!(recording = %id, key = facts.key.as_str(), outcome, duration_ms = facts.duration_ms, "ready");
        self.faults.remove(id);
        self.merging_works = true;
        self.metrics.merges.with_label_values(&["ready", facts.path()]).inc();
        self.metrics.recordings_ended.with_label_values(&[how(manifest), outcome]).inc();
        let unsigned = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.metrics.chunks_missing.with_label_values::<&str>(&[]).inc_by(unsigned(missing.len()));
        self.metrics.gaps.with_label_values::<&str>(&[]).inc_by(unsigned(facts.gaps.len()));
        let now = self.clock.now().wall_ms;
        self.row_of(manifest, |row| {
            row.ready_ms = Some(now);
            row.mime_type = mime_type;
            row.missing = missing;
            row.error = None;
            row.video = Some(facts);
        });
        if let Some(ready) = self.rows.get(id).and_then(|row| self.ready(row)) {
            self.tell(id, RecorderEvent::RecordingReady(Box::new(ready)));
        }
        // Its socket is free for another.
        self.attached.remove(id);
    }

    fn video_is_not_there(&mut self, manifest: &Manifest, fault: &MergeFault, end: &ClaimEnd) {
        let id = &manifest.record_id;
        let (refusal, outcome) = told(fault);
        self.metrics.merges.with_label_values(&[outcome, "none"]).inc();
        if matches!(end, ClaimEnd::Failed) {
            error!(recording = %id, why = %refusal.message(), "no video could be made; the chunks are kept");
            self.metrics.recordings_ended.with_label_values(&[how(manifest), "failed"]).inc();
        } else {
            warn!(recording = %id, why = %refusal.message(), "a merge came to nothing, and is tried again");
        }
        self.merging_works &= refusal.code != Code::MergingUnavailable;
        let words = (refusal.code.name().to_owned(), refusal.message().into_owned());
        // The recorder is told of the first in a row, and of the last.
        let known = self.rows.get(id).is_some_and(|row| row.error.is_some());
        self.row_of(manifest, |row| row.error = Some(words));
        if !known || matches!(end, ClaimEnd::Failed) {
            self.tell_refused(id, &refusal);
        }
        if matches!(end, ClaimEnd::Failed) {
            // Its socket is free for another.
            self.attached.remove(id);
        }
    }

    /// After the row of a finished recording is in the catalog.
    pub(super) fn clean_up(&mut self, row: &CatalogRow, ctx: &mut Context<Self>) {
        if !self.config.cleanup_chunks || row.video.as_ref().is_none_or(|video| !video.complete) {
            return;
        }
        let (ports, gates) = (self.ports.clone(), self.links.gates.clone());
        let (id, fence, version) = (row.record_id.clone(), row.fence, row.version);
        let cleaned = async move {
            let _alone = gates.close(&id).await;
            let view = ports.ledger.show(&id).await.ok().flatten();
            let over = |manifest: &Manifest| {
                manifest.stopped && (manifest.fence, manifest.version) == (fence, version)
            };
            // Its recorder may still be back where it never said stop.
            if !view.is_some_and(|view| over(&view.manifest) && view.chunks > 0) {
                return None;
            }
            let deleted = ports.chunks.delete(&id).await;
            if deleted.is_ok() {
                let _ = ports.ledger.forget_chunks(&id).await;
            }
            Some(deleted)
        };
        ctx.spawn(cleaned.into_actor(self).map(|cleaned, supervisor, _| match cleaned {
            None => {}
            Some(Ok(())) => supervisor.metrics.cleanups.with_label_values(&["merged"]).inc(),
            Some(Err(error)) => {
                warn!(%error, "chunks of a finished recording stay behind");
                supervisor.metrics.cleanups.with_label_values(&["failed"]).inc();
            }
        }));
    }

    /// A finished recording whose recorder did not come back: once its row is in the catalog, the rest goes (M-4).
    fn forget_finished(&mut self, manifest: &Manifest, ctx: &mut Context<Self>) {
        if self.rows.is_written(&manifest.record_id) {
            return self.release(manifest, ctx, |_, _| {});
        }
        self.put_off(manifest, ClaimEnd::Ready { keep: FIRST_PAUSE }, ctx);
    }

    /// Closes the account of a claim, and takes its chunks away unless the operator keeps them. The account first, in one
    /// step with the fence: a recorder that comes back now either keeps everything or is told that it is over.
    /// `last`: what is said of the recording as it last stood, unless the claim no longer held.
    fn release(
        &self,
        manifest: &Manifest,
        ctx: &mut Context<Self>,
        last: impl FnOnce(&mut Self, Manifest) + 'static,
    ) {
        let (ports, gates) = (self.ports.clone(), self.links.gates.clone());
        let (id, fence) = (manifest.record_id.clone(), manifest.fence);
        let takes_away = self.config.cleanup_chunks || manifest.state != RecordingState::Ready;
        let asked = id.clone();
        let released = async move {
            let _alone = gates.close(&asked).await;
            let Some(manifest) = ports.ledger.release(asked.clone(), fence).await? else { return Ok(None) };
            let deleted = if takes_away { ports.chunks.delete(&asked).await } else { Ok(()) };
            Ok::<_, LedgerError>(Some((manifest, deleted)))
        };
        ctx.spawn(released.into_actor(self).map(move |released, supervisor, ctx| {
            let (manifest, deleted) = match released {
                Ok(Some(released)) => released,
                Ok(None) => return,
                Err(error) => return supervisor.ledger_failed("release", &error),
            };
            if let Err(error) = &deleted {
                warn!(recording = %id, %error, "chunks stay behind until the node starts again");
            }
            let outcome = if deleted.is_ok() { "forgotten" } else { "failed" };
            supervisor.metrics.cleanups.with_label_values(&[outcome]).inc();
            supervisor.faults.remove(&id);
            last(supervisor, manifest);
            supervisor.rows.release(&id);
            supervisor.write_rows(ctx);
        }));
    }

    /// A chunk came after a claim: the recording goes on.
    pub(super) fn went_on(&mut self, id: &RecordId, ctx: &mut Context<Self>) {
        let view = self.ports.ledger.show(id);
        ctx.spawn(view.into_actor(self).map(|view, supervisor, ctx| match view {
            Ok(Some(view)) => {
                // A claim that was made since may be at it: that one knows of the chunk.
                supervisor.take_back_merge(&view.manifest.record_id, view.manifest.fence);
                supervisor.save_manifest(view.manifest.clone(), ctx);
                supervisor.row_of(&view.manifest, |row| row.error = None);
            }
            Ok(None) => {}
            Err(error) => supervisor.ledger_failed("show", &error),
        }));
    }
}

fn how(manifest: &Manifest) -> &'static str {
    if manifest.stopped { "stopped" } else { "auto" }
}

fn told(fault: &MergeFault) -> (Refusal, &'static str) {
    match fault {
        MergeFault::Empty => (Code::EmptyRecording.into(), "empty"),
        MergeFault::Overtaken => (Code::MergeFailed.into(), "outdated"),
        MergeFault::Store(what) => (Refusal::because(Code::MergeFailed, what.clone()), "store"),
        MergeFault::Merge(error) => {
            let outcome = match error {
                MergeError::Unavailable(_) => "unavailable",
                MergeError::Interrupted(_) => "interrupted",
                MergeError::Impossible(_) => "impossible",
                MergeError::NotProven(_) => "not_proven",
            };
            (error.refusal(), outcome)
        }
    }
}
