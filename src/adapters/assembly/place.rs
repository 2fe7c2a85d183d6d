//! Names of files that grow: `assembly/<recordId>.<token>.<owner>.part`, and beside each its checkpoint (`saved`), and a picture of
//! it, `.jpg`.
//!
//! Every owner writes under a name of its own, drawn at random, and opens its file by that name for each step. Whoever takes one
//! over gives it another name, and goes on from its checkpoint. The former owner then finds no file; what it may still write, because it
//! has opened it before and stood still since, is what the new one writes there too: while it is followed nothing is written
//! that will not stay (`domain::assembly`). That is not so of all files, and those are copied up to their checkpoint: MP4, those in a folder that is not on
//! a disk of this machine, and one that a merge completes, which is marked `m`. In that chunks may be left out that come after all: so nobody follows with it, whoever takes it over has what was saved
//! before, and nobody leaves anything out in a file that others have written in, which is marked `t`. One that lacks what is in the
//! video store already is marked `s`: only whoever has made it knows what to do with it.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use uuid::Uuid;

use super::saved;
use crate::adapters::{
    crash, disk,
    ports::{RecordingRef, Swept},
};

/// What nobody has touched for so long nobody is at work on.
const LEFT_ALONE: Duration = Duration::from_secs(86_400);
/// From here on a copy is made durable while it is made. Unit: bytes.
const LONG: u64 = 64 * 1024 * 1024;
/// So much is copied of it at once.
const STEP: u64 = LONG / 2;
const PART: &str = "part";
const PICTURE: &str = "jpg";
/// In the name of a file that a merge completes.
const MERGE: char = 'm';
/// In the name of one that is not whole.
const SPARSE: char = 's';
/// In the name of one that was another's.
const TAKEN: char = 't';

/// The ending of a picture that is being made.
pub const UNFINISHED: &str = "picture";

/// The picture of a file.
pub fn picture_of(part: &Path) -> PathBuf {
    part.with_extension(PICTURE)
}

/// What an owner's file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It follows the chunks, up to the first that has not come.
    Follow,
    /// It is being completed, with what is missing left out.
    Complete,
}

/// What of it is in an owner's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// Its first part, and what is behind the last part that is in the video store.
    Sparse,
}

/// Where one owner has its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    folder: PathBuf,
    stem: String,
}

impl Place {
    /// One that nobody else has.
    pub fn new(folder: &Path, recording: &RecordingRef, purpose: Purpose, extent: Extent) -> Self {
        let merge = (purpose == Purpose::Complete).then_some(MERGE);
        let sparse = (extent == Extent::Sparse).then_some(SPARSE);
        Self::marked(folder, recording, merge.into_iter().chain(sparse).collect())
    }

    /// Another one for a file that was in this one, for this purpose.
    pub fn another(&self, recording: &RecordingRef, purpose: Purpose) -> Self {
        let other = Self::new(&self.folder, recording, purpose, self.extent());
        if self.was_taken() { other.taken(recording) } else { other }
    }

    /// The same for one in which others may still write what they were about to.
    pub fn taken(&self, recording: &RecordingRef) -> Self {
        Self::marked(&self.folder, recording, format!("{}{TAKEN}", self.marks()))
    }

    fn marked(folder: &Path, recording: &RecordingRef, mut marks: String) -> Self {
        if !marks.is_empty() {
            marks.push('.');
        }
        let stem = format!("{}{marks}{}", prefix(recording), Uuid::new_v4().simple());
        Self { folder: folder.to_owned(), stem }
    }

    /// The file.
    pub fn part(&self) -> PathBuf {
        self.folder.join(format!("{}.{PART}", self.stem))
    }

