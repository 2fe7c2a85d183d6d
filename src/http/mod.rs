//! Floor 4: HTTP. The table of routes is this page; each route's handler is a few lines in the file it names.

mod client;
mod downloads;
mod error;
mod health;
mod ice;
mod live;
mod measure;
mod overview;
mod pages;
mod recordings;
mod rooms;
mod state;
mod uploads;
mod ws;

use actix_web::{
    Resource, Route, guard,
    middleware::DefaultHeaders,
    web::{self, QueryConfig, ServiceConfig, delete, get, post, put},
};

pub use self::{
    client::Connections,
    error::Problem,
    measure::request as measure_request,
    overview::Overviews,
    state::{ClusterAccess, HttpState},
};

/// Every route of a node.
pub fn routes(app: &mut ServiceConfig) {
    app.app_data(QueryConfig::default().error_handler(|error, _| error::bad_query(&error).into()))
        .service(resource("/ws").route(get().to(ws::peer)))
        .service(resource("/recording").route(get().to(ws::recorder)))
        .service(
            resource_of("/recordings", "GET, HEAD, POST")
                .route(get_or_head().to(recordings::list))
                .route(post().to(uploads::start)),
        )
        .service(resource("/recordings/download/{key}").route(get_or_head().to(downloads::video)))
        .service(resource("/recordings/{id}/status").route(get_or_head().to(recordings::status)))
        .service(resource("/recordings/{id}/live").route(get_or_head().to(live::show)))
        .service(resource("/recordings/{id}/live/media").route(get_or_head().to(live::media)))
        .service(resource_of("/recordings/{id}", "DELETE").route(delete().to(recordings::delete)))
        .service(resource_of("/recordings/{id}/stop", "POST").route(post().to(uploads::stop)))
        .service(resource_of("/recordings/{id}/chunks", "POST").route(post().to(uploads::next_chunk)))
        .service(resource_of("/recordings/{id}/chunks/{index}", "PUT").route(put().to(uploads::chunk)))
        .service(resource("/api/ice-servers").route(get().to(ice::list)))
        .service(resource("/api/rooms").route(get().to(rooms::list)))
        .service(resource("/api/rooms/{room}").route(get().to(rooms::show)))
        .service(resource("/api/route").route(get().to(rooms::route)))
        .service(resource("/api/cluster").route(get().to(rooms::cluster)))
        .service(resource("/health").route(get().to(health::all)))
        .service(resource("/health/live").route(get().to(health::live)))
        .service(resource("/health/ready").route(get().to(health::ready)))
        .service(resource("/health/info").route(get().to(health::info)))
        .service(resource("/health/cluster").route(get().to(health::cluster)))
        .service(resource("/metrics").route(get().to(measure::metrics)))
        .service(resource("/").route(get_or_head().to(pages::landing)))
        .service(resource("/room/{room}").route(get_or_head().to(pages::room)))
        .service(resource("/recorder").route(get_or_head().to(pages::recorder)))
        .service(resource("/library").route(get_or_head().to(pages::library)))
        .service(resource("/status").route(get_or_head().to(pages::status)))
        .service(resource("/favicon.ico").route(get_or_head().to(pages::favicon)))
        .service(resource("/static/{path:.*}").route(get_or_head().to(pages::asset)))
        .default_service(web::to(pages::missing));
}

/// A path that is read, and refuses every other method.
fn resource(path: &str) -> Resource {
    resource_of(path, "GET, HEAD")
}

/// A path that refuses every method but those of its routes, which are named once more for the answer.
fn resource_of(path: &str, allowed: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || error::method_not_allowed(allowed)))
}

fn get_or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// What every answer carries.
#[must_use]
pub fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("Referrer-Policy", "same-origin"))
        .add(("X-Frame-Options", "DENY"))
}
