//! One file that grows with its recording. Everything here blocks.
//!
//! ```text
//!  chunk ─► Assembler ─► written at once ·· checkpoint: made durable ─► what is settled read back and proven ─► state saved
//! ```
//! In this order: a checkpoint that is there belongs to bytes that are there. Whatever fails, the file and what is held of
//! it may have come apart: it is dropped, and taken up again from its checkpoint.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::debug;

use super::{
    place::{Extent, Place, Purpose},
    rooms::Room,
    saved::{self, Turn},
};
use crate::{
    adapters::{
        crash, disk,
        ports::{LiveFile, RecordingRef},
    },
    domain::assembly::{Assembled, Assembler, Checkpoint, Rules, Unfit, Write, Writes},
};

/// Read back at once. Unit: bytes.
const READ_BYTES: usize = 64 * 1024;
/// So much space is set aside for a file at once, when it has become as long. Unit: bytes.
const ASIDE: u64 = 2 * 1024 * 1024;

/// Why it does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is none of the assembler's: ffmpeg does all of it.
    #[error("{0}")]
    Unfit(#[from] Unfit),
    /// What is in the file is not what was written there.
    #[error("the file is not what was written: {0}")]
    NotProven(String),
    /// Its disk.
    #[error("its file: {0}")]
    Disk(#[from] io::Error),
}

/// A file, and what it is made by.
#[derive(Debug)]
pub struct Growing {
    place: Place,
    state: Checkpoint,
    turn: Turn,
    /// What the file has. Unit: bytes.
    length: u64,
    /// Up to here space was set aside for it, or could not be. Unit: bytes.
    aside: u64,
    /// Chunks since the last checkpoint.
    unsaved: u32,
    /// Whether there is a checkpoint.
    is_saved: bool,
}

/// A file that is complete and proven.
#[derive(Debug)]
pub struct Finished {
    pub place: Place,
    pub assembled: Assembled,
    pub assembler: Assembler,
}

impl Growing {
    /// Begins a recording's.
    pub fn begin(place: Place) -> Result<Self, Fault> {
        File::create_new(place.part())?;
        let state = Checkpoint::new(Rules::default());
        let turn = Turn::default();
        Ok(Self { place, state, turn, length: 0, aside: 0, unsaved: 0, is_saved: false })
    }

    /// Goes on with whatever is furthest of what anybody has of it; `None` where there is nothing of use. A copy is made only
    /// where so much is left free on the disk with it.
    pub fn take_over(
        folder: &Path,
        recording: &RecordingRef,
        purpose: Purpose,
        leaves_out: bool,
        least_free: u64,
    ) -> Result<Option<Self>, Fault> {
        for (from, state) in all_saved(folder, recording)? {
            let place = Place::new(folder, recording, purpose, Extent::Whole);
            let taken = if !leaves_out && stays(&from, &state) {
                Self::take(&from, state, place.taken(recording))
            } else {
                disk::has_room(folder, state.assembler.length(), least_free)
                    .map_err(Fault::from)
                    .and_then(|()| Self::copy(&from, state, place))
            };
            match taken {
                Err(Fault::Disk(error))
                    if purpose == Purpose::Complete && error.kind() == io::ErrorKind::StorageFull =>
                {
                    // What is made of the chunks in its place takes up no more than it does.
                    from.clear()?;
                }
                Ok(None) => {}
                taken => return taken,
            }
        }
        Ok(None)
    }

    /// Goes on in somebody's file. `None`: it is not there any more.
    fn take(from: &Place, state: Checkpoint, to: Place) -> Result<Option<Self>, Fault> {
        let mut growing = Self::saved(to, state, Turn::default());
        // Who dies in between leaves the file where its checkpoint is, under either name.
        let named = growing.save().and_then(|()| {
            crash::point("assembly.named");
            growing.place.take(from)
        });
        if !matches!(named, Ok(true)) {
            growing.clear()?;
            return Ok(named.map(|_| None)?);
        }
        crash::point("assembly.taken");
        growing.place.take_picture(from)?;
        from.clear()?;
        Ok(Some(growing))
    }

    /// Goes on in a copy of somebody's file. `None`: it is not there any more.
    fn copy(from: &Place, state: Checkpoint, to: Place) -> Result<Option<Self>, Fault> {
        if !to.copy(from, state.assembler.length())? {
            return Ok(None);
        }
        crash::point("assembly.copied");
        let mut growing = Self::saved(to, state, Turn::default());
        if let Err(fault) = growing.reopen().and_then(|()| Ok(growing.save()?)) {
            growing.clear()?;
            return Err(fault);
        }
        crash::point("assembly.kept");
        growing.place.take_picture(from)?;
        from.clear()?;
        Ok(Some(growing))
    }

    /// Goes on with a file of one's own from its checkpoint; `None` where that is of no use.
    pub fn go_on(place: &Place, recording: &RecordingRef, purpose: Purpose) -> Result<Option<Self>, Fault> {
        let Some((state, turn)) = saved::read(&place.part()) else {
            place.clear()?;
            return Ok(None);
        };
        let (stays, mut growing) = (stays(place, &state), Self::saved(place.clone(), state, turn));
        if !stays {
            growing.open()?.set_len(growing.length)?;
            crash::point("assembly.cut");
            growing.reopen()?;
        }
        let is_for_it = growing.is_being_completed() == (purpose == Purpose::Complete);
        Ok(Some(if is_for_it { growing } else { growing.renamed(recording, purpose)? }))
    }

    /// What can be watched in whatever is furthest of what anybody has of it, and which chunk is to come next there. It is left to
    /// whoever has it.
    pub fn live_of_others(folder: &Path, recording: &RecordingRef) -> io::Result<Option<(LiveFile, u32)>> {
        let found = all_saved(folder, recording)?.into_iter().find(|(place, _)| !place.is_being_completed());
        Ok(found.and_then(|(place, state)| {
            let live = Arc::new(state.assembler.live()?);
            let file = LiveFile { recording: recording.clone(), path: place.part(), live };
            Some((file, state.assembler.next()))
        }))
    }

    /// What can be watched in it.
    pub fn live(&self, recording: &RecordingRef) -> Option<LiveFile> {
        let live = Arc::new(self.state.assembler.live().filter(|_| self.can_be_watched())?);
        Some(LiveFile { recording: recording.clone(), path: self.path(), live })
    }

    /// Whether all of it is there, and nothing left out.
    pub fn can_be_watched(&self) -> bool {
        !self.is_being_completed() && self.place.extent() == Extent::Whole
    }

    /// What is there at its checkpoint.
    pub fn saved(place: Place, state: Checkpoint, turn: Turn) -> Self {
        let length = state.assembler.length();
        Self { place, state, turn, length, aside: length, unsaved: 0, is_saved: true }
    }

    /// Where this node has the file, if one can go back in it to where it was saved.
    pub fn own(&self) -> Option<Place> {
        (self.is_saved && self.place.extent() == Extent::Whole).then(|| self.place.clone())
    }

    /// The same for another purpose, under another name.
    pub fn renamed(mut self, recording: &RecordingRef, purpose: Purpose) -> Result<Self, Fault> {
        let place = self.place.another(recording, purpose);
        self.place.rename(&place)?;
        self.place = place;
        Ok(self)
    }

    /// The chunk that is to come next.
    pub fn next(&self) -> u32 {
        self.state.assembler.next()
    }

    /// Chunks since the last checkpoint.
    pub fn unsaved(&self) -> u32 {
        self.unsaved
    }

    /// Whether it could be completed by somebody who has only its beginning and its end.
    pub fn can_go_in_parts(&self) -> bool {
        !self.state.assembler.reads_back()
    }

    /// Whether others may still write in it: nothing is left out in it.
    pub fn was_taken(&self) -> bool {
        self.place.was_taken()
    }

    /// Whether somebody completes it, or was about to.
    pub fn is_being_completed(&self) -> bool {
        self.place.is_being_completed()
    }

    /// What came and is not whole. Unit: bytes.
    pub fn held(&self) -> usize {
        self.state.assembler.held()
    }

    /// Whether there is anything to see in what of it can be read, at this time. Unit: microseconds.
    pub fn shows(&self, at_us: i64) -> bool {
        let settled = || self.state.assembler.live().map_or(0, |live| live.duration_ms.saturating_mul(1000));
        self.state.assembler.has_pictures() && settled() > at_us.unsigned_abs()
    }

    /// Whether another owner could go on with it.
    pub fn is_saved(&self) -> bool {
        self.is_saved
    }

    /// The file, of which somebody may make a picture.
    pub fn path(&self) -> PathBuf {
        self.place.part()
    }

    /// Up to here nothing but the head will change. Unit: bytes.
    pub fn settled(&self) -> u64 {
        self.state.assembler.settled()
    }

    /// Refuses to take up so much where less than this would be left on the disk; 0: it is seen when it is full.
    pub fn has_room(&self, bytes: u64, leaves: u64) -> Result<(), Fault> {
        if leaves > 0 {
            disk::has_room(self.place.folder(), bytes, leaves)?;
        }
        Ok(())
    }

    /// Takes the next chunk.
    pub fn chunk(
        &mut self,
        index: u32,
        begins_segment: bool,
        bytes: &[u8],
        room: &mut Room,
    ) -> Result<(), Fault> {
        self.state.assembler.chunk(index, begins_segment, bytes, &mut room.writes)?;
        self.unsaved += 1;
        self.write(&mut room.writes)
    }

    /// This one is missing.
    pub fn gap(&mut self, index: u32) {
        self.state.assembler.gap(index..index + 1);
    }

    /// From here on another owner can go on.
    pub fn checkpoint(&mut self, room: &mut Room) -> Result<(), Fault> {
        let file = self.open()?;
        file.sync_data()?;
        crash::point("assembly.durable");
        self.prove(&file, self.state.assembler.settled(), &mut room.piece)?;
        self.save()?;
        if let Err(gone) = fs::metadata(self.place.part()) {
            // It was taken away, or over, meanwhile: nothing must lead to it.
            self.place.clear()?;
            return Err(gone.into());
        }
        (self.unsaved, self.is_saved) = (0, true);
        Ok(())
    }

    fn save(&mut self) -> io::Result<()> {
        self.turn.save(&self.place.part(), &self.state)
    }

    /// Its head may have been completed already, or in part.
    fn reopen(&mut self) -> Result<(), Fault> {
        let file = self.open()?;
        for (at, bytes) in self.state.assembler.reopening() {
            self.patch(&file, at, &bytes)?;
        }
        Ok(file.sync_data()?)
    }

    /// Completes the file, makes it durable, and proves it. It takes nothing any more.
    pub fn finish(&mut self, room: &mut Room) -> Result<Finished, Fault> {
        let file = File::open(self.place.part())?;
        let read = |at, bytes: &mut [u8]| Ok::<_, Fault>(file.read_exact_at(bytes, at)?);
        let assembled = self.state.assembler.finish(&mut room.writes, read)?;
        self.write(&mut room.writes)?;
        crash::point("assembly.completed");
        let written = self.open()?;
        written.set_len(self.length)?;
        written.sync_data()?;
        self.prove(&written, assembled.bytes, &mut room.piece)?;
        let state = std::mem::replace(&mut self.state, Checkpoint::new(Rules::default()));
        let Checkpoint { assembler, prover } = state;
        let mut head = vec![0; usize::try_from(assembler.head_bytes()).unwrap_or(0)];
        written.read_exact_at(&mut head, 0)?;
        let proven = prover.finish(&head, &assembler);
        proven.map_err(|difference| Fault::NotProven(difference.to_string()))?;
        crash::point("assembly.proven");
        Ok(Finished { place: self.place.clone(), assembled, assembler })
    }

    /// Takes it away.
    pub fn clear(self) -> io::Result<()> {
        self.place.clear()
    }

    /// By its name, every time: whoever has taken it over has it under another.
    fn open(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.place.part())
    }

    fn write(&mut self, writes: &mut Writes) -> Result<(), Fault> {
        if writes.iter().next().is_none() {
            return Ok(());
        }
        let file = self.open()?;
        self.set_space_aside(&file);
        for write in writes.iter() {
            match write {
                Write::Append(bytes) => {
                    file.write_all_at(bytes, self.length)?;
                    self.length += bytes.len() as u64;
                    crash::point("assembly.appended");
                    if self.is_saved {
                        crash::point("assembly.continued");
                    }
                }
                Write::Skip(count) => self.length += count as u64,
                Write::Patch { at, bytes } => self.patch(&file, at, bytes)?,
            }
        }
        // What was much is not held while it is read back.
        writes.clear(Room::KEPT);
        Ok(())
    }

    fn patch(&self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, at)?;
        if at < self.state.assembler.head_bytes() {
            crash::point("assembly.headed");
        } else {
            crash::point("assembly.patched");
        }
        Ok(())
    }

    /// For what is about to be written, and some of what comes next.
    fn set_space_aside(&mut self, file: &File) {
        let end = self.state.assembler.length();
        if end > self.aside && self.length >= ASIDE {
            self.aside = end + ASIDE;
            if let Err(error) = disk::set_aside(file, self.length, self.aside - self.length) {
                debug!(%error, "no space is set aside");
            }
        }
    }

    /// Reads what is new up to there.
    fn prove(&mut self, file: &File, end: u64, piece: &mut Vec<u8>) -> Result<(), Fault> {
        piece.resize(READ_BYTES, 0);
        while self.state.prover.read() < end {
            let at = self.state.prover.read();
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(READ_BYTES);
            file.read_exact_at(&mut piece[..wanted], at)?;
            let fed = self.state.prover.feed(&piece[..wanted], &self.state.assembler);
            fed.map_err(|difference| Fault::NotProven(difference.to_string()))?;
        }
        Ok(())
    }
}

