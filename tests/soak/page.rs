//! A recorder as our page is one: it keeps what is not acknowledged, comes back to any node with its token, says stop, and
//! waits for its video or asks for it; or it vanishes.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    Habits,
    books::Books,
    support::{Chance, frame_of},
    take::Take,
    wire::{SILENCE, Socket, call},
};

/// Chunks under way at one time, as a node allows.
const WINDOW: usize = 8;
/// Before another attempt. Unit: milliseconds.
const AGAIN_MS: (u64, u64) = (100, 1_000);
/// Before another attempt when a node could not do something and did not say when it can. Unit: milliseconds.
const REFUSED_MS: u64 = 2_000;
/// How often the status is asked for.
const ASK: Duration = Duration::from_millis(500);
/// How often it is looked whether something is to be sent.
const TICK: Duration = Duration::from_millis(100);

/// Rooms and owners of recordings.
pub const WHOSE: [(&str, &str); 4] = [("blue", "ada"), ("blue", "ben"), ("green", "cleo"), ("red", "dan")];

/// What may be between two chunks, or two attempts.
pub fn between((least, most): (u64, u64), chance: &mut Chance) -> Duration {
    Duration::from_millis(least + chance.next() % (most - least))
}

/// What a recorder has in mind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// Says stop and stays for the video.
    Stay,
    /// Says stop and asks for the video.
    Ask,
    /// Vanishes once so many chunks are acknowledged.
    Vanish(usize),
}

/// How a socket ended.
enum End {
    /// It is tried again after a while.
    Lost(Duration),
    /// Nothing more is to be done.
    Done,
}

struct Page<'a> {
    books: &'a Books,
    chance: Chance,
    take: Arc<Take>,
    intent: Intent,
    whose: &'static (&'static str, &'static str),
    began: Instant,
    pace: Duration,
    /// Name and token, once it was told.
    told: Option<(String, String)>,
    acked: BTreeSet<u32>,
}

/// What holds for one socket.
struct Visit {
    socket: Socket,
    in_flight: BTreeSet<u32>,
    /// It takes chunks.
    taking: bool,
    stop_sent: bool,
    heard: Instant,
    /// Nothing is sent before.
    not_before: Instant,
}

/// Makes a recording.
pub async fn record(books: &Books, mut chance: Chance, habits: Habits) {
    let lives = if chance.one_in(4) { 2 } else { 1 };
    let take = Arc::new(Take::of(lives, &mut chance));
    let half = take.chunks.len() / 2;
    let intent = match chance.below(6) {
        // The second segment of one who vanishes may have nothing in it yet.
        0 if lives == 1 => Intent::Vanish(half + chance.below(half)),
        1 | 2 => Intent::Ask,
        _ => Intent::Stay,
    };
    let pace = between(habits.pace_ms, &mut chance);
    let whose = chance.pick(&WHOSE);
    let (began, told, acked) = (Instant::now(), None, BTreeSet::new());
    let mut page = Page { books, chance, take, intent, whose, began, pace, told, acked };
    while let End::Lost(wait) = page.visit().await {
        books.count("times that a page lost its socket or dropped it");
        sleep(wait + between(AGAIN_MS, &mut page.chance)).await;
    }
    page.leave().await;
}

