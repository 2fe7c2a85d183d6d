//! Whose recorder is here, what it is told, and which rooms are recorded.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tracing::{info, warn};

use super::{RecordingSupervisor, row_of};
use crate::{
    actors::{
        door::Door,
        mailbox::{Mailbox, post},
        messages::{TellRecording, ToRecorder},
    },
    adapters::{
        crash,
        ports::{LedgerError, LedgerView},
    },
    domain::recording::{Attached, Kept, Manifest, kept_for},
    metrics::gauge,
    protocol::{
        Code, ConnectionId, RecordId, Refusal, RoomName, UploadToken,
        recorder::{RecorderEvent, RecordingState},
    },
};

/// The recorder of a recording, on this node.
pub(super) struct Attachment {
    connection: ConnectionId,
    door: Door<ToRecorder>,
    token: UploadToken,
    generation: u64,
    /// When the ledger was asked, the last time that it heard of this recorder. By the monotonic clock.
    kept: Duration,
    /// Of the account, as its recorder knows it.
    revision: u64,
    /// As it was told last.
    percent: Option<u8>,
    /// Whether it knows that a merge came to nothing.
    knows_fault: bool,
}

/// How a recording stands that was taken for given up.
enum Again {
    /// Its recorder has said stop.
    Stopped(LedgerView),
    /// It has not.
    GoesOn(Attached),
}

impl Attachment {
    /// A recorder that has just been told how its recording stands.
    pub(super) fn new(
        (connection, door): (ConnectionId, Door<ToRecorder>),
        token: UploadToken,
        attached: &Attached,
        kept: Duration,
    ) -> Self {
        let Attached { manifest, generation, .. } = attached;
        let (generation, revision, knows_fault) = (*generation, manifest.revision, manifest.fault.is_some());
        Self { connection, door, token, generation, kept, revision, percent: None, knows_fault }
    }
}

impl RecordingSupervisor {
    /// Makes this the recording's recorder; whoever was before is told, and ended. Answers may have come in another
    /// order than their recorders: the newest stays.
    pub(super) fn attach(&mut self, id: &RecordId, attachment: Attachment) {
        let newer = |present: &Attachment| present.generation > attachment.generation;
        if self.attached.get(id).is_some_and(newer) {
            return self.close_door(&attachment, Code::Replaced);
        }
        if let Some(outdated) = self.attached.insert(id.clone(), attachment) {
            self.replaced(&outdated);
        }
    }

    fn replaced(&self, outdated: &Attachment) {
        let busy = |present: &Attachment| present.connection == outdated.connection;
        // It may be recording something else by now.
        if !self.attached.values().any(busy) {
            self.close_door(outdated, Code::Replaced);
        }
    }

    /// Tells a recording's recorder, where it has a socket here.
    pub(super) fn tell(&self, id: &RecordId, event: RecorderEvent) {
        let Some(attachment) = self.attached.get(id) else { return };
        // What it missed it is told when it comes back.
        let _ = attachment.door.tell(ToRecorder::Event(event), Mailbox::Recorder, &self.metrics);
    }

    /// Tells a recording's recorder that something was not done, and why.
    pub(super) fn tell_refused(&self, id: &RecordId, refusal: &Refusal) {
        self.tell(id, RecorderEvent::refused(Some(id.clone()), refusal));
    }

    /// Ends a recorder's socket.
    pub(super) fn close_door(&self, attachment: &Attachment, code: Code) {
        let _ = attachment.door.tell(ToRecorder::Close(code), Mailbox::Recorder, &self.metrics);
    }

    /// Ends every recorder's socket.
    pub(super) fn close_doors(&self, code: Code) {
        for attachment in self.attached.values() {
            self.close_door(attachment, code);
        }
    }

    /// Pushes the deadlines of recorders that are there, begins the grace of those that are gone, and sees what other nodes
    /// have made of their recordings.
    pub(super) fn keep(&mut self, ctx: &mut Context<Self>) {
        let gone = |attachment: &&Attachment| !attachment.door.is_open();
        let lost: Vec<_> = self.attached.values().filter(gone).map(|lost| lost.connection).collect();
        for connection in lost {
            self.recorder_gone(connection, ctx);
        }
        let ids: Vec<_> = self.attached.keys().cloned().collect();
        for id in &ids {
            self.keep_one(id, ctx);
        }
        self.metrics.recorders.with_label_values::<&str>(&[]).set(gauge(self.attached.len()));
    }

