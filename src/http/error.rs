//! Refusals over HTTP: `application/problem+json` (RFC 9457) with the codes of the sockets.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    error::QueryPayloadError,
    http::{StatusCode, header},
};
use serde_json::{Map, Value, json};

use crate::protocol::{Code, Refusal};

/// A refusal as an HTTP answer.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    refusal: Refusal,
    /// Members beside those that every problem has (RFC 9457 §3.2).
    more: Map<String, Value>,
    /// A header that this refusal must have.
    header: Option<(header::HeaderName, String)>,
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Refusal::from(code).into()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let header = match refusal.code {
            // RFC 9110 §15.5.22 wants the protocol to be named.
            Code::UpgradeRequired => Some((header::UPGRADE, "websocket".to_owned())),
            // RFC 9110 §15.5.2 wants the scheme to be named.
            Code::Unauthorised => Some((header::WWW_AUTHENTICATE, "Bearer".to_owned())),
            _ => None,
        };
        Self(Box::new(Parts { refusal, more: Map::new(), header }))
    }
}

impl Problem {
    /// Which row of the table.
    pub fn code(&self) -> Code {
        self.0.refusal.code
    }

    /// The same problem with one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// The same problem with a header.
    #[must_use]
    pub fn with_header(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.0.header = Some((name, value.into()));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.refusal.message())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        let status = self.0.refusal.code.row().http.and_then(|status| StatusCode::from_u16(status).ok());
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if let Some(wait_ms) = self.0.refusal.retry_after_ms {
            response.insert_header((header::RETRY_AFTER, wait_ms.div_ceil(1000)));
        }
        if let Some((name, value)) = &self.0.header {
            response.insert_header((name.clone(), value.as_str()));
        }
        if self.0.refusal.code == Code::TooLarge {
            // What was announced is on its way; nobody will read it.
            response.force_close();
        }
        let mut members = self.0.more.clone();
        let common = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.0.refusal.message(),
            "code": self.0.refusal.code,
            "retryable": self.0.refusal.code.row().retryable,
        });
        members.extend(common.as_object().cloned().unwrap_or_default());
        response.content_type("application/problem+json").json(members)
    }
}

/// Every method that a path does not serve; `allowed` are those it does (RFC 9110 §10.2.1).
pub async fn method_not_allowed(allowed: &'static str) -> Result<HttpResponse, Problem> {
    Err(Problem::from(Code::MethodNotAllowed).with_header(header::ALLOW, allowed))
}

/// A query that is not what its route takes.
pub fn bad_query(error: &QueryPayloadError) -> Problem {
    Refusal::because(Code::Malformed, error.to_string()).into()
}
