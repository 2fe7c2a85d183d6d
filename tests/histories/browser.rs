//! A browser as a task: it talks, moves, leaves and comes back, as the library for pages does, and records everything.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::{
    checker::{Entry, History, Page, What, relay_payload, text},
    support::Chance,
};

/// A node that has not opened a socket by then is tried later.
const OPENED_WITHIN: Duration = Duration::from_secs(2);
/// A browser that hears nothing for so long asks whether anybody is there…
const QUIET_LINE: Duration = Duration::from_secs(2);
/// …and after so long goes elsewhere.
const DEAD_LINE: Duration = Duration::from_secs(4);
/// How long a browser waits at most before it does the next thing.
const PACE_MS: usize = 200;

/// What browsers are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Talk, and come and go.
    Talk,
    /// Come back, and say nothing more.
    Quiet,
    /// Say something to everybody: the last call of this number.
    Call(usize),
}

/// What can be seen of a browser.
#[derive(Debug, Default)]
pub struct Seen {
    pub history: History,
    pub page: Page,
    /// Whether it is to be in its room.
    pub wants: bool,
    /// Whether it has gone for good, without a word.
    pub gone: bool,
    /// Where it has a socket.
    pub node: Option<usize>,
    /// Why it was last not let in.
    pub refused: Option<String>,
    /// The last call that it has followed.
    pub called: usize,
    /// How much of what others said it has heard.
    pub relays: usize,
    /// What it said in calls and has no answer to.
    pub unanswered: BTreeSet<u64>,
}

/// Whatever it is that browsers share.
#[derive(Clone)]
pub struct Stage {
    pub began: Instant,
    /// Another one makes browsers do other things.
    pub seed: u64,
    pub nodes: Vec<SocketAddr>,
    pub phase: watch::Receiver<Phase>,
}

/// One browser: a task that ends with the test's runtime.
pub struct Browser {
    stage: Stage,
    seen: Arc<Mutex<Seen>>,
    chance: Chance,
    room: String,
    user: String,
    /// Where it is, or goes next.
    node: usize,
    /// When it is to move, if its node has asked it to.
    moves: Option<Instant>,
    next_id: u64,
    next_number: u64,
}

type Socket = WebSocketStream<TcpStream>;

