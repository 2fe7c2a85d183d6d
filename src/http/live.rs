//! `GET /recordings/{id}/live` and `…/live/media`: a recording that can be watched while it comes.
//!
//! ```text
//!  live                                   ─► how far it can be watched, and where a player begins for each time
//!  live/media                             ─► the bytes that will not change, as a stream that has no end yet
//!  live/media?bytes=…&durationMs=…&every=… ─► a file up to there, with its length and its index
//! ```
//! Both are the same at every node, so a player may ask any of them for any part (RFC 9110 §14).

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{
        Method,
        header::{
            self, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, ETAG, Header as _, IF_RANGE, Range as Wanted,
        },
    },
    web::{Bytes, Data, Path, Query},
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::json;
use tracing::warn;

use super::{error::Problem, recordings, state::HttpState, uploads};
use crate::{
    adapters::ports::{LiveFile, Watched},
    domain::assembly::Cut,
    protocol::{Code, RecordId, Refusal},
};

/// Read at once. Unit: bytes.
const READ_BYTES: u64 = 256 * 1024;
/// After which it is worth asking again. Unit: milliseconds.
const AGAIN_MS: u64 = 2000;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Places before this one are known. Unit: bytes.
    #[serde(default)]
    from: u64,
}

/// Up to where; all of it or nothing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpTo {
    bytes: Option<u64>,
    duration_ms: Option<u64>,
    every: Option<u64>,
}

/// How far it can be watched.
pub async fn show(
    id: Path<String>,
    asked: Query<Asked>,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let id = uploads::record_id(&id)?;
    let Some(file) = watch(&id, false, &state).await? else {
        return Ok(answer(&json!({ "recordId": id, "bytes": 0, "durationMs": 0, "places": [] })));
    };
    let (live, cut) = (&file.live, file.live.cut());
    let places: Vec<_> = live.places().into_iter().filter(|(_, at)| *at >= asked.from).collect();
    let media = format!("{}/recordings/{id}/live/media", state.api_base_url);
    let Cut { bytes, duration_ms, every } = cut;
    let upto = format!("{media}?bytes={bytes}&durationMs={duration_ms}&every={every}");
    Ok(answer(&json!({
        "recordId": id,
        "mimeType": live.mime_type,
        "bytes": bytes,
        "headBytes": live.head_bytes,
        "durationMs": duration_ms,
        "places": places,
        "streamUrl": media,
        "fileUrl": upto,
    })))
}

fn answer(body: &serde_json::Value) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(body)
}

/// What can be watched, or a file up to there.
pub async fn media(
    request: HttpRequest,
    id: Path<String>,
    upto: Query<UpTo>,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let id = uploads::record_id(&id)?;
    let cut = match (upto.bytes, upto.duration_ms, upto.every) {
        (None, None, None) => None,
        (Some(bytes), Some(duration_ms), Some(every)) => Some(Cut { bytes, duration_ms, every }),
        _ => {
            let what = "`bytes`, `durationMs` and `every` go together";
            return Err(Refusal::because(Code::Malformed, what).into());
        }
    };
    let mut anew = false;
    loop {
        let not_yet = || Refusal::from(Code::NotLive).retry_after_ms(AGAIN_MS);
        let watched = watch(&id, anew, &state).await?.ok_or_else(not_yet)?;
        let path = watched.path.clone();
        let opened = tokio::task::spawn_blocking(move || File::open(path)).await;
        match opened.map_err(|_| Code::Internal)? {
            Ok(file) => return serve(&request, &watched, cut, Arc::new(file)),
            // Another node may go on with it under another name, or it is over.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !anew => anew = true,
            Err(error) => {
                warn!(recording = %id, %error, "what is watched cannot be opened");
                return Err(Refusal::from(Code::StorageFailed).retry_after_ms(AGAIN_MS).into());
            }
        }
    }
}

/// `None`: nothing yet.
async fn watch(id: &RecordId, anew: bool, state: &HttpState) -> Result<Option<LiveFile>, Problem> {
    let watched = state.merger.watch(id.clone(), anew).await;
    match watched.map_err(|error| Problem::from(error.refusal()))? {
        Watched::Here(file) => Ok(Some(file)),
        Watched::NotYet => Ok(None),
        Watched::Never => Err(Code::NotLive.into()),
        Watched::Over => Err(Code::RecordingOver.into()),
        Watched::Unknown => {
            recordings::known(id, state).await?;
            Err(Code::RecordingOver.into())
        }
    }
}

/// A stretch of what is sent.
enum Piece {
    Here(Bytes),
    There(Range<u64>),
}

