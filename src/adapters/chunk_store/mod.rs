//! Chunks in a folder: `chunks/<recordId>/chunk_<index, 8 digits>`, each file exactly the bytes of its chunk.
//!
//! What was noted of a chunk when it came (length, CRC-32C, whether a segment begins, timecode) is in a second name of
//! the same file, `mark_…`, so it costs no fsync of its own, survives a restart unread, and shows a byte that was
//! changed later. The folder may be shared by several nodes, also over NFS: no step relies on locks.
//!
//! What is assumed of the file system: hard links (looked for at the start), names that are durable after an fsync of
//! their folder, and `rename` and `link` as single steps. ADR 10 says why. Where next: `names`, `shelf`.

mod names;
mod shelf;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use uuid::Uuid;

use self::{names::Name, shelf::Shelf};
use super::{
    disk::{self, Disk, Partial},
    ports::{ChunkStore, Committed, PortFuture, StagedChunk, StoreError, StoredChunk},
};
use crate::{
    domain::recording::Manifest,
    protocol::{
        RecordId,
        chunk::{ChunkIndex, ChunkMark},
    },
};

/// Recordings that are taken away get this before their name, and are no recordings from then on.
const DELETED: &str = ".deleted-";

/// A chunk store on a folder.
#[derive(Debug, Clone)]
pub struct FolderChunks {
    disk: Disk,
    house: Arc<House>,
}

impl FolderChunks {
    /// Opens the store, makes its folder where it is missing, and clears away what an earlier life left unfinished.
    /// Blocks.
    ///
    /// # Errors
    /// The folder cannot be made or read, or its file system has no hard links. One that is full or read-only is opened.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let chunks = root.join("chunks");
        let named = |error| in_words(&chunks, &error);
        disk::make_folders(&chunks).map_err(named)?;
        check_links(&chunks)?;
        let house = House { chunks: chunks.clone(), manifests: Mutex::default() };
        house.sweep().map_err(named)?;
        Ok(Self { disk: Disk::new(), house: Arc::new(house) })
    }

    fn run<T: Send + 'static>(
        &self,
        id: &RecordId,
        work: impl FnOnce(&House, &RecordId) -> io::Result<T> + Send + 'static,
    ) -> PortFuture<Result<T, StoreError>> {
        let (house, id) = (self.house.clone(), id.clone());
        self.disk.run(move || work(&house, &id).map_err(|error| in_words(&house.shelf(&id).0, &error)))
    }
}

/// A missing folder is no missing chunk: a disk that is not mounted may come back, so it is worth another try.
fn in_words(what: &Path, error: &io::Error) -> StoreError {
    match StoreError::io(what.display(), error) {
        StoreError::Missing(what) => StoreError::Failed(what),
        other => other,
    }
}

/// Refuses a file system without hard links at once, rather than each chunk later.
fn check_links(folder: &Path) -> Result<(), StoreError> {
    let probe = || {
        let (one, other) = (Partial::write(folder, b"")?, Partial::in_folder(folder));
        fs::hard_link(one.path(), other.path())?;
        shelf::same_file(one.path(), other.path())
    };
    let reason = match probe() {
        Ok(true) => return Ok(()),
        Ok(false) => "it hides which names are one file".to_owned(),
        // Full, read-only, or not ours to write: what is there can still be read.
        Err(error) if cannot_be_written(&error) => {
            tracing::warn!(folder = %folder.display(), %error, "chunks cannot be written");
            return Ok(());
        }
        Err(error) => error.to_string(),
    };
    let folder = folder.display();
    Err(StoreError::Failed(format!("{folder}: chunks need a file system with hard links: {reason}")))
}

fn cannot_be_written(error: &io::Error) -> bool {
    const EACCES: i32 = 13;
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    ) || error.raw_os_error() == Some(EACCES)
}

/// The folder of all recordings.
#[derive(Debug)]
struct House {
    chunks: PathBuf,
    manifests: Mutex<()>,
}

