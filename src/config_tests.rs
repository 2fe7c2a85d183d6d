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
    for argument in Settings::command().get_arguments().filter_map(clap::Arg::get_env) {
        assert!(help.contains(&*argument.to_string_lossy()), "{argument:?}");
    }
}
