//! A chunk's bytes for whoever makes a video of them: held against its mark, and asked for again where its store stumbles.

use std::time::Duration;

use bytes::Bytes;

use super::ports::{ChunkStore, MergeError, StoreError};
use crate::{
    domain::merge::PlannedChunk,
    protocol::{RecordId, chunk::ChunkIndex},
};

/// How often a chunk is read before it is given up, and how long is waited in between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// A chunk's bytes, if they are what was acknowledged; `None`: it is damaged or gone. `witness`: while this chunk can be read,
/// a store is there, and it is the other one that cannot be.
///
/// # Errors
/// The store is away.
pub async fn whole_chunk(
    store: &dyn ChunkStore,
    id: &RecordId,
    chunk: PlannedChunk,
    witness: Option<ChunkIndex>,
) -> Result<Option<Bytes>, MergeError> {
    for attempt in 1..=TRIES {
        match store.read(id, chunk.index).await {
            Ok(bytes) => {
                let same = bytes.len() as u64 == u64::from(chunk.mark.length)
                    && crc32c::crc32c(&bytes) == chunk.mark.crc;
                return Ok(same.then_some(bytes));
            }
            Err(StoreError::Missing(_)) => return Ok(None),
            Err(error) if attempt == TRIES => {
                let away =
                    || MergeError::Interrupted(format!("chunk {} cannot be read: {error}", chunk.index));
                let witness = witness.filter(|witness| *witness != chunk.index).ok_or_else(away)?;
                return store.read(id, witness).await.map(|_| None).map_err(|_| away());
            }
            Err(_) => tokio::time::sleep(PAUSE * attempt).await,
        }
    }
    Ok(None)
}
