//! The settings of recordings.

use std::{path::PathBuf, time::Duration};

use super::ConfigError;
use crate::{
    actors::{keeper::Retention, recording_supervisor::RecordingConfig},
    adapters::{catalog, s3::S3Settings, webhook::WebhookSettings},
};

/// How long one request to the bucket may take.
const S3_TIMEOUT: Duration = Duration::from_secs(30);

/// As they are written.
#[derive(clap::Args, Debug, Clone)]
pub struct Recordings {
    /// Where finished recordings are stored: LOCAL, a folder, which the nodes of a cluster share; or S3, a bucket.
    #[arg(long, env, default_value = "LOCAL", value_parser = ["LOCAL", "S3"], ignore_case = true)]
    storage_type: String,
    /// The folder of recordings: their chunks while they are made, then their videos.
    #[arg(long, env, default_value = "./recordings")]
    storage_local_path: PathBuf,
    /// Where the chunks of recordings are stored while they are made: LOCAL, the same folder; S3, the bucket; or REDIS, that
    /// of the cluster, for a limited time.
    #[arg(long, env, default_value = "LOCAL", value_parser = ["LOCAL", "S3", "REDIS"], ignore_case = true)]
    chunk_store: String,
    /// With CHUNK_STORE=REDIS: how long chunks are kept after the last one of their recording.
    #[arg(long, env, default_value_t = 172_800, value_parser = clap::value_parser!(u64).range(60..=31_536_000))]
    chunk_ttl_secs: u64,
    /// The bucket, where anything is stored in S3.
    #[arg(long, env, default_value = "", hide_default_value = true)]
    s3_bucket: String,
    /// Where the S3 server is, such as `https://s3.example.org`. Default: Amazon's, of the region.
    #[arg(long, env)]
    s3_endpoint: Option<String>,
    /// The same as browsers reach it: download links lead there. Default: S3_ENDPOINT.
    #[arg(long, env)]
    s3_public_endpoint: Option<String>,
    /// The region of the bucket.
    #[arg(long, env, default_value = "us-east-1")]
    s3_region: String,
    /// Whether the bucket stands in the path (`https://host/bucket`) and not in the host name. Default: with S3_ENDPOINT.
    #[arg(long, env)]
    s3_path_style: Option<bool>,
    /// The name of the key.
    #[arg(long, env, default_value = "", hide_default_value = true)]
    s3_access_key_id: String,
    /// The key.
    #[arg(long, env, default_value = "", hide_default_value = true, hide_env_values = true)]
    s3_secret_access_key: String,
    /// What stands in front of every name in the bucket.
    #[arg(long, env, default_value = "", hide_default_value = true)]
    s3_prefix: String,
    /// How long links to videos in the bucket are good.
    #[arg(long, env, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(10..=604_800))]
    s3_link_secs: u64,
    /// Where merges have their temporary files, as large as the videos they make. Default: `tmp` below
    /// STORAGE_LOCAL_PATH, so that a finished video need not be copied.
    #[arg(long, env)]
    temp_dir: Option<PathBuf>,
    /// Whether the chunks of a recording are taken away once its video is complete and in the catalog.
    #[arg(long, env, default_value_t = true, action = clap::ArgAction::Set)]
    cleanup_chunks: bool,
    /// The catalog of recordings: `sqlite:///path/recordings.db`, or `postgres://user:password@host/database` for a cluster.
    /// Default: `recordings.db`, an SQLite database, below STORAGE_LOCAL_PATH.
    #[arg(long, env, hide_env_values = true)]
    database_url: Option<String>,
    /// How long a recorder whose socket is lost is waited for before its recording is finalised without it.
    #[arg(long, env, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=3600))]
    recording_grace_secs: u64,
    /// How long a recording that was finalised without its recorder can be taken up again; its chunks are kept so long.
    #[arg(long, env, default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(0..=31_536_000))]
    reopen_secs: u64,
    /// How long finished recordings are kept, such as `30d` or `12h`; 0: until somebody deletes them.
    #[arg(long, env, default_value = "0", value_parser = span)]
    recording_retention: Duration,
    /// How long the chunks of recordings are kept of which no complete video could be made; 0: until somebody deletes them.
    #[arg(long, env, default_value = "0", value_parser = span)]
    partial_retention: Duration,
    /// How often it is looked for what need not be kept any longer, and for what belongs to nothing. In a cluster one node
    /// does so.
    #[arg(long, env, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    housekeeping_secs: u64,
    /// Most bytes of one recording; 0: any number.
    #[arg(long, env, default_value_t = 0)]
    max_recording_bytes: u64,
    /// Longest that one recording may take, such as `4h`; 0: any time.
    #[arg(long, env, default_value = "0", value_parser = span)]
    max_recording_duration: Duration,
    /// Most bytes of finished recordings of one owner; 0: any number.
    #[arg(long, env, default_value_t = 0)]
    max_owner_bytes: u64,
    /// Most recordings that one owner makes at one time; 0: any number.
    #[arg(long, env, default_value_t = 0)]
    max_owner_recordings: u32,
    /// With less space than this no recording begins, so that those that run can go on. Unit: bytes.
    #[arg(long, env, default_value_t = 268_435_456)]
    min_free_bytes: u64,
    /// Where an application is told of recordings (POST, JSON). Empty: nowhere.
    #[arg(long, env, default_value = "", hide_default_value = true)]
    webhook_url: String,
    /// The secret with which what the application is told is signed (HMAC-SHA256).
    #[arg(long, env, default_value = "", hide_default_value = true, hide_env_values = true)]
    webhook_secret: String,
    /// Whether WebM, Matroska and MP4 are put together while they come, without ffmpeg; otherwise ffmpeg does so at their end.
    #[arg(long, env, default_value_t = true, action = clap::ArgAction::Set)]
    assemble: bool,
    /// The SHA-256 of a video up to this size is told as soon as it is ready; that of a larger one follows in its status. Unit: bytes.
    #[arg(long, env, default_value_t = 67_108_864)]
    hashed_at_once_bytes: u64,
    /// Merges by ffmpeg at once; as many again have begun, and of these what was put together while it came does not wait. Default: one for each processor.
    #[arg(long, env, value_parser = clap::value_parser!(u16).range(1..=256))]
    merge_jobs: Option<u16>,
    /// How long a merge may take before it is ended and tried again: so long, and as long again for each GiB.
    #[arg(long, env, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    merge_timeout_secs: u64,
    /// The program that merges.
    #[arg(long, env, default_value = "ffmpeg")]
    ffmpeg: PathBuf,
    /// The program that looks into the result.
    #[arg(long, env, default_value = "ffprobe")]
    ffprobe: PathBuf,
    /// What stands in front of links to recordings, such as `https://rooms.example.org`. Default: nothing, so links lead
    /// to whoever gave them out.
    #[arg(long, env, default_value = "", hide_default_value = true)]
    api_base_url: String,
}

