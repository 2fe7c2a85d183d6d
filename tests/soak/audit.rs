//! Everything, as it is at the end: each recording has one row and one video, in it is each chunk that was acknowledged, and
//! nothing else is left.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    books::{Books, Recording},
    support::{Cluster, age, get, names, send, sha256},
    take::hashes,
};

/// How often it is looked again.
const LOOK: Duration = Duration::from_millis(500);

/// Looks at everything once it has come to rest, for which it waits so long.
pub async fn audit(cluster: &Cluster, books: &Books, patience: Duration) {
    let recordings = books.recordings();
    for (id, recording) in recordings.iter().filter(|(_, recording)| !recording.over) {
        books
            .wrong(&format!("{id}: its recorder is not through; it was refused last: {}", recording.refused));
    }
    let rows = at_rest(cluster, &recordings.keys().cloned().collect(), patience).await;
    for problem in rows.problems {
        books.wrong(&problem);
    }
    books.tell("all videos are there, or will not come");
    for row in &rows.rows {
        if let (Some(recording), true) = (recordings.get(&name(row)), row["state"] == "ready") {
            check(cluster, books, recording, row).await;
        }
    }
    books.tell("all videos are looked at");
    for problem in left_over(cluster, patience).await {
        books.wrong(&problem);
    }
}

struct Rows {
    rows: Vec<Value>,
    problems: Vec<String>,
}

/// Waits until the catalog has these recordings, each once and ready, and no others.
async fn at_rest(cluster: &Cluster, wanted: &BTreeSet<String>, patience: Duration) -> Rows {
    let until = Instant::now() + patience;
    loop {
        // A node that dies before it can say what it has begun leaves a row that says so.
        let mut rows = rows(cluster).await;
        rows.retain(|row| {
            row["chunks"] != 0 || row["error"]["code"] != "empty_recording" || wanted.contains(&name(row))
        });
        let names: BTreeSet<String> = rows.iter().map(name).collect();
        let mut problems: Vec<String> =
            wanted.difference(&names).map(|id| format!("{id}: has no row")).collect();
        problems.extend(names.difference(wanted).map(|id| format!("{id}: a row, and nobody was told of it")));
        if names.len() < rows.len() {
            problems.push("a recording has two rows".to_owned());
        }
        let unready = rows.iter().filter(|row| row["state"] != "ready");
        problems.extend(unready.map(|row| format!("{}: is not ready: {row}", name(row))));
        if problems.is_empty() || Instant::now() > until {
            return Rows { rows, problems };
        }
        sleep(LOOK).await;
    }
}

fn name(row: &Value) -> String {
    row["recordId"].as_str().unwrap_or_default().to_owned()
}