impl Piece {
    fn bytes(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::There(range) => range.end - range.start,
        }
    }

    /// Of it what is in this range, which counts from its beginning.
    fn part(self, from: u64, to: u64) -> Self {
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        match self {
            Self::Here(bytes) => Self::Here(bytes.slice(at(from)..at(to))),
            Self::There(range) => Self::There(range.start + from..range.start + to),
        }
    }
}

fn serve(
    request: &HttpRequest,
    watched: &LiveFile,
    cut: Option<Cut>,
    file: Arc<File>,
) -> Result<HttpResponse, Problem> {
    let (live, mut tag) = (&watched.live, None);
    let pieces = match cut {
        None => vec![Piece::There(0..live.bytes)],
        Some(cut) => {
            let Some(ending) = live.ending(cut) else { return Err(Code::NotFound.into()) };
            let Cut { bytes, duration_ms, every } = cut;
            let of = &watched.recording.token.to_hex()[..16];
            tag = Some(format!("\"{of}.{bytes}.{duration_ms}.{every}\""));
            let (mut pieces, mut at) = (Vec::new(), 0);
            for (place, patch) in ending.patches {
                pieces.push(Piece::There(at..place));
                at = place + patch.len() as u64;
                pieces.push(Piece::Here(patch.into()));
            }
            pieces.extend([Piece::There(at..cut.bytes), Piece::Here(ending.index.into())]);
            pieces
        }
    };
    let total: u64 = pieces.iter().map(Piece::bytes).sum();
    let range = range(request, tag.as_deref(), total)?;
    let mut response = if range.is_some() { HttpResponse::PartialContent() } else { HttpResponse::Ok() };
    response
        .content_type(live.mime_type.as_str())
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((CACHE_CONTROL, "no-store"));
    if let Some(range) = &range {
        // How long it will be nobody knows, unless it is a file up to a cut.
        let whole = if cut.is_some() { total.to_string() } else { "*".to_owned() };
        response.insert_header((CONTENT_RANGE, format!("bytes {}-{}/{whole}", range.start, range.end - 1)));
    }
    if let Some(tag) = tag {
        response.insert_header((ETAG, tag));
    }
    let range = range.unwrap_or(0..total);
    let length = range.end - range.start;
    if *request.method() == Method::HEAD {
        return Ok(response.body(SizedStream::new(length, stream::empty::<io::Result<Bytes>>())));
    }
    Ok(response.body(SizedStream::new(length, read(file, within(pieces, &range)))))
}

/// What is asked for of so many bytes; `None`: all of them. More ranges than one are not served, which may be (RFC 9110 §14.2).
fn range(request: &HttpRequest, tag: Option<&str>, total: u64) -> Result<Option<Range<u64>>, Problem> {
    let is_of_another = |known: &header::HeaderValue| Some(known.as_bytes()) != tag.map(str::as_bytes);
    if request.headers().get(IF_RANGE).is_some_and(is_of_another) {
        return Ok(None);
    }
    let Ok(Wanted::Bytes(wanted)) = Wanted::parse(request) else { return Ok(None) };
    let [wanted] = wanted.as_slice() else { return Ok(None) };
    let Some((first, last)) = wanted.to_satisfiable_range(total) else {
        return Err(Problem::from(Code::RangeWrong).with_header(CONTENT_RANGE, format!("bytes */{total}")));
    };
    Ok(Some(first..last + 1))
}

/// The pieces of a range.
fn within(pieces: Vec<Piece>, range: &Range<u64>) -> Vec<Piece> {
    let mut at = 0;
    let parts = pieces.into_iter().filter_map(|piece| {
        let (start, bytes) = (at, piece.bytes());
        at += bytes;
        let (from, to) = (range.start.clamp(start, at) - start, range.end.clamp(start, at) - start);
        (from < to).then(|| piece.part(from, to))
    });
    parts.collect()
}

/// Reads them one after the other, never more than a little of them at once.
fn read(file: Arc<File>, pieces: Vec<Piece>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold((file, pieces.into_iter(), None::<Range<u64>>), |(file, mut pieces, rest)| async move {
        let there = match rest {
            Some(rest) => rest,
            None => match pieces.next()? {
                Piece::Here(bytes) => return Some((Ok(bytes), (file, pieces, None))),
                Piece::There(range) => range,
            },
        };
        let end = there.end.min(there.start + READ_BYTES);
        let (source, at, bytes) = (file.clone(), there.start, end - there.start);
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(bytes).unwrap_or(0)];
            source.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
        });
        let read = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let rest = (end < there.end && read.is_ok()).then_some(end..there.end);
        Some((read, (file, pieces, rest)))
    })
}
