//! The house stands: imports go only downward, and the lower floors have no hands.
#![expect(clippy::expect_used, reason = "a panic is how a test fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each part of the crate and the floor it stands on.
const FLOORS: [(&str, u8); 9] = [
    ("protocol", 0),
    ("domain", 1),
    ("metrics", 2),
    ("adapters", 2),
    ("actors", 3),
    ("http", 4),
    ("config", 5),
    ("telemetry", 5),
    ("app", 5),
];

/// What the two lowest floors may not name: time, chance, the environment, logs, and everything that waits.
const HANDS: [&str; 14] = [
    "actix",
    "tokio",
    "redis",
    "sqlx",
    "tracing",
    "prometheus",
    "std::env",
    "std::fs",
    "std::net",
    "Instant",
    "SystemTime",
    "Utc::now",
    "new_v4",
    "println!",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with its part of the crate and its code; comments say what they like.
fn parts() -> Vec<(PathBuf, String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let part = |file: &Path| {
        let first = file.strip_prefix(&src).expect("below src").iter().next().expect("a name");
        first.to_string_lossy().trim_end_matches(".rs").trim_end_matches("_tests").to_owned()
    };
    let code = |file: &Path| {
        let text = fs::read_to_string(file).expect("readable");
        let kept = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        kept.collect::<Vec<_>>().join("\n")
    };
    files.iter().map(|file| (file.clone(), part(file), code(file))).collect()
}

fn floor(part: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == part).map(|(_, floor)| *floor)
}

/// The parts that `crate::…` paths in this code name, also within braces.
fn named(code: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let until = rest.find(';').unwrap_or(rest.len());
        let path = &rest[..until];
        if let Some(list) = path.strip_prefix('{') {
            let mut depth = 0;
            for item in list.split_inclusive(['{', '}', ',']) {
                if depth == 0 {
                    parts.push(first_word(item));
                }
                depth += i32::from(item.ends_with('{')) - i32::from(item.ends_with('}'));
            }
        } else {
            parts.push(first_word(path));
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn first_word(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn imports_go_only_downward() {
    let mut wrong = Vec::new();
    for (file, part, code) in parts() {
        if part == "main" || part == "lib" {
            continue;
        }
        let here = floor(&part).unwrap_or_else(|| panic!("{part} stands on no floor"));
        for other in named(&code) {
            match floor(&other) {
                Some(there) if there <= here => {}
                Some(_) => wrong.push(format!("{}: {part} imports {other}", file.display())),
                None => wrong.push(format!("{}: crate::{other} is on no floor", file.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "upward imports:\n{}", wrong.join("\n"));
}

#[test]
fn the_walk_sees_paths_in_braces_too() {
    assert_eq!(named("use crate::{\n  domain::{a, b},\n  protocol::ids,\n};"), ["domain", "protocol"]);
    assert_eq!(named("let x = crate::http::routes; use crate::app::App;"), ["http", "app"]);
}

#[test]
fn protocol_and_domain_have_no_hands() {
    let mut wrong = Vec::new();
    for (file, part, code) in parts() {
        if floor(&part).is_some_and(|floor| floor <= 1) {
            let hands = HANDS.iter().filter(|hand| code.contains(**hand));
            wrong.extend(hands.map(|hand| format!("{}: {hand}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "floors 0 and 1 name:\n{}", wrong.join("\n"));
}

#[test]
fn one_module_names_the_deprecated_socket_library_and_one_reads_the_environment() {
    let holders = |word: &str| {
        let holds = parts().into_iter().filter(|(_, _, code)| code.contains(word));
        holds
            .map(|(file, ..)| file.file_name().expect("a name").to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(holders("actix_web_actors"), ["socket.rs"]);
    assert_eq!(holders("std::env::"), ["config.rs"]);
    assert_eq!(holders("dotenvy"), ["config.rs"]);
}

#[test]
fn one_folder_names_the_redis_library() {
    for (file, _, code) in parts() {
        let path = file.to_string_lossy().into_owned();
        assert!(!code.contains("deadpool_redis") || path.contains("/adapters/redis/"), "{path}");
    }
}

#[test]
fn actors_know_each_other_only_by_messages() {
    const ACTORS: [&str; 6] = [
        "cluster_bridge",
        "merge_worker",
        "peer_session",
        "recorder_session",
        "recording_supervisor",
        "room_manager",
    ];
    for (file, part, code) in parts() {
        let path = file.to_string_lossy().into_owned();
        let own =
            |actor: &str| path.contains(&format!("/{actor}.rs")) || path.contains(&format!("/{actor}/"));
        if part != "actors" || !ACTORS.iter().any(|actor| own(actor)) {
            continue;
        }
        for other in ACTORS.iter().filter(|actor| !own(actor)) {
            assert!(!code.contains(&format!("{other}::")), "{path} names {other}");
        }
    }
}
