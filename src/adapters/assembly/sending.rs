//! What grows goes into its video store while it is recorded, where the store takes videos in parts.
//!
//! ```text
//!  a checkpoint ─► what is settled, part by part, from the second on ─► a note, with what another node needs
//!  the recording is over ─► claimed ─► the rest, and part 1 with the head completed ─► the sum over all of them
//! ```
//! In the background, one part of a recording at a time: nobody waits for it but whoever completes the recording. What fails is
//! done with the next checkpoint, or the video goes up whole at its end. Parts are cut at the same places by everybody, and what
//! is settled follows from the chunks alone, so it does not matter who has sent one.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future, stream};
use tokio::sync::{Mutex as Turns, Semaphore};
use tracing::{debug, info, warn};

use super::{
    brought::{self, Brought},
    growing::{Finished, Growing},
    note::{self, SentPart},
    place::{Extent, Place, Purpose},
    saved,
};
use crate::{
    adapters::{
        crash,
        disk::Disk,
        ports::{ChunkStore, PartsRef, RecordingRef, SavedNote, SentVideo, StoreError, VideoParts},
    },
    domain::assembly::Checkpoint,
    protocol::{Fence, recorder::RecordingState},
};

/// Recordings of which something is sent at one time: each holds a part in memory.
const SIDE_BY_SIDE: usize = 3;
/// Parts of one recording on their way at its end, beside the first.
const AT_ITS_END: usize = 3;

/// Sends what grows.
pub struct Sender {
    parts: Arc<dyn VideoParts>,
    chunks: Arc<dyn ChunkStore>,
    disk: Disk,
    turns: Arc<Semaphore>,
    slots: Mutex<HashMap<RecordingRef, Arc<Slot>>>,
}

/// What is known of one recording's parts.
struct Slot {
    /// Before so much is settled there is nothing to send. Unit: bytes.
    wanted: AtomicU64,
    upload: Arc<Turns<Upload>>,
}

/// How a recording's video goes up.
#[derive(Debug, Default)]
enum Upload {
    /// It was not looked whether somebody has begun.
    #[default]
    Unknown,
    /// Nobody has.
    NotBegun,
    /// In parts.
    Parts(Sent),
    /// Another node goes on with it.
    Lost,
    /// As a whole, when it is complete.
    Whole,
}

/// What is up.
#[derive(Debug)]
struct Sent {
    to: PartsRef,
    /// Of the note.
    tag: String,
    /// From the second on, in order, all of one length.
    parts: Vec<SentPart>,
    /// Over all of them: to join the sums of many takes longer than somebody should wait at the end.
    sum: u32,
}

impl Sender {
    pub fn new(parts: Arc<dyn VideoParts>, chunks: Arc<dyn ChunkStore>) -> Self {
        let (turns, slots) = (Arc::new(Semaphore::new(SIDE_BY_SIDE)), Mutex::default());
        Self { parts, chunks, disk: Disk::new(), turns, slots }
    }

    /// A checkpoint was made: what it has settled may go.
    pub fn offer(self: &Arc<Self>, recording: &RecordingRef, growing: &Growing) {
        let slot = self.slot(recording);
        if growing.settled() < slot.wanted.load(Ordering::Relaxed) {
            return;
        }
        let (upload, turn) = (slot.upload.clone().try_lock_owned(), self.turns.clone().try_acquire_owned());
        let (Ok(mut upload), Ok(turn)) = (upload, turn) else { return };
        let (sender, recording, file) = (self.clone(), recording.clone(), growing.path());
        tokio::spawn(async move {
            let _turn = turn;
            match sender.send(&recording, &file, &mut upload).await {
                Ok(()) => {}
                Err(StoreError::Missing(what)) => {
                    info!(recording = %recording.id, what, "its video goes up when it is complete");
                    *upload = Upload::Whole;
                }
                Err(error) => debug!(recording = %recording.id, %error, "parts of it go up later"),
            }
            slot.wanted.store(sender.wanted(&upload), Ordering::Relaxed);
        });
    }

    fn wanted(&self, upload: &Upload) -> u64 {
        match upload {
            Upload::Unknown | Upload::NotBegun => self.from(2),
            Upload::Parts(sent) => self.from(sent.parts.len() as u64 + 2),
            Upload::Lost | Upload::Whole => u64::MAX,
        }
    }

    /// Where the part with this number, counted from 0, begins. Unit: bytes.
    fn from(&self, at: u64) -> u64 {
        at * self.parts.part_bytes() as u64
    }

