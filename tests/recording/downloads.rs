//! Downloads: ranges, validators, names.

use serde_json::json;

use crate::support::{Download, Node, Upload, ready, send, webm};

/// A node with one recording of this title.
struct Recorded {
    node: Node,
    /// Its video's name in the store.
    key: String,
    /// Its video's bytes.
    whole: Vec<u8>,
}

async fn recorded(title: &str) -> Recorded {
    let node = crate::node(&[]);
    let (upload, _) = Upload::start(node.address(), json!({ "recordId": "talk", "title": title })).await;
    assert_eq!(upload.put(0, webm()).await.status, 200);
    assert_eq!(upload.stop(json!({})).await.status, 202);
    let row = ready(node.address(), "talk").await;
    let key = row["key"].as_str().expect("a name").to_owned();
    let mut recorded = Recorded { node, key, whole: Vec::new() };
    let whole = recorded.fetch(&[]).await;
    assert_eq!(whole.status, 200);
    recorded.whole = whole.body;
    recorded
}

impl Recorded {
    async fn fetch(&self, headers: &[(&str, &str)]) -> Download {
        self.ask("GET", &self.key, headers).await
    }

    async fn ask(&self, method: &str, key: &str, headers: &[(&str, &str)]) -> Download {
        let line = format!("{method} /recordings/download/{key}");
        send(self.node.address(), &line, headers, b"").await
    }
}

#[tokio::test]
async fn a_part_of_a_video_can_be_asked_for() {
    let recorded = recorded("Ranges").await;
    let size = recorded.whole.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-199", 100, 200),
        ("bytes=-1", size - 1, size),
        ("bytes=-500", size - 500, size),
        (&format!("bytes={}-", size - 10), size - 10, size),
        (&format!("bytes=5-{}", size * 2), 5, size),
        ("bytes=0-", 0, size),
        (&format!("bytes=-{}", size * 2), 0, size),
    ] {
        let part = recorded.fetch(&[("Range", range)]).await;
        assert_eq!(part.status, 206, "{range}: {part:?}");
        assert_eq!(
            part.header("content-range"),
            Some(&*format!("bytes {from}-{}/{size}", to - 1)),
            "{range}"
        );
        assert_eq!(part.header("content-length"), Some(&*(to - from).to_string()), "{range}");
        assert!(part.body == recorded.whole[from..to], "{range}");
    }
}

