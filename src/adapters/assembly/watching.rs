//! A recording that is watched while it comes.
//!
//! ```text
//!  this node puts it together ─► what is in its file
//!  another one does, in the same folder ─► what that one has saved
//!  nobody does, as far as can be seen ─► this node does, in a folder of its own, for as long as somebody asks
//! ```
//! All of them show the same bytes: what is put together is a pure function of the chunks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::debug;

use super::{AssemblingMerger, Shared, following::UNSAVED_MAX, growing::Growing};
use crate::{
    adapters::{
        disk,
        ports::{LiveFile, RecordingRef, StoreError, Watched},
    },
    protocol::{RecordId, recorder::RecordingState},
};

/// What was said of a recording is said again for so long.
const FRESH: Duration = Duration::from_secs(1);
/// Whoever has not asked for so long does not watch any more.
const WATCHED: Duration = Duration::from_secs(60);
/// A recording of which this node has heard nothing for so long is looked for in the chunk store.
const SILENT: Duration = Duration::from_secs(3);
/// Somebody who puts it together is never so many chunks behind, unless there is nobody.
const BEHIND_MAX: u32 = UNSAVED_MAX + 4;
/// Recordings that are watched here at one time; of others what they look like is not remembered.
const WATCHES_MAX: usize = 1000;

/// What people see of recordings.
#[derive(Debug, Default)]
pub struct Watches(Mutex<HashMap<RecordId, Watch>>);

#[derive(Debug)]
struct Watch {
    asked: Instant,
    seen: Option<(LiveFile, Instant)>,
}

impl Watches {
    fn all(&self) -> MutexGuard<'_, HashMap<RecordId, Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was seen a moment ago.
    fn fresh(&self, id: &RecordId) -> Option<LiveFile> {
        let all = self.all();
        let (file, since) = all.get(id)?.seen.as_ref()?;
        (since.elapsed() < FRESH).then(|| file.clone())
    }

    /// Somebody asks. Gives what was seen last of this recording.
    fn asked(&self, recording: &RecordingRef, anew: bool) -> Option<LiveFile> {
        let mut all = self.all();
        if all.len() >= WATCHES_MAX {
            all.retain(|_, watch| watch.asked.elapsed() < WATCHED);
        }
        if all.len() >= WATCHES_MAX && !all.contains_key(&recording.id) {
            return None;
        }
        let now = Instant::now();
        let watch = all.entry(recording.id.clone()).or_insert(Watch { asked: now, seen: None });
        watch.asked = now;
        watch.seen.take_if(|(file, _)| anew || file.recording != *recording);
        watch.seen.as_ref().map(|(file, _)| file.clone())
    }

    /// It is over.
    pub fn forget(&self, id: &RecordId) {
        self.all().remove(id);
    }

    fn put(&self, file: &LiveFile) {
        if let Some(watch) = self.all().get_mut(&file.recording.id) {
            watch.seen = Some((file.clone(), Instant::now()));
        }
    }

    /// It has grown. Nothing is done where nobody watches it.
    pub fn show(&self, recording: &RecordingRef, growing: &Growing) {
        let is_watched = self.all().get(&recording.id).is_some_and(|watch| watch.asked.elapsed() < WATCHED);
        if let Some(file) = is_watched.then(|| growing.live(recording)).flatten() {
            self.put(&file);
        }
    }
}

/// How far this node is with a recording.
enum Own {
    /// It has nothing that could be watched.
    Nothing,
    /// It is at it right now.
    Busy,
    /// It has found that it can do nothing before the end.
    Never,
    /// So far. And whether nothing was heard of the recording for a while.
    Here(Option<LiveFile>, bool),
}

impl Own {
    fn file(self) -> Option<LiveFile> {
        if let Self::Here(file, _) = self { file } else { None }
    }
}

