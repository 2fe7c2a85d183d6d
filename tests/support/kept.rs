//! What tests make once and keep under `target/test-media`: each may run in a process of its own.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::NamedTempFile;

use super::setting;

/// The folder.
pub fn kept_media() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-media");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The file of this name, made where it is not there; `None` where it cannot be. Whoever needs it meanwhile waits.
pub fn keep(name: &str, make: impl FnOnce() -> Option<Vec<u8>>) -> Option<PathBuf> {
    let folder = kept_media();
    let file = folder.join(name);
    if file.exists() {
        return Some(file);
    }
    let turn = fs::File::create(folder.join(format!("{name}.turn"))).expect("a file");
    turn.lock().expect("its turn");
    if !file.exists() {
        // Whole or not at all, and closed before anybody runs it.
        let making = NamedTempFile::new_in(&folder).expect("a file").into_temp_path();
        fs::write(&making, make()?).expect("written");
        fs::set_permissions(&making, fs::Permissions::from_mode(0o755)).expect("executable");
        making.persist(&file).expect("renamed");
    }
    Some(file)
}

/// ffmpeg or ffprobe for a node: the real one, but for all that it says of its version, which is kept as long as the program stays
/// the same. Every node asks both when it starts, and to load them takes more of a processor than the rest of its start. What is
/// not installed is left to the node.
pub fn program(name: &str) -> PathBuf {
    let Some((real, mark)) = installed(name) else { return name.into() };
    let script = || {
        let said = Command::new(&real).arg("-version").output().ok().filter(|said| said.status.success())?;
        let (said, real) = (String::from_utf8(said.stdout).expect("text"), real.display());
        let tell = format!("if [ \"$1\" = -version ]; then exec cat <<'SAID'\n{said}SAID\nfi");
        Some(format!("#!/bin/sh\n{tell}\nexec '{real}' \"$@\"\n").into_bytes())
    };
    keep(&format!("{name}.{mark:016x}"), script).unwrap_or_else(|| name.into())
}

/// Where a program is, and a mark that another version of it does not have.
pub fn installed(name: &str) -> Option<(PathBuf, u64)> {
    let path = setting("PATH").unwrap_or_default();
    let mut there = std::env::split_paths(&path).map(|folder| folder.join(name));
    let (real, about) = there.find_map(|file| fs::metadata(&file).ok().map(|about| (file, about)))?;
    let mut hasher = DefaultHasher::new();
    (&real, about.len(), about.modified().expect("a time")).hash(&mut hasher);
    Some((real, hasher.finish()))
}
