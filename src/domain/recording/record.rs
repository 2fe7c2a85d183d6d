//! The rules of one account.

use std::{collections::BTreeMap, time::Duration};

use super::{Attached, Claim, ClaimedWork, Manifest, Noted, Placed, StopRefused, StopTaken};
use crate::protocol::{
    Code, Fence, Refusal, UploadToken,
    chunk::{ChunkIndex, ChunkMark},
    limits,
    recorder::{Made, RecordingState},
};

/// The spans an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordingTimes {
    /// How long a lost recorder is waited for (`RECORDING_GRACE_SECS`).
    pub grace: Duration,
    /// How long the chunks of a recording whose recorder vanished are kept after its video is made (`REOPEN_SECS`).
    pub reopen: Duration,
}

/// A recording's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingRecord {
    manifest: Manifest,
    chunks: BTreeMap<ChunkIndex, ChunkMark>,
    /// How many chunks there were, once they are gone.
    gone: Option<u32>,
    bytes: u64,
    /// One more than the highest index that was stored or given out.
    next: u32,
    /// Numbers given out for chunks that could not be stored after all; the next ones take them.
    returned: Vec<ChunkIndex>,
    /// Which recorder is the present one.
    generation: u64,
    attached: bool,
    /// When something is to be done: finalise, try again, or forget. Unit: milliseconds of the ledger's clock.
    deadline_ms: Option<u64>,
    /// After a refused stop: until when the missing chunks are waited for.
    patience_ms: Option<u64>,
    claimed: bool,
}

impl RecordingRecord {
    /// The account of a recording that begins.
    #[must_use]
    pub fn open(manifest: Manifest, now_ms: u64, times: RecordingTimes) -> Self {
        Self {
            manifest,
            chunks: BTreeMap::new(),
            gone: None,
            bytes: 0,
            next: 0,
            returned: Vec::new(),
            generation: 1,
            attached: true,
            deadline_ms: Some(after(now_ms, times.grace.max(limits::UPLOAD_IDLE))),
            patience_ms: None,
            claimed: false,
        }
    }

    /// Puts back an account from what the chunk store has. Its recorder has a new grace to come back in.
    #[must_use]
    pub fn restore(
        manifest: Manifest,
        chunks: impl IntoIterator<Item = (ChunkIndex, ChunkMark)>,
        now_ms: u64,
        times: RecordingTimes,
    ) -> Self {
        let mut record = Self::open(manifest, now_ms, times);
        record.attached = false;
        for (index, mark) in chunks {
            record.insert(index, mark);
        }
        record.deadline_ms = match record.manifest.state {
            RecordingState::Recording => Some(after(now_ms, times.grace)),
            // A failed one is tried again in a new life of the node: what it lacked may be there now.
            RecordingState::Finalising | RecordingState::Failed => Some(now_ms),
            RecordingState::Ready => Some(record.manifest.keep_until_ms.unwrap_or(now_ms)),
        };
        if record.manifest.state == RecordingState::Failed {
            record.manifest.state = RecordingState::Finalising;
        }
        let merged = record.manifest.merged_chunks.unwrap_or(record.chunk_count());
        if record.manifest.state == RecordingState::Ready && record.chunk_count() > merged {
            // A chunk was acknowledged after the video was made, and the node died before it could write that down.
            record.reopen(now_ms, times);
            record.deadline_ms = Some(after(now_ms, times.grace));
        }
        record
    }

