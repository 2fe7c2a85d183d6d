//! WebM, Matroska and MP4 without ffmpeg: the assembler (`domain::assembly`) on chunks and a file, as the port [`Merger`].
//!
//! ```text
//!  chunks that come ─► follow: what is there in order goes into the file ─► a checkpoint every few chunks
//!  the recording is over ─► merge: the rest, with what is missing left out ─► index, head, proof ─► the video
//!                                          └ what the assembler cannot do ─► ffmpeg, all of it
//! ```
//! So what is left to do at the end does not grow with the recording. Nothing here is the truth about anything: a file that is
//! lost, torn or in the way is made again from the chunks. Files: `place` (names, taking over), `growing` (one file), `saved` (its
//! checkpoint), `rooms` (memory for a step), `following` (while it comes), `watching` (what can be seen of it meanwhile), `completing`
//! (at its end), `sending` (into a store that takes it in parts; `note` and `brought`: how another node goes on).

mod brought;
mod completing;
mod following;
mod growing;
mod note;
mod place;
mod rooms;
mod saved;
mod sending;
mod watching;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
};

use tokio::sync::{OwnedMutexGuard, Semaphore};
use tracing::warn;

use self::{
    following::{Following, Opening},
    growing::Fault,
    place::Purpose,
    rooms::{Room, Rooms},
    sending::Sender,
    watching::Watches,
};
use super::{
    disk::{self, Disk},
    ffmpeg::FfmpegMerger,
    ports::{
        CameChunk, ChunkStore, MergeError, MergeJob, Merged, Merger, PortFuture, RecordingRef, StoreError,
        Swept, VideoParts, Watched,
    },
};
use crate::protocol::{RecordId, limits::UNFINISHED_BYTES_MAX};

/// As many recordings are looked for at one time as the worker follows.
const LOOKS: usize = 4;

/// Assembles what it can, and leaves the rest to ffmpeg.
#[derive(Clone)]
pub struct AssemblingMerger {
    shared: Arc<Shared>,
    /// Of recordings that are watched here and nobody follows as far as can be seen: for their viewers alone.
    watched: Arc<Shared>,
    work: PathBuf,
}

struct Shared {
    ffmpeg: FfmpegMerger,
    store: Arc<dyn ChunkStore>,
    disk: Disk,
    /// `None`: videos are moved into their store.
    sender: Option<Arc<Sender>>,
    folder: PathBuf,
    /// Pictures that are made of what grows at one time: nobody waits for them.
    pictures: Arc<Semaphore>,
    /// How many recordings are being completed.
    completing: AtomicUsize,
    /// Up to so many bytes a video's digest is told at once; of larger ones it follows.
    hashed_at_once: u64,
    /// Where less would be left on the disk no other node's file is copied. Unit: bytes.
    least_free: u64,
    /// So much is left free while files grow: 0 where it is the recording's own. Unit: bytes.
    leaves_free: u64,
    /// Recordings that are looked for in the chunk store at one time, because they are watched.
    looks: Arc<Semaphore>,
    rooms: Rooms,
    /// Bytes of what is not whole that all recordings may hold.
    unfinished: Arc<Semaphore>,
    /// One for each recording that anything was done for lately.
    following: Mutex<HashMap<RecordingRef, Arc<tokio::sync::Mutex<Following>>>>,
    /// What people see of recordings that come.
    watches: Arc<Watches>,
}

/// What an assembler is made of.
pub struct Assembling {
    /// Its files are there, which nodes may share: best on the disk of the finished videos, where a rename is all that is left
    /// to do.
    pub folder: PathBuf,
    /// For files that are of use for a while: those for viewers, and pictures. No other node has this folder.
    pub work: PathBuf,
    /// Where the chunks are.
    pub chunks: Arc<dyn ChunkStore>,
    /// How videos go into their store while they grow, where that can be.
    pub parts: Option<Arc<dyn VideoParts>>,
    /// Does the rest.
    pub ffmpeg: FfmpegMerger,
    /// Up to so many bytes a video's digest is told at once.
    pub hashed_at_once: u64,
    /// With less space than this left, nothing is copied, and nothing put together for viewers. Unit: bytes.
    pub min_free_bytes: u64,
}

impl AssemblingMerger {
    /// Makes its folder. Blocks.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(with: Assembling) -> Result<Self, StoreError> {
        let Assembling { folder, work, chunks: store, parts, ffmpeg, hashed_at_once, min_free_bytes } = with;
        let opened = disk::make_folders(&folder);
        let opened =
            opened.or_else(|error| if disk::cannot_be_written(&error) { Ok(()) } else { Err(error) });
        opened.map_err(|error| StoreError::io(folder.display(), &error))?;
        let sender = parts.map(|parts| Arc::new(Sender::new(parts, store.clone())));
        let watches = Arc::new(Watches::default());
        let unfinished = Arc::new(Semaphore::new(UNFINISHED_BYTES_MAX));
        let rooms = Rooms::default();
        let open = |folder, sender, pictures, leaves_free| Shared {
            ffmpeg: ffmpeg.clone(),
            sender,
            store: store.clone(),
            disk: Disk::new(),
            folder,
            pictures: Arc::new(Semaphore::new(pictures)),
            completing: AtomicUsize::new(0),
            hashed_at_once,
            least_free: min_free_bytes,
            leaves_free,
            looks: Arc::new(Semaphore::new(LOOKS)),
            rooms: rooms.clone(),
            unfinished: unfinished.clone(),
            following: Mutex::default(),
            watches: watches.clone(),
        };
        let shared = Arc::new(open(folder, sender, 1, 0));
        let watched = Arc::new(open(work.join("watched"), None, 0, min_free_bytes));
        Ok(Self { shared, watched, work })
    }
}

