//! What is counted of recordings here.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

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

/// Recordings that are looked up each time: however many there are, the ledger is asked for no more.
const PAGE: usize = 100;

/// Recordings that this node was the last to attend to, as long as there is something to attend to: all but those whose
/// video is complete.
#[derive(Debug, Default)]
pub(super) struct Attended {
    each: BTreeMap<RecordId, Standing>,
    /// Where the next look goes on; `None`: at the beginning.
    after: Option<RecordId>,
    looking: bool,
}

/// How one of them stands.
#[derive(Debug)]
struct Standing {
    fence: Fence,
    state: RecordingState,
    /// What is stored of it, as it was last seen; `None`: not since it came to stand so.
    bytes: Option<u64>,
}

impl Attended {
    fn see(&mut self, manifest: &Manifest) {
        if is_complete(manifest) {
            self.remove(&manifest.record_id);
            return;
        }
        let (fence, state) = (manifest.fence, manifest.state);
        let known =
            self.each.get(&manifest.record_id).filter(|known| (known.fence, known.state) == (fence, state));
        let bytes = known.and_then(|known| known.bytes);
        self.each.insert(manifest.record_id.clone(), Standing { fence, state, bytes });
    }

    pub(super) fn remove(&mut self, id: &RecordId) {
        self.each.remove(id);
    }

    /// Whether it was seen under a later claim than this.
    pub(super) fn is_later_than(&self, id: &RecordId, fence: Fence) -> bool {
        self.each.get(id).is_some_and(|standing| standing.fence > fence)
    }

    fn count(&self, state: RecordingState) -> usize {
        self.each.values().filter(|standing| standing.state == state).count()
    }

    /// Bytes of chunks that are in no video, and are kept because of that.
    fn unmerged_bytes(&self) -> u64 {
        let is_over =
            |standing: &&Standing| matches!(standing.state, RecordingState::Ready | RecordingState::Failed);
        self.each.values().filter(is_over).filter_map(|standing| standing.bytes).sum()
    }

    /// Those to look up now: first what was never seen, then the others in turn. `None`: the last look is not over.
    fn begin_look(&mut self) -> Option<Vec<RecordId>> {
        if std::mem::replace(&mut self.looking, true) {
            return None;
        }
        let unseen = self.each.iter().filter(|(_, standing)| standing.bytes.is_none());
        let mut ids: Vec<_> = unseen.map(|(id, _)| id.clone()).take(PAGE).collect();
        let left = PAGE - ids.len();
        let from = self.after.as_ref().map_or(Unbounded, Excluded);
        let seen = self
            .each
            .range::<RecordId, _>((from, Unbounded))
            .filter(|(_, standing)| standing.bytes.is_some());
        let turn: Vec<_> = seen.map(|(id, _)| id.clone()).take(left).collect();
        if left > 0 {
            self.after = turn.last().cloned().filter(|_| turn.len() == left);
        }
        ids.extend(turn);
        Some(ids)
    }

    /// What the ledger has of them; `None`: nothing any more. What it gave no answer about is looked up again.
    fn looked(&mut self, found: Vec<(RecordId, Option<LedgerView>)>) {
        self.looking = false;
        for (id, view) in found {
            let Some(standing) = self.each.get_mut(&id) else { continue };
            match view {
                // Older than what has been done here since.
                Some(view) if view.manifest.fence < standing.fence => {}
                Some(view) if view.manifest.fence == standing.fence && !is_complete(&view.manifest) => {
                    standing.state = view.manifest.state;
                    standing.bytes = Some(view.bytes);
                }
                // Another node has attended to it since, or nobody need any more.
                Some(_) | None => self.remove(&id),
            }
        }
    }
}

/// Whether there is a video with everything in it.
fn is_complete(manifest: &Manifest) -> bool {
    let complete = manifest.finished.as_ref().is_some_and(|finished| finished.video.complete);
    manifest.state == RecordingState::Ready && complete
}

impl RecordingSupervisor {
    /// This node has seen to a recording's standing so.
    pub(super) fn attend(&mut self, manifest: &Manifest) {
        self.attended.see(manifest);
    }

    /// Counts, and measures space and what is kept.
    pub(super) fn measure(&mut self, ctx: &mut Context<Self>) {
        for state in RecordingState::ALL {
            self.metrics.recordings.with_label_values(&[state.name()]).set(gauge(self.attended.count(state)));
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

    /// Who attends to what, and what is kept of it.
    fn measure_attended(&mut self, ctx: &mut Context<Self>) {
        let Some(ids) = self.attended.begin_look() else { return };
        let failed = self.faults.keys().take(PAGE).cloned();
        let ids: BTreeSet<_> = ids.into_iter().chain(failed).collect();
        let ledger = self.ports.ledger.clone();
        let views = async move {
            let views = stream::iter(ids).map(|id| {
                let view = ledger.show(&id);
                async move { view.await.ok().map(|view| (id, view)) }
            });
            views.buffered(SIDE_BY_SIDE).filter_map(std::future::ready).collect::<Vec<_>>().await
        };
        ctx.spawn(views.into_actor(self).map(|views, supervisor, _| {
            for (id, view) in &views {
                let goes_on = |view: &LedgerView| view.manifest.state == RecordingState::Finalising;
                if !view.as_ref().is_some_and(goes_on) {
                    // Another node has made it, or it is over.
                    supervisor.faults.remove(id);
                }
            }
            supervisor.attended.looked(views);
            let bytes = i64::try_from(supervisor.attended.unmerged_bytes()).unwrap_or(i64::MAX);
            supervisor.metrics.unmerged_bytes.with_label_values::<&str>(&[]).set(bytes);
        }));
    }
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