    /// Its picture.
    pub fn picture(&self) -> PathBuf {
        picture_of(&self.part())
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether what is missing is left out in it: nobody follows with it.
    pub fn is_being_completed(&self) -> bool {
        self.marks().contains(MERGE)
    }

    /// Whether others may still write in it: nothing is left out in it.
    pub fn was_taken(&self) -> bool {
        self.marks().contains(TAKEN)
    }

    /// What of it is in the file.
    pub fn extent(&self) -> Extent {
        if self.marks().contains(SPARSE) { Extent::Sparse } else { Extent::Whole }
    }

    fn marks(&self) -> &str {
        // Without marks what is last stands there.
        let mut marks = self.stem.split('.').skip(2);
        marks.next().filter(|_| marks.next().is_some()).unwrap_or_default()
    }

    /// Everybody's places of this recording that have a checkpoint and are whole.
    pub fn all(folder: &Path, recording: &RecordingRef) -> io::Result<Vec<Self>> {
        let names = names(folder, &prefix(recording))?;
        let stems: BTreeSet<_> = names.iter().filter_map(|name| saved::part_stem(name)).collect();
        let places =
            stems.into_iter().map(str::to_owned).map(|stem| Self { folder: folder.to_owned(), stem });
        Ok(places.filter(|place| place.extent() == Extent::Whole).collect())
    }

    /// Takes somebody's file. `false`: it is not there any more.
    pub fn take(&self, from: &Self) -> io::Result<bool> {
        match fs::rename(from.part(), self.part()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Copies somebody's file up to there. `false`: it is not there any more. A copy, where whoever had it may stand still in
    /// the middle of a write that must not come into a file that somebody else completes.
    pub fn copy(&self, from: &Self, length: u64) -> io::Result<bool> {
        match copy(&from.part(), &self.part(), length) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.clear()?;
                if error.kind() == io::ErrorKind::NotFound { Ok(false) } else { Err(error) }
            }
        }
    }

    /// Gives one's own file, and what is beside it, this name.
    pub fn rename(&self, to: &Self) -> io::Result<()> {
        fs::rename(self.part(), to.part())?;
        crash::point("assembly.moved");
        saved::rename(&self.part(), &to.part())?;
        to.take_picture(self)
    }

    /// The picture that somebody has of it.
    pub fn take_picture(&self, from: &Self) -> io::Result<()> {
        disk::if_there(fs::rename(from.picture(), self.picture()))
    }

    /// Takes the file and its checkpoint away.
    pub fn clear(&self) -> io::Result<()> {
        saved::remove(&self.part())?;
        disk::remove_if_there(&self.picture())?;
        disk::remove_if_there(&self.part())
    }
}

/// Takes away what nobody has touched for long: whoever comes back to it begins anew.
pub fn sweep(folder: &Path) -> io::Result<Swept> {
    let now = disk::now(folder)?;
    let mut swept = Swept::default();
    for entry in disk::entries(folder)? {
        let path = entry.path();
        if disk::age(&path, now)?.is_some_and(|age| age > LEFT_ALONE) {
            swept += disk::clear_away(&path)?;
        }
    }
    Ok(swept)
}

/// Takes away everything of a recording, whoever's.
pub fn clear_all(folder: &Path, recording: &RecordingRef) -> io::Result<()> {
    names(folder, &prefix(recording))?.iter().try_for_each(|name| disk::remove_if_there(&folder.join(name)))
}

/// The same of those that follow and are not whole: nobody takes one over.
pub fn clear_sparse(folder: &Path, recording: &RecordingRef) -> io::Result<()> {
    let sparse = names(folder, &format!("{}{SPARSE}.", prefix(recording)))?;
    sparse.iter().try_for_each(|name| disk::remove_if_there(&folder.join(name)))
}

/// What the names of a recording's files begin with.
fn prefix(recording: &RecordingRef) -> String {
    format!("{}.", recording.stem())
}

fn names(folder: &Path, prefix: &str) -> io::Result<Vec<String>> {
    let entries = match disk::entries(folder) {
        // Nothing was ever put together there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with(prefix)).collect())
}

fn copy(from: &Path, to: &Path, length: u64) -> io::Result<()> {
    let mut from = fs::File::open(from)?.take(length);
    let to = fs::File::create_new(to)?;
    let copied = if length < LONG { io::copy(&mut from, &mut &to) } else { copy_long(&mut from, &to) };
    if copied? == length {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file to be taken over is shorter than it was"))
    }
}

/// What is copied already goes to the disk meanwhile: whoever makes all of it durable then has little to wait for.
fn copy_long(from: &mut io::Take<fs::File>, to: &fs::File) -> io::Result<u64> {
    thread::scope(|scope| {
        let (copied, steps) = mpsc::channel();
        let durable = scope.spawn(move || {
            while steps.recv().is_ok() {
                while steps.try_recv().is_ok() {}
                to.sync_data()?;
            }
            Ok(())
        });
        let mut length = 0;
        loop {
            let step = io::copy(&mut from.by_ref().take(STEP), &mut &*to)?;
            length += step;
            // Whoever does not listen any more has failed, and says why.
            if step < STEP || copied.send(()).is_err() {
                break;
            }
        }
        drop(copied);
        let ended = || io::Error::other("the copy was not made durable");
        durable.join().unwrap_or_else(|_| Err(ended())).map(|()| length)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::protocol::{RecordId, TokenDigest};

    fn talk() -> RecordingRef {
        let token = TokenDigest::parse(&"0".repeat(64)).expect("a digest");
        RecordingRef { id: RecordId::parse("talk").expect("a name"), token }
    }

    #[test]
    fn a_place_is_found_by_either_checkpoint_and_once() {
        let (folder, recording) = (tempfile::tempdir().expect("a folder"), talk());
        let place = Place::new(folder.path(), &recording, Purpose::Follow, Extent::Whole);
        fs::write(place.part(), b"").expect("written");
        assert_eq!(Place::all(folder.path(), &recording).expect("a folder"), []);
        for ending in ["spare", "state"] {
            fs::write(place.part().with_extension(ending), b"").expect("written");
            let found = Place::all(folder.path(), &recording).expect("a folder");
            assert_eq!(found, std::slice::from_ref(&place));
        }
    }

    #[test]
    fn a_copy_that_comes_out_short_is_none() {
        let (folder, recording) = (tempfile::tempdir().expect("a folder"), talk());
        let place = || Place::new(folder.path(), &recording, Purpose::Follow, Extent::Whole);
        let (from, to) = (place(), place());
        assert!(!to.copy(&from, 4).expect("nothing is there"));
        fs::write(from.part(), b"what is there").expect("written");
        assert!(to.copy(&from, 4).expect("a copy"));
        assert_eq!(fs::read(to.part()).expect("a copy"), b"what");
        let falls_short = |length| {
            let short = place();
            let error = short.copy(&from, length).expect_err("it lacks a byte");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(!short.part().exists(), "nothing of it stays");
        };
        falls_short(14);
        let (long, file) = (place(), fs::File::options().write(true).open(from.part()).expect("it is there"));
        file.write_all_at(b"and what comes later", LONG).expect("written");
        assert!(long.copy(&from, LONG + 8).expect("a copy"));
        let copied = fs::read(long.part()).expect("a copy");
        assert_eq!(copied.len() as u64, LONG + 8);
        assert!(copied.starts_with(b"what is there\0") && copied.ends_with(b"\0and what"));
        falls_short(LONG + 21);
    }
}