    fn slot(&self, recording: &RecordingRef) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Slot { wanted: AtomicU64::new(self.from(2)), upload: Arc::default() };
        slots.entry(recording.clone()).or_insert_with(|| Arc::new(new())).clone()
    }

    /// Sends what is settled at the file's checkpoint.
    async fn send(
        &self,
        recording: &RecordingRef,
        file: &Path,
        upload: &mut Upload,
    ) -> Result<(), StoreError> {
        let part = file.to_owned();
        let Some((checkpoint, _)) = self.disk.run(move || Ok(saved::read(&part))).await? else {
            return Ok(());
        };
        self.look(recording, upload).await?;
        if matches!(upload, Upload::NotBegun) {
            self.begin(recording, file, &checkpoint, upload).await?;
        }
        let Upload::Parts(sent) = upload else { return Ok(()) };
        let (settled, before) = (checkpoint.assembler.settled(), sent.parts.len());
        while self.from(sent.parts.len() as u64 + 2) <= settled {
            let number = sent.number();
            if number >= self.parts.parts_max() {
                *upload = Upload::Whole;
                return Ok(());
            }
            let part = self.send_part(&sent.to, file, number, settled).await?;
            sent.push(part, self.parts.part_bytes());
            crash::point("sending.part");
        }
        if sent.parts.len() > before {
            let tail = self.from(sent.parts.len() as u64 + 1)..checkpoint.assembler.length();
            let tail = self.read(file.to_owned(), tail).await?;
            let note = note::write(&sent.parts, &checkpoint.save(), &tail);
            match self.parts.save(&sent.to, note, sent.tag.clone()).await? {
                Some(tag) => sent.tag = tag,
                None => *upload = Upload::Lost,
            }
            crash::point("sending.noted");
        }
        Ok(())
    }

    /// What somebody has begun is gone on with.
    async fn look(&self, recording: &RecordingRef, upload: &mut Upload) -> Result<(), StoreError> {
        if !matches!(upload, Upload::Unknown) {
            return Ok(());
        }
        let saved = self.parts.load(recording).await?;
        *upload = saved.map_or(Upload::NotBegun, |saved| {
            let parts = note::read(&saved.note).map(|note| note.parts).unwrap_or_default();
            Upload::Parts(Sent::of(saved, parts, self.parts.part_bytes()))
        });
        Ok(())
    }

    async fn begin(
        &self,
        recording: &RecordingRef,
        file: &Path,
        checkpoint: &Checkpoint,
        upload: &mut Upload,
    ) -> Result<(), StoreError> {
        let Some(extension) = checkpoint.assembler.extension() else { return Ok(()) };
        let manifest = self.chunks.manifest(&recording.id).await?;
        let is_it = |state, token| state == RecordingState::Recording && token == recording.token;
        let Some(manifest) = manifest.filter(|manifest| is_it(manifest.state, manifest.token)) else {
            return Ok(());
        };
        let begun = self.parts.begin(recording.clone(), manifest.fence, extension).await?;
        let to = begun.parts.clone();
        *upload = Upload::Parts(Sent::of(begun, Vec::new(), self.parts.part_bytes()));
        let first = self.read(file.to_owned(), 0..self.from(1)).await?;
        self.parts.save_first(&to, first.into()).await?;
        crash::point("sending.begun");
        Ok(())
    }

    async fn send_part(
        &self,
        to: &PartsRef,
        file: &Path,
        number: u32,
        end: u64,
    ) -> Result<SentPart, StoreError> {
        let from = self.from(u64::from(number) - 1);
        let bytes = self.read(file.to_owned(), from..end.min(from + self.from(1))).await?;
        let crc = crc32c::crc32c(&bytes);
        Ok(SentPart { tag: self.parts.put(to, number, bytes.into()).await?, crc })
    }

    /// A stretch of a file.
    async fn read(&self, file: PathBuf, range: std::ops::Range<u64>) -> Result<Vec<u8>, StoreError> {
        self.disk.run(move || brought::read(&file, range)).await
    }
}

impl Sent {
    fn of(saved: SavedNote, parts: Vec<SentPart>, part_bytes: usize) -> Self {
        let mut sent = Self { to: saved.parts, tag: saved.tag, parts: Vec::new(), sum: 0 };
        parts.into_iter().for_each(|part| sent.push(part, part_bytes));
        sent
    }

    fn push(&mut self, part: SentPart, part_bytes: usize) {
        self.sum = crc32c::crc32c_combine(self.sum, part.crc, part_bytes);
        self.parts.push(part);
    }

    /// Of the part that comes next.
    fn number(&self) -> u32 {
        u32::try_from(self.parts.len() + 2).unwrap_or(u32::MAX)
    }
}

impl Sender {
    /// The file of a recording of which this node has none, without what is up. `None`: there is nothing to go on with.
    pub async fn bring(&self, folder: &Path, recording: &RecordingRef, purpose: Purpose) -> Option<Growing> {
        let slot = self.slot(recording);
        let mut upload = slot.upload.lock().await;
        if matches!(*upload, Upload::Whole) {
            return None;
        }
        // Whoever had it is not at it any more.
        *upload = Upload::Unknown;
        slot.wanted.store(self.wanted(&upload), Ordering::Relaxed);
        match self.try_bring(folder, recording, purpose, &mut upload).await {
            Ok(growing) => {
                slot.wanted.store(self.wanted(&upload), Ordering::Relaxed);
                growing
            }
            Err(error) => {
                debug!(recording = %recording.id, %error, "it is assembled from its chunks");
                None
            }
        }
    }

