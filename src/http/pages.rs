//! The pages, embedded in the binary.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{
            ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType, ETAG,
            EntityTag, Header as _, HeaderValue, IfNoneMatch,
        },
    },
    web::Path,
};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest as _, Sha256};

use super::error::Problem;
use crate::protocol::tokens::hex;
use crate::protocol::{Code, RoomName};

/// What lies in `static/`. A debug build reads it from disk, so that pages can be worked on without compiling.
#[derive(RustEmbed)]
#[folder = "static/"]
#[exclude = "*.md"]
struct Files;

/// Where a page wants its icons: in itself. A page that is open while the node is away would fetch in vain what it needs to
/// say so.
const ICONS: &str = "<!-- icons -->";

/// Pages run their own scripts and styles only, and talk to this node only.
const POLICY: &str = "default-src 'self'; connect-src 'self'; img-src 'self' data: blob:; \
     media-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// `GET /`
pub async fn landing(request: HttpRequest) -> Result<HttpResponse, Problem> {
    page(&request, "index.html", StatusCode::OK)
}

/// `GET /room/{room}`: the page finds the room's name in its address.
pub async fn room(request: HttpRequest, name: Path<String>) -> Result<HttpResponse, Problem> {
    if RoomName::parse(&name).is_err() {
        return missing(request).await;
    }
    page(&request, "room.html", StatusCode::OK)
}

/// `GET /recorder`: the page reads `?room=` from its address.
pub async fn recorder(request: HttpRequest) -> Result<HttpResponse, Problem> {
    page(&request, "recorder.html", StatusCode::OK)
}

/// `GET /library`: the page reads `?recording=` from its address.
pub async fn library(request: HttpRequest) -> Result<HttpResponse, Problem> {
    page(&request, "library.html", StatusCode::OK)
}

/// `GET /status`: nodes, rooms, and who is where.
pub async fn status(request: HttpRequest) -> Result<HttpResponse, Problem> {
    page(&request, "status.html", StatusCode::OK)
}

/// `GET /favicon.ico`
pub async fn favicon(request: HttpRequest) -> Result<HttpResponse, Problem> {
    page(&request, "img/mark.svg", StatusCode::OK)
}

/// `GET /static/…`
pub async fn asset(request: HttpRequest, path: Path<String>) -> Result<HttpResponse, Problem> {
    // Only names that were embedded exist, so there is no path to escape from.
    if path.ends_with(".html") || Files::get(&path).is_none() {
        return missing(request).await;
    }
    let mut response = page(&request, &path, StatusCode::OK)?;
    // Pages of other origins may use the browser library straight from here; there is nothing private in it.
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(response)
}

/// Everything else: a page for people, a problem for programs.
pub async fn missing(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads || !accept.is_some_and(|accept| accept.contains("text/html")) {
        return Err(Code::NotFound.into());
    }
    page(&request, "404.html", StatusCode::NOT_FOUND)
}

fn page(request: &HttpRequest, path: &str, status: StatusCode) -> Result<HttpResponse, Problem> {
    let file: EmbeddedFile = Files::get(path).ok_or(Code::NotFound)?;
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let is_page = kind.subtype() == "html";
    let bytes = if is_page { with_icons(&file)? } else { file.data.into_owned() };
    let tag = EntityTag::new_strong(hex(&Sha256::digest(&bytes)[..16]));
    let mut response = HttpResponse::build(status);
    response
        .insert_header((ETAG, tag.to_string()))
        // A new version of the node must never meet scripts of the old one.
        .insert_header((CACHE_CONTROL, "no-cache"));
    if status == StatusCode::OK && is_fresh(request, &tag) {
        return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
    }
    response.insert_header(ContentType(kind));
    if is_page {
        response.insert_header((CONTENT_SECURITY_POLICY, POLICY)).insert_header((
            "Permissions-Policy",
            "camera=(self), microphone=(self), display-capture=(self)",
        ));
    }
    Ok(response.body(bytes))
}

fn with_icons(page: &EmbeddedFile) -> Result<Vec<u8>, Problem> {
    let icons = Files::get("img/icons.svg").ok_or(Code::NotFound)?;
    let page = String::from_utf8_lossy(&page.data);
    Ok(page.replacen(ICONS, &String::from_utf8_lossy(&icons.data), 1).into_bytes())
}

fn is_fresh(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|item| item.weak_eq(tag)),
        Err(_) => false,
    }
}
