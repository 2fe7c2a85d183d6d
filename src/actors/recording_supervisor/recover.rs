//! A new life of the node: what was going on in the last one goes on.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, future, stream};
use tracing::{error, info, warn};

use super::rows::{LiveRow, fresh_row};
use crate::{
    adapters::ports::{CatalogFilter, CatalogRow, RecordingPorts, StoreError, StoredChunk},
    domain::recording::Manifest,
    protocol::{Code, RecordId, Refusal, recorder::RecordingState},
};

/// Rows looked at in one go.
const PAGE: u32 = 200;

/// Folders looked into at one time.
const SIDE_BY_SIDE: usize = 16;

/// What was found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The rows of recordings that are not over.
    pub rows: Vec<LiveRow>,
    /// Those of them that the catalog has otherwise, or not at all.
    pub unwritten: Vec<CatalogRow>,
    /// Whether ffmpeg is there.
    pub merging_works: bool,
}

/// A recording of an earlier life.
struct Found {
    manifest: Manifest,
    chunks: Vec<StoredChunk>,
    known: Option<CatalogRow>,
}

/// Puts back the accounts of every recording that has chunks (L-4), before anybody is let in.
///
/// # Errors
/// The chunk store cannot be read: a node that does not know what it has promised must not start.
pub async fn recover(ports: &RecordingPorts) -> Result<Recovered, StoreError> {
    let ids = ports.chunks.recordings().await?;
    let looked = stream::iter(ids).map(|id| look(ports, id)).buffer_unordered(SIDE_BY_SIDE);
    let found: Vec<_> = looked.filter_map(future::ready).collect().await;
    let mut recovered = Recovered { merging_works: merging_works(ports).await, ..Recovered::default() };
    // All at once and at the end, so that each recorder has its whole grace to come back in.
    for found in found {
        put_back(ports, found, &mut recovered).await;
    }
    bury_the_lost(ports, &recovered.rows).await;
    if !recovered.rows.is_empty() {
        info!(recordings = recovered.rows.len(), "recordings of an earlier life go on");
    }
    Ok(recovered)
}

async fn merging_works(ports: &RecordingPorts) -> bool {
    match ports.merger.check().await {
        Ok(version) => {
            info!(version, "ffmpeg is there");
            true
        }
        Err(failure) => {
            error!(%failure, "recordings are saved but cannot be merged: install ffmpeg and ffprobe");
            false
        }
    }
}

/// Looks into one recording's folder. One that cannot be read harms no other.
async fn look(ports: &RecordingPorts, id: RecordId) -> Option<Found> {
    let (chunks, manifest) = match (ports.chunks.list(&id).await, ports.chunks.manifest(&id).await) {
        (Ok(chunks), Ok(Some(manifest))) if manifest.record_id == id => (chunks, manifest),
        (Ok(_), Ok(_)) => {
            error!(recording = %id, "chunks without a manifest of their own; they are left alone");
            return None;
        }
        (Err(failure), _) | (_, Err(failure)) => {
            error!(recording = %id, %failure, "a recording that cannot be read; it is left alone");
            return None;
        }
    };
    let known = ports.catalog.get(&id).await.unwrap_or_else(|failure| {
        warn!(recording = %id, %failure, "the catalog did not answer");
        None
    });
    Some(Found { manifest, chunks, known })
}

async fn put_back(ports: &RecordingPorts, found: Found, recovered: &mut Recovered) {
    let Found { mut manifest, chunks, known } = found;
    let mut row = known.clone().unwrap_or_else(|| fresh_row(&manifest));
    // The last claim may have reached the catalog and not the manifest: what comes now must be newer than both.
    if row.version >= manifest.version {
        manifest.fence = manifest.fence.max(row.fence);
    }
    manifest.version = manifest.version.max(row.version);
    let id = manifest.record_id.clone();
    let mut stands = manifest.clone();
    row.chunks = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    if let Err(failure) = ports.ledger.restore(manifest, chunks).await {
        return warn!(recording = %id, %failure, "the ledger did not take back an account");
    }
    // How it goes on is for the account to say: what failed, for one, is tried again.
    if let Ok(Some(view)) = ports.ledger.show(&id).await {
        stands = view.manifest;
        row.state = stands.state;
        row.version = stands.version;
        row.fence = stands.fence;
    }
    if known.as_ref() != Some(&row) {
        recovered.unwritten.push(row.clone());
    }
    recovered.rows.push(LiveRow::new(row, &stands));
}

/// Rows of recordings that the catalog believes to be under way, but of which nothing is left: they never end by
/// themselves.
async fn bury_the_lost(ports: &RecordingPorts, found: &[LiveRow]) {
    let known: BTreeSet<_> = found.iter().map(|live| &live.row().record_id).collect();
    for state in [RecordingState::Recording, RecordingState::Finalising] {
        let mut filter = CatalogFilter { state: Some(state), limit: PAGE, ..CatalogFilter::default() };
        loop {
            let page = match ports.catalog.page(filter.clone()).await {
                Ok(page) => page,
                Err(failure) => return warn!(%failure, "the catalog was not looked through"),
            };
            for mut row in page.rows.into_iter().filter(|row| !known.contains(&row.record_id)) {
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
