//! A simple uploader: chunk after chunk over HTTP, each numbered by the node that takes it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    Habits,
    books::Books,
    page::{WHOSE, ask_until_ready, between},
    support::Chance,
    take::Take,
    wire::call,
};

/// Before another attempt. Unit: milliseconds.
const AGAIN_MS: (u64, u64) = (100, 1_000);

struct Uploader<'a> {
    books: &'a Books,
    chance: Chance,
    take: Arc<Take>,
    id: String,
    token: String,
}

/// Makes a recording.
pub async fn upload(books: &Books, mut chance: Chance, habits: Habits) {
    let take = Arc::new(Take::of(1, &mut chance));
    let half = take.len() / 2;
    let vanishes = !habits.patient_uploads && chance.one_in(6);
    let until =
        if vanishes { half + u32::try_from(chance.below(half as usize)).expect("small") } else { take.len() };
    let pace = between(habits.pace_ms, &mut chance);
    let mut uploader = Uploader { books, chance, take, id: String::new(), token: String::new() };
    uploader.begin().await;
    if uploader.send(until, pace).await.is_some() && !vanishes {
        uploader.stop().await;
    }
    books.count(if vanishes { "uploaders that vanished" } else { "uploaders that said stop" });
    books.note(&uploader.id, |recording| recording.over = true);
}

impl Uploader<'_> {
    async fn begin(&mut self) {
        let (room, owner) = *self.chance.pick(&WHOSE);
        let start = json!({ "mimeType": "video/webm", "roomName": room, "owner": owner }).to_string();
        let started = loop {
            match self.call("POST /recordings", start.as_bytes()).await {
                Some((201, started)) => break started,
                other => self.again(&other).await,
            }
        };
        let text = |field: &str| started[field].as_str().expect("a word").to_owned();
        (self.id, self.token) = (text("recordId"), text("uploadToken"));
        self.books.open(&self.id, &self.take);
    }

    /// Sends the chunks below this one. `None`: something is wrong.
    async fn send(&mut self, until: u32, pace: Duration) -> Option<()> {
        let line = format!("POST /recordings/{}/chunks", self.id);
        for index in 0..until {
            self.books.note(&self.id, |recording| recording.sent = index + 1);
            let chunk = self.take.chunks[index as usize].clone();
            loop {
                match self.call(&line, &chunk).await {
                    Some((200, stored)) if stored["index"] == index => break,
                    // What was refused has changed nothing.
                    Some((409 | 429 | 500..=599, refused)) if refused["retryable"] == true => {
                        self.again(&Some((503, refused))).await;
                    }
                    // Nobody knows whether it has come; whoever asks is told.
                    None if self.stored().await? > index => break,
                    None => {}
                    other => return self.wrong(&format!("chunk {index} is answered with {other:?}")),
                }
            }
            self.books.note(&self.id, |recording| {
                recording.acked.insert(index);
            });
            sleep(pace).await;
        }
        Some(())
    }

    /// How many chunks are stored, by a node that knows.
    async fn stored(&mut self) -> Option<u32> {
        self.books.count("times that an uploader lost its node and asked where it stands");
        let begin = json!({ "mimeType": "video/webm", "uploadToken": self.token }).to_string();
        loop {
            match self.call("POST /recordings", begin.as_bytes()).await {
                Some((201, started)) if started["state"] == "recording" => {
                    if started["missing"] != json!([]) {
                        return self.wrong(&format!("a hole in what was numbered one by one: {started}"));
                    }
                    return started["nextIndex"].as_u64().and_then(|next| u32::try_from(next).ok());
                }
                other => self.again(&other).await,
            }
        }
    }

    async fn stop(&mut self) {
        let line = format!("POST /recordings/{}/stop", self.id);
        let made = json!({ "chunks": self.take.len(), "bytes": self.take.bytes() }).to_string();
        loop {
            match self.call(&line, made.as_bytes()).await {
                Some((202, _)) => break,
                Some((_, refused)) if refused["retryable"] != true || refused["code"] == "chunks_missing" => {
                    self.wrong::<()>(&format!("stop is refused: {refused}"));
                    return;
                }
                other => self.again(&other).await,
            }
        }
        self.books.note(&self.id, |recording| recording.stopped = true);
        ask_until_ready(self.books, &self.id, &mut self.chance).await;
    }

    async fn call(&mut self, line: &str, body: &[u8]) -> Option<(u16, Value)> {
        call(self.books.nodes.any(&mut self.chance), line, &self.token, body).await
    }

    /// Waits before it is tried again.
    async fn again(&mut self, answer: &Option<(u16, Value)>) {
        self.books.count("requests of uploaders tried again");
        self.books.note(&self.id, |recording| recording.refused = format!("{answer:?}"));
        sleep(between(AGAIN_MS, &mut self.chance)).await;
    }

    fn wrong<T>(&self, what: &str) -> Option<T> {
        self.books.wrong(&format!("{}: {what}", self.id));
        None
    }
}