/// Looks at a browser.
pub fn look(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Browser {
    /// Lets a browser live.
    pub fn start(stage: &Stage, number: usize, room: &str) -> Arc<Mutex<Seen>> {
        let history = History { browser: format!("b{number}"), entries: Vec::new() };
        let seen = Arc::new(Mutex::new(Seen { history, wants: true, ..Seen::default() }));
        let browser = Self {
            stage: stage.clone(),
            seen: seen.clone(),
            chance: Chance(stage.seed.wrapping_mul(1000) + number as u64),
            room: room.to_owned(),
            user: format!("u{number}"),
            node: number % stage.nodes.len(),
            moves: None,
            next_id: 0,
            next_number: 0,
        };
        tokio::spawn(browser.live());
        seen
    }

    async fn live(mut self) {
        loop {
            if let Some(socket) = self.come().await {
                self.stay(socket).await;
                self.choose_node();
            }
            sleep(self.pace()).await;
        }
    }

    fn phase(&self) -> Phase {
        *self.stage.phase.borrow()
    }

    fn pace(&mut self) -> Duration {
        Duration::from_millis(20 + self.chance.below(PACE_MS) as u64)
    }

    /// Often the same node again, at other times another.
    fn choose_node(&mut self) {
        if self.chance.one_in(2) {
            self.node = self.chance.below(self.stage.nodes.len());
        }
    }

    /// Opens a socket and says `Join` or `Resume`, if it wants to be in.
    async fn come(&mut self) -> Option<Socket> {
        let (wants, held) = {
            let mut seen = look(&self.seen);
            if seen.gone {
                return None;
            }
            seen.wants |= self.phase() == Phase::Talk && self.chance.one_in(8);
            (seen.wants, seen.page.session.clone())
        };
        if !wants && held.is_none() {
            return None;
        }
        let Some(mut socket) = open(self.stage.nodes[self.node]).await else {
            self.node = self.chance.below(self.stage.nodes.len());
            return None;
        };
        look(&self.seen).node = Some(self.node);
        self.note(What::Opened);
        let reloaded = self.phase() == Phase::Talk && self.chance.one_in(12);
        let hello = match held {
            Some((session, token)) if !reloaded => json!({
                "type": "Resume",
                "session_id": session,
                "resume_token": token,
                "last_seq": look(&self.seen).page.last_seq,
            }),
            // A page that was loaded anew knows nothing of its session.
            _ => json!({ "type": "Join", "room_name": self.room, "user_id": self.user }),
        };
        self.say(&mut socket, hello).await;
        Some(socket)
    }

    /// Lives with a socket until one of the two sides lets go of it.
    async fn stay(&mut self, mut socket: Socket) {
        self.moves = None;
        let (mut heard_at, mut next) = (Instant::now(), Instant::now());
        let mut phase = self.stage.phase.clone();
        phase.mark_unchanged();
        let code = loop {
            tokio::select! {
                // What has come is heard before anything is done.
                biased;
                heard = socket.next() => match heard {
                    Some(Ok(Message::Text(message))) => {
                        heard_at = Instant::now();
                        if self.hear(message.as_str()) {
                            break None;
                        }
                    }
                    Some(Ok(Message::Close(frame))) => break frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break None,
                },
                _ = phase.changed() => self.call(&mut socket).await,
                () = sleep_until(next) => {
                    next = Instant::now() + self.pace();
                    if self.moves.is_some_and(|at| at <= next) || heard_at.elapsed() > DEAD_LINE {
                        break None;
                    }
                    if !self.act(&mut socket, heard_at.elapsed()).await {
                        break None;
                    }
                }
            }
        };
        look(&self.seen).node = None;
        self.note(What::Closed(code));
    }

    /// Does the next thing; whether it still wants its socket.
    async fn act(&mut self, socket: &mut Socket, silent: Duration) -> bool {
        let (asking, attached, last_seq) = {
            let seen = look(&self.seen);
            if seen.gone {
                return false;
            }
            (seen.page.is_asking(), seen.page.attached, seen.page.last_seq)
        };
        if asking || !attached {
            return asking;
        }
        if silent > QUIET_LINE {
            self.say(socket, json!({ "type": "Ping" })).await;
        }
        if self.phase() != Phase::Talk {
            return true;
        }
        match self.chance.below(100) {
            0..45 => {
                let others = self.others();
                if !others.is_empty() {
                    let target = self.chance.pick(&others).clone();
                    self.relay(socket, Some(&target)).await;
                }
            }
            45..65 => {
                self.relay(socket, None).await;
            }
            65..71 => {
                let hand = self.chance.below(4);
                self.say(socket, json!({ "type": "Update", "metadata": { "hand": hand } })).await;
            }
            71..80 => {
                self.say(socket, json!({ "type": "Ack", "seq": last_seq })).await;
            }
            80..83 => return false,
            83 => {
                look(&self.seen).wants = false;
                self.say(socket, json!({ "type": "Leave" })).await;
            }
            _ => {}
        }
        true
    }

    /// Says something to each other one and to all at once, when the last call comes.
    async fn call(&mut self, socket: &mut Socket) {
        let Phase::Call(call) = self.phase() else { return };
        let mut said = BTreeSet::new();
        for other in self.others() {
            said.insert(self.relay(socket, Some(&other)).await);
        }
        said.insert(self.relay(socket, None).await);
        let mut seen = look(&self.seen);
        seen.unanswered.extend(said);
        seen.called = call;
    }

    fn others(&self) -> Vec<String> {
        look(&self.seen).page.roster.keys().cloned().collect()
    }

    async fn relay(&mut self, socket: &mut Socket, target: Option<&str>) -> u64 {
        self.next_number += 1;
        let session = look(&self.seen).page.session.clone().map(|(session, _)| session).unwrap_or_default();
        let payload = relay_payload(&session, self.next_number);
        let message = match target {
            Some(target) => json!({ "type": "Offer", "target_user_id": target, "sdp": payload }),
            None => json!({ "type": "Message", "data": payload }),
        };
        self.say(socket, message).await
    }

    /// Says something under a new `id`.
    async fn say(&mut self, socket: &mut Socket, mut message: Value) -> u64 {
        self.next_id += 1;
        message["id"] = json!(self.next_id);
        let words = message.to_string();
        self.note(What::Said(message));
        // An error is the end of the socket, of which the next reading tells.
        let _ = socket.send(Message::text(words)).await;
        self.next_id
    }

    /// Takes a message; whether the socket is of no use any more.
    fn hear(&mut self, words: &str) -> bool {
        let message: Value = serde_json::from_str(words).expect("nodes speak JSON");
        let asking = look(&self.seen).page.is_asking();
        self.note(What::Heard(message.clone()));
        let mut seen = look(&self.seen);
        match text(&message, "type") {
            "RoomJoined" | "Resumed" => seen.refused = None,
            "Error" if asking && !seen.page.is_asking() => {
                seen.refused = Some(text(&message, "code").to_owned());
                return true;
            }
            "Accepted" | "Error" => drop(message["id"].as_u64().map(|id| seen.unanswered.remove(&id))),
            "Draining" => {
                let after = message["reconnect_after_ms"].as_u64().unwrap_or_default();
                self.moves = Some(Instant::now() + Duration::from_millis(after));
            }
            "Offer" | "Message" => seen.relays += 1,
            _ => {}
        }
        false
    }

    fn note(&self, what: What) {
        let mut seen = look(&self.seen);
        // Another browser has its place now, or it was thrown out.
        if matches!(what, What::Closed(Some(4409 | 4410))) {
            seen.wants = false;
        }
        // What is wrong is found again when all is over.
        seen.page.take(&what);
        seen.history.entries.push(Entry { at: self.stage.began.elapsed(), what });
    }
}

async fn open(node: SocketAddr) -> Option<Socket> {
    let opening = async {
        let stream = TcpStream::connect(node).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(client_async(format!("ws://{node}/ws"), stream).await.ok()?.0)
    };
    timeout(OPENED_WITHIN, opening).await.ok()?
}
