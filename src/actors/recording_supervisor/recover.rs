//! A new life of the node: what was going on in the last one goes on.

use std::collections::BTreeMap;

use tracing::{error, info, warn};

use super::rows::fresh_row;
use crate::{
    adapters::ports::{CatalogFilter, CatalogRow, RecordingPorts, StoreError},
    protocol::{Code, RecordId, Refusal, recorder::RecordingState},
};

/// Rows looked at in one go.
const PAGE: u32 = 200;

/// What was found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The rows of recordings that are not over.
    pub rows: Vec<CatalogRow>,
    /// Whether ffmpeg is there.
    pub merging_works: bool,
}

/// Puts back the accounts of every recording that has chunks (L-4), before anybody is let in.
///
/// # Errors
/// The chunk store cannot be read: a node that does not know what it has promised must not start.
pub async fn recover(ports: &RecordingPorts) -> Result<Recovered, StoreError> {
    let mut rows = BTreeMap::new();
    for id in ports.chunks.recordings().await? {
        if let Some(row) = recover_one(ports, &id).await? {
            rows.insert(id, row);
        }
    }
    bury_the_lost(ports, &rows).await;
    let merging_works = match ports.merger.check().await {
        Ok(version) => {
            info!(version, "ffmpeg is there");
            true
        }
        Err(failure) => {
            error!(%failure, "recordings are saved but cannot be merged: install ffmpeg and ffprobe");
            false
        }
    };
    if !rows.is_empty() {
        info!(recordings = rows.len(), "recordings of an earlier life go on");
    }
    Ok(Recovered { rows: rows.into_values().collect(), merging_works })
}

async fn recover_one(ports: &RecordingPorts, id: &RecordId) -> Result<Option<CatalogRow>, StoreError> {
    let chunks = ports.chunks.list(id).await?;
    let manifest = match ports.chunks.manifest(id).await {
        Ok(manifest) => manifest,
        Err(failure) => {
            error!(recording = %id, %failure, "a manifest that cannot be read; its chunks are left alone");
            return Ok(None);
        }
    };
    let Some(mut manifest) = manifest else {
        if chunks.is_empty() {
            // The node died before it told anybody of this recording.
            ports.chunks.delete(id).await?;
        } else {
            error!(recording = %id, chunks = chunks.len(), "chunks without a manifest; they are left alone");
        }
        return Ok(None);
    };
    let mut row = match ports.catalog.get(id).await {
        Ok(Some(row)) => row,
        Ok(None) => fresh_row(&manifest),
        Err(failure) => {
            warn!(recording = %id, %failure, "the catalog did not answer");
            fresh_row(&manifest)
        }
    };
    // The last claim may have reached the catalog and not the manifest: what comes now must be newer than both.
    if row.version >= manifest.version {
        manifest.fence = manifest.fence.max(row.fence);
    }
    manifest.version = manifest.version.max(row.version);
    // What failed in an earlier life is tried again in this one.
    row.state = match manifest.state {
        RecordingState::Failed => RecordingState::Finalising,
        state => state,
    };
    row.version = manifest.version;
    row.fence = manifest.fence;
    row.chunks = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    if let Err(failure) = ports.ledger.restore(manifest, chunks).await {
        warn!(recording = %id, %failure, "the ledger did not take back an account");
    }
    Ok(Some(row))
}

/// Rows of recordings that the catalog believes to be under way, but of which nothing is left: they never end by
/// themselves.
async fn bury_the_lost(ports: &RecordingPorts, known: &BTreeMap<RecordId, CatalogRow>) {
    for state in [RecordingState::Recording, RecordingState::Finalising] {
        let mut filter = CatalogFilter { state: Some(state), limit: PAGE, ..CatalogFilter::default() };
        loop {
            let page = match ports.catalog.page(filter.clone()).await {
                Ok(page) => page,
                Err(failure) => return warn!(%failure, "the catalog was not looked through"),
            };
            for mut row in page.rows.into_iter().filter(|row| !known.contains_key(&row.record_id)) {
                warn!(recording = %row.record_id, "a recording of which nothing is left");
                let refusal = Refusal::from(Code::EmptyRecording);
                row.state = RecordingState::Failed;
                row.error = Some((refusal.code.name().to_owned(), refusal.message().into_owned()));
                if let Err(failure) = ports.catalog.put(row).await {
                    warn!(%failure, "the catalog was not told");
                }
            }
            let Some(next) = page.next else { break };
            filter.after = Some(next);
        }
    }
}
