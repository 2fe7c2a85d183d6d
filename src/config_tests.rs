//! What is wrong is named in one sentence.

use super::*;
use crate::adapters::redis::RedisKind;

fn config(arguments: &[&str]) -> Result<Config, String> {
    match parse(std::iter::once("greenroom").chain(arguments.iter().copied())) {
        Ok(Request::Run(config)) => Ok(*config),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn the_defaults_are_those_of_the_protocol() {
    let config = config(&[]).expect("defaults");
    assert_eq!(config.port, 9000);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.drain_deadline, Duration::from_secs(30));
}

#[test]
fn a_wrong_value_is_one_sentence_that_names_the_setting() {
    for (arguments, setting) in [
        (&["--port", "99999"][..], "PORT cannot be \"99999\": "),
        (&["--host", "here"], "HOST cannot be \"here\": "),
        (&["--node-id", "a b"], "NODE_ID cannot be \"a b\": "),
        (&["--log-format", "xml"], "LOG_FORMAT cannot be \"xml\": it is one of text, json."),
        (&["--room-max-participants", "0"], "ROOM_MAX_PARTICIPANTS cannot be \"0\": "),
        (&["--lease-secs", "1"], "LEASE_SECS cannot be \"1\": "),
        (&["--cluster-mode", "maybe"], "CLUSTER_MODE cannot be \"maybe\": "),
        (&["--ping-timeout-secs", "20"], "PING_TIMEOUT_SECS is 20, but must be longer"),
        (&["--ice-servers", "stun:a"], "ICE_SERVERS must be a JSON array"),
        (&["--turn-secret", "x"], "TURN_SECRET is set, but TURN_URLS is not."),
        (&["--turn-urls", "turn:a"], "TURN_URLS is set, but TURN_SECRET is not."),
        (&["--trusted-proxies", "10.0.0.0/8,home"], "TRUSTED_PROXIES cannot be \"home\": "),
        (&["--allowed-origins", "example.org"], "ALLOWED_ORIGINS has \"example.org\", "),
        (&["--colour", "green"], "There is no setting --colour; --help lists them."),
    ] {
        let sentence = config(arguments).expect_err(setting);
        assert!(sentence.starts_with(setting), "{sentence}");
        assert!(!sentence.contains('\n') && sentence.ends_with('.'), "{sentence}");
    }
}

#[test]
fn what_is_wrong_with_a_setting_of_recordings_is_said_too() {
    let bucket = ["--storage-type", "S3", "--s3-access-key-id", "a", "--s3-secret-access-key", "b"];
    for (arguments, setting) in [
        (&["--max-recording-duration", "soon"][..], "MAX_RECORDING_DURATION cannot be \"soon\": "),
        (&["--recording-retention=-1d"], "RECORDING_RETENTION cannot be \"-1d\": "),
        (&["--partial-retention", "1 fortnight"], "PARTIAL_RETENTION cannot be \"1 fortnight\": "),
        (&["--max-recording-bytes", "1GiB"], "MAX_RECORDING_BYTES cannot be \"1GiB\": "),
        (&["--max-owner-bytes=-1"], "MAX_OWNER_BYTES cannot be \"-1\": "),
        (&["--max-owner-recordings", "4294967296"], "MAX_OWNER_RECORDINGS cannot be \"4294967296\": "),
        (&["--min-free-bytes", "half"], "MIN_FREE_BYTES cannot be \"half\": "),
        (&["--reopen-secs", "99999999"], "REOPEN_SECS cannot be \"99999999\": "),
        (&["--merge-jobs", "0"], "MERGE_JOBS cannot be \"0\": "),
        (&["--storage-type", "tape"], "STORAGE_TYPE cannot be \"tape\": it is one of LOCAL, S3."),
        (&["--chunk-store", "redis"], "CHUNK_STORE is REDIS, but CLUSTER_MODE is not true."),
        (&["--chunk-store", "S3"], "S3_BUCKET is not set, but something is to be stored in S3."),
        (&bucket, "S3_BUCKET is not set, but something is to be stored in S3."),
        (
            &[&bucket[..], &["--s3-bucket", "b", "--cluster-mode", "true"]].concat(),
            "DATABASE_URL is not set: the nodes of a cluster share a catalog",
        ),
        (
            &[
                &bucket[..],
                &["--s3-bucket", "b", "--cluster-mode", "true", "--database-url", "sqlite:///a.db"],
            ]
            .concat(),
            "DATABASE_URL is an SQLite database, which each node would have for itself beside one bucket: the nodes",
        ),
        (&["--database-url", "mysql://root:secret@host/x"], "DATABASE_URL is not like "),
        (&["--webhook-url", "https://app.example/hook"], "WEBHOOK_URL is set, but WEBHOOK_SECRET is not."),
        (&["--webhook-secret", "s"], "WEBHOOK_SECRET is set, but WEBHOOK_URL is not."),
        (&["--webhook-url", "app.example", "--webhook-secret", "s"], "WEBHOOK_URL is not like "),
        (&["--api-base-url", "rooms.example"], "API_BASE_URL is \"rooms.example\", which is not like "),
    ] {
        let sentence = config(arguments).expect_err(setting);
        assert!(sentence.starts_with(setting), "{sentence}");
        assert!(!sentence.contains('\n') && sentence.ends_with('.'), "{sentence}");
        assert!(!sentence.contains("secret"), "{sentence}");
    }
}

#[test]
fn a_limit_of_recordings_that_is_0_is_none_and_times_have_units() {
    let unlimited = config(&[]).expect("defaults").recording;
    assert_eq!((unlimited.bytes_max, unlimited.duration_max), (u64::MAX, Duration::MAX));
    assert_eq!((unlimited.rules.owner_bytes_max, unlimited.rules.owner_recordings_max), (None, u32::MAX));
    assert_eq!((unlimited.retention.finished, unlimited.retention.partial), (None, None));
    for (written, secs) in [("90", 90), ("90s", 90), ("4h", 14_400), ("30d", 2_592_000)] {
        let settings = config(&["--max-recording-duration", written, "--recording-retention", written]);
        let settings = settings.expect(written).recording;
        let span = Duration::from_secs(secs);
        assert_eq!((settings.duration_max, settings.retention.finished), (span, Some(span)), "{written}");
    }
}

fn cluster(arguments: &[&str]) -> Result<ClusterSettings, String> {
    let arguments = [&["--cluster-mode", "true"], arguments].concat();
    config(&arguments).map(|config| config.cluster.expect("one of a cluster"))
}

#[test]
fn a_node_is_alone_unless_told_and_then_looks_at_nothing_of_redis() {
    assert!(config(&["--redis-url", "nonsense"]).expect("valid").cluster.is_none());
}

#[test]
fn redis_is_named_in_one_way() {
    for (arguments, sentence) in [
        (
            &["--redis-sentinels", "a:1", "--redis-cluster-nodes", "b:1"][..],
            "REDIS_SENTINELS and REDIS_CLUSTER_NODES are both set; a cluster has one Redis.",
        ),
        (
            &["--redis-sentinels", "a:1", "--redis-sentinel-master", "m", "--redis-host", "b"],
            "REDIS_SENTINELS and REDIS_HOST are both set; a cluster has one Redis.",
        ),
        (
            &["--redis-cluster-nodes", "a:1", "--redis-host", "b"],
            "REDIS_CLUSTER_NODES and REDIS_HOST are both set; a cluster has one Redis.",
        ),
        (&["--redis-url", "redis://a", "--redis-host", "b"], "REDIS_URL and REDIS_HOST are both set."),
        (&["--redis-url", "redis://a", "--redis-port", "1"], "REDIS_URL and REDIS_PORT are both set."),
        (&["--redis-sentinels", "a:1"], "REDIS_SENTINELS is set, but REDIS_SENTINEL_MASTER is not."),
        (&["--redis-sentinel-master", "m"], "REDIS_SENTINEL_MASTER is set, but REDIS_SENTINELS is not."),
    ] {
        assert_eq!(cluster(arguments).expect_err(sentence), sentence);
    }
}

#[test]
fn redis_is_found_by_url_by_host_or_on_this_machine() {
    let single = |arguments: &[&str]| {
        let redis = cluster(arguments).expect("valid").redis;
        assert_eq!(redis.kind, RedisKind::Single);
        redis.url
    };
    assert_eq!(single(&[]), "redis://localhost:6379");
    assert_eq!(single(&["--redis-url", "rediss://ada:pass@cache:7/2"]), "rediss://ada:pass@cache:7/2");
    assert_eq!(single(&["--redis-host", "cache"]), "redis://cache:6379");
    assert_eq!(single(&["--redis-host", "::1", "--redis-port", "7"]), "redis://[::1]:7");
}

#[test]
fn sentinels_and_cluster_nodes_take_their_login_from_the_url() {
    let url = ["--redis-url", "redis://ada:pass@ignored"];
    let redis = |arguments: &[&str]| cluster(&[&url[..], arguments].concat()).expect("valid").redis;
    let found = redis(&["--redis-sentinels", "a:1, b:2", "--redis-sentinel-master", "main"]);
    let sentinels = ["a:1", "b:2"].map(str::to_owned).to_vec();
    assert_eq!(found.kind, RedisKind::Sentinel { sentinels, master: "main".to_owned() });
    assert_eq!(found.url, url[1]);
    let found = redis(&["--redis-cluster-nodes", "a:1"]);
    assert_eq!(found.kind, RedisKind::Cluster { nodes: vec!["a:1".to_owned()] });
}

#[test]
fn lists_are_separated_by_commas() {
    let config = config(&[
        "--allowed-origins",
        "https://a.example, https://B.example:8443",
        "--trusted-proxies",
        "10.1.2.3,fd00::/8",
    ])
    .expect("valid");
    let origins: Vec<_> = config.allowed_origins.iter().map(String::as_str).collect();
    assert_eq!(origins, ["https://a.example", "https://b.example:8443"]);
    assert_eq!(config.trusted_proxies.len(), 2);
}

#[test]
fn help_lists_every_setting() {
    let Ok(Request::Print(help)) = parse(["greenroom", "--help"]) else { panic!("no help") };
    let command = Settings::command();
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    for argument in shown.filter_map(clap::Arg::get_env) {
        assert!(help.contains(&*argument.to_string_lossy()), "{argument:?}");
    }
}
