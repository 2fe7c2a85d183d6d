//! The end, as its recorder says it: taken where everything has come, refused with what is missing else.

use super::{RecordingRecord, after};
use crate::{
    domain::recording::{StopRefused, StopTaken},
    protocol::{
        Code, Refusal, UploadToken, limits,
        recorder::{Made, RecordingState},
    },
};

impl RecordingRecord {
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
        self.take_back_numbers();
        // What may still turn out to be void is no chunk that its recorder counts.
        let empty = self.voids + self.numbers_out();
        let chunks = made.chunks.unwrap_or(self.next - empty);
        if chunks > limits::CHUNKS_MAX || chunks + empty < self.next {
            let fewer = Refusal::because(Code::Malformed, "`chunks` is not how many were sent");
            return Err(fewer.into());
        }
        let expected = (chunks + self.voids).max(self.next);
        let missing = self.empty_below(expected);
        if !missing.is_empty() {
            return Err(self.stop_too_early(missing, (chunks, expected), now_ms));
        }
        if made.bytes.is_some_and(|bytes| bytes != self.bytes) {
            let stored = format!("{} are stored", self.bytes);
            return Err(Refusal::because(Code::BytesDiffer, stored).into());
        }
        self.manifest.stopped = true;
        self.manifest.announced = Some(chunks);
        self.manifest.ended_ms.get_or_insert(now_ms);
        self.manifest.revision += 1;
        self.patience_ms = None;
        // A merge that runs has every chunk, and so has a video; one that failed is tried again.
        if self.claimed.is_none() && self.lacks_video() {
            self.manifest.unheard = 0;
            self.begin_version();
            self.manifest.state = RecordingState::Finalising;
            self.deadline_ms = Some(now_ms);
        }
        Ok(self.stop_taken())
    }

    /// Whether there is no video of everything that has come.
    fn lacks_video(&self) -> bool {
        self.manifest.state != RecordingState::Ready || self.manifest.has_less_than(self.chunk_count())
    }

    fn stop_taken(&self) -> StopTaken {
        StopTaken { manifest: self.manifest.clone(), chunks: self.chunk_count() }
    }

    fn stop_too_early(
        &mut self,
        missing: Vec<u32>,
        (chunks, expected): (u32, u32),
        now_ms: u64,
    ) -> StopRefused {
        let many = missing.len() > limits::CHUNKS_MISSING_MAX as usize;
        if !many {
            // One that failed was stopped before; its recorder says now that there is more.
            self.manifest.stopped = false;
            self.manifest.announced = Some(chunks);
            self.manifest.revision += 1;
            self.patience_ms = Some(after(now_ms, limits::STOP_PATIENCE));
        }
        StopRefused {
            refusal: if many { Code::IndexOutOfRange.into() } else { Code::ChunksMissing.into() },
            missing: (!many).then_some((missing, expected)),
            manifest: (!many).then(|| Box::new(self.manifest.clone())),
        }
    }
}
