//! What leads to recordings: which rooms are recorded, what each owner records. An entry is written before the account says that
//! it records and taken out after (C-6), so the entries are a superset; who was killed in between leaves one that leads nowhere,
//! which is taken out by whoever comes across it. An entry names its recording by id and token: of two that are opened under one name
//! at the same moment, each has its own.

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
    answer::{Answer, Fixed},
};
use crate::{
    domain::recording::Manifest,
    protocol::{Fence, RecordId, RoomName, TokenDigest, UserId, recorder::RecordingState},
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
    name: String,
    text: String,
    since_ms: u64,
    room: Option<RoomName>,
}

/// A recording as it is entered.
pub struct Entered<'a> {
    id: &'a RecordId,
    token: &'a TokenDigest,
    room: Option<&'a RoomName>,
    owner: Option<&'a UserId>,
}

impl<'a> From<&'a Manifest> for Entered<'a> {
    fn from(manifest: &'a Manifest) -> Self {
        let Manifest { record_id: id, token, room, owner, .. } = manifest;
        Self { id, token, room: room.as_ref(), owner: owner.as_ref() }
    }
}

impl<'a> From<&'a Fixed> for Entered<'a> {
    fn from(fixed: &'a Fixed) -> Self {
        let Fixed { record_id: id, token, room, owner, .. } = fixed;
        Self { id, token, room: room.as_ref(), owner: owner.as_ref() }
    }
}

impl Entered<'_> {
    /// By its room alone.
    pub fn without_owner(self) -> Self {
        Self { owner: None, ..self }
    }

    fn name(&self) -> String {
        keys::entry(self.id, self.token)
    }
}

/// Which entries are to be taken out.
enum Which<'a> {
    /// This very one.
    Same(&'a str),
    /// What was written under an earlier fence.
    Before(Fence),
}

impl Work {
    /// Enters a recording wherever it must be found while it records.
    pub async fn enter(&self, entered: Entered<'_>, fence: Fence) -> Result<(), Trouble> {
        let name = entered.name();
        let put = |key: String, versioned: bool, rest: &str| {
            Question::script(&scripts::ENTRY_PUT, |call| {
                call.key(key).arg(u8::from(versioned)).arg(&name).arg(fence.0).arg(rest);
            })
        };
        if let Some(room) = entered.room {
            self.store.ask_ledger::<Value>(put(keys::ROOMS.to_owned(), true, room.as_str())).await?;
        }
        if let Some(owner) = entered.owner {
            self.store.ask_ledger::<Value>(put(keys::owner(owner), false, "")).await?;
        }
        Ok(())
    }

    /// Takes a recording out of them, as far as it was entered under an earlier fence. What stays leads nowhere, and is found one
    /// day.
    pub async fn leave(&self, manifest: &Manifest, before: Fence) {
        let entered = Entered::from(manifest);
        let name = entered.name();
        let rooms = entered.room.map(|_| (keys::ROOMS.to_owned(), true));
        let owners = entered.owner.map(|owner| (keys::owner(owner), false));
        for (key, versioned) in rooms.into_iter().chain(owners) {
            if let Err(error) = self.drop_entry(key, versioned, &name, Which::Before(before)).await {
                debug!(%error, recording = %entered.id, "an entry was not taken out");
            }
        }
    }

    /// Enters or takes out a recording, as its account says.
    pub async fn align(&self, manifest: &Manifest) {
        if manifest.state != RecordingState::Recording {
            return self.leave(manifest, after(manifest.fence)).await;
        }
        if let Err(error) = self.enter(manifest.into(), manifest.fence).await {
            debug!(%error, recording = %manifest.record_id, "an entry was not written again");
        }
    }

    /// The same where its account may be another's: what was entered for one that has none leads nowhere.
    pub async fn align_lost(&self, manifest: &Manifest) {
        match self.show(&manifest.record_id).await {
            Ok(Some(view)) if view.manifest.token == manifest.token => self.align(&view.manifest).await,
            Ok(_) => self.leave(manifest, after(manifest.fence)).await,
            Err(error) => debug!(%error, recording = %manifest.record_id, "an entry was not taken out"),
        }
    }

    async fn drop_entry(
        &self,
        key: String,
        versioned: bool,
        name: &str,
        which: Which<'_>,
    ) -> Result<(), Trouble> {
        let (same, before) = match which {
            Which::Same(entry) => (entry, 0),
            Which::Before(fence) => ("", fence.0),
        };
        let question = Question::script(&scripts::ENTRY_DROP, |call| {
            call.key(key).arg(u8::from(versioned)).arg(name).arg(same).arg(before);
        });
        self.store.ask_ledger::<Value>(question).await.map(drop)
    }

    /// Enters a new recording into its owner's, unless that has so many others that record, or begin.
    pub async fn admit_owner(&self, owner: &UserId, manifest: &Manifest, most: u32) -> Result<bool, Trouble> {
        let name = Entered::from(manifest).name();
        for _ in 0..COUNTED_MAX {
            let question = Question::script(&scripts::ENTRY_ADMIT, |call| {
                call.key(keys::owner(owner)).arg(&name).arg(manifest.fence.0).arg(most);
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
        for Entry { name, text, since_ms, .. } in entries.into_iter().take(CHECKED_MAX) {
            let leads = match self.state_of(&name).await? {
                Some(state) => state == RecordingState::Recording,
                None => since_ms.saturating_add(BEGINS_WITHIN_MS) > now_ms,
            };
            if !leads {
                self.drop_entry(key.to_owned(), versioned, &name, Which::Same(&text)).await?;
                cleared += 1;
            }
        }
        Ok(cleared)
    }

    /// How the account stands that an entry of this name leads to; `None`: it leads nowhere.
    async fn state_of(&self, name: &str) -> Result<Option<RecordingState>, Trouble> {
        let id = name.split_once(' ').and_then(|(id, _)| RecordId::parse(id).ok());
        let Some(id) = id else { return Ok(None) };
        let mut command = cmd("HMGET");
        command.arg(keys::recording(&id)).arg("state").arg("token");
        let (state, token): (Option<String>, Option<String>) =
            self.store.ask_ledger(Question::command("recording_state", command)).await?;
        let token = token.as_deref().and_then(TokenDigest::parse);
        let is_its_own = token.is_some_and(|token| keys::entry(&id, &token) == name);
        Ok(state.filter(|_| is_its_own).as_deref().and_then(RecordingState::parse))
    }

    fn seen_rooms(&self) -> std::sync::MutexGuard<'_, SeenRooms> {
        // Only whole values are put in.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fence that follows.
fn after(fence: Fence) -> Fence {
    Fence(fence.0.saturating_add(1))
}

/// Reads `{name, fence:since:rest, …}`. What is none of ours is left out.
fn entries(fields: Value) -> Vec<Entry> {
    let fields: Vec<String> = from_redis_value(fields).unwrap_or_default();
    let entry = |pair: &[String]| {
        let [name, text] = pair else { return None };
        let mut parts = text.splitn(3, ':').skip(1);
        let since_ms = parts.next()?.parse().ok()?;
        let room = RoomName::parse(parts.next()?).ok();
        Some(Entry { name: name.clone(), text: text.clone(), since_ms, room })
    };
    fields.chunks_exact(2).filter_map(entry).collect()
}
