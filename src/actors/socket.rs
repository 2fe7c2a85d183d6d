//! One WebSocket as an actor, whoever speaks on it: frames into messages, liveness, and a proper end.
//!
//! This is the only module that names `actix-web-actors`, which is deprecated in favour of `actix-ws`: changing over is
//! a change of this file. A connection is a [`Connection`] around an [`Endpoint`], which knows what the messages mean.
//!
//! What the library does and does not, and is made up for here:
//! - it polls its actor only while the socket can take more, so an actor cannot notice that its own peer has stopped
//!   reading: managers hold a [`KillSwitch`], and the kernel ends what stays unsent (`TCP_USER_TIMEOUT`);
//! - an error in the stream does not consume what caused it: every error closes and stops;
//! - frames are limited only once they are buffered, in a buffer that stays: [`FrameGuard`] stands under it;
//! - pings, fragments and closes are left to the actor.

use std::{
    cell::Cell,
    future::Future,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext as _, ActorFuture, ActorFutureExt as _, AsyncContext as _, Handler, Message,
    Recipient, SpawnHandle, StreamHandler, fut::wrap_future,
};
use actix_http::ws::Item;
use actix_web::{Error, HttpRequest, HttpResponse, web::Payload};
use actix_web_actors::ws::{
    CloseCode, CloseReason, Message as Frame, ProtocolError, WebsocketContext, WsResponseBuilder,
};
use bytes::Bytes;
use socket2::Socket as OsSocket;

use super::{
    door::KillSwitch,
    frame_guard::{Allowance, FrameGuard, StreamEnd, Verdict},
};
use crate::{
    metrics::Metrics,
    protocol::{Code, limits},
};

