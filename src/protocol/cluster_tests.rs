//! What stands in an inbox, and what has no place in one.

use super::*;

fn read(json: &str) -> Option<Inbox> {
    serde_json::from_str(json).ok()
}

#[test]
fn a_hint_is_read_as_it_was_written() {
    let record_id = RecordId::parse("talk").expect("a name");
    let token = TokenDigest::parse(&"07".repeat(32)).expect("a digest");
    let requested =
        format!(r#"{{"Hint":{{"Requested":{{"record_id":"talk","token":"{}"}}}}}}"#, "07".repeat(32));
    let stopped = r#"{"Hint":{"Stopped":{"record_id":"talk"}}}"#.to_owned();
    for (hint, json) in [
        (Hint::Requested { record_id: record_id.clone(), token }, requested),
        (Hint::Stopped { record_id }, stopped),
    ] {
        let inbox = Inbox::Hint(hint);
        assert_eq!(serde_json::to_string(&inbox).expect("it can be written"), json);
        assert_eq!(read(&json), Some(inbox));
    }
}

#[test]
fn what_names_no_recording_or_is_of_another_version_is_not_read() {
    let long = format!(r#"{{"Hint":{{"Stopped":{{"record_id":"{}"}}}}}}"#, "a".repeat(65));
    for json in [
        r#"{"Hint":{"Stopped":{"record_id":"../talk"}}}"#,
        r#"{"Hint":{"Stopped":{"record_id":""}}}"#,
        r#"{"Hint":{"Stopped":{}}}"#,
        r#"{"Hint":{"Requested":{"record_id":"talk"}}}"#,
        r#"{"Hint":{"Requested":{"record_id":"talk","token":"07"}}}"#,
        r#"{"Hint":{"Paused":{"record_id":"talk"}}}"#,
        r#"{"Hint":"Stopped"}"#,
        r#"{"Gossip":{"record_id":"talk"}}"#,
        &long,
    ] {
        assert_eq!(read(json), None, "{json}");
    }
}
