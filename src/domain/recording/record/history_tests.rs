//! Accounts under whatever happens, in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{tests::*, *};
use crate::protocol::recorder::Made;

/// What may happen to an account, in any order.
#[derive(Debug, Clone)]
enum Step {
    Chunk(u32),
    /// The next number, and what becomes of its chunk.
    Number(Fate),
    /// The places of late numbers are filled; a chunk that was stored without a word is found there.
    Fill,
    /// The slowest node brings its chunk.
    Wake,
    Stop(Option<u32>),
    Attach,
    Detach,
    Keep,
    Pass(u64),
    Claim,
    Settle(u8),
    Restart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Comes,
    Fails,
    /// Its node dies before it is stored.
    Dies,
    /// Or after that.
    DiesAfter,
    /// Its node is slow: it comes when others have come, or not.
    Slow,
}

fn fate() -> impl Strategy<Value = Fate> {
    use Fate::{Comes, Dies, DiesAfter, Fails, Slow};
    prop_oneof![3 => Just(Comes), 1 => Just(Fails), 1 => Just(Dies), 1 => Just(DiesAfter), 1 => Just(Slow)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u32..12).prop_map(Step::Chunk),
        4 => fate().prop_map(Step::Number),
        2 => Just(Step::Fill),
        2 => Just(Step::Wake),
        1 => prop::option::of(0u32..14).prop_map(Step::Stop),
        1 => Just(Step::Attach),
        2 => Just(Step::Detach),
        2 => Just(Step::Keep),
        3 => (0u64..8000).prop_map(Step::Pass),
        4 => Just(Step::Claim),
        4 => (0u8..4).prop_map(Step::Settle),
        1 => Just(Step::Restart),
    ]
}

/// Brings a chunk as a node does. Gives its place where it is acknowledged.
fn bring(
    record: &mut RecordingRecord,
    store: &mut BTreeMap<u32, ChunkMark>,
    number: Number,
    mark: ChunkMark,
    now_ms: u64,
) -> Option<u32> {
    let index = number.index.get();
    let stands = *store.entry(index).or_insert(mark);
    if stands.same_bytes(&mark) {
        let noted = record.note_numbered(number, mark, false, now_ms, RULES);
        return (noted != Noted::Withdrawn).then_some(index);
    }
    if stands.is_void() {
        record.fill([number.index]);
    } else if record.give_back(number.request) {
        record.note(number.index, stands, false, now_ms, RULES);
    }
    None
}

/// Makes late numbers void as nodes do.
fn fill(record: &mut RecordingRecord, store: &mut BTreeMap<u32, ChunkMark>, now_ms: u64) {
    for index in record.late_numbers(now_ms) {
        match *store.entry(index.get()).or_insert(ChunkMark::VOID) {
            stands if stands.is_void() => record.fill([index]),
            _ => record.catch_up(record.manifest().clone(), listed(store), now_ms, RULES),
        }
    }
}

fn listed(store: &BTreeMap<u32, ChunkMark>) -> Vec<(ChunkIndex, ChunkMark)> {
    store.iter().map(|(&index, &mark)| (at(index), mark)).collect()
}

