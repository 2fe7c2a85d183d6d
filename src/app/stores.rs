//! What recordings are kept in: folders, a bucket, Redis, a database; as the settings say.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use tracing::warn;

use super::sharing::{Place, Sharing, Store};

use crate::{
    adapters::{
        assembly::{Assembling, AssemblingMerger},
        catalog::SqlCatalog,
        chunk_store::FolderChunks,
        clock::Clock,
        ffmpeg::{FfmpegConfig, FfmpegMerger},
        memory_exports::MemoryExports,
        memory_ledger::MemoryLedger,
        ports::{Breakers, ChunkStore, ExportLeases, Ledger, Merger, RecordingPorts, SameStores, VideoStore},
        redis::{RedisChunks, RedisLedger, RedisStore},
        s3::{Bucket, S3Chunks, S3Videos},
        video_store::FolderVideos,
        work_folders::WorkFolders,
    },
    config::{Config, RecordingSettings, StorePlace},
    domain::recording::RecordingRules,
    metrics::Metrics,
};

/// How long a claim of a node that is alone stands without a word from itself.
const LEASE_ALONE: Duration = Duration::from_secs(60);

/// Opens everything that recordings need; names what nodes must share of it, and says what has a breaker in front. `redis`: what the
/// nodes of a cluster share.
///
/// # Errors
/// Something cannot be used; says which setting names it.
pub(super) async fn open(
    config: &Config,
    redis: Option<&Arc<RedisStore>>,
    clock: Clock,
    metrics: &Metrics,
) -> anyhow::Result<(RecordingPorts, Option<Sharing>, Breakers)> {
    let settings = &config.recording;
    let bucket = match &settings.s3 {
        Some(s3) => {
            let opened = Bucket::open(s3.clone(), clock, metrics.clone()).await;
            Some(opened.map_err(|error| anyhow!("S3_BUCKET cannot be used: {error}."))?)
        }
        None => None,
    };
    if redis.is_some() && settings.database_url.starts_with("sqlite:") {
        warn!(
            "the catalog of this cluster is a file of SQLite: that is right for nodes on one machine, and on a folder of the network \
             it gets damaged; set DATABASE_URL to a PostgreSQL database"
        );
    }
    let catalog = SqlCatalog::open(&settings.database_url, metrics.clone()).await;
    let catalog = Arc::new(catalog.context("DATABASE_URL cannot be opened")?);
    let mut breakers: Breakers = vec![("catalog", catalog.clone())];
    if let Some(bucket) = &bucket {
        breakers.push(("s3", bucket.clone()));
    }
    if let Some(redis) = redis {
        breakers.push(("redis", redis.clone()));
    }
    let chunks = chunks(settings, bucket.as_ref(), redis).await?;
    let videos = videos(settings, bucket.as_ref())?;
    let ffmpeg = ffmpeg(settings);
    let (ledger, exports) = ledger(config, redis, clock);
    let ports = RecordingPorts {
        merger: merger(config, ffmpeg.clone(), &chunks, &*videos)?,
        exporter: Arc::new(ffmpeg),
        chunks,
        videos,
        ledger,
        exports,
        outbox: catalog.clone(),
        catalog,
        same_stores: if redis.is_some() { SameStores::unknown() } else { SameStores::alone() },
    };
    let sharing = sharing(config, bucket.as_ref(), redis, &ports.same_stores);
    Ok((ports, sharing, breakers))
}

fn sharing(
    config: &Config,
    bucket: Option<&Arc<Bucket>>,
    redis: Option<&Arc<RedisStore>>,
    same: &SameStores,
) -> Option<Sharing> {
    let (cluster, redis, settings) = (config.cluster.as_ref()?, redis?, &config.recording);
    let store = |what, kind| {
        let place = match (kind, bucket) {
            (StorePlace::S3, Some(bucket)) => Place::Bucket(bucket.clone()),
            (StorePlace::Redis, _) => Place::Redis,
            _ => Place::Folder(settings.folder.clone()),
        };
        Store { what, place }
    };
    let stores = [store("chunks", settings.chunks), store("videos", settings.videos)];
    Some(Sharing::new(redis.clone(), stores, cluster.lease, same.clone()))
}

