//! Makes a line of a trace short enough to be read.

/// What is left out of a line, from the first text up to and with the second.
const LEFT_OUT: [(&str, &str); 4] = [
    ("TokenDigest([", "])"),
    ("token: ResumeToken(", ")"),
    ("resume_token\":\"", "\""),
    ("\"ice_servers\":", "\"heartbeat_ms\":10000"),
];
/// What is written shorter.
const SHORTER: [(&str, &str); 14] = [
    ("Frame(Frame { from: ", ""),
    (" body: Data", ""),
    (" ack: None,", ""),
    ("\\\"", "'"),
    ("SessionId", ""),
    ("NodeRef { id: \"", "{"),
    ("\", incarnation: Incarnation(", "#"),
    (") }", "}"),
    ("Message { ", "{ "),
    ("metadata: Metadata(", "metadata: ("),
    ("RoomInput::", ""),
    ("proof: , ", ""),
    ("until: None", ""),
    ("username: Username", ""),
];
/// Digits of a session that are enough to tell it from others.
const SESSION_DIGITS: usize = 4;

/// The line without what nobody reads.
pub fn short(line: &str) -> String {
    let mut line = line.to_owned();
    for (from, to) in LEFT_OUT {
        while let Some(begins) = line.find(from) {
            let Some(length) = line[begins + from.len()..].find(to) else { break };
            line.replace_range(begins..begins + from.len() + length + to.len(), "");
        }
    }
    for (long, brief) in SHORTER {
        line = line.replace(long, brief);
    }
    numbers(&line)
}

/// Cuts sessions to their first digits, and times to their last.
fn numbers(line: &str) -> String {
    let mut short = String::with_capacity(line.len());
    let mut word = String::new();
    for letter in line.chars().chain(['\0']) {
        if letter.is_ascii_alphanumeric() || letter == '-' {
            word.push(letter);
            continue;
        }
        let is_session = word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
        let is_time = word.len() == 13 && word.bytes().all(|byte| byte.is_ascii_digit());
        match () {
            () if is_session => short.push_str(&word[..SESSION_DIGITS]),
            () if is_time => short.push_str(&word[6..]),
            () => short.push_str(&word),
        }
        word.clear();
        if letter != '\0' {
            short.push(letter);
        }
    }
    short
}