proptest! {
    /// Whatever happens in whatever order: what was acknowledged stays in the account, a video that is settled holds all
    /// of it, and no recording is left waiting for nobody.
    #[test]
    fn what_was_acknowledged_is_in_the_video(steps in prop::collection::vec(step(), 1..80)) {
        let (mut record, mut now) = (open(), NOON);
        let mut acknowledged = BTreeSet::new();
        let mut claims: Vec<(Claim, BTreeSet<u32>)> = Vec::new();
        let (mut store, mut slow, mut bytes) = (BTreeMap::new(), Vec::new(), 1000);
        // Whose row is not written yet.
        let mut published = None;
        for step in steps {
            match step {
                Step::Chunk(index) => {
                    if record.place(&token(), at(index), mark(index), true, NOON, RULES) == Ok(Placed::New)
                        && *store.entry(index).or_insert(mark(index)) == mark(index)
                    {
                        record.note(at(index), mark(index), index % 2 == 0, now, RULES);
                        acknowledged.insert(index);
                    }
                }
                Step::Number(fate) => {
                    let Ok(number) = numbered(&mut record, now, RULES) else { continue };
                    let index = number.index.get();
                    prop_assert!(!acknowledged.contains(&index), "a number is given out once");
                    bytes += 1;
                    match fate {
                        Fate::Dies => {}
                        Fate::Slow => slow.push((number, mark(bytes))),
                        Fate::Fails => prop_assert!(record.give_back(number.request)),
                        Fate::DiesAfter => drop(store.entry(index).or_insert(mark(bytes))),
                        Fate::Comes => {
                            acknowledged.extend(bring(&mut record, &mut store, number, mark(bytes), now));
                        }
                    }
                }
                Step::Wake => {
                    let Some((number, mark)) = slow.pop() else { continue };
                    acknowledged.extend(bring(&mut record, &mut store, number, mark, now));
                }
                Step::Fill => fill(&mut record, &mut store, now),
                Step::Stop(chunks) => {
                    let taken = record.stop(&token(), Made { chunks, bytes: None }, now).is_ok();
                    prop_assert!(!taken || record.missing().is_empty(), "no stop with chunks missing");
                }
                Step::Attach => drop(record.attach(&token(), now, RULES)),
                Step::Detach => record.detach(record.as_opened().generation, now, RULES),
                Step::Keep => drop(record.keep(record.as_opened().generation, now, RULES)),
                Step::Pass(ms) => now += ms,
                Step::Claim => {
                    if let Some(claim) = record.claim(&node(), now, RULES) {
                        fill(&mut record, &mut store, now);
                        let is_unwritten = published == Some(claim.manifest.version);
                        prop_assert!(!is_unwritten || claim.work != ClaimedWork::Forget, "its row is lost");
                        claims.push((claim, store.keys().copied().collect()));
                    }
                }
                Step::Settle(end) => {
                    let Some((claim, in_video)) = claims.pop() else { continue };
                    let fence = claim.manifest.fence;
                    let finalises = matches!(claim.work, ClaimedWork::Finalise { .. });
                    let settled = match end {
                        0 => record.settle_again(fence, now + 1000, None),
                        1 if finalises => record.settle_failed(fence, fault()),
                        // Its node dies after everybody may know of the video.
                        2 if finalises => record.publish(fence, finished(record.chunk_count()), now),
                        _ if finalises => record
                            .publish(fence, finished(record.chunk_count()), now)
                            .and_then(|_| record.settle_ready(fence, now + 20_000)),
                        _ => record.settle_ready(fence, now + 20_000),
                    };
                    match &settled {
                        Some(manifest) if manifest.state != RecordingState::Ready => {}
                        Some(manifest) if manifest.keep_until_ms.is_none() => published = Some(manifest.version),
                        Some(_) => published = None,
                        None => {}
                    }
                    if settled.is_some() {
                        prop_assert!(in_video.is_superset(&acknowledged), "M-1, M-3");
                    }
                }
                Step::Restart => {
                    for index in record.manifest().never_came(&listed(&store)) {
                        store.insert(index.get(), ChunkMark::VOID);
                    }
                    let chunks = listed(&store);
                    record = RecordingRecord::restore(record.manifest().clone(), chunks, now, RULES);
                    claims.clear();
                }
            }
            record.check_invariants();
            let chunks = store.values().filter(|mark| !mark.is_void()).count();
            prop_assert!((acknowledged.len()..=chunks).contains(&(record.chunk_count() as usize)));
            let voids: BTreeSet<_> = store.iter().filter(|(_, mark)| mark.is_void()).map(|(&index, _)| index).collect();
            prop_assert!(voids.is_disjoint(&acknowledged));
        }
    }
}