fn folder(settings: &RecordingSettings) -> String {
    format!("STORAGE_LOCAL_PATH {} cannot be used", settings.folder.display())
}

async fn chunks(
    settings: &RecordingSettings,
    bucket: Option<&Arc<Bucket>>,
    redis: Option<&Arc<RedisStore>>,
) -> anyhow::Result<Arc<dyn ChunkStore>> {
    Ok(match (settings.chunks, bucket, redis) {
        (StorePlace::S3, Some(bucket), _) => {
            let opened = S3Chunks::open(bucket.clone()).await;
            Arc::new(opened.map_err(|error| anyhow!("S3_BUCKET cannot be used: {error}."))?)
        }
        (StorePlace::Redis, _, Some(redis)) => {
            let chunks = RedisChunks::new(redis.clone(), settings.chunk_ttl);
            if let Some(fear) = chunks.fear().await {
                warn!("{fear}");
            }
            Arc::new(chunks)
        }
        _ => Arc::new(FolderChunks::open(&settings.folder).with_context(|| folder(settings))?),
    })
}

fn videos(settings: &RecordingSettings, bucket: Option<&Arc<Bucket>>) -> anyhow::Result<Arc<dyn VideoStore>> {
    Ok(match (settings.videos, bucket) {
        (StorePlace::S3, Some(bucket)) => Arc::new(S3Videos::new(bucket.clone())),
        _ => Arc::new(FolderVideos::open(&settings.folder).with_context(|| folder(settings))?),
    })
}

fn ffmpeg(settings: &RecordingSettings) -> FfmpegMerger {
    FfmpegMerger::new(FfmpegConfig {
        ffmpeg: settings.ffmpeg.clone(),
        ffprobe: settings.ffprobe.clone(),
        time_limit: settings.merge_timeout,
    })
}

fn merger(
    config: &Config,
    ffmpeg: FfmpegMerger,
    chunks: &Arc<dyn ChunkStore>,
    videos: &dyn VideoStore,
) -> anyhow::Result<Arc<dyn Merger>> {
    let settings = &config.recording;
    if !settings.assemble {
        return Ok(Arc::new(ffmpeg));
    }
    // Where the videos are: then nothing is copied at the end, and where nodes share them, one can go on for another.
    let place = if settings.videos == StorePlace::Folder { &settings.folder } else { &settings.temp_folder };
    let merger = AssemblingMerger::open(Assembling {
        folder: place.join("assembly"),
        // It is cleared away with the other work of this node, by its next life or by other nodes.
        work: WorkFolders::new(&settings.temp_folder, &config.node_id).own().to_owned(),
        chunks: chunks.clone(),
        parts: videos.parts(),
        ffmpeg,
        hashed_at_once: settings.hashed_at_once,
        min_free_bytes: settings.rules.min_free_bytes,
    });
    Ok(Arc::new(merger.with_context(|| folder(settings))?))
}

/// What accounts go by.
pub(super) fn rules(config: &Config) -> RecordingRules {
    let settings = &config.recording;
    RecordingRules {
        grace: settings.rules.grace,
        lease: config.cluster.as_ref().map_or(LEASE_ALONE, |cluster| cluster.lease),
        bytes_max: settings.bytes_max,
        duration_max: settings.duration_max,
    }
}

/// Who may do what, and which node is at which MP4.
fn ledger(
    config: &Config,
    redis: Option<&Arc<RedisStore>>,
    clock: Clock,
) -> (Arc<dyn Ledger>, Arc<dyn ExportLeases>) {
    let (node, rules) = (config.node_id.clone(), rules(config));
    match redis {
        Some(redis) => {
            let ledger = Arc::new(RedisLedger::new(redis.clone(), node, rules));
            (ledger.clone(), ledger)
        }
        None => (Arc::new(MemoryLedger::new(node, clock, rules)), Arc::new(MemoryExports::new(clock))),
    }
}
