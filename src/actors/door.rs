//! The way to a connection, as managers hold it: it outlives nobody, and ends whoever no longer listens.

use std::{
    fmt,
    net::Shutdown,
    sync::{Arc, Weak},
};

use actix::{Message, Recipient};
use socket2::Socket;

use super::{
    mailbox::{Mailbox, NotPosted, post},
    messages::ToPeer,
};
use crate::metrics::Metrics;

/// A manager's way to a connection: its mailbox, whether it still lives, and the switch that ends it when it no longer
/// listens.
#[derive(Clone)]
pub struct Door<M = ToPeer>
where
    M: Message + Send,
    M::Result: Send,
{
    outbox: Recipient<M>,
    alive: Weak<()>,
    kill: Option<KillSwitch>,
}

impl<M> Door<M>
where
    M: Message + Send,
    M::Result: Send,
{
    /// A door to the connection that holds `lifeline` and has this mailbox.
    #[must_use]
    pub fn new(outbox: Recipient<M>, lifeline: &Lifeline, kill: Option<KillSwitch>) -> Self {
        Self { outbox, alive: Arc::downgrade(lifeline), kill }
    }

    /// Whether the connection still exists. A dropped one cannot forget to say so.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.alive.strong_count() > 0
    }

    /// Tells the connection something. One whose mailbox is full does not listen, and is ended from outside; one that has ended by
    /// itself is left to it: what it had to say last may be on its way.
    ///
    /// # Errors
    /// It was not told.
    pub fn tell(&self, message: M, mailbox: Mailbox, metrics: &Metrics) -> Result<(), NotPosted>
    where
        M: 'static,
    {
        let told = post(&self.outbox, mailbox, metrics, message);
        if told == Err(NotPosted::Full) {
            self.kill();
        }
        told
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
        sync::Arc,
        time::Duration,
    };

    use actix::{Actor, ActorContext as _, Addr, Context, Handler};

    use super::*;
    use crate::protocol::Code;

    /// Ends as soon as it is told something.
    struct Brief;

    impl Actor for Brief {
        type Context = Context<Self>;
    }

    impl Handler<ToPeer> for Brief {
        type Result = ();

        fn handle(&mut self, _: ToPeer, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }

    /// A connection with both ends of its socket, and whether its owner can still say something after it was told until this.
    fn says_its_last_words(actor: &Addr<Brief>, until: NotPosted) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut far = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        far.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let (mut near, lifeline) = (listener.accept().expect("it came").0, Lifeline::default());
        let owned = Arc::new(Socket::from(near.try_clone().expect("a descriptor")));
        let door = Door::new(actor.clone().recipient(), &lifeline, Some(KillSwitch::new(&owned)));
        let metrics = Metrics::new().expect("valid");
        let tell = |_| door.tell(ToPeer::Close(Code::Draining), Mailbox::Peer, &metrics);
        assert_eq!((0..1000).map(tell).find_map(Result::err), Some(until));
        let said = near.write_all(b"bye").is_ok();
        drop((near, owned));
        let mut heard = String::new();
        far.read_to_string(&mut heard).expect("its end");
        assert_eq!(heard == "bye", said);
        said
    }

    #[actix::test]
    async fn who_does_not_listen_is_ended_and_who_has_ended_says_its_last_words() {
        let actor = Brief.start();
        assert!(!says_its_last_words(&actor, NotPosted::Full), "nobody has come to its mailbox yet");
        while actor.connected() {
            tokio::task::yield_now().await;
        }
        assert!(says_its_last_words(&actor, NotPosted::Gone));
    }
}
