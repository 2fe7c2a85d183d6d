//! What scripts on an account answer, and how a recording's manifest stands in Redis.
//!
//! What never changes of a recording is one JSON (`fixed`), and so are `fault` and `finished`: scripts pass them on as they are.
//! What scripts compare and change has a field of its own.

use deadpool_redis::redis::{FromRedisValue, ScriptInvocation, Value, from_redis_value};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::super::{row::json, trouble::Trouble};
use crate::{
    domain::recording::{Attached, Fault, Finished, Manifest},
    protocol::{
        Code, Fence, RecordId, RoomName, TokenDigest, UserId,
        recorder::{Framing, MimeType, RecordingState, Title},
    },
};

/// What never changes of a recording.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fixed {
    pub record_id: RecordId,
    pub token: TokenDigest,
    mime_type: MimeType,
    framing: Framing,
    pub room: Option<RoomName>,
    title: Option<Title>,
    pub owner: Option<UserId>,
    started_ms: u64,
}

/// A list that a script has answered, read from its beginning.
pub struct Answer(std::vec::IntoIter<Value>);

impl Answer {
    pub fn of(value: Value) -> Result<Self, Trouble> {
        match value {
            Value::Array(parts) => Ok(Self(parts.into_iter())),
            _ => Err(Trouble::Unexpected("not a list".to_owned())),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    /// Its next part.
    pub fn take<T: FromRedisValue>(&mut self) -> Result<T, Trouble> {
        Ok(from_redis_value(self.0.next().unwrap_or(Value::Nil))?)
    }

    /// A number that scripts write as text; '' is none.
    pub fn number(&mut self) -> Result<Option<u64>, Trouble> {
        let text: String = self.take()?;
        optional((!text.is_empty()).then_some(text))
    }

    /// The same where there is one.
    pub fn some_number(&mut self) -> Result<u64, Trouble> {
        self.number()?.ok_or_else(|| Trouble::Unexpected("no number".to_owned()))
    }

    pub fn manifest(&mut self) -> Result<Manifest, Trouble> {
        manifest(&mut Self::of(self.0.next().unwrap_or(Value::Nil))?)
    }

    /// The rest, where somebody has opened or taken up a recording.
    pub fn attached(&mut self) -> Result<(Attached, Option<u64>), Trouble> {
        let (generation, next_index) = (self.some_number()?, self.take()?);
        let (chunks, missing, reopened) = (self.take()?, self.take()?, self.take()?);
        let due_ms = self.number()?;
        let manifest = self.manifest()?;
        Ok((Attached { manifest, generation, next_index, chunks, missing, reopened }, due_ms))
    }
}

/// A refusal by its name.
pub fn code(name: &str) -> Result<Code, Trouble> {
    Code::parse(name).ok_or_else(|| Trouble::Unexpected("an unknown refusal".to_owned()))
}

/// Reads what scripts answer as `manifest()`.
fn manifest(parts: &mut Answer) -> Result<Manifest, Trouble> {
    let mut next = || parts.take::<Option<String>>();
    let fixed: Fixed = read(&next()?.unwrap_or_default())?;
    let state = next()?.and_then(|name| RecordingState::parse(&name));
    let state = state.ok_or_else(|| Trouble::Unexpected("no state of a recording".to_owned()))?;
    let stopped = next()?.as_deref() == Some("1");
    let announced = optional(next()?)?;
    let (version, fence, revision) =
        (optional(next()?)?, optional(next()?)?.unwrap_or(0), optional(next()?)?.unwrap_or(0));
    let (ended_ms, keep_until_ms, merged_chunks) =
        (optional(next()?)?, optional(next()?)?, optional(next()?)?);
    let ready_ms = optional(next()?)?;
    let fault: Option<Fault> = next()?.map(|text| read(&text)).transpose()?;
    let finished: Option<Finished> = next()?.map(|text| read(&text)).transpose()?;
    let finished = finished.map(|video| Finished { ready_ms: ready_ms.unwrap_or(video.ready_ms), ..video });
    let unheard = optional(next()?)?.unwrap_or(0);
    let Fixed { record_id, token, mime_type, framing, room, title, owner, started_ms } = fixed;
    Ok(Manifest {
        record_id,
        token,
        mime_type,
        framing,
        room,
        title,
        owner,
        started_ms,
        ended_ms,
        state,
        stopped,
        announced,
        version: version.unwrap_or(1),
        fence: Fence(fence),
        keep_until_ms,
        merged_chunks,
        unheard,
        fault,
        finished: finished.map(Box::new),
        revision,
    })
}

/// Gives a script a manifest, in the order of `write_manifest`.
pub fn put_manifest(call: &mut ScriptInvocation<'static>, manifest: Manifest) {
    let Manifest { record_id, token, mime_type, framing, room, title, owner, started_ms, .. } = manifest;
    let fixed = Fixed { record_id, token, mime_type, framing, room, title, owner, started_ms };
    call.arg(json(&fixed)).arg(token.to_hex()).arg(whole(started_ms)).arg(text(manifest.ended_ms));
    call.arg(manifest.state.name()).arg(u8::from(manifest.stopped)).arg(text(manifest.announced));
    call.arg(manifest.version).arg(whole(manifest.fence.0)).arg(text(manifest.keep_until_ms));
    call.arg(text(manifest.merged_chunks));
    call.arg(text(manifest.finished.as_ref().map(|finished| finished.ready_ms)));
    call.arg(manifest.fault.as_ref().map_or_else(String::new, json));
    call.arg(manifest.finished.as_deref().map_or_else(String::new, json));
    call.arg(whole(manifest.revision)).arg(manifest.unheard);
}

/// A number that may be absent, as text; '' is none.
pub fn text(number: Option<impl Into<u64>>) -> String {
    number.map_or_else(String::new, |number| whole(number.into()).to_string())
}

/// As scripts can count: their numbers are whole up to here, and sums of two of them stay so.
pub fn whole(number: u64) -> u64 {
    number.min(1 << 52)
}

/// Reads JSON that one of us has written.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Trouble> {
    serde_json::from_str(text).map_err(|error| Trouble::Unexpected(error.to_string()))
}

fn optional<T: std::str::FromStr>(text: Option<String>) -> Result<Option<T>, Trouble> {
    let parse = |text: String| text.parse().map_err(|_| Trouble::Unexpected("not a number".to_owned()));
    text.map(parse).transpose()
}
