//! WebM, Matroska and MP4 without ffmpeg: the assembler (`domain::assembly`) on chunks and a file, as the port [`Merger`].
//!
//! ```text
//!  chunks that come ─► follow: what is there in order goes into the file ─► a checkpoint every few chunks
//!  the recording is over ─► merge: the rest, with what is missing left out ─► index, head, proof ─► the video
//!                                          └ what the assembler cannot do ─► ffmpeg, all of it
//! ```
//! So what is left to do at the end does not grow with the recording. Nothing here is the truth about anything: a file that is
//! lost, torn or in the way is made again from the chunks. Files: `place` (names, taking over), `growing` (one file),
//! `following` (while it comes), `completing` (at its end).

mod completing;
mod following;
mod growing;
mod place;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedMutexGuard, Semaphore};
use tracing::warn;

use self::{following::Following, growing::Fault};
use super::{
    disk::{self, Disk},
    ffmpeg::FfmpegMerger,
    ports::{
        ChunkStore, MergeError, MergeJob, Merged, Merger, PortFuture, RecordingRef, StoreError, StoredChunk,
        Swept,
    },
};

/// Assembles what it can, and leaves the rest to ffmpeg.
#[derive(Clone)]
pub struct AssemblingMerger {
    shared: Arc<Shared>,
}

struct Shared {
    ffmpeg: FfmpegMerger,
    store: Arc<dyn ChunkStore>,
    disk: Disk,
    folder: PathBuf,
    /// Pictures that are made of what grows at one time: nobody waits for them.
    pictures: Arc<Semaphore>,
    /// Up to so many bytes a video's digest is told at once; of larger ones it follows.
    hashed_at_once: u64,
    /// One for each recording that anything was done for lately.
    following: Mutex<HashMap<RecordingRef, Arc<tokio::sync::Mutex<Following>>>>,
}

impl AssemblingMerger {
    /// Has its files in a folder, which nodes may share: best on the disk of the finished videos, where a rename is all that
    /// is left to do. Blocks.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(
        folder: &Path,
        store: Arc<dyn ChunkStore>,
        ffmpeg: FfmpegMerger,
        hashed_at_once: u64,
    ) -> Result<Self, StoreError> {
        let opened = disk::make_folders(folder);
        let opened =
            opened.or_else(|error| if disk::cannot_be_written(&error) { Ok(()) } else { Err(error) });
        opened.map_err(|error| StoreError::io(folder.display(), &error))?;
        let (disk, following) = (Disk::new(), Mutex::default());
        let shared = Shared {
            ffmpeg,
            store,
            disk,
            folder: folder.to_owned(),
            pictures: Arc::new(Semaphore::new(1)),
            hashed_at_once,
            following,
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Merger for AssemblingMerger {
    fn check(&self) -> PortFuture<Result<String, MergeError>> {
        self.shared.ffmpeg.check()
    }

    fn follow(&self, recording: RecordingRef, came: Vec<StoredChunk>) -> PortFuture<Result<(), StoreError>> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.follow(recording, came).await })
    }

    fn merge(&self, job: MergeJob) -> PortFuture<Result<Merged, MergeError>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            match shared.complete(&job).await? {
                Some(merged) => Ok(merged),
                None => shared.ffmpeg.merge(job).await,
            }
        })
    }

    fn forget(&self, recording: RecordingRef) -> PortFuture<()> {
        let shared = self.shared.clone();
        Box::pin(async move {
            // Nobody has to wait for whoever is at it, such as for a store that is slow.
            tokio::spawn(async move { shared.forget(&recording).await });
        })
    }

    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        self.shared.let_go_of_idle();
        let folder = self.shared.folder.clone();
        self.shared.disk.run(move || {
            let swept = place::sweep(&folder);
            swept.map_err(|error| disk::in_words(&folder, &error))
        })
    }
}

impl Shared {
    fn of(&self, recording: &RecordingRef) -> Arc<tokio::sync::Mutex<Following>> {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        following.entry(recording.clone()).or_default().clone()
    }

    /// Does something to a recording's file. Once begun it is done to its end, and nobody else comes to the file before.
    async fn step<T: Send + 'static>(
        &self,
        mut held: OwnedMutexGuard<Following>,
        work: impl FnOnce(&mut Following) -> Result<T, Fault> + Send + 'static,
    ) -> Result<(OwnedMutexGuard<Following>, Result<T, Fault>), StoreError> {
        let done = self.disk.run(move || {
            // What was begun before and did not come to its end left it half done.
            if std::mem::replace(&mut held.is_busy, true) {
                held.drop_file();
            }
            let worked = work(&mut held);
            held.is_busy = false;
            if worked.is_err() {
                held.drop_file();
            }
            Ok((held, worked))
        });
        done.await
    }

    /// Whoever is at it comes to its end first, and whoever waits finds that it is over.
    async fn forget(&self, recording: &RecordingRef) {
        let following = self.following.lock().unwrap_or_else(PoisonError::into_inner).remove(recording);
        if let Some(following) = following {
            *following.lock_owned().await = Following::over();
        }
        let (folder, gone) = (self.folder.clone(), recording.clone());
        let cleared = self.disk.run(move || {
            let cleared = place::clear_all(&folder, &gone);
            cleared.map_err(|error| disk::in_words(&folder, &error))
        });
        if let Err(error) = cleared.await {
            warn!(recording = %recording.id, %error, "files of the assembler stay until they are looked for");
        }
    }

    /// Recordings of which nothing was heard for long are only known by their files.
    fn let_go_of_idle(&self) {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        following.retain(|_, held| held.try_lock().map_or(true, |held| !held.is_idle()));
    }
}
