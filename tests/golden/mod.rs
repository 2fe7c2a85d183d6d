//! One example of every message of `/ws`, as it is on the wire; those of `/recording` stand beside it.

pub mod recorder;

use greenroom::{
    domain::{
        clock::Now,
        ice::{IceServers, Turn},
    },
    protocol::{
        Code, CommandId, NodeId, Refusal, ResumeToken, RoomName, SessionId, UserId,
        command::{MediaKind, RelayKind, Username},
        event::{
            Body, LeaveReason, ParticipantView, PeerEvent, Presence, Resumed, Role, SharedJson, Welcome,
        },
        limits::{Limits, PeerLimits},
        metadata::Metadata,
    },
};
use serde_json::value::RawValue;
use uuid::Uuid;

/// Every command, one of each.
pub const COMMANDS: [(&str, &str); 16] = [
    (
        "Join",
        r#"{"type":"Join","room_name":"blue","user_id":"ada","username":"Ada","metadata":{"audio":true},"id":"1"}"#,
    ),
    ("Join, the least", r#"{"type":"Join","room_name":"blue"}"#),
    (
        "Resume",
        r#"{"type":"Resume","session_id":"67e55044-10b1-426f-9247-bb680e5fe0c8","resume_token":"0707…","last_seq":12}"#,
    ),
    ("Leave", r#"{"type":"Leave","id":2}"#),
    ("Offer", r#"{"type":"Offer","target_user_id":"bob","sdp":"v=0\r\n…","room_name":"blue","id":"3"}"#),
    ("Answer", r#"{"type":"Answer","target_user_id":"bob","sdp":"v=0\r\n…"}"#),
    (
        "IceCandidate",
        r#"{"type":"IceCandidate","target_user_id":"bob","candidate":{"candidate":"candidate:1 1 udp …","sdpMid":"0"}}"#,
    ),
    (
        "IceCandidate, the end of candidates",
        r#"{"type":"IceCandidate","target_user_id":"bob","candidate":null}"#,
    ),
    ("Message to everyone else", r#"{"type":"Message","data":{"kind":"chat","text":"hello"}}"#),
    ("Message to one", r#"{"type":"Message","target_user_id":42,"data":"any JSON"}"#),
    ("Update", r#"{"type":"Update","metadata":{"audio":false,"hand":null}}"#),
    ("Kick", r#"{"type":"Kick","target_user_id":"bob"}"#),
    ("Lock", r#"{"type":"Lock","locked":true}"#),
    ("Mute", r#"{"type":"Mute","target_user_id":"bob","kind":"audio"}"#),
    ("Ack", r#"{"type":"Ack","seq":12}"#),
    ("Ping", r#"{"type":"Ping","id":"p1"}"#),
];

struct Sample {
    room: RoomName,
    ada: UserId,
    bob: UserId,
    name: Username,
    metadata: Metadata,
    node: NodeId,
    ice: SharedJson,
}

impl Sample {
    fn new() -> Self {
        let user = |text| UserId::parse(text).expect("valid");
        let turn = Turn {
            urls: vec!["turn:turn.example.org:3478".into()],
            secret: "north".into(),
            ttl: std::time::Duration::from_secs(3600),
        };
        let fixed = r#"[{"urls":"stun:stun.example.org"}]"#;
        let noon = Now { mono: std::time::Duration::ZERO, wall_ms: 1_700_000_000_000 };
        Self {
            room: RoomName::parse("blue").expect("valid"),
            ada: user("ada"),
            bob: user("bob"),
            name: Username::parse("Bob <b>").ok().flatten().expect("valid"),
            metadata: serde_json::from_str(r#"{"audio":true}"#).expect("an object"),
            node: NodeId::parse("node-1.example").expect("valid"),
            ice: IceServers::parse(fixed, Some(turn)).expect("valid").for_user(&user("ada"), noon),
        }
    }

    fn bob(&self, state: Presence) -> ParticipantView<'_> {
        ParticipantView {
            user_id: &self.bob,
            username: &self.name,
            role: Role::Participant,
            state,
            metadata: &self.metadata,
        }
    }

    fn welcome(&self) -> Welcome<'_> {
        Welcome {
            room_name: &self.room,
            user_id: &self.ada,
            session_id: SessionId::new(Uuid::from_u128(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8)),
            resume_token: ResumeToken::new([7; 32]).to_text(&self.room, &self.ada, 1_700_000_000_000),
            role: Role::Moderator,
            participants: vec![self.bob(Presence::Present)],
            locked: false,
            recording: false,
            ice_servers: &self.ice,
            node_id: &self.node,
            limits: PeerLimits::from(&Limits::default()),
            heartbeat_ms: 10_000,
            isolated: false,
        }
    }
}

/// Every event, one of each and its variants, numbered in turn.
pub fn events() -> Vec<(&'static str, String)> {
    let sample = Sample::new();
    let (room_name, id) = (&sample.room, &CommandId::Text("3".into()));
    let kind: MediaKind = serde_json::from_str(r#""audio""#).expect("valid");
    let full = Refusal::from(Code::RoomFull);
    let fast = Refusal::from(Code::RateLimited).retry_after_ms(20);
    let mut bodies = vec![
        ("RoomJoined", Body::of(&PeerEvent::RoomJoined(sample.welcome()))),
        ("Resumed, nothing lost", Body::of(&PeerEvent::Resumed(Resumed::Full))),
        ("Resumed, with a snapshot", Body::of(&PeerEvent::Resumed(Resumed::Snapshot(sample.welcome())))),
        ("UserJoined", Body::of(&PeerEvent::UserJoined { room_name, user: sample.bob(Presence::Present) })),
        ("UserUpdated", Body::of(&PeerEvent::UserUpdated { room_name, user: sample.bob(Presence::Suspect) })),
        ("RoomState", Body::of(&PeerEvent::RoomState { room_name, locked: true, recording: false })),
        ("Muted", Body::of(&PeerEvent::Muted { room_name, kind: &kind, by: &sample.bob })),
        ("Accepted", Body::of(&PeerEvent::Accepted { id })),
        ("Error", Body::refusal(&full, Some(id))),
        ("Error, with a time to wait", Body::refusal(&fast, None)),
        ("Draining", Body::of(&PeerEvent::Draining { reconnect_after_ms: 730 })),
        ("Pong", Body::of(&PeerEvent::Pong { id: Some(&CommandId::Unsigned(4)) })),
    ];
    for (title, reason) in [
        ("UserLeft", LeaveReason::Left),
        ("UserLeft, its grace over", LeaveReason::Timeout),
        ("UserLeft, removed by a moderator", LeaveReason::Kicked),
    ] {
        bodies.push((title, Body::of(&PeerEvent::UserLeft { room_name, user_id: &sample.bob, reason })));
    }
    let payloads =
        [r#""v=0\r\n…""#, r#""v=0\r\n…""#, r#"{"candidate":"…","sdpMid":"0"}"#, r#"{"kind":"chat"}"#];
    for (kind, payload) in RelayKind::ALL.into_iter().zip(payloads) {
        let payload: &RawValue = serde_json::from_str(payload).expect("JSON");
        bodies.push((kind.name(), Body::relayed(kind, room_name, &sample.bob, payload)));
    }
    bodies.into_iter().zip(1..).map(|((title, body), seq)| (title, body.numbered(seq))).collect()
}
