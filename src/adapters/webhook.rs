//! The application's webhook: an HTTP request for each event, signed so that it can be told from anybody else's.
//!
//! The scheme is that of Standard Webhooks: `webhook-id` names the event, `webhook-timestamp` this try, and
//! `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. One request is one try: who tries
//! again, and when to stop, is for the keeper to decide.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, StatusCode, Url, header, redirect};
use sha2::Sha256;

use super::ports::OutboxEvent;

/// How long a connection to the application may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that a whole try may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Of an answer's body no more is read than this: it says nothing that counts. Unit: bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// Before a secret that is written in base64.
const ENCODED: &str = "whsec_";

/// Who is told of recordings, and by what they know that it is us.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where it is told.
    pub url: String,
    /// With what it is signed: `whsec_` and base64, or any text.
    pub secret: String,
}

impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSettings").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why there can be no webhook with these settings.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The address is none.
    #[error("it is no address: {0}")]
    Url(String),
    /// The secret says that it is written in base64, and is not.
    #[error("WEBHOOK_SECRET begins with whsec_, but what follows is not base64")]
    Secret,
    /// This machine can make no such requests.
    #[error("nothing can be called from here: {0}")]
    Client(String),
}

/// What became of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The application has it (2xx).
    Taken,
    /// The application wants it no more, ever (410).
    Gone,
    /// The application did not take it; this was its answer. A redirect is none that is followed.
    Refused(u16),
    /// There was no answer, and why.
    Unreachable(String),
}

/// Sends events. Cheap to clone.
#[derive(Clone)]
pub struct Webhook {
    client: Client,
    url: Url,
    signer: Hmac<Sha256>,
}

impl Webhook {
    /// A webhook with these settings.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn new(settings: WebhookSettings) -> Result<Self, WebhookError> {
        let WebhookSettings { url, secret } = settings;
        let url = Url::parse(&url).map_err(|error| WebhookError::Url(error.to_string()))?;
        // A redirect could lead where the operator did not want anything to be sent, and a proxy is a setting like others.
        let client = Client::builder()
            .user_agent(concat!("greenroom/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build();
        let client = client.map_err(|error| WebhookError::Client(in_words(&error)))?;
        Ok(Self { client, url, signer: signer(&secret)? })
    }

    /// Tries once to deliver an event, at this time. Unit: Unix seconds.
    pub async fn deliver(&self, event: &OutboxEvent, second: u64) -> Delivery {
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", second)
            .header("webhook-signature", signature(&self.signer, &event.id, second, &event.body))
            .body(event.body.clone());
        match request.send().await {
            Ok(mut answer) => {
                let status = answer.status();
                let mut left = ANSWER_BYTES_MAX;
                // So that the connection can be used again; whatever comes of it, the status was the answer.
                while let Ok(Some(piece)) = answer.chunk().await
                    && piece.len() < left
                {
                    left -= piece.len();
                }
                judge(status)
            }
            Err(error) => Delivery::Unreachable(in_words(&error)),
        }
    }
}

fn judge(status: StatusCode) -> Delivery {
    match status {
        status if status.is_success() => Delivery::Taken,
        StatusCode::GONE => Delivery::Gone,
        status => Delivery::Refused(status.as_u16()),
    }
}

fn signer(secret: &str) -> Result<Hmac<Sha256>, WebhookError> {
    let key = match secret.strip_prefix(ENCODED) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| WebhookError::Secret)?,
        None => secret.as_bytes().to_vec(),
    };
    Hmac::new_from_slice(&key).map_err(|_| WebhookError::Secret)
}

fn signature(signer: &Hmac<Sha256>, id: &str, second: u64, body: &str) -> String {
    let signer = signer.clone().chain_update(format!("{id}.{second}.")).chain_update(body);
    format!("v1,{}", STANDARD.encode(signer.finalize().into_bytes()))
}

/// With its causes, of which the last says most, and without the address: it may hold a password.
fn in_words(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut words = if error.is_timeout() { "no answer in time".to_owned() } else { "no answer".to_owned() };
    for cause in causes {
        words.push_str(": ");
        words.push_str(&cause.to_string());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the libraries of Standard Webhooks are tested by.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_signature_is_that_of_the_scheme() {
        let signer = signer(SECRET).expect("a secret");
        let signed =
            signature(&signer, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused() {
        let with = |url: &str, secret: &str| {
            let settings = WebhookSettings { url: url.to_owned(), secret: secret.to_owned() };
            Webhook::new(settings).err().map(|error| error.to_string())
        };
        assert_eq!(with("https://app.example.org/recordings", SECRET), None);
        assert_eq!(with("http://app.example.org/", "any text"), None);
        assert!(with("https://", SECRET).is_some_and(|words| words.contains("no address")));
        assert!(with("https://app.example.org", "whsec_*").is_some_and(|words| words.contains("SECRET")));
    }

    #[test]
    fn what_is_shown_of_settings_holds_no_secret() {
        let settings = WebhookSettings { url: "http://app".to_owned(), secret: "north".to_owned() };
        assert!(!format!("{settings:?}").contains("north"));
    }

    #[test]
    fn only_success_is_taken() {
        let judged = |status| judge(StatusCode::from_u16(status).expect("a status"));
        assert_eq!([judged(200), judged(204)], [Delivery::Taken, Delivery::Taken]);
        assert_eq!(judged(410), Delivery::Gone);
        for status in [302, 400, 404, 429, 500] {
            assert_eq!(judged(status), Delivery::Refused(status));
        }
    }
}
