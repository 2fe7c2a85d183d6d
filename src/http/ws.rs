//! `GET /ws`, `GET /recording`: a request becomes a peer's or a recorder's connection.

use std::num::NonZeroU32;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ORIGIN, UPGRADE},
    web::{Data, Payload},
};
use governor::{Quota, RateLimiter};

use super::{client::Permit, error::Problem, state::HttpState};
use crate::{
    actors::{
        frame_guard::Allowance,
        peer_session::PeerSession,
        recorder_session::RecorderSession,
        socket::{self, SocketConfig},
    },
    protocol::{Code, Refusal, chunk, limits},
};

/// Frames for each message that the limits allow: fragments, pings and pongs come on top of messages.
const FRAMES_PER_MESSAGE: u32 = 2;

/// Frames a second of a recorder, and at once. Far above what anybody records: a backlog is held back by the chunks that
/// are under way, not by this, which ends what is no recorder.
const RECORDER_FRAMES: (u32, u32) = (5000, 10_000);

/// Upgrades to a WebSocket that speaks the recording protocol.
pub async fn recorder(
    request: HttpRequest,
    payload: Payload,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let permit = admit(&request, &state)?;
    let recorder = RecorderSession::new(
        state.next_connection(),
        state.recording.clone(),
        socket::kill_switch(&request),
        state.metrics.clone(),
    );
    let config = SocketConfig {
        message_bytes_max: limits::CHUNK_BYTES_MAX + chunk::HEADER_BYTES,
        frame_allowance: allowance(quota(RECORDER_FRAMES.0, RECORDER_FRAMES.1)),
        mailbox: limits::RECORDER_MAILBOX,
        ping_interval: state.limits.ping_interval,
        ping_timeout: state.limits.ping_timeout,
        metrics: state.metrics.clone(),
    };
    socket::start(&request, payload, recorder, config, permit)
        .map_err(|error| refused(&state, Refusal::because(Code::Malformed, error.to_string())))
}

/// Upgrades to a WebSocket that speaks the signaling protocol.
pub async fn peer(
    request: HttpRequest,
    payload: Payload,
    state: Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let permit = admit(&request, &state)?;
    let limits = &state.limits;
    let messages = quota(limits.messages_per_sec, limits.messages_burst);
    let frames =
        quota(limits.messages_per_sec * FRAMES_PER_MESSAGE, limits.messages_burst * FRAMES_PER_MESSAGE);
    let peer = PeerSession::new(
        state.next_connection(),
        state.rooms.clone(),
        socket::kill_switch(&request),
        messages,
        state.metrics.clone(),
    );
    let config = SocketConfig {
        message_bytes_max: limits::FRAME_BYTES_MAX,
        frame_allowance: allowance(frames),
        mailbox: limits::CONNECTION_MAILBOX,
        ping_interval: limits.ping_interval,
        ping_timeout: limits.ping_timeout,
        metrics: state.metrics.clone(),
    };
    socket::start(&request, payload, peer, config, permit)
        .map_err(|error| refused(&state, Refusal::because(Code::Malformed, error.to_string())))
}

/// Lets a request become a connection, which counts as its client's for as long as it holds the permit.
fn admit(request: &HttpRequest, state: &HttpState) -> Result<Permit, Problem> {
    let permit = may_connect(request, state).and_then(|()| state.connections.admit(request));
    permit.map_err(|refusal| refused(state, refusal))
}

fn refused(state: &HttpState, refusal: Refusal) -> Problem {
    state.metrics.connections_refused.with_label_values(&[refusal.code.name()]).inc();
    refusal.into()
}

fn may_connect(request: &HttpRequest, state: &HttpState) -> Result<(), Refusal> {
    if !request.headers().contains_key(UPGRADE) {
        return Err(Code::UpgradeRequired.into());
    }
    if !state.allows_origin(request.headers().get(ORIGIN)) {
        return Err(Code::OriginRefused.into());
    }
    if state.is_draining() {
        return Err(Code::Draining.into());
    }
    Ok(())
}

fn quota(per_second: u32, burst: u32) -> Quota {
    let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst))
}

fn allowance(quota: Quota) -> Allowance {
    let limiter = RateLimiter::direct(quota);
    Box::new(move || limiter.check().is_ok())
}
