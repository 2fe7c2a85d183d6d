//! ffmpeg and ffprobe, and what this program asks of them.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::support::setting;

/// Whether both are here. Missing tools are a failure where they are required, and a line on the screen elsewhere.
pub fn are_here() -> bool {
    let runs =
        |tool: &str| Command::new(tool).arg("-version").output().is_ok_and(|output| output.status.success());
    let here = runs("ffmpeg") && runs("ffprobe");
    assert!(here || setting("GREENROOM_REQUIRE_TOOLS").is_none(), "ffmpeg or ffprobe is missing");
    if !here {
        println!("skipped: ffmpeg or ffprobe is missing");
    }
    here
}

/// Runs ffmpeg with arguments as they would be typed, the last being the file it writes. Returns the file's bytes.
pub fn ffmpeg(arguments: &str, file: &Path) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]).args(arguments.split_whitespace()).arg(file);
    let output = command.output().expect("ffmpeg runs");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(file).expect("ffmpeg wrote it")
}

/// A packet as ffprobe sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probed {
    pub stream: usize,
    pub time_us: Option<i64>,
    pub keyframe: bool,
    pub bytes: u32,
}

/// All packets of a file, in the order in which ffprobe gives them.
pub fn packets(file: &Path, options: &[&str]) -> Vec<Probed> {
    let answer = ffprobe(file, &[options, &["-show_packets"]].concat());
    let packets = answer["packets"].as_array().expect("packets");
    packets.iter().map(probed).collect()
}

fn probed(packet: &Value) -> Probed {
    let text = |name: &str| packet[name].as_str();
    Probed {
        stream: usize::try_from(packet["stream_index"].as_u64().expect("an index")).expect("small"),
        time_us: text("pts_time").map(|time| (time.parse::<f64>().expect("a time") * 1e6).round() as i64),
        keyframe: text("flags").expect("flags").starts_with('K'),
        bytes: text("size").expect("a size").parse().expect("a number"),
    }
}

/// The streams of a file.
pub fn streams(file: &Path) -> Vec<Value> {
    ffprobe(file, &["-show_streams"])["streams"].as_array().expect("streams").clone()
}

fn ffprobe(file: &Path, options: &[&str]) -> Value {
    let output =
        Command::new("ffprobe").args(["-v", "error", "-of", "json"]).args(options).arg(file).output();
    let output = output.expect("ffprobe runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What decoding a file shows: each picture's time and hash, and what ffmpeg complains of.
pub fn pictures(file: &Path) -> (Vec<(String, String)>, String) {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-copyts", "-i"]).arg(file);
    command.args([
        "-map",
        "0:v",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "1:1000000",
        "-f",
        "framemd5",
        "-",
    ]);
    let output = command.output().expect("ffmpeg runs");
    let lines = String::from_utf8(output.stdout).expect("text");
    let picture = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        (fields[2].to_owned(), fields[5].to_owned())
    };
    let pictures = lines.lines().filter(|line| !line.starts_with('#')).map(picture).collect();
    (pictures, String::from_utf8_lossy(&output.stderr).into_owned())
}
