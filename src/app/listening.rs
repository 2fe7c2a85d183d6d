//! Where a node listens, and how its connections are read: a little at a time.
//!
//! actix-web's `HttpServer` reads a socket until there is nothing more or 128 KiB have come, before anybody looks at a byte of it,
//! and keeps a buffer of twice that for as long as the connection lasts. For recorders that is most of their memory. This is the
//! same server, put together of its parts, with WebSockets that are read in turns.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{HttpService, KeepAlive, Protocol};
use actix_server::{GracefulShutdownSignal, Server, ServerBuilder};
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{
    App as WebApp,
    dev::{AppConfig, Extensions},
    middleware::from_fn,
    rt::net::TcpStream,
    web::Data,
};
use anyhow::Context as _;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::{info, warn};

use crate::{
    actors::socket::Turns,
    config::Config,
    http::{self, HttpState},
    protocol::limits,
};

/// How long HTTP requests may go on once every WebSocket has ended; a part of the drain's deadline.
const HTTP_SHUTDOWN: Duration = Duration::from_secs(2);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 2048;
/// How long a connection without a request is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection that is closed may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// When so much was read from a socket, what was read is looked at. Unit: bytes.
const TURN_BYTES: usize = 16 * 1024;

/// Listens at the node's address. The server must be awaited to serve.
///
/// # Errors
/// The address cannot be listened on.
pub(super) fn listen(config: &Config, state: HttpState) -> anyhow::Result<(SocketAddr, Server)> {
    let at = SocketAddr::new(config.host, config.port);
    let listener = bind(at)
        .with_context(|| format!("HOST {} with PORT {} cannot be listened on", config.host, config.port))?;
    let address = listener.local_addr()?;
    let builder = Server::build()
        .disable_signals()
        .shutdown_timeout(HTTP_SHUTDOWN.min(config.drain_deadline).as_secs());
    let server = serve(builder, listener, Data::new(state))?.run();
    info!(%address, node = %config.node_id, version = env!("CARGO_PKG_VERSION"), "listening");
    Ok((address, server))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    // Connections of the node before this one may still be closing.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn serve(builder: ServerBuilder, listener: TcpListener, state: Data<HttpState>) -> io::Result<ServerBuilder> {
    let address = listener.local_addr()?;
    let stopping = builder.graceful_shutdown_signal();
    builder.listen("http", listener, move || {
        let app = WebApp::new()
            .app_data(state.clone())
            .wrap(from_fn(http::measure_request))
            .wrap(http::headers())
            .configure(http::routes);
        let service = HttpService::build()
            .graceful_shutdown_signal(told(stopping.clone()))
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            .client_request_timeout(HEAD_TIMEOUT)
            .client_disconnect_timeout(CLOSE_TIMEOUT)
            .local_addr(address)
            .on_connect_ext(on_connect)
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(async |socket: TcpStream| {
            let peer = socket.peer_addr().ok();
            Ok((InTurns { socket, turns: Turns::default(), read: 0 }, Protocol::Http1, peer))
        })
        .and_then(service)
    })
}

/// Connections between two requests are closed when the node stops.
fn told(stopping: GracefulShutdownSignal) -> impl Fn() -> Pin<Box<dyn Future<Output = ()>>> {
    move || {
        let stopping = stopping.clone();
        Box::pin(async move { stopping.notified().await })
    }
}

/// Prepares a connection's socket, and keeps a duplicate of its descriptor with which it can be ended from outside.
fn on_connect(stream: &InTurns, data: &mut Extensions) {
    data.insert(stream.turns.clone());
    let socket = SockRef::from(&stream.socket);
    let prepared = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_user_timeout(Some(limits::TCP_USER_TIMEOUT)));
    if let Err(error) = prepared {
        warn!(%error, "a connection's socket could not be prepared");
    }
    match socket.try_clone() {
        Ok(duplicate) => {
            data.insert(Arc::new(duplicate));
        }
        Err(error) => warn!(%error, "a connection cannot be ended from outside: no file descriptor left"),
    }
}

/// A socket that has whoever reads it look at what there is, again and again, instead of reading until nothing more comes.
struct InTurns {
    socket: TcpStream,
    turns: Turns,
    /// In this turn. Unit: bytes.
    read: usize,
}

impl AsyncRead for InTurns {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.turns.are_given() {
            return Pin::new(&mut self.socket).poll_read(cx, buffer);
        }
        if self.read == TURN_BYTES {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // A buffer with much room would be filled at once, and then grow.
        let room = buffer.remaining().min(TURN_BYTES - self.read);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let polled = Pin::new(&mut self.socket).poll_read(cx, &mut part);
        let came = part.filled().len();
        buffer.advance(came);
        self.read = if polled.is_pending() { 0 } else { self.read + came };
        polled
    }
}

impl AsyncWrite for InTurns {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::rt::net::TcpListener;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Whatever room there is to read into, and whatever waits to be read.
    #[tokio::test]
    async fn a_socket_is_read_a_little_at_a_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client =
            TcpStream::connect(listener.local_addr().expect("bound")).await.expect("a connection");
        let (socket, _) = listener.accept().await.expect("a connection");
        let sent: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let turns = Turns::default();
        let mut socket = InTurns { socket, turns: turns.clone(), read: 0 };
        let mut got = Vec::new();
        let reading = std::future::poll_fn(|cx| {
            let mut turn = 0;
            let mut room = vec![0; 1 << 20];
            loop {
                let mut buffer = ReadBuf::new(&mut room);
                match Pin::new(&mut socket).poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(()),
                    Poll::Ready(read) => {
                        read.expect("it can be read");
                        turn += buffer.filled().len();
                        assert!(turn <= TURN_BYTES, "{turn} bytes in a turn");
                        got.extend_from_slice(buffer.filled());
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        let writing = async {
            client.write_all(&sent).await.expect("sent");
            drop(client);
        };
        turns.begin();
        tokio::join!(reading, writing);
        assert!(got == sent);
    }
}
