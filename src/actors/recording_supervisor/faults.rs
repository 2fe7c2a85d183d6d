//! Merges that came to nothing: whether they are tried again, and what is told of them.

use std::time::Duration;

use actix::Context;
use tracing::{error, warn};

use super::{RecordingSupervisor, SWEEP, finalise::how};
use crate::{
    actors::messages::MergeFault,
    adapters::ports::{ClaimEnd, MergeError},
    domain::recording::{Fault, Manifest, Trouble},
    protocol::{Code, RecordId, Refusal},
};

/// How often it is looked whether ffmpeg is there now.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(10);

impl RecordingSupervisor {
    /// What a merge that came to nothing means for the next one.
    pub(super) fn after_fault(&mut self, id: &RecordId, fault: &MergeFault) -> ClaimEnd {
        let why = Fault::from(&told(fault).0);
        let trouble = match fault {
            MergeFault::Merge(MergeError::Unavailable(_)) => {
                self.let_others_try(UNAVAILABLE_PAUSE);
                return ClaimEnd::TryAgain { pause: UNAVAILABLE_PAUSE, fault: Some(why) };
            }
            // A disk that is full or away says nothing against the recording.
            MergeFault::Store(_) => Trouble::Elsewhere,
            MergeFault::Merge(error) if error.is_transient() => Trouble::CutOff,
            MergeFault::Lost(_) => Trouble::CutOff,
            MergeFault::Merge(_) | MergeFault::Empty | MergeFault::Overtaken => Trouble::Lasting,
        };
        let tries = self.faults.entry(id.clone()).or_default();
        let pause = tries.failed(trouble);
        let is_first = tries.is_first();
        let Some(pause) = pause else {
            // Whoever tries again has as much patience.
            self.faults.remove(id);
            return ClaimEnd::Failed(why);
        };
        if is_first {
            self.let_others_try(pause);
        }
        ClaimEnd::TryAgain { pause, fault: Some(why) }
    }

    /// What has failed may be this node's own, such as a full disk: whatever is due after this pause is for others first,
    /// where there are any.
    fn let_others_try(&mut self, pause: Duration) {
        if self.config.clustered {
            self.claims_from = self.claims_from.max(self.clock.now().mono + pause + 4 * SWEEP);
        }
    }

    /// A merge came to nothing: its claim ends so, counted and logged.
    pub(super) fn merge_failed(
        &mut self,
        manifest: &Manifest,
        fault: &MergeFault,
        end: ClaimEnd,
        ctx: &mut Context<Self>,
    ) {
        let id = &manifest.record_id;
        let (refusal, outcome) = told(fault);
        // Whoever runs the node reads everything; what others are told names no place on it.
        self.metrics.merges.with_label_values(&[outcome, "none"]).inc();
        if matches!(end, ClaimEnd::Failed(_)) {
            error!(recording = %id, why = %fault, "no video could be made; the chunks are kept");
            self.metrics.recordings_ended.with_label_values(&[how(manifest), "failed"]).inc();
        } else {
            warn!(recording = %id, why = %fault, "a merge came to nothing, and is tried again");
        }
        self.merging_works &= refusal.code != Code::MergingUnavailable;
        self.settle(manifest, end, ctx);
    }
}

/// What is told of it, and what it counts as.
pub(super) fn told(fault: &MergeFault) -> (Refusal, &'static str) {
    match fault {
        MergeFault::Empty => (Code::EmptyRecording.into(), "empty"),
        MergeFault::Overtaken => (Code::MergeFailed.into(), "outdated"),
        MergeFault::Lost(_) => (Code::ChunksLost.into(), "lost"),
        MergeFault::Store(_) => (Refusal::because(Code::MergeFailed, "a store failed"), "store"),
        MergeFault::Merge(error) => {
            let outcome = match error {
                MergeError::Unavailable(_) => "unavailable",
                MergeError::Interrupted(_) => "interrupted",
                MergeError::Impossible(_) => "impossible",
                MergeError::Nothing(_) => "empty",
                MergeError::NotProven(_) => "not_proven",
            };
            (error.refusal(), outcome)
        }
    }
}
