//! An ffmpeg that waits: whoever merges is then in the middle of it for as long as a test likes.

use std::fs;

use tempfile::TempDir;

use crate::support::{BY_FFMPEG, eventually, signal, stand_in};

/// A program in the place of ffmpeg, which works once the gate is open.
pub struct Gate {
    folder: TempDir,
    flag: String,
}

impl Gate {
    /// A closed one, in front of the work.
    pub fn new() -> Self {
        Self::with("while [ ! -e open ]; do sleep 0.02; done; exec ffmpeg \"$@\"")
    }

    /// A closed one behind the work: everything is made, and told of, before it waits.
    pub fn behind() -> Self {
        Self::with("ffmpeg \"$@\"; done=$?; while [ ! -e open ]; do sleep 0.02; done; exit $done")
    }

    /// None at all: a program that does not take what it is given.
    pub fn broken() -> Self {
        Self::with("cat >/dev/null; echo 'Invalid data found' >&2; exit 1")
    }

    fn with(body: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let body = body.replace("-e open", &format!("-e {at}/open"));
        let flag =
            stand_in(folder.path(), &format!("echo $$ >{at}/$$.new; mv {at}/$$.new {at}/began\n{body}"));
        Self { folder, flag }
    }

    /// For nodes, which leave everything to it.
    pub fn flags(&self) -> [&str; 2] {
        [&self.flag, BY_FFMPEG]
    }

    /// Waits until somebody merges; the process that does.
    pub async fn began(&self) -> u32 {
        let began = self.folder.path().join("began");
        eventually("a merge has begun", async || fs::read_to_string(&began).ok()?.trim().parse().ok()).await
    }

    /// Lets everybody through.
    pub fn open(&self) {
        fs::write(self.folder.path().join("open"), "").unwrap();
    }

    /// Ends who is waiting, once somebody is.
    pub async fn kill(&self) {
        signal("KILL", self.began().await);
        fs::remove_file(self.folder.path().join("began")).unwrap();
    }
}
