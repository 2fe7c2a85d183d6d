//! What is wrong is named in one sentence.

use super::*;

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
        (&["--cluster-mode", "true"], "CLUSTER_MODE is true, but "),
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
