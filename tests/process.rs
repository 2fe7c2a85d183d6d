//! The binary as an operator meets it: settings, exit codes, signals, logs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod support;

use std::{
    net::TcpListener,
    process::{Command, Output},
};

use serde_json::{Value, json};
use support::{Peer, Process, Raw, get, greenroom};

/// Runs to its end with these flags and variables, in an empty folder.
fn output(flags: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    greenroom(folder.path()).args(flags).envs(variables.iter().copied()).output().expect("the binary starts")
}

/// What it said on standard error, which is one line.
fn complaint(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = std::str::from_utf8(&output.stderr).expect("text").trim_end();
    assert!(!text.contains('\n'), "one sentence: {text}");
    text
}

#[test]
fn a_wrong_setting_stops_the_start_with_a_sentence_that_names_it() {
    for (flags, variables, begins) in [
        (&["--port=99999"][..], &[][..], "greenroom: PORT cannot be \"99999\": "),
        (&[], &[("PORT", "http")], "greenroom: PORT cannot be \"http\": "),
        (&[], &[("PORT", "")], "greenroom: PORT cannot be \"\": "),
        (&[], &[("HOST", "nowhere.example")], "greenroom: HOST cannot be \"nowhere.example\": "),
        (&[], &[("CLUSTER_MODE", "perhaps")], "greenroom: CLUSTER_MODE cannot be \"perhaps\": "),
        (
            &["--cluster-mode=true"],
            &[("REDIS_URL", "redis://a"), ("REDIS_HOST", "b")],
            "greenroom: REDIS_URL and REDIS_HOST are both set.",
        ),
        (&[], &[("ICE_SERVERS", "[{}]")], "greenroom: ICE_SERVERS "),
        (&["--port=0"], &[("LOG_LEVEL", "a=b=c")], "greenroom: LOG_LEVEL cannot be \"a=b=c\": "),
        (&["--prot=1"], &[], "greenroom: There is no setting --prot"),
    ] {
        let output = output(flags, variables);
        let complaint = complaint(&output);
        assert!(
            complaint.starts_with(begins) && complaint.ends_with('.'),
            "{flags:?} {variables:?}: {complaint}"
        );
    }
}

#[test]
fn a_redis_that_cannot_be_one_is_refused_without_its_password() {
    let url = "http://:hunter2@here.example";
    let output = output(&["--cluster-mode=true", "--log-level=error"], &[("REDIS_URL", url)]);
    let complaint = complaint(&output);
    assert!(complaint.starts_with("greenroom: REDIS_URL cannot be used: "), "{complaint}");
    assert!(complaint.ends_with('.') && !complaint.contains("hunter2"), "{complaint}");
}

#[test]
fn help_lists_the_settings_and_version_the_version() {
    let help = output(&["--help"], &[]);
    assert!(help.status.success() && help.stderr.is_empty(), "{help:?}");
    let text = String::from_utf8(help.stdout).expect("text");
    for setting in ["--port", "PORT", "SESSION_GRACE_SECS", "DRAIN_DEADLINE_SECS", "--health"] {
        assert!(text.contains(setting), "{setting} is missing: {text}");
    }
    let version = output(&["--version"], &[]);
    assert!(version.status.success(), "{version:?}");
    assert_eq!(
        String::from_utf8_lossy(&version.stdout).trim(),
        format!("greenroom {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn help_does_not_show_secrets() {
    let secrets = [
        ("TURN_SECRET", "hunter2"),
        ("TURN_URLS", "turn:turn.example.org"),
        ("REDIS_URL", "redis://:hunter2@cache"),
        ("REDIS_SENTINELS", "redis://:hunter2@one"),
        ("REDIS_CLUSTER_NODES", "redis://:hunter2@two"),
    ];
    let help = output(&["--help"], &secrets);
    assert!(!String::from_utf8_lossy(&help.stdout).contains("hunter2"));
}

async fn node_id(mut command: Command, folder: tempfile::TempDir) -> Value {
    command.args(["--port=0", "--host=127.0.0.1"]);
    let node = Process::run(command, folder);
    get(node.address(), "/health/info").await.json()["node_id"].clone()
}

#[tokio::test]
async fn a_flag_beats_the_environment_which_beats_the_file() {
    for (flag, variable, expected) in [
        (None, None, "from-file"),
        (None, Some("from-environment"), "from-environment"),
        (Some("--node-id=from-flag"), Some("from-environment"), "from-flag"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(".env"), "# a comment\nNODE_ID=from-file\n").expect("a file");
        let mut command = greenroom(folder.path());
        command.args(flag).envs(variable.map(|value| ("NODE_ID", value)));
        assert_eq!(node_id(command, folder).await, expected);
    }
}

#[tokio::test]
async fn only_the_file_in_the_working_directory_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(".env"), "NODE_ID=from-above\n").expect("a file");
    let below = folder.path().join("below");
    std::fs::create_dir(&below).expect("a folder");
    let command = greenroom(&below);
    assert_ne!(node_id(command, folder).await, "from-above");
}

