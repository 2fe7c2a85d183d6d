//! While a recording comes: what is there in order goes into its file.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, warn};

use super::{
    Shared,
    growing::{Fault, Finished, Growing},
    place::{self, Extent, Place, Purpose},
    rooms::Room,
};
use crate::{
    adapters::{
        disk,
        ports::{CameChunk, HeldBytes, RecordingRef, StoreError},
        whole_chunk::whole_chunk,
    },
    domain::merge::PlannedChunk,
    protocol::{
        chunk::{ChunkIndex, ChunkMark},
        recorder::RecordingState,
    },
};

/// Chunks between two checkpoints: what is done again by whoever takes over.
pub const UNSAVED_MAX: u32 = 8;
/// Where in it its picture is taken. Unit: microseconds.
pub const PICTURE_US: i64 = 2_000_000;
/// How often a chunk that is missing is looked for in the chunk store, where it may have come by way of another node.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// After its disk failed, such as one that is full.
const DISK_PAUSE: Duration = Duration::from_secs(10);
/// What is not whole of a recording takes so much without being counted. Unit: bytes.
const HELD_BY_ANYBODY: usize = 256 * 1024;
/// After there was no room for it.
const ROOM_PAUSE: Duration = Duration::from_secs(10);
/// After so long without a chunk a recording is only known by its file.
const IDLE: Duration = Duration::from_secs(600);
/// Chunks that are remembered to have come before their turn; the chunk store knows of all of them.
const KNOWN_MAX: usize = 1024;

/// A recording's file, and what is known of its chunks.
#[derive(Debug, Default)]
pub struct Following {
    /// `None`: nothing was done yet, or something failed, and it is taken up from the checkpoint.
    pub growing: Option<Growing>,
    /// What this node has written of it, and left: it goes on there, from the checkpoint.
    pub own: Option<Place>,
    /// Chunks that came and are not in the file.
    known: BTreeMap<u32, Known>,
    /// Whether there is no more to do before its end: it is none of the assembler's, or a chunk cannot be used.
    pub is_over: bool,
    /// Whether a picture of it was made, or could not be.
    has_picture: bool,
    /// Whether a step is being done, or was and did not come to its end.
    pub is_busy: bool,
    /// A chunk that is missing, and since when the chunk store need not be looked through for it.
    missing: Option<(u32, Instant)>,
    /// After its disk failed it is left alone until then.
    not_before: Option<Instant>,
    /// Chunks may have come that this node has not heard of.
    unlisted: bool,
    /// When anything was last heard of it.
    heard: Option<Instant>,
    /// For what it holds of something that is not whole, where that is much.
    room: Option<OwnedSemaphorePermit>,
}

/// A chunk that came: its mark, and its bytes where they are still at hand.
type Known = (ChunkMark, Option<HeldBytes>);

/// What a file is opened for.
pub struct Opening {
    pub folder: PathBuf,
    pub recording: RecordingRef,
    pub purpose: Purpose,
    /// Whether some chunk is missing and left out.
    pub leaves_out: bool,
    /// One that was made of what another node has sent.
    pub brought: Option<Growing>,
    /// Where less would be left on the disk no other's is copied. Unit: bytes.
    pub least_free: u64,
}

impl Shared {
    /// Takes in whatever has come in order; of one recording one after the other.
    pub async fn follow(&self, recording: RecordingRef, came: Vec<CameChunk>) -> Result<(), StoreError> {
        let mut held = self.of(&recording).lock_owned().await;
        held.heard = Some(Instant::now());
        if held.is_over || held.not_before.is_some_and(|not_before| Instant::now() < not_before) {
            held.unlisted = true;
            return Ok(());
        }
        if held.growing.as_ref().is_some_and(Growing::is_being_completed) {
            // It was to be completed and goes on: what was left out may have come.
            held.drop_file();
        }
        held.hears_of(came);
        if held.growing.is_none() {
            if !self.still_comes(&recording).await? {
                return Ok(());
            }
            // One that has only begun is nobody else's.
            let has_own = held.has_own() || held.known.contains_key(&0);
            let opening = self.opening(&recording, Purpose::Follow, false, has_own).await;
            let (taken, begun) = self.step(held, move |held, _| held.open(opening)).await?;
            held = taken;
            held.unlisted = true;
            if let Err(fault) = begun {
                return self.ended(&mut held, &recording, &fault);
            }
        }
        loop {
            let Some((index, (mark, at_hand))) = self.next_of(&mut held, &recording).await? else {
                held.let_go_of_bytes();
                return Ok(());
            };
            let chunk = PlannedChunk { index, mark };
            let read = match at_hand {
                Some(held) => Ok(Some(held.bytes())),
                None => whole_chunk(&*self.store, &recording.id, chunk, None).await,
            };
            let bytes = match read {
                Ok(Some(bytes)) => bytes,
                Ok(None) => {
                    // It is damaged. At the end the store is asked once more.
                    held.is_over = true;
                    return Ok(());
                }
                Err(away) => {
                    held.known.insert(index.get(), (mark, None));
                    held.let_go_of_bytes();
                    return Err(StoreError::Failed(away.to_string()));
                }
            };
            let leaves = self.leaves_free;
            let (taken, fed) =
                self.step(held, move |held, room| held.feed(chunk, &bytes, leaves, room)).await?;
            held = taken;
            if let Err(fault) = fed {
                return self.ended(&mut held, &recording, &fault);
            }
            if !self.may_hold(&mut held) {
                held.leave();
                return Ok(());
            }
            self.goes_on(&mut held, &recording);
        }
    }

