//! Chunks in Redis, each key with a term: for clusters without a folder or a bucket that all nodes share.
//!
//! ```text
//!  recording:{id}:manifest    what is known of it      recording:{id}:data:<whose>:<index>   a chunk's bytes
//!  recording:{id}:marks       index → mark, writer     recordings:stored                     which recordings there are
//! ```
//! A place is taken in one script, so the first stands (L-2). A staged chunk is in memory, and durable once it is committed: as
//! durable as Redis is told to be (append-only file, replicas). Terms are renewed for a whole recording once half of them is
//! gone, by whoever stores something then, so that a long one does not lose its beginning; one for which nobody does anything any
//! more goes by itself. The keys of bytes name the recording by its token too, so that a delete never meets those of the next
//! one of its name.

mod place;

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use deadpool_redis::redis::{FromRedisValue, ScriptInvocation, cmd, from_redis_value};
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::place::{Note, RedisStaged, Staged};
use super::{
    By, Question, RedisStore, keys,
    scripts::{self, Script},
    trouble::Trouble,
};
use crate::{
    adapters::{
        chunk_store::names::whose,
        crash,
        disk::LEFT_BEHIND,
        ports::{ChunkStore, PortFuture, RecordingRef, Remains, StagedChunk, StoreError, StoredChunk, Swept},
    },
    domain::recording::Manifest,
    protocol::{RecordId, TokenDigest, chunk::ChunkIndex},
};

/// Places that one command looks at: it holds up everybody else's.
const PLACES_AT_ONCE: u32 = 2000;
/// Keys that one command changes.
const KEYS_AT_ONCE: usize = 500;
/// Operations on their way at one time. A chunk may have 16 MiB, and each waits for those before it while its time runs.
const RUNNING_MAX: usize = 8;

/// A chunk store in Redis.
#[derive(Clone)]
pub struct RedisChunks {
    work: Arc<Work>,
}

struct Work {
    store: Arc<RedisStore>,
    term: Duration,
    running: Semaphore,
}

impl RedisChunks {
    /// The chunks of this store. `term`: how long they are kept after something of their recording was stored, at least half of
    /// it.
    #[must_use]
    pub fn new(store: Arc<RedisStore>, term: Duration) -> Self {
        Self { work: Arc::new(Work { store, term, running: Semaphore::new(RUNNING_MAX) }) }
    }

    /// Says what to be afraid of, where Redis keeps what it is told in memory alone. `None`: nothing, as far as it can be seen.
    pub async fn fear(&self) -> Option<String> {
        // Everything that one server says in one answer: what it lacks another does not make up for.
        let servers = self.work.store.info_of_each("default").await.ok()?;
        servers.iter().any(|server| !keeps(server)).then(|| {
            "Redis has neither an append-only file nor replicas: chunks that were acknowledged are lost when it restarts"
                .to_owned()
        })
    }

    /// Does it to its end, whether or not anybody waits for it.
    fn run<T, F>(&self, act: impl FnOnce(Arc<Work>) -> F) -> PortFuture<Result<T, StoreError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let (work, act) = (self.work.clone(), act(self.work.clone()));
        let job = self.work.store.runtime.spawn(async move {
            // The semaphore is never closed.
            let _running = work.running.acquire().await;
            act.await
        });
        Box::pin(async move {
            let stopped = |_| Err(Trouble::Lost("the node stops".to_owned()));
            job.await.unwrap_or_else(stopped).map_err(StoreError::from)
        })
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refuses(text) if text.contains("OOM") => Self::Full(text),
            other => Self::Failed(other.to_string()),
        }
    }
}

fn no_recording(id: &RecordId) -> Trouble {
    Trouble::Unexpected(format!("there is no recording {id}, or it is another's by now"))
}

/// A manifest as scripts take it.
fn with_manifest(call: &mut ScriptInvocation<'static>, manifest: &Manifest) -> Result<(), Trouble> {
    let json = serde_json::to_vec(manifest).map_err(|error| Trouble::Unexpected(error.to_string()))?;
    call.arg(manifest.token.to_hex()).arg(manifest.revision).arg(json);
    Ok(())
}

