//! One recorder's socket: its commands, its chunks, and what it is told.
//!
//! ```text
//!  opened ─► start ─► taking chunks ─► stop ─► hears of the merge ─► start …
//! ```
//! Chunks go to the [`Intake`] at once, as many as the recorder may have unacknowledged; what comes beyond that waits
//! in the socket. A `stop` waits for the chunks before it. What the recording is, others hold; when this actor ends, the
//! recording's grace begins.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix::{Message, Recipient};
use bytes::Bytes;
use tracing::error;

use super::{
    door::{Door, KillSwitch, Lifeline},
    intake::{Intake, Way},
    mailbox::{Mailbox, post},
    messages::{AbortRecording, BeginRecording, Begun, RecorderGone, StopRecording, ToRecorder},
    socket::{Endpoint, Socket, Timer},
};
use crate::{
    adapters::crash,
    domain::recording::{StopRefused, StopTaken},
    metrics::Metrics,
    protocol::{
        Code, ConnectionId, RecordId, Refusal, UploadToken,
        chunk::{Chunk, ChunkFrame, ChunkIndex},
        limits,
        recorder::{self, Framing, RecorderCommand, RecorderEvent, Start, Stop, Success},
    },
};

/// What may wait on one socket for the chunks before it. Whoever sends on so long without hearing is ended.
const HELD_BACK_MAX: usize = 16;
/// How long the supervisor may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a recorder's connection posts to.
#[derive(Clone)]
pub struct RecordingLink {
    /// `start`.
    pub begin: Recipient<BeginRecording>,
    /// `stop`.
    pub stop: Recipient<StopRecording>,
    /// `abort`.
    pub abort: Recipient<AbortRecording>,
    /// The socket is over.
    pub gone: Recipient<RecorderGone>,
    /// Where chunks go.
    pub intake: Intake,
}

/// A recorder's end of a socket.
pub struct RecorderSession {
    connection: ConnectionId,
    link: RecordingLink,
    kill: Option<KillSwitch>,
    lifeline: Lifeline,
    metrics: Metrics,
    recording: Option<Recording>,
    in_flight: usize,
    /// What came behind a stop or an abort that waits for the chunks before it, and that one first.
    held_back: VecDeque<Incoming>,
    /// Whether it handles nothing until something is done: the supervisor has answered, or a chunk is stored.
    waiting: bool,
    malformed: u32,
    start_timer: Option<Timer>,
}

enum Incoming {
    Command(RecorderCommand),
    Chunk(Bytes),
}

impl Incoming {
    /// Whether the chunks before it must be stored, or refused, first.
    fn ends_a_recording(&self) -> bool {
        matches!(self, Self::Command(RecorderCommand::Stop(_) | RecorderCommand::Abort(_)))
    }
}

struct Recording {
    token: UploadToken,
    framing: Framing,
    generation: u64,
}

impl Recording {
    fn id(&self) -> &RecordId {
        self.token.record_id()
    }
}

impl RecorderSession {
    /// A recorder that has just connected.
    #[must_use]
    pub fn new(
        connection: ConnectionId,
        link: RecordingLink,
        kill: Option<KillSwitch>,
        metrics: Metrics,
    ) -> Self {
        Self {
            connection,
            link,
            kill,
            lifeline: Arc::new(()),
            metrics,
            recording: None,
            in_flight: 0,
            held_back: VecDeque::new(),
            waiting: false,
            malformed: 0,
            start_timer: None,
        }
    }

    /// Everything is taken in the order in which it came.
    fn come(&mut self, incoming: Incoming, socket: &mut Socket<'_, Self>) {
        if self.held_back.len() >= HELD_BACK_MAX {
            return socket.end(Code::Overloaded);
        }
        self.held_back.push_back(incoming);
        self.go_on(socket);
    }

    /// Takes what may be taken now.
    fn go_on(&mut self, socket: &mut Socket<'_, Self>) {
        while !self.waiting
            && let Some(next) = self.held_back.front()
            && (self.in_flight == 0 || !next.ends_a_recording())
            && let Some(next) = self.held_back.pop_front()
        {
            match next {
                Incoming::Command(RecorderCommand::Start(start)) => self.start(*start, socket),
                Incoming::Command(RecorderCommand::Stop(stop)) => self.stop(stop, socket),
                Incoming::Command(RecorderCommand::Abort(abort)) => self.abort(abort.record_id, socket),
                Incoming::Chunk(frame) => self.chunk(&frame, socket),
            }
        }
    }

    /// The token of the recording that this socket has started.
    fn own(&self, id: &RecordId) -> Result<UploadToken, Refusal> {
        let own = self.recording.as_ref().filter(|recording| recording.id() == id);
        own.map(|recording| recording.token.clone()).ok_or_else(|| Code::NotStarted.into())
    }

