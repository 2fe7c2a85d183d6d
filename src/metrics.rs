//! Every metric of a node in one table, from which the collectors, `/metrics` and `docs/METRICS.md` are made.
//!
//! Names follow Prometheus: base units, `_total` on counters only. No label ever holds an id, so the number of series
//! is bounded by this page.

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
    process_collector::ProcessCollector,
};

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// As Prometheus sees it.
    pub name: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, for an operator.
    pub meaning: &'static str,
}

/// Buckets of durations: 100 µs to 5 min. Unit: seconds.
const SECONDS: [f64; 13] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0];

macro_rules! kind_of {
    (Counter) => {
        IntCounterVec
    };
    (Gauge) => {
        IntGaugeVec
    };
    (Histogram) => {
        HistogramVec
    };
}
macro_rules! collector {
    (Counter, $spec:expr) => {
        IntCounterVec::new(Opts::new($spec.name, $spec.meaning), $spec.labels)
    };
    (Gauge, $spec:expr) => {
        IntGaugeVec::new(Opts::new($spec.name, $spec.meaning), $spec.labels)
    };
    (Histogram, $spec:expr) => {
        HistogramVec::new(
            HistogramOpts::new($spec.name, $spec.meaning).buckets(SECONDS.to_vec()),
            $spec.labels,
        )
    };
}
macro_rules! metrics {
    ($( $field:ident: $kind:ident [$($label:literal),*] $name:literal, $meaning:literal; )*) => {
        /// The collectors of one node. Cheap to clone: clones count into the same series.
        #[derive(Clone)]
        pub struct Metrics {
            registry: Registry,
            $( #[doc = $meaning] pub $field: kind_of!($kind), )*
        }

        /// Every metric of ours; those of the process are [`PROCESS`].
        pub const TABLE: &[Spec] = &[ $( Spec {
            name: $name, kind: Kind::$kind, labels: &[$($label),*], meaning: $meaning,
        }, )* ];

        impl Metrics {
            /// Registers every collector.
            ///
            /// # Errors
            /// A row that Prometheus refuses: a bad name, or one that stands twice.
            pub fn new() -> Result<Self, prometheus::Error> {
                let mut rows = TABLE.iter();
                let mut row = || rows.next().ok_or(prometheus::Error::AlreadyReg);
                let registry = Registry::new();
                $(
                    let spec = row()?;
                    let $field = collector!($kind, spec)?;
                    registry.register(Box::new($field.clone()))?;
                )*
                registry.register(Box::new(ProcessCollector::for_self()))?;
                Ok(Self { registry, $( $field, )* })
            }
        }
    };
}

metrics! {
    node_info: Gauge ["version", "node"] "greenroom_node_info", "Always 1; says which version runs under which name.";
    sockets: Gauge ["kind"] "greenroom_sockets", "WebSockets open now, by kind (`peer`, `recorder`).";
    sockets_ended: Counter ["kind", "reason"] "greenroom_sockets_ended_total", "WebSockets that have ended, by kind and by the code with which the node ended them; `gone` when the browser or the network did.";
    connections_refused: Counter ["reason"] "greenroom_connections_refused_total", "WebSocket requests answered with an HTTP error, by code.";
    sessions: Gauge ["state"] "greenroom_sessions", "Sessions now, by state: `present` has a socket, `suspect` has lost it and is in its grace.";
    rooms: Gauge [] "greenroom_rooms", "Rooms with somebody in them now.";
    participants: Gauge [] "greenroom_participants", "Participants in all rooms now, whatever their state.";
    joins: Counter ["result"] "greenroom_joins_total", "Joins by result: `joined`, `rejoined` (a participant replaced its own session), or the code of the refusal.";
    leaves: Counter ["reason"] "greenroom_leaves_total", "Participants gone, by reason: `left`, `timeout` (the grace ran out), `kicked`.";
    resumes: Counter ["outcome"] "greenroom_resumes_total", "Resumes by outcome: `full` (nothing lost), `snapshot` (what was missed no longer existed), `refused`.";
    relayed: Counter ["kind"] "greenroom_relayed_messages_total", "Signals and messages taken for relay, by kind: `Offer`, `Answer`, `IceCandidate`, `Message`.";
    relay_recipients: Counter ["kind"] "greenroom_relay_recipients_total", "Recipients of relayed signals and messages, by kind; with a broadcast, one for each.";
    refusals: Counter ["code"] "greenroom_refusals_total", "Commands refused, by code (`docs/PROTOCOL.md` has the table).";
    slow_consumers: Counter [] "greenroom_slow_consumers_ended_total", "Connections ended because they did not keep up with what they were sent.";
    mailbox_overflows: Counter ["mailbox"] "greenroom_mailbox_overflows_total", "Messages that found a mailbox full, by mailbox: `peer`, `room_manager`, `cluster_bridge`, `recorder`, `supervisor`, `merge_worker`, `assembly_worker`. The connection concerned is ended; what is for a merge comes again; what would have been assembled at once is at the end; other nodes are held back, or told.";
    mailbox_delay: Histogram ["mailbox"] "greenroom_mailbox_delay_seconds", "Time that messages waited in a manager's mailbox. Rising: the node is near its limit.";
    registry_errors: Counter ["operation"] "greenroom_registry_errors_total", "Operations of the rooms' registry that failed: `admit`, `mirror`, `sync`, `find`, `take_over`, `show`; in a cluster also `beat`, `claim`, `index`, `unindex`, `reap`, `remove`.";
    chunks: Counter ["way", "result"] "greenroom_chunks_total", "Chunks by way (`socket`, `http`) and result: `acked`, `duplicate` (acknowledged again), or the code of the refusal.";
    chunk_bytes: Counter ["way"] "greenroom_chunk_bytes_total", "Bytes of chunks that were acknowledged, by way.";
    chunk_ack: Histogram ["way"] "greenroom_chunk_ack_seconds", "Time from a chunk's last byte to its acknowledgement: it is durable by then.";
    chunks_in_flight: Gauge [] "greenroom_chunks_in_flight", "Chunks that are being stored now.";
    chunk_bytes_in_flight: Gauge [] "greenroom_chunk_in_flight_bytes", "Bytes of chunks that are being stored now.";
    recordings: Gauge ["state"] "greenroom_recordings", "Recordings of this node that are not over, by state: `recording`, `finalising`, `ready` (its video is not complete, and its chunks are kept), `failed`.";
    recorders: Gauge [] "greenroom_recorders", "Recorders with a socket now.";
    recorder_reconnects: Counter ["outcome"] "greenroom_recorder_reconnects_total", "Recorders that went on with a recording, by outcome: `in_grace`, `reopened` (it had been finalised without them), or the code of the refusal.";
    recordings_started: Counter ["result"] "greenroom_recordings_started_total", "Recordings begun: `started`, or the code of the refusal.";
    recordings_ended: Counter ["how", "outcome"] "greenroom_recordings_ended_total", "Recordings that ended, by how (`stopped` by their recorder, `auto` after its grace, `aborted`) and outcome (`complete`, `incomplete`, `failed`, `discarded`).";
    chunks_missing: Counter [] "greenroom_chunks_missing_total", "Chunks that were expected or acknowledged and are not in their video.";
    gaps: Counter [] "greenroom_gaps_total", "Gaps in finished videos.";
    merges: Counter ["outcome", "path"] "greenroom_merges_total", "Merges by outcome (`ready`, `outdated`, `empty`, `lost`, `unavailable`, `interrupted`, `impossible`, `not_proven`, `store`) and path (`copied`, `filled`, `re-encoded`, `none`).";
    merge_duration: Histogram ["path"] "greenroom_merge_duration_seconds", "Time from the begin of a merge to its video in the store, by path.";
    merges_running: Gauge [] "greenroom_merges_running", "Merges that run now.";
    merges_waiting: Gauge [] "greenroom_merges_waiting", "Recordings that wait for a merge.";
    cleanups: Counter ["outcome"] "greenroom_cleanups_total", "Recordings whose chunks were taken away: `merged`, `forgotten` (nobody came back), `aborted`, `deleted`, `failed`.";
    unmerged_bytes: Gauge [] "greenroom_unmerged_bytes", "Bytes of chunks that are kept and in no video, of failed and incomplete recordings. Above 0: look at the library.";
    exports: Counter ["outcome"] "greenroom_exports_total", "MP4s that were asked for, by outcome: `made`, `elsewhere` (another node is at it), `outdated` (the recording was deleted, or has a newer video), `full` (too little space), `unavailable`, `interrupted`, `impossible`, `not_proven`, `store`, `bug`.";
    exports_running: Gauge [] "greenroom_exports_running", "MP4s that are being made now: one at most.";
    free_bytes: Gauge [] "greenroom_storage_free_bytes", "Space left where recordings are stored.";
    catalog_waiting: Gauge [] "greenroom_catalog_waiting_rows", "Rows that the catalog has still to be told, because it was away or is slow.";
    storage_errors: Counter ["store", "operation"] "greenroom_storage_errors_total", "Operations of stores that failed, by store (`chunks`, `videos`, `catalog`, `ledger`, `assembly`) and operation.";
    sweeps: Counter ["outcome"] "greenroom_housekeeping_sweeps_total", "Looks for what may go, by outcome: `done`, or `put_off` (the catalog, the ledger or a store did not answer; nothing goes because of it). In a cluster one node does it.";
    swept: Counter ["reason"] "greenroom_housekeeping_deleted_total", "What housekeeping has taken away, by reason: `retention` and `partial` (recordings, or the chunks of one, kept for as long as is set), `orphaned_chunks` (of recordings), `orphaned_video` (videos and posters), `half_written` (files).";
    swept_bytes: Counter ["reason"] "greenroom_housekeeping_deleted_bytes_total", "Bytes of what housekeeping has taken away, by reason.";
    webhook_deliveries: Counter ["outcome"] "greenroom_webhook_deliveries_total", "Tries to tell the application of recordings, by outcome: `taken`, `refused` (an answer other than 2xx; it is tried again), `unreachable` (none in time; the same), `given_up` (answered with 410, or not taken for three days).";
    webhook_waiting: Gauge [] "greenroom_webhook_waiting_events", "Events that wait for the application, on the node that tells it; 0 on the others.";
    webhook_oldest: Gauge [] "greenroom_webhook_oldest_waiting_seconds", "How long ago the oldest event that waits for the application happened, on the node that tells it. Rising: the application does not take it.";
    cluster_mode: Gauge ["mode"] "greenroom_cluster_mode", "1 for the mode the node is in, 0 for the others: `local`, `starting`, `cluster`, `isolated` (cut off from Redis).";
    cluster_lease_left: Gauge [] "greenroom_cluster_lease_left_seconds", "What is left of this node's lease, in whole seconds. 0 for long: it is isolated.";
    cluster_nodes: Gauge ["state"] "greenroom_cluster_nodes", "Nodes that this one knows, itself included, by state: `live`, `draining`, `dead` (being cleared away).";
    cluster_probe: Histogram [] "greenroom_cluster_probe_seconds", "Time that a node's probe to its own inbox took through Redis.";
    cluster_rebuilds: Counter [] "greenroom_cluster_bus_rebuilds_total", "Times that the bus was connected anew because probes did not come back.";
    cluster_link_gaps: Counter ["outcome"] "greenroom_cluster_link_gaps_total", "Gaps on links from other nodes, by outcome: `found`, `repaired`.";
    cluster_link_resets: Counter [] "greenroom_cluster_link_resets_total", "Links to other nodes that began anew because something could not be delivered.";
    cluster_link_dropped: Counter [] "greenroom_cluster_link_dropped_total", "Messages to other nodes that were handed back undelivered; the sender of a relay is told.";
    cluster_unacked: Gauge [] "greenroom_cluster_link_unacked_messages", "Messages to other nodes that are kept until they are acknowledged, on all links.";
    cluster_outdated: Counter [] "greenroom_cluster_outdated_messages_total", "Messages dropped because an earlier life of a node sent them, or was meant.";
    cluster_reasserts: Counter ["reason"] "greenroom_cluster_reasserts_total", "Times that the node put all it holds back into Redis, by reason: `back` (Redis had been away), `emptied`, `rolled_back`, `new_life` (the node had been taken for dead).";
    cluster_fence_refusals: Counter ["operation"] "greenroom_cluster_fence_refusals_total", "Changes that Redis did not take because the row is somebody else's by now, or gone, by operation: `update`, `withdraw`.";
    cluster_nodes_died: Counter [] "greenroom_cluster_nodes_died_total", "Nodes that this one has found dead.";
    cluster_reaped: Counter [] "greenroom_cluster_reaped_sessions_total", "Sessions of dead nodes after which this one has cleared away.";
    cluster_sessions_moved: Counter [] "greenroom_cluster_sessions_moved_total", "Sessions of this node that another node has taken over, or replaced.";
    cluster_isolated_joins: Counter [] "greenroom_cluster_isolated_joins_total", "Joins that the node decided by itself while it was cut off from Redis.";
    redis_operations: Counter ["command", "outcome"] "greenroom_redis_operations_total", "Commands to Redis, by command (scripts by name) and outcome: `ok`, `lost` (no connection), `late` (no answer in time), `refused` (read-only, out of memory, loading and the like), `outdated` (the node's lease had ended), `unexpected`, `not_asked` (the breaker was open).";
    redis_duration: Histogram ["command"] "greenroom_redis_operation_duration_seconds", "Time that commands to Redis took, their retries included, by command.";
    redis_breaker: Gauge ["state"] "greenroom_redis_breaker", "1 for the state of the breaker in front of Redis, 0 for the others: `closed` (it answers), `open` (it does not and is left alone), `half_open` (it is tried).";
    s3_operations: Counter ["operation", "outcome"] "greenroom_s3_operations_total", "Requests to S3, by operation (`put`, `begin`, `part`, `complete` and `abort` of an upload in parts, `get`, `head`, `list`, `delete`, `delete_many`) and outcome: `ok`, `missing` and `taken` (answers that decide what happens next), `away` (no answer, or one that says that the server is in trouble), `busy`, `full`, `refused` (rights, or the bucket), `unsuitable`, `unexpected`, `not_asked` (the breaker was open).";
    s3_duration: Histogram ["operation"] "greenroom_s3_operation_duration_seconds", "Time that requests to S3 took, their retries included, by operation.";
    s3_breaker: Gauge ["state"] "greenroom_s3_breaker", "1 for the state of the breaker in front of S3, 0 for the others, as of Redis. Nothing where no bucket is used.";
    catalog_breaker: Gauge ["state"] "greenroom_catalog_breaker", "1 for the state of the breaker in front of the catalog's database, 0 for the others, as of Redis.";
    bus_published: Counter ["outcome"] "greenroom_bus_published_total", "Messages to other nodes, by outcome: `sent` to Redis, `lost` (Redis did not take them), `full` (too many waited).";
    bus_received: Counter ["kind"] "greenroom_bus_received_total", "Messages from other nodes, by kind: `message` to this node, `event` to all, `unreadable`, `dropped` (too many waited).";
    http_duration: Histogram ["method", "route", "status"] "greenroom_http_request_duration_seconds", "Duration of HTTP requests, by method, route and status class (`2xx`).";
    http_errors: Counter ["route", "status"] "greenroom_http_errors_total", "HTTP requests answered with a status of 400 or more, by route and status.";
}

/// What the process collector of the Prometheus library adds on Linux.
pub const PROCESS: &[(&str, &str)] = &[
    ("process_cpu_seconds_total", "CPU time used, user and system."),
    ("process_max_fds", "Most file descriptors the process may open."),
    ("process_open_fds", "File descriptors open now."),
    ("process_resident_memory_bytes", "Resident memory now."),
    ("process_start_time_seconds", "When the process started, Unix time."),
    ("process_threads", "Threads now."),
    ("process_virtual_memory_bytes", "Virtual memory now."),
];

impl Metrics {
    /// Everything in the text format of Prometheus, version 0.0.4.
    ///
    /// # Errors
    /// A collector that contradicts itself; a bug.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// A count as a gauge takes it; one too large for it shows as the largest.
#[must_use]
pub fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
