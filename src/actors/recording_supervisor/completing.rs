//! What a published video still lacks: a digest of its bytes, or its poster.

use std::{mem, sync::Arc};

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tokio::sync::Semaphore;
use tracing::warn;

use super::RecordingSupervisor;
use crate::{
    actors::posters,
    adapters::ports::{ClaimEnd, RecordingPorts},
    domain::recording::{FIRST_PAUSE, Finished, Manifest},
    protocol::{Fence, RecordId, tokens::hex},
};

impl RecordingSupervisor {
    /// Everybody knows of a video that is too long to be hashed at once, or whose poster takes a while; its row, and what an
    /// application is told with it, tell these too.
    pub(super) fn complete_first(&self, manifest: &Manifest, finished: Finished, ctx: &mut Context<Self>) {
        let (id, fence, chunks) = (manifest.record_id.clone(), manifest.fence, finished.chunks);
        let completed = complete(self.ports.clone(), (id.clone(), fence), finished, self.completing.clone());
        ctx.spawn(completed.into_actor(self).map(move |completed, supervisor, ctx| match completed {
            Ok(Some(manifest)) => {
                supervisor.is_published(&manifest);
                // Without a video there is no digest; that is found out by whoever looks for it.
                supervisor.write_completed(&manifest, chunks, ctx);
            }
            // Another has the claim.
            Ok(None) => {}
            Err(failure) => {
                warn!(recording = %id, %failure, "what a video lacks follows later");
                if let Some(manifest) = supervisor.published_under(&id, fence) {
                    let end = ClaimEnd::TryAgain { pause: FIRST_PAUSE, fault: None };
                    supervisor.settle(&manifest, end, ctx);
                }
            }
        }));
    }
}

/// Finds out what is lacking, one recording at a time, because the store is there for others too, and publishes it under this
/// claim. `None`: another has the claim by now.
async fn complete(
    ports: RecordingPorts,
    (id, fence): (RecordId, Fence),
    mut finished: Finished,
    turns: Arc<Semaphore>,
) -> Result<Option<Manifest>, String> {
    let _turn = turns.acquire().await.map_err(|error| error.to_string())?;
    let mut made = None;
    if mem::take(&mut finished.poster_follows) {
        made = posters::make(&ports, (&id, fence), &finished.video).await;
        finished.video.poster.clone_from(&made);
    }
    if finished.video.sha256.is_none() {
        let digest = ports.videos.sha256(&finished.video.key).await.map_err(|error| error.to_string())?;
        finished.video.sha256 = digest.map(|digest| hex(&digest));
    }
    let published = ports.ledger.publish(id, fence, finished).await.map_err(|error| error.to_string())?;
    if let (None, Some(made)) = (&published, &made) {
        // Whoever has the claim by now does not know of it. One that was there before is theirs.
        ports.videos.delete(made).await.map_err(|error| error.to_string())?;
    }
    Ok(published)
}

#[cfg(test)]
#[path = "completing_tests.rs"]
mod tests;