/// What speaks on a socket.
pub trait Endpoint: Sized + Unpin + 'static {
    /// For metrics.
    const KIND: &'static str;
    /// What managers tell it.
    type Inbox: Message<Result = ()> + Send + 'static;

    /// The socket is open.
    fn opened(&mut self, socket: &mut Socket<'_, Self>);
    /// A whole text message has come.
    fn text(&mut self, text: &str, socket: &mut Socket<'_, Self>);
    /// A whole binary message has come.
    fn binary(&mut self, bytes: Bytes, socket: &mut Socket<'_, Self>);
    /// A manager has posted something.
    fn inbox(&mut self, message: Self::Inbox, socket: &mut Socket<'_, Self>);
    /// The socket is over, whoever ended it.
    fn closed(&mut self);
}

/// How a socket is kept.
pub struct SocketConfig {
    /// Largest message, in one frame or many. Unit: bytes.
    pub message_bytes_max: usize,
    /// Says whether one more frame, of whatever kind, may come.
    pub frame_allowance: Allowance,
    /// Messages that may wait in the actor's mailbox.
    pub mailbox: usize,
    /// How often the peer is pinged (RFC 6455 §5.5.2).
    pub ping_interval: Duration,
    /// A peer from which nothing came for this long is taken for dead.
    pub ping_timeout: Duration,
    /// Where it counts.
    pub metrics: Metrics,
}

/// Upgrades the request and runs the endpoint on its socket. `held` lives as long as the connection.
///
/// # Errors
/// The request is no WebSocket handshake (RFC 6455 §4.2.1).
pub fn start<E: Endpoint>(
    request: &HttpRequest,
    payload: Payload,
    endpoint: E,
    config: SocketConfig,
    held: impl Sized + Unpin + 'static,
) -> Result<HttpResponse, Error> {
    let verdict = Verdict::default();
    let payload_max = config.message_bytes_max;
    let guarded = FrameGuard::new(payload, payload_max, config.frame_allowance, verdict.clone());
    let connection = Connection {
        endpoint,
        state: State {
            verdict,
            assembly: None,
            message_bytes_max: config.message_bytes_max,
            mailbox: config.mailbox,
            last_heard: Instant::now(),
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            ended: None,
            metrics: config.metrics,
        },
        _held: Box::new(held),
    };
    if let Some(turns) = request.conn_data::<Turns>() {
        turns.begin();
    }
    WsResponseBuilder::new(connection, request, guarded).frame_size(payload_max).start()
}

/// Whether what comes over a connection is read a little at a time, so that little of it waits. The server keeps one for each.
/// Only sockets begin it: the library drops what was read of a request's body and not passed on yet when its sender is done.
#[derive(Debug, Clone, Default)]
pub struct Turns(Rc<Cell<bool>>);

impl Turns {
    /// From now on.
    pub fn begin(&self) {
        self.0.set(true);
    }

    /// Whether it has begun.
    #[must_use]
    pub fn are_given(&self) -> bool {
        self.0.get()
    }
}

/// The switch that ends this request's socket, where the server has kept one for it.
#[must_use]
pub fn kill_switch(request: &HttpRequest) -> Option<KillSwitch> {
    request.conn_data::<Arc<OsSocket>>().map(KillSwitch::new)
}

/// A socket as an actor.
pub struct Connection<E: Endpoint> {
    endpoint: E,
    state: State,
    _held: Box<dyn std::any::Any>,
}

struct State {
    verdict: Verdict,
    /// A fragmented message so far, and whether it is text.
    assembly: Option<(bool, Vec<u8>)>,
    message_bytes_max: usize,
    mailbox: usize,
    last_heard: Instant,
    ping_interval: Duration,
    ping_timeout: Duration,
    ended: Option<Code>,
    metrics: Metrics,
}

type SocketContext<E> = WebsocketContext<Connection<E>>;

/// Something that is to be done later.
#[derive(Debug, Clone, Copy)]
pub struct Timer(SpawnHandle);

/// What an endpoint can do with its socket.
pub struct Socket<'a, E: Endpoint> {
    context: &'a mut SocketContext<E>,
    state: &'a mut State,
}

impl<E: Endpoint> Socket<'_, E> {
    /// Sends a text message.
    pub fn send(&mut self, text: String) {
        if self.state.ended.is_none() {
            self.context.text(text);
        }
    }

    /// Closes with the code's close code and its name as the reason; what was sent before still goes out.
    pub fn end(&mut self, code: Code) {
        if self.state.ended.is_some() {
            return;
        }
        self.state.ended = Some(code);
        let close = CloseReason {
            code: CloseCode::from(code.row().close.unwrap_or(1000)),
            description: Some(code.name().to_owned()),
        };
        self.context.close(Some(close));
        self.context.stop();
    }

    /// Reads nothing and handles nothing until `future` is done: the pressure goes back to the peer's TCP.
    pub fn wait<F>(&mut self, future: F, then: impl FnOnce(&mut E, F::Output, &mut Socket<'_, E>) + 'static)
    where
        F: Future + 'static,
    {
        self.context.wait(followed(future, then));
    }

    /// Goes on while `future` is under way. Its result is lost when the socket is over by then.
    pub fn beside<F>(&mut self, future: F, then: impl FnOnce(&mut E, F::Output, &mut Socket<'_, E>) + 'static)
    where
        F: Future + 'static,
    {
        self.context.spawn(followed(future, then));
    }

    /// Does something after a while, unless it is cancelled or the socket is over by then.
    pub fn later(
        &mut self,
        after: Duration,
        act: impl FnOnce(&mut E, &mut Socket<'_, E>) + 'static,
    ) -> Timer {
        Timer(self.context.run_later(after, |connection, context| {
            let Connection { endpoint, state, .. } = connection;
            act(endpoint, &mut Socket { context, state });
        }))
    }

    /// Takes back what was to be done later. Nothing happens if it has been done.
    pub fn cancel(&mut self, timer: Timer) {
        self.context.cancel_future(timer.0);
    }

    /// Where managers post to.
    pub fn inbox(&self) -> Recipient<E::Inbox> {
        self.context.address().recipient()
    }
}

fn followed<E: Endpoint, F: Future + 'static>(
    future: F,
    then: impl FnOnce(&mut E, F::Output, &mut Socket<'_, E>) + 'static,
) -> impl ActorFuture<Connection<E>, Output = ()> + 'static {
    wrap_future::<_, Connection<E>>(future).map(|output, connection: &mut Connection<E>, context| {
        let Connection { endpoint, state, .. } = connection;
        then(endpoint, output, &mut Socket { context, state });
    })
}

impl<E: Endpoint> Connection<E> {
    fn with(&mut self, context: &mut SocketContext<E>, act: impl FnOnce(&mut E, &mut Socket<'_, E>)) {
        let Self { endpoint, state, .. } = self;
        act(endpoint, &mut Socket { context, state });
    }

    fn end(&mut self, code: Code, context: &mut SocketContext<E>) {
        self.with(context, |_, socket| socket.end(code));
    }

    fn check_liveness(&mut self, context: &mut SocketContext<E>) {
        if self.state.last_heard.elapsed() >= self.state.ping_timeout {
            self.end(Code::PingTimeout, context);
        } else {
            context.ping(b"");
        }
    }

    /// A message that came in fragments; the library looks at the text of single frames only.
    fn assembled(&mut self, is_text: bool, bytes: Bytes, context: &mut SocketContext<E>) {
        if !is_text {
            return self.with(context, |endpoint, socket| endpoint.binary(bytes, socket));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => self.with(context, |endpoint, socket| endpoint.text(text, socket)),
            Err(_) => self.end(Code::InvalidText, context),
        }
    }

    fn fragment(&mut self, item: Item, context: &mut SocketContext<E>) {
        let (bytes, last) = match item {
            Item::FirstText(bytes) => {
                self.state.assembly = Some((true, Vec::new()));
                (bytes, false)
            }
            Item::FirstBinary(bytes) => {
                let announced = self.state.verdict.message_bytes.take();
                self.state.assembly =
                    Some((false, Vec::with_capacity(announced.min(limits::FIRST_ROOM_MAX))));
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        let Some((is_text, assembled)) = &mut self.state.assembly else {
            return self.end(Code::ProtocolViolation, context);
        };
        if assembled.len() + bytes.len() > self.state.message_bytes_max {
            return self.end(Code::TooLarge, context);
        }
        assembled.extend_from_slice(&bytes);
        if last {
            let (is_text, message) = (*is_text, std::mem::take(assembled).into());
            self.state.assembly = None;
            self.assembled(is_text, message, context);
        }
    }

    /// The stream is broken: say why, and stop, or the same error would come again for ever.
    fn broken(&mut self, error: &ProtocolError, context: &mut SocketContext<E>) {
        let code = match (self.state.verdict.end.get(), error) {
            (Some(StreamEnd::Refused(code)), _) => code,
            (Some(StreamEnd::Lost), _) => return context.stop(),
            (None, ProtocolError::Overflow) => Code::TooLarge,
            // The one thing that the library reports so by itself: text that is not UTF-8.
            (None, ProtocolError::Io(_)) => Code::InvalidText,
            (None, _) => Code::ProtocolViolation,
        };
        self.end(code, context);
    }
}

impl<E: Endpoint> Actor for Connection<E> {
    type Context = SocketContext<E>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.state.mailbox);
        self.state.metrics.sockets.with_label_values(&[E::KIND]).inc();
        context.run_interval(self.state.ping_interval, Self::check_liveness);
        self.with(context, |endpoint, socket| endpoint.opened(socket));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let reason = self.state.ended.map_or("gone", Code::name);
        self.state.metrics.sockets.with_label_values(&[E::KIND]).dec();
        self.state.metrics.sockets_ended.with_label_values(&[E::KIND, reason]).inc();
        self.endpoint.closed();
    }
}

impl<E: Endpoint> StreamHandler<Result<Frame, ProtocolError>> for Connection<E> {
    fn handle(&mut self, frame: Result<Frame, ProtocolError>, context: &mut Self::Context) {
        if self.state.ended.is_some() {
            return;
        }
        self.state.last_heard = Instant::now();
        match frame {
            Ok(Frame::Text(text)) => self.with(context, |endpoint, socket| endpoint.text(&text, socket)),
            Ok(Frame::Binary(bytes)) => self.with(context, |endpoint, socket| endpoint.binary(bytes, socket)),
            Ok(Frame::Continuation(item)) => self.fragment(item, context),
            Ok(Frame::Ping(payload)) => context.pong(&payload),
            Ok(Frame::Pong(_) | Frame::Nop) => {}
            Ok(Frame::Close(reason)) => {
                // Echo the close (RFC 6455 §5.5.1). Whoever closes without `Leave` may be back: its session waits.
                context.close(reason);
                context.stop();
            }
            Err(error) => self.broken(&error, context),
        }
    }

    fn finished(&mut self, context: &mut Self::Context) {
        context.stop();
    }
}

impl<E, M> Handler<M> for Connection<E>
where
    E: Endpoint<Inbox = M>,
    M: Message<Result = ()> + Send + 'static,
{
    type Result = ();

    fn handle(&mut self, message: M, context: &mut Self::Context) {
        self.with(context, |endpoint, socket| endpoint.inbox(message, socket));
    }
}