/// Whether whoever writes in it, however late, writes what will stand there in the end.
fn stays(place: &Place, state: &Checkpoint) -> bool {
    !place.is_being_completed() && state.assembler.writes_stay() && disk::is_local(place.folder())
}

/// What anybody has saved of it and not lost, the furthest first.
pub fn all_saved(folder: &Path, recording: &RecordingRef) -> io::Result<Vec<(Place, Checkpoint)>> {
    let places = Place::all(folder, recording)?.into_iter();
    let saved = |place: Place| saved::read(&place.part()).map(|(state, _)| (place, state));
    let mut found: Vec<_> = places.filter_map(saved).collect();
    found.sort_by_key(|(_, state)| std::cmp::Reverse(state.assembler.next()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::{
        domain::media::test_media as build,
        protocol::{RecordId, TokenDigest},
    };

    /// Half a second with pictures so large that a few seconds are more than is set aside at once.
    fn cluster(half: u64) -> Vec<u8> {
        build::live_cluster(half * 500, &build::half_second(half.is_multiple_of(2), 60_000))
    }

    #[test]
    fn space_that_was_set_aside_and_is_not_needed_is_given_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let token = TokenDigest::parse(&"0".repeat(64)).expect("a digest");
        let recording = RecordingRef { id: RecordId::parse("talk").expect("a name"), token };
        let place = Place::new(folder.path(), &recording, Purpose::Follow, Extent::Whole);
        let taken = || {
            let file = fs::metadata(place.part()).expect("a file");
            (file.len(), file.blocks() * 512)
        };
        let (mut growing, mut room) = (Growing::begin(place.clone()).expect("begun"), Room::default());
        growing.chunk(0, true, &build::live_header(), &mut room).expect("taken");
        let mut most = 0;
        for half in 0..20 {
            growing
                .chunk(u32::try_from(half).expect("few") + 1, false, &cluster(half), &mut room)
                .expect("taken");
            let (length, bytes) = taken();
            assert_eq!(length, growing.length, "what is set aside is not in it");
            most = most.max(bytes.saturating_sub(length));
        }
        let probe = File::create(folder.path().join("probe")).expect("a file");
        let can_be = disk::set_aside(&probe, 0, ASIDE).is_ok();
        assert_eq!(most > ASIDE / 2, can_be, "{most}");
        growing.finish(&mut room).expect("proven");
        let (length, bytes) = taken();
        assert!(length > 2 * ASIDE && bytes < length + ASIDE / 8, "{bytes} bytes for {length}");
    }
}
