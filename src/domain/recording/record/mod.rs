//! The rules of one account: how it begins and goes on. Its chunks: `chunks`; its end: `stop`; who finalises it: `claims`.

mod chunks;
mod claims;
mod stop;

pub use self::claims::{CAREFUL_FROM, CAUTION_MAX_MS, CAUTION_MS, UNHEARD_MAX, caution_ms};

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use uuid::Uuid;

use super::{Attached, Claim, ClaimedWork, Fault, Finished, Kept, Manifest, Noted, Number, Placed, Unplaced};
use crate::protocol::{
    Code, Fence, NodeId, Refusal, UploadToken,
    chunk::{ChunkIndex, ChunkMark},
    limits,
    recorder::RecordingState,
};

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordingRules {
    /// How long a lost recorder is waited for (`RECORDING_GRACE_SECS`).
    pub grace: Duration,
    /// How long a claim stands without a word from whoever has it (`LEASE_SECS`).
    pub lease: Duration,
    /// Most bytes of one recording (`MAX_RECORDING_BYTES`).
    pub bytes_max: u64,
    /// Longest that one recording may take (`MAX_RECORDING_DURATION`).
    pub duration_max: Duration,
}

impl RecordingRules {
    /// How long a recorder is waited for that has no socket to tell of its end, or has just come.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.grace.max(limits::UPLOAD_IDLE)
    }

    /// How long each word holds of a recorder that is there.
    #[must_use]
    pub fn kept(&self) -> Duration {
        kept_for(self.grace)
    }
}

/// How long a recorder is waited for that was kept, where lost ones have this grace: it is not kept more often than the least of it.
#[must_use]
pub fn kept_for(grace: Duration) -> Duration {
    grace.max(KEPT_MIN)
}

/// Somebody's right to finalise, while it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hold {
    by: NodeId,
    /// Unit: milliseconds of the ledger's clock.
    until_ms: u64,
    percent: Option<u8>,
}

/// A number that was given out, while its chunk has not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given {
    /// For which request: it may be asked again because its answer was lost.
    request: Uuid,
    /// Unit: milliseconds of the ledger's clock. 0: its chunk is not waited for any more.
    at_ms: u64,
}

/// A recording's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingRecord {
    manifest: Manifest,
    /// What has each place: chunks, and voids.
    chunks: BTreeMap<ChunkIndex, ChunkMark>,
    /// Places that are kept empty.
    voids: u32,
    /// How many chunks there were, once they are gone.
    gone: Option<u32>,
    bytes: u64,
    /// One more than the highest index that was stored or given out.
    next: u32,
    /// Numbers given out whose chunks have not come yet. None is given out again while anything comes after it: what takes
    /// its place would be out of order.
    given: BTreeMap<ChunkIndex, Given>,
    /// Which recorder is the present one.
    generation: u64,
    attached: bool,
    /// When something is to be done: finalise, try again, or forget. Unit: milliseconds of the ledger's clock.
    deadline_ms: Option<u64>,
    /// After a refused stop: until when the missing chunks are waited for.
    patience_ms: Option<u64>,
    claimed: Option<Hold>,
    /// The last claim that was ended.
    settled: Option<Fence>,
}

impl RecordingRecord {
    /// The account of a recording that begins.
    #[must_use]
    pub fn open(manifest: Manifest, now_ms: u64, rules: RecordingRules) -> Self {
        Self {
            manifest,
            chunks: BTreeMap::new(),
            voids: 0,
            gone: None,
            bytes: 0,
            next: 0,
            given: BTreeMap::new(),
            generation: now_ms,
            attached: true,
            deadline_ms: Some(after(now_ms, rules.idle())),
            patience_ms: None,
            claimed: None,
            settled: None,
        }
    }

