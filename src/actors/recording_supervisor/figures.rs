//! What is counted of recordings here.

use std::collections::BTreeSet;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use futures_util::{StreamExt as _, stream};
use tracing::warn;

use super::{RecordingSupervisor, SIDE_BY_SIDE};
use crate::{
    adapters::ports::{LedgerView, StoreError},
    domain::recording::Manifest,
    metrics::gauge,
    protocol::{Fence, RecordId, recorder::RecordingState},
};

/// A recording that this node was the last to attend to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attended {
    fence: Fence,
    state: RecordingState,
}

impl Attended {
    pub(super) fn is_later_than(self, fence: Fence) -> bool {
        self.fence > fence
    }
}

impl RecordingSupervisor {
    /// This node has seen to a recording's standing so.
    pub(super) fn attend(&mut self, manifest: &Manifest) {
        let attended = Attended { fence: manifest.fence, state: manifest.state };
        self.attended.insert(manifest.record_id.clone(), attended);
    }

    /// Counts, and measures space and what is kept.
    pub(super) fn measure(&mut self, ctx: &mut Context<Self>) {
        for state in RecordingState::ALL {
            let count = self.attended.values().filter(|attended| attended.state == state).count();
            self.metrics.recordings.with_label_values(&[state.name()]).set(gauge(count));
        }
        self.metrics.catalog_waiting.with_label_values::<&str>(&[]).set(gauge(self.rows.waiting()));
        let (videos, chunks) = (self.ports.videos.free_bytes(), self.ports.chunks.free_bytes());
        let free = async move { Ok::<_, StoreError>([videos.await?, chunks.await?]) };
        ctx.spawn(free.into_actor(self).map(|free, supervisor, _| match free {
            Ok(free) => {
                // Where any number of bytes is free, there is nothing to look after.
                if let Some(least) = free.into_iter().flatten().min() {
                    let bytes = i64::try_from(least).unwrap_or(i64::MAX);
                    supervisor.metrics.free_bytes.with_label_values::<&str>(&[]).set(bytes);
                }
            }
            Err(error) => warn!(%error, "the space that is left cannot be told"),
        }));
        self.measure_attended(ctx);
    }

    /// Bytes that are in no video, and are kept because of that; and who attends to what.
    fn measure_attended(&mut self, ctx: &mut Context<Self>) {
        let ids: BTreeSet<_> = self.attended.keys().chain(self.faults.keys()).cloned().collect();
        let ledger = self.ports.ledger.clone();
        let views = async move {
            let views = stream::iter(ids).map(|id| {
                let view = ledger.show(&id);
                async move { view.await.ok().map(|view| (id, view)) }
            });
            views.buffered(SIDE_BY_SIDE).filter_map(std::future::ready).collect::<Vec<_>>().await
        };
        ctx.spawn(views.into_actor(self).map(|views, supervisor, _| {
            let mut unmerged = 0;
            for (id, view) in views {
                let goes_on = |view: &LedgerView| view.manifest.state == RecordingState::Finalising;
                if !view.as_ref().is_some_and(goes_on) {
                    // Another node has made it, or it is over.
                    supervisor.faults.remove(&id);
                }
                match view {
                    Some(view) if supervisor.is_attended(&id, &view) => unmerged += unmerged_bytes(&view),
                    _ => {
                        supervisor.attended.remove(&id);
                    }
                }
            }
            let bytes = i64::try_from(unmerged).unwrap_or(i64::MAX);
            supervisor.metrics.unmerged_bytes.with_label_values::<&str>(&[]).set(bytes);
        }));
    }

    /// Whether no other node has attended to a recording since; and as it stands now.
    fn is_attended(&mut self, id: &RecordId, view: &LedgerView) -> bool {
        let Some(attended) = self.attended.get_mut(id) else { return false };
        attended.state = view.manifest.state;
        attended.fence == view.manifest.fence
    }
}

/// Chunks' bytes of a recording that has no video with all of them.
fn unmerged_bytes(view: &LedgerView) -> u64 {
    let complete = view.manifest.finished.as_ref().is_some_and(|finished| finished.video.complete);
    match view.manifest.state {
        RecordingState::Failed => view.bytes,
        RecordingState::Ready if !complete => view.bytes,
        RecordingState::Ready | RecordingState::Recording | RecordingState::Finalising => 0,
    }
}
