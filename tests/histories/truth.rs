//! How things really stand: as Redis has them, and as the nodes show them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use greenroom::protocol::cluster::Row;
use serde_json::Value;

use crate::{
    checker::{RowTruth, Truth, text},
    support::{Redis, get},
};

/// Reads everything from the masters among these servers, with all rights.
pub fn read(servers: &[&Redis], truth: &mut Truth) {
    for server in servers {
        let replication: String = server.run(&["INFO", "replication"]);
        if replication.contains("role:master") {
            read_master(server, truth);
        }
    }
}

fn read_master(server: &Redis, truth: &mut Truth) {
    for key in server.keys() {
        let parts = key.split_once(":{").and_then(|(kind, rest)| Some((kind, rest.split_once("}:")?)));
        match parts {
            Some(("rooms", (room, "participants"))) => {
                let rows: BTreeMap<String, String> = server.run(&["HGETALL", &key]);
                truth.rows.extend(rows.iter().map(|(user, row)| row_truth(room, user, row)));
            }
            Some(("rooms", (room, "meta"))) => {
                let locked: Option<String> = server.run(&["HGET", &key, "locked"]);
                truth.locked.extend(locked.map(|_| room.to_owned()));
            }
            Some(("servers", (node, "connections"))) => drop(truth.indexed.insert(node.to_owned())),
            _ if key == "servers:leases" => {
                truth.leases = server.run::<Vec<String>>(&["ZRANGE", &key, "0", "-1"]).into_iter().collect();
            }
            _ => {}
        }
    }
}

fn row_truth(room: &str, user: &str, words: &str) -> RowTruth {
    let row: Row = serde_json::from_str(words).expect("a row is as the protocol says");
    let json: Value = serde_json::from_str(words).expect("JSON");
    RowTruth {
        room: room.to_owned(),
        user: user.to_owned(),
        session: row.session.to_string(),
        node: row.node.to_string(),
        username: text(&json, "username").to_owned(),
        state: text(&json, "state").to_owned(),
        metadata: json["metadata"].clone(),
        joined_at: row.joined_at,
    }
}

/// The life of a node that serves, as `node#inc`.
pub async fn life(node: SocketAddr) -> String {
    let info = get(node, "/health/info").await.json();
    format!("{}#{}", text(&info, "node_id"), info["incarnation"])
}

/// Says where a node shows other participants in a room than Redis has.
pub async fn compare(node: SocketAddr, room: &str, truth: &Truth, wrong: &mut Vec<String>) {
    let answer = get(node, &format!("/api/rooms/{room}")).await;
    let shown = if answer.status == 200 { answer.json() } else { Value::Null };
    let shown = shown["participants"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: BTreeSet<_> =
        shown.iter().map(|entry| (text(entry, "user_id"), text(entry, "state"))).collect();
    let rows = truth.rows.iter().filter(|row| row.room == room);
    let there: BTreeSet<_> = rows.map(|row| (row.user.as_str(), row.state.as_str())).collect();
    if shown != there {
        wrong.push(format!("{node} shows in {room} {shown:?}, but there is {there:?}"));
    }
}
