//! One peer's socket: reads its commands, posts them to the rooms, and sends what the rooms have to say.
//!
//! ```text
//!   opened ─► waiting for Join or Resume ──(5 s)──► closed 1008
//!                   ▲ Leave     │ taken
//!                   └───────── in a room ──► closed by the browser, the rooms, or a limit
//! ```
//! It holds no room state: the session and everything it is told live in the room manager and outlive this actor. Its
//! own part is what concerns the socket alone: the rate of messages, what cannot be read, and how far the socket has
//! come ([`RoomInput::Confirm`]).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::Recipient;
use bytes::Bytes;
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use uuid::Uuid;

use super::{
    door::{Door, KillSwitch, Lifeline},
    mailbox::{Mailbox, NotPosted, post},
    messages::{AskRooms, OpenDoor, PostRooms, ToPeer},
    secret,
    socket::{Endpoint, Socket, Timer},
};
use crate::{
    domain::rooms::{JoinInput, RoomInput},
    metrics::Metrics,
    protocol::{
        Code, CommandId, ConnectionId, Refusal, ResumeToken, Seq, SessionId, UserId,
        command::{self, PeerCommand, Rejected, RoomCommand, Tagged},
        event::Body,
        limits,
    },
};

/// When a confirmation that found the manager's mailbox full is tried again.
const CONFIRM_AGAIN: Duration = Duration::from_millis(50);

/// Where a peer's connection posts to.
#[derive(Clone)]
pub struct RoomsLink {
    /// That it has come.
    pub open: Recipient<OpenDoor>,
    /// What it waits for.
    pub ask: Recipient<AskRooms>,
    /// What it goes on from at once.
    pub post: Recipient<PostRooms>,
}

/// A peer's end of a socket.
pub struct PeerSession {
    connection: ConnectionId,
    rooms: RoomsLink,
    kill: Option<KillSwitch>,
    lifeline: Lifeline,
    limiter: DefaultDirectRateLimiter,
    metrics: Metrics,
    in_room: bool,
    /// Ends the socket unless it is in a room by then.
    hello_timer: Option<Timer>,
    refused_hellos: u32,
    malformed: u32,
    /// The number of the last message sent, by the rooms or before there was a session.
    sent: Seq,
    unconfirmed: u64,
    unconfirmed_bytes: usize,
}

impl PeerSession {
    /// A peer that has just connected.
    #[must_use]
    pub fn new(
        connection: ConnectionId,
        rooms: RoomsLink,
        kill: Option<KillSwitch>,
        quota: Quota,
        metrics: Metrics,
    ) -> Self {
        Self {
            connection,
            rooms,
            kill,
            lifeline: Arc::new(()),
            limiter: RateLimiter::direct(quota),
            metrics,
            in_room: false,
            hello_timer: None,
            refused_hellos: 0,
            malformed: 0,
            sent: 0,
            unconfirmed: 0,
            unconfirmed_bytes: 0,
        }
    }

    fn command(&mut self, tagged: Tagged, socket: &mut Socket<'_, Self>) {
        let Tagged { id, command } = tagged;
        let connection = self.connection;
        match command {
            PeerCommand::Join(_) | PeerCommand::Resume(_) if self.in_room => {
                self.refuse(id, Code::AlreadyJoined.into(), socket);
            }
            PeerCommand::Join(join) => {
                let input = JoinInput {
                    connection,
                    id: id.clone(),
                    join,
                    spare_user_id: spare_user_id(),
                    session: SessionId::new(Uuid::new_v4()),
                    token: ResumeToken::new(secret::draw()),
                    already_sent: self.sent,
                };
                self.ask(id, RoomInput::Join(Box::new(input)), Self::entered, socket);
            }
            PeerCommand::Resume(resume) => {
                let input = RoomInput::Resume { connection, id: id.clone(), resume };
                self.ask(id, input, Self::entered, socket);
            }
            PeerCommand::InRoom(_) if !self.in_room => self.refuse(id, Code::NotJoined.into(), socket),
            PeerCommand::InRoom(RoomCommand::Leave) => {
                let input = RoomInput::Command { connection, id: id.clone(), command: RoomCommand::Leave };
                self.ask(id, input, Self::left, socket);
            }
            PeerCommand::InRoom(command) => {
                self.post(RoomInput::Command { connection, id, command }, socket);
            }
        }
    }

