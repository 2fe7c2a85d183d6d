//! Floor 4: HTTP. The table of routes is this page; each route's handler is a few lines in the file it names.

mod client;
mod error;
mod health;
mod ice;
mod measure;
mod pages;
mod rooms;
mod state;
mod ws;

use actix_web::{
    guard,
    middleware::DefaultHeaders,
    web::{self, ServiceConfig},
};

pub use self::{client::Connections, error::Problem, measure::request as measure_request, state::HttpState};

/// Every route of a node.
pub fn routes(app: &mut ServiceConfig) {
    app.route("/ws", web::get().to(ws::peer))
        .route("/api/ice-servers", web::get().to(ice::list))
        .route("/api/rooms", web::get().to(rooms::list))
        .route("/api/rooms/{room}", web::get().to(rooms::show))
        .route("/health", web::get().to(health::all))
        .route("/health/live", web::get().to(health::live))
        .route("/health/ready", web::get().to(health::ready))
        .route("/health/info", web::get().to(health::info))
        .route("/health/cluster", web::get().to(health::cluster))
        .route("/metrics", web::get().to(measure::metrics))
        .route("/", get_or_head().to(pages::landing))
        .route("/room/{room}", get_or_head().to(pages::room))
        .route("/favicon.ico", get_or_head().to(pages::favicon))
        .route("/static/{path:.*}", get_or_head().to(pages::asset))
        .default_service(web::route().to(pages::missing));
}

fn get_or_head() -> actix_web::Route {
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
