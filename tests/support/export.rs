//! MP4s of finished videos, as they are asked for; and an ffmpeg that does something of its own when it makes one.

use std::{fs, net::SocketAddr};

use tempfile::TempDir;

use super::{Download, eventually, send, stand_in};

/// Asks for the MP4 of a video.
pub async fn ask_mp4(address: SocketAddr, method: &str, key: &str) -> Download {
    send(address, &format!("{method} /recordings/download/{key}?format=mp4"), &[], b"").await
}

/// Asks until it is there. What is said before is that it is being made.
pub async fn mp4_of(address: SocketAddr, key: &str) -> Download {
    eventually("the MP4 is there", async || {
        let answer = ask_mp4(address, "GET", key).await;
        assert!([200, 202, 307].contains(&answer.status), "{answer:?}");
        (answer.status != 202).then_some(answer)
    })
    .await
}

/// A program in the place of ffmpeg, which does what it should but for MP4s of finished videos.
pub struct ExportProgram {
    folder: TempDir,
    flag: String,
}

impl ExportProgram {
    /// Waits, with an MP4, until it may go on.
    pub fn gated() -> Self {
        Self::doing("while [ ! -e FOLDER/open ]; do sleep 0.02; done; exec ffmpeg \"$@\"")
    }

    /// Does this in the place of making an MP4, of which each beginning is noted.
    pub fn doing(act: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let body = format!(
            "case \"$*\" in *'-i video '*export.mp4) echo $$ >>FOLDER/runs; {act};; esac\nexec ffmpeg \"$@\""
        );
        let flag = stand_in(folder.path(), &body.replace("FOLDER", &folder.path().display().to_string()));
        Self { folder, flag }
    }

    /// For nodes.
    pub fn flag(&self) -> &str {
        &self.flag
    }

    /// The processes that have begun to make an MP4.
    pub fn runs(&self) -> Vec<u32> {
        let runs = fs::read_to_string(self.folder.path().join("runs")).unwrap_or_default();
        runs.lines().map(|line| line.parse().expect("a process")).collect()
    }

    /// Waits until one has.
    pub async fn began(&self) -> u32 {
        eventually("an MP4 is being made", async || self.runs().first().copied()).await
    }

    /// Lets everybody through.
    pub fn open(&self) {
        fs::write(self.folder.path().join("open"), "").expect("written");
    }
}