#[test]
fn a_file_that_cannot_be_read_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(".env"), "PORT=0\nTURN_SECRET='s3cr3t\n").expect("a file");
    let output = greenroom(folder.path()).output().expect("the binary starts");
    assert_eq!(complaint(&output), "greenroom: .env has a line that is not like NAME=value.");
    std::fs::write(folder.path().join(".env"), b"NODE_ID=\xff\n").expect("a file");
    let output = greenroom(folder.path()).output().expect("the binary starts");
    assert!(complaint(&output).starts_with("greenroom: .env cannot be read: "), "{output:?}");
}

#[test]
fn a_port_in_use_is_said_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = output(&["--host=127.0.0.1", "--log-level=error"], &[("PORT", &port)]);
    let complaint = complaint(&output);
    assert!(complaint.contains("PORT") && complaint.contains(&port), "{complaint}");
    assert!(complaint.contains("in use"), "{complaint}");
}

#[tokio::test]
async fn a_terminated_node_says_so_to_everyone_and_ends_in_time() {
    for name in ["TERM", "INT"] {
        let mut node = Process::start(&["--drain-deadline-secs=10"]);
        let mut ada = Peer::join(node.address(), "blue", "ada").await;
        // Neither a peer that answers nothing, nor one that never said who it is, holds the node up.
        let _silent = Raw::join(node.address(), "blue", "silent").await;
        let _stranger = Raw::upgrade(node.address()).await;
        ada.expect("UserJoined").await;
        node.signal(name);
        assert!(ada.expect("Draining").await["reconnect_after_ms"].is_u64());
        ada.expect_close(1001, "draining").await;
        let status = node.ended().await;
        assert_eq!(status.code(), Some(0), "after SIG{name}: {}", node.logs());
        assert!(node.logs().contains("stopped"), "{}", node.logs());
        assert_eq!(node.complaints_of_its_end(), [""; 0]);
    }
}

#[tokio::test]
async fn health_asks_the_node_on_this_machine() {
    let mut node = Process::start(&[]);
    let port = node.address().port().to_string();
    let ask = || output(&["--health"], &[("PORT", &port)]);
    assert_eq!(ask().status.code(), Some(0));
    node.signal("TERM");
    node.ended().await;
    let answer = ask();
    assert!(complaint(&answer).contains(&port), "{answer:?}");
}

#[tokio::test]
async fn logs_are_lines_of_json_where_asked_for() {
    let mut node = Process::start(&["--log-format=json", "--log-level=debug"]);
    let _ada = Peer::join(node.address(), "blue", "ada").await;
    get(node.address(), "/health").await;
    node.signal("TERM");
    node.ended().await;
    let logs = node.logs();
    let lines: Vec<Value> = logs
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let listening =
        lines.iter().find(|line| line["message"] == "listening").expect("it says where it listens");
    assert_eq!((&listening["level"], &listening["node"]), (&json!("INFO"), &json!("test-node")));
    assert_eq!(listening["address"], node.address().to_string());
    assert!(listening["timestamp"].is_string() && listening["target"].is_string(), "{listening}");
    assert!(lines.iter().any(|line| line["message"] == "stopped"), "{logs}");
}

/// Everything that a log must never hold, said to a node that logs all it can.
#[tokio::test]
async fn logs_never_hold_tokens_or_what_participants_say() {
    let mut node = Process::start(&[
        "--log-level=trace",
        "--turn-urls=turn:turn.example.org",
        "--turn-secret=s3cr3t-turn",
    ]);
    let mut ada = Peer::join_with(
        node.address(),
        json!({ "room_name": "blue", "user_id": "ada", "token": "s3cr3t-auth", "metadata": { "x": "s3cr3t-metadata" } }),
    )
    .await;
    let mut bob = Peer::join(node.address(), "blue", "bob").await;
    ada.expect("UserJoined").await;
    for (kind, field) in
        [("Offer", "sdp"), ("Answer", "sdp"), ("IceCandidate", "candidate"), ("Message", "data")]
    {
        let mut signal = json!({ "type": kind, "target_user_id": "bob" });
        signal[field] = json!(format!("s3cr3t-{kind}"));
        ada.send(signal).await;
        bob.expect(kind).await;
    }
    ada.send_text(r#"{"type":"Lock","locked":"s3cr3t-nonsense"}"#.to_owned()).await;
    ada.expect_error("malformed").await;
    let mut wrong = support::resume(&ada.welcome, 0);
    wrong["resume_token"] = json!("s3cr3t-wrong");
    let mut mallory = Peer::connect(node.address()).await;
    mallory.send(wrong).await;
    mallory.expect_error("unauthorised").await;
    let (welcome, heard) = bob.lose();
    ada.expect_updated("bob", "state", "suspect").await;
    Peer::resume(node.address(), &welcome, heard).await.expect("Resumed").await;
    ada.expect_updated("bob", "state", "present").await;

    node.signal("TERM");
    node.ended().await;
    let logs = node.logs();
    assert!(logs.contains("TRACE"), "it logs all it can: {logs}");
    let tokens = [&ada.welcome, &welcome].map(|welcome| welcome["resume_token"].as_str().expect("a token"));
    for secret in ["s3cr3t", tokens[0], tokens[1]] {
        let line = logs.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the logs");
    }
    let credential = &ada.welcome["ice_servers"][0]["credential"];
    assert!(!logs.contains(credential.as_str().expect("a credential")), "a TURN credential is in the logs");
}
