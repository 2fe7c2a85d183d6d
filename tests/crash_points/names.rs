//! Every point that the code names is one at which a test has a node die, here or elsewhere.

use std::{collections::BTreeSet, fs, path::Path};

/// Points that are in no list of these tests, each with its reason.
const ELSEWHERE: [(&str, &str); 8] = [
    ("assembly.cut", "`recording_faults`, where a disk was full"),
    ("export.made", "`recording_cluster`, where an MP4 is made by another node"),
    ("export.stored", "the same: the MP4 is there whole, and nobody was told"),
    ("number.filled", "`numbers`, where a number was never filled"),
    ("remove.begun", "`recording_faults`, where a recording is deleted"),
    ("row.other", "what a row says before its recording is ready, the next change says again"),
    ("claim.publish", "the claim of whoever takes over at `publish.after`: nothing is done yet"),
    ("claim.give_up", "nothing is done yet: `recording_cluster`, where eight nodes have died"),
];
/// What is written when a node starts, before there is anything to lose.
const AT_START: [&str; 1] = ["probe"];

/// What stands in quotation marks between each of these and its end.
fn quoted<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    let calls = text.split(begin).skip(1).filter_map(|rest| rest.split(end).next());
    calls.flat_map(|call| call.split('"').skip(1).step_by(2)).collect()
}

/// The code of every file below a folder.
fn code(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    let text =
        entries.map(|path| if path.is_dir() { code(&path) } else { fs::read_to_string(path).expect("text") });
    text.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_point_is_in_a_list() {
    let code = code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let mut points: BTreeSet<String> =
        quoted(&code, "crash::point(", ")").into_iter().map(str::to_owned).collect();
    // What is written in steps is named where it is begun.
    let mut written = quoted(&code, "Partial::write(", ";");
    written.retain(|what| !what.is_empty() && !AT_START.contains(what));
    let steps = quoted(&code, "crash::step(", ")");
    let all = written.iter().flat_map(|what| steps.iter().map(move |step| format!("{what}.{step}")));
    points.extend(all);
    // A chunk gets its place by a link.
    points.remove("chunk.renamed");
    assert!(points.len() > 50, "they are no longer found: {points:?}");

    let lists: Vec<_> =
        include_str!("main.rs").lines().filter(|line| !line.trim().starts_with("//")).collect();
    let lists = lists.join("\n");
    let listed = quoted(&lists, ": ", ",").into_iter().chain(quoted(&lists, "die_at_a_large_one(", ")"));
    let listed: BTreeSet<&str> = listed.filter_map(|point| point.split(':').next()).collect();
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(point, _)| *point).collect();
    let known: BTreeSet<String> = listed.union(&elsewhere).map(|&point| point.to_owned()).collect();
    let unlisted: Vec<_> = points.difference(&known).collect();
    assert!(unlisted.is_empty(), "no node dies at {unlisted:?}");
    let unknown: Vec<_> = known.difference(&points).collect();
    assert!(unknown.is_empty(), "there are no such points: {unknown:?}");
    assert!(listed.is_disjoint(&elsewhere), "it is in a list: {:?}", listed.intersection(&elsewhere));
}
