//! The way to a connection, as managers hold it: it outlives nobody, and ends whoever no longer listens.

use std::{
    fmt,
    net::Shutdown,
    sync::{Arc, Weak},
};

use actix::{Message, Recipient};
use socket2::Socket;

use super::messages::ToPeer;

/// A manager's way to a connection: its mailbox, whether it still lives, and the switch that ends it when it no longer
/// listens.
#[derive(Clone)]
pub struct Door<M = ToPeer>
where
    M: Message + Send,
    M::Result: Send,
{
    /// Its mailbox.
    pub outbox: Recipient<M>,
    alive: Weak<()>,
    kill: Option<KillSwitch>,
}

impl<M> Door<M>
where
    M: Message + Send,
    M::Result: Send,
{
    /// A door to the connection that holds `lifeline`.
    #[must_use]
    pub fn new(outbox: Recipient<M>, lifeline: &Lifeline, kill: Option<KillSwitch>) -> Self {
        Self { outbox, alive: Arc::downgrade(lifeline), kill }
    }

    /// Whether the connection still exists. A dropped one cannot forget to say so.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.alive.strong_count() > 0
    }

    /// Ends the connection's socket from outside its actor.
    pub fn kill(&self) {
        if let Some(kill) = &self.kill {
            kill.pull();
        }
    }
}

impl<M> fmt::Debug for Door<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

/// Held by a connection as long as it lives; a [`Door`] sees when it is dropped.
pub type Lifeline = Arc<()>;

/// Shuts a socket down from outside the actor that serves it: an actor whose peer stops reading is not polled and
/// cannot end itself. Owned by the connection, so the descriptor goes with it.
#[derive(Debug, Clone)]
pub struct KillSwitch(Weak<Socket>);

impl KillSwitch {
    /// A switch for a duplicate of the connection's descriptor, which the connection owns.
    #[must_use]
    pub fn new(socket: &Arc<Socket>) -> Self {
        Self(Arc::downgrade(socket))
    }

    fn pull(&self) {
        if let Some(socket) = self.0.upgrade() {
            // Fails only when the socket has ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
