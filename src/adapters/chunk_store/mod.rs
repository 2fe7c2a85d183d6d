//! Chunks in a folder: `chunks/<recordId>/chunk_<index, 8 digits>`, each file exactly the bytes of its chunk.
//!
//! What was noted of a chunk when it came (length, CRC-32C, whether a segment begins, timecode) is in a second name of
//! the same file, `mark_…`, so it costs no fsync of its own, survives a restart unread, and shows a byte that was
//! changed later. The folder may be shared by several nodes, also over NFS: no step relies on locks.
//!
//! What is known of a recording as a whole is in `manifest.json` and, once that has changed, in `revisions/`.
//!
//! What is assumed of the file system: hard links (looked for at the start), names that are durable after an fsync of
//! their folder, and `rename` and `link` as single steps. ADR 10 says why. Where next: `house` (all
//! recordings), `manifests`, `names`, `shelf` (one recording's chunks).

mod house;
mod manifests;
pub(super) mod names;
mod shelf;

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;

use self::{house::House, names::Name, shelf::Shelf};
use super::{
    disk::{self, Disk, Partial},
    ports::{
        ChunkStore, Committed, PortFuture, RecordingRef, Remains, StagedChunk, StoreError, StoredChunk, Swept,
    },
};
use crate::{
    domain::recording::Manifest,
    protocol::{
        RecordId, TokenDigest,
        chunk::{ChunkIndex, ChunkMark},
    },
};

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
        let named = |error| disk::in_words(&chunks, &error);
        disk::make_folders(&chunks).map_err(named)?;
        check_links(&chunks)?;
        let house = House::new(chunks.clone());
        disk::swept_at_start(&chunks, house.sweep()).map_err(named)?;
        Ok(Self { disk: Disk::new(), house: Arc::new(house) })
    }

    /// Work on the folder of all recordings.
    fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&House) -> io::Result<T> + Send + 'static,
    ) -> PortFuture<Result<T, StoreError>> {
        let house = self.house.clone();
        self.disk.run(move || work(&house).map_err(|error| disk::in_words(&house.chunks, &error)))
    }

    fn run<T: Send + 'static>(
        &self,
        id: &RecordId,
        work: impl FnOnce(&House, &RecordId) -> io::Result<T> + Send + 'static,
    ) -> PortFuture<Result<T, StoreError>> {
        let (house, id) = (self.house.clone(), id.clone());
        self.disk.run(move || work(&house, &id).map_err(|error| disk::in_words(&house.shelf(&id).0, &error)))
    }
}

/// Refuses a file system without hard links at once, rather than each chunk later.
fn check_links(folder: &Path) -> Result<(), StoreError> {
    let probe = || {
        let (one, other) = (Partial::write(folder, "probe", b"")?, Partial::in_folder(folder, "probe"));
        fs::hard_link(one.path(), other.path())?;
        shelf::same_file(one.path(), other.path())
    };
    let reason = match probe() {
        Ok(true) => return Ok(()),
        Ok(false) => "it hides which names are one file".to_owned(),
        // Full, read-only, or not ours to write: what is there can still be read.
        Err(error) if disk::cannot_be_written(&error) => {
            tracing::warn!(folder = %folder.display(), %error, "chunks cannot be written");
            return Ok(());
        }
        Err(error) => error.to_string(),
    };
    let folder = folder.display();
    Err(StoreError::Failed(format!("{folder}: chunks need a file system with hard links: {reason}")))
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
        self.look(House::recordings)
    }

    fn stage(
        &self,
        recording: &RecordingRef,
        payload: Bytes,
    ) -> PortFuture<Result<Box<dyn StagedChunk>, StoreError>> {
        let (disk, token) = (self.disk.clone(), recording.token);
        self.run(&recording.id, move |house, id| {
            let file = Some(Arc::new(house.stage(id, &token, &payload)?));
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
            let found = found.map_err(|error| disk::in_words(&house.shelf(&id).0, &error))?;
            found.map(Bytes::from).ok_or_else(|| StoreError::Missing(format!("chunk {index} of {id}")))
        })
    }

    fn begin_delete(
        &self,
        id: &RecordId,
        which: Option<TokenDigest>,
    ) -> PortFuture<Result<Remains, StoreError>> {
        let (disk, put_away) = (self.disk.clone(), self.run(id, move |house, id| house.put_away(id, which)));
        Box::pin(async move {
            let Some(folder) = put_away.await? else { return Ok(Remains::none()) };
            Ok(Remains::new(disk.run(move || {
                disk::clear_away(&folder).map(drop).map_err(|error| disk::in_words(&folder, &error))
            })))
        })
    }

    fn age(&self, id: &RecordId) -> PortFuture<Result<Option<Duration>, StoreError>> {
        self.run(id, House::age)
    }

    fn free_bytes(&self) -> PortFuture<Result<Option<u64>, StoreError>> {
        let house = self.house.clone();
        self.disk.run(move || disk::free_bytes(&house.chunks))
    }

    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        self.look(House::sweep)
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
            placed.map_err(|error| disk::in_words(&shelf.0.join(Name::Chunk(index).to_text()), &error))
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