    fn start(&mut self, start: Start, socket: &mut Socket<'_, Self>) {
        if self.recording.is_some() {
            return self.refuse(start.record_id, &Code::AlreadyStarted.into(), socket);
        }
        let asked = start.record_id.clone();
        let framing = start.framing;
        let door = Door::new(socket.inbox(), &self.lifeline, self.kill.clone());
        let message = BeginRecording { start, socket: Some((self.connection, door)) };
        self.ask(
            &self.link.begin.clone(),
            message,
            move |recorder, begun, socket| match begun {
                Ok(begun) => recorder.begun(begun, framing, socket),
                Err(refusal) => recorder.refuse(asked, &refusal, socket),
            },
            socket,
        );
    }

    fn begun(&mut self, begun: Begun, framing: Framing, socket: &mut Socket<'_, Self>) {
        if let Some(timer) = self.start_timer.take() {
            socket.cancel(timer);
        }
        // How chunks come is a matter of this socket; another may have begun with the other framing.
        self.recording = Some(Recording { token: begun.token, framing, generation: begun.generation });
        self.send(&RecorderEvent::Started(begun.started), socket);
        if let Some(outcome) = begun.outcome {
            self.told(&outcome);
            self.send(&outcome, socket);
        }
    }

    fn stop(&mut self, stop: Stop, socket: &mut Socket<'_, Self>) {
        let token = match self.own(&stop.record_id) {
            Ok(token) => token,
            Err(refusal) => return self.refuse(Some(stop.record_id), &refusal, socket),
        };
        let message = StopRecording { token, made: stop.made };
        self.ask(
            &self.link.stop.clone(),
            message,
            move |recorder, stopped, socket| recorder.stopped(stop.record_id, stopped, socket),
            socket,
        );
    }

    fn stopped(
        &mut self,
        record_id: RecordId,
        stopped: Result<StopTaken, StopRefused>,
        socket: &mut Socket<'_, Self>,
    ) {
        match stopped {
            Ok(StopTaken { chunks, .. }) => {
                self.send(&RecorderEvent::Finished { record_id, chunks }, socket);
            }
            Err(StopRefused { refusal, missing: Some((missing, expected)), .. }) => {
                let event = RecorderEvent::RecordingError {
                    record_id: Some(record_id),
                    problem: (&refusal).into(),
                    missing_chunks: Some(missing),
                    total_expected: Some(expected),
                };
                self.send(&event, socket);
            }
            Err(refused) => self.refuse(Some(record_id), &refused.refusal, socket),
        }
    }

    fn abort(&mut self, id: RecordId, socket: &mut Socket<'_, Self>) {
        let token = match self.own(&id) {
            Ok(token) => token,
            Err(refusal) => return self.refuse(Some(id), &refusal, socket),
        };
        self.ask(
            &self.link.abort.clone(),
            AbortRecording { token },
            move |recorder, aborted, socket| match aborted {
                // Nothing is left to speak of; the socket may start another.
                Ok(()) => recorder.recording = None,
                Err(refusal) => recorder.refuse(Some(id), &refusal, socket),
            },
            socket,
        );
    }