impl Page<'_> {
    fn id(&self) -> &str {
        self.told.as_ref().map_or("a recording without a name", |(id, _)| id)
    }

    fn wrong(&self, what: &str) -> End {
        self.books.wrong(&format!("{}: {what}", self.id()));
        End::Done
    }

    /// As many chunks as are made by now; a page records on while it has no socket.
    fn made(&self) -> u32 {
        let pace = self.pace.as_millis().max(1);
        let made = u32::try_from(self.began.elapsed().as_millis() / pace).unwrap_or(u32::MAX);
        made.saturating_add(1).min(self.take.len())
    }

    fn all_acked(&self) -> bool {
        self.acked.len() == self.take.chunks.len()
    }

    async fn visit(&mut self) -> End {
        match self.try_visit().await {
            Some(end) => end,
            None => End::Lost(Duration::ZERO),
        }
    }

    /// One socket from its beginning to its end. `None`: it was lost.
    async fn try_visit(&mut self) -> Option<End> {
        let node = self.books.nodes.any(&mut self.chance);
        let socket = Socket::open(node).await?;
        let (in_flight, now) = (BTreeSet::new(), Instant::now());
        let mut visit =
            Visit { socket, in_flight, taking: false, stop_sent: false, heard: now, not_before: now };
        let mut hello =
            json!({ "type": "start", "mimeType": "video/webm;codecs=vp8,opus", "framing": "indexed" });
        if let Some((id, token)) = &self.told {
            hello["uploadToken"] = json!(token);
            hello["recordId"] = json!(id);
        } else {
            (hello["roomName"], hello["owner"]) = (json!(self.whose.0), json!(self.whose.1));
        }
        visit.socket.say(&hello).await?;
        loop {
            if let Some(end) = self.speak(&mut visit).await? {
                return Some(end);
            }
            match timeout(TICK, visit.socket.hear()).await {
                Ok(event) => {
                    visit.heard = Instant::now();
                    if let Some(end) = self.hear(&mut visit, &event?) {
                        return Some(end);
                    }
                }
                Err(_) if visit.heard.elapsed() > SILENCE => return None,
                Err(_) => {}
            }
        }
    }

    /// Sends what is due: chunks, or stop.
    async fn speak(&mut self, visit: &mut Visit) -> Option<Option<End>> {
        if !visit.taking || visit.stop_sent || Instant::now() < visit.not_before {
            return Some(None);
        }
        if matches!(self.intent, Intent::Vanish(after) if self.acked.len() >= after) {
            // Whatever is under way may come or not.
            return Some(Some(End::Done));
        }
        for index in 0..self.made() {
            if visit.in_flight.len() < WINDOW && !self.acked.contains(&index) && visit.in_flight.insert(index)
            {
                self.books.note(self.id(), |recording| recording.sent = recording.sent.max(index + 1));
                visit.socket.send_frame(self.frame(index)).await?;
            }
        }
        if self.all_acked() {
            visit.stop_sent = true;
            let (chunks, bytes) = (self.take.len(), self.take.bytes());
            let stop = json!({ "type": "stop", "recordId": self.id(), "chunks": chunks, "bytes": bytes });
            visit.socket.say(&stop).await?;
        }
        Some(None)
    }

    fn frame(&self, index: u32) -> Vec<u8> {
        let payload = &self.take.chunks[index as usize];
        let length = u32::try_from(payload.len()).expect("small");
        frame_of(index, u8::from(self.take.begins_segment(index)), length, crc32c::crc32c(payload), payload)
    }

    /// Takes what the node says. `Some`: this socket has come to its end.
    fn hear(&mut self, visit: &mut Visit, event: &Value) -> Option<End> {
        match event["type"].as_str() {
            Some("started") => self.started(visit, event),
            Some("chunkAck") => {
                let index = number(&event["index"])?;
                visit.in_flight.remove(&index);
                self.acknowledged(index);
                None
            }
            Some("chunkError") => self.chunk_refused(visit, event),
            Some("finished") => self.finished(visit, event),
            Some("mergeProgress") => None,
            Some("recordingReady") => Some(self.ready(visit, event)),
            Some("recordingError") => Some(self.refused(event)),
            _ => Some(self.wrong(&format!("unknown: {event}"))),
        }
    }

    fn acknowledged(&mut self, index: u32) {
        if self.acked.insert(index) {
            self.books.note(self.id(), |recording| {
                recording.acked.insert(index);
            });
        }
    }

    fn started(&mut self, visit: &mut Visit, event: &Value) -> Option<End> {
        if self.told.is_none() {
            let text = |field: &str| event[field].as_str().expect("a word").to_owned();
            let id = text("recordId");
            self.books.open(&id, &self.take);
            self.told = Some((id, text("uploadToken")));
        }
        let missing: BTreeSet<u32> = serde_json::from_value(event["missing"].clone()).expect("indices");
        let next = number(&event["nextIndex"]).expect("a number");
        let lost = |index: &&u32| missing.contains(index) || **index >= next;
        let lost: Vec<_> = self.acked.iter().filter(lost).collect();
        if !lost.is_empty() {
            return Some(self.wrong(&format!("acknowledged, and the node does not have {lost:?}: {event}")));
        }
        if event["state"] == "recording" {
            visit.taking = true;
            return None;
        }
        // Nothing can be added now; what the node has is as good as acknowledged.
        (0..next).filter(|index| !missing.contains(index)).for_each(|index| self.acknowledged(index));
        match event["state"].as_str() {
            // What was begun anew has not been stopped: this socket waits for what follows.
            _ if self.all_acked() => {
                visit.stop_sent = true;
                None
            }
            // A node that gave this recorder up makes a video of what it has, and takes more when it is through.
            Some("finalising") => Some(End::Lost(Duration::from_millis(REFUSED_MS))),
            _ => Some(self.wrong(&format!("takes no more, and has not everything: {event}"))),
        }
    }

    fn chunk_refused(&mut self, visit: &mut Visit, event: &Value) -> Option<End> {
        self.books.note(self.id(), |recording| recording.refused = event.to_string());
        self.books.count("chunks refused, to be sent again");
        if event["retryable"] != true {
            return Some(self.wrong(&format!("a chunk is refused: {event}")));
        }
        let Some(index) = number(&event["index"]) else { return Some(End::Lost(Duration::ZERO)) };
        visit.in_flight.remove(&index);
        let wait = Duration::from_millis(event["retryAfterMs"].as_u64().unwrap_or(0));
        visit.not_before = visit.not_before.max(Instant::now() + wait);
        None
    }

    fn finished(&mut self, visit: &mut Visit, event: &Value) -> Option<End> {
        if !visit.stop_sent || event["chunks"] != self.take.len() {
            return Some(self.wrong(&format!("finished, of {} chunks: {event}", self.take.len())));
        }
        self.books.note(self.id(), |recording| recording.stopped = true);
        (self.intent == Intent::Ask).then_some(End::Done)
    }

    fn ready(&mut self, visit: &Visit, event: &Value) -> End {
        if !visit.stop_sent {
            return self.wrong(&format!("a video that nobody has asked for: {event}"));
        }
        let sha256 = event["sha256"].as_str().map(str::to_owned);
        self.books.note(self.id(), |recording| (recording.stopped, recording.sha256) = (true, sha256));
        End::Done
    }

    fn refused(&mut self, event: &Value) -> End {
        self.books.note(self.id(), |recording| recording.refused = event.to_string());
        self.books.count("starts, stops and merges refused, to be tried again");
        if event["code"] == "chunks_missing" {
            return self.wrong(&format!("everything was acknowledged: {event}"));
        }
        if event["retryable"] != true {
            return self.wrong(&format!("refused: {event}"));
        }
        End::Lost(Duration::from_millis(event["retryAfterMs"].as_u64().unwrap_or(REFUSED_MS)))
    }

    async fn leave(mut self) {
        let stopped = self.all_acked();
        self.books.count(match self.intent {
            Intent::Vanish(_) => "pages that vanished",
            Intent::Ask => "pages that said stop and asked for the video",
            Intent::Stay => "pages that said stop and waited for the video",
        });
        if stopped && self.intent == Intent::Ask {
            ask_until_ready(self.books, self.told.as_ref().expect("told").0.as_str(), &mut self.chance).await;
        }
        self.books.note(self.id(), |recording| recording.over = true);
    }
}

/// Asks any node how it stands, until the video is there.
pub async fn ask_until_ready(books: &Books, id: &str, chance: &mut Chance) {
    loop {
        let node = books.nodes.any(chance);
        let answer = call(node, &format!("GET /recordings/{id}/status"), "", b"").await;
        if let Some((200, status)) = &answer
            && status["state"] == "ready"
        {
            return;
        }
        books.note(id, |recording| recording.refused = format!("{answer:?}"));
        sleep(ASK).await;
    }
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}
