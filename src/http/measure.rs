//! `GET /metrics`, and the measuring of every request.

use std::time::Instant;

use actix_web::{
    Error, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::CONTENT_TYPE,
    middleware::Next,
    web::Data,
};
use tracing::{debug, error};

use super::{error::Problem, state::HttpState};
use crate::protocol::Code;

/// Everything that is counted, in the text format of Prometheus.
pub async fn metrics(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let text = state.metrics.render().map_err(|failure| {
        error!(%failure, "the metrics could not be written");
        Problem::from(Code::Internal)
    })?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4")).body(text))
}

/// Middleware: how long each request took, by route and not by path, so that series stay few.
pub async fn request(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let began = Instant::now();
    let metrics = request.app_data::<Data<HttpState>>().map(|state| state.metrics.clone());
    let method = method_label(request.method().as_str());
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let answer = next.call(request).await;
    let status = match &answer {
        Ok(response) => response.status(),
        Err(failure) => failure.as_response_error().status_code(),
    };
    debug!(method, route, status = status.as_u16(), "request");
    if let Some(metrics) = metrics {
        let class = format!("{}xx", status.as_u16() / 100);
        let labels = [method, &route, &class];
        metrics.http_duration.with_label_values(&labels).observe(began.elapsed().as_secs_f64());
        if status.as_u16() >= 400 {
            metrics.http_errors.with_label_values(&[route.as_str(), status.as_str()]).inc();
        }
    }
    answer
}

/// A client may send any word as a method; a label may not.
fn method_label(method: &str) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}