    /// One more chunk is in its file.
    fn goes_on(&self, held: &mut Following, recording: &RecordingRef) {
        self.make_picture(held);
        if let Some(growing) = &held.growing {
            self.watches.show(recording, growing);
        }
        self.offer(held, recording);
    }

    /// Whether what it holds has room beside what others hold.
    fn may_hold(&self, held: &mut Following) -> bool {
        held.room = None;
        let bytes = held.growing.as_ref().map_or(0, Growing::held);
        if bytes <= HELD_BY_ANYBODY {
            return true;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        held.room = self.unfinished.clone().try_acquire_many_owned(bytes).ok();
        held.room.is_some()
    }

    /// After a checkpoint: what is settled may go into the video store.
    fn offer(&self, held: &Following, recording: &RecordingRef) {
        let is_saved = |growing: &&Growing| growing.is_saved() && growing.unsaved() == 0;
        let saved = held.growing.as_ref().filter(is_saved).filter(|growing| growing.can_go_in_parts());
        if let (Some(sender), Some(growing)) = (&self.sender, saved) {
            sender.offer(recording, growing);
        }
    }

    /// Once so much is there that it will show something: at the end nobody need wait for it. Nor need anybody now; what is being
    /// made of another recording comes first, and this one's with a later chunk.
    fn make_picture(&self, held: &mut Following) {
        let Some(growing) = held.growing.as_ref().filter(|growing| growing.is_saved()) else { return };
        if held.has_picture || !growing.shows(PICTURE_US) {
            return;
        }
        let Ok(turn) = self.pictures.clone().try_acquire_owned() else { return };
        held.has_picture = true;
        let (ffmpeg, video) = (self.ffmpeg.clone(), growing.path());
        tokio::spawn(async move {
            let _turn = turn;
            if tokio::fs::metadata(place::picture_of(&video)).await.is_ok() {
                return;
            }
            if let Some(made) = ffmpeg.poster(&video, PICTURE_US, place::UNFINISHED).await {
                // Its file may have another name by now, or be gone: then it has no picture of this name either.
                let is_there = tokio::fs::metadata(&video).await.is_ok();
                if !is_there || tokio::fs::rename(&made, place::picture_of(&video)).await.is_err() {
                    let _ = tokio::fs::remove_file(&made).await;
                }
            }
        });
    }

    /// Whether it is there and not over: of one that was deleted, or is being completed, no file is begun.
    async fn still_comes(&self, recording: &RecordingRef) -> Result<bool, StoreError> {
        let manifest = self.store.manifest(&recording.id).await?;
        Ok(manifest.is_some_and(|manifest| {
            manifest.token == recording.token && manifest.state == RecordingState::Recording
        }))
    }

    /// The next chunk, if it is there.
    async fn next_of(
        &self,
        held: &mut Following,
        recording: &RecordingRef,
    ) -> Result<Option<(ChunkIndex, Known)>, StoreError> {
        let Some(next) = held.growing.as_ref().map(Growing::next) else { return Ok(None) };
        held.known = held.known.split_off(&next);
        // One came by way of another node, before this one was at it, or is really missing.
        let lacks = !held.known.contains_key(&next);
        let knows_it_is_missing =
            held.missing.is_some_and(|(index, since)| index == next && since.elapsed() < LOOK_AGAIN);
        if lacks && !knows_it_is_missing && (!held.known.is_empty() || std::mem::take(&mut held.unlisted)) {
            let stored = self.store.list(&recording.id).await?;
            let later = stored.into_iter().filter(|chunk| chunk.index.get() >= next).take(KNOWN_MAX);
            held.known = later.map(|chunk| (chunk.index.get(), (chunk.mark, None))).collect();
            held.unlisted = held.known.len() >= KNOWN_MAX;
            // Where nothing later is there either, it is only still to come.
            let is_hole = !held.known.is_empty() && !held.known.contains_key(&next);
            held.missing = is_hole.then(|| (next, Instant::now()));
        }
        let known = held.known.remove(&next);
        Ok(known.and_then(|known| Some((ChunkIndex::new(next).ok()?, known))))
    }

    fn ended(&self, held: &mut Following, recording: &RecordingRef, fault: &Fault) -> Result<(), StoreError> {
        match fault {
            Fault::Unfit(unfit) => {
                debug!(recording = %recording.id, %unfit, "left to ffmpeg");
                held.is_over = true;
                Ok(())
            }
            Fault::NotProven(_) => {
                warn!(recording = %recording.id, %fault, "assembled anew when it is over");
                held.is_over = true;
                Ok(())
            }
            Fault::Disk(error) => {
                held.not_before = Some(Instant::now() + DISK_PAUSE);
                Err(StoreError::io(self.folder.display(), error))
            }
        }
    }
}

impl Following {
    /// Of a recording that is gone.
    pub fn over() -> Self {
        Self { is_over: true, ..Self::default() }
    }

