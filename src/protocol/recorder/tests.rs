use super::*;
use crate::protocol::{Code, Fence, RecordId, Refusal, chunk::ChunkIndex, limits};

fn code(text: &str) -> Code {
    parse(text).expect_err("refused").code
}

#[test]
fn a_start_is_read_with_what_it_leaves_out() {
    let text = r#"{"type":"start","mimeType":"video/webm;codecs=vp9,opus","unknown":1}"#;
    let Ok(RecorderCommand::Start(start)) = parse(text) else { panic!("a start") };
    assert_eq!(start.framing, Framing::Raw, "the default");
    assert_eq!(start.mime_type.as_str(), "video/webm;codecs=vp9,opus");
    assert!(start.record_id.is_none() && start.upload_token.is_none() && start.title.is_none());
}

#[test]
fn a_stop_says_how_much_was_made_or_does_not() {
    let stop = |text| match parse(text) {
        Ok(RecorderCommand::Stop(stop)) => stop.made,
        other => panic!("{other:?}"),
    };
    assert_eq!(stop(r#"{"type":"stop","recordId":"a"}"#), Made::default());
    let made = Made { chunks: Some(3), bytes: Some(1 << 40) };
    assert_eq!(stop(r#"{"type":"stop","recordId":"a","chunks":3,"bytes":1099511627776}"#), made);
    assert_eq!(code(r#"{"type":"stop","recordId":"a","chunks":-1}"#), Code::Malformed);
    assert_eq!(code(r#"{"type":"stop"}"#), Code::Malformed);
}

#[test]
fn each_fault_has_its_code() {
    let start = |mime: &str| format!(r#"{{"type":"start","mimeType":"{mime}"}}"#);
    for bad in ["text/html", "video/ogg", "", "video/webm\u{e9}", &format!("video/webm;{}", "x".repeat(200))]
    {
        assert_eq!(code(&start(bad)), Code::UnsupportedType, "{bad}");
    }
    assert_eq!(code(r#"{"type":"start"}"#), Code::Malformed);
    assert_eq!(code(r#"{"type":"start","mimeType":7}"#), Code::Malformed);
    assert_eq!(code(r#"{"type":"start","mimeType":"video/webm","recordId":"../etc"}"#), Code::Malformed);
    assert_eq!(code(r#"{"type":"begin"}"#), Code::Unsupported);
    assert_eq!(code("nonsense"), Code::Malformed);
    assert_eq!(code(&"[".repeat(40)), Code::TooDeep);
    assert_eq!(code(&" ".repeat(limits::RECORDER_TEXT_BYTES_MAX + 1)), Code::TooLarge);
    let title = format!(r#"{{"type":"start","mimeType":"video/webm","title":"{}"}}"#, "x".repeat(201));
    assert_eq!(code(&title), Code::Malformed);
}

#[test]
fn a_token_that_nobody_gave_out_is_read_and_will_match_nothing() {
    let text = r#"{"type":"start","mimeType":"video/webm","uploadToken":"made up"}"#;
    let Ok(RecorderCommand::Start(start)) = parse(text) else { panic!("a start") };
    assert!(matches!(start.upload_token, Some(SentToken(None))));
}

#[test]
fn an_event_is_tagged_and_in_camel_case() {
    let index = ChunkIndex::new(7).expect("in range");
    let record_id = RecordId::parse("a").expect("valid");
    let ack = RecorderEvent::ChunkAck { record_id, index, status: Success::Success };
    let text = serde_json::to_string(&ack).expect("JSON");
    assert_eq!(text, r#"{"type":"chunkAck","recordId":"a","index":7,"status":"success"}"#);
    let error = RecorderEvent::RecordingError {
        record_id: None,
        problem: (&Refusal::from(Code::ChunksMissing)).into(),
        missing_chunks: Some(vec![3]),
        total_expected: Some(9),
    };
    let text = serde_json::to_string(&error).expect("JSON");
    assert!(text.starts_with(r#"{"type":"recordingError","code":"chunks_missing","error":"#), "{text}");
    assert!(text.ends_with(r#""retryable":true,"missingChunks":[3],"totalExpected":9}"#), "{text}");
}

#[test]
fn a_key_names_a_file_of_its_own_folder_and_nothing_else() {
    let id = RecordId::parse("tuesday").expect("valid");
    assert_eq!(VideoKey::new(&id, Fence(1), "webm").as_str(), "tuesday.1.webm");
    let second = VideoKey::new(&id, Fence(2), "mp4");
    assert_eq!(second.fence(), Fence(2));
    assert_eq!(VideoKey::parse("tuesday.2.mp4"), Some(second));
    let of_the_first_program = VideoKey::parse("tuesday.webm").expect("a key");
    assert_eq!(of_the_first_program.fence(), Fence(0));
    let sent = VideoKey::sent(&id, Fence(3), 0xab, "mkv");
    assert_eq!(sent.as_str(), "tuesday.3.00000000000000ab.mkv");
    assert_eq!((sent.fence(), sent.mark(), sent.record_id()), (Fence(3), Some("00000000000000ab"), Some(id)));
    assert_eq!((VideoKey::parse(sent.as_str()), of_the_first_program.mark()), (Some(sent), None));
    for bad in [
        "",
        "tuesday",
        "tuesday.exe",
        "../tuesday.webm",
        "a/b.webm",
        ".webm",
        "a.b.webm",
        "a.+1.webm",
        "a.01.webm",
        "a.1.ab.webm",
        "a.1.00000000000000AB.webm",
        "a.1.00000000000000ab.1.webm",
    ] {
        assert_eq!(VideoKey::parse(bad), None, "{bad}");
    }
}
