//! Recording over HTTP: `POST /recordings`, its chunks, and its stop. For uploaders without a WebSocket.
//!
//! Who uploads shows its token as `Authorization: Bearer …` (RFC 6750 §2.1).

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, LOCATION, TRANSFER_ENCODING},
    web::{Data, Path, Payload},
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    error::Problem,
    state::{HttpState, ask},
};
use crate::{
    actors::{
        intake::Way,
        messages::{BeginRecording, StopRecording},
    },
    domain::recording::StopRefused,
    protocol::{
        Code, RecordId, Refusal, UploadToken,
        chunk::{Chunk, ChunkIndex},
        limits,
        recorder::{self, Made},
    },
};

/// `POST /recordings`: the fields of `start` → 201 and those of `started`.
pub async fn start(
    request: HttpRequest,
    payload: Payload,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    if state.is_draining() {
        return Err(Code::Draining.into());
    }
    let (body, _held) = read_body(&request, payload, limits::RECORDER_TEXT_BYTES_MAX, &state).await?;
    let text = std::str::from_utf8(&body).map_err(|_| Refusal::because(Code::Malformed, "not UTF-8"))?;
    let start = recorder::parse_start(text)?;
    let begun = ask(&state.recording.begin, BeginRecording { start, socket: None }).await??;
    let status = format!("/recordings/{}/status", begun.started.record_id);
    Ok(HttpResponse::Created().insert_header((LOCATION, status)).json(begun.started))
}

/// `PUT /recordings/{id}/chunks/{index}`: 200 once it is durable.
pub async fn chunk(
    request: HttpRequest,
    path: Path<(String, String)>,
    payload: Payload,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let (id, index) = path.into_inner();
    let index: u32 =
        index.parse().map_err(|_| Refusal::because(Code::Malformed, "the index is no number"))?;
    take(&request, &id, Some(ChunkIndex::new(index)?), payload, &state).await
}

/// `POST /recordings/{id}/chunks`: the same, at the next index.
pub async fn next_chunk(
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    take(&request, &id, None, payload, &state).await
}

/// `POST /recordings/{id}/stop`: 202, or 409 with what is missing.
pub async fn stop(
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let token = token_for(&request, &id)?;
    let made = match read_body(&request, payload, limits::RECORDER_TEXT_BYTES_MAX, &state).await {
        Ok((body, _held)) if body.iter().any(|byte| !byte.is_ascii_whitespace()) => {
            serde_json::from_slice(&body)
                .map_err(|_| Refusal::because(Code::Malformed, "the body is not {\"chunks\",\"bytes\"}"))?
        }
        // Nothing is said, and nothing is checked.
        Ok(_) => Made::default(),
        Err(problem) if problem.code() == Code::LengthRequired => Made::default(),
        Err(problem) => return Err(problem),
    };
    match ask(&state.recording.stop, StopRecording { token, made }).await? {
        Ok(taken) => Ok(HttpResponse::Accepted().json(json!({
            "recordId": taken.manifest.record_id,
            "chunks": taken.chunks,
            "state": taken.manifest.state,
        }))),
        Err(StopRefused { refusal, missing, .. }) => Err(match missing {
            Some((missing, expected)) => {
                Problem::from(refusal).with("missingChunks", missing).with("totalExpected", expected)
            }
            None => refusal.into(),
        }),
    }
}

async fn take(
    request: &HttpRequest,
    id: &str,
    place: Option<ChunkIndex>,
    payload: Payload,
    state: &HttpState,
) -> Result<HttpResponse, Problem> {
    let token = token_for(request, id)?;
    // Before anything is read: a stranger's bytes are no concern of ours.
    state.recording.intake.authorise(&token).await?;
    let (body, _held) = read_body(request, payload, limits::UPLOAD_BYTES_MAX, state).await?;
    let chunk = described(request.headers(), body)?;
    let index = state.recording.intake.take(&token, place, chunk, Way::Http).await?;
    Ok(HttpResponse::Ok().json(json!({
        "recordId": token.record_id(),
        "index": index,
        "status": "success",
    })))
}

