//! What is in a folder, and how old it looks.

use std::{
    collections::BTreeSet,
    fs::{self, File, FileTimes},
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

/// Makes everything in a folder look two days older than it is.
pub fn age(folder: &Path) {
    for name in names(folder) {
        let path = folder.join(name);
        if path.is_dir() {
            age(&path);
        }
        if let Ok(file) = File::open(&path) {
            // What has just gone needs no age.
            let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now() - DAYS));
        }
    }
}
