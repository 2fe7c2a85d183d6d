//! The folder of all recordings, read and written by blocking calls: how one comes about, is found and goes.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use uuid::Uuid;

use super::{
    super::disk::{self, Partial},
    manifests::Manifests,
    names::{self, Name},
    shelf::Shelf,
};
use crate::{
    adapters::ports::Swept,
    domain::recording::Manifest,
    protocol::{RecordId, TokenDigest},
};

/// Recordings that are taken away get this before their name, and are no recordings from then on.
const DELETED: &str = ".deleted-";
/// Before the name of a recording of which it is to be seen whether it is the one to be taken away.
const ASIDE: &str = ".aside-";

/// The folder of all recordings.
#[derive(Debug)]
pub(super) struct House {
    pub(super) chunks: PathBuf,
}

impl House {
    pub(super) const fn new(chunks: PathBuf) -> Self {
        Self { chunks }
    }

    pub(super) fn shelf(&self, id: &RecordId) -> Shelf {
        Shelf(self.chunks.join(id.as_str()))
    }

    /// Never makes the folder above: where that is gone, so is the disk that was meant.
    fn make_folder(&self, id: &RecordId) -> io::Result<()> {
        match fs::create_dir(self.shelf(id).0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => disk::sync_folder(&self.chunks),
        }
    }

    /// Turns "not there" into `None`, but only where it is the recording that is not there, and not the whole disk:
    /// nobody may take a disk that is away for a recording without chunks (M-5).
    pub(super) fn if_there<T>(&self, found: io::Result<T>) -> io::Result<Option<T>> {
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::symlink_metadata(&self.chunks).map(|_| None)
            }
            found => found.map(Some),
        }
    }

    pub(super) fn create(&self, manifest: &Manifest) -> io::Result<bool> {
        let id = &manifest.record_id;
        self.make_folder(id)?;
        if self.has_anything(id) {
            return Ok(false);
        }
        Manifests(&self.shelf(id).0).begin(manifest).inspect_err(|_| {
            // Nobody was told of it. Fails where somebody has put something in it since.
            let _ = fs::remove_dir(self.shelf(id).0);
        })
    }

    pub(super) fn save_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        Manifests(&self.shelf(&manifest.record_id).0).save(manifest)
    }

    pub(super) fn manifest(&self, id: &RecordId) -> io::Result<Option<Manifest>> {
        self.if_there(Manifests(&self.shelf(id).0).read())
    }

    /// The file is made before it is looked whose the folder is: in another's it is not then, whatever was renamed between the two.
    pub(super) fn stage(&self, id: &RecordId, token: &TokenDigest, payload: &[u8]) -> io::Result<Partial> {
        let folder = self.shelf(id).0;
        let file = Partial::write(&folder, "chunk", payload)?;
        Manifests(&folder).check(token)?;
        Ok(file)
    }

    pub(super) fn recordings(&self) -> io::Result<Vec<RecordId>> {
        let ids = disk::entries(&self.chunks)?.filter_map(|entry| record_id(&entry));
        let mut ids: Vec<_> = ids.filter(|id| self.has_anything(id)).collect();
        ids.sort();
        Ok(ids)
    }

    /// A folder in which nothing was ever committed is none that anybody was told of.
    fn has_anything(&self, id: &RecordId) -> bool {
        let counts =
            |name: &OsStr| name == names::MANIFEST || matches!(Name::parse(name), Some(Name::Chunk(_)));
        // Where it cannot be read, there may be something.
        fs::read_dir(self.shelf(id).0).map_or(true, |listing| {
            listing.into_iter().any(|entry| entry.map_or(true, |entry| counts(&entry.file_name())))
        })
    }

    pub(super) fn age(&self, id: &RecordId) -> io::Result<Option<Duration>> {
        // Whatever is stored gets a name in it, and by that dates it.
        disk::age(&self.shelf(id).0, disk::now(&self.chunks)?)
    }

    /// Makes it no recording, in one step, so that a half-done delete is never seen; the folder that is left of it, which
    /// is to be cleared away.
    ///
    /// A folder cannot compare and rename in one step. So the recording is put aside, and then it is looked at again: if it
    /// is another's, which took the name between the two looks, it is put back. What comes for it meanwhile fails, and is
    /// tried again.
    pub(super) fn put_away(&self, id: &RecordId, which: Option<TokenDigest>) -> io::Result<Option<PathBuf>> {
        let place = self.shelf(id).0;
        let is_the_one = |folder: &Path| match which {
            Some(which) => Manifests(folder).read().map(|manifest| manifest.token.matches(&which)),
            None => Ok(true),
        };
        if !self.if_there(is_the_one(&place))?.unwrap_or(false) {
            return Ok(None);
        }
        let aside = self.hidden(ASIDE, id);
        if self.if_there(move_folder(&place, &aside))?.is_none() {
            return Ok(None);
        }
        let is_still = is_the_one(&aside);
        if !matches!(is_still, Ok(true)) {
            self.put_back(&aside, &place)?;
            return is_still.map(|_| None);
        }
        let deleted = self.hidden(DELETED, id);
        move_folder(&aside, &deleted)?;
        disk::sync_folder(&self.chunks)?;
        Ok(Some(deleted))
    }

    fn hidden(&self, kind: &str, id: &RecordId) -> PathBuf {
        self.chunks.join(format!("{kind}{id}-{}", Uuid::new_v4().simple()))
    }

    /// Fails, and leaves it where it is, if the name was taken once more.
    fn put_back(&self, aside: &Path, place: &Path) -> io::Result<()> {
        move_folder(aside, place)?;
        disk::sync_folder(&self.chunks)
    }

    /// Clears away what a crash left; what is young may be another node's work.
    pub(super) fn sweep(&self) -> io::Result<Swept> {
        let now = disk::now(&self.chunks)?;
        let mut swept = Swept::default();
        for entry in disk::entries(&self.chunks)? {
            let (name, path) = (entry.file_name(), entry.path());
            let is_old = || disk::is_left_behind(&path, now);
            let done = if name.as_encoded_bytes().starts_with(DELETED.as_bytes())
                || (disk::is_partial(&name) && is_old())
            {
                disk::clear_away(&path)
            } else if let Some(id) = put_aside(&name).filter(|_| is_old()) {
                self.put_back(&path, &self.shelf(&id).0).map(|()| Swept::default())
            } else if let Some(id) = record_id(&entry) {
                self.shelf(&id).sweep(now)
            } else {
                Ok(Swept::default())
            };
            match done {
                Ok(more) => swept += more,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot clear away what was left");
                }
            }
        }
        Ok(swept)
    }
}

/// Over NFS a rename that was done may be reported as one of something that is not there, when its first answer was lost.
fn move_folder(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && to.is_dir() && !from.exists() => Ok(()),
        done => done,
    }
}

/// The recording that was put aside under this name.
fn put_aside(name: &OsStr) -> Option<RecordId> {
    let (id, _) = name.to_str()?.strip_prefix(ASIDE)?.rsplit_once('-')?;
    RecordId::parse(id).ok()
}

fn record_id(entry: &fs::DirEntry) -> Option<RecordId> {
    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
    is_folder.then(|| RecordId::parse(entry.file_name().to_str()?).ok()).flatten()
}
