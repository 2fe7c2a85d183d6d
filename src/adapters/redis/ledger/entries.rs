//! What leads to recordings: which rooms are recorded, what each owner records. An entry is written before the account says that
//! it records and taken out after (C-6), so the entries are a superset; who was killed in between leaves one that leads nowhere,
//! which is taken out by whoever comes across it.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use deadpool_redis::redis::{Value, cmd, from_redis_value};
use tracing::debug;

use super::{
    super::{Question, keys, scripts, trouble::Trouble},
    Work,
    answer::Answer,
};
use crate::{
    domain::recording::Manifest,
    protocol::{Fence, RecordId, RoomName, UserId, recorder::RecordingState},
};

/// How often the recorded rooms are held against the accounts.
const CHECKED_EVERY: Duration = Duration::from_secs(60);
/// Entries that are held against their accounts at one time.
const CHECKED_MAX: usize = 1000;
/// An entry without an account may be that of a recording that just begins; longer than that takes. Unit: ms.
const BEGINS_WITHIN_MS: u64 = 10_000;
/// How often an owner's recordings are counted anew after entries were taken out.
const COUNTED_MAX: u32 = 3;

/// The recorded rooms as they were last seen.
#[derive(Default)]
pub struct SeenRooms {
    version: String,
    rooms: Arc<BTreeSet<RoomName>>,
    checked: Option<Instant>,
}

/// An entry, as it stands.
struct Entry {
    id: RecordId,
    text: String,
    since_ms: u64,
    room: Option<RoomName>,
}

/// Which entries are to be taken out.
pub enum Which<'a> {
    /// This very one.
    Same(&'a str),
    /// What was written under an earlier fence.
    Before(Fence),
}

impl Work {
    /// Enters a recording wherever it must be found while it records.
    pub async fn enter(
        &self,
        id: &RecordId,
        room: Option<&RoomName>,
        owner: Option<&UserId>,
        fence: Fence,
    ) -> Result<(), Trouble> {
        let put = |key: String, versioned: bool, rest: &str| {
            Question::script(&scripts::ENTRY_PUT, |call| {
                call.key(key).arg(u8::from(versioned)).arg(id.as_str()).arg(fence.0).arg(rest);
            })
        };
        if let Some(room) = room {
            self.store.ask_ledger::<Value>(put(keys::ROOMS.to_owned(), true, room.as_str())).await?;
        }
        if let Some(owner) = owner {
            self.store.ask_ledger::<Value>(put(keys::owner(owner), false, "")).await?;
        }
        Ok(())
    }

    /// Takes a recording out of them. What stays leads nowhere, and is found one day.
    pub async fn leave(&self, manifest: &Manifest, which: Which<'_>) {
        let id = &manifest.record_id;
        let owner = manifest.owner.as_ref().map(keys::owner);
        let rooms = manifest.room.as_ref().map(|_| keys::ROOMS.to_owned());
        for (key, versioned) in rooms.map(|key| (key, true)).into_iter().chain(owner.map(|key| (key, false)))
        {
            if let Err(error) = self.drop_entry(key, versioned, id, &which).await {
                debug!(%error, recording = %id, "an entry was not taken out");
            }
        }
    }

    /// Enters or takes out a recording, as its account says.
    pub async fn align(&self, manifest: &Manifest) {
        if manifest.state != RecordingState::Recording {
            return self.leave(manifest, Which::Before(Fence(manifest.fence.0.saturating_add(1)))).await;
        }
        let Manifest { record_id, room, owner, fence, .. } = manifest;
        if let Err(error) = self.enter(record_id, room.as_ref(), owner.as_ref(), *fence).await {
            debug!(%error, recording = %record_id, "an entry was not written again");
        }
    }

    async fn drop_entry(
        &self,
        key: String,
        versioned: bool,
        id: &RecordId,
        which: &Which<'_>,
    ) -> Result<(), Trouble> {
        let (same, before) = match which {
            Which::Same(entry) => (*entry, 0),
            Which::Before(fence) => ("", fence.0),
        };
        let question = Question::script(&scripts::ENTRY_DROP, |call| {
            call.key(key).arg(u8::from(versioned)).arg(id.as_str()).arg(same).arg(before);
        });
        self.store.ask_ledger::<Value>(question).await.map(drop)
    }