impl Work {
    /// Calls a script on one recording.
    async fn call<T: FromRedisValue>(
        &self,
        script: &'static Script,
        id: &RecordId,
        prepare: impl FnOnce(&mut ScriptInvocation<'static>),
    ) -> Result<T, Trouble> {
        let question = Question::script(script, |call| {
            for key in keys::stored(id) {
                call.key(key);
            }
            call.arg(ms(self.term));
            prepare(call);
        });
        Ok(from_redis_value(self.store.ask(By::Chunks, question).await?)?)
    }

    /// Does something with the index of recordings.
    async fn index<T: FromRedisValue>(&self, act: &str, span: Duration, entry: &str) -> Result<T, Trouble> {
        let question = Question::script(&scripts::CHUNKS_INDEX, |call| {
            call.key(keys::STORED).arg(act).arg(ms(span)).arg(entry);
        });
        Ok(from_redis_value(self.store.ask(By::Chunks, question).await?)?)
    }

    /// Asks for one field of what is known of a recording.
    async fn field<T: FromRedisValue>(&self, id: &RecordId, field: &str) -> Result<T, Trouble> {
        let [manifest, ..] = keys::stored(id);
        let mut command = cmd("HGET");
        command.arg(manifest).arg(field);
        let answer = self.store.ask(By::Chunks, Question::command("chunks_field", command)).await?;
        Ok(from_redis_value(answer)?)
    }

    async fn begin(&self, manifest: &Manifest) -> Result<bool, Trouble> {
        let mut valid = Ok(());
        let id = &manifest.record_id;
        // Before what it finds (C-6).
        let _: u64 = self.index("enter", self.term, &keys::entry(id, &manifest.token)).await?;
        crash::point("redis.entered");
        let begun =
            self.call(&scripts::CHUNKS_BEGIN, id, |call| valid = with_manifest(call, manifest)).await?;
        valid.map(|()| begun)
    }

    async fn save(&self, manifest: &Manifest) -> Result<(), Trouble> {
        let mut valid = Ok(());
        let id = &manifest.record_id;
        let answer: i64 =
            self.call(&scripts::CHUNKS_SAVE, id, |call| valid = with_manifest(call, manifest)).await?;
        crash::point("redis.saved");
        valid?;
        match answer {
            -1 => Err(no_recording(id)),
            1 => self.renew(id, &manifest.token).await,
            _ => Ok(()),
        }
    }

    /// Renews the terms of everything that a recording has.
    async fn renew(&self, id: &RecordId, token: &TokenDigest) -> Result<(), Trouble> {
        let _: u64 = self.index("enter", self.term, &keys::entry(id, token)).await?;
        let whose = whose(token);
        let chunks = self.list(id).await?;
        for chunks in chunks.chunks(KEYS_AT_ONCE) {
            let _: u64 = self
                .call(&scripts::CHUNKS_RENEW, id, |call| {
                    for chunk in chunks {
                        call.key(keys::data(id, &whose, chunk.index));
                    }
                    call.arg("0");
                })
                .await?;
        }
        let _: u64 = self.call(&scripts::CHUNKS_RENEW, id, |call| _ = call.arg("1")).await?;
        Ok(())
    }

    async fn list(&self, id: &RecordId) -> Result<Vec<StoredChunk>, Trouble> {
        let places: Option<u32> = self.field(id, "next").await?;
        let [_, marks, _] = keys::stored(id);
        let mut chunks = Vec::new();
        let mut from = 0;
        while from < places.unwrap_or(0) {
            let mut command = cmd("HMGET");
            command.arg(&marks);
            for index in from..from + PLACES_AT_ONCE {
                command.arg(index);
            }
            let answer = self.store.ask(By::Chunks, Question::command("chunks_list", command)).await?;
            let notes: Vec<Option<String>> = from_redis_value(answer)?;
            chunks.extend(notes.iter().flatten().filter_map(|note| Note::parse(note)).map(|note| note.chunk));
            from += PLACES_AT_ONCE;
        }
        Ok(chunks)
    }

    async fn read(&self, id: &RecordId, index: ChunkIndex) -> Result<Option<Bytes>, Trouble> {
        let Some(token) = self.field::<Option<String>>(id, "token").await? else { return Ok(None) };
        let token = TokenDigest::parse(&token).ok_or_else(|| no_recording(id))?;
        let mut command = cmd("GET");
        command.arg(keys::data(id, &whose(&token), index));
        let answer = self.store.ask(By::Chunks, Question::command("chunks_read", command)).await?;
        Ok(from_redis_value::<Option<Vec<u8>>>(answer)?.map(Bytes::from))
    }

    async fn recordings(&self) -> Result<Vec<RecordId>, Trouble> {
        let entries: Vec<String> = self.index("list", Duration::ZERO, "").await?;
        let ids = entries.iter().filter_map(|entry| RecordId::parse(entry.split_once(' ')?.0).ok());
        let mut found = Vec::new();
        // The index may have more than there is.
        for id in ids.collect::<HashSet<_>>() {
            if self.field::<Option<String>>(&id, "token").await?.is_some() {
                found.push(id);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Makes it no recording; the token that it had, and how many places.
    async fn begin_delete(
        &self,
        id: &RecordId,
        which: Option<TokenDigest>,
    ) -> Result<Option<(TokenDigest, u32)>, Trouble> {
        let which = which.map_or_else(String::new, |token| token.to_hex());
        let dropped: Option<(String, u32)> =
            self.call(&scripts::CHUNKS_DROP, id, |call| _ = call.arg(which)).await?;
        crash::point("redis.dropped");
        Ok(dropped.and_then(|(token, places)| Some((TokenDigest::parse(&token)?, places))))
    }

    /// Takes away what is left of one that is none any more.
    async fn clear(&self, id: &RecordId, token: TokenDigest, places: u32) -> Result<(), Trouble> {
        let whose = whose(&token);
        let indices: Vec<_> = (0..places).filter_map(|index| ChunkIndex::new(index).ok()).collect();
        for indices in indices.chunks(KEYS_AT_ONCE) {
            let mut command = cmd("UNLINK");
            for index in indices {
                command.arg(keys::data(id, &whose, *index));
            }
            // What is left by a node that dies here goes by its term.
            self.store.ask(By::Chunks, Question::command("chunks_unlink", command)).await?;
        }
        crash::point("redis.unlinked");
        let _: u64 = self.index("leave", Duration::ZERO, &keys::entry(id, &token)).await?;
        Ok(())
    }

    /// Space until the servers take no more; `None`: there is no bound.
    async fn free_bytes(&self) -> Result<Option<u64>, Trouble> {
        let servers = self.store.info_of_each("memory").await;
        Ok(free(&servers.map_err(|error| Trouble::Lost(error.to_string()))?))
    }
}

/// What a server says of itself under this name.
fn said(server: &str, name: &str) -> Option<u64> {
    server.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Whether a server keeps what it is told elsewhere than in its own memory.
fn keeps(server: &str) -> bool {
    ["aof_enabled:", "connected_slaves:"].iter().any(|name| said(server, name).is_some_and(|said| said > 0))
}

/// What servers that have a bound still take; `None`: one of them has none.
fn free(servers: &[String]) -> Option<u64> {
    let of_each = servers.iter().map(|server| {
        let bound = said(server, "maxmemory:").filter(|bound| *bound > 0)?;
        Some(bound.saturating_sub(said(server, "used_memory:").unwrap_or(0)))
    });
    of_each.sum::<Option<u64>>().filter(|_| !servers.is_empty())
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl ChunkStore for RedisChunks {
    fn create(&self, manifest: Manifest) -> PortFuture<Result<bool, StoreError>> {
        self.run(|work| async move { work.begin(&manifest).await })
    }

    fn save_manifest(&self, manifest: Manifest) -> PortFuture<Result<(), StoreError>> {
        self.run(|work| async move { work.save(&manifest).await })
    }

    fn manifest(&self, id: &RecordId) -> PortFuture<Result<Option<Manifest>, StoreError>> {
        let id = id.clone();
        self.run(|work| async move {
            let json: Option<Vec<u8>> = work.field(&id, "json").await?;
            let manifest = json.map(|json| serde_json::from_slice(&json)).transpose();
            manifest.map_err(|error| Trouble::Unexpected(format!("the manifest of {id}: {error}")))
        })
    }

    fn recordings(&self) -> PortFuture<Result<Vec<RecordId>, StoreError>> {
        self.run(|work| async move { work.recordings().await })
    }

    fn stage(
        &self,
        recording: &RecordingRef,
        payload: Bytes,
    ) -> PortFuture<Result<Box<dyn StagedChunk>, StoreError>> {
        let (store, recording) = (self.clone(), recording.clone());
        self.run(|work| async move {
            let token: Option<String> = work.field(&recording.id, "token").await?;
            let token = token.as_deref().and_then(TokenDigest::parse);
            if !token.is_some_and(|token| token.matches(&recording.token)) {
                return Err(no_recording(&recording.id));
            }
            let writer = Uuid::new_v4().simple().to_string();
            let staged = Staged { recording, writer, payload };
            Ok(Box::new(RedisStaged { store, staged: Arc::new(staged) }) as Box<dyn StagedChunk>)
        })
    }

    fn list(&self, id: &RecordId) -> PortFuture<Result<Vec<StoredChunk>, StoreError>> {
        let id = id.clone();
        self.run(|work| async move { work.list(&id).await })
    }

    fn read(&self, id: &RecordId, index: ChunkIndex) -> PortFuture<Result<Bytes, StoreError>> {
        let (read, what) = (id.clone(), format!("chunk {index} of {id}"));
        let read = self.run(move |work| async move { work.read(&read, index).await });
        Box::pin(async move { read.await?.ok_or(StoreError::Missing(what)) })
    }

    fn begin_delete(
        &self,
        id: &RecordId,
        which: Option<TokenDigest>,
    ) -> PortFuture<Result<Remains, StoreError>> {
        let (store, named) = (self.clone(), id.clone());
        let begun = self.run({
            let id = id.clone();
            move |work| async move { work.begin_delete(&id, which).await }
        });
        Box::pin(async move {
            let Some((token, places)) = begun.await? else { return Ok(Remains::none()) };
            Ok(Remains::new(async move {
                store.run(move |work| async move { work.clear(&named, token, places).await }).await
            }))
        })
    }

    fn age(&self, id: &RecordId) -> PortFuture<Result<Option<Duration>, StoreError>> {
        let id = id.clone();
        self.run(|work| async move {
            let age: Option<i64> = work.call(&scripts::CHUNKS_AGE, &id, |_| ()).await?;
            Ok(age.map(|age| Duration::from_millis(u64::try_from(age).unwrap_or(0))))
        })
    }

    fn free_bytes(&self) -> PortFuture<Result<Option<u64>, StoreError>> {
        self.run(|work| async move { work.free_bytes().await })
    }

    /// Only entries of the index: everything else goes by its term.
    fn sweep(&self) -> PortFuture<Result<Swept, StoreError>> {
        self.run(|work| async move {
            let count = work.index("sweep", LEFT_BEHIND, "").await?;
            Ok(Swept { count, bytes: 0 })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_must_keep_what_it_is_told() {
        let server = |aof: u8, replicas: u8| {
            format!("role:master\r\naof_enabled:{aof}\r\nconnected_slaves:{replicas}\r\n")
        };
        assert!(keeps(&server(1, 0)) && keeps(&server(0, 2)));
        assert!(!keeps(&server(0, 0)));
        assert!(!keeps("aof_enabled:no\r\n"));
    }

    #[test]
    fn space_is_that_of_each_server_for_itself() {
        let server = |used: u64, bound: u64| format!("used_memory:{used}\r\nmaxmemory:{bound}\r\n");
        assert_eq!(free(&[server(30, 100)]), Some(70));
        assert_eq!(free(&[server(30, 100), server(150, 100), server(0, 5)]), Some(75), "full is none less");
        assert_eq!(free(&[server(30, 100), server(900, 0)]), None, "one takes whatever comes");
        assert_eq!(free(&["used_memory:1\r\n".to_owned()]), None);
        assert_eq!(free(&[]), None);
    }
}
