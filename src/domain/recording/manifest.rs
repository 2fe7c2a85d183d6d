//! What is known of a recording beside its chunks, and kept with them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Finished;
use crate::protocol::{
    Code, Fence, RecordId, Refusal, RoomName, TokenDigest, UserId,
    chunk::{ChunkIndex, ChunkMark},
    recorder::{Framing, MimeType, RecordingState, Title},
};

/// What is kept beside the chunks, so that an account can be put back from the chunk store alone (L-4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Its name.
    pub record_id: RecordId,
    /// What its recorder's token must match.
    pub token: TokenDigest,
    /// As its recorder said.
    pub mime_type: MimeType,
    /// How its chunks come on a socket.
    pub framing: Framing,
    /// The room that is recorded.
    pub room: Option<RoomName>,
    /// For people to read.
    pub title: Option<Title>,
    /// Who records, as the application said.
    pub owner: Option<UserId>,
    /// When it began. Unit: Unix milliseconds of the ledger's clock.
    pub started_ms: u64,
    /// When it was stopped, or given up by its recorder. Unit: as above.
    #[serde(default)]
    pub ended_ms: Option<u64>,
    /// Where it stands.
    pub state: RecordingState,
    /// Whether its recorder said that everything was sent, and was believed.
    #[serde(default)]
    pub stopped: bool,
    /// How many chunks its recorder says it made, once it said so.
    pub announced: Option<u32>,
    /// Which version of its video is being made, or was; the first is 1.
    pub version: u32,
    /// The latest claim to finalise it. It never falls behind the ledger's clock, so that not even a ledger that has lost
    /// its last claims gives one out again.
    pub fence: Fence,
    /// Once its video is there: until when its chunks are kept. Unit: milliseconds of the ledger's clock, which is the
    /// wall clock's time but never goes back.
    pub keep_until_ms: Option<u64>,
    /// Once its video is there: how many chunks it was made of. Where more are stored, one came after it.
    #[serde(default)]
    pub merged_chunks: Option<u32>,
    /// Why the last try to make its video came to nothing.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// Merges that were begun and of which nobody has heard anything: most often they took their nodes down. Counted when
    /// one begins, and taken off again when its node says what became of it.
    #[serde(default)]
    pub unheard: u32,
    /// Its video, once there is one; of a recording that was taken up again, that of the version before.
    #[serde(default)]
    pub finished: Option<Box<Finished>>,
    /// Rises with each change, so that an older state never takes the place of a newer one.
    #[serde(default)]
    pub revision: u64,
}

impl Manifest {
    /// Whether it is one of those that this owner records at the moment. Only so many may be at the moment when another is
    /// opened; whoever goes on with one, also with one that was finished, is not held to that.
    #[must_use]
    pub fn counts_for(&self, owner: &UserId) -> bool {
        self.state == RecordingState::Recording && self.owner.as_ref() == Some(owner)
    }

    /// Whether so many chunks are more than its video was made of: one came after it. Without a video there is none.
    #[must_use]
    pub fn has_less_than(&self, chunks: u32) -> bool {
        self.merged_chunks.is_some_and(|merged| chunks > merged)
    }

    /// The same of a recording whose account is being closed for good. From then on nothing puts the account back, and nothing
    /// is added without it, whatever the clock says.
    #[must_use]
    pub fn closed(&self) -> Self {
        Self {
            keep_until_ms: Some(0),
            merged_chunks: self.merged_chunks.or(Some(0)),
            revision: self.revision + 1,
            ..self.clone()
        }
    }

    /// Places of one that was stopped where nothing will come any more: numbers of nodes that died before they stored anything,
    /// of which only the account knew. A stop is believed when everything is there that its recorder counts; with so much stored,
    /// what is empty in between was never acknowledged. With less, something was lost, and that is missing.
    #[must_use]
    pub fn never_came(&self, stored: &[(ChunkIndex, ChunkMark)]) -> Vec<ChunkIndex> {
        let chunks = stored.iter().filter(|(_, mark)| !mark.is_void()).count();
        let all_there = self.announced.is_some_and(|announced| chunks >= announced as usize);
        let Some((last, _)) = stored.last().filter(|_| self.stopped && all_there) else { return Vec::new() };
        let there: BTreeSet<_> = stored.iter().map(|(index, _)| index.get()).collect();
        let empty = (0..last.get()).filter(|index| !there.contains(index));
        empty.filter_map(|index| ChunkIndex::new(index).ok()).collect()
    }

    /// The same of one that is over and never had anything: there is nothing of which a video could be.
    #[must_use]
    pub fn empty(&self) -> Self {
        Self {
            state: RecordingState::Failed,
            fault: Some(Fault::from(&Refusal::from(Code::EmptyRecording))),
            revision: self.revision + 1,
            ..self.clone()
        }
    }

    /// Whether there is a video, and not of everything: its chunks are kept for somebody who mends or fetches them.
    #[must_use]
    pub fn has_partial_video(&self) -> bool {
        let Some(finished) = &self.finished else { return false };
        match self.state {
            RecordingState::Ready => !finished.video.complete,
            RecordingState::Failed => true,
            RecordingState::Recording | RecordingState::Finalising => false,
        }
    }

    /// The same of one whose chunks, so many of them, nobody waits for any more: the video that there is stands for them, and
    /// whoever claims it next takes them away. Unit of the time: as of `keep_until_ms`.
    #[must_use]
    pub fn let_go(&self, chunks: u32, now_ms: u64) -> Self {
        Self {
            state: RecordingState::Ready,
            merged_chunks: Some(chunks),
            unheard: 0,
            keep_until_ms: Some(now_ms),
            revision: self.revision + 1,
            ..self.clone()
        }
    }

    /// Whether its account is being closed, or was.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.keep_until_ms == Some(0)
    }

    /// The same of one that is not closed after all. Where there never was a video, its end is told once more, and its recorder,
    /// who may have been told already, does not go on.
    #[must_use]
    pub fn reopened(&self) -> Self {
        Self {
            keep_until_ms: None,
            stopped: self.stopped || self.state != RecordingState::Ready,
            revision: self.revision + 1,
            ..self.clone()
        }
    }
}

/// What went wrong, as people and programs are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// A code of the one table of refusals.
    pub code: String,
    /// A sentence.
    pub message: String,
}

impl From<&Refusal> for Fault {
    fn from(refusal: &Refusal) -> Self {
        Self { code: refusal.code.name().to_owned(), message: refusal.message().into_owned() }
    }
}
