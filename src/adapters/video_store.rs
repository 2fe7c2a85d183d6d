//! Finished videos and posters in a folder: `recordings/<key>`.
//!
//! A video is never half there under its key: it is proven where it lies (or where it was copied to), and one rename
//! then puts it in the place of whatever was there. A key is one name without separators, so nothing leads out of the
//! folder; a symbolic link in it is no video.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::{
    disk::{self, Disk, Partial},
    ports::{FileProof, PortFuture, StoreError, VideoStore},
};
use crate::protocol::{recorder::VideoKey, tokens::hex};

/// Read at once for the checksum. Unit: bytes.
const READ_BYTES: usize = 256 * 1024;

/// A video store on a folder.
#[derive(Debug, Clone)]
pub struct FolderVideos {
    disk: Disk,
    folder: Arc<Path>,
}

impl FolderVideos {
    /// Opens the store, makes its folder where it is missing, and clears away copies that an earlier life left
    /// unfinished. Blocks.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let folder = root.join("recordings");
        let opened = disk::make_folders(&folder).and_then(|()| sweep(&folder));
        opened.map_err(|error| StoreError::io(folder.display(), &error))?;
        Ok(Self { disk: Disk::new(), folder: folder.into() })
    }

    fn run<T: Send + 'static>(
        &self,
        key: &VideoKey,
        work: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
    ) -> PortFuture<Result<T, StoreError>> {
        let path = self.folder.join(key.as_str());
        self.disk.run(move || work(&path))
    }
}

fn sweep(folder: &Path) -> io::Result<()> {
    for entry in disk::entries(folder)? {
        if disk::is_partial(&entry.file_name())
            && disk::is_left_behind(&entry.path())
            && let Err(error) = disk::remove_if_there(&entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "cannot clear away what was left");
        }
    }
    Ok(())
}

impl VideoStore for FolderVideos {
    fn put(&self, key: &VideoKey, file: &Path, proof: FileProof) -> PortFuture<Result<(), StoreError>> {
        let file = file.to_owned();
        self.run(key, move |place| put(&file, place, proof))
    }

    fn path(&self, key: &VideoKey) -> PortFuture<Result<Option<PathBuf>, StoreError>> {
        self.run(key, |place| match fs::symlink_metadata(place) {
            Ok(about) => Ok(about.is_file().then(|| place.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(place.display(), &error)),
        })
    }

    fn delete(&self, key: &VideoKey) -> PortFuture<Result<(), StoreError>> {
        self.run(key, |place| {
            let folder = place.parent().unwrap_or(place);
            let deleted = disk::remove_if_there(place).and_then(|()| disk::sync_folder(folder));
            deleted.map_err(|error| StoreError::io(place.display(), &error))
        })
    }

    fn free_bytes(&self) -> PortFuture<Result<u64, StoreError>> {
        let folder = self.folder.clone();
        self.disk.run(move || {
            let space = rustix::fs::statvfs(&*folder).map_err(io::Error::from);
            let space = space.map_err(|error| StoreError::io(folder.display(), &error))?;
            // What is kept back for the system's administrator is not ours.
            Ok(space.f_bavail.saturating_mul(space.f_frsize))
        })
    }
}

/// Moves a proven file to its place. Done again after a crash in its middle, it finds its work done.
fn put(file: &Path, place: &Path, proof: FileProof) -> Result<(), StoreError> {
    let named = |error| StoreError::io(place.display(), &error);
    match open_file(file) {
        Ok(opened) => prove(opened, proof)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return check_moved(place, proof, StoreError::io(file.display(), &error));
        }
        Err(error) => return Err(StoreError::io(file.display(), &error)),
    }
    match fs::rename(file, place) {
        Ok(()) => sync_parent(place).map_err(named),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => put_copy(file, place, proof),
        // Over NFS a rename that was done may be reported so, when its first answer was lost.
        Err(error) if error.kind() == io::ErrorKind::NotFound => check_moved(place, proof, named(error)),
        Err(error) => Err(named(error)),
    }
}

/// Whether what was to be moved is where it was to go.
fn check_moved(place: &Path, proof: FileProof, otherwise: StoreError) -> Result<(), StoreError> {
    let Ok(moved) = open_file(place) else {
        return Err(otherwise);
    };
    prove(moved, proof)?;
    sync_parent(place).map_err(|error| StoreError::io(place.display(), &error))
}

/// Opens a file that is none by way of a link: a link is what would be moved.
fn open_file(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// The same from another file system: what is proven is the copy.
fn put_copy(file: &Path, place: &Path, proof: FileProof) -> Result<(), StoreError> {
    let named = |error| StoreError::io(place.display(), &error);
    let folder = place.parent().unwrap_or(place);
    let partial = Partial::in_folder(folder);
    let mut source = File::open(file).map_err(|error| StoreError::io(file.display(), &error))?;
    let copied = partial.create().and_then(|mut copy| io::copy(&mut source, &mut copy));
    copied.map_err(named)?;
    prove(File::open(partial.path()).map_err(named)?, proof)?;
    partial.replace(place.file_name().unwrap_or_default()).map_err(named)?;
    if let Err(error) = disk::remove_if_there(file) {
        tracing::warn!(file = %file.display(), %error, "cannot remove what was copied");
    }
    Ok(())
}

fn sync_parent(place: &Path) -> io::Result<()> {
    disk::sync_folder(place.parent().unwrap_or(place))
}

/// Makes a file durable and reads it whole: only what is there counts.
fn prove(file: File, proof: FileProof) -> Result<(), StoreError> {
    let unreadable = |error: io::Error| StoreError::io("a finished file", &error);
    file.sync_all().map_err(unreadable)?;
    let found = measure(file).map_err(unreadable)?;
    if found == proof {
        return Ok(());
    }
    Err(StoreError::Failed(format!(
        "the file is not what was meant: {} bytes, SHA-256 {}, instead of {} bytes, SHA-256 {}",
        found.size_bytes,
        hex(&found.sha256),
        proof.size_bytes,
        hex(&proof.sha256),
    )))
}

fn measure(mut file: impl Read) -> io::Result<FileProof> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; READ_BYTES];
    let mut size_bytes = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(FileProof { size_bytes, sha256: digest.finalize().into() }),
            Ok(length) => {
                digest.update(&piece[..length]);
                size_bytes += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
