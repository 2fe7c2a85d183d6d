//! Accounts that the ledger has lost: a new life of a node that is alone, or a Redis without its data.

use std::{collections::BTreeSet, time::Duration};

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use futures_util::{StreamExt as _, stream};
use tracing::{error, info, warn};

use super::{RecordingSupervisor, SIDE_BY_SIDE};
use crate::{
    actors::accounts::{Accounts, NotPutBack},
    adapters::ports::{CatalogFilter, CatalogRow, LedgerView, RecordingPorts},
    protocol::{Code, RecordId, Refusal, recorder::RecordingState},
};

/// So long every node with a recorder has to say so again, after the ledger has lost its data. Each does twice a second.
const PATIENCE: Duration = Duration::from_secs(2);
/// Before chunks are noted late or accounts are put back once more, where that has failed.
const ONCE_MORE: Duration = Duration::from_secs(2);
/// How long after a store failed it is looked again for what has failed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Rows looked at in one go.
const PAGE: u32 = 200;

/// What was found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The recordings whose accounts were put back.
    pub found: Vec<LedgerView>,
    /// The rows of recordings of which nothing is left, as they are to be.
    pub lost: Vec<CatalogRow>,
    /// Whether ffmpeg is there.
    pub merging_works: bool,
}

/// Puts back the accounts of every recording that has chunks (L-4), before anybody is let in, unless the ledger has them. Where
/// others share the ledger (`clustered`), that does not make it whole: the supervisor sees to it, and is as patient as they
/// are, because recorders may be at them, and the ledger may have lost its data only now.
///
/// # Errors
/// The chunk store cannot be read: a node that does not know what it has promised must not start. Where others share the
/// ledger, they know, and this node does so later.
pub async fn recover(
    ports: &RecordingPorts,
    accounts: &Accounts,
    clustered: bool,
) -> Result<Recovered, NotPutBack> {
    let merging_works = merging_works(ports).await;
    if clustered {
        if let Err(failure) = put_back_for_others(ports, accounts).await {
            warn!(%failure, "recordings of before are looked for later");
        }
        return Ok(Recovered { merging_works, ..Recovered::default() });
    }
    let (found, lost) = put_back(ports, accounts, Duration::ZERO).await?;
    Ok(Recovered { found, lost, merging_works })
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

async fn put_back_for_others(ports: &RecordingPorts, accounts: &Accounts) -> Result<(), NotPutBack> {
    if ports.same_stores.are_same() && !ports.ledger.is_whole().await? {
        accounts.put_back_all().await?;
    }
    Ok(())
}

/// Nobody claims anything before the ledger is whole, so for this `patience` recorders are waited for whose deadlines it has
/// forgotten.
async fn put_back(
    ports: &RecordingPorts,
    accounts: &Accounts,
    patience: Duration,
) -> Result<(Vec<LedgerView>, Vec<CatalogRow>), NotPutBack> {
    if ports.ledger.is_whole().await? {
        return Ok((Vec::new(), Vec::new()));
    }
    let loss = ports.ledger.loss().await?;
    let (ids, failed) = accounts.put_back_all().await?;
    tokio::time::sleep(patience).await;
    // It may have turned out meanwhile that others have more.
    ports.same_stores.check()?;
    ports.ledger.set_whole(loss).await?;
    let ledger = &ports.ledger;
    let views = stream::iter(&ids).map(|id| async move { ledger.show(id).await.ok().flatten() });
    let found: Vec<_> = views.buffered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
    let lost = lost_rows(ports, &ids.into_iter().collect()).await;
    if !found.is_empty() || failed > 0 {
        info!(recordings = found.len(), failed, "recordings go on from the chunk store");
    }
    Ok((found, lost))
}

/// Rows of recordings that the catalog believes to be under way, but of which nothing is left: they never end by
/// themselves. They have failed, which is told like any other failure.
async fn lost_rows(ports: &RecordingPorts, found: &BTreeSet<RecordId>) -> Vec<CatalogRow> {
    let mut lost = Vec::new();
    for state in [RecordingState::Recording, RecordingState::Finalising] {
        let mut filter = CatalogFilter { state: Some(state), limit: PAGE, ..CatalogFilter::default() };
        loop {
            let page = match ports.catalog.page(filter.clone()).await {
                Ok(page) => page,
                Err(failure) => {
                    warn!(%failure, "the catalog was not looked through");
                    return lost;
                }
            };
            for mut row in page.rows.into_iter().filter(|row| !found.contains(&row.record_id)) {
                // One that has just begun, on another node, or that cannot be read at the moment, is not lost.
                let is_gone = matches!(ports.chunks.manifest(&row.record_id).await, Ok(None))
                    && matches!(ports.ledger.show(&row.record_id).await, Ok(None));
                if !is_gone {
                    continue;
                }
                warn!(recording = %row.record_id, "a recording of which nothing is left");
                let refusal = Refusal::from(Code::EmptyRecording);
                row.state = RecordingState::Failed;
                row.error = Some((refusal.code.name().to_owned(), refusal.message().into_owned()));
                lost.push(row);
            }
            let Some(next) = page.next else { break };
            filter.after = Some(next);
        }
    }
    lost
}

impl RecordingSupervisor {
    /// Rows follow what was found.
    pub(super) fn take_back(&mut self, found: &[LedgerView], lost: Vec<CatalogRow>) {
        for view in found {
            self.row_changed(&view.manifest, view.chunks);
        }
        for row in lost {
            self.metrics.recordings_ended.with_label_values(&["auto", "failed"]).inc();
            self.rows.put(row);
        }
    }

    /// What has failed is tried again in a new life of a node: what it lacked may be there now. A ledger of its own was told
    /// so when it was put back.
    pub(super) fn retry_failed(&self, ctx: &mut Context<Self>) {
        if !self.config.clustered {
            return;
        }
        if !self.ports.same_stores.are_same() {
            ctx.run_later(LOOK_AGAIN, |supervisor, ctx| supervisor.retry_failed(ctx));
            return;
        }
        let ports = self.ports.clone();
        let retried = async move {
            for id in ports.chunks.recordings().await? {
                if ports.ledger.retry(&id).await? {
                    info!(recording = %id, "it has failed, and is tried again");
                }
            }
            Ok::<_, NotPutBack>(())
        };
        ctx.spawn(retried.into_actor(self).map(|retried, _, ctx| {
            if let Err(failure) = retried {
                warn!(%failure, "what has failed is tried again later");
                ctx.run_later(LOOK_AGAIN, |supervisor, ctx| supervisor.retry_failed(ctx));
            }
        }));
    }

    /// The ledger has lost its data: everything in the chunk store is put back. Several nodes may do so at once.
    pub(super) fn recover_lost(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.recovering, true) {
            return;
        }
        info!("the ledger knows of no account; those that the chunk store has are put back");
        let (ports, accounts) = (self.ports.clone(), self.links.accounts.clone());
        let found = async move { put_back(&ports, &accounts, PATIENCE).await };
        ctx.spawn(found.into_actor(self).map(|found, supervisor, ctx| match found {
            Ok((found, lost)) => {
                supervisor.recovering = false;
                // One that is new has none, which is nothing to worry about.
                if !found.is_empty() {
                    warn!(recordings = found.len(), "the ledger had lost its accounts; they are put back");
                }
                supervisor.take_back(&found, lost);
            }
            Err(failure) => {
                warn!(%failure, "accounts are put back later");
                // The next sweep that finds them gone begins again; it comes much sooner than a store is back.
                ctx.run_later(ONCE_MORE, |supervisor, _| supervisor.recovering = false);
            }
        }));
    }

    /// Chunks that were acknowledged while the ledger was away get into their accounts; of each recording once at a time.
    pub(super) fn note_late(&mut self, ctx: &mut Context<Self>) {
        if self.clock.now().mono < self.notes_from {
            return;
        }
        for id in self.unnoted.extract_if(.., |id| !self.noting.contains(id)).collect::<Vec<_>>() {
            self.noting.insert(id.clone());
            let accounts = self.links.accounts.clone();
            let noted = async move {
                let noted = accounts.catch_up(&id).await;
                (id, noted)
            };
            ctx.spawn(noted.into_actor(self).map(|(id, noted), supervisor, ctx| {
                supervisor.noting.remove(&id);
                supervisor.noted_late(id, noted, ctx);
            }));
        }
    }

    fn noted_late(&mut self, id: RecordId, noted: Result<bool, NotPutBack>, ctx: &mut Context<Self>) {
        match noted {
            Ok(true) => self.went_on(&id, ctx),
            Ok(false) => {
                warn!(recording = %id, "chunks were acknowledged of a recording that is over, or was deleted");
                self.metrics.storage_errors.with_label_values(&["ledger", "note_late"]).inc();
            }
            Err(failure) => {
                warn!(recording = %id, %failure, "chunks are noted later");
                self.notes_from = self.clock.now().mono + ONCE_MORE;
                self.unnoted.insert(id);
            }
        }
    }
}
