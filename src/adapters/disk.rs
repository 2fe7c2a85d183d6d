//! What a folder needs before it may be trusted with what was acknowledged: blocking calls that cannot fill every
//! thread, files that are whole and durable or not there at all, and the sweeping of what a crash left behind.
//!
//! Chunks ([`super::chunk_store`]) and videos ([`super::video_store`]) are kept by means of it; it knows neither.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    crash,
    ports::{PortFuture, StoreError, Swept},
};

/// Blocking calls of one store at one time. Enough to keep a disk busy, and far below the number of threads that
/// blocking work may take: a disk that hangs must not stop whatever else blocks.
const BLOCKING_MAX: usize = 16;
/// Names of files that are not finished.
const PARTIAL: &str = ".partial-";
/// What is unfinished for so long belongs to nobody any more. Longer than any write takes, so that another node on the
/// same folder is left alone.
pub(super) const LEFT_BEHIND: Duration = Duration::from_secs(60 * 60);

/// Where less is free, nothing is set aside. Unit: bytes.
const FREE_FOR_OTHERS: u64 = 1024 * 1024 * 1024;

/// Runs blocking work off the event loops, a bounded number at a time.
#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<Semaphore>);

impl Disk {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BLOCKING_MAX)))
    }

    /// Does it in its turn. Once begun it is done to its end, even if nobody waits for it any more; it then clears up
    /// by itself, as its result is dropped.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> PortFuture<Result<T, StoreError>> {
        let turns = self.0.clone();
        Box::pin(async move {
            let turn = turns.acquire_owned().await.map_err(|_| interrupted())?;
            let done = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                work()
            });
            done.await.unwrap_or_else(|_| Err(interrupted()))
        })
    }
}

fn interrupted() -> StoreError {
    StoreError::Failed("the work was interrupted".into())
}

/// A missing folder is no missing file: a disk that is not mounted may come back, so it is worth another try.
pub(super) fn in_words(what: &Path, error: &io::Error) -> StoreError {
    may_come_back(StoreError::io(what.display(), error))
}

/// The same of what was said in words already.
pub(super) fn may_come_back(error: StoreError) -> StoreError {
    match error {
        StoreError::Missing(what) => StoreError::Failed(what),
        other => other,
    }
}

/// A file that nobody counts yet; gone when this is dropped, unless it was renamed.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    /// By which the points at which a test has the process die tell it from others.
    what: &'static str,
}

impl Partial {
    /// Names a file in this folder as no other is named, by no process on any machine.
    pub(super) fn in_folder(folder: &Path, what: &'static str) -> Self {
        Self { path: folder.join(format!("{PARTIAL}{}", Uuid::new_v4().simple())), what }
    }

    /// Writes a file that is durable but for its name. A file whose fsync failed is not trusted again (the pages that
    /// were not written may count as clean afterwards): it is dropped, and with it removed.
    pub(super) fn write(folder: &Path, what: &'static str, bytes: &[u8]) -> io::Result<Self> {
        let partial = Self::in_folder(folder, what);
        let mut file = partial.create()?;
        file.write_all(bytes)?;
        crash::step(what, "written");
        file.sync_all()?;
        crash::step(what, "synced");
        Ok(partial)
    }

