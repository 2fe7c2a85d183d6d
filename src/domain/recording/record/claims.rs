//! Claims: who may finalise, and what that comes to.

use super::{Claim, ClaimedWork, Fault, Finished, Hold, Manifest, RecordingRecord, RecordingRules, after};
use crate::protocol::{Fence, NodeId, recorder::RecordingState};

/// When nothing was heard of so many merges of a recording, one after the other, the next one waits for a while.
pub const CAREFUL_FROM: u32 = 3;
/// For so long, and twice as long each time. Unit: milliseconds.
pub const CAUTION_MS: u64 = 10_000;
/// The longest. Unit: milliseconds.
pub const CAUTION_MAX_MS: u64 = 300_000;
/// When nothing was heard of so many, no other node is put at risk.
pub const UNHEARD_MAX: u32 = 8;

/// How long the next merge waits because nothing was heard of the last ones. Not as long for every recording: what was only
/// made beside the one that takes nodes down is to be made apart from it. Unit: milliseconds.
#[must_use]
pub fn caution_ms(manifest: &Manifest) -> u64 {
    if !(CAREFUL_FROM..UNHEARD_MAX).contains(&manifest.unheard) {
        return 0;
    }
    let pause = (CAUTION_MS << (manifest.unheard - CAREFUL_FROM)).min(CAUTION_MAX_MS);
    pause + pause / 4 * (manifest.started_ms % 4)
}

impl RecordingRecord {
    /// Claims what is due, if anything is: also what somebody has claimed and left.
    pub fn claim(&mut self, by: &NodeId, now_ms: u64, rules: RecordingRules) -> Option<Claim> {
        let due_ms = self.due_ms()?;
        if due_ms > now_ms {
            return None;
        }
        self.take_back_numbers();
        let until_ms = after(now_ms, rules.lease);
        self.claimed = Some(Hold { by: by.clone(), until_ms, percent: None });
        self.deadline_ms = None;
        self.patience_ms = None;
        self.raise_fence(now_ms);
        let chunks = self.chunk_count();
        let work = match (self.manifest.state, self.manifest.keep_until_ms) {
            (RecordingState::Ready, Some(_)) => ClaimedWork::Forget,
            (RecordingState::Ready, None) => ClaimedWork::Publish { chunks },
            _ => {
                self.manifest.state = RecordingState::Finalising;
                self.manifest.ended_ms.get_or_insert(now_ms);
                let gives_up = self.is_given_up();
                self.manifest.unheard = self.manifest.unheard.saturating_add(1);
                if gives_up {
                    ClaimedWork::GiveUp
                } else {
                    ClaimedWork::Finalise { expected: self.expected(), chunks }
                }
            }
        };
        Some(Claim { manifest: self.manifest.clone(), work })
    }