    /// Puts back an account from what the chunk store has. Its recorder has a new grace to come back in.
    #[must_use]
    pub fn restore(
        manifest: Manifest,
        chunks: impl IntoIterator<Item = (ChunkIndex, ChunkMark)>,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Self {
        let mut record = Self::open(manifest, now_ms, rules);
        record.attached = false;
        // Whoever is still there says so.
        record.generation = 0;
        for (index, mark) in chunks {
            record.insert(index, mark);
        }
        record.deadline_ms = match record.manifest.state {
            RecordingState::Recording => Some(after(now_ms, rules.grace)),
            // Nobody is waited for.
            RecordingState::Failed => None,
            RecordingState::Finalising => Some(record.with_caution(now_ms)),
            // One whose end did not get into the account is published anew.
            RecordingState::Ready => Some(record.manifest.keep_until_ms.unwrap_or(now_ms)),
        };
        // In a new life of the node.
        record.retry(now_ms);
        if record.manifest.state != RecordingState::Ready {
            record.manifest.keep_until_ms = None;
        }
        if record.manifest.state == RecordingState::Ready
            && record.manifest.has_less_than(record.chunk_count())
        {
            // A chunk was acknowledged after the video was made, and the node died before it could write that down.
            record.go_on(Some(rules.grace), now_ms, rules);
        }
        record
    }

    /// Learns what the chunk store has and it has not: it may be the account of a ledger that has lost its last changes, or
    /// chunks may have been stored while the ledger was away. What it has is never forgotten: it may have come since the
    /// chunk store was looked at.
    pub fn catch_up(
        &mut self,
        manifest: Manifest,
        chunks: impl IntoIterator<Item = (ChunkIndex, ChunkMark)>,
        now_ms: u64,
        rules: RecordingRules,
    ) {
        if self.gone.is_some() {
            return;
        }
        if manifest.revision > self.manifest.revision {
            let fence = self.manifest.fence.max(manifest.fence);
            let known = self.chunks.clone();
            let unknown = chunks.into_iter().filter(|(index, _)| !known.contains_key(index));
            let stored = known.iter().map(|(&index, &mark)| (index, mark)).chain(unknown);
            let restored = Self::restore(Manifest { fence, ..manifest }, stored, now_ms, rules);
            let Self { next, given, generation, .. } = std::mem::replace(self, restored);
            self.next = self.next.max(next);
            self.given = given.into_iter().filter(|(index, _)| !self.chunks.contains_key(index)).collect();
            self.generation = generation;
            return;
        }
        for (index, mark) in chunks {
            if mark.is_void() {
                self.insert(index, mark);
            } else if !self.chunks.contains_key(&index) {
                self.come(index, mark, Some(rules.grace), now_ms, rules);
            }
        }
    }

    /// The recording as it stands.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Chunks stored.
    #[must_use]
    pub fn chunk_count(&self) -> u32 {
        self.gone.unwrap_or_else(|| self.places() - self.voids)
    }

    /// Bytes stored.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One more than the highest index stored or given out.
    #[must_use]
    pub fn next_index(&self) -> u32 {
        self.next
    }

    /// Indices below what is expected that are not stored. A number that is given out is not among them: nobody was told
    /// of it.
    #[must_use]
    pub fn missing(&self) -> Vec<u32> {
        self.missing_below(self.expected())
    }

    /// How many places there must be: chunks, and voids.
    #[must_use]
    pub fn expected(&self) -> u32 {
        self.manifest.announced.map_or(0, |chunks| chunks.saturating_add(self.voids)).max(self.next)
    }

    /// A recorder with this token takes it up; the one before is outdated.
    ///
    /// # Errors
    /// [`Code::Unauthorised`], or [`Code::RecordingOver`] where nothing can be added any more.
    pub fn attach(
        &mut self,
        token: &UploadToken,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Result<Attached, Refusal> {
        self.authorise(token)?;
        let reopened = !self.manifest.stopped && self.manifest.state != RecordingState::Recording;
        if reopened {
            self.reopen(now_ms, rules);
        }
        // A ledger that has lost its last changes does not give one out twice.
        self.generation = now_ms.max(self.generation + 1);
        self.attached = true;
        // What was on its way is sent again.
        self.take_back_numbers();
        if self.manifest.state == RecordingState::Recording {
            // Whoever takes it up may have more to say than what an earlier stop announced.
            self.manifest.announced = None;
            self.manifest.fault = None;
            self.manifest.revision += 1;
            self.patience_ms = None;
            self.deadline_ms = Some(after(now_ms, rules.idle()));
        }
        Ok(Attached { reopened, ..self.as_opened() })
    }

    /// What its present recorder is told.
    #[must_use]
    pub fn as_opened(&self) -> Attached {
        Attached {
            manifest: self.manifest.clone(),
            generation: self.generation,
            next_index: self.next,
            chunks: self.chunk_count(),
            missing: self.missing_below(self.next),
            reopened: false,
        }
    }

    /// The recorder of this generation is still there.
    pub fn keep(&mut self, generation: u64, now_ms: u64, rules: RecordingRules) -> Kept {
        let is_present = generation >= self.generation;
        // An account that was put back knows of none.
        self.generation = self.generation.max(generation);
        if is_present && self.manifest.state == RecordingState::Recording {
            self.attached = true;
            let kept = after(now_ms, rules.kept());
            // However present it is: nothing of it is taken any more once its time is over.
            let until = after(self.manifest.started_ms, rules.duration_max).saturating_add(LATE_STOP_MS);
            let kept = kept.min(until);
            self.deadline_ms = Some(self.patience_ms.map_or(kept, |patience| kept.min(patience)));
        }
        let Manifest { state, revision, .. } = self.manifest;
        let percent = self.claimed.as_ref().and_then(|hold| hold.percent);
        Kept { is_present, state, revision, percent }
    }

    /// The recorder of this generation is gone.
    pub fn detach(&mut self, generation: u64, now_ms: u64, rules: RecordingRules) {
        if generation >= self.generation {
            self.generation = generation;
            self.attached = false;
            if self.manifest.state == RecordingState::Recording {
                self.deadline_ms = Some(after(now_ms, rules.grace));
            }
        }
    }

    /// Checks that a token is its own.
    ///
    /// # Errors
    /// [`Code::Unauthorised`].
    pub fn authorise(&self, token: &UploadToken) -> Result<(), Refusal> {
        let right =
            token.record_id() == &self.manifest.record_id && self.manifest.token.matches(&token.digest());
        if right { Ok(()) } else { Err(Code::Unauthorised.into()) }
    }

    /// What is made of a finished one from now on is another version of it.
    fn begin_version(&mut self) {
        if self.manifest.state == RecordingState::Ready {
            self.manifest.version += 1;
            self.manifest.keep_until_ms = None;
        }
    }

    fn reopen(&mut self, now_ms: u64, rules: RecordingRules) {
        self.begin_version();
        self.raise_fence(now_ms);
        if self.claimed.take().is_some_and(|hold| hold.until_ms > now_ms) {
            // Nobody wants to hear of it any more.
            self.manifest.unheard = self.manifest.unheard.saturating_sub(1);
        }
        self.manifest.state = RecordingState::Recording;
        self.manifest.ended_ms = None;
        self.manifest.fault = None;
        self.deadline_ms = Some(after(now_ms, rules.idle()));
    }

    /// There is more than its video has. What was stopped is finalised anew at once; else its recorder is waited for.
    pub(super) fn go_on(&mut self, wait: Option<Duration>, now_ms: u64, rules: RecordingRules) {
        self.reopen(now_ms, rules);
        if self.manifest.stopped {
            self.manifest.state = RecordingState::Finalising;
            self.deadline_ms = Some(now_ms);
        } else if let Some(wait) = wait {
            self.deadline_ms = Some(after(now_ms, wait));
        }
    }

    /// No claim before this holds any more, nor one that a ledger which lost its last changes gives out later.
    fn raise_fence(&mut self, now_ms: u64) {
        self.manifest.fence = Fence((self.manifest.fence.0 + 1).max(now_ms));
        self.manifest.revision += 1;
    }

    /// How many places are taken, while they are known.
    fn places(&self) -> u32 {
        u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)
    }

    fn missing_below(&self, end: u32) -> Vec<u32> {
        let mut missing = self.empty_below(end);
        missing
            .retain(|&index| ChunkIndex::new(index).map_or(true, |index| !self.given.contains_key(&index)));
        missing
    }

    fn empty_below(&self, end: u32) -> Vec<u32> {
        if self.gone.is_some() {
            return Vec::new();
        }
        let mut missing = Vec::new();
        let mut from = 0;
        let stored = self.chunks.keys().map(|index| index.get()).take_while(|&index| index < end);
        for index in stored.chain([end]) {
            missing.extend(from..index);
            from = index + 1;
        }
        missing
    }

    /// Panics where an invariant does not hold. For tests.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        use RecordingState::{Failed, Finalising, Ready, Recording};
        let sum: u64 = self.chunks.values().map(|mark| u64::from(mark.length)).sum();
        assert_eq!(self.bytes, sum);
        assert!(self.gone.is_none() || self.chunks.is_empty());
        assert!(self.chunks.keys().all(|index| index.get() < self.next));
        assert!(self.given.keys().all(|index| index.get() < self.next && !self.chunks.contains_key(index)));
        let voids = self.chunks.values().filter(|mark| mark.is_void()).count();
        assert!(self.gone.is_some() || self.voids as usize == voids);
        assert!(self.missing().len() <= 2 * limits::CHUNKS_MISSING_MAX as usize, "Q-1");
        match self.manifest.state {
            Recording => {
                assert!(
                    self.deadline_ms.is_some() && self.claimed.is_none(),
                    "nothing is waited for for ever"
                );
            }
            Finalising => assert_ne!(self.deadline_ms.is_some(), self.claimed.is_some(), "due or being done"),
            Ready => assert_ne!(self.deadline_ms.is_some(), self.claimed.is_some(), "forgotten one day"),
            Failed => assert!(self.claimed.is_none(), "waits for somebody"),
        }
        assert!(!self.manifest.stopped || self.manifest.state != Recording);
        assert!(
            self.manifest.keep_until_ms.is_none() || self.manifest.state == Ready,
            "what is to be made is not to be forgotten"
        );
    }
}

/// A recorder that is kept is waited for at least so long, however short the grace is: it is not kept more often.
pub const KEPT_MIN: Duration = Duration::from_secs(2);

/// After the longest time of a recording, its recorder has so long to say stop. Unit: milliseconds.
pub const LATE_STOP_MS: u64 = 10_000;

/// A number whose chunk has not come for so long is void: its node died, or nobody heard of it. Unit: milliseconds. Should
/// the chunk come after all, the chunk store lets only one of the two have the place (L-2).
pub const NUMBER_TERM_MS: u64 = 60_000;

fn after(now_ms: u64, span: Duration) -> u64 {
    now_ms.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "again_tests.rs"]
mod again_tests;
#[cfg(test)]
#[path = "history_tests.rs"]
mod history_tests;
#[cfg(test)]
#[path = "shared_tests.rs"]
mod shared_tests;
#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "unheard_tests.rs"]
mod unheard_tests;
