//! The ICE servers a browser is given, with TURN credentials that run out.
//!
//! The scheme is the one TURN servers call "REST API" (draft-uberti-behave-turn-rest-00; coturn
//! `use-auth-secret`): `username = <unix time of expiry>:<user>`, `credential = base64(HMAC-SHA1(secret, username))`.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json, value::to_raw_value};
use sha1::Sha1;

use super::clock::Now;
use crate::protocol::{UserId, event::SharedJson};

/// Which ICE servers there are.
#[derive(Debug, Clone, Default)]
pub struct IceServers {
    fixed: Vec<Value>,
    turn: Option<Turn>,
}

/// TURN servers that share a secret with this node.
#[derive(Clone)]
pub struct Turn {
    /// `turn:` and `turns:` addresses (RFC 7065).
    pub urls: Vec<String>,
    /// The secret shared with the servers.
    pub secret: String,
    /// How long credentials are good.
    pub ttl: Duration,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("urls", &self.urls).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl IceServers {
    /// Parses a JSON array of `RTCIceServer` (W3C WebRTC §4.2.4) and adds the TURN servers to it.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the array.
    pub fn parse(json: &str, turn: Option<Turn>) -> Result<Self, String> {
        let servers: Vec<Value> = serde_json::from_str(json)
            .map_err(|error| format!("must be a JSON array of ICE servers ({error})"))?;
        for (index, server) in servers.iter().enumerate() {
            let urls = match &server["urls"] {
                Value::String(_) => 1,
                Value::Array(urls) if urls.iter().all(Value::is_string) => urls.len(),
                _ => 0,
            };
            if urls == 0 {
                // Not the server itself: it may hold a credential.
                return Err(format!("has no `urls` in server {}", index + 1));
            }
        }
        Ok(Self { fixed: servers, turn })
    }

    /// The list for one user, as JSON.
    #[must_use]
    pub fn for_user(&self, user: &UserId, now: Now) -> SharedJson {
        let mut servers = self.fixed.clone();
        servers.extend(self.turn.as_ref().map(|turn| turn.credentials(user, now)));
        // A vector of JSON values always serialises.
        to_raw_value(&servers).map_or_else(|_| Arc::from(empty_list()), Arc::from)
    }
}

fn empty_list() -> Box<serde_json::value::RawValue> {
    to_raw_value(&[(); 0]).unwrap_or_default()
}

impl Turn {
    fn credentials(&self, user: &UserId, now: Now) -> Value {
        let expiry = now.wall_ms / 1000 + self.ttl.as_secs();
        let username = format!("{expiry}:{user}");
        // HMAC takes a key of any length, so this is always a MAC.
        let credential = Hmac::<Sha1>::new_from_slice(self.secret.as_bytes()).map(|mut mac| {
            mac.update(username.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        });
        json!({ "urls": self.urls, "username": username, "credential": credential.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Now = Now { mono: Duration::ZERO, wall_ms: 1_700_000_000_000 };

    fn user() -> UserId {
        UserId::parse("ada").expect("valid")
    }

    #[test]
    fn turn_credentials_are_those_a_turn_server_computes() {
        let turn = Turn {
            urls: vec!["turn:turn.example:3478".into()],
            secret: "north".into(),
            ttl: Duration::from_secs(3600),
        };
        let servers = IceServers::parse("[]", Some(turn)).expect("valid");
        let json: Value = serde_json::from_str(servers.for_user(&user(), NOON).get()).expect("json");
        assert_eq!(json[0]["username"], "1700003600:ada");
        // printf 1700003600:ada | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(json[0]["credential"], "xnSlQG4JwD6eDlwPBFdbTt6sTJk=");
    }

    #[test]
    fn a_server_needs_addresses() {
        assert!(IceServers::parse(r#"[{"urls":"stun:stun.example"}]"#, None).is_ok());
        assert!(IceServers::parse(r#"[{"urls":["stun:a","stun:b"]}]"#, None).is_ok());
        for bad in ["{}", "[{}]", r#"[{"urls":[]}]"#, r#"[{"urls":[1]}]"#, "stun:a"] {
            assert!(IceServers::parse(bad, None).is_err(), "{bad}");
        }
    }
}