async fn rows(cluster: &Cluster) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(cluster.address(0), &format!("/recordings?limit=200{cursor}")).await.json();
        rows.extend(page["recordings"].as_array().expect("rows").iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

async fn check(cluster: &Cluster, books: &Books, recording: &Recording, row: &Value) {
    let node = cluster.address(recording.take.chunks.len() % cluster.len());
    let link = row["downloadUrl"].as_str().unwrap_or_default();
    let download = send(node, &format!("GET {link}"), &[], b"").await;
    let wrong = |what: &str| books.wrong(&format!("{}: {what}: {row}", name(row)));
    if download.status != 200 {
        return wrong(&format!("the video is answered with {}", download.status));
    }
    if row["sha256"] != sha256(&download.body) {
        return wrong("the video is not the one of its row");
    }
    if recording.sha256.as_ref().is_some_and(|told| row["sha256"] != told.as_str()) {
        return wrong("its recorder was told of another video");
    }
    let missing: BTreeSet<u32> = serde_json::from_value(row["missingChunks"].clone()).expect("indices");
    let stored = u32::try_from(row["chunks"].as_u64().expect("a number")).expect("small");
    let end = stored + u32::try_from(missing.len()).expect("small");
    let lost: Vec<_> =
        recording.acked.iter().filter(|index| missing.contains(index) || **index >= end).collect();
    if !lost.is_empty() {
        return wrong(&format!("acknowledged, and not in the video: {lost:?}"));
    }
    if end > recording.sent || recording.stopped && (end < recording.sent || row["complete"] != true) {
        return wrong(&format!("of {} chunks that were sent", recording.sent));
    }
    books.add("chunks acknowledged and in their videos", recording.acked.len());
    books.add("kB of videos", download.body.len() / 1000);
    books.add(
        "chunks stored, though their recorders vanished before they were acknowledged",
        stored as usize - recording.acked.len(),
    );
    let (take, body) = (recording.take.clone(), download.body);
    let first = missing.first().copied();
    let difference = spawn_blocking(move || match first {
        None => differs(&take.packets(end as usize), &hashes(&body), true),
        Some(first) => differs(&take.packets(first as usize), &hashes(&body), false),
    });
    if let Some(difference) = difference.await.expect("packets are read") {
        wrong(&difference);
    }
    if first.is_some() {
        books.count("videos with a gap, of recorders that vanished");
    }
}

/// What is wrong with the packets of a video. Behind a gap may be more than is asked for.
fn differs(wanted: &[Vec<String>; 2], found: &[Vec<String>; 2], whole: bool) -> Option<String> {
    for (kind, (wanted, found)) in ["pictures", "sound"].iter().zip(wanted.iter().zip(found)) {
        if !found.starts_with(wanted) || whole && found.len() > wanted.len() {
            let at = wanted.iter().zip(found).take_while(|(wanted, found)| wanted == found).count();
            return Some(format!(
                "its {kind} are not those that were recorded: packet {at} is the first that differs, of {} that are wanted and \
                 {} that are there",
                wanted.len(),
                found.len()
            ));
        }
    }
    None
}

/// Waits until nothing is left but videos and their pictures: in no folder, however young it was, and not in Redis.
async fn left_over(cluster: &Cluster, patience: Duration) -> Vec<String> {
    let storage = cluster.storage(0);
    let file =
        |url: &Value| url.as_str().and_then(|url| url.rsplit_once('/')).map(|(_, name)| name.to_owned());
    let until = Instant::now() + patience;
    loop {
        age(&storage);
        // Anew each time: a poster may follow its video.
        let rows = rows(cluster).await;
        let kept: BTreeSet<String> =
            rows.iter().flat_map(|row| [&row["downloadUrl"], &row["posterUrl"]]).filter_map(file).collect();
        let mut left: Vec<String> =
            names(&storage.join("chunks")).into_iter().map(|name| format!("chunks/{name}")).collect();
        for node in names(&storage.join("tmp")) {
            left.extend(
                names(&storage.join("tmp").join(&node)).into_iter().map(|name| format!("tmp/{node}/{name}")),
            );
        }
        let videos = names(&storage.join("recordings"));
        left.extend(videos.difference(&kept).map(|name| format!("recordings/{name}")));
        left.extend(cluster.redis().keys().into_iter().filter(|key| key.starts_with("recording:")));
        let due: Vec<String> = cluster.redis().run(&["ZRANGE", "recordings:active", "0", "-1"]);
        left.extend(due.into_iter().map(|id| format!("{id} in recordings:active")));
        let rooms: Vec<String> = cluster.redis().run(&["HKEYS", "recordings:rooms"]);
        let rooms = rooms.into_iter().filter(|entry| entry != "#version");
        left.extend(rooms.map(|entry| format!("{entry} in recordings:rooms")));
        left.extend(entered_for_owners(cluster, rows.len()));
        let gone = kept.difference(&videos).map(|name| format!("recordings/{name} is not there"));
        let problems: Vec<String> =
            left.iter().map(|what| format!("left behind: {what}")).chain(gone).collect();
        if problems.is_empty() || Instant::now() > until {
            return problems;
        }
        sleep(LOOK).await;
    }
}

/// What is entered for owners, where it is more than nodes leave that are killed between the account and its entries. Such an
/// entry counts for nothing, and goes when its owner is at a limit.
fn entered_for_owners(cluster: &Cluster, recordings: usize) -> Vec<String> {
    let owners = cluster.redis().keys().into_iter().filter(|key| key.starts_with("recordings:owner:"));
    let entered = owners.flat_map(|owner| {
        let entries: Vec<String> = cluster.redis().run(&["HKEYS", &owner]);
        entries.into_iter().map(move |entry| format!("{entry} in {owner}"))
    });
    let entered: Vec<_> = entered.collect();
    if entered.len() * 10 > recordings { entered } else { vec![] }
}