    /// The same for one of which there is news. What is being asked of it may be answered by how it stood before.
    pub(super) fn keep_anew(&mut self, id: &RecordId, ctx: &mut Context<Self>) {
        match self.keeping.get_mut(id) {
            Some(again) => *again = true,
            None => self.keep_one(id, ctx),
        }
    }

    fn keep_one(&mut self, id: &RecordId, ctx: &mut Context<Self>) {
        let Some(generation) = self.attached.get(id).map(|attachment| attachment.generation) else { return };
        if self.keeping.contains_key(id) {
            return;
        }
        self.keeping.insert(id.clone(), false);
        let (accounts, id, asked) = (self.links.accounts.clone(), id.clone(), self.clock.now().mono);
        let kept = async move {
            let kept = accounts.find(&id, |ledger| ledger.keep(id.clone(), generation)).await;
            (id, kept)
        };
        ctx.spawn(kept.into_actor(self).map(move |(id, kept), supervisor, ctx| {
            let again = supervisor.keeping.remove(&id);
            match kept {
                Ok(kept) => supervisor.kept(&id, generation, (asked, kept), ctx),
                Err(error) => supervisor.ledger_failed("keep", &error),
            }
            if again == Some(true) {
                supervisor.keep_one(&id, ctx);
            }
        }));
    }

    fn kept(
        &mut self,
        id: &RecordId,
        generation: u64,
        (asked, kept): (Duration, Option<Kept>),
        ctx: &mut Context<Self>,
    ) {
        let Some(attachment) = self.attached.get_mut(id).filter(|present| present.generation == generation)
        else {
            return;
        };
        let Some(kept) = kept else {
            if self.is_closing(id) {
                // By this one, which tells what is to be told when it is through.
                return;
            }
            // It was deleted by way of another node.
            self.tell_refused(id, &Code::RecordingUnknown.into());
            self.attached.remove(id);
            return;
        };
        if !kept.is_present {
            if let Some(outdated) = self.attached.remove(id) {
                self.replaced(&outdated);
            }
            return;
        }
        let silence = self.clock.now().mono.saturating_sub(attachment.kept);
        attachment.kept = asked;
        if kept.state != RecordingState::Recording && silence >= kept_for(self.config.grace) {
            return self.take_up_again(id, ctx);
        }
        let is_news = kept.revision > attachment.revision;
        if let Some(percent) = kept.percent.filter(|_| kept.state == RecordingState::Finalising) {
            self.tell_progress(id, percent);
        }
        if is_news {
            let view = self.ports.ledger.show(id);
            ctx.spawn(view.into_actor(self).map(|view, supervisor, _| match view {
                Ok(Some(view)) => supervisor.account_changed(&view.manifest, view.chunks),
                Ok(None) => {}
                Err(error) => supervisor.ledger_failed("show", &error),
            }));
        }
    }

    /// This node could not say for a while that a recorder is here, and the others took it for gone. Unless it has said
    /// stop, its recording goes on, and it need not notice.
    fn take_up_again(&self, id: &RecordId, ctx: &mut Context<Self>) {
        let Some(Attachment { token, generation, .. }) = self.attached.get(id) else { return };
        let (accounts, token, generation) = (self.links.accounts.clone(), token.clone(), *generation);
        let taken = async move {
            let id = token.record_id();
            let view = accounts.find(id, |ledger| ledger.show(id)).await?;
            if let Some(view) = view.filter(|view| view.manifest.stopped) {
                return Ok(Ok(Again::Stopped(view)));
            }
            let attached = accounts.ask(id, |ledger| ledger.attach(token.clone())).await?;
            Ok::<_, LedgerError>(attached.map(Again::GoesOn))
        };
        let id = id.clone();
        ctx.spawn(taken.into_actor(self).map(move |taken, supervisor, ctx| match taken {
            Ok(Ok(Again::Stopped(view))) => supervisor.account_changed(&view.manifest, view.chunks),
            Ok(Ok(Again::GoesOn(attached))) => supervisor.goes_on(&id, generation, &attached, ctx),
            Ok(Err(refusal)) => {
                supervisor.tell_refused(&id, &refusal);
                supervisor.attached.remove(&id);
            }
            Err(error) => {
                supervisor.ledger_failed("attach", &error);
                if let Some(attachment) = supervisor.attached.get_mut(&id) {
                    // Tried again as soon as it is kept.
                    attachment.kept = Duration::ZERO;
                }
            }
        }));
    }