impl House {
    fn shelf(&self, id: &RecordId) -> Shelf {
        Shelf(self.chunks.join(id.as_str()))
    }

    /// Writes a file that is durable but for its name. Never makes the folder: who comes after a delete must not bring the
    /// recording back.
    fn write(&self, id: &RecordId, bytes: &[u8]) -> io::Result<Partial> {
        Partial::write(&self.shelf(id).0, bytes)
    }

    /// Never makes the folder above: where that is gone, so is the disk that was meant.
    fn make_folder(&self, id: &RecordId) -> io::Result<()> {
        match fs::create_dir(self.shelf(id).0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => disk::sync_folder(&self.chunks),
        }
    }

    /// Manifests are compared and replaced by one at a time.
    fn manifests(&self) -> std::sync::MutexGuard<'_, ()> {
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns "not there" into `None`, but only where it is the recording that is not there, and not the whole disk:
    /// nobody may take a disk that is away for a recording without chunks (M-5).
    fn if_there<T>(&self, found: io::Result<T>) -> io::Result<Option<T>> {
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::symlink_metadata(&self.chunks).map(|_| None)
            }
            found => found.map(Some),
        }
    }

    fn create(&self, manifest: &Manifest) -> io::Result<bool> {
        let _turn = self.manifests();
        self.make_folder(&manifest.record_id)?;
        if self.has_anything(&manifest.record_id) {
            return Ok(false);
        }
        self.replace_manifest(manifest).map(|()| true).inspect_err(|_| {
            // Nobody was told of it. Fails where somebody has put something in it since.
            let _ = fs::remove_dir(self.shelf(&manifest.record_id).0);
        })
    }

    fn save_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let _turn = self.manifests();
        // One that cannot be read is replaced.
        let stored = self.manifest(&manifest.record_id).ok().flatten();
        if stored.is_some_and(|stored| stored.revision > manifest.revision) {
            return Ok(());
        }
        self.replace_manifest(manifest)
    }

    fn replace_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(manifest)?;
        self.write(&manifest.record_id, &json)?.replace(names::MANIFEST.as_ref())
    }

    fn manifest(&self, id: &RecordId) -> io::Result<Option<Manifest>> {
        let path = self.shelf(id).0.join(names::MANIFEST);
        let json = self.if_there(fs::read(path))?;
        json.map(|json| serde_json::from_slice(&json).map_err(Into::into)).transpose()
    }

    fn recordings(&self) -> io::Result<Vec<RecordId>> {
        let ids = disk::entries(&self.chunks)?.filter_map(|entry| record_id(&entry));
        let mut ids: Vec<_> = ids.filter(|id| self.has_anything(id)).collect();
        ids.sort();
        Ok(ids)
    }

    /// A folder in which nothing was ever committed is none that anybody was told of.
    fn has_anything(&self, id: &RecordId) -> bool {
        let counts = |name: &std::ffi::OsStr| {
            name == names::MANIFEST || matches!(Name::parse(name), Some(Name::Chunk(_)))
        };
        // Where it cannot be read, there may be something.
        fs::read_dir(self.shelf(id).0).map_or(true, |listing| {
            listing.into_iter().any(|entry| entry.map_or(true, |entry| counts(&entry.file_name())))
        })
    }

    /// Makes it no recording first, in one step, so that a half-done delete is never seen.
    fn delete(&self, id: &RecordId) -> io::Result<()> {
        let aside = self.chunks.join(format!("{DELETED}{id}-{}", Uuid::new_v4().simple()));
        if self.if_there(fs::rename(self.shelf(id).0, &aside))?.is_none() {
            return Ok(());
        }
        disk::sync_folder(&self.chunks)?;
        if let Err(error) = fs::remove_dir_all(&aside) {
            tracing::warn!(recording = %id, %error, "its space comes free at the next start");
        }
        Ok(())
    }

    fn sweep(&self) -> io::Result<()> {
        for entry in disk::entries(&self.chunks)? {
            let (name, path) = (entry.file_name(), entry.path());
            let swept = if name.as_encoded_bytes().starts_with(DELETED.as_bytes()) {
                fs::remove_dir_all(&path)
            } else if disk::is_partial(&name) && disk::is_left_behind(&path) {
                disk::remove_if_there(&path)
            } else if let Some(id) = record_id(&entry) {
                self.shelf(&id).sweep()
            } else {
                Ok(())
            };
            if let Err(error) = swept {
                tracing::warn!(path = %path.display(), %error, "cannot clear away what was left");
            }
        }
        Ok(())
    }
}