    /// When something is to be done, or whoever does it is taken for gone. Unit: milliseconds of the ledger's clock.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let lapses = |hold: &Hold| Some(hold.until_ms.saturating_add(caution_ms(&self.manifest)));
        self.claimed.as_ref().map_or(self.deadline_ms, lapses)
    }

    /// What has failed is due again: what it lacked may be there now. `false`: it has not failed, or its merges took their
    /// nodes down.
    pub fn retry(&mut self, now_ms: u64) -> bool {
        let is_due = self.manifest.state == RecordingState::Failed && !self.is_given_up();
        if is_due {
            self.manifest.state = RecordingState::Finalising;
            self.manifest.revision += 1;
            self.deadline_ms = Some(self.with_caution(now_ms));
        }
        is_due
    }

    /// Whether no further node is put at risk, until its recorder says that it wants its video.
    pub(super) fn is_given_up(&self) -> bool {
        self.manifest.unheard >= UNHEARD_MAX
    }

    pub(super) fn with_caution(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(caution_ms(&self.manifest))
    }

    /// Who is at it.
    #[must_use]
    pub fn claimed_by(&self) -> Option<&NodeId> {
        self.claimed.as_ref().map(|hold| &hold.by)
    }

    /// How far a merge is.
    #[must_use]
    pub fn percent(&self) -> Option<u8> {
        self.claimed.as_ref().and_then(|hold| hold.percent)
    }

    /// Whether a claim is the latest one.
    #[must_use]
    pub fn holds(&self, fence: Fence) -> bool {
        self.claimed.is_some() && self.manifest.fence == fence
    }

    /// Whoever has the claim is still at it, and so far. `false`: it no longer holds.
    pub fn keep_claim(
        &mut self,
        fence: Fence,
        percent: Option<u8>,
        now_ms: u64,
        rules: RecordingRules,
    ) -> bool {
        let held = self.holds(fence);
        if let Some(hold) = self.claimed.as_mut().filter(|_| held) {
            hold.until_ms = after(now_ms, rules.lease);
            hold.percent = percent.or(hold.percent);
        }
        held
    }

    /// The claim has led to a video, which everybody may know of. The claim goes on, until its row is written and what is
    /// not needed any more is cleared away. `None`: it no longer held.
    pub fn publish(&mut self, fence: Fence, finished: Finished, now_ms: u64) -> Option<Manifest> {
        self.holds(fence).then(|| {
            // What follows, such as its digest, makes it no younger.
            let was_ready = self.manifest.state == RecordingState::Ready;
            let before = self.manifest.finished.as_deref().filter(|_| was_ready);
            let ready_ms = before.map_or(now_ms, |before| before.ready_ms);
            self.manifest.state = RecordingState::Ready;
            self.manifest.unheard = 0;
            // Its row is not written yet: whoever claims it before that is done must not forget it.
            self.manifest.keep_until_ms = None;
            self.manifest.fault = None;
            self.manifest.merged_chunks = Some(finished.chunks);
            self.manifest.finished = Some(Box::new(Finished { ready_ms, ..finished }));
            self.manifest.revision += 1;
            self.manifest.clone()
        })
    }

    /// Everything is done; the recording is forgotten when the time to come back is over. `None`: the claim no longer
    /// held.
    pub fn settle_ready(&mut self, fence: Fence, keep_until_ms: u64) -> Option<Manifest> {
        if self.holds(fence) {
            self.manifest.keep_until_ms = Some(keep_until_ms);
        }
        self.end_claim(fence, RecordingState::Ready, Some(keep_until_ms))
    }

    /// Its chunks are gone, and with them what was noted of each. `false`: the claim no longer held, and nothing has changed.
    pub fn forget_chunks(&mut self, fence: Fence) -> bool {
        let held = self.holds(fence);
        if held {
            self.gone = Some(self.chunk_count());
            self.chunks.clear();
            self.given.clear();
            self.bytes = 0;
        }
        held
    }

    /// The claim has led to nothing; what was due is due again then. `None`: it no longer held.
    pub fn settle_again(&mut self, fence: Fence, at_ms: u64, fault: Option<Fault>) -> Option<Manifest> {
        if self.holds(fence) && fault.is_some() {
            self.manifest.fault = fault;
        }
        let state = self.manifest.state;
        self.end_claim(fence, state, Some(at_ms))
    }

    /// The claim has led to nothing, and would again. `None`: it no longer held.
    pub fn settle_failed(&mut self, fence: Fence, fault: Fault) -> Option<Manifest> {
        if self.holds(fence) {
            self.manifest.fault = Some(fault);
        }
        self.end_claim(fence, RecordingState::Failed, None)
    }

    fn end_claim(
        &mut self,
        fence: Fence,
        state: RecordingState,
        deadline_ms: Option<u64>,
    ) -> Option<Manifest> {
        if self.claimed.is_none() && self.settled == Some(fence) && self.manifest.fence == fence {
            // Whoever did not hear that it is done asks again, and nothing has happened since.
            return Some(self.manifest.clone());
        }
        self.holds(fence).then(|| {
            self.settled = Some(fence);
            self.claimed = None;
            self.manifest.unheard = self.manifest.unheard.saturating_sub(1);
            self.manifest.state = state;
            self.manifest.revision += 1;
            self.deadline_ms = deadline_ms;
            self.manifest.clone()
        })
    }
}