#[tokio::test]
async fn a_range_that_is_not_there_is_refused_and_one_that_is_none_is_ignored() {
    let recorded = recorded("Ranges").await;
    let size = recorded.whole.len();
    for range in [format!("bytes={size}-"), format!("bytes={}-{}", size + 5, size + 9), "bytes=-0".into()] {
        let refused = recorded.fetch(&[("Range", &range)]).await;
        assert_eq!(refused.refusal(), (416, "range_not_satisfiable".into()), "{range}");
        assert_eq!(refused.header("content-range"), Some(&*format!("bytes */{size}")), "{range}");
    }
    // RFC 9110 §14.2: what cannot be read as a range, a unit that is not known, and several ranges may be ignored.
    for range in [
        "bytes=",
        "bytes=a-b",
        "bytes=5-2",
        "lines=0-1",
        "nonsense",
        "bytes 0-1",
        "bytes=0-1,5-6",
        "bytes=--1",
    ] {
        let answer = recorded.fetch(&[("Range", range)]).await;
        let whole_file = answer.status == 200 && answer.body == recorded.whole;
        let first_part = answer.status == 206 && answer.body == recorded.whole[0..2];
        let refused = answer.refusal() == (416, "range_not_satisfiable".into());
        assert!(whole_file || first_part || refused, "{range}: {answer:?}");
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let recorded = recorded("Validators").await;
    let first = recorded.fetch(&[]).await;
    let tag = first.header("etag").expect("a validator").to_owned();
    assert_eq!(first.header("accept-ranges"), Some("bytes"));
    assert_eq!(first.header("content-type"), Some("video/webm"));
    assert!(!tag.starts_with("W/"), "parts can be put together only by a strong validator: {tag}");
    let same = recorded.fetch(&[("If-None-Match", &tag)]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(recorded.fetch(&[("If-None-Match", "\"another\"")]).await.body.len(), recorded.whole.len());
    // A part, if it is still the same file; otherwise all of it.
    let part = recorded.fetch(&[("Range", "bytes=0-9"), ("If-Range", &tag)]).await;
    assert_eq!((part.status, part.body.len()), (206, 10));
    let all = recorded.fetch(&[("Range", "bytes=0-9"), ("If-Range", "\"another\"")]).await;
    assert_eq!((all.status, all.body.len()), (200, recorded.whole.len()), "another file now: {}", all.head);
}

#[tokio::test]
async fn head_says_the_same_without_the_body() {
    let recorded = recorded("Head").await;
    let (get, head) = (recorded.fetch(&[]).await, recorded.ask("HEAD", &recorded.key, &[]).await);
    assert_eq!((head.status, head.body.len()), (200, 0));
    for name in ["content-length", "content-type", "etag", "content-disposition", "accept-ranges"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    assert_eq!(head.header("content-length"), Some(&*recorded.whole.len().to_string()));
}

#[tokio::test]
async fn a_file_is_named_by_its_title() {
    let recorded = recorded("„Q3“ \"draft\" 🎬 a/b\\c; x=1").await;
    let answer = recorded.fetch(&[]).await;
    let disposition = answer.header("content-disposition").expect("a name");
    assert!(disposition.starts_with("attachment; "), "{disposition}");
    let extended = disposition.split("filename*=UTF-8''").nth(1).expect("RFC 8187");
    let name = percent_decoded(extended.split(';').next().unwrap());
    assert_eq!(name, "„Q3“ -draft- 🎬 a-b-c; x=1.webm");
    assert!(disposition.is_ascii());
    let plain = disposition
        .split("filename=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("for old programs");
    assert!(plain.ends_with(".webm") && !plain.contains(['/', '\\']), "{plain}");
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if let (b'%', [high, low, end @ ..]) = (first, after) {
            let digits = String::from_utf8(vec![*high, *low]).unwrap();
            bytes.push(u8::from_str_radix(&digits, 16).unwrap());
            rest = end;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn no_key_leads_out_of_the_folder() {
    let recorded = recorded("Escapes").await;
    let folder = recorded.node.folder();
    let secret = folder.join("secret.webm");
    std::fs::write(&secret, "a secret").unwrap();
    for name in ["linked.webm", "linked.1.webm"] {
        std::os::unix::fs::symlink(&secret, folder.join("recordings").join(name)).unwrap();
    }
    let real = &recorded.key;
    let nearly = ["%00", "%00.jpg", "/", "%20", ".part"].map(|end| format!("{real}{end}"));
    let nearly = nearly.iter().map(String::as_str);
    let elsewhere = [
        "%2e%2e/secret.webm",
        "..%2fsecret.webm",
        "%2e%2e%2fsecret.webm",
        "../secret.webm",
        "..%5csecret.webm",
        "....//secret.webm",
        "%252e%252e%252fsecret.webm",
        ".%2e/secret.webm",
        "%2e%2e",
        ".",
        "..",
        "%00",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "talk",
        "talk.",
        ".webm",
        "talk.exe",
        "talk.+1.webm",
        "talk.1.1.webm",
        "linked.webm",
        "linked.1.webm",
        &real.to_uppercase(),
        &real.replace("talk", "TALK"),
        "%ff.webm",
        "recordings.db",
        "..%c0%afsecret.webm",
    ];
    for key in elsewhere.into_iter().chain(nearly) {
        let answer = recorded.ask("GET", key, &[]).await;
        assert!([404, 400].contains(&answer.status), "{key}: {answer:?}");
        assert!(!answer.body.windows(8).any(|eight| eight == b"a secret"), "{key}");
    }
}
