//! Chunks: which may come, and what becomes of them.

use uuid::Uuid;

use super::{Given, Manifest, NUMBER_TERM_MS, Noted, Placed, RecordingRecord, RecordingRules, after};
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
    /// Whether a chunk of this length may come at all, before anything of it is stored.
    ///
    /// # Errors
    /// [`Code::Unauthorised`], [`Code::RecordingStopped`], [`Code::RecordingTooLarge`], [`Code::RecordingTooLong`],
    /// [`Code::NotMedia`].
    pub fn admit(
        &self,
        token: &UploadToken,
        length: u32,
        may_begin: bool,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Result<(), Refusal> {
        self.authorise(token)?;
        self.takes_chunk(length, now_ms, rules)?;
        if self.next == 0 && !may_begin { Err(Code::NotMedia.into()) } else { Ok(()) }
    }

    /// Whether a chunk may be stored at this place. `may_begin`: whether its bytes can begin a recording.
    ///
    /// # Errors
    /// As [`Self::admit`], [`Code::Conflict`] (L-2), [`Code::IndexOutOfRange`].
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
        let holes = self.next - self.chunk_count().min(self.next);
        let announced = self.manifest.announced.unwrap_or(limits::CHUNKS_MAX);
        if holes.saturating_add(ahead) > limits::CHUNKS_MISSING_MAX || index.get() >= announced {
            return Err(Code::IndexOutOfRange.into());
        }
        Ok(Placed::New)
    }

    /// Gives out the next number, for a chunk of this length that is staged.
    ///
    /// # Errors
    /// As [`Self::admit`], [`Code::IndexOutOfRange`], [`Code::Overloaded`] where too many chunks are on their way.
    pub fn number(
        &mut self,
        token: &UploadToken,
        length: u32,
        may_begin: bool,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Result<ChunkIndex, Refusal> {
        self.number_for(token, None, length, may_begin, now_ms, rules)
    }

    /// The same for a request that may be asked again because its answer was lost: the same number is the answer, until
    /// its chunk has come.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub fn number_for(
        &mut self,
        token: &UploadToken,
        request: Option<Uuid>,
        length: u32,
        may_begin: bool,
        now_ms: u64,
        rules: RecordingRules,
    ) -> Result<ChunkIndex, Refusal> {
        self.authorise(token)?;
        if let Some(number) = request.and_then(|request| self.given_for(request)) {
            return Ok(number);
        }
        self.takes_chunk(length, now_ms, rules)?;
        self.take_back_stale(now_ms);
        if self.given.len() >= limits::CHUNKS_MISSING_MAX as usize {
            return Err(Code::Overloaded.into());
        }
        let number = match self.returned.first() {
            Some(&returned) => returned,
            None => ChunkIndex::new(self.next)?,
        };
        if number.get() == 0 && !may_begin {
            return Err(Code::NotMedia.into());
        }
        if self.returned.pop_first().is_none() {
            self.next += 1;
        }
        self.given.insert(number, Given { request, at_ms: now_ms });
        Ok(number)
    }

    /// Takes back a number whose chunk could not be stored: a failed write leaves no hole.
    pub fn give_back(&mut self, index: ChunkIndex) {
        if self.chunks.contains_key(&index) || index.get() >= self.next {
            return;
        }
        self.given.remove(&index);
        self.returned.insert(index);
        // Where nothing comes after them, they were never given out.
        while self.returned.last().is_some_and(|last| last.get() + 1 == self.next) {
            self.returned.pop_last();
            self.next -= 1;
        }
    }

    /// Takes back the number that a request was given, if nobody has heard of it.
    pub fn give_back_for(&mut self, request: Uuid) {
        if let Some(number) = self.given_for(request) {
            self.give_back(number);
        }
    }

    /// Takes back numbers whose chunks have not come in time.
    pub(super) fn take_back_stale(&mut self, now_ms: u64) {
        self.take_back(|given| given.at_ms.saturating_add(NUMBER_TERM_MS) <= now_ms);
    }

    pub(super) fn take_back(&mut self, which: impl Fn(&Given) -> bool) {
        let numbers: Vec<_> =
            self.given.iter().filter(|(_, given)| which(given)).map(|(&index, _)| index).collect();
        numbers.into_iter().for_each(|index| self.give_back(index));
    }

    fn given_for(&self, request: Uuid) -> Option<ChunkIndex> {
        self.given.iter().find(|(_, given)| given.request == Some(request)).map(|(&index, _)| index)
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
        let known = self.chunks.contains_key(&index);
        self.insert(index, mark);
        if self.patience_ms.is_some() {
            self.patience_ms = Some(after(now_ms, limits::STOP_PATIENCE));
        }
        if self.manifest.state == RecordingState::Recording {
            if over_http {
                let idle = after(now_ms, rules.grace.max(limits::UPLOAD_IDLE));
                self.deadline_ms = self.deadline_ms.max(Some(idle));
            }
            return Noted::InTime;
        }
        if known {
            // Brought twice at the same time, and counted once already.
            return Noted::InTime;
        }
        self.reopen(now_ms, rules);
        if self.manifest.stopped {
            self.manifest.state = RecordingState::Finalising;
            self.deadline_ms = Some(now_ms);
        }
        Noted::Outdated
    }

    fn takes_chunk(&self, length: u32, now_ms: u64, rules: RecordingRules) -> Result<(), Refusal> {
        rules.take_chunk(&self.manifest, self.bytes, length, now_ms)
    }

    pub(super) fn insert(&mut self, index: ChunkIndex, mark: ChunkMark) {
        self.returned.remove(&index);
        self.given.remove(&index);
        if self.chunks.insert(index, mark).is_none() {
            self.bytes += u64::from(mark.length);
        }
        self.next = self.next.max(index.get() + 1);
    }
}
