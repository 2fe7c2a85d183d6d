//! The port of videos that go into their store while they are recorded.

use bytes::Bytes;

use super::{PortFuture, RecordingRef, StoreError};
use crate::protocol::{Fence, recorder::VideoKey};

/// Takes a video in parts, in whatever order. It is there once all of it is, and nothing of it before.
///
/// Beside the parts a note stands, by which another node goes on. It is saved by one node at a time, and whoever wants to
/// complete the video takes it for its claim first: no two claims ever write under one name (M-3).
pub trait VideoParts: Send + Sync + 'static {
    /// Of every part but the last. Unit: bytes.
    fn part_bytes(&self) -> usize;

    /// The last number that a part may have; the first is 1.
    fn parts_max(&self) -> u32;

    /// Begins a video, with an empty note. `fence`: of the recording as it stands.
    ///
    /// # Errors
    /// [`StoreError::Missing`]: the store cannot do it.
    fn begin(
        &self,
        recording: RecordingRef,
        fence: Fence,
        extension: &'static str,
    ) -> PortFuture<Result<SavedNote, StoreError>>;

    /// Takes a part, in the place of what was there of this number, and says what it is called when all are put together.
    ///
    /// # Errors
    /// [`StoreError::Missing`]: there is no such upload any more.
    fn put(&self, to: &PartsRef, number: u32, bytes: Bytes) -> PortFuture<Result<String, StoreError>>;

    /// Keeps the bytes of part 1 as they are now: as a part they could not be read.
    fn save_first(&self, to: &PartsRef, bytes: Bytes) -> PortFuture<Result<(), StoreError>>;

    /// Saves a note in the place of the one with this tag; its own tag. `None`: somebody else has saved one since.
    fn save(&self, to: &PartsRef, note: Bytes, tag: String)
    -> PortFuture<Result<Option<String>, StoreError>>;

    /// The newest that was saved of a recording and is nobody's who completes it.
    fn load(&self, recording: &RecordingRef) -> PortFuture<Result<Option<SavedNote>, StoreError>>;

    /// What [`Self::save_first`] has kept.
    fn load_first(&self, of: &PartsRef) -> PortFuture<Result<Bytes, StoreError>>;

    /// From here on nobody but this claim completes it. `false`: another claim does.
    fn claim(&self, what: &PartsRef, fence: Fence) -> PortFuture<Result<bool, StoreError>>;

    /// Makes the video of its parts, and says so when it is there and as long as it should be.
    fn complete(&self, sent: &SentVideo, size_bytes: u64) -> PortFuture<Result<(), StoreError>>;

    /// Takes away what was sent of a recording, and whatever is noted of it; no video that is complete.
    fn forget(&self, recording: &RecordingRef) -> PortFuture<Result<(), StoreError>>;
}

/// A video on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsRef {
    /// What it is of.
    pub recording: RecordingRef,
    /// What it will be called.
    pub key: VideoKey,
    /// What its store calls it until then.
    pub upload: String,
}

/// What is noted of a video on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedNote {
    /// Of which one.
    pub parts: PartsRef,
    /// What was saved; empty: nothing yet.
    pub note: Bytes,
    /// What tells it from any other state of the note.
    pub tag: String,
}

/// A video of which every part is in its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentVideo {
    /// Which one.
    pub parts: PartsRef,
    /// What its parts are called, in order.
    pub tags: Vec<String>,
    /// Whether it is in a file too: otherwise it cannot be sent once more.
    pub is_in_file: bool,
}
