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
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};

use super::{
    crash,
    disk::{self, Disk, Partial},
    ports::{FileProof, PortFuture, StoreError, StoredVideo, Swept, VideoParts, VideoSource, VideoStore},
};
use crate::protocol::{RecordId, recorder::VideoKey, tokens::hex};

/// Read at once for the checksum. Unit: bytes.
const READ_BYTES: usize = 256 * 1024;

/// What is under a key, as HTTP calls it.
#[must_use]
pub fn media_type(key: &VideoKey) -> &'static str {
    match key.extension() {
        "mkv" => "video/x-matroska",
        "mp4" => "video/mp4",
        "jpg" => "image/jpeg",
        _ => "video/webm",
    }
}

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
    /// The folder cannot be made or read. One that is full or read-only is opened.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let folder = root.join("recordings");
        let opened = disk::make_folders(&folder);
        let opened = opened.and_then(|()| disk::swept_at_start(&folder, sweep(&folder)));
        opened.map_err(|error| StoreError::io(folder.display(), &error))?;
        Ok(Self { disk: Disk::new(), folder: folder.into() })
    }

    fn run<T: Send + 'static>(
        &self,
        key: &VideoKey,
        work: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
    ) -> PortFuture<Result<T, StoreError>> {
        let (folder, path) = (self.folder.clone(), self.folder.join(key.as_str()));
        self.disk.run(move || {
            work(&path).map_err(|error| if folder.is_dir() { error } else { disk::may_come_back(error) })
        })
    }

    /// Work on the whole folder.
    fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> PortFuture<Result<T, StoreError>> {
        let folder = self.folder.clone();
        self.disk.run(move || work(&folder).map_err(|error| disk::in_words(&folder, &error)))
    }
}

fn has_folder(place: &Path) -> bool {
    place.parent().is_some_and(Path::is_dir)
}

/// Every name of a video, in order.
fn keys(folder: &Path) -> io::Result<Vec<VideoKey>> {
    let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    let files = disk::entries(folder)?.filter(is_file);
    let mut keys: Vec<_> = files.filter_map(|entry| VideoKey::parse(entry.file_name().to_str()?)).collect();
    keys.sort();
    Ok(keys)
}

/// `None`: it went away meanwhile.
fn stored(folder: &Path, key: VideoKey, now: SystemTime) -> io::Result<Option<StoredVideo>> {
    let path = folder.join(key.as_str());
    let about = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        about => about?,
    };
    let age = now.duration_since(about.modified()?).unwrap_or_default();
    Ok(Some(StoredVideo { key, size_bytes: about.len(), age }))
}

fn sweep(folder: &Path) -> io::Result<Swept> {
    let now = disk::now(folder)?;
    let mut swept = Swept::default();
    for entry in disk::entries(folder)? {
        let path = entry.path();
        if disk::is_partial(&entry.file_name()) && disk::is_left_behind(&path, now) {
            match disk::clear_away(&path) {
                Ok(more) => swept += more,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot clear away what was left");
                }
            }
        }
    }
    Ok(swept)
}

impl VideoStore for FolderVideos {
    fn put(&self, key: &VideoKey, file: &Path, proof: FileProof) -> PortFuture<Result<(), StoreError>> {
        let file = file.to_owned();
        self.run(key, move |place| put(&file, place, proof))
    }

    fn parts(&self) -> Option<Arc<dyn VideoParts>> {
        None
    }

    fn find(&self, key: &VideoKey) -> PortFuture<Result<Option<VideoSource>, StoreError>> {
        self.run(key, |place| match fs::symlink_metadata(place) {
            Ok(about) => Ok(about.is_file().then(|| VideoSource::File(place.to_owned()))),
            // Where the whole folder is away, nobody may take its videos for gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound && has_folder(place) => Ok(None),
            Err(error) => Err(StoreError::io(place.display(), &error)),
        })
    }

    fn local(&self, key: &VideoKey, _: &Path) -> PortFuture<Result<Option<PathBuf>, StoreError>> {
        let found = self.find(key);
        Box::pin(async move {
            Ok(found.await?.and_then(|source| match source {
                VideoSource::File(path) => Some(path),
                VideoSource::Elsewhere(_) => None,
            }))
        })
    }