/// The settings of recordings, checked.
#[derive(Debug, Clone)]
pub struct RecordingSettings {
    /// The folder, where one is used.
    pub folder: PathBuf,
    /// Where chunks are.
    pub chunks: StorePlace,
    /// Where videos are.
    pub videos: StorePlace,
    /// The bucket, where one is used.
    pub s3: Option<S3Settings>,
    /// How long chunks in Redis are kept.
    pub chunk_ttl: Duration,
    /// Where merges have their temporary files.
    pub temp_folder: PathBuf,
    /// Where the catalog is.
    pub database_url: String,
    /// Whether WebM, Matroska and MP4 are put together while they come.
    pub assemble: bool,
    /// Up to so many bytes a video's digest is told as soon as it is ready.
    pub hashed_at_once: u64,
    /// How long a merge may take, before its size is counted.
    pub merge_timeout: Duration,
    /// The program that merges.
    pub ffmpeg: PathBuf,
    /// The program that looks into the result.
    pub ffprobe: PathBuf,
    /// Most bytes of one recording.
    pub bytes_max: u64,
    /// Longest that one may take.
    pub duration_max: Duration,
    /// What is kept for how long.
    pub retention: Retention,
    /// How often it is looked for what may go.
    pub housekeeping: Duration,
    /// Who is told of recordings.
    pub webhook: Option<WebhookSettings>,
    /// What the supervisor is told.
    pub rules: RecordingConfig,
}

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorePlace {
    /// A folder.
    Folder,
    /// A bucket.
    S3,
    /// Redis.
    Redis,
}

impl Recordings {
    pub(super) fn check(&self, clustered: bool) -> Result<RecordingSettings, ConfigError> {
        let folder = self.storage_local_path.clone();
        let (chunks, videos) = (place(&self.chunk_store), place(&self.storage_type));
        if chunks == StorePlace::Redis && !clustered {
            return Err(ConfigError::new("CHUNK_STORE", "is REDIS, but CLUSTER_MODE is not true"));
        }
        let s3 = [chunks, videos].contains(&StorePlace::S3).then(|| self.s3()).transpose()?;
        Ok(RecordingSettings {
            chunks,
            videos,
            s3,
            chunk_ttl: Duration::from_secs(self.chunk_ttl_secs),
            temp_folder: self.temp_dir.clone().unwrap_or_else(|| folder.join("tmp")),
            database_url: self.database_url(clustered)?,
            assemble: self.assemble,
            hashed_at_once: self.hashed_at_once_bytes,
            merge_timeout: Duration::from_secs(self.merge_timeout_secs),
            ffmpeg: self.ffmpeg.clone(),
            ffprobe: self.ffprobe.clone(),
            bytes_max: limit(self.max_recording_bytes, u64::MAX),
            duration_max: limit(self.max_recording_duration, Duration::MAX),
            retention: Retention {
                finished: (!self.recording_retention.is_zero()).then_some(self.recording_retention),
                partial: (!self.partial_retention.is_zero()).then_some(self.partial_retention),
            },
            housekeeping: Duration::from_secs(self.housekeeping_secs),
            webhook: self.webhook()?,
            rules: self.rules(clustered)?,
            folder,
        })
    }

