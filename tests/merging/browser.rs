//! Media as Chromium's own recorder makes it, recorded once and kept under `target/test-media`.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

use crate::{
    kit::Recording,
    support::{kept_media, setting},
};

/// The folder of recorded media, made at the first call; `None` (and a line that says so) without a browser.
fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(record).as_deref()
}

fn record() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("tests/browser/media/record.mjs");
    let mut hasher = DefaultHasher::new();
    fs::read(&script).unwrap().hash(&mut hasher);
    let media = kept_media();
    let folder = media.join(format!("{:016x}", hasher.finish()));
    // One at a time: each test may run in a process of its own, and recorders that get no time leave frames out.
    let turn = fs::File::create(media.join("turn")).unwrap();
    turn.lock().unwrap();
    if folder.join("recorded.json").exists() {
        return Some(folder);
    }
    // Whole or not at all.
    let making = tempfile::tempdir_in(&media).unwrap();
    let recorded = Command::new("node").arg(&script).arg(making.path()).current_dir(root).output();
    let why = match recorded {
        Ok(output) if output.status.success() => {
            fs::rename(making.path(), &folder).unwrap();
            return Some(folder);
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    assert!(setting("GREENROOM_REQUIRE_TOOLS").is_none(), "nothing could be recorded in a browser: {why}");
    println!("skipped: nothing could be recorded in a browser: {why}");
    None
}

/// What was recorded under this name: the chunks, and each segment's bytes.
pub fn recorded(name: &str) -> Option<(Recording, Vec<Vec<u8>>)> {
    let folder = folder()?;
    let all: Value = serde_json::from_slice(&fs::read(folder.join("recorded.json")).unwrap()).unwrap();
    let chunks = all[name]["chunks"].as_array().unwrap_or_else(|| panic!("no {name}")).clone();
    let (mut recording, mut segments) = (Recording::default(), Vec::<Vec<u8>>::new());
    for (index, chunk) in chunks.iter().enumerate() {
        let bytes = fs::read(folder.join(name).join(format!("{index}.bin"))).unwrap();
        let begins = chunk["begins"].as_bool().unwrap();
        recording.push(&bytes, begins, u32::try_from(chunk["timecodeMs"].as_u64().unwrap()).unwrap());
        if begins {
            segments.push(Vec::new());
        }
        segments.last_mut().unwrap().extend(bytes);
    }
    Some((recording, segments))
}