    fn sha256(&self, key: &VideoKey) -> PortFuture<Result<Option<[u8; 32]>, StoreError>> {
        self.run(key, |place| match File::open(place) {
            Ok(file) => {
                let measured = measure(file).map_err(|error| StoreError::io(place.display(), &error))?;
                Ok(measured.sha256)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && has_folder(place) => Ok(None),
            Err(error) => Err(StoreError::io(place.display(), &error)),
        })
    }

    fn link(&self, _: &VideoKey, _: String) -> PortFuture<Result<Option<String>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    fn of(&self, id: &RecordId) -> PortFuture<Result<Vec<VideoKey>, StoreError>> {
        let id = Some(id.clone());
        self.look(move |folder| Ok(keys(folder)?.into_iter().filter(|key| key.record_id() == id).collect()))
    }

    fn list(
        &self,
        after: Option<VideoKey>,
        limit: usize,
    ) -> PortFuture<Result<Vec<StoredVideo>, StoreError>> {
        self.look(move |folder| {
            let now = disk::now(folder)?;
            let rest = keys(folder)?.into_iter().filter(|key| after.as_ref().is_none_or(|after| key > after));
            rest.filter_map(|key| stored(folder, key, now).transpose()).take(limit).collect()
        })
    }

    fn delete(&self, key: &VideoKey) -> PortFuture<Result<(), StoreError>> {
        self.run(key, |place| {
            let deleted = disk::remove_if_there(place).and_then(|()| sync_parent(place));
            deleted.map_err(|error| StoreError::io(place.display(), &error))
        })
    }

    fn free_bytes(&self) -> PortFuture<Result<Option<u64>, StoreError>> {
        let folder = self.folder.clone();
        self.disk.run(move || disk::free_bytes(&folder))
    }

    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        self.look(sweep)
    }
}

/// Moves a proven file to its place. Done again after a crash in its middle, it finds its work done.
fn put(file: &Path, place: &Path, proof: FileProof) -> Result<(), StoreError> {
    let named = |error| StoreError::io(place.display(), &error);
    match open_file(file) {
        Ok(opened) => prove_durable(opened, proof)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return check_moved(place, proof, StoreError::io(file.display(), &error));
        }
        Err(error) => return Err(StoreError::io(file.display(), &error)),
    }
    crash::point("video.proven");
    match fs::rename(file, place) {
        Ok(()) => {
            crash::point("video.renamed");
            sync_parent(place).map_err(named)
        }
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
    prove_durable(moved, proof)?;
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
    let proof = if proof.sha256.is_some() { proof } else { measured(file)? };
    let folder = place.parent().unwrap_or(place);
    let partial = Partial::in_folder(folder, "video");
    let mut source = File::open(file).map_err(|error| StoreError::io(file.display(), &error))?;
    let copied = partial.create().and_then(|mut copy| io::copy(&mut source, &mut copy));
    copied.map_err(named)?;
    prove_durable(File::open(partial.path()).map_err(named)?, proof)?;
    partial.replace(place.file_name().unwrap_or_default()).map_err(named)?;
    if let Err(error) = disk::remove_if_there(file) {
        tracing::warn!(file = %file.display(), %error, "cannot remove what was copied");
    }
    Ok(())
}

fn sync_parent(place: &Path) -> io::Result<()> {
    disk::sync_folder(place.parent().unwrap_or(place))
}

/// Makes a file durable and reads it whole, unless that was done as it was written: only what is there counts.
fn prove_durable(file: File, proof: FileProof) -> Result<(), StoreError> {
    let unreadable = |error: io::Error| StoreError::io("a finished file", &error);
    file.sync_all().map_err(unreadable)?;
    let found = match proof.sha256 {
        Some(_) => measure(file).map_err(unreadable)?,
        None => FileProof { size_bytes: file.metadata().map_err(unreadable)?.len(), sha256: None },
    };
    prove(found, proof)
}

/// Whether what was read is what was meant.
pub(super) fn prove(found: FileProof, proof: FileProof) -> Result<(), StoreError> {
    if found == proof {
        return Ok(());
    }
    Err(StoreError::Failed(format!(
        "the file is not what was meant: {} bytes, SHA-256 {}, instead of {} bytes, SHA-256 {}",
        found.size_bytes,
        in_words(found.sha256),
        proof.size_bytes,
        in_words(proof.sha256),
    )))
}

fn in_words(sha256: Option<[u8; 32]>) -> String {
    sha256.map_or_else(|| "not known".to_owned(), |digest| hex(&digest))
}

/// What a file is, read whole. Blocks.
pub(super) fn measured(file: &Path) -> Result<FileProof, StoreError> {
    let measured = File::open(file).and_then(measure);
    measured.map_err(|error| StoreError::io(file.display(), &error))
}

fn measure(mut file: impl Read) -> io::Result<FileProof> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; READ_BYTES];
    let mut size_bytes = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(FileProof { size_bytes, sha256: Some(digest.finalize().into()) }),
            Ok(length) => {
                digest.update(&piece[..length]);
                size_bytes += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