    /// Asks the supervisor and handles nothing until it answers, also nothing that it tells: what becomes of a recording
    /// comes after its `finished`, even where it was known first.
    fn ask<M>(
        &mut self,
        whom: &Recipient<M>,
        question: M,
        then: impl FnOnce(&mut Self, M::Result, &mut Socket<'_, Self>) + 'static,
        socket: &mut Socket<'_, Self>,
    ) where
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.waiting = true;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, whom.send(question));
        socket.wait(answer, move |recorder, answer, socket| {
            recorder.waiting = false;
            match answer {
                Ok(Ok(answer)) => then(recorder, answer, socket),
                Ok(Err(_)) | Err(_) => return socket.end(Code::Overloaded),
            }
            recorder.go_on(socket);
        });
    }

    fn chunk(&mut self, frame: &Bytes, socket: &mut Socket<'_, Self>) {
        let Some(Recording { token, framing, generation }) = &self.recording else {
            return self.refuse_chunk(None, None, &Code::NotStarted.into(), socket);
        };
        let (token, way) = (token.clone(), Way::Socket { generation: *generation });
        let read = match framing {
            Framing::Indexed => ChunkFrame::parse(frame)
                .map(|ChunkFrame { index, chunk }| (Some(index), chunk))
                .map_err(|refused| (refused.index, refused.refusal)),
            Framing::Raw => {
                Chunk::raw(frame.clone()).map(|chunk| (None, chunk)).map_err(|refusal| (None, refusal))
            }
        };
        let (place, chunk) = match read {
            Ok(read) => read,
            Err((index, refusal)) => {
                return self.refuse_chunk(Some(token.record_id().clone()), index, &refusal, socket);
            }
        };
        self.take_in(token, (place, chunk), way, socket);
    }

    /// Chunks with a place of their own are stored side by side; those that are numbered as they come, one by one.
    fn take_in(
        &mut self,
        token: UploadToken,
        (place, chunk): (Option<ChunkIndex>, Chunk),
        way: Way,
        socket: &mut Socket<'_, Self>,
    ) {
        self.in_flight += 1;
        let intake = self.link.intake.clone();
        let (id, asked) = (token.record_id().clone(), place.map(ChunkIndex::get));
        // Once this many are on their way, or the node has its fill, no more is read until this one is stored.
        let waits = place.is_none()
            || self.in_flight >= limits::CHUNKS_IN_FLIGHT_MAX
            || !intake.has_room(chunk.payload.len());
        let taking = async move { intake.take(&token, place, chunk, way).await };
        let then = move |recorder: &mut Self, taken, socket: &mut Socket<'_, Self>| {
            if waits {
                recorder.waiting = false;
            }
            recorder.taken(id, asked, taken, socket);
        };
        if waits {
            self.waiting = true;
            socket.wait(taking, then);
        } else {
            socket.beside(taking, then);
        }
    }

    /// Says what became of a chunk of this recording, which need not be the socket's any more.
    fn taken(
        &mut self,
        record_id: RecordId,
        asked: Option<u32>,
        taken: Result<ChunkIndex, Refusal>,
        socket: &mut Socket<'_, Self>,
    ) {
        self.in_flight -= 1;
        match taken {
            Ok(index) => {
                let ack = RecorderEvent::ChunkAck { record_id, index, status: Success::Success };
                self.send(&ack, socket);
                crash::point("chunk.acked");
            }
            Err(refusal) => self.refuse_chunk(Some(record_id), asked, &refusal, socket),
        }
        self.go_on(socket);
    }

    fn refuse_chunk(
        &mut self,
        record_id: Option<RecordId>,
        index: Option<u32>,
        refusal: &Refusal,
        socket: &mut Socket<'_, Self>,
    ) {
        self.metrics.refusals.with_label_values(&[refusal.code.name()]).inc();
        let event = RecorderEvent::ChunkError {
            record_id,
            index,
            problem: refusal.into(),
            retry_after_ms: refusal.retry_after_ms,
        };
        self.send(&event, socket);
    }

    fn refuse(&mut self, record_id: Option<RecordId>, refusal: &Refusal, socket: &mut Socket<'_, Self>) {
        self.metrics.refusals.with_label_values(&[refusal.code.name()]).inc();
        self.send(&RecorderEvent::refused(record_id, refusal), socket);
        if refusal.code.row().ends {
            socket.end(refusal.code);
        }
    }

    fn rejected(&mut self, refusal: Refusal, socket: &mut Socket<'_, Self>) {
        self.malformed += 1;
        let refusal =
            if self.malformed > limits::MALFORMED_MAX { Code::MalformedRepeatedly.into() } else { refusal };
        self.refuse(None, &refusal, socket);
    }

    fn send(&mut self, event: &RecorderEvent, socket: &mut Socket<'_, Self>) {
        match serde_json::to_string(event) {
            Ok(text) => socket.send(text),
            Err(failure) => error!(%failure, "an event could not be written"),
        }
    }

    /// After its outcome, the socket may start another.
    fn told(&mut self, event: &RecorderEvent) {
        let id = match event {
            RecorderEvent::RecordingReady(ready) => Some(&ready.record_id),
            RecorderEvent::RecordingError { record_id, .. } => record_id.as_ref(),
            _ => None,
        };
        if self.recording.as_ref().is_some_and(|recording| Some(recording.id()) == id) {
            self.recording = None;
        }
    }
}

impl Endpoint for RecorderSession {
    const KIND: &'static str = "recorder";
    type Inbox = ToRecorder;

    fn opened(&mut self, socket: &mut Socket<'_, Self>) {
        let timer = socket.later(limits::START_TIMEOUT, |recorder, socket| {
            if recorder.recording.is_none() {
                socket.end(Code::HelloTimeout);
            }
        });
        self.start_timer = Some(timer);
    }

    fn text(&mut self, text: &str, socket: &mut Socket<'_, Self>) {
        match recorder::parse(text) {
            Ok(command) => self.come(Incoming::Command(command), socket),
            Err(refusal) => self.rejected(refusal, socket),
        }
    }

    fn binary(&mut self, bytes: Bytes, socket: &mut Socket<'_, Self>) {
        self.come(Incoming::Chunk(bytes), socket);
    }

    fn inbox(&mut self, message: ToRecorder, socket: &mut Socket<'_, Self>) {
        match message {
            ToRecorder::Event(event) => {
                self.told(&event);
                self.send(&event, socket);
            }
            ToRecorder::Close(code) => socket.end(code),
        }
    }

    fn closed(&mut self) {
        // Should the mailbox be full, the dropped lifeline says the same a moment later.
        let message = RecorderGone { connection: self.connection };
        let _ = post(&self.link.gone, Mailbox::Supervisor, &self.metrics, message);
    }
}