    fn goes_on(&mut self, id: &RecordId, before: u64, attached: &Attached, ctx: &mut Context<Self>) {
        let manifest = &attached.manifest;
        info!(recording = %id, "a recorder was here all the while: its recording goes on");
        match self.attached.get_mut(id).filter(|present| present.generation == before) {
            Some(present) => {
                present.generation = attached.generation;
                present.revision = manifest.revision;
                (present.percent, present.knows_fault) = (None, false);
            }
            // Its socket was lost meanwhile.
            None => self.begin_grace(id.clone(), attached.generation, ctx),
        }
        self.take_back_merge(id, manifest.fence);
        self.save_manifest(manifest.clone(), ctx);
        self.row_changed(manifest, attached.chunks);
    }

    pub(super) fn tell_progress(&mut self, id: &RecordId, percent: u8) {
        let Some(attachment) = self.attached.get_mut(id) else { return };
        if attachment.percent.is_none_or(|told| told < percent) {
            attachment.percent = Some(percent);
            self.tell(id, RecorderEvent::MergeProgress { record_id: id.clone(), percent });
        }
    }

    /// Tells a recorder what has become of its recording, whoever made it.
    pub(super) fn account_changed(&mut self, manifest: &Manifest, chunks: u32) {
        let id = &manifest.record_id;
        let Some(attachment) = self.attached.get_mut(id) else { return };
        if attachment.revision > manifest.revision {
            return;
        }
        attachment.revision = manifest.revision;
        let knew_fault = std::mem::replace(&mut attachment.knows_fault, manifest.fault.is_some());
        match manifest.state {
            RecordingState::Recording => attachment.percent = None,
            RecordingState::Finalising => {
                // Of the first of several in a row, and of the last.
                if !knew_fault {
                    self.tell_fault(manifest);
                }
            }
            // Its socket is then free for another.
            RecordingState::Ready => {
                if let Some(ready) = self.ready(&row_of(manifest, chunks)) {
                    crash::point("notify");
                    self.tell(id, RecorderEvent::RecordingReady(Box::new(ready)));
                }
                self.attached.remove(id);
            }
            RecordingState::Failed => {
                self.tell_fault(manifest);
                self.attached.remove(id);
            }
        }
    }

    /// Its recorder has nothing more to do with it here.
    pub(super) fn detach(&mut self, id: &RecordId) {
        self.attached.remove(id);
    }

    fn tell_fault(&self, manifest: &Manifest) {
        if let Some(fault) = &manifest.fault {
            let id = manifest.record_id.clone();
            let event = RecorderEvent::failed(id, &fault.code, fault.message.clone());
            self.tell(&manifest.record_id, event);
        }
    }

    pub(super) fn recorder_gone(&mut self, connection: ConnectionId, ctx: &mut Context<Self>) {
        let gone = self.attached.extract_if(|_, attachment| attachment.connection == connection);
        for (id, attachment) in gone.collect::<Vec<_>>() {
            self.begin_grace(id, attachment.generation, ctx);
        }
    }

    fn begin_grace(&self, id: RecordId, generation: u64, ctx: &mut Context<Self>) {
        let detached = self.ports.ledger.detach(id, generation);
        ctx.spawn(detached.into_actor(self).map(|detached, supervisor, _| {
            if let Err(error) = detached {
                supervisor.ledger_failed("detach", &error);
            }
        }));
    }

    pub(super) fn tell_rooms_again(&mut self) {
        for room in std::mem::take(&mut self.untold_rooms) {
            self.tell_room(&room);
        }
    }

    /// Tells this node's rooms which of them are recorded, on whatever node. A ledger that has lost its data lacks some: a room
    /// goes only if it was whole before and after it was asked for them.
    pub(super) fn rooms_follow(&mut self, recorded: Arc<BTreeSet<RoomName>>, is_whole: bool) {
        let lacks_none = std::mem::replace(&mut self.was_whole, is_whole) && is_whole;
        if Arc::ptr_eq(&recorded, &self.recorded_rooms) {
            return;
        }
        let before = self.recorded_rooms.clone();
        let now = if lacks_none { recorded } else { Arc::new(&*before | &*recorded) };
        self.recorded_rooms = now.clone();
        for room in before.symmetric_difference(&now) {
            self.tell_room(room);
        }
    }

    fn tell_room(&mut self, room: &RoomName) {
        let recording = self.recorded_rooms.contains(room);
        let message = TellRecording { room: room.clone(), recording };
        if post(&self.links.rooms, Mailbox::RoomManager, &self.metrics, message).is_err() {
            warn!(%room, "a room is told later whether it is recorded");
            self.untold_rooms.insert(room.clone());
        }
    }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
