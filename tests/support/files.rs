//! What is in a folder, and how old it looks.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, SystemTime},
};

/// Nothing is too young to be cleared away any more after so long.
const DAYS: Duration = Duration::from_secs(2 * 86_400);

/// The names in a folder; none where there is no folder.
pub fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What a node keeps of videos in this storage, by name and in order.
pub fn videos(storage: &Path) -> Vec<String> {
    names(&storage.join("recordings")).into_iter().collect()
}

/// Makes everything in a folder look as if nothing had been done to it for days.
pub fn age(folder: &Path) {
    for name in names(folder) {
        let path = folder.join(name);
        if path.is_dir() {
            age(&path);
        }
        // What has just gone needs no age.
        let _ = leave(&path, DAYS);
    }
}

/// Makes a file or folder look as if nothing had been done to it for days.
pub fn make_old(path: &Path) {
    make_older(path, DAYS);
}

/// The same for so long.
pub fn make_older(path: &Path, unchanged: Duration) {
    leave(path, unchanged).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn leave(path: &Path, unchanged: Duration) -> io::Result<()> {
    File::open(path)?.set_modified(SystemTime::now() - unchanged)
}