    /// Enters a new recording into its owner's, unless that has so many others that record, or begin.
    pub async fn admit_owner(
        &self,
        owner: &UserId,
        id: &RecordId,
        fence: Fence,
        most: u32,
    ) -> Result<bool, Trouble> {
        for _ in 0..COUNTED_MAX {
            let question = Question::script(&scripts::ENTRY_ADMIT, |call| {
                call.key(keys::owner(owner)).arg(id.as_str()).arg(fence.0).arg(most);
            });
            let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
            if answer.take()? {
                return Ok(true);
            }
            let (now_ms, entries) = (answer.some_number()?, entries(answer.take()?));
            if most == 0 || self.clear(entries, now_ms, &keys::owner(owner), false).await? == 0 {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// The recorded rooms.
    pub async fn rooms(self: &Arc<Self>) -> Result<Arc<BTreeSet<RoomName>>, Trouble> {
        let known = self.seen_rooms().version.clone();
        let mut answer = self.ask_rooms(&known).await?;
        let version: String = answer.take()?;
        let changed = !answer.is_empty();
        let mut seen = self.seen_rooms();
        if changed {
            let _now: String = answer.take()?;
            let rooms = entries(answer.take()?).into_iter().filter_map(|entry| entry.room);
            (seen.version, seen.rooms) = (version, Arc::new(rooms.collect()));
        }
        let rooms = seen.rooms.clone();
        if !rooms.is_empty() && seen.checked.is_none_or(|checked| checked.elapsed() >= CHECKED_EVERY) {
            seen.checked = Some(Instant::now());
            let work = self.clone();
            // What it takes out is seen by whoever asks next.
            self.store.runtime.spawn(async move {
                if let Err(error) = work.check_rooms().await {
                    debug!(%error, "the recorded rooms were not checked");
                }
            });
        }
        Ok(rooms)
    }

    async fn check_rooms(&self) -> Result<(), Trouble> {
        let mut answer = self.ask_rooms("").await?;
        let _version: String = answer.take()?;
        if answer.is_empty() {
            return Ok(());
        }
        let (now_ms, entries) = (answer.some_number()?, entries(answer.take()?));
        self.clear(entries, now_ms, keys::ROOMS, true).await.map(drop)
    }

    async fn ask_rooms(&self, known: &str) -> Result<Answer, Trouble> {
        let question = Question::script(&scripts::ENTRY_ROOMS, |call| {
            call.key(keys::ROOMS).arg(known);
        });
        Answer::of(self.store.ask_ledger(question).await?)
    }

    /// Takes out entries whose account does not record; how many.
    async fn clear(
        &self,
        mut entries: Vec<Entry>,
        now_ms: u64,
        key: &str,
        versioned: bool,
    ) -> Result<usize, Trouble> {
        // Each time others, where there are many.
        super::shuffle(&mut entries);
        let mut cleared = 0;
        for Entry { id, text, since_ms, .. } in entries.into_iter().take(CHECKED_MAX) {
            let mut command = cmd("HGET");
            command.arg(keys::recording(&id)).arg("state");
            let state: Option<String> =
                self.store.ask_ledger(Question::command("recording_state", command)).await?;
            let leads = match state.as_deref().and_then(RecordingState::parse) {
                Some(state) => state == RecordingState::Recording,
                None => since_ms.saturating_add(BEGINS_WITHIN_MS) > now_ms,
            };
            if !leads {
                self.drop_entry(key.to_owned(), versioned, &id, &Which::Same(&text)).await?;
                cleared += 1;
            }
        }
        Ok(cleared)
    }

    fn seen_rooms(&self) -> std::sync::MutexGuard<'_, SeenRooms> {
        // Only whole values are put in.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads `{id, fence:since:rest, …}`. What is none of ours is left out.
fn entries(fields: Value) -> Vec<Entry> {
    let fields: Vec<String> = from_redis_value(fields).unwrap_or_default();
    let entry = |pair: &[String]| {
        let [id, text] = pair else { return None };
        let mut parts = text.splitn(3, ':').skip(1);
        let since_ms = parts.next()?.parse().ok()?;
        let room = RoomName::parse(parts.next()?).ok();
        Some(Entry { id: RecordId::parse(id).ok()?, text: text.clone(), since_ms, room })
    };
    fields.chunks_exact(2).filter_map(entry).collect()
}
