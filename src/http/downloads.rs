//! `GET /recordings/download/{key}`: a video or its poster, with ranges (RFC 9110 §14); where they are in a
//! bucket, the way there.

use actix_files::NamedFile;
use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, Charset, ContentDisposition, DispositionParam,
            DispositionType, ETAG, ExtendedValue, HeaderValue, LOCATION, LastModified,
        },
    },
    web::{Bytes, Data, Path},
};
use futures_util::stream;
use tracing::warn;

use super::{
    error::Problem,
    state::{HttpState, ask},
};
use crate::{
    actors::messages::ShowRecordings,
    adapters::{
        ports::{CatalogRow, Elsewhere, VideoSource},
        video_store::media_type,
    },
    protocol::{Code, recorder::VideoKey},
};

/// A version never changes under its name, but it may be deleted.
const POLICY: &str = "private, no-cache";

/// The file, or the part of it that is asked for.
pub async fn video(
    request: HttpRequest,
    key: Path<String>,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    // Only names that a video can have are looked for, so there is no path to escape from.
    let key = VideoKey::parse(&key).ok_or(Code::NotFound)?;
    let source = state.videos.find(&key).await.map_err(|error| Problem::from(error.refusal()))?;
    let source = source.ok_or(Code::NotFound)?;
    let disposition = disposition(&key, row_of(&key, &state).await.as_ref());
    let path = match source {
        VideoSource::File(path) => path,
        VideoSource::Elsewhere(about) if *request.method() == Method::HEAD => {
            return Ok(described(&key, disposition, about));
        }
        VideoSource::Elsewhere(_) => {
            let link = state.videos.link(&key, disposition.to_string()).await;
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
        file.set_content_type(kind_of(&key)).set_content_disposition(disposition).into_response(&request);
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
