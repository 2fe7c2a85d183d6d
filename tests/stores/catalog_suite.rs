//! What every catalog must do.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::{BoxFuture, join_all};
use greenroom::{
    adapters::ports::{Catalog, CatalogCursor, CatalogFilter, CatalogRow, Deletion, DueBefore},
    domain::recording::VideoFacts,
    protocol::{
        Fence, RoomName, UserId,
        recorder::{Did, Gap, RecordingState, SegmentWork, VideoKey},
    },
};

use crate::id;

/// Opens an empty catalog of this name, or the same again, as another node would.
pub type Open<'a> = &'a (dyn Fn(&str) -> BoxFuture<'static, Arc<dyn Catalog>> + Sync);

/// Runs everything, each part on a catalog of its own.
pub async fn suite(open: Open<'_>) {
    keeps_every_field(open).await;
    never_goes_back(open).await;
    pages_from_the_newest_on(open).await;
    names_are_in_order_of_their_bytes(open).await;
    pages_while_others_write(open).await;
    filters_combine(open).await;
    search_takes_words_as_they_are(open).await;
    deletes(open).await;
    deletes_one_recording_and_not_the_next_of_its_name(open).await;
    remembers_what_was_deleted(open).await;
    what_is_ready_stays_ready(open).await;
    adds_up_what_an_owner_has(open).await;
    finds_what_may_go(open).await;
    takes_many_writers(open).await;
}

/// A recording that has just begun.
pub fn row(name: &str, started_ms: u64) -> CatalogRow {
    CatalogRow {
        record_id: id(name),
        state: RecordingState::Recording,
        owner: None,
        room: None,
        title: None,
        started_ms,
        ended_ms: None,
        ready_ms: None,
        mime_type: "video/webm;codecs=vp8,opus".into(),
        chunks: 0,
        missing: vec![],
        error: None,
        video: None,
        version: 1,
        fence: Fence(0),
        revision: 0,
    }
}

/// One of which everything is known.
fn full(name: &str) -> CatalogRow {
    CatalogRow {
        state: RecordingState::Ready,
        owner: UserId::parse("ada").ok(),
        room: RoomName::parse("Blue_room").ok(),
        title: Some("It's \"quoted\"; DROP TABLE recordings; -- 🎥 Ünïcode \\ 100%".into()),
        ended_ms: Some(1_700_000_060_000),
        ready_ms: Some(1_700_000_061_000),
        chunks: u32::MAX,
        missing: vec![0, 7, u32::MAX],
        error: Some(("merge_failed".into(), "it's\nso".into())),
        video: Some(VideoFacts {
            key: VideoKey::new(&id(name), Fence(2), "webm"),
            poster: Some(VideoKey::new(&id(name), Fence(2), "jpg")),
            duration_ms: 60_000,
            size_bytes: 1 << 40,
            sha256: Some("ab".repeat(32)),
            codecs: vec!["vp9".into(), "opus".into()],
            complete: false,
            gaps: vec![Gap { from_ms: 1, to_ms: 2, chunks: vec![7] }],
            work: vec![SegmentWork {
                segment: 0,
                chunks: (0, 9),
                did: Did::ReEncoded,
                detail: "h264 → vp9".into(),
            }],
        }),
        version: 2,
        fence: Fence(1 << 40),
        revision: 1 << 50,
        ..row(name, 1_700_000_000_000)
    }
}

pub fn filter(limit: u32) -> CatalogFilter {
    CatalogFilter { limit, ..CatalogFilter::default() }
}

/// The names on all pages of this size, in order.
pub async fn names(catalog: &dyn Catalog, filter: CatalogFilter) -> Vec<String> {
    let mut names = Vec::new();
    let mut after = filter.after.clone();
    loop {
        let page = catalog.page(CatalogFilter { after, ..filter.clone() }).await.unwrap();
        assert!(page.rows.len() <= filter.limit as usize);
        names.extend(page.rows.iter().map(|row| row.record_id.to_string()));
        assert!(names.len() <= 10_000, "it never ends");
        after = page.next;
        if after.is_none() {
            return names;
        }
    }
}

async fn keeps_every_field(open: Open<'_>) {
    let rows = [
        row("bare", 0),
        full("full"),
        CatalogRow {
            video: full("some").video.map(|video| VideoFacts { poster: None, complete: true, ..video }),
            ..row("some", 5)
        },
    ];
    let catalog = open("fields").await;
    let zero =
        |text: &str| CatalogRow { error: Some(("merge_failed".into(), text.into())), ..row("zero", 6) };
    for row in &rows {
        assert!(catalog.put(row.clone(), vec![]).await.unwrap());
    }
    let again = open("fields").await;
    for row in &rows {
        assert_eq!(again.get(&row.record_id).await.unwrap().as_ref(), Some(row));
    }
    assert_eq!(again.get(&id("unknown")).await.unwrap(), None);
    // Not every database has a character zero, and programs have been heard to say it.
    assert!(catalog.put(zero("a\0b"), vec![]).await.unwrap());
    assert_eq!(again.get(&id("zero")).await.unwrap(), Some(zero("a\u{fffd}b")));
    assert_eq!(again.page(filter(9)).await.unwrap().rows.len(), 4);
}

async fn never_goes_back(open: Open<'_>) {
    let catalog = open("guard").await;
    let at = |version, fence, revision, title: &str| CatalogRow {
        version,
        fence: Fence(fence),
        revision,
        title: Some(title.into()),
        ..row("guarded", 1)
    };
    // What is put, and whether it then stands.
    for (put, stands) in [
        (at(1, 5, 3, "first"), true),
        (at(1, 5, 3, "the same claim goes on"), true),
        (at(1, 5, 4, "and knows more"), true),
        (at(1, 5, 3, "what it knew before"), false),
        (at(1, 4, 9, "an outdated claim"), false),
        (at(1, 6, 0, "a later claim"), true),
        (at(2, 6, 0, "the next version"), true),
        (at(1, 9, 9, "an outdated version"), false),
        (at(2, 5, 9, "an outdated claim of this version"), false),
        (at(3, 0, 0, "the third version"), true),
    ] {
        let before = catalog.get(&id("guarded")).await.unwrap();
        assert_eq!(catalog.put(put.clone(), vec![]).await.unwrap(), stands, "{put:?}");
        let expected = if stands { Some(put) } else { before };
        assert_eq!(catalog.get(&id("guarded")).await.unwrap(), expected);
    }
    assert_eq!(catalog.page(filter(9)).await.unwrap().rows.len(), 1);
}

async fn pages_from_the_newest_on(open: Open<'_>) {
    let catalog = open("order").await;
    // Two began in the same moment, and more than a page did in another.
    for (name, started) in [("b", 20), ("a", 20), ("old", 10), ("new", 30)] {
        catalog.put(row(name, started), vec![]).await.unwrap();
    }
    for name in ["s3", "s1", "s5", "s2", "s4"] {
        catalog.put(row(name, 25), vec![]).await.unwrap();
    }
    let expected = ["new", "s1", "s2", "s3", "s4", "s5", "a", "b", "old"];
    for limit in [1, 2, 3, 4, 8, 9, 10, u32::MAX] {
        assert_eq!(names(&*catalog, filter(limit)).await, expected, "{limit} on a page");
    }
    let all = catalog.page(filter(9)).await.unwrap();
    assert_eq!(all.next, None, "nothing comes after the last");
    let some = catalog.page(filter(3)).await.unwrap();
    assert_eq!(some.next, Some(CatalogCursor { started_ms: 25, record_id: id("s2") }));
    assert!(catalog.page(filter(0)).await.unwrap().rows.is_empty());
    assert_eq!(open("order of none").await.page(filter(5)).await.unwrap().rows.len(), 0);
}

async fn names_are_in_order_of_their_bytes(open: Open<'_>) {
    let catalog = open("bytes").await;
    // Languages put `-` and `_` first or leave them out, and small letters beside their capitals.
    let names_in_order = ["-b", "-c", "1-9", "10", "A", "B", "_a", "a", "a-b", "aB", "ab", "b"];
    for name in names_in_order.iter().rev() {
        catalog.put(row(name, 1), vec![]).await.unwrap();
    }
    for limit in [1, 3, 50] {
        assert_eq!(names(&*catalog, filter(limit)).await, names_in_order, "{limit} on a page");
    }
}

async fn pages_while_others_write(open: Open<'_>) {
    let catalog = open("moving").await;
    for at in 0..20_u64 {
        catalog.put(row(&format!("row-{at}"), 100 + at), vec![]).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    for turn in 0_u64.. {
        let page = catalog.page(CatalogFilter { after, ..filter(3) }).await.unwrap();
        seen.extend(page.rows.iter().map(|row| row.record_id.to_string()));
        // One before the page, one whose page has passed, and one that was seen is gone.
        catalog.put(row(&format!("newer-{turn}"), 1000 + turn), vec![]).await.unwrap();
        catalog.delete(Deletion::of(id("row-19"), 119, 1), vec![]).await.unwrap();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (0..20).rev().map(|at| format!("row-{at}")).collect();
    assert_eq!(seen, expected, "each that was there once, and no other");
}

async fn filters_combine(open: Open<'_>) {
    let catalog = open("filters").await;
    let mut expected = Vec::new();
    let states = [RecordingState::Ready, RecordingState::Failed];
    for (at, state) in states.into_iter().enumerate() {
        for (room, owner) in [("blue", "ada"), ("blue", "bob"), ("red", "ada")] {
            let name = format!("{room}-{owner}-{at}");
            let room = RoomName::parse(room).ok();
            let owner = UserId::parse(owner).ok();
            let title = Some(format!("Title {at}"));
            catalog.put(CatalogRow { room, owner, state, title, ..row(&name, 1) }, vec![]).await.unwrap();
            expected.push(name);
        }
    }
    catalog.put(row("of-nobody", 1), vec![]).await.unwrap();
    expected.push("of-nobody".into());
    let words = [None, Some("tle 1"), Some("blue")];
    for state in [None, Some(RecordingState::Ready), Some(RecordingState::Finalising)] {
        for room in [None, RoomName::parse("blue").ok(), RoomName::parse("Blue").ok()] {
            for owner in [None, UserId::parse("ada").ok()] {
                for search in words {
                    let fits = |name: &&String| {
                        let at = if name.ends_with('0') { 0 } else { 1 };
                        let somebodys = name.as_str() != "of-nobody";
                        state.is_none_or(|state| somebodys && state == states[at])
                            && room.as_ref().is_none_or(|room| name.starts_with(&format!("{room}-")))
                            && owner.as_ref().is_none_or(|owner| name.contains(&format!("-{owner}-")))
                            && search.is_none_or(|search| match search {
                                "blue" => name.contains("blue"),
                                _ => somebodys && at == 1,
                            })
                    };
                    let fitting: BTreeSet<_> = expected.iter().filter(fits).cloned().collect();
                    let (room, owner) = (room.clone(), owner.clone());
                    let search = search.map(Into::into);
                    let filter = CatalogFilter { state, room, owner, search, ..filter(2) };
                    let found = names(&*catalog, filter.clone()).await;
                    assert_eq!(found, fitting.into_iter().collect::<Vec<_>>(), "{filter:?}");
                }
            }
        }
    }
}

async fn search_takes_words_as_they_are(open: Open<'_>) {
    let catalog = open("search").await;
    let titles = [
        ("percent", "100% done"),
        ("hundred", "1000 done"),
        ("under", "snake_case"),
        ("letters", "snakeXcase"),
        ("quote", "it's \"so\""),
        ("slash", "back\\slash! and bang"),
        ("emoji", "🎥 Dreh"),
        ("uml", "ÜBUNG"),
        ("sigma", "ΟΔΥΣΣΕΥΣ"),
    ];
    for (name, title) in titles {
        catalog.put(CatalogRow { title: Some(title.into()), ..row(name, 1) }, vec![]).await.unwrap();
    }
    let room = RoomName::parse("Green-Room").ok();
    catalog.put(CatalogRow { room, ..row("Id-Of_One", 1) }, vec![]).await.unwrap();
    for (searched, found) in [
        ("100%", vec!["percent"]),
        ("%", vec!["percent"]),
        ("e_c", vec!["under"]),
        ("'s \"", vec!["quote"]),
        ("'; DROP TABLE recordings; --", vec![]),
        ("K\\S", vec!["slash"]),
        ("h!", vec!["slash"]),
        ("🎥", vec!["emoji"]),
        ("übung", vec!["uml"]),
        ("Übu", vec!["uml"]),
        ("οδυς", vec!["sigma"]),
        ("DONE", vec!["hundred", "percent"]),
        ("green-room", vec!["Id-Of_One"]),
        ("id-of_", vec!["Id-Of_One"]),
        ("room\nid", vec![]),
        ("nothing has this", vec![]),
        (&"long".repeat(20_000), vec![]),
    ] {
        let filter = CatalogFilter { search: Some(searched.into()), ..filter(50) };
        let words: String = searched.chars().take(40).collect();
        assert_eq!(names(&*catalog, filter).await, found, "{words:?}");
    }
    let everything = CatalogFilter { search: Some(String::new()), ..filter(50) };
    assert_eq!(names(&*catalog, everything).await.len(), 10);
}

async fn deletes(open: Open<'_>) {
    let catalog = open("delete").await;
    for name in ["goes", "stays"] {
        catalog.put(full(name), vec![]).await.unwrap();
    }
    for _ in 0..2 {
        let goes = Deletion::of(id("goes"), full("goes").started_ms, 1);
        catalog.delete(goes, vec![]).await.expect("nothing there is no error");
    }
    assert_eq!(catalog.get(&id("goes")).await.unwrap(), None);
    assert_eq!(names(&*catalog, filter(5)).await, ["stays"]);
    assert!(catalog.put(row("goes", 1), vec![]).await.unwrap(), "an older version: there is no row any more");
}

/// Whoever was slow to delete a recording leaves alone what has its name by then.
async fn deletes_one_recording_and_not_the_next_of_its_name(open: Open<'_>) {
    let catalog = open("next of its name").await;
    let next = CatalogRow { started_ms: 6, ..full("talk") };
    catalog.put(next.clone(), vec![]).await.unwrap();
    catalog.delete(Deletion::of(id("talk"), 5, 1), vec![]).await.unwrap();
    assert_eq!(catalog.get(&id("talk")).await.unwrap(), Some(next.clone()));
    assert!(catalog.was_deleted(&id("talk"), 5).await.unwrap());
    assert!(!catalog.was_deleted(&id("talk"), 6).await.unwrap());
    assert!(catalog.put(next, vec![]).await.unwrap());
}

/// Whoever has not heard that a recording was deleted does not bring it back.
async fn remembers_what_was_deleted(open: Open<'_>) {
    let (catalog, other) = (open("deleted").await, open("deleted").await);
    let late = CatalogRow { version: 3, fence: Fence(9), ..row("talk", 5) };
    catalog.put(row("talk", 5), vec![]).await.unwrap();
    assert!(!catalog.was_deleted(&id("talk"), 5).await.unwrap());
    for at_ms in [100, 200] {
        catalog.delete(Deletion::of(id("talk"), 5, at_ms), vec![]).await.unwrap();
    }
    assert!(other.was_deleted(&id("talk"), 5).await.unwrap());
    assert!(!other.put(late.clone(), vec![]).await.unwrap());
    assert_eq!(other.get(&id("talk")).await.unwrap(), None);
    // Its row was not written yet, when another node deleted it.
    let unwritten = BTreeSet::from([7, 8]);
    catalog
        .delete(Deletion { record_id: id("new"), started_ms: unwritten, at_ms: 100 }, vec![])
        .await
        .unwrap();
    for started_ms in [7, 8] {
        assert!(!other.put(row("new", started_ms), vec![]).await.unwrap());
    }
    // The next one of its name is another, and is left alone by what comes late of the first.
    assert!(!other.was_deleted(&id("talk"), 6).await.unwrap());
    assert!(other.put(row("talk", 6), vec![]).await.unwrap());
    assert!(!catalog.put(late.clone(), vec![]).await.unwrap());
    assert_eq!(other.get(&id("talk")).await.unwrap(), Some(row("talk", 6)));

    catalog.forget_deleted(100).await.unwrap();
    assert!(other.was_deleted(&id("talk"), 5).await.unwrap());
    catalog.forget_deleted(101).await.unwrap();
    assert!(!other.was_deleted(&id("talk"), 5).await.unwrap());
    assert!(other.put(late, vec![]).await.unwrap());
}

/// A ledger that has gone back in time says of a recording whose video is there that it is being made.
async fn what_is_ready_stays_ready(open: Open<'_>) {
    let catalog = open("ready").await;
    let ready = CatalogRow { fence: Fence(4), ..full("talk") };
    catalog.put(ready.clone(), vec![]).await.unwrap();
    for state in [RecordingState::Recording, RecordingState::Finalising, RecordingState::Failed] {
        let lost = CatalogRow { state, video: None, fence: Fence(5), ..ready.clone() };
        assert!(!catalog.put(lost, vec![]).await.unwrap(), "{state:?}");
    }
    assert_eq!(catalog.get(&id("talk")).await.unwrap(), Some(ready.clone()));
    let better = CatalogRow { chunks: 7, fence: Fence(6), ..ready.clone() };
    assert!(catalog.put(better.clone(), vec![]).await.unwrap());
    let again = CatalogRow { state: RecordingState::Recording, version: better.version + 1, ..better };
    assert!(catalog.put(again, vec![]).await.unwrap(), "its recorder has come back");
}

async fn adds_up_what_an_owner_has(open: Open<'_>) {
    let catalog = open("owners").await;
    let ada = UserId::parse("ada").unwrap();
    assert_eq!(catalog.owner_bytes(&ada).await.unwrap(), 0);
    let sized = |name: &str, owner: &str, size_bytes| {
        let video = full(name).video.map(|video| VideoFacts { size_bytes, ..video });
        CatalogRow { owner: UserId::parse(owner).ok(), video, ..row(name, 1) }
    };
    let rows = [
        sized("one", "ada", 1 << 40),
        sized("two", "ada", 7),
        sized("of-bob", "bob", 100),
        sized("of-nobody", "", 1000),
        CatalogRow { owner: Some(ada.clone()), ..row("without-video", 1) },
    ];
    for row in rows {
        catalog.put(row, vec![]).await.unwrap();
    }
    assert_eq!(catalog.owner_bytes(&ada).await.unwrap(), (1 << 40) + 7);
    catalog.delete(Deletion::of(id("one"), 1, 1), vec![]).await.unwrap();
    assert_eq!(catalog.owner_bytes(&ada).await.unwrap(), 7);
}

async fn finds_what_may_go(open: Open<'_>) {
    let catalog = open("due").await;
    let ready = |name: &str, complete, ready_ms, ended_ms| CatalogRow {
        state: RecordingState::Ready,
        ready_ms: Some(ready_ms),
        ended_ms,
        video: full(name).video.map(|video| VideoFacts { complete, ..video }),
        ..row(name, 5)
    };
    let of_state = |name: &str, state, ended_ms| CatalogRow { state, ended_ms, ..row(name, 30) };
    let rows = [
        ready("whole-20", true, 20, Some(1)),
        ready("whole-10", true, 10, Some(1)),
        ready("whole-30", true, 30, None),
        ready("gaps-15", false, 100, Some(15)),
        ready("gaps-5", false, 100, None),
        of_state("failed-25", RecordingState::Failed, Some(25)),
        of_state("failed-30", RecordingState::Failed, None),
        of_state("recording", RecordingState::Recording, None),
        of_state("finalising", RecordingState::Finalising, Some(1)),
    ];
    for row in rows {
        catalog.put(row, vec![]).await.unwrap();
    }
    let catalog = &catalog;
    let due = async move |ready_ms, partial_ms, limit| {
        let due = catalog.due(DueBefore { ready_ms, partial_ms }, limit).await.unwrap();
        due.iter().map(|row| row.record_id.to_string()).collect::<Vec<_>>()
    };
    assert!(due(None, None, 9).await.is_empty());
    assert!(due(Some(10), Some(5), 9).await.is_empty(), "not older than that");
    assert_eq!(due(Some(30), None, 9).await, ["whole-10", "whole-20"]);
    assert_eq!(due(None, Some(30), 9).await, ["gaps-5", "gaps-15", "failed-25"]);
    assert_eq!(
        due(Some(u64::MAX), Some(26), 9).await,
        ["gaps-5", "whole-10", "gaps-15", "whole-20", "failed-25", "whole-30"]
    );
    assert_eq!(due(Some(31), Some(31), 4).await, ["gaps-5", "whole-10", "gaps-15", "whole-20"]);
    assert!(due(Some(31), Some(31), 0).await.is_empty());
}

/// From two openings at once, as from two nodes on one database.
async fn takes_many_writers(open: Open<'_>) {
    let catalogs = [open("writers").await, open("writers").await];
    let writer = |at: u64| {
        let catalog = catalogs[usize::from(at % 2 == 1)].clone();
        async move {
            for fence in 1..=10 {
                let shared = CatalogRow { fence: Fence(fence), chunks: 1, ..row("shared", 1) };
                catalog.put(shared, vec![]).await.unwrap();
                assert!(catalog.put(row(&format!("own-{at}-{fence}"), 2), vec![]).await.unwrap());
                assert!(catalog.page(filter(5)).await.is_ok());
            }
        }
    };
    join_all((0..20).map(writer)).await;
    let shared = catalogs[0].get(&id("shared")).await.unwrap().expect("a row");
    assert_eq!(shared.fence, Fence(10), "the last claim stands, whoever was late");
    assert_eq!(names(&*catalogs[1], filter(50)).await.len(), 201);
}