    /// Asks the rooms and handles nothing until they answer: what the browser says next is said in its new state.
    fn ask(
        &mut self,
        id: Option<CommandId>,
        input: RoomInput,
        taken: fn(&mut Self, &mut Socket<'_, Self>),
        socket: &mut Socket<'_, Self>,
    ) {
        let request = self.rooms.ask.send(AskRooms { connection: self.connection, input });
        let answer = tokio::time::timeout(limits::ANSWER_TIMEOUT, request);
        socket.wait(answer, move |peer, answer, socket| match answer {
            Ok(Ok(Ok(()))) => taken(peer, socket),
            Ok(Ok(Err(refusal))) => {
                peer.tell_refused(id.as_ref(), &refusal, socket);
                peer.hello_refused(socket);
            }
            // Too busy to answer, or gone. What was asked may still be done, but not for this socket.
            Ok(Err(_)) | Err(_) => socket.end(Code::Overloaded),
        });
    }

    fn entered(&mut self, socket: &mut Socket<'_, Self>) {
        self.in_room = true;
        self.refused_hellos = 0;
        self.unconfirmed = 0;
        self.unconfirmed_bytes = 0;
        if let Some(timer) = self.hello_timer.take() {
            socket.cancel(timer);
        }
    }

    fn left(&mut self, socket: &mut Socket<'_, Self>) {
        self.in_room = false;
        self.await_hello(Code::Left, socket);
    }

    /// A refused hello may be said again, but not for ever.
    fn hello_refused(&mut self, socket: &mut Socket<'_, Self>) {
        self.refused_hellos += 1;
        if self.refused_hellos >= limits::REFUSED_HELLOS_MAX {
            return socket.end(Code::HelloTimeout);
        }
        self.await_hello(Code::HelloTimeout, socket);
    }

    /// Ends the socket with `code` unless it is in a room by then.
    fn await_hello(&mut self, code: Code, socket: &mut Socket<'_, Self>) {
        let timer = socket.later(limits::HELLO_TIMEOUT, move |peer, socket| {
            if !peer.in_room {
                socket.end(code);
            }
        });
        if let Some(outdated) = self.hello_timer.replace(timer) {
            socket.cancel(outdated);
        }
    }

    fn post(&mut self, input: RoomInput, socket: &mut Socket<'_, Self>) {
        let message = PostRooms { posted_at: Instant::now(), input };
        if post(&self.rooms.post, Mailbox::RoomManager, &self.metrics, message).is_err() {
            socket.end(Code::Overloaded);
        }
    }

    /// Opens the window again. Should the manager be too busy to hear of it, it is told a little later: whoever only
    /// listens is not to blame for that.
    fn confirm(&mut self, socket: &mut Socket<'_, Self>) {
        let (connection, seq, bytes) = (self.connection, self.sent, self.unconfirmed_bytes);
        let input = RoomInput::Confirm { connection, seq, bytes };
        let message = PostRooms { posted_at: Instant::now(), input };
        match post(&self.rooms.post, Mailbox::RoomManager, &self.metrics, message) {
            Ok(()) => {
                self.unconfirmed = 0;
                self.unconfirmed_bytes = 0;
            }
            Err(NotPosted::Full) => drop(socket.later(CONFIRM_AGAIN, Self::confirm)),
            Err(NotPosted::Gone) => socket.end(Code::Overloaded),
        }
    }

    /// Refuses what the browser sent: through its session where it has one, so that numbers stay in order.
    fn refuse(&mut self, id: Option<CommandId>, refusal: Refusal, socket: &mut Socket<'_, Self>) {
        if self.in_room {
            let connection = self.connection;
            return self.post(RoomInput::Refuse { connection, id, refusal }, socket);
        }
        self.metrics.refusals.with_label_values(&[refusal.code.name()]).inc();
        self.tell_refused(id.as_ref(), &refusal, socket);
    }

    /// Tells a browser without a session what was refused, under the connection's own number.
    fn tell_refused(&mut self, id: Option<&CommandId>, refusal: &Refusal, socket: &mut Socket<'_, Self>) {
        self.sent += 1;
        socket.send(Body::refusal(refusal, id).numbered(self.sent));
        if refusal.code.row().ends {
            socket.end(refusal.code);
        }
    }

    fn rejected(&mut self, rejected: Rejected, socket: &mut Socket<'_, Self>) {
        if matches!(rejected.refusal.code, Code::Malformed | Code::TooDeep) {
            self.malformed += 1;
        }
        let refusal = if self.malformed > limits::MALFORMED_MAX {
            Code::MalformedRepeatedly.into()
        } else {
            rejected.refusal
        };
        self.refuse(rejected.id, refusal, socket);
    }

    fn too_fast(&mut self, text: &str, retry_after_ms: u64, socket: &mut Socket<'_, Self>) {
        self.refuse(
            command::peek_id(text),
            Refusal::from(Code::RateLimited).retry_after_ms(retry_after_ms),
            socket,
        );
    }
}

impl Endpoint for PeerSession {
    const KIND: &'static str = "peer";
    type Inbox = ToPeer;

