//! How a chunk gets its place, and what is noted of it.

use std::sync::Arc;

use bytes::Bytes;
use deadpool_redis::redis::{Value, from_redis_value};

use super::{
    super::{keys, scripts, trouble::Trouble},
    RedisChunks, Work, no_recording,
};
use crate::{
    adapters::{
        chunk_store::names::{Name, whose},
        crash,
        ports::{Committed, PortFuture, RecordingRef, StagedChunk, StoreError, StoredChunk},
    },
    protocol::chunk::{ChunkIndex, ChunkMark},
};

/// What is noted of a chunk in its place: its mark, as folders name it, and who wrote it, so that a commit whose answer was lost
/// is known again.
pub(super) struct Note {
    pub(super) chunk: StoredChunk,
    writer: String,
}

impl Note {
    fn to_text(&self) -> String {
        format!("{} {}", Name::Mark(self.chunk.index, self.chunk.mark).to_text(), self.writer)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, writer) = text.split_once(' ')?;
        match Name::parse(name.as_ref())? {
            Name::Mark(index, mark) => {
                Some(Self { chunk: StoredChunk { index, mark }, writer: writer.to_owned() })
            }
            Name::Chunk(_) => None,
        }
    }
}

/// A chunk in memory, for one recording.
pub(super) struct RedisStaged {
    pub(super) store: RedisChunks,
    pub(super) staged: Arc<Staged>,
}

pub(super) struct Staged {
    pub(super) recording: RecordingRef,
    pub(super) writer: String,
    pub(super) payload: Bytes,
}

impl StagedChunk for RedisStaged {
    fn commit(&self, index: ChunkIndex, mark: ChunkMark) -> PortFuture<Result<Committed, StoreError>> {
        let (store, staged) = (self.store.clone(), self.staged.clone());
        self.store.run(move |work| async move { staged.commit(&store, &work, index, mark).await })
    }
}

impl Staged {
    async fn commit(
        &self,
        store: &RedisChunks,
        work: &Work,
        index: ChunkIndex,
        mark: ChunkMark,
    ) -> Result<Committed, Trouble> {
        let note = Note { chunk: StoredChunk { index, mark }, writer: self.writer.clone() };
        crash::point("redis.placing");
        let RecordingRef { id, token } = &self.recording;
        let answer: Value = work
            .call(&scripts::CHUNKS_TAKE, id, |call| {
                call.key(keys::data(id, &whose(token), index));
                call.arg(token.to_hex()).arg(index.get()).arg(note.to_text()).arg(&*self.payload);
            })
            .await?;
        crash::point("redis.placed");
        match answer {
            Value::Int(-1) => return Err(no_recording(id)),
            Value::Int(1) => {
                // What is stored is stored, also while the others' terms are being renewed.
                let (id, token) = (id.clone(), *token);
                let renewed = store.run(|work| async move { work.renew(&id, &token).await });
                work.store.runtime.spawn(async move {
                    if let Err(error) = renewed.await {
                        tracing::warn!(%error, "the terms of a recording's chunks were not renewed; the next chunk tries again");
                    }
                });
            }
            Value::Int(_) => {}
            stands => {
                let stands: String = from_redis_value(stands)?;
                let stands = Note::parse(&stands).ok_or_else(|| Trouble::Unexpected(stands.clone()))?;
                if stands.writer != self.writer {
                    return Ok(Committed::Taken(stands.chunk.mark));
                }
            }
        }
        Ok(Committed::Stored)
    }
}
