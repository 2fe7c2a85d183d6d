//! What the rooms ask of the registry. Its answers come back as inputs.

use std::task::{self, Poll, Waker};

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tracing::{debug, warn};

use super::RoomManager;
use crate::{
    adapters::ports::{PortFuture, RegistryError},
    domain::{
        membership::{AdmissionRequest, Change, SyncRequest, TakeOver},
        rooms::{RoomInput, Ticket},
    },
    protocol::{RoomName, UserId, limits},
};

impl RoomManager {
    pub(super) fn admit(
        &mut self,
        ticket: Ticket,
        request: AdmissionRequest,
        ctx: &mut Context<Self>,
    ) -> Option<RoomInput> {
        let answer = self.registry.admit(request);
        self.ask("admit", answer, ctx, move |_, decided| {
            Some(match decided {
                Some(outcome) => RoomInput::AdmissionDecided { ticket, outcome },
                None => RoomInput::AdmissionFailed { ticket },
            })
        })
    }

    pub(super) fn mirror(&mut self, change: Change, ctx: &mut Context<Self>) -> Option<RoomInput> {
        let fenced = match change {
            Change::Update(_) => Some("update"),
            Change::Withdraw { .. } => Some("withdraw"),
            // These may find what they want already.
            Change::TakeBack { .. } | Change::SetLocked { .. } | Change::Ban { .. } => None,
        };
        let room = change.room().clone();
        let answer = self.registry.mirror(change);
        self.ask("mirror", answer, ctx, move |manager, applied| {
            if let (Some(operation), Some(false)) = (fenced, applied) {
                manager.metrics.cluster_fence_refusals.with_label_values(&[operation]).inc();
            }
            // A row that does not take its node's word was taken for a dead one's, or is another's by now.
            let refused = fenced == Some("update") && applied == Some(false);
            (applied.is_none() || refused).then_some(RoomInput::MirrorFailed { room })
        })
    }

    pub(super) fn sync(
        &mut self,
        ticket: Ticket,
        request: SyncRequest,
        ctx: &mut Context<Self>,
    ) -> Option<RoomInput> {
        let answer = self.registry.sync(request);
        self.ask("sync", answer, ctx, move |_, picture| Some(RoomInput::Synced { ticket, picture }))
    }

    pub(super) fn find(
        &mut self,
        ticket: Ticket,
        room: RoomName,
        user_id: UserId,
        ctx: &mut Context<Self>,
    ) -> Option<RoomInput> {
        let answer = self.registry.find(room, user_id);
        self.ask("find", answer, ctx, move |_, row| {
            Some(RoomInput::Found { ticket, row: row.map(|row| row.map(Box::new)) })
        })
    }

    pub(super) fn take_over(
        &mut self,
        ticket: Ticket,
        request: TakeOver,
        ctx: &mut Context<Self>,
    ) -> Option<RoomInput> {
        let answer = self.registry.take_over(request);
        self.ask("take_over", answer, ctx, move |_, outcome| Some(RoomInput::TakenOver { ticket, outcome }))
    }

    /// Asks the registry, and takes what its answer comes to as an input. A registry in memory has answered by then; one
    /// elsewhere answers later, or not at all.
    fn ask<T: 'static>(
        &mut self,
        operation: &'static str,
        mut answer: PortFuture<Result<T, RegistryError>>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&Self, Option<T>) -> Option<RoomInput> + 'static,
    ) -> Option<RoomInput> {
        if let Some(answer) = ready(&mut answer) {
            return then(self, self.known(operation, answer));
        }
        let answer = tokio::time::timeout(limits::REGISTRY_TIMEOUT, answer).into_actor(self);
        self.asked += 1;
        ctx.spawn(answer.map(move |answer, manager, ctx| {
            manager.asked -= 1;
            let late = |_| Err(RegistryError::Unavailable("no answer in time".to_owned()));
            let known = manager.known(operation, answer.unwrap_or_else(late));
            if let Some(input) = then(manager, known) {
                manager.apply(input, ctx);
            }
        }));
        None
    }

    fn known<T>(&self, operation: &'static str, answer: Result<T, RegistryError>) -> Option<T> {
        answer.inspect_err(|error| self.registry_failed(operation, error)).ok()
    }

    fn registry_failed(&self, operation: &'static str, error: &RegistryError) {
        self.metrics.registry_errors.with_label_values(&[operation]).inc();
        if self.isolated {
            // Said once, when it began.
            debug!(operation, %error, "the registry gave no answer");
            return;
        }
        warn!(operation, %error, transient = error.is_transient(), "the registry gave no answer");
        if let Some(nodes) = &self.nodes {
            nodes.store_failed(&self.metrics);
        }
    }
}

/// What a port has to say already.
fn ready<T>(answer: &mut PortFuture<T>) -> Option<T> {
    match answer.as_mut().poll(&mut task::Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        // Polled again, with a waker, by whoever waits for it.
        Poll::Pending => None,
    }
}
