//! The documents say what the program does: settings, metrics, codes and every message of the wire.
//!
//! A mismatch fails; `UPDATE_DOCS=1 cargo test --test documents -- --test-threads=1` rewrites the generated parts,
//! and the difference is then there to be read and committed.
#![expect(clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

mod golden;

use std::{collections::BTreeSet, fs, path::Path};

use greenroom::{
    config, metrics,
    metrics::{Kind, Metrics},
    protocol::{codes, command, recorder},
};

fn updating() -> bool {
    #[expect(clippy::disallowed_methods, reason = "a switch for people who run this test, not a setting")]
    std::env::var_os("UPDATE_DOCS").is_some()
}

/// Holds a document, or a marked part of it, against what the program says.
fn check(name: &str, part: Option<&str>, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let page = fs::read_to_string(&path).unwrap_or_default();
    let wanted = match part {
        None => generated.to_owned(),
        Some(part) => {
            let (open, close) = (format!("<!-- generated: {part} -->\n"), "<!-- end -->".to_owned());
            let start = page.find(&open).unwrap_or_else(|| panic!("{name} has no part {part}")) + open.len();
            let end = start + page[start..].find(&close).expect("the part ends");
            format!("{}{generated}{}", &page[..start], &page[end..])
        }
    };
    if page != wanted && updating() {
        fs::write(&path, &wanted).expect("writable");
    } else {
        assert!(
            page == wanted,
            "docs/{name} is out of date; the head of tests/documents.rs says how to renew it"
        );
    }
}

#[test]
fn every_setting_is_documented() {
    check("CONFIG.md", None, &config::reference());
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let mut table = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for spec in metrics::TABLE {
        let kind = match spec.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<_> = spec.labels.iter().map(|label| format!("`{label}`")).collect();
        table.push_str(&format!("| `{}` | {kind} | {} | {} |\n", spec.name, labels.join(", "), spec.meaning));
    }
    check("METRICS.md", Some("metrics"), &table);

    let mut process = String::from("| metric | meaning |\n|---|---|\n");
    for (name, meaning) in metrics::PROCESS {
        process.push_str(&format!("| `{name}` | {meaning} |\n"));
    }
    check("METRICS.md", Some("process"), &process);
}

#[test]
fn the_process_metrics_listed_are_those_exported() {
    let text = Metrics::new().expect("valid").render().expect("text");
    let text = String::from_utf8(text).expect("UTF-8");
    let exported: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .filter(|name| name.starts_with("process_"))
        .collect();
    let listed: BTreeSet<_> = metrics::PROCESS.iter().map(|(name, _)| *name).collect();
    assert_eq!(exported, listed);
}

#[test]
fn metric_names_follow_the_rules() {
    for spec in metrics::TABLE {
        assert!(spec.name.starts_with("greenroom_"), "{}", spec.name);
        assert_eq!(spec.kind == Kind::Counter, spec.name.ends_with("_total"), "{}", spec.name);
        assert!(spec.labels.iter().all(|label| !label.contains("id")), "{}: no ids in labels", spec.name);
    }
}

#[test]
fn every_code_is_documented() {
    let mut table = String::from(
        "| code | closes with | always closes | HTTP | retryable | sentence |\n|---|---|---|---|---|---|\n",
    );
    let number = |number: Option<u16>| number.map(|number| number.to_string()).unwrap_or_default();
    let yes = |is: bool| if is { "yes" } else { "" };
    for row in codes::TABLE {
        table.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} |\n",
            row.name,
            number(row.close),
            yes(row.ends),
            number(row.http),
            yes(row.retryable),
            row.sentence
        ));
    }
    check("PROTOCOL.md", Some("codes"), &table);
}

#[test]
fn every_event_looks_as_documented() {
    let mut page = String::new();
    for (title, event) in golden::events() {
        page.push_str(&format!("\n**{title}**\n\n```json\n{event}\n```\n"));
    }
    check("PROTOCOL.md", Some("events"), &page);
}

#[test]
fn every_command_is_read_as_documented() {
    let mut page = String::new();
    for (title, text) in golden::COMMANDS {
        command::parse(text).unwrap_or_else(|rejected| panic!("{title}: {}", rejected.refusal.message()));
        page.push_str(&format!("\n**{title}**\n\n```json\n{text}\n```\n"));
    }
    check("PROTOCOL.md", Some("commands"), &page);
}

#[test]
fn every_recorder_command_is_read_as_documented() {
    let mut page = String::new();
    for (title, text) in golden::recorder::COMMANDS {
        recorder::parse(text).unwrap_or_else(|refusal| panic!("{title}: {}", refusal.message()));
        page.push_str(&format!("\n**{title}**\n\n```json\n{text}\n```\n"));
    }
    check("PROTOCOL.md", Some("recorder-commands"), &page);
}

#[test]
fn every_recorder_event_looks_as_documented() {
    let mut page = String::new();
    for (title, event) in golden::recorder::events() {
        let text = serde_json::to_string(&event).expect("JSON");
        page.push_str(&format!("\n**{title}**\n\n```json\n{text}\n```\n"));
    }
    check("PROTOCOL.md", Some("recorder-events"), &page);
}
