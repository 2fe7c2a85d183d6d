//! One example of every message of `/recording`, as it is on the wire.

use greenroom::protocol::{
    Code, Fence, RecordId, Refusal,
    chunk::ChunkIndex,
    limits,
    recorder::{
        Gap, Merging, Ready, RecorderEvent, RecorderLimits, RecordingState, Started, Success, VideoKey,
    },
};

/// Every command, one of each.
pub const COMMANDS: [(&str, &str); 5] = [
    (
        "start",
        r#"{"type":"start","recordId":"tuesday","mimeType":"video/webm;codecs=vp9,opus","framing":"indexed","roomName":"blue","title":"Tuesday <3","owner":"ada"}"#,
    ),
    ("start, the least", r#"{"type":"start","mimeType":"video/webm"}"#),
    (
        "start, to go on",
        r#"{"type":"start","mimeType":"video/webm;codecs=vp9,opus","framing":"indexed","uploadToken":"tuesday.0707…"}"#,
    ),
    ("stop", r#"{"type":"stop","recordId":"tuesday","chunks":30,"bytes":9301221}"#),
    ("abort", r#"{"type":"abort","recordId":"tuesday"}"#),
];

/// Every event, one of each and its variants.
pub fn events() -> Vec<(&'static str, RecorderEvent)> {
    let record_id = || RecordId::parse("tuesday").expect("valid");
    let error = |code: Code, missing: Option<(Vec<u32>, u32)>| {
        let (missing_chunks, total_expected) = missing.unzip();
        let problem = (&Refusal::from(code)).into();
        RecorderEvent::RecordingError {
            record_id: Some(record_id()),
            problem,
            missing_chunks,
            total_expected,
        }
    };
    vec![
        ("started", RecorderEvent::Started(started(record_id()))),
        (
            "chunkAck",
            RecorderEvent::ChunkAck {
                record_id: record_id(),
                index: ChunkIndex::new(7).expect("in range"),
                status: Success::Success,
            },
        ),
        (
            "chunkError",
            RecorderEvent::ChunkError {
                record_id: Some(record_id()),
                index: Some(7),
                problem: (&Refusal::from(Code::StorageFull)).into(),
                retry_after_ms: Some(2000),
            },
        ),
        ("finished", RecorderEvent::Finished { record_id: record_id(), chunks: 30 }),
        ("mergeProgress", RecorderEvent::MergeProgress { record_id: record_id(), percent: 42 }),
        ("recordingReady", RecorderEvent::RecordingReady(Box::new(ready(record_id())))),
        ("recordingError", error(Code::MergeFailed, None)),
        ("recordingError, a stop that came too early", error(Code::ChunksMissing, Some((vec![12, 29], 30)))),
    ]
}

fn started(record_id: RecordId) -> Started {
    Started {
        record_id,
        upload_token: "tuesday.0707…".to_owned(),
        next_index: 30,
        missing: vec![12],
        limits: RecorderLimits {
            max_chunk_bytes: limits::CHUNK_BYTES_MAX,
            max_in_flight: limits::CHUNKS_IN_FLIGHT_MAX,
            max_duration_ms: Some(14_400_000),
        },
        grace_ms: 5000,
        state: RecordingState::Recording,
        merging: Merging::Available,
    }
}

fn ready(record_id: RecordId) -> Ready {
    let fence = Fence(1_700_000_036_214);
    let key = VideoKey::new(&record_id, fence, "webm");
    let poster = VideoKey::new(&record_id, fence, "jpg");
    Ready {
        record_id,
        download_url: key.link(""),
        poster_url: Some(poster.link("")),
        key,
        duration_ms: 30_021,
        size_bytes: 9_300_112,
        mime_type: r#"video/webm;codecs="vp9,opus""#.to_owned(),
        sha256: Some("07".repeat(32)),
        complete: false,
        gaps: vec![Gap { from_ms: 12_003, to_ms: 13_020, chunks: vec![12] }],
        version: 1,
    }
}
