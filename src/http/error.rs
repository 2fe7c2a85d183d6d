//! Refusals over HTTP: `application/problem+json` (RFC 9457) with the codes of the sockets.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    error::QueryPayloadError,
    http::{StatusCode, header},
};
use serde_json::json;

use crate::protocol::{Code, Refusal};

/// A refusal as an HTTP answer.
#[derive(Debug)]
pub struct Problem(Refusal);

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self(code.into())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        let status = self.0.code.row().http.and_then(|status| StatusCode::from_u16(status).ok());
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if let Some(wait_ms) = self.0.retry_after_ms {
            response.insert_header((header::RETRY_AFTER, wait_ms.div_ceil(1000)));
        }
        if self.0.code == Code::MethodNotAllowed {
            response.insert_header((header::ALLOW, "GET, HEAD"));
        }
        if self.0.code == Code::UpgradeRequired {
            // RFC 9110 §15.5.22 wants the protocol to be named.
            response.insert_header((header::UPGRADE, "websocket"));
        }
        response.content_type("application/problem+json").json(json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.0.message(),
            "code": self.0.code,
            "retryable": self.0.code.row().retryable,
        }))
    }
}

/// Every method that a path does not serve.
pub async fn method_not_allowed() -> Result<HttpResponse, Problem> {
    Err(Code::MethodNotAllowed.into())
}

/// A query that is not what its route takes.
pub fn bad_query(error: &QueryPayloadError) -> Problem {
    Refusal::because(Code::Malformed, error.to_string()).into()
}
