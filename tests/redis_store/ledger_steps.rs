//! What may be asked of a ledger.

use std::time::Duration;

use proptest::prelude::*;

use crate::ledger_kit::HOUR;

/// Something to ask. Numbers choose among fences, generations and manifests that a ledger has answered before.
#[derive(Debug, Clone)]
pub enum Step {
    Open {
        which: usize,
        other_token: bool,
        owner: usize,
        owner_max: u32,
        room: bool,
        old: bool,
    },
    Attach {
        which: usize,
        right: bool,
    },
    Authorise {
        which: usize,
        right: bool,
    },
    Admit {
        which: usize,
        right: bool,
        length: u32,
        may_begin: bool,
        by: Option<usize>,
    },
    Place {
        which: usize,
        right: bool,
        index: u32,
        other: bool,
        may_begin: bool,
    },
    Number {
        which: usize,
        length: u32,
        may_begin: bool,
        by: Option<usize>,
    },
    GiveBack {
        which: usize,
        seen: usize,
    },
    NoteNumbered {
        which: usize,
        right: bool,
        seen: usize,
        http: bool,
    },
    /// The places of late numbers are filled, and one more.
    Fill {
        which: usize,
        right: bool,
        index: Option<u32>,
    },
    Note {
        which: usize,
        right: bool,
        index: u32,
        http: bool,
    },
    Stop {
        which: usize,
        right: bool,
        chunks: Option<u32>,
        bytes: Option<u64>,
    },
    Keep {
        which: usize,
        seen: usize,
    },
    Detach {
        which: usize,
        seen: usize,
    },
    ClaimDue {
        since: Duration,
    },
    Claim {
        which: usize,
    },
    KeepClaim {
        which: usize,
        seen: usize,
        percent: Option<u8>,
    },
    Holds {
        which: usize,
        seen: usize,
    },
    Publish {
        which: usize,
        seen: usize,
        chunks: u32,
    },
    Settle {
        which: usize,
        seen: usize,
        how: u8,
        soon: bool,
        says: bool,
    },
    Release {
        which: usize,
        seen: usize,
    },
    Retry {
        which: usize,
    },
    Restore {
        which: usize,
        seen: usize,
        revision: u64,
        state: usize,
        chunks: Vec<u32>,
        foreign: bool,
    },
    ForgetChunks {
        which: usize,
        seen: usize,
    },
    Close {
        which: usize,
        right: Option<bool>,
    },
}

/// Anything, in any order.
pub fn step() -> impl Strategy<Value = Step> {
    let which = || 0..2_usize;
    let right = || prop::bool::weighted(0.9);
    let may = || prop::bool::weighted(0.8);
    let index = || prop_oneof![8 => 0..8_u32, 1 => 4090..4110_u32];
    let seen = || prop_oneof![4 => Just(0_usize), 1 => 1..4_usize];
    let by = || prop::option::of(0..2_usize);
    prop_oneof![
        6 => (which(), prop::bool::weighted(0.2), 0..3_usize, 0..3_u32, any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(which, other_token, owner, owner_max, room, old)| {
                Step::Open { which, other_token, owner, owner_max, room, old }
            }),
        3 => (which(), right()).prop_map(|(which, right)| Step::Attach { which, right }),
        1 => (which(), right()).prop_map(|(which, right)| Step::Authorise { which, right }),
        2 => (which(), right(), 1..600_u32, may(), by()).prop_map(
            |(which, right, length, may_begin, by)| Step::Admit { which, right, length, may_begin, by }
        ),
        3 => (which(), right(), index(), prop::bool::weighted(0.1), may()).prop_map(
            |(which, right, index, other, may_begin)| Step::Place { which, right, index, other, may_begin }
        ),
        5 => (which(), 1..600_u32, may(), by())
            .prop_map(|(which, length, may_begin, by)| Step::Number { which, length, may_begin, by }),
        2 => (which(), seen()).prop_map(|(which, seen)| Step::GiveBack { which, seen }),
        3 => (which(), right(), seen(), any::<bool>())
            .prop_map(|(which, right, seen, http)| Step::NoteNumbered { which, right, seen, http }),
        3 => (which(), right(), prop::option::weighted(0.2, 0..8_u32))
            .prop_map(|(which, right, index)| Step::Fill { which, right, index }),
        8 => (which(), right(), 0..8_u32, any::<bool>())
            .prop_map(|(which, right, index, http)| Step::Note { which, right, index, http }),
        4 => (which(), right(), prop::option::of(index()), prop::option::weighted(0.1, 0..100_u64))
            .prop_map(|(which, right, chunks, bytes)| Step::Stop { which, right, chunks, bytes }),
        2 => (which(), seen()).prop_map(|(which, seen)| Step::Keep { which, seen }),
        3 => (which(), seen()).prop_map(|(which, seen)| Step::Detach { which, seen }),
        4 => Just(Step::ClaimDue { since: Duration::ZERO }),
        1 => Just(Step::ClaimDue { since: HOUR }),
        2 => which().prop_map(|which| Step::Claim { which }),
        1 => (which(), seen(), prop::option::of(0..100_u8))
            .prop_map(|(which, seen, percent)| Step::KeepClaim { which, seen, percent }),
        1 => (which(), seen()).prop_map(|(which, seen)| Step::Holds { which, seen }),
        3 => (which(), seen(), 0..8_u32).prop_map(|(which, seen, chunks)| Step::Publish { which, seen, chunks }),
        4 => (which(), seen(), 0..3_u8, any::<bool>(), any::<bool>())
            .prop_map(|(which, seen, how, soon, says)| Step::Settle { which, seen, how, soon, says }),
        1 => (which(), seen()).prop_map(|(which, seen)| Step::Release { which, seen }),
        2 => which().prop_map(|which| Step::Retry { which }),
        3 => (which(), seen(), 0..3_u64, 0..10_usize, prop::collection::vec(0..10_u32, 0..6), prop::bool::weighted(0.1))
            .prop_map(|(which, seen, revision, state, chunks, foreign)| {
                Step::Restore { which, seen, revision, state, chunks, foreign }
            }),
        1 => (which(), seen()).prop_map(|(which, seen)| Step::ForgetChunks { which, seen }),
        1 => (which(), prop::option::of(any::<bool>())).prop_map(|(which, right)| Step::Close { which, right }),
    ]
}
