//! A file of a recording that another node has begun: its first part and what is behind the parts that are in the video store.
//! Everything here blocks.

use std::{fs::File, ops::Range, os::unix::fs::FileExt as _, path::Path};

use bytes::Bytes;

use super::{
    growing::{self, Growing},
    note::Note,
    place::{self, Place},
    saved::Turn,
};
use crate::adapters::{
    disk,
    ports::{RecordingRef, StoreError},
};

/// What there is to make it of.
pub struct Brought {
    pub place: Place,
    pub note: Note,
    pub first: Bytes,
    /// Where the tail begins. Unit: bytes.
    pub behind: u64,
}

impl Brought {
    /// Makes it, in the place of earlier ones. `None`: it does not fit together.
    pub fn write(self, folder: &Path, recording: &RecordingRef) -> Result<Option<Growing>, StoreError> {
        let Self { place, note, first, behind } = self;
        let length = note.checkpoint.assembler.length();
        let fits = behind.checked_add(note.tail.len() as u64) == Some(length)
            && first.len() as u64 <= behind
            && first.len() as u64 >= note.checkpoint.assembler.head_bytes();
        if !fits {
            return Ok(None);
        }
        let mut turn = Turn::default();
        let written = disk::make_folders(folder)
            .and_then(|()| place::clear_sparse(folder, recording))
            .and_then(|()| File::create_new(place.part()))
            .and_then(|file| {
                file.write_all_at(&first, 0).and_then(|()| file.write_all_at(&note.tail, behind))
            })
            .and_then(|()| turn.save(&place.part(), &note.checkpoint));
        written.map_err(|error| disk::in_words(folder, &error))?;
        Ok(Some(Growing::saved(place, note.checkpoint, turn)))
    }
}

/// Whether this node has a file of it from which it can go on.
pub fn has_one(folder: &Path, recording: &RecordingRef) -> Result<bool, StoreError> {
    let saved = growing::all_saved(folder, recording);
    saved.map(|saved| !saved.is_empty()).map_err(|error| disk::in_words(folder, &error))
}

/// A stretch of a file.
pub fn read(path: &Path, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
    let read = File::open(path).and_then(|file| {
        let length = range.end.saturating_sub(range.start);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    });
    read.map_err(|error| disk::in_words(path, &error))
}
