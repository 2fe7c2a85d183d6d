//! The name that a folder of recordings has for itself, by which nodes can tell whether they share it. It stands in a file, goes
//! along when the folder is moved, and is never changed.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use uuid::Uuid;

use super::{
    disk::{self, Partial},
    ports::StoreError,
};

/// The file, and in a bucket the object.
pub(super) const NAME: &str = "store-id";

/// A new name.
pub(super) fn new() -> String {
    Uuid::new_v4().to_string()
}

/// The folder's name, given now if it has none. Blocks.
///
/// # Errors
/// It has none, and cannot be written or has no hard links; or the file cannot be read.
pub fn of_folder(root: &Path) -> Result<String, StoreError> {
    read_or_give(root).map_err(|error| StoreError::io(root.join(NAME).display(), &error))
}

fn read_or_give(root: &Path) -> io::Result<String> {
    let place = root.join(NAME);
    match fs::read_to_string(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return Ok(read?.trim().to_owned()),
    }
    let partial = Partial::in_folder(root, "store_id");
    let mut file = partial.create()?;
    writeln!(file, "{}", new())?;
    file.sync_all()?;
    match fs::hard_link(partial.path(), &place) {
        // Another node was first.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => disk::sync_folder(root)?,
    }
    Ok(fs::read_to_string(&place)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_name_and_takes_it_along() {
        let all = tempfile::tempdir().expect("a folder");
        let [one, other, moved] = ["one", "other", "moved"].map(|name| all.path().join(name));
        for folder in [&one, &other] {
            fs::create_dir(folder).expect("made");
        }
        let name = of_folder(&one).expect("named");
        assert_eq!(of_folder(&one).expect("named"), name);
        assert_ne!(of_folder(&other).expect("named"), name);
        assert_eq!(fs::read_dir(&one).expect("read").count(), 1, "nothing else is left in it");
        fs::rename(&one, &moved).expect("moved");
        assert_eq!(of_folder(&moved).expect("named"), name);
        assert!(of_folder(&one).is_err(), "a folder that is not there is not made");
    }
}