impl Merger for AssemblingMerger {
    fn check(&self) -> PortFuture<Result<String, MergeError>> {
        self.shared.ffmpeg.check()
    }

    fn follow(&self, recording: RecordingRef, came: Vec<CameChunk>) -> PortFuture<Result<(), StoreError>> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.follow(recording, came).await })
    }

    fn is_followed(&self, recording: RecordingRef) -> PortFuture<bool> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.is_followed(&recording).await })
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

    fn picture(&self, video: PathBuf, duration_ms: u64) -> PortFuture<Option<PathBuf>> {
        let (ffmpeg, folder) = (self.shared.ffmpeg.clone(), self.work.clone());
        Box::pin(async move { completing::later_picture(&ffmpeg, &folder, &video, duration_ms).await })
    }

    fn forget(&self, recording: RecordingRef) -> PortFuture<()> {
        let (shared, watched) = (self.shared.clone(), self.watched.clone());
        Box::pin(async move {
            // Nobody has to wait for whoever is at it, such as for a store that is slow.
            tokio::spawn(async move {
                watched.forget(&recording).await;
                shared.forget(&recording).await;
            });
        })
    }

    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        self.shared.rooms.let_go();
        self.shared.let_go_of_idle();
        for recording in self.watched.let_go_of_idle() {
            let watched = self.watched.clone();
            tokio::spawn(async move { watched.forget(&recording).await });
        }
        let folder = self.shared.folder.clone();
        self.shared.disk.run(move || {
            let swept = place::sweep(&folder);
            swept.map_err(|error| disk::in_words(&folder, &error))
        })
    }

    fn watch(&self, id: RecordId, anew: bool) -> PortFuture<Result<Watched, StoreError>> {
        let merger = self.clone();
        Box::pin(async move { merger.look(&id, anew).await })
    }
}

impl Shared {
    fn of(&self, recording: &RecordingRef) -> Arc<tokio::sync::Mutex<Following>> {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        following.entry(recording.clone()).or_default().clone()
    }

    fn known(&self, recording: &RecordingRef) -> Option<Arc<tokio::sync::Mutex<Following>>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner).get(recording).cloned()
    }

    /// Whether it is being followed here, or was found to be nothing for that. Not where another node has taken the file.
    async fn is_followed(&self, recording: &RecordingRef) -> bool {
        let Some(held) = self.known(recording) else { return false };
        let part = match held.try_lock() {
            Ok(held) if !held.is_over => held.part(),
            _ => return true,
        };
        let Some(part) = part else { return false };
        self.disk.run(move || Ok(part.exists())).await.unwrap_or(false)
    }

    /// Does something to a recording's file. Once begun it is done to its end, and nobody else comes to the file before.
    async fn step<T: Send + 'static>(
        &self,
        mut held: OwnedMutexGuard<Following>,
        work: impl FnOnce(&mut Following, &mut Room) -> Result<T, Fault> + Send + 'static,
    ) -> Result<(OwnedMutexGuard<Following>, Result<T, Fault>), StoreError> {
        let rooms = self.rooms.clone();
        let done = self.disk.run(move || {
            // What was begun before and did not come to its end left it half done.
            if std::mem::replace(&mut held.is_busy, true) {
                held.drop_file();
            }
            let mut room = rooms.take();
            let worked = work(&mut held, &mut room);
            rooms.give_back(room);
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
        self.watches.forget(&recording.id);
        let following = self.following.lock().unwrap_or_else(PoisonError::into_inner).remove(recording);
        if let Some(following) = following {
            *following.lock_owned().await = Following::over();
        }
        if let Some(sender) = &self.sender {
            sender.forget(recording).await;
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
    fn let_go_of_idle(&self) -> Vec<RecordingRef> {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle =
            |held: &mut Arc<tokio::sync::Mutex<Following>>| held.try_lock().is_ok_and(|held| held.is_idle());
        let idle = following.extract_if(|_, held| is_idle(held)).map(|(recording, _)| recording).collect();
        if let Some(sender) = &self.sender {
            sender.keep(|recording| following.contains_key(recording));
        }
        idle
    }

    /// What its file is opened with; where this node has none of its own, perhaps one made of what another node has sent.
    async fn opening(
        &self,
        recording: &RecordingRef,
        purpose: Purpose,
        leaves_out: bool,
        has_own: bool,
    ) -> Opening {
        let brought = match &self.sender {
            Some(sender) if !has_own => sender.bring(&self.folder, recording, purpose).await,
            _ => None,
        };
        let (folder, recording) = (self.folder.clone(), recording.clone());
        Opening { folder, recording, purpose, leaves_out, brought, least_free: self.least_free }
    }
}