    fn rules(&self, clustered: bool) -> Result<RecordingConfig, ConfigError> {
        let base = self.api_base_url.trim_end_matches('/').to_owned();
        if !base.is_empty() && !is_http(&base) {
            let what = format!("is \"{base}\", which is not like https://rooms.example.org");
            return Err(ConfigError::new("API_BASE_URL", what));
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(RecordingConfig {
            grace: Duration::from_secs(self.recording_grace_secs),
            reopen: Duration::from_secs(self.reopen_secs),
            duration_max: (!self.max_recording_duration.is_zero()).then_some(self.max_recording_duration),
            cleanup_chunks: self.cleanup_chunks,
            api_base_url: base,
            merge_jobs: self.merge_jobs.map_or_else(cores, usize::from),
            clustered,
            min_free_bytes: self.min_free_bytes,
            owner_bytes_max: (self.max_owner_bytes > 0).then_some(self.max_owner_bytes),
            owner_recordings_max: limit(self.max_owner_recordings, u32::MAX),
            webhook: !self.webhook_url.is_empty(),
        })
    }

    fn database_url(&self, clustered: bool) -> Result<String, ConfigError> {
        let of_a_server = |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
        let apart = clustered && place(&self.storage_type) == StorePlace::S3;
        let wrong = |what: &str| {
            let wanted =
                "the nodes of a cluster share a catalog, such as postgres://user:password@host/database";
            Err(ConfigError::new("DATABASE_URL", format!("{what}: {wanted}")))
        };
        match &self.database_url {
            None if apart => wrong("is not set"),
            Some(url) if apart && url.starts_with("sqlite:") => {
                wrong("is an SQLite database, which each node would have for itself beside one bucket")
            }
            None => Ok(catalog::sqlite_url(&self.storage_local_path.join("recordings.db"))),
            Some(url) if url.starts_with("sqlite:") || of_a_server(url) => Ok(url.clone()),
            // Not quoted: it may hold a password.
            Some(_) => Err(ConfigError::new(
                "DATABASE_URL",
                "is not like sqlite:///var/lib/greenroom/recordings.db or postgres://user:password@host/database",
            )),
        }
    }

    fn s3(&self) -> Result<S3Settings, ConfigError> {
        for (name, text) in [
            ("S3_BUCKET", &self.s3_bucket),
            ("S3_ACCESS_KEY_ID", &self.s3_access_key_id),
            ("S3_SECRET_ACCESS_KEY", &self.s3_secret_access_key),
        ] {
            if text.is_empty() {
                return Err(ConfigError::new(name, "is not set, but something is to be stored in S3"));
            }
        }
        Ok(S3Settings {
            bucket: self.s3_bucket.clone(),
            endpoint: self.s3_endpoint.clone(),
            public_endpoint: self.s3_public_endpoint.clone(),
            region: self.s3_region.clone(),
            path_style: self.s3_path_style.unwrap_or(self.s3_endpoint.is_some()),
            access_key: self.s3_access_key_id.clone(),
            secret_key: self.s3_secret_access_key.clone(),
            prefix: self.s3_prefix.trim_matches('/').to_owned(),
            link_ttl: Duration::from_secs(self.s3_link_secs),
            timeout: S3_TIMEOUT,
        })
    }

    fn webhook(&self) -> Result<Option<WebhookSettings>, ConfigError> {
        let (url, secret) = (&self.webhook_url, &self.webhook_secret);
        match (url.is_empty(), secret.is_empty()) {
            (true, true) => Ok(None),
            (false, false) if is_http(url) => {
                Ok(Some(WebhookSettings { url: url.clone(), secret: secret.clone() }))
            }
            (false, false) => {
                Err(ConfigError::new("WEBHOOK_URL", "is not like https://app.example.org/recordings"))
            }
            (true, false) => Err(ConfigError::new("WEBHOOK_SECRET", "is set, but WEBHOOK_URL is not")),
            (false, true) => Err(ConfigError::new("WEBHOOK_URL", "is set, but WEBHOOK_SECRET is not")),
        }
    }
}

fn place(text: &str) -> StorePlace {
    match text.to_ascii_uppercase().as_str() {
        "S3" => StorePlace::S3,
        "REDIS" => StorePlace::Redis,
        _ => StorePlace::Folder,
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// What is written as 0 is no limit.
fn limit<T: Default + PartialEq>(written: T, none: T) -> T {
    if written == T::default() { none } else { written }
}

/// A span: seconds, or a number with a unit.
fn span(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => {
            humantime::parse_duration(text).map_err(|_| "not a time such as 30d, 12h or 90s".to_owned())
        }
    }
}
