//! `GET /recordings/download/{key}`: a video or its poster, with ranges (RFC 9110 §14); where they are in a
//! bucket, the way there. With `?format=mp4` an MP4 of the video, which is made when it is first asked for.

use actix_files::NamedFile;
use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, Charset, ContentDisposition, DispositionParam,
            DispositionType, ETAG, ExtendedValue, HeaderValue, LOCATION, LastModified, RETRY_AFTER,
        },
    },
    web::{Bytes, Data, Path, Query},
};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tracing::warn;

use super::{
    error::Problem,
    state::{HttpState, ask},
};
use crate::{
    actors::messages::{AskExport, ExportAnswer, ExportWish, ShowRecordings},
    adapters::{
        ports::{CatalogRow, Elsewhere, VideoSource},
        video_store::media_type,
    },
    protocol::{Code, Refusal, recorder::VideoKey},
};

/// A version never changes under its name, but it may be deleted.
const POLICY: &str = "private, no-cache";

/// When it is asked again how far an MP4 is. Unit: seconds.
const ASK_AGAIN_SECS: u64 = 2;

/// What is wanted of a video.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    format: Option<Format>,
}

/// What a video can be had as, beside what it is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Mp4,
}

/// The file, or the part of it that is asked for; or how far its MP4 is.
pub async fn video(
    request: HttpRequest,
    key: Path<String>,
    wanted: Query<Wanted>,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    // Only names that a video can have are looked for, so there is no path to escape from.
    let key = VideoKey::parse(&key).ok_or(Code::NotFound)?;
    match (wanted.format, key.extension()) {
        (None, _) | (Some(Format::Mp4), "mp4") => {
            serve(&request, &key, find(&key, &state).await?, &state).await
        }
        (Some(Format::Mp4), "jpg") => Err(Refusal::because(Code::Malformed, "a poster is no video").into()),
        (Some(Format::Mp4), _) => export(&request, key, &state).await,
    }
}

/// The MP4 of a video. Looking at it by `HEAD` begins nothing.
async fn export(request: &HttpRequest, video: VideoKey, state: &HttpState) -> Result<HttpResponse, Problem> {
    let mp4 = video.as_mp4();
    match find(&mp4, state).await {
        Ok(there) => return serve(request, &mp4, there, state).await,
        Err(problem) if problem.code() == Code::NotFound => find(&video, state).await?,
        Err(problem) => return Err(problem),
    };
    let looks = *request.method() == Method::HEAD || state.is_draining();
    let wish = if looks { ExportWish::Look } else { ExportWish::Begin };
    match ask(&state.exports, AskExport { video, wish }).await?? {
        ExportAnswer::There => serve(request, &mp4, find(&mp4, state).await?, state).await,
        ExportAnswer::Converting { percent } => Ok(converting(&mp4, percent)),
        ExportAnswer::NotBegun if state.is_draining() => Err(Code::Draining.into()),
        ExportAnswer::NotBegun => Err(Code::NotFound.into()),
    }
}

/// It is not there yet (RFC 9110 §15.3.3).
fn converting(mp4: &VideoKey, percent: u8) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((RETRY_AFTER, ASK_AGAIN_SECS))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({ "recordId": mp4.record_id(), "key": mp4, "state": "converting", "percent": percent }))
}

async fn find(key: &VideoKey, state: &HttpState) -> Result<VideoSource, Problem> {
    let source = state.videos.find(key).await.map_err(|error| Problem::from(error.refusal()))?;
    Ok(source.ok_or(Code::NotFound)?)
}

async fn serve(
    request: &HttpRequest,
    key: &VideoKey,
    source: VideoSource,
    state: &HttpState,
) -> Result<HttpResponse, Problem> {
    let disposition = disposition(key, row_of(key, state).await.as_ref());
    let path = match source {
        VideoSource::File(path) => path,
        VideoSource::Elsewhere(about) if *request.method() == Method::HEAD => {
            return Ok(described(key, disposition, about));
        }
        VideoSource::Elsewhere(_) => {
            let link = state.videos.link(key, disposition.to_string()).await;
            let link = link.map_err(|error| Problem::from(error.refusal()))?;
            return Ok(elsewhere(link.ok_or(Code::NotFound)?));
        }
    };
    let opened = tokio::task::spawn_blocking(move || NamedFile::open(path)).await;
    let file = opened.map_err(|_| Code::Internal)?.map_err(|error| {
        warn!(key = key.as_str(), %error, "a video cannot be opened");
        Problem::from(Code::NotFound)
    })?;
    let size = file.metadata().len();
    let response =
        file.set_content_type(kind_of(key)).set_content_disposition(disposition).into_response(request);
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(Problem::from(Code::RangeWrong).with_header(CONTENT_RANGE, format!("bytes */{size}")));
    }
    let mut response = response;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(POLICY));
    Ok(response)
}

fn kind_of(key: &VideoKey) -> mime_guess::Mime {
    media_type(key).parse().unwrap_or(mime_guess::mime::APPLICATION_OCTET_STREAM)
}

/// What a `GET` would bring, told here: a link to the store is signed for `GET`, and it refuses whoever asks otherwise.
fn described(key: &VideoKey, disposition: ContentDisposition, about: Elsewhere) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .content_type(kind_of(key))
        .insert_header(disposition)
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header(LastModified(about.modified.into()))
        .insert_header((CACHE_CONTROL, POLICY));
    if let Some(tag) = about.tag {
        response.insert_header((ETAG, tag));
    }
    response.body(SizedStream::new(about.size_bytes, stream::empty::<Result<Bytes, actix_web::Error>>()))
}

/// It is in a store that serves it itself, for a while: the link is for this once.
fn elsewhere(link: String) -> HttpResponse {
    HttpResponse::TemporaryRedirect()
        .insert_header((LOCATION, link))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish()
}

/// The row of a video. The supervisor has it a moment before the catalog does; while neither answers, the video is served
/// all the same, under a plainer name.
async fn row_of(key: &VideoKey, state: &HttpState) -> Option<CatalogRow> {
    let id = key.record_id()?;
    let show = ShowRecordings { ids: vec![id.clone()], thoroughly: false };
    let live = ask(&state.recordings, show).await;
    if let Ok(Ok(live)) = live
        && let Some(live) = live.into_iter().next()
    {
        return Some(live.row);
    }
    state.catalog.get(&id).await.unwrap_or_else(|error| {
        warn!(%error, "the catalog gave no answer");
        None
    })
}

/// A name that people recognise, in plain ASCII for old programs and as it is for others (RFC 6266, RFC 8187).
fn disposition(key: &VideoKey, row: Option<&CatalogRow>) -> ContentDisposition {
    let stem = key.as_str().rsplit_once('.').map_or(key.as_str(), |(stem, _)| stem);
    let title = row.and_then(|row| row.title.as_deref()).unwrap_or(stem);
    let unfit = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c);
    let name: String = title.chars().map(|c| if unfit(c) { '-' } else { c }).collect();
    let name = format!("{}.{}", name.trim_matches(['.', ' ']), key.extension());
    let plain: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    let picture = key.extension() == "jpg";
    ContentDisposition {
        disposition: if picture { DispositionType::Inline } else { DispositionType::Attachment },
        parameters: vec![
            DispositionParam::Filename(plain),
            DispositionParam::FilenameExt(ExtendedValue {
                charset: Charset::Ext("UTF-8".to_owned()),
                language_tag: None,
                value: name.into_bytes(),
            }),
        ],
    }
}