impl AssemblingMerger {
    /// As [`Merger::watch`](crate::adapters::ports::Merger::watch).
    pub(super) async fn look(&self, id: &RecordId, anew: bool) -> Result<Watched, StoreError> {
        let watches = &self.shared.watches;
        if let Some(file) = watches.fresh(id).filter(|_| !anew) {
            return Ok(Watched::Here(file));
        }
        let manifest = self.shared.store.manifest(id).await?;
        let is_known = manifest.is_some();
        let Some(manifest) = manifest.filter(|known| known.state == RecordingState::Recording) else {
            watches.forget(id);
            return Ok(if is_known { Watched::Over } else { Watched::Unknown });
        };
        let recording = RecordingRef::of(&manifest);
        let seen = watches.asked(&recording, anew);
        let file = match self.shared.own(&recording) {
            Own::Never => return Ok(Watched::Never),
            Own::Nothing => match self.of_others(&recording, seen).await? {
                Own::Never => return Ok(Watched::Never),
                other => other.file(),
            },
            Own::Busy => seen,
            Own::Here(file, is_silent) => {
                if is_silent {
                    self.shared.clone().look_into_store(recording);
                }
                file
            }
        };
        if let Some(file) = &file {
            watches.put(file);
        }
        Ok(file.map_or(Watched::NotYet, Watched::Here))
    }

    /// What another node has saved of it. Where there is nobody who puts it together so that it could be seen, this node does for its
    /// viewers.
    async fn of_others(&self, recording: &RecordingRef, seen: Option<LiveFile>) -> Result<Own, StoreError> {
        let (folder, wanted) = (self.shared.folder.clone(), recording.clone());
        let found = self.shared.disk.run(move || {
            let found = Growing::live_of_others(&folder, &wanted);
            found.map_err(|error| disk::in_words(&folder, &error))
        });
        let found = found.await?;
        let next = found.as_ref().map_or(0, |(_, next)| *next);
        let stored = self.shared.store.list(&recording.id).await?;
        if stored.last().is_none_or(|last| last.index.get() < next + BEHIND_MAX) {
            return Ok(Own::Here(found.map(|(file, _)| file), false));
        }
        let made = match self.watched.own(recording) {
            Own::Never => return Ok(Own::Never),
            Own::Busy => return Ok(Own::Here(seen, false)),
            Own::Here(made, false) => made,
            _ if !self.watched.has_room().await => return Ok(Own::Never),
            other => {
                self.watched.clone().look_into_store(recording.clone());
                other.file()
            }
        };
        let files = [made, found.map(|(file, _)| file)].into_iter().flatten();
        Ok(Own::Here(files.max_by_key(|file| file.live.bytes), false))
    }
}

impl Shared {
    fn own(&self, recording: &RecordingRef) -> Own {
        let Some(following) = self.known(recording) else { return Own::Nothing };
        let Ok(held) = following.try_lock() else { return Own::Busy };
        match &held.growing {
            _ if held.is_over => Own::Never,
            Some(growing) if growing.can_be_watched() => {
                Own::Here(growing.live(recording), held.is_silent(SILENT))
            }
            Some(_) | None => Own::Nothing,
        }
    }

    /// Whether anything may grow here.
    async fn has_room(&self) -> bool {
        let (folder, least) = (self.folder.clone(), self.leaves_free);
        let looked = self.disk.run(move || {
            let room = disk::make_folders(&folder).and_then(|()| disk::has_room(&folder, 0, least));
            room.map_err(|error| disk::in_words(&folder, &error))
        });
        looked.await.inspect_err(|error| debug!(%error, "nothing is put together for viewers")).is_ok()
    }

    /// Puts together what is in the chunk store; nobody waits for it. Of too many at one time, some when it is asked again.
    fn look_into_store(self: Arc<Self>, recording: RecordingRef) {
        let Ok(turn) = self.looks.clone().try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _turn = turn;
            if let Err(error) = self.follow(recording.clone(), Vec::new()).await {
                debug!(recording = %recording.id, %error, "what is watched of it is not the newest");
            }
        });
    }
}
