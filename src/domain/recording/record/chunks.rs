//! Chunks: which may come, and what becomes of them.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Entry, Given, Manifest, NUMBER_TERM_MS, Noted, Number, Placed, RecordingRecord, RecordingRules, Unplaced,
    after,
};
use crate::protocol::{
    Code, Refusal, UploadToken,
    chunk::{ChunkIndex, ChunkMark},
    limits,
    recorder::RecordingState,
};

impl RecordingRules {
    /// Whether a recording with so many bytes takes a chunk of this length now.
    ///
    /// # Errors
    /// [`Code::RecordingStopped`], [`Code::RecordingTooLarge`], [`Code::RecordingTooLong`].
    pub fn take_chunk(
        &self,
        manifest: &Manifest,
        bytes: u64,
        length: u32,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        // One whose recorder vanished goes on when a chunk comes: nobody has said that it is over.
        if manifest.stopped {
            return Err(Code::RecordingStopped.into());
        }
        if bytes.saturating_add(length.into()) > self.bytes_max {
            return Err(Code::RecordingTooLarge.into());
        }
        if now_ms >= after(manifest.started_ms, self.duration_max) {
            return Err(Code::RecordingTooLong.into());
        }
        Ok(())
    }
}

impl RecordingRecord {
    /// Whether a chunk may come at all, before anything of it is stored.
    ///
    /// # Errors
    /// [`Code::Unauthorised`], [`Code::Replaced`], [`Code::RecordingStopped`], [`Code::RecordingTooLarge`],
    /// [`Code::RecordingTooLong`], [`Code::NotMedia`].
    pub fn admit(
        &self,
        token: &UploadToken,
        chunk: Unplaced,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Result<(), Refusal> {
        self.authorise(token)?;
        self.is_present(chunk)?;
        self.takes_chunk(chunk.length, now_ms, rules)?;
        if self.next == 0 && !chunk.may_begin { Err(Code::NotMedia.into()) } else { Ok(()) }
    }

    /// Whether a chunk may be stored at this place. `may_begin`: whether its bytes can begin a recording.
    ///
    /// # Errors
    /// As [`Self::admit`] but for [`Code::Replaced`], [`Code::Conflict`] (L-2), [`Code::IndexOutOfRange`].
    pub fn place(
        &self,
        token: &UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        may_begin: bool,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Result<Placed, Refusal> {
        self.authorise(token)?;
        if let Some(stored) = self.chunks.get(&index) {
            return if stored.same_bytes(&mark) { Ok(Placed::Duplicate) } else { Err(Code::Conflict.into()) };
        }
        self.takes_chunk(mark.length, now_ms, rules)?;
        if index.get() == 0 && !may_begin {
            return Err(Code::NotMedia.into());
        }
        let ahead = index.get().saturating_sub(self.next);
        let holes = self.next - self.gone.unwrap_or_else(|| self.places()).min(self.next);
        let end =
            self.manifest.announced.map_or(limits::CHUNKS_MAX, |chunks| chunks.saturating_add(self.voids));
        if holes.saturating_add(ahead) > limits::CHUNKS_MISSING_MAX || index.get() >= end {
            return Err(Code::IndexOutOfRange.into());
        }
        Ok(Placed::New)
    }

    /// Gives out the next number, for a chunk that is staged. Asked again by the same request, because its
    /// answer was lost, the same number is the answer, until its chunk has come.
    ///
    /// # Errors
    /// As [`Self::admit`], [`Code::IndexOutOfRange`], [`Code::Overloaded`] where too many chunks are on their way.
    pub fn number(
        &mut self,
        token: &UploadToken,
        request: Uuid,
        chunk: Unplaced,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Result<Number, Refusal> {
        self.authorise(token)?;
        self.is_present(chunk)?;
        if let Some(index) = self.given_for(request) {
            return Ok(Number { index, request, others_are_late: false });
        }
        self.takes_chunk(chunk.length, now_ms, rules)?;
        if self.given.len() >= limits::CHUNKS_MISSING_MAX as usize {
            return Err(Code::Overloaded.into());
        }
        let index = ChunkIndex::new(self.next)?;
        if index.get() == 0 && !chunk.may_begin {
            return Err(Code::NotMedia.into());
        }
        let others_are_late = !self.late_numbers(now_ms).is_empty();
        self.next += 1;
        self.given.insert(index, Given { request, at_ms: now_ms });
        Ok(Number { index, request, others_are_late })
    }

    /// Takes back the number of a request whose chunk could not be stored, or that nobody has heard of. Where nothing
    /// comes after it, it was never given out; else its place stays empty. Whether the request had it.
    pub fn give_back(&mut self, request: Uuid) -> bool {
        let Some(index) = self.given_for(request) else { return false };
        if index.get() + 1 == self.next {
            self.given.remove(&index);
            self.next -= 1;
        }
        true
    }

    /// The numbers whose chunks did not come in time. Their places are to be filled.
    #[must_use]
    pub fn late_numbers(&self, now_ms: u64) -> Vec<ChunkIndex> {
        let is_late = |given: &Given| given.at_ms.saturating_add(NUMBER_TERM_MS) <= now_ms;
        self.given.iter().filter(|(_, given)| is_late(given)).map(|(&index, _)| index).collect()
    }

    /// Learns that the places of numbers are kept empty from now on, because their chunks did not come in time.
    pub fn fill(&mut self, voids: impl IntoIterator<Item = ChunkIndex>) {
        if self.gone.is_none() {
            voids.into_iter().for_each(|index| self.insert(index, ChunkMark::VOID));
        }
    }

    /// Nobody waits for the chunks any more that are on their way. Numbers at the end were never given out; the others are
    /// late from now on.
    pub(super) fn take_back_numbers(&mut self) {
        while self.given.last_key_value().is_some_and(|(last, _)| last.get() + 1 == self.next) {
            self.given.pop_last();
            self.next -= 1;
        }
        self.given.values_mut().for_each(|given| given.at_ms = 0);
    }

    /// How many numbers are out.
    pub(super) fn numbers_out(&self) -> u32 {
        u32::try_from(self.given.len()).unwrap_or(u32::MAX)
    }

    fn given_for(&self, request: Uuid) -> Option<ChunkIndex> {
        self.given.iter().find(|(_, given)| given.request == request).map(|(&index, _)| index)
    }

    /// Notes a chunk that is durable in the place of its number, unless that was taken back: then its recorder has sent it
    /// again, or will.
    pub fn note_numbered(
        &mut self,
        number: Number,
        mark: ChunkMark,
        over_http: bool,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Noted {
        let is_known = self.chunks.get(&number.index).is_some_and(|stored| stored.same_bytes(&mark));
        if !is_known && self.given_for(number.request) != Some(number.index) {
            return Noted::Withdrawn;
        }
        self.note(number.index, mark, over_http, now_ms, rules)
    }

    /// Notes a chunk that is durable in its place. `over_http`: its recorder has no socket that would tell of its end.
    pub fn note(
        &mut self,
        index: ChunkIndex,
        mark: ChunkMark,
        over_http: bool,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Noted {
        let wait = over_http.then(|| rules.idle());
        self.come(index, mark, wait, now_ms, rules)
    }

    /// The same; `wait`: for how long its recorder is waited for at least, where nothing else tells of its end.
    pub(super) fn come(
        &mut self,
        index: ChunkIndex,
        mark: ChunkMark,
        wait: Option<Duration>,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Noted {
        let known = self.chunks.contains_key(&index);
        self.insert(index, mark);
        if self.patience_ms.is_some() {
            self.patience_ms = Some(after(now_ms, limits::STOP_PATIENCE));
        }
        if self.manifest.state == RecordingState::Recording {
            self.deadline_ms = self.deadline_ms.max(wait.map(|wait| after(now_ms, wait)));
            return Noted::InTime;
        }
        if known {
            // Brought twice at the same time, and counted once already.
            return Noted::InTime;
        }
        self.go_on(wait, now_ms, rules);
        Noted::Outdated
    }

    /// What an earlier recorder had on its way is in the place by now where the present one has sent it again.
    fn is_present(&self, chunk: Unplaced) -> Result<(), Refusal> {
        let is_outdated = chunk.generation.is_some_and(|generation| generation < self.generation);
        if is_outdated { Err(Code::Replaced.into()) } else { Ok(()) }
    }

    fn takes_chunk(&self, length: u32, now_ms: u64, rules: RecordingRules) -> Result<(), Refusal> {
        rules.take_chunk(&self.manifest, self.bytes, length, now_ms)
    }

    pub(super) fn insert(&mut self, index: ChunkIndex, mark: ChunkMark) {
        self.given.remove(&index);
        // Whatever is there first stands, as it does in the chunk store.
        if let Entry::Vacant(place) = self.chunks.entry(index) {
            self.bytes += u64::from(place.insert(mark).length);
            self.voids += u32::from(mark.is_void());
        }
        self.next = self.next.max(index.get() + 1);
    }
}