/// The token that the request shows, if it is one of this recording.
fn token_for(request: &HttpRequest, id: &str) -> Result<UploadToken, Problem> {
    let id = record_id(id)?;
    let token = bearer(request.headers()).ok_or(Code::Unauthorised)?;
    if *token.record_id() == id { Ok(token) } else { Err(Code::Unauthorised.into()) }
}

/// The token in `Authorization: Bearer …`.
pub fn bearer(headers: &HeaderMap) -> Option<UploadToken> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { UploadToken::parse(token.trim()) } else { None }
}

/// A recording's name in a path. What is none names no recording.
pub fn record_id(text: &str) -> Result<RecordId, Problem> {
    RecordId::parse(text).map_err(|_| Code::RecordingUnknown.into())
}

fn described(headers: &HeaderMap, body: Bytes) -> Result<Chunk, Refusal> {
    let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    let bad = |name: &str| Refusal::because(Code::BadChunk, format!("{name} cannot be read"));
    let begins_segment = match said("x-segment-start") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(bad("X-Segment-Start")),
    };
    let timecode_ms =
        said("x-timecode").map(|text| text.parse().map_err(|_| bad("X-Timecode"))).transpose()?;
    let chunk = Chunk::described(body, begins_segment, timecode_ms)?;
    match said("x-checksum-crc32c") {
        None => Ok(chunk),
        Some(hex) if hex.len() == 8 && hex.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            chunk.check(u32::from_str_radix(hex, 16).map_err(|_| bad("X-Checksum-Crc32c"))?)
        }
        Some(_) => Err(bad("X-Checksum-Crc32c")),
    }
}

/// Reads a body of at most so many bytes. One that announces more is refused unread. The memory that it takes is counted
/// until the permit is dropped.
async fn read_body(
    request: &HttpRequest,
    mut payload: Payload,
    bytes_max: usize,
    state: &HttpState,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
    let announced = check_length(request.headers(), bytes_max)?;
    let mut body = Vec::with_capacity(announced.min(limits::FIRST_ROOM_MAX));
    let mut held = None;
    while let Some(piece) = next_piece(&mut payload).await? {
        if body.len() + piece.len() > bytes_max {
            return Err(Code::TooLarge.into());
        }
        hold(state, &mut held, piece.len()).await?;
        body.extend_from_slice(&piece);
    }
    Ok((body.into(), held))
}

/// How much is announced.
fn check_length(headers: &HeaderMap, bytes_max: usize) -> Result<usize, Refusal> {
    let announced = headers.get(CONTENT_LENGTH).map(|value| value.to_str().ok()?.parse::<u64>().ok());
    match announced {
        None if !headers.contains_key(TRANSFER_ENCODING) => Err(Code::LengthRequired.into()),
        Some(None) => Err(Refusal::because(Code::Malformed, "Content-Length is no number")),
        Some(Some(bytes)) if bytes > bytes_max as u64 => Err(Code::TooLarge.into()),
        length => Ok(length.flatten().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)),
    }
}

/// A body that ends early, or comes to a standstill, is a chunk that never came.
async fn next_piece(payload: &mut Payload) -> Result<Option<Bytes>, Refusal> {
    let stopped = |_| Refusal::because(Code::BadChunk, "the body came to a standstill");
    let piece = tokio::time::timeout(limits::BODY_IDLE_TIMEOUT, payload.next()).await.map_err(stopped)?;
    piece.transpose().map_err(|_| Refusal::because(Code::BadChunk, "the body ended before its length"))
}

/// Counts what has come against what the node may hold; waits while there is no room.
async fn hold(
    state: &HttpState,
    held: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
) -> Result<(), Refusal> {
    let overloaded = || Refusal::from(Code::Overloaded).retry_after_ms(1000);
    let bytes = u32::try_from(bytes).map_err(|_| overloaded())?;
    let more = state.uploads.clone().acquire_many_owned(bytes);
    let more = tokio::time::timeout(limits::INTAKE_TIMEOUT, more).await;
    let more = more.map_err(|_| overloaded())?.map_err(|_| overloaded())?;
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Ok(())
}
