//! Accounts under whatever happens, in any order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{tests::*, *};

/// What may happen to an account, in any order.
#[derive(Debug, Clone)]
enum Step {
    Chunk(u32),
    Number { fails: bool },
    Stop(Option<u32>),
    Attach,
    Detach,
    Keep,
    Pass(u64),
    Claim,
    Settle(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u32..12).prop_map(Step::Chunk),
        3 => any::<bool>().prop_map(|fails| Step::Number { fails }),
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

proptest! {
    /// Whatever happens in whatever order: what was acknowledged stays in the account, a video that is settled holds all
    /// of it, and no recording is left waiting for nobody.
    #[test]
    fn what_was_acknowledged_is_in_the_video(steps in prop::collection::vec(step(), 1..80)) {
        let (mut record, mut now) = (open(), NOON);
        let mut acknowledged = BTreeSet::new();
        let mut claims: Vec<(Claim, BTreeSet<u32>)> = Vec::new();
        for step in steps {
            match step {
                Step::Chunk(index) => {
                    if record.place(&token(), at(index), mark(index), true, NOON, RULES) == Ok(Placed::New) {
                        record.note(at(index), mark(index), index % 2 == 0, now, RULES);
                        acknowledged.insert(index);
                    }
                }
                Step::Number { fails } => {
                    if let Ok(index) = record.number(&token(), 10, true, NOON, RULES) {
                        prop_assert!(!acknowledged.contains(&index.get()), "a number is given out once");
                        if fails {
                            record.give_back(index);
                        } else {
                            record.note(index, mark(index.get()), false, now, RULES);
                            acknowledged.insert(index.get());
                        }
                    }
                }
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
                        claims.push((claim, acknowledged.clone()));
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
                    if settled.is_some() {
                        prop_assert_eq!(&in_video, &acknowledged, "M-1, M-3");
                    }
                }
                Step::Restart => {
                    let chunks: Vec<_> = acknowledged.iter().map(|&index| (at(index), mark(index))).collect();
                    record = RecordingRecord::restore(record.manifest().clone(), chunks, now, RULES);
                    claims.clear();
                }
            }
            record.check_invariants();
            prop_assert_eq!(record.chunk_count() as usize, acknowledged.len());
        }
    }
}
