//! Posters of videos, in the video store beside them.

use std::path::Path;

use tracing::warn;

use crate::{
    adapters::ports::{FileProof, RecordingPorts, VideoSource},
    domain::recording::VideoFacts,
    protocol::{Fence, RecordId, recorder::VideoKey},
};

/// Puts a picture into the store. A recording without its poster is still a recording.
pub async fn store(ports: &RecordingPorts, (id, fence): (&RecordId, Fence), file: &Path) -> Option<VideoKey> {
    let key = VideoKey::new(id, fence, "jpg");
    let stored = async {
        let proof = FileProof::of(file).await?;
        ports.videos.put(&key, file, proof).await
    };
    match stored.await {
        Ok(()) => Some(key),
        Err(error) => {
            warn!(recording = %id, %error, "no poster");
            None
        }
    }
}

/// Makes the poster of a video that is in its store, and puts it there.
pub async fn make(
    ports: &RecordingPorts,
    (id, fence): (&RecordId, Fence),
    video: &VideoFacts,
) -> Option<VideoKey> {
    let Ok(Some(VideoSource::File(file))) = ports.videos.find(&video.key).await else { return None };
    let made = ports.merger.picture(file, video.duration_ms).await?;
    store(ports, (id, fence), &made).await
}