    fn opened(&mut self, socket: &mut Socket<'_, Self>) {
        let door = Door::new(socket.inbox(), &self.lifeline, self.kill.clone());
        let opened = OpenDoor { connection: self.connection, door };
        if post(&self.rooms.open, Mailbox::RoomManager, &self.metrics, opened).is_err() {
            return socket.end(Code::Overloaded);
        }
        self.await_hello(Code::HelloTimeout, socket);
    }

    fn text(&mut self, text: &str, socket: &mut Socket<'_, Self>) {
        if let Err(until) = self.limiter.check() {
            let wait = until.wait_time_from(DefaultClock::default().now());
            return self.too_fast(text, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1), socket);
        }
        match command::parse(text) {
            Ok(tagged) => self.command(tagged, socket),
            Err(rejected) => self.rejected(rejected, socket),
        }
    }

    fn binary(&mut self, _: Bytes, socket: &mut Socket<'_, Self>) {
        self.refuse(None, Code::BinaryFrame.into(), socket);
    }

    fn inbox(&mut self, message: ToPeer, socket: &mut Socket<'_, Self>) {
        match message {
            ToPeer::Event { seq, body } => {
                socket.send(body.numbered(seq));
                self.sent = seq;
                self.unconfirmed += 1;
                self.unconfirmed_bytes += body.len();
                if self.unconfirmed >= limits::CONFIRM_MESSAGES
                    || self.unconfirmed_bytes >= limits::CONFIRM_BYTES
                {
                    self.confirm(socket);
                }
            }
            ToPeer::Close(code) => socket.end(code),
        }
    }

    fn closed(&mut self) {
        // Should the mailbox be full, the dropped lifeline says the same a moment later.
        let input = RoomInput::ConnectionClosed { connection: self.connection };
        let message = PostRooms { posted_at: Instant::now(), input };
        let _ = post(&self.rooms.post, Mailbox::RoomManager, &self.metrics, message);
    }
}

/// A name for somebody who gave none. Random, so that it is nobody else's.
fn spare_user_id() -> UserId {
    // 34 plain characters: always an id.
    UserId::parse(&format!("u-{}", Uuid::new_v4().simple())).unwrap_or_else(|_| unreachable!())
}
