//! Texts that are commands, nearly commands, and nothing of the kind.

use crate::support::Chance;

/// Every command, in its plain and its odd forms.
pub const COMMANDS: &[&str] = &[
    r#"{"type":"Join","room_name":"blue","user_id":"ada","username":"Ada","metadata":{"audio":true,"x":null},"id":1}"#,
    r#"{"type":"Join","room_name":"blue","user_id":42,"token":"t"}"#,
    r#"{"type":"Join","room_name":"a","username":" <b>\u00e9\ud83d\ude00 ","metadata":{"a":{"b":[1,2,{"c":null}]}}}"#,
    r#"{"type":"Resume","session_id":"00000000-0000-4000-8000-000000000001","resume_token":"abab","last_seq":3,"id":"r"}"#,
    r#"{"type":"Leave","id":"bye"}"#,
    r#"{"type":"Offer","target_user_id":"bob","sdp":"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n","room_name":"blue","id":2}"#,
    r#"{"type":"Offer","target_user_id":7,"sdp":{"type":"offer","sdp":"v=0"}}"#,
    r#"{"type":"Answer","target_user_id":"bob","sdp":"v=0","id":-3}"#,
    r#"{"type":"IceCandidate","target_user_id":"bob","candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 9","sdpMid":"0"}}"#,
    r#"{"type":"IceCandidate","target_user_id":"bob","candidate":null}"#,
    r#"{"type":"Message","data":{"text":"hello","n":[1,2.5e3,-0,true,null,"\\\"]}["]},"id":"m"}"#,
    r#"{"type":"Message","data":0,"target_user_id":"bob","room_name":"blue"}"#,
    r#"{"type":"Update","metadata":{"screen":true,"audio":null,"nested":{"a":[]}}}"#,
    r#"{"type":"Kick","target_user_id":"bob","id":9}"#,
    r#"{"type":"Lock","locked":true}"#,
    r#"{"type":"Lock","locked":false,"id":"l"}"#,
    r#"{"type":"Mute","target_user_id":"bob","kind":"audio"}"#,
    r#"{"type":"Ack","seq":12}"#,
    r#"{"type":"Ping","id":18446744073709551615}"#,
    r#"{"type":"Ping"}"#,
];

/// What is put in where it may hurt.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ",",
    ":",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "18446744073709551616",
    "1.5",
    "\u{0}",
    "\\u0000",
    "\\ud800",
    "\\u0041",
    "\u{feff}",
    "\u{1f600}",
    "é",
    "..",
    "/",
    "<script>",
    " ",
    "\n",
    "{}",
    "[]",
    "\"\"",
    "\"type\":\"Ping\"",
    "\"type\":",
    "\"id\":",
    "\"user_id\":\"bob\"",
    "\"metadata\":{}",
    "\"target_user_id\":null",
    "\"type\":\"Nonsense\"",
    "Offer",
    "Join",
];

/// Makes texts.
pub struct Generator {
    pub chance: Chance,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { chance: Chance(seed) }
    }

    /// Any text.
    pub fn text(&mut self) -> String {
        match self.chance.below(12) {
            0 => (*self.chance.pick(COMMANDS)).to_owned(),
            1 => self.pieces(),
            2 => self.deep(),
            3 => self.large(),
            4 => self.arbitrary(),
            _ => self.mutated(),
        }
    }

    /// A command to which a few things have happened.
    fn mutated(&mut self) -> String {
        let mut bytes = self.chance.pick(COMMANDS).as_bytes().to_vec();
        for _ in 0..=self.chance.below(4) {
            self.mutate(&mut bytes);
        }
        // Frames with anything else are refused before the parser (1007).
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let (start, end) = self.range(bytes.len());
        match self.chance.below(8) {
            0 => {
                if let Some(byte) = bytes.get_mut(start) {
                    *byte ^= 1 << self.chance.below(8);
                }
            }
            1 => {
                let piece = self.chance.pick(PIECES);
                bytes.splice(start..start, piece.bytes());
            }
            2 => {
                let piece = self.chance.pick(PIECES);
                bytes.splice(start..end, piece.bytes());
            }
            3 => bytes.truncate(end),
            4 => {
                bytes.drain(start..end);
            }
            5 => {
                let twice = bytes[start..end].to_vec();
                bytes.splice(end..end, twice);
            }
            6 => {
                let other = self.chance.pick(COMMANDS).as_bytes();
                let (from, to) = self.range(other.len());
                bytes.splice(start..end, other[from..to].iter().copied());
            }
            _ => self.mutate_field(bytes),
        }
    }

    /// Adds a whole member, so that the text stays JSON more often than not.
    fn mutate_field(&mut self, bytes: &mut Vec<u8>) {
        let value =
            ["null", "1", "-1", "\"x\"", "{}", "[]", "true", "1.5", "\"\\u0007\"", "\"a\\u0000b\"", "\"..\""];
        let name = [
            "id",
            "type",
            "room_name",
            "user_id",
            "username",
            "target_user_id",
            "sdp",
            "candidate",
            "data",
            "metadata",
            "kind",
            "locked",
            "seq",
            "later",
        ];
        let (name, value) = (self.chance.pick(&name), self.chance.pick(&value));
        if bytes.first() == Some(&b'{') {
            bytes.splice(1..1, format!(r#""{name}":{value},"#).into_bytes());
        }
    }

    fn range(&mut self, length: usize) -> (usize, usize) {
        let (one, other) = (self.chance.below(length + 1), self.chance.below(length + 1));
        (one.min(other), one.max(other))
    }

    fn pieces(&mut self) -> String {
        (0..self.chance.below(30)).map(|_| *self.chance.pick(PIECES)).collect()
    }

    /// A command with something nested as deep as the limit, or deeper.
    fn deep(&mut self) -> String {
        let depth = *self.chance.pick(&[30, 31, 32, 33, 100, 1000]);
        let (open, close) = *self.chance.pick(&[("[", "]"), (r#"{"a":"#, "}")]);
        let inner = format!("{}0{}", open.repeat(depth), close.repeat(depth));
        let around = self.chance.pick(&[
            r#"{"type":"Message","data":_}"#,
            r#"{"type":"Update","metadata":{"a":_}}"#,
            "_",
        ]);
        around.replace('_', &inner)
    }

    /// A command with something as large as a limit, or larger.
    fn large(&mut self) -> String {
        let length = *self.chance.pick(&[32, 33, 64, 65, 128, 129, 4000, 4096, 5000]);
        let filling = self.chance.pick(&["x", "\u{1f600}", "\\u0041", "<", "-"]).repeat(length);
        let around = self.chance.pick(&[
            r#"{"type":"Join","room_name":"_"}"#,
            r#"{"type":"Join","room_name":"blue","username":"_"}"#,
            r#"{"type":"Join","room_name":"blue","metadata":{"a":"_"}}"#,
            r#"{"type":"Update","metadata":{"a":"_"}}"#,
            r#"{"type":"Ping","id":"_"}"#,
            r#"{"type":"Mute","target_user_id":"bob","kind":"_"}"#,
            r#"{"type":"Message","data":"_"}"#,
            r#"{"type":"_"}"#,
        ]);
        around.replace('_', &filling)
    }

    fn arbitrary(&mut self) -> String {
        let character = |chance: &mut Chance| match chance.below(3) {
            0 => char::from(u8::try_from(chance.below(128)).expect("ASCII")),
            1 => *chance.pick(&['{', '}', '"', ':', ',', '[', ']', '\\']),
            _ => u32::try_from(chance.below(0x11_0000)).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'),
        };
        (0..self.chance.below(200)).map(|_| character(&mut self.chance)).collect()
    }
}
