//! One recording's folder, read and written by blocking calls: which chunk has which place, and what was noted of it.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{self, Read as _},
    os::unix::fs::{DirEntryExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    super::{crash, disk},
    names::Name,
};
use crate::{
    adapters::ports::{Committed, StoredChunk, Swept},
    protocol::{
        chunk::{ChunkIndex, ChunkMark, begins_like_media},
        limits,
    },
};

/// How often a commit begins anew because somebody else's clearing up came between.
const TRIES: u32 = 8;

/// A recording's folder.
#[derive(Debug, Clone)]
pub(super) struct Shelf(pub(super) PathBuf);

impl Shelf {
    fn path(&self, name: Name) -> PathBuf {
        self.0.join(name.to_text())
    }

    /// Gives a durable file its place, unless another has it; whatever is said is durable.
    ///
    /// The mark's name is made first, and the place is then taken by a link *to that file*: one step of the file system
    /// decides, and what it decides for has its mark already. Can be done again after any failure, and again after it
    /// was done.
    pub(super) fn place(&self, staged: &Path, index: ChunkIndex, mark: ChunkMark) -> io::Result<Committed> {
        let place = self.path(Name::Chunk(index));
        let noted = self.path(Name::Mark(index, mark));
        for _ in 0..TRIES {
            // Where a twin with this mark has made the name, its bytes are as good: they were durable before.
            link(staged, &noted)?;
            crash::point("place.noted");
            match link(&noted, &place) {
                Ok(()) => {
                    let ours = same_file(staged, &place)?;
                    let mark = if ours { mark } else { self.give_way(staged, &noted, index)? };
                    crash::point("place.linked");
                    // Before anybody hears of it, also of somebody else's chunk: it may not be durable yet (L-1).
                    disk::sync_folder(&self.0)?;
                    return Ok(if ours { Committed::Stored } else { Committed::Taken(mark) });
                }
                // A twin that lost its place has taken the name away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    if !place.exists() {
                        let _ = disk::remove_if_there(&noted);
                    }
                    return Err(error);
                }
            }
        }
        Err(io::Error::other("others' work on the same place came between too often"))
    }

    /// Finds the mark of the chunk that has the place, and takes away the note of the one that does not.
    fn give_way(&self, staged: &Path, noted: &Path, index: ChunkIndex) -> io::Result<ChunkMark> {
        if same_file(staged, noted).unwrap_or(false) {
            disk::remove_if_there(noted)?;
        }
        let found = self.list_where(|other| other == index)?;
        found.first().map(|chunk| chunk.mark).ok_or_else(|| io::Error::other("its place was cleared away"))
    }

    /// Every chunk in its place, in order.
    pub(super) fn list(&self) -> io::Result<Vec<StoredChunk>> {
        self.list_where(|_| true)
    }

    fn list_where(&self, wanted: impl Fn(ChunkIndex) -> bool) -> io::Result<Vec<StoredChunk>> {
        let mut chunks = BTreeMap::new();
        let mut marks = BTreeMap::new();
        for entry in disk::entries(&self.0)? {
            match Name::parse(&entry.file_name()) {
                Some(Name::Chunk(index)) if wanted(index) && is_file(&entry) => {
                    chunks.insert(index, entry.ino());
                }
                // A note counts only for the very file that it was made for: others wanted the place and lost.
                Some(Name::Mark(index, mark)) if wanted(index) => {
                    marks.insert((index, entry.ino()), mark);
                }
                _ => {}
            }
        }
        let stored = |(index, file)| {
            let noted = marks.get(&(index, file)).copied();
            let mark = noted.map_or_else(|| self.note_anew(index), Ok)?;
            Ok(StoredChunk { index, mark })
        };
        chunks.into_iter().map(stored).collect()
    }

    /// Makes the mark of a chunk that has none from its bytes, and notes it, so that they are not trusted anew each time.
    fn note_anew(&self, index: ChunkIndex) -> io::Result<ChunkMark> {
        let bytes = self.read(index)?;
        let mark = ChunkMark {
            length: u32::try_from(bytes.len()).map_err(io::Error::other)?,
            crc: crc32c::crc32c(&bytes),
            begins_segment: begins_like_media(&bytes) == Some(true),
            timecode_ms: None,
        };
        // On a disk that is full or read-only it is made anew the next time.
        let _ = fs::hard_link(self.path(Name::Chunk(index)), self.path(Name::Mark(index, mark)));
        Ok(mark)
    }

    /// A chunk's bytes; of a file that has grown beyond any chunk only as much as shows it.
    pub(super) fn read(&self, index: ChunkIndex) -> io::Result<Vec<u8>> {
        const BOUND: u64 = limits::UPLOAD_BYTES_MAX as u64 + 1;
        let file = fs::File::open(self.path(Name::Chunk(index)))?;
        let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len().min(BOUND)).unwrap_or(0));
        file.take(BOUND).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Clears away what a crash left: unfinished files, and notes of chunks that never had a place.
    pub(super) fn sweep(&self, now: SystemTime) -> io::Result<Swept> {
        let entries: Vec<_> = disk::entries(&self.0)?.collect();
        let name = |entry: &fs::DirEntry| Name::parse(&entry.file_name());
        let is_chunk = |entry: &&fs::DirEntry| matches!(name(entry), Some(Name::Chunk(_)));
        // By the listing alone: a folder may hold a million of them.
        let chunks: HashSet<_> = entries.iter().filter(is_chunk).map(fs::DirEntry::ino).collect();
        let mut swept = Swept::default();
        for entry in &entries {
            let of_a_loser = || matches!(name(entry), Some(Name::Mark(..))) && !chunks.contains(&entry.ino());
            if disk::is_partial(&entry.file_name()) || of_a_loser() {
                let path = entry.path();
                if disk::is_left_behind(&path, now) {
                    swept += disk::clear_away(&path)?;
                }
            }
        }
        if disk::is_left_behind(&self.0, now) {
            // Fails where there is anything in it.
            let _ = fs::remove_dir(&self.0);
        }
        Ok(swept)
    }
}

/// Gives a file a second name, unless the name is taken. That it is taken is no error: by whom is asked for afterwards,
/// because over NFS a link that was made may be reported as taken, when its first answer was lost.
pub(super) fn link(file: &Path, name: &Path) -> io::Result<()> {
    match fs::hard_link(file, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

pub(super) fn same_file(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (fs::symlink_metadata(one)?, fs::symlink_metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

fn is_file(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_file())
}