    async fn try_bring(
        &self,
        folder: &Path,
        recording: &RecordingRef,
        purpose: Purpose,
        upload: &mut Upload,
    ) -> Result<Option<Growing>, StoreError> {
        let (own, whose) = (folder.to_owned(), recording.clone());
        if self.disk.run(move || brought::has_one(&own, &whose)).await? {
            return Ok(None);
        }
        let Some(saved) = self.parts.load(recording).await? else { return Ok(None) };
        let Some(note) = note::read(&saved.note) else { return Ok(None) };
        let first = self.parts.load_first(&saved.parts).await?;
        *upload = Upload::Parts(Sent::of(saved, note.parts.clone(), self.parts.part_bytes()));
        let place = Place::new(folder, recording, purpose, Extent::Sparse);
        let behind = self.from(note.parts.len() as u64 + 1);
        let brought = Brought { place, note, first, behind };
        let (folder, recording) = (folder.to_owned(), recording.clone());
        let grows = self.disk.run(move || brought.write(&folder, &recording)).await?;
        Ok(grows)
    }

    /// Sends the rest of a finished file. `None`: its video goes up as a whole.
    ///
    /// # Errors
    /// It may go better another time.
    pub async fn send_rest(
        &self,
        recording: &RecordingRef,
        fence: Fence,
        finished: &Finished,
    ) -> Result<Option<SentVideo>, StoreError> {
        if finished.assembled.bytes < self.from(2) {
            return Ok(None);
        }
        let slot = self.slot(recording);
        let mut upload = slot.upload.lock().await;
        if matches!(*upload, Upload::Lost) {
            *upload = Upload::Unknown;
        }
        self.look(recording, &mut upload).await?;
        let sent = match &*upload {
            Upload::Parts(sent) => self.send_under(sent, fence, finished).await?,
            _ => None,
        };
        if sent.is_none() {
            *upload = Upload::Whole;
        }
        Ok(sent)
    }

    /// The same, if this claim is the first that wants to. Whoever comes after it finds that it is taken.
    async fn send_under(
        &self,
        sent: &Sent,
        fence: Fence,
        finished: &Finished,
    ) -> Result<Option<SentVideo>, StoreError> {
        let is_longer = self.from(sent.parts.len() as u64 + 1) > finished.assembled.bytes;
        if sent.parts.is_empty() || is_longer {
            return Ok(None);
        }
        let first = self.read(finished.place.part(), 0..self.from(1));
        let (is_ours, first) = future::join(self.parts.claim(&sent.to, fence), first).await;
        if !is_ours? {
            return Ok(None);
        }
        let all = self.send_all(sent, first, finished).await;
        Ok(all.unwrap_or_else(|error| {
            warn!(recording = %sent.to.recording.id, %error, "its last parts cannot be sent");
            None
        }))
    }

    /// What it is made of is looked at when all of it is up: nothing of it is a video before.
    async fn send_all(
        &self,
        sent: &Sent,
        first: Result<Vec<u8>, StoreError>,
        finished: &Finished,
    ) -> Result<Option<SentVideo>, StoreError> {
        crash::point("sending.claimed");
        let first = Bytes::from(first?);
        let (file, size) = (finished.place.part(), finished.assembled.bytes);
        let last = size.div_ceil(self.from(1));
        let Some(last) = u32::try_from(last).ok().filter(|last| *last <= self.parts.parts_max()) else {
            return Ok(None);
        };
        let one = |number| self.send_part(&sent.to, &file, number, size);
        let rest = stream::iter(sent.number()..=last).map(one).buffered(AT_ITS_END);
        let head = self.parts.put(&sent.to, 1, first.clone());
        let (head, rest): (_, Vec<SentPart>) = future::try_join(head, rest.try_collect()).await?;
        let behind_sent = (sent.parts.len() as u64 + 1..).map(|at| self.from(1).min(size - self.from(at)));
        let pieces = rest.iter().zip(behind_sent).map(|(part, length)| (part.crc, length));
        let pieces = [(sent.sum, self.from(sent.parts.len() as u64))].into_iter().chain(pieces);
        if !finished.assembler.consists_of(&first, pieces) {
            // As it may be where a chunk that was in it is missing since.
            info!(recording = %sent.to.recording.id, "what was sent of it is not what it is now");
            return Ok(None);
        }
        crash::point("sending.sent");
        let tags = sent.parts.iter().chain(&rest).map(|part| part.tag.clone());
        let tags = [head].into_iter().chain(tags).collect();
        let is_in_file = finished.place.extent() == Extent::Whole;
        Ok(Some(SentVideo { parts: sent.to.clone(), tags, is_in_file }))
    }

    /// A recording is gone, or its video is stored. Whoever is at it comes to its end first.
    pub async fn forget(&self, recording: &RecordingRef) {
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(recording);
        if let Some(slot) = slot {
            *slot.upload.lock().await = Upload::Whole;
        }
        if let Err(error) = self.parts.forget(recording).await {
            warn!(recording = %recording.id, %error, "what was sent of it stays until it is looked for");
        }
    }

    /// Forgets what this node knows of those that it does not follow.
    pub fn keep(&self, is_followed: impl Fn(&RecordingRef) -> bool) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|recording, slot| is_followed(recording) || slot.upload.try_lock().is_err());
    }
}
