//! Rows as they stand in Redis.
//!
//! A row is JSON, and scripts must read and change some of its fields without decoding it: the JSON library of Redis would
//! turn an empty object into an empty array. So those fields stand first, in a fixed order, and scripts see the rest, the
//! *tail*, as text (`scripts/room.lua`). Whoever reads JSON need not know.

use std::{collections::BTreeMap, time::Duration};

use deadpool_redis::redis::{ParsingError, Value, from_redis_value};
use serde::Serialize;

use crate::{
    domain::membership::{RoomLock, RoomPicture, Row},
    protocol::{TokenDigest, UserId, command::Username, event::Presence, metadata::Metadata},
};

/// What follows the fields that scripts know.
#[derive(Serialize)]
struct Tail<'a> {
    proof: &'a TokenDigest,
    username: &'a Username,
    // The last: a script that changes it takes all that follows.
    metadata: &'a Metadata,
}

/// A row's tail: JSON from the first field that no script knows to the closing brace.
pub fn tail(proof: &TokenDigest, username: &Username, metadata: &Metadata) -> String {
    let mut json = json(&Tail { proof, username, metadata });
    json.replace_range(..1, "");
    json
}

/// JSON of what always has some.
pub fn json(value: &impl Serialize) -> String {
    // Strings, numbers and maps with text for keys: writing them into memory cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// A presence as rows name it.
pub fn presence(state: Presence) -> &'static str {
    match state {
        Presence::Present => "present",
        Presence::Suspect => "suspect",
    }
}

/// Reads a row. What none of ours can have written is no row.
pub fn read(text: &[u8]) -> Option<Row> {
    serde_json::from_slice(text).ok()
}

/// Reads what scripts answer as `picture()`: `{now, locked, the lock's version, last generation, {user, row, …}}`.
pub fn picture(answer: Value) -> Result<RoomPicture, ParsingError> {
    type Answer = (u64, bool, u64, u64, Vec<Vec<u8>>);
    let (now_ms, locked, version, last_generation, fields): Answer = from_redis_value(answer)?;
    let rows: BTreeMap<UserId, Row> = fields
        .chunks_exact(2)
        .filter_map(|field| {
            let user_id = UserId::parse(std::str::from_utf8(field.first()?).ok()?).ok()?;
            Some((user_id, read(field.get(1)?)?))
        })
        .collect();
    let first = rows.values().filter_map(|row| row.until).min();
    let due_in = first.map(|until| Duration::from_millis(until.saturating_sub(now_ms)));
    Ok(RoomPicture {
        rows,
        lock: RoomLock { locked, version },
        last_generation,
        due_in,
        ..RoomPicture::default()
    })
}
