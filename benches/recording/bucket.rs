//! Recordings that go into a bucket while they come.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::{
    follow::DURABLE_EVERY,
    group::Group,
    media::Media,
    node::folder,
    ready::{POLL, upload},
    recorder::Recorder,
    s3::S3Server,
};

/// Chunks that are put some at a time, where parts are sent meanwhile.
const LAST: u32 = 24;
/// After so long without a part nothing more is being sent: one takes a tenth of that.
const QUIET: Duration = Duration::from_millis(500);
/// Of a video's parts in a bucket. Unit: bytes.
const PART_BYTES: u64 = 5 * 1024 * 1024;

/// A bucket, of a server for tests: it writes every part to the disk, and copies all of them when the last is there.
pub struct Bucket(S3Server);

impl Bucket {
    /// An empty one.
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self(S3Server::start_in(folder("bucket")?)))
    }

    /// Of a node whose videos go there.
    pub fn settings(&self) -> [(&'static str, String); 5] {
        let settings = self.0.settings();
        [
            ("STORAGE_TYPE", "S3".to_owned()),
            ("S3_BUCKET", settings.bucket),
            ("S3_ENDPOINT", format!("http://{}", self.0.address())),
            ("S3_ACCESS_KEY_ID", settings.access_key),
            ("S3_SECRET_ACCESS_KEY", settings.secret_key),
        ]
    }

    /// How long its server has been at copying parts together.
    pub fn joining(&self) -> Duration {
        self.0.joining()
    }

    /// Parts that have come.
    fn parts(&self) -> u32 {
        self.0.seen("PUT", "partNumber=")
    }

    /// Puts all chunks, the last of them some at a time: what is settled is sent with every checkpoint, for which there is time
    /// in a real recording.
    pub async fn upload(&self, recorder: &Recorder, group: &Group, media: &Media) -> anyhow::Result<()> {
        let nodes = group.addresses();
        let mut put = media.chunks.saturating_sub(LAST);
        upload(recorder, &nodes, media, 0..put).await?;
        while put < media.chunks {
            let next = media.chunks.min(put + DURABLE_EVERY);
            upload(recorder, &nodes, media, put..next).await?;
            put = next;
            let (mut sent, mut since) = (self.parts(), Instant::now());
            while since.elapsed() < QUIET {
                tokio::time::sleep(POLL).await;
                if self.parts() > sent {
                    (sent, since) = (self.parts(), Instant::now());
                }
            }
        }
        // The first goes up at the end, and so does what is not settled before it.
        let (sent, all) = (self.parts(), media.bytes() / PART_BYTES);
        ensure!(u64::from(sent) + 3 >= all, "of {all} parts {sent} are sent");
        Ok(())
    }
}
