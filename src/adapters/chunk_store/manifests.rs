//! What is known of a recording as a whole, in its folder: `manifest.json` as it began, and every later state under its
//! revision, `revisions/<revision, 20 digits>.json`, of which the highest stands.
//!
//! A folder cannot compare and replace in one step. So an older state that is written late, by a node that slept meanwhile,
//! gets a name that does not count, instead of the newer one's place.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    super::disk::{self, Partial},
    names, shelf,
};
use crate::{domain::recording::Manifest, protocol::TokenDigest};

/// How often a reader begins anew because what it was about to read was outdated and taken away.
const TRIES: u32 = 8;

/// The manifests of one recording's folder.
pub(super) struct Manifests<'a>(pub(super) &'a Path);

impl Manifests<'_> {
    /// Puts the first one, if there is none. That there is one is not believed from the answer to `link`, which NFS may
    /// give wrongly after a lost reply.
    pub(super) fn begin(&self, manifest: &Manifest) -> io::Result<bool> {
        let written = self.write(manifest)?;
        let place = self.0.join(names::MANIFEST);
        shelf::link(written.path(), &place)?;
        let ours = shelf::same_file(written.path(), &place)?;
        disk::sync_folder(self.0)?;
        Ok(ours)
    }

    /// Puts a later one. Its file is made in the folder before anything is compared: if the folder then is another
    /// recording's, the file is not in it, and nothing is put.
    pub(super) fn save(&self, manifest: &Manifest) -> io::Result<()> {
        let written = self.write(manifest)?;
        // One that cannot be read is replaced.
        if let Ok(stored) = self.read() {
            is_of(&stored.token, &manifest.token)?;
            if stored.revision > manifest.revision {
                return Ok(());
            }
        }
        let folder = self.folder();
        self.make_folder(&folder)?;
        written.replace_in(&folder, names::revision(manifest.revision).as_ref())?;
        for older in self.revisions()?.into_iter().filter(|&older| older < manifest.revision) {
            disk::remove_if_there(&folder.join(names::revision(older)))?;
        }
        Ok(())
    }

    /// Refuses a folder that is not that of the recording with this token. All its manifests have the same, so the first one says
    /// it; where that is lost or damaged, the one that stands.
    pub(super) fn check(&self, token: &TokenDigest) -> io::Result<()> {
        #[derive(Deserialize)]
        struct Whose {
            token: TokenDigest,
        }
        let first = fs::read(self.0.join(names::MANIFEST));
        let first = first.ok().and_then(|json| serde_json::from_slice::<Whose>(&json).ok());
        let stored =
            first.map_or_else(|| self.read().map(|manifest| manifest.token), |first| Ok(first.token))?;
        is_of(&stored, token)
    }

    /// The one that stands.
    pub(super) fn read(&self) -> io::Result<Manifest> {
        for _ in 0..TRIES {
            let place = match self.revisions()?.into_iter().max() {
                Some(latest) => self.folder().join(names::revision(latest)),
                None => return parse(&fs::read(self.0.join(names::MANIFEST))?),
            };
            match fs::read(place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                json => return parse(&json?),
            }
        }
        Err(io::Error::other("it was replaced too often while it was read"))
    }

    fn folder(&self) -> PathBuf {
        self.0.join(names::REVISIONS)
    }

    /// Not the folder above: a recording that was taken away is not brought back.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        match fs::create_dir(folder) {
            Ok(()) => disk::sync_folder(self.0),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn revisions(&self) -> io::Result<Vec<u64>> {
        match disk::entries(&self.folder()) {
            Ok(entries) => Ok(entries.filter_map(|entry| revision(&entry.file_name())).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    fn write(&self, manifest: &Manifest) -> io::Result<Partial> {
        Partial::write(self.0, "manifest", &serde_json::to_vec_pretty(manifest)?)
    }
}

fn revision(name: &OsStr) -> Option<u64> {
    let text = name.to_str()?;
    let number = text.strip_suffix(".json")?.parse().ok()?;
    (names::revision(number) == text).then_some(number)
}

fn parse(json: &[u8]) -> io::Result<Manifest> {
    serde_json::from_slice(json).map_err(Into::into)
}

fn is_of(stored: &TokenDigest, token: &TokenDigest) -> io::Result<()> {
    let another = || io::Error::new(io::ErrorKind::NotFound, "another recording has its name");
    stored.matches(token).then_some(()).ok_or_else(another)
}
