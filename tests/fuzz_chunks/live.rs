//! Recorders that do anything in any order, against a running node. What was acknowledged must be stored.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    LONGER,
    support::{Chance, Heard, Node, Recorder, Upload, frame_of, fuzz, get, status, webm},
};

/// One recording, whoever works on it.
struct Session<'a> {
    node: &'a Node,
    chance: Chance,
    id: String,
    token: String,
    socket: Option<Recorder>,
    /// Chunks on their way by socket, by index: an acknowledgement is of the first that was sent and not refused.
    sent: BTreeMap<u32, Vec<Vec<u8>>>,
    acked: BTreeMap<u32, Vec<u8>>,
}

impl Session<'_> {
    async fn step(&mut self) {
        match self.chance.below(20) {
            0 => self.socket = None,
            1 => self.socket = Some(Recorder::go_on(self.node.address(), &self.token).await),
            2 => self.too_early_stop().await,
            3..=6 => self.put().await,
            7 => self.bad_frame().await,
            _ => self.chunk().await,
        }
        self.hear().await;
    }

    /// Mostly one and the same content for an index, so that some come again and some are in conflict.
    fn payload(&mut self, index: u32) -> Vec<u8> {
        let variant = if self.chance.below(6) == 0 { 1 } else { 0 };
        let mut payload = if index == 0 { webm()[..3000].to_vec() } else { Vec::new() };
        payload.extend(format!("{} {index} {variant}", self.id).into_bytes());
        payload
    }

    async fn chunk(&mut self) {
        let index = u32::try_from(self.chance.below(30)).expect("small");
        let payload = self.payload(index);
        let Some(socket) = &mut self.socket else { return };
        socket.chunk(index, &payload).await;
        self.sent.entry(index).or_default().push(payload);
    }

    async fn bad_frame(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        let index = u32::try_from(self.chance.below(30)).expect("small");
        socket.send_bytes(frame_of(index, 0, 4, 0xdead_beef, b"lies")).await;
        self.sent.entry(index).or_default().push(b"lies".to_vec());
    }

    async fn put(&mut self) {
        let index = u32::try_from(self.chance.below(30)).expect("small");
        let payload = self.payload(index);
        let answer = Upload::of(self.node.address(), &self.token).put(index, &payload).await;
        match answer.status {
            200 => self.ack(index, &[payload]),
            409 => assert_eq!(answer.refusal().1, "conflict"),
            _ => panic!("{answer:?}"),
        }
    }

    /// More than 30 were never sent: it is refused, and chunks still come.
    async fn too_early_stop(&mut self) {
        let answer = Upload::of(self.node.address(), &self.token).stop(json!({ "chunks": 40 })).await;
        assert_eq!(answer.refusal(), (409, "chunks_missing".into()), "{answer:?}");
    }

    /// One of these bytes is now stored for good.
    fn ack(&mut self, index: u32, candidates: &[Vec<u8>]) {
        let stored = stored(self.node, &self.id, index).expect("acknowledged, so stored");
        assert!(candidates.contains(&stored), "chunk {index} is none that was sent");
        let first = self.acked.entry(index).or_insert_with(|| stored.clone());
        assert_eq!(*first, stored, "the first bytes stand");
    }

    /// Everything that is on its way by the socket is answered; the node keeps an order for each index.
    async fn hear(&mut self) {
        let Some(mut socket) = self.socket.take() else {
            self.sent.clear();
            return;
        };
        let mut left: usize = self.sent.values().map(Vec::len).sum();
        while left > 0 {
            let Heard::Message(event) = socket.hear().await else { panic!("the socket stays") };
            if let (Some("chunkAck" | "chunkError"), Some(index)) =
                (event["type"].as_str(), event["index"].as_u64())
            {
                left -= 1;
                self.heard(&event, u32::try_from(index).expect("small"));
            }
        }
        self.sent.clear();
        self.socket = Some(socket);
    }

    fn heard(&mut self, event: &Value, index: u32) {
        if event["type"] == "chunkAck" {
            let candidates = self.sent.get(&index).cloned().unwrap_or_default();
            self.ack(index, &candidates);
        } else {
            let code = event["code"].as_str().unwrap_or_default();
            assert!(["conflict", "checksum_wrong"].contains(&code), "{event}");
        }
    }

    async fn end(self) {
        for (index, bytes) in &self.acked {
            assert_eq!(stored(self.node, &self.id, *index).as_ref(), Some(bytes), "chunk {index} at the end");
        }
        let live = status(self.node.address(), &self.id).await;
        assert_eq!(live["chunks"], self.acked.len(), "{live}");
        let highest = self.acked.keys().last().map_or(0, |index| index + 1);
        assert_eq!(live["nextIndex"], highest, "{live}");
    }
}

fn stored(node: &Node, id: &str, index: u32) -> Option<Vec<u8>> {
    std::fs::read(node.folder().join(format!("chunks/{id}/chunk_{index:08}"))).ok()
}

#[test]
fn what_is_acknowledged_is_stored_whatever_comes() {
    let node = Node::start(&["--recording-grace-secs=600", "--drain-deadline-secs=0"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    fuzz("a running node", LONGER, |seed| {
        runtime.block_on(async {
            let start = json!({ "recordId": format!("f{seed}") });
            let (upload, _) = Upload::start(node.address(), start).await;
            let token = upload.bearer.trim_start_matches("Bearer ").to_owned();
            let mut session = Session {
                node: &node,
                chance: Chance(seed),
                id: upload.id,
                token,
                socket: None,
                sent: BTreeMap::new(),
                acked: BTreeMap::new(),
            };
            for _ in 0..50 {
                session.step().await;
            }
            session.end().await;
        });
    });
    runtime.block_on(async {
        assert_eq!(get(node.address(), "/health/ready").await.status, 200);
    });
}
