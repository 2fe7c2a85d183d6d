//! A file's checkpoint, written in turns into two slots beside it: `.state` and `.spare`.
//!
//! A slot is overwritten where it stands. To make, rename and sync a file for every checkpoint costs as much as making durable what
//! it leads to, and would save nothing: what a checkpoint leads to is durable before it is written, it says itself whether it is
//! whole, and who dies over one leaves the other. Where a power failure takes both, the file is made of the chunks once more.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use crate::{
    adapters::{crash, disk},
    domain::assembly::Checkpoint,
};

/// Endings of the slots.
const SLOTS: [&str; 2] = ["state", "spare"];

/// Which slot the next checkpoint goes to: never to that of the newest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn(usize);

impl Turn {
    /// Writes a checkpoint beside this file.
    pub fn save(&mut self, part: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
        let slot = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(part.with_extension(SLOTS[self.0]))?;
        // What an earlier one leaves behind it is not read.
        slot.write_all_at(&checkpoint.save(), 0)?;
        self.0 = 1 - self.0;
        crash::point("assembly.saved");
        Ok(())
    }
}

/// The furthest checkpoint beside this file whose bytes the file has, and the turn behind it.
pub fn read(part: &Path) -> Option<(Checkpoint, Turn)> {
    let slots = SLOTS.iter().enumerate().filter_map(|(slot, ending)| {
        let checkpoint = Checkpoint::restore(&fs::read(part.with_extension(ending)).ok()?).ok()?;
        Some((checkpoint, Turn(1 - slot)))
    });
    let saved: Vec<_> = slots.collect();
    // Looked at afterwards, and opened for it: who has it may be at work, on another machine.
    let length = File::open(part).and_then(|part| part.metadata()).ok()?.len();
    let is_there = |(checkpoint, _): &(Checkpoint, Turn)| checkpoint.assembler.length() <= length;
    saved.into_iter().filter(is_there).max_by_key(|(checkpoint, _)| checkpoint.assembler.next())
}

/// The stem of the file that something of this name is a checkpoint of.
pub fn part_stem(name: &str) -> Option<&str> {
    name.rsplit_once('.').filter(|(_, ending)| SLOTS.contains(ending)).map(|(stem, _)| stem)
}

/// Puts what is beside the one file beside the other.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    SLOTS.iter().try_for_each(|ending| {
        disk::if_there(fs::rename(from.with_extension(ending), to.with_extension(ending)))
    })
}

/// Takes away what is beside a file.
pub fn remove(part: &Path) -> io::Result<()> {
    SLOTS.iter().try_for_each(|ending| disk::remove_if_there(&part.with_extension(ending)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::assembly::{Rules, Writes};

    /// One that is this far, and so long because of what came and is not whole. Nothing of it is in a file.
    fn so_far(chunks: u32, bytes: usize) -> Checkpoint {
        let mut checkpoint = Checkpoint::new(Rules::default());
        let mut begins = vec![0x1a, 0x45, 0xdf, 0xa3, 0x01, 0, 0, 0, 0, 0, 0x10, 0];
        begins.resize(begins.len() + bytes, 0);
        let pieces = begins.chunks(begins.len().div_ceil(chunks as usize));
        for (index, piece) in (0..).zip(pieces) {
            checkpoint.assembler.chunk(index, index == 0, piece, &mut Writes::default()).expect("taken");
        }
        assert_eq!((checkpoint.assembler.next(), checkpoint.assembler.length()), (chunks, 0));
        checkpoint
    }

    fn next(part: &Path) -> Option<(u32, Turn)> {
        read(part).map(|(checkpoint, turn)| (checkpoint.assembler.next(), turn))
    }

    #[test]
    fn the_furthest_that_is_whole_is_read_and_never_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let part = folder.path().join("talk.0.part");
        let mut turn = Turn::default();
        turn.save(&part, &so_far(1, 4)).expect("saved");
        assert!(next(&part).is_none(), "there is no file");
        fs::write(&part, b"").expect("a file");
        for (chunks, bytes) in [(2, 900), (3, 1500), (4, 20)] {
            turn.save(&part, &so_far(chunks, bytes)).expect("saved");
            assert_eq!(next(&part), Some((chunks, turn)), "what a longer one has left is not read");
        }
        let newest = part.with_extension(SLOTS[1 - turn.0]);
        let bytes = fs::read(&newest).expect("the newest");
        fs::write(&newest, &bytes[..20]).expect("torn");
        assert_eq!(next(&part), Some((3, Turn(1 - turn.0))), "the torn one is written over next");
    }

    #[test]
    fn both_go_where_the_file_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (part, other) = (folder.path().join("talk.0.part"), folder.path().join("talk.1.part"));
        let mut turn = Turn::default();
        fs::write(&other, b"").expect("a file");
        for chunks in 1..3 {
            turn.save(&part, &so_far(chunks, 8)).expect("saved");
        }
        rename(&part, &other).expect("renamed");
        assert_eq!(next(&other), Some((2, turn)));
        remove(&other).expect("removed");
        let names: Vec<_> =
            disk::entries(folder.path()).expect("a folder").map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["talk.1.part"]);
    }
}
