//! The export worker: MP4s of finished videos, one at a time, behind whatever else the node does.
//!
//! ```text
//!  asked ─► there: served ─► under way, here or elsewhere: how far ─► failed a moment ago: why
//!                        └─► nobody is at it: waits for its turn ─► making
//! ```
//! Nobody waits for an MP4: who asks is told how far it is. One that is made lies in the video store under the name of its
//! video, but for the ending, and goes with it. What it is not: it has no part in the account of a recording.
//!
//! Next: `making` (one export).

mod making;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, ResponseActFuture, WrapFuture as _, fut,
};

use self::making::Making;
use super::messages::{AskExport, ExportAnswer, ExportWish};
use crate::{
    adapters::{
        ports::{ExportStands, RecordingPorts},
        work_folders::WorkFolders,
    },
    metrics::Metrics,
    protocol::{Code, Refusal, limits, recorder::VideoKey},
};

/// When one is asked again that was told that too many wait.
const BUSY_PAUSE_MS: u64 = 10_000;

/// What a worker is given.
#[derive(Clone)]
pub struct ExportWorkerConfig {
    /// Where the work has its folders, beside those of merges.
    pub folders: WorkFolders,
    /// Nothing begins that would leave less than this. Unit: bytes.
    pub min_free_bytes: u64,
    /// For how long an export is its node's without a word.
    pub lease: Duration,
}

/// Makes MP4s.
pub struct ExportWorker {
    ports: RecordingPorts,
    config: ExportWorkerConfig,
    metrics: Metrics,
    /// Videos whose turn has not come.
    waiting: VecDeque<VideoKey>,
    /// The video that is at work, and how far it is.
    running: Option<(VideoKey, Arc<AtomicU8>)>,
    /// Whether what an earlier life has left is gone.
    is_clear: bool,
}

impl ExportWorker {
    /// A worker with nothing to do.
    #[must_use]
    pub fn new(ports: RecordingPorts, config: ExportWorkerConfig, metrics: Metrics) -> Self {
        Self { ports, config, metrics, waiting: VecDeque::new(), running: None, is_clear: false }
    }

    /// How far this node is with it; `None`: it is not at it.
    fn percent(&self, video: &VideoKey) -> Option<u8> {
        match &self.running {
            Some((running, percent)) if running == video => Some(percent.load(Ordering::Relaxed)),
            _ => self.waiting.contains(video).then_some(0),
        }
    }

    fn enqueue(&mut self, video: VideoKey, ctx: &mut Context<Self>) -> Result<ExportAnswer, Refusal> {
        if self.waiting.len() >= limits::EXPORTS_WAITING_MAX {
            let refusal = Refusal::because(Code::Overloaded, "too many exports wait for their turn");
            return Err(refusal.retry_after_ms(BUSY_PAUSE_MS));
        }
        self.waiting.push_back(video);
        self.begin_next(ctx);
        Ok(ExportAnswer::Converting { percent: 0 })
    }

    fn begin_next(&mut self, ctx: &mut Context<Self>) {
        if self.is_clear
            && self.running.is_none()
            && let Some(video) = self.waiting.pop_front()
        {
            self.begin(video, ctx);
        }
        let running = self.metrics.exports_running.with_label_values::<&str>(&[]);
        running.set(i64::from(self.running.is_some()));
    }

    fn begin(&mut self, video: VideoKey, ctx: &mut Context<Self>) {
        let percent = Arc::new(AtomicU8::new(0));
        self.running = Some((video.clone(), percent.clone()));
        let making = Making::new(self.ports.clone(), self.config.clone(), video, percent);
        // A task of its own: a panic in it is its end and not the worker's.
        let task = tokio::spawn(making.run());
        ctx.spawn(task.into_actor(self).map(|made, worker, ctx| {
            let outcome = made.unwrap_or("bug");
            worker.metrics.exports.with_label_values(&[outcome]).inc();
            worker.running = None;
            worker.begin_next(ctx);
        }));
    }
}

impl Actor for ExportWorker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::EXPORT_WORKER_MAILBOX);
        let folders = self.config.folders.clone();
        let cleared = async move { folders.clear_own().await };
        ctx.spawn(cleared.into_actor(self).map(|(), worker, ctx| {
            worker.is_clear = true;
            worker.begin_next(ctx);
        }));
    }
}

impl Handler<AskExport> for ExportWorker {
    type Result = ResponseActFuture<Self, Result<ExportAnswer, Refusal>>;

    fn handle(&mut self, message: AskExport, _: &mut Self::Context) -> Self::Result {
        let AskExport { video, wish } = message;
        if let Some(percent) = self.percent(&video) {
            return Box::pin(fut::ready(Ok(ExportAnswer::Converting { percent })));
        }
        let looking = look(self.ports.clone(), video.as_mp4());
        Box::pin(looking.into_actor(self).map(move |looked, worker, ctx| {
            match (looked?, worker.percent(&video)) {
                (Some(answer), _) => Ok(answer),
                // Somebody else has asked at the same moment.
                (None, Some(percent)) => Ok(ExportAnswer::Converting { percent }),
                (None, None) if wish == ExportWish::Look => Ok(ExportAnswer::NotBegun),
                (None, None) => worker.enqueue(video, ctx),
            }
        }))
    }
}

/// What is known of an MP4 that this node is not at; `None`: nobody is.
async fn look(ports: RecordingPorts, mp4: VideoKey) -> Result<Option<ExportAnswer>, Refusal> {
    ports.same_stores.check().map_err(|error| error.refusal())?;
    // Who is at it before whether it is there: who ends has stored it before.
    let stands = ports.exports.show(&mp4).await.map_err(|error| error.refusal())?;
    if ports.videos.find(&mp4).await.map_err(|error| error.refusal())?.is_some() {
        return Ok(Some(ExportAnswer::There));
    }
    match stands {
        Some(ExportStands::Failed(refusal)) => Err(refusal),
        Some(ExportStands::Elsewhere(percent)) => Ok(Some(ExportAnswer::Converting { percent })),
        None => Ok(None),
    }
}