fn record_id(entry: &fs::DirEntry) -> Option<RecordId> {
    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
    is_folder.then(|| RecordId::parse(entry.file_name().to_str()?).ok()).flatten()
}

impl ChunkStore for FolderChunks {
    fn create(&self, manifest: Manifest) -> PortFuture<Result<bool, StoreError>> {
        let id = manifest.record_id.clone();
        self.run(&id, move |house, _| house.create(&manifest))
    }

    fn save_manifest(&self, manifest: Manifest) -> PortFuture<Result<(), StoreError>> {
        let id = manifest.record_id.clone();
        self.run(&id, move |house, _| house.save_manifest(&manifest))
    }

    fn manifest(&self, id: &RecordId) -> PortFuture<Result<Option<Manifest>, StoreError>> {
        self.run(id, House::manifest)
    }

    fn recordings(&self) -> PortFuture<Result<Vec<RecordId>, StoreError>> {
        let house = self.house.clone();
        self.disk.run(move || house.recordings().map_err(|error| in_words(&house.chunks, &error)))
    }

    fn stage(&self, id: &RecordId, payload: Bytes) -> PortFuture<Result<Box<dyn StagedChunk>, StoreError>> {
        let disk = self.disk.clone();
        self.run(id, move |house, id| {
            let file = Some(Arc::new(house.write(id, &payload)?));
            Ok(Box::new(FolderStaged { disk, shelf: house.shelf(id), file }) as Box<dyn StagedChunk>)
        })
    }

    fn list(&self, id: &RecordId) -> PortFuture<Result<Vec<StoredChunk>, StoreError>> {
        self.run(id, |house, id| Ok(house.if_there(house.shelf(id).list())?.unwrap_or_default()))
    }

    fn read(&self, id: &RecordId, index: ChunkIndex) -> PortFuture<Result<Bytes, StoreError>> {
        let (house, id) = (self.house.clone(), id.clone());
        self.disk.run(move || {
            let found = house.if_there(house.shelf(&id).read(index));
            let found = found.map_err(|error| in_words(&house.shelf(&id).0, &error))?;
            found.map(Bytes::from).ok_or_else(|| StoreError::Missing(format!("chunk {index} of {id}")))
        })
    }

    fn delete(&self, id: &RecordId) -> PortFuture<Result<(), StoreError>> {
        self.run(id, House::delete)
    }
}

/// A durable file without a place.
struct FolderStaged {
    disk: Disk,
    shelf: Shelf,
    /// Always there until it is dropped.
    file: Option<Arc<Partial>>,
}

impl StagedChunk for FolderStaged {
    fn commit(&self, index: ChunkIndex, mark: ChunkMark) -> PortFuture<Result<Committed, StoreError>> {
        let (shelf, file) = (self.shelf.clone(), self.file.clone());
        self.disk.run(move || {
            let gone = || io::Error::from(io::ErrorKind::NotFound);
            let placed = file.ok_or_else(gone).and_then(|file| shelf.place(file.path(), index, mark));
            placed.map_err(|error| in_words(&shelf.0.join(Name::Chunk(index).to_text()), &error))
        })
    }
}

impl Drop for FolderStaged {
    /// Takes the unfinished name away, off the event loop where there is one: a disk may take its time.
    fn drop(&mut self) {
        let file = self.file.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(file));
        }
    }
}
