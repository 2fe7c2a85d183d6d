//! What tests of the supervisor stand on: one on the stores of a test, whom nobody hears.

use std::time::{Duration, Instant};

use actix::{Actor, Addr, Context, Handler};

use super::{RecordingConfig, RecordingSupervisor, Recovered, SupervisorLinks};
use crate::{
    actors::{
        accounts::kit::Stores,
        chunk_gate::ChunkGates,
        messages::{CancelMerge, MergeRecording, TellRecording, ToRecorder},
    },
    adapters::clock::Clock,
    metrics::Metrics,
};

/// Hears everything, and does nothing.
pub struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

macro_rules! hears {
    ($($message:ty),*) => {
        $(impl Handler<$message> for Deaf {
            type Result = ();

            fn handle(&mut self, _: $message, _: &mut Self::Context) {}
        })*
    };
}

hears!(TellRecording, MergeRecording, CancelMerge, ToRecorder);

/// A supervisor of a node among others.
pub fn supervisor(stores: &Stores) -> (RecordingSupervisor, Addr<Deaf>) {
    let deaf = Deaf.start();
    let links = SupervisorLinks {
        rooms: deaf.clone().recipient(),
        merge: deaf.clone().recipient(),
        cancel: deaf.clone().recipient(),
        gates: ChunkGates::default(),
        accounts: stores.accounts(),
    };
    let config = RecordingConfig {
        grace: Duration::from_secs(60),
        reopen: Duration::from_secs(60),
        duration_max: None,
        cleanup_chunks: true,
        api_base_url: String::new(),
        merge_jobs: 1,
        clustered: true,
        min_free_bytes: 0,
        owner_bytes_max: None,
        owner_recordings_max: 1,
        webhook: false,
    };
    let metrics = Metrics::new().expect("valid");
    let supervisor = RecordingSupervisor::new(
        stores.ports(),
        config,
        links,
        Clock::start(),
        metrics,
        Recovered::default(),
    );
    (supervisor, deaf)
}

/// Waits until the supervisor has looked so often more for what is due.
pub async fn sweeps(stores: &Stores, count: u32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let until = stores.ledger.asked("is_whole") + count;
    while stores.ledger.asked("is_whole") < until {
        assert!(Instant::now() < deadline, "it does not sweep");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