    /// The recording as it stands.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Chunks stored.
    #[must_use]
    pub fn chunk_count(&self) -> u32 {
        self.gone.unwrap_or_else(|| u32::try_from(self.chunks.len()).unwrap_or(u32::MAX))
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

    /// Indices below what is expected that are not stored.
    #[must_use]
    pub fn missing(&self) -> Vec<u32> {
        self.missing_below(self.expected())
    }

    /// How many chunks there must be.
    #[must_use]
    pub fn expected(&self) -> u32 {
        self.manifest.announced.unwrap_or(0).max(self.next)
    }

    /// A recorder with this token takes it up; the one before is outdated.
    ///
    /// # Errors
    /// [`Code::Unauthorised`], or [`Code::RecordingOver`] where nothing can be added any more.
    pub fn attach(
        &mut self,
        token: &UploadToken,
        now_ms: u64,
        times: RecordingTimes,
    ) -> Result<Attached, Refusal> {
        self.authorise(token)?;
        let reopened = !self.manifest.stopped && self.manifest.state != RecordingState::Recording;
        if reopened {
            self.reopen(now_ms, times);
        }
        self.generation += 1;
        self.attached = true;
        if self.manifest.state == RecordingState::Recording {
            // Whoever takes it up may have more to say than what an earlier stop announced.
            self.manifest.announced = None;
            self.manifest.revision += 1;
            self.patience_ms = None;
            self.deadline_ms = Some(after(now_ms, times.grace.max(limits::UPLOAD_IDLE)));
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
            missing: self.missing_below(self.next),
            reopened: false,
        }
    }

    /// Whether a chunk may come at all, before anything of it is stored.
    ///
    /// # Errors
    /// [`Code::Unauthorised`], [`Code::RecordingStopped`], [`Code::NotMedia`].
    pub fn admit(&self, token: &UploadToken, may_begin: bool) -> Result<(), Refusal> {
        self.authorise(token)?;
        self.takes_chunks()?;
        if self.next == 0 && !may_begin { Err(Code::NotMedia.into()) } else { Ok(()) }
    }

    /// Whether a chunk may be stored at this place. `may_begin`: whether its bytes can begin a recording.
    ///
    /// # Errors
    /// [`Code::Unauthorised`], [`Code::Conflict`] (L-2), [`Code::RecordingStopped`], [`Code::IndexOutOfRange`],
    /// [`Code::NotMedia`].
    pub fn place(
        &self,
        token: &UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        may_begin: bool,
    ) -> Result<Placed, Refusal> {
        self.authorise(token)?;
        if let Some(stored) = self.chunks.get(&index) {
            return if stored.same_bytes(&mark) { Ok(Placed::Duplicate) } else { Err(Code::Conflict.into()) };
        }
        self.takes_chunks()?;
        if index.get() == 0 && !may_begin {
            return Err(Code::NotMedia.into());
        }
        let ahead = index.get().saturating_sub(self.next);
        let holes = self.next - self.chunk_count().min(self.next);
        let announced = self.manifest.announced.unwrap_or(limits::CHUNKS_MAX);
        if holes.saturating_add(ahead) > limits::CHUNKS_MISSING_MAX || index.get() >= announced {
            return Err(Code::IndexOutOfRange.into());
        }
        Ok(Placed::New)
    }

    /// Gives out the next number, for a chunk that is staged.
    ///
    /// # Errors
    /// As [`Self::place`].
    pub fn number(&mut self, token: &UploadToken, may_begin: bool) -> Result<ChunkIndex, Refusal> {
        self.authorise(token)?;
        self.takes_chunks()?;
        let number = match self.returned.last() {
            Some(&returned) => returned,
            None => ChunkIndex::new(self.next)?,
        };
        if number.get() == 0 && !may_begin {
            return Err(Code::NotMedia.into());
        }
        if self.returned.pop().is_none() {
            self.next += 1;
        }
        Ok(number)
    }

    /// Takes back a number whose chunk could not be stored: a failed write leaves no hole.
    pub fn give_back(&mut self, index: ChunkIndex) {
        if self.chunks.contains_key(&index) {
            return;
        }
        if index.get() + 1 == self.next {
            self.next = index.get();
        } else if index.get() < self.next && !self.returned.contains(&index) {
            self.returned.push(index);
        }
    }

    /// Notes a chunk that is durable in its place. `over_http`: its recorder has no socket that would tell of its end.
    pub fn note(
        &mut self,
        index: ChunkIndex,
        mark: ChunkMark,
        over_http: bool,
        now_ms: u64,
        times: RecordingTimes,
    ) -> Noted {
        let known = self.chunks.contains_key(&index);
        self.insert(index, mark);
        if self.patience_ms.is_some() {
            self.patience_ms = Some(after(now_ms, limits::STOP_PATIENCE));
        }
        if self.manifest.state == RecordingState::Recording {
            if over_http {
                let idle = after(now_ms, times.grace.max(limits::UPLOAD_IDLE));
                self.deadline_ms = self.deadline_ms.max(Some(idle));
            }
            return Noted::InTime;
        }
        if known {
            // Brought twice at the same time, and counted once already.
            return Noted::InTime;
        }
        self.reopen(now_ms, times);
        if self.manifest.stopped {
            self.manifest.state = RecordingState::Finalising;
            self.deadline_ms = Some(now_ms);
        }
        Noted::Outdated
    }

    /// The recorder says that everything was sent.
    ///
    /// # Errors
    /// [`Code::ChunksMissing`] with what is missing, [`Code::BytesDiffer`], [`Code::Malformed`],
    /// [`Code::Unauthorised`].
    pub fn stop(&mut self, token: &UploadToken, made: Made, now_ms: u64) -> Result<StopTaken, StopRefused> {
        self.authorise(token)?;
        if self.manifest.stopped && self.manifest.state != RecordingState::Failed {
            return Ok(self.stop_taken());
        }
        let expected = made.chunks.unwrap_or(self.next);
        if expected < self.next || expected > limits::CHUNKS_MAX {
            let fewer = Refusal::because(Code::Malformed, "`chunks` is not how many were sent");
            return Err(fewer.into());
        }
        let missing = self.missing_below(expected);
        if !missing.is_empty() {
            return Err(self.stop_too_early(missing, expected, now_ms));
        }
        if made.bytes.is_some_and(|bytes| bytes != self.bytes) {
            let stored = format!("{} are stored", self.bytes);
            return Err(Refusal::because(Code::BytesDiffer, stored).into());
        }
        self.manifest.stopped = true;
        self.manifest.announced = Some(expected);
        self.manifest.revision += 1;
        self.patience_ms = None;
        // A merge that runs has every chunk; one that failed is tried again.
        if !self.claimed {
            self.manifest.state = RecordingState::Finalising;
            self.deadline_ms = Some(now_ms);
        }
        Ok(self.stop_taken())
    }

    /// The recorder of this generation is still there.
    pub fn keep(&mut self, generation: u64, now_ms: u64, times: RecordingTimes) {
        if generation == self.generation && self.manifest.state == RecordingState::Recording {
            self.attached = true;
            let kept = after(now_ms, times.grace.max(Duration::from_secs(2)));
            self.deadline_ms = Some(self.patience_ms.map_or(kept, |patience| kept.min(patience)));
        }
    }

    /// The recorder of this generation is gone.
    pub fn detach(&mut self, generation: u64, now_ms: u64, times: RecordingTimes) {
        if generation == self.generation {
            self.attached = false;
            if self.manifest.state == RecordingState::Recording {
                self.deadline_ms = Some(after(now_ms, times.grace));
            }
        }
    }

    /// Claims what is due, if anything is.
    pub fn claim(&mut self, now_ms: u64) -> Option<Claim> {
        if self.claimed || self.deadline_ms.is_none_or(|deadline| deadline > now_ms) {
            return None;
        }
        self.claimed = true;
        self.deadline_ms = None;
        self.patience_ms = None;
        self.manifest.fence.0 += 1;
        self.manifest.revision += 1;
        let work = if self.manifest.state == RecordingState::Ready {
            ClaimedWork::Forget
        } else {
            self.manifest.state = RecordingState::Finalising;
            ClaimedWork::Finalise { expected: self.expected(), chunks: self.chunk_count() }
        };
        Some(Claim { manifest: self.manifest.clone(), work })
    }

    /// Whether a claim is the latest one.
    #[must_use]
    pub fn holds(&self, fence: Fence) -> bool {
        self.claimed && self.manifest.fence == fence
    }

    /// The claim has led to a video; the recording is forgotten when the time to come back is over. `None`: it no longer
    /// held.
    pub fn settle_ready(&mut self, fence: Fence, keep_until_ms: u64) -> Option<Manifest> {
        if self.holds(fence) {
            self.manifest.keep_until_ms = Some(keep_until_ms);
            self.manifest.merged_chunks = Some(self.chunk_count());
        }
        self.end_claim(fence, RecordingState::Ready, Some(keep_until_ms))
    }

    /// Its chunks are gone, and with them what was noted of each.
    pub fn forget_chunks(&mut self) {
        self.gone = Some(self.chunk_count());
        self.chunks.clear();
        self.returned.clear();
        self.bytes = 0;
    }

    /// The claim has led to nothing; what was due is due again then. `None`: it no longer held.
    pub fn settle_again(&mut self, fence: Fence, at_ms: u64) -> Option<Manifest> {
        self.end_claim(fence, RecordingState::Finalising, Some(at_ms))
    }

    /// The claim has led to nothing, and would again. `None`: it no longer held.
    pub fn settle_failed(&mut self, fence: Fence) -> Option<Manifest> {
        self.end_claim(fence, RecordingState::Failed, None)
    }

    fn end_claim(
        &mut self,
        fence: Fence,
        state: RecordingState,
        deadline_ms: Option<u64>,
    ) -> Option<Manifest> {
        self.holds(fence).then(|| {
            self.claimed = false;
            self.manifest.state = state;
            self.manifest.revision += 1;
            self.deadline_ms = deadline_ms;
            self.manifest.clone()
        })
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

    fn takes_chunks(&self) -> Result<(), Refusal> {
        // One whose recorder vanished goes on when a chunk comes: nobody has said that it is over.
        if self.manifest.stopped { Err(Code::RecordingStopped.into()) } else { Ok(()) }
    }

    fn reopen(&mut self, now_ms: u64, times: RecordingTimes) {
        if self.manifest.state == RecordingState::Ready {
            self.manifest.version += 1;
            self.manifest.keep_until_ms = None;
        }
        self.manifest.fence.0 += 1;
        self.manifest.revision += 1;
        self.claimed = false;
        self.manifest.state = RecordingState::Recording;
        self.deadline_ms = Some(after(now_ms, times.grace.max(limits::UPLOAD_IDLE)));
    }

    fn insert(&mut self, index: ChunkIndex, mark: ChunkMark) {
        if self.chunks.insert(index, mark).is_none() {
            self.bytes += u64::from(mark.length);
        }
        self.next = self.next.max(index.get() + 1);
    }

    fn missing_below(&self, end: u32) -> Vec<u32> {
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

    fn stop_taken(&self) -> StopTaken {
        StopTaken { manifest: self.manifest.clone(), chunks: self.chunk_count() }
    }

    fn stop_too_early(&mut self, missing: Vec<u32>, expected: u32, now_ms: u64) -> StopRefused {
        let many = missing.len() > limits::CHUNKS_MISSING_MAX as usize;
        if !many {
            // One that failed was stopped before; its recorder says now that there is more.
            self.manifest.stopped = false;
            self.manifest.announced = Some(expected);
            self.manifest.revision += 1;
            self.patience_ms = Some(after(now_ms, limits::STOP_PATIENCE));
        }
        StopRefused {
            refusal: if many { Code::IndexOutOfRange.into() } else { Code::ChunksMissing.into() },
            missing: (!many).then_some((missing, expected)),
            manifest: (!many).then(|| Box::new(self.manifest.clone())),
        }
    }

    /// Panics where an invariant does not hold. For tests.
    #[cfg(test)]
    pub fn check_invariants(&self) {
        use RecordingState::{Failed, Finalising, Ready, Recording};
        let sum: u64 = self.chunks.values().map(|mark| u64::from(mark.length)).sum();
        assert_eq!(self.bytes, sum);
        assert!(self.gone.is_none() || self.chunks.is_empty());
        assert!(self.chunks.keys().all(|index| index.get() < self.next));
        assert!(
            self.returned.iter().all(|index| index.get() < self.next && !self.chunks.contains_key(index))
        );
        assert!(self.missing().len() <= 2 * limits::CHUNKS_MISSING_MAX as usize, "Q-1");
        match self.manifest.state {
            Recording => {
                assert!(self.deadline_ms.is_some() && !self.claimed, "nothing is waited for for ever");
            }
            Finalising => assert_ne!(self.deadline_ms.is_some(), self.claimed, "due or being done"),
            Ready => assert_ne!(self.deadline_ms.is_some(), self.claimed, "forgotten one day"),
            Failed => assert!(!self.claimed, "waits for somebody"),
        }
        assert!(!self.manifest.stopped || self.manifest.state != Recording);
    }
}

fn after(now_ms: u64, span: Duration) -> u64 {
    now_ms.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