    /// Begins the file.
    pub(super) fn create(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(&self.path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it official, in the place of whatever was there, and the name durable.
    pub(super) fn replace(self, name: &OsStr) -> io::Result<()> {
        self.replace_in(parent(&self.path), name)
    }

    /// The same in another folder of the same disk.
    pub(super) fn replace_in(&self, folder: &Path, name: &OsStr) -> io::Result<()> {
        fs::rename(&self.path, folder.join(name))?;
        crash::step(self.what, "renamed");
        sync_folder(folder)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Renamed files are not there any more, and what cannot be removed is swept later.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the names in a folder durable.
///
/// Where it fails, the names may be there or not after a crash; it can be tried again, since a file system that could
/// not write its journal takes no more changes and goes on failing.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder, and the folders above it that are missing, durably.
pub(super) fn make_folders(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(parent(folder)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folders(parent(folder))?;
            fs::create_dir(folder)?;
            sync_folder(parent(folder))
        }
        Err(error) => Err(error),
    }
}

/// The folder that something is in; for a relative name of one part that is the working directory.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Whether a name is that of an unfinished file.
pub(super) fn is_partial(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PARTIAL.as_bytes())
}

/// The time by the clock that dates the files in a folder. A folder of the network has its server's, and a node's own may be
/// an hour off: what another node writes just now must not look old.
pub(super) fn now(folder: &Path) -> io::Result<SystemTime> {
    let probe = Partial::in_folder(folder, "probe");
    probe.create()?.metadata()?.modified()
}

/// How long ago something was last changed. `None`: it is not there.
pub(super) fn age(path: &Path, now: SystemTime) -> io::Result<Option<Duration>> {
    match fs::symlink_metadata(path).and_then(|about| about.modified()) {
        Ok(changed) => Ok(Some(now.duration_since(changed).unwrap_or_default())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether something was last changed so long ago that nobody can be at work on it.
pub(super) fn is_left_behind(path: &Path, now: SystemTime) -> bool {
    age(path, now).is_ok_and(|age| age.is_some_and(|age| age > LEFT_BEHIND))
}

/// Removes a file, or a folder with all that is in it, and says how much that was: the bytes of a file with several names
/// come free with the last of them. Its absence is no error.
pub(super) fn clear_away(path: &Path) -> io::Result<Swept> {
    let mut swept = Swept::default();
    let about = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(swept),
        about => about?,
    };
    if about.is_dir() {
        // Another node, or a sweep, may clear it away too.
        let gone = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        };
        for entry in entries(path).map(Iterator::collect).or_else(gone)? {
            swept += clear_away(&entry.path())?;
        }
        fs::remove_dir(path).or_else(|error| gone(error).map(drop))?;
    } else {
        remove_if_there(path)?;
        swept += Swept { count: 1, bytes: if about.nlink() > 1 { 0 } else { about.len() } };
    }
    Ok(swept)
}

/// What a sweep at the start comes to where nothing can be written: full, read-only, or not ours to write. What is there
/// can still be read, so that is no reason not to open.
pub(super) fn swept_at_start(folder: &Path, swept: io::Result<Swept>) -> io::Result<()> {
    match swept {
        Ok(Swept { count: 0, .. }) => Ok(()),
        Ok(Swept { count, bytes }) => {
            tracing::info!(folder = %folder.display(), count, bytes, "cleared away what was left unfinished");
            Ok(())
        }
        Err(error) if cannot_be_written(&error) => {
            tracing::warn!(folder = %folder.display(), %error, "it cannot be written");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

pub(super) fn cannot_be_written(error: &io::Error) -> bool {
    const EACCES: i32 = 13;
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    ) || error.raw_os_error() == Some(EACCES)
}

/// Space left on a folder's disk. What is kept back for the system's administrator is not ours.
pub(super) fn free_bytes(folder: &Path) -> Result<Option<u64>, StoreError> {
    left(folder).map(Some).map_err(|error| StoreError::io(folder.display(), &error))
}

/// Refuses to take up so many bytes where fewer than these would be left.
pub(super) fn has_room(folder: &Path, bytes: u64, least: u64) -> io::Result<()> {
    if left(folder)? < bytes.saturating_add(least) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

fn left(folder: &Path) -> io::Result<u64> {
    Ok(free(&rustix::fs::statvfs(folder)?))
}

fn free(space: &rustix::fs::StatVfs) -> u64 {
    space.f_bavail.saturating_mul(space.f_frsize)
}

/// Sets space aside for what will be written to a file from there on, in one stretch if the disk has one. Space that is found page
/// by page takes half as much of the processor again. What is not written to is given back when the file is cut.
///
/// # Errors
/// The disk is nearly full, or its file system does not do this: then space is found as it is needed.
pub(super) fn set_aside(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    if free(&rustix::fs::fstatvfs(file)?) < bytes.saturating_add(FREE_FOR_OTHERS) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, from, bytes)?)
}

/// Whether a folder is on a disk of this machine. Over a network a file is written in pages by each machine: what one still has to send
/// brings whatever stood around it then.
pub(super) fn is_local(folder: &Path) -> bool {
    /// ext2 to ext4, XFS, Btrfs, F2FS, ZFS, tmpfs, overlayfs (`statfs(2)`).
    const LOCAL: [u32; 7] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1, 0x0102_1994, 0x794c_7630];
    let of_kind = |space: rustix::fs::StatFs| LOCAL.iter().any(|kind| i64::from(*kind) == space.f_type);
    rustix::fs::statfs(folder).is_ok_and(of_kind)
}

/// Removes a file; its absence is no error.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    if_there(fs::remove_file(path))
}

/// What there was nothing to be done to is done.
pub(super) fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The names in a folder. What goes away meanwhile is left out.
pub(super) fn entries(folder: &Path) -> io::Result<impl Iterator<Item = fs::DirEntry>> {
    let listing = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    Ok(listing.into_iter())
}