    /// Where this node has what it has put together of it.
    pub fn part(&self) -> Option<PathBuf> {
        self.growing.as_ref().map(Growing::path).or_else(|| self.own.as_ref().map(Place::part))
    }

    /// Of no chunk: some may have come.
    fn hears_of(&mut self, came: Vec<CameChunk>) {
        if came.is_empty() {
            (self.unlisted, self.missing) = (true, None);
        }
        for CameChunk { chunk, bytes } in came {
            self.known.insert(chunk.index.get(), (chunk.mark, bytes));
        }
        while self.known.len() > KNOWN_MAX {
            self.known.pop_last();
            self.unlisted = true;
        }
    }

    /// What waits for something that is missing, or for a store, takes up nobody else's room.
    fn let_go_of_bytes(&mut self) {
        self.known.values_mut().for_each(|(_, bytes)| *bytes = None);
    }

    /// Nothing was heard of it for long.
    pub fn is_idle(&self) -> bool {
        self.is_silent(IDLE)
    }

    /// Nothing was heard of it for so long.
    pub fn is_silent(&self, long: Duration) -> bool {
        self.heard.is_none_or(|heard| heard.elapsed() > long)
    }

    /// Others take the room that it needs: it is gone on with later, from its checkpoint, or at its end.
    fn leave(&mut self) {
        self.drop_file();
        self.let_go_of_bytes();
        (self.unlisted, self.not_before) = (true, Some(Instant::now() + ROOM_PAUSE));
    }

    /// It may have come apart from its file. What nobody could go on with is taken away.
    pub fn drop_file(&mut self) {
        self.room = None;
        let Some(growing) = self.growing.take() else { return };
        self.own = growing.own();
        if !growing.is_saved()
            && let Err(error) = growing.clear()
        {
            debug!(%error, "a file that was begun stays until it is looked for");
        }
    }

    /// Whether this node goes on with what it has written itself.
    pub fn has_own(&self) -> bool {
        self.own.is_some()
    }

    /// Goes on with one's own file, or takes one up from whoever had it. `None`: there is nothing of use.
    pub fn take_up(&mut self, opening: Opening) -> Result<Option<Growing>, Fault> {
        let Opening { folder, recording, purpose, leaves_out, brought, least_free } = opening;
        disk::make_folders(&folder)?;
        let own = self.own.as_ref().filter(|place| !(leaves_out && place.was_taken()));
        let own = own.map(|place| Growing::go_on(place, &recording, purpose));
        let own = own.transpose()?.flatten();
        self.own = None;
        match own.or(brought) {
            None => Growing::take_over(&folder, &recording, purpose, leaves_out, least_free),
            taken => Ok(taken),
        }
    }

    /// Takes the file up, or begins it.
    fn open(&mut self, opening: Opening) -> Result<(), Fault> {
        let place = Place::new(&opening.folder, &opening.recording, opening.purpose, Extent::Whole);
        self.growing = Some(match self.take_up(opening)? {
            Some(growing) => growing,
            None => Growing::begin(place)?,
        });
        Ok(())
    }

    /// Completes the file. `None`: somebody else has it by now. Where that fails this node goes on with it from its checkpoint.
    pub fn finish(&mut self, room: &mut Room) -> Result<Option<Finished>, Fault> {
        let Some(growing) = &mut self.growing else { return Ok(None) };
        let finished = growing.finish(room)?;
        // Whoever stores it may still read it: nothing is written in it any more.
        self.growing = None;
        Ok(Some(finished))
    }

    /// Takes a chunk in, where so many bytes are left free on the disk with it.
    fn feed(&mut self, chunk: PlannedChunk, bytes: &[u8], leaves: u64, room: &mut Room) -> Result<(), Fault> {
        let Some(growing) = &mut self.growing else { return Ok(()) };
        growing.has_room(bytes.len() as u64, leaves)?;
        if let Err(fault) = growing.chunk(chunk.index.get(), chunk.mark.begins_segment, bytes, room) {
            if matches!(fault, Fault::Unfit(_))
                && let Some(growing) = self.growing.take()
            {
                growing.clear()?;
            }
            return Err(fault);
        }
        if growing.unsaved() >= UNSAVED_MAX {
            growing.checkpoint(room)?;
        }
        Ok(())
    }
}
