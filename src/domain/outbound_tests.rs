//! The ring and the window.

use proptest::prelude::*;

use super::*;
use crate::protocol::event::PeerEvent;

const START: Now = Now { mono: Duration::ZERO, wall_ms: 0 };

fn body() -> Body {
    Body::of(&PeerEvent::Pong { id: None })
}

fn large(bytes: usize) -> Body {
    Body::of(&PeerEvent::Error {
        code: crate::protocol::Code::Internal,
        message: &"x".repeat(bytes),
        id: None,
        retryable: true,
        retry_after_ms: None,
    })
}

fn drain(outbound: &mut Outbound) -> Vec<Seq> {
    std::iter::from_fn(|| outbound.next(START)).map(|(seq, _)| seq).collect()
}

#[test]
fn numbers_go_on_where_the_connection_left_off() {
    let mut outbound = Outbound::new(3);
    outbound.push(body());
    outbound.push(body());
    assert_eq!(drain(&mut outbound), [4, 5]);
}

#[test]
fn the_window_bounds_what_is_out_in_messages_and_in_bytes() {
    let mut outbound = Outbound::new(0);
    for _ in 0..limits::WINDOW_MESSAGES_MAX + 5 {
        outbound.push(body());
    }
    assert_eq!(drain(&mut outbound).len() as u64, limits::WINDOW_MESSAGES_MAX);
    assert_eq!(outbound.blocked_since(), Some(Duration::ZERO));
    outbound.confirm(40, 40 * body().len());
    assert_eq!(outbound.blocked_since(), None);
    assert_eq!(drain(&mut outbound).len(), 5);

    let mut outbound = Outbound::new(0);
    for _ in 0..15 {
        outbound.push(large(60_000));
    }
    assert_eq!(drain(&mut outbound).len(), 5, "the fifth crosses 256 KiB");
}

#[test]
fn a_resume_gets_exactly_what_was_missed() {
    let mut outbound = Outbound::new(0);
    (0..10).for_each(|_| assert!(!outbound.push(body())));
    drain(&mut outbound);
    outbound.acknowledge(4);
    assert_eq!(outbound.rewind(6), Replay::Full);
    assert_eq!(drain(&mut outbound), [7, 8, 9, 10]);
}

#[test]
fn a_resume_from_before_or_after_the_ring_is_told_so() {
    // Who has heard more, at a node that had the session meanwhile, hears no number twice; what cannot be is not believed.
    for (last_seq, next) in [(3, 11), (11, 12), (u64::MAX - 1, 11)] {
        let mut outbound = Outbound::new(0);
        (0..10).for_each(|_| assert!(!outbound.push(body())));
        drain(&mut outbound);
        outbound.acknowledge(4);
        assert_eq!(outbound.rewind(last_seq), Replay::Lost, "{last_seq}");
        assert_eq!(drain(&mut outbound), [] as [Seq; 0]);
        outbound.push(body());
        assert_eq!(drain(&mut outbound), [next]);
    }
}

#[test]
fn the_ring_is_bounded_and_says_when_it_forgot_something_unsaid() {
    let mut outbound = Outbound::new(0);
    let overran = (0..limits::RING_MESSAGES_MAX + 1).filter(|_| outbound.push(body())).count();
    assert_eq!(overran, 1);
    let mut outbound = Outbound::new(0);
    (0..100).for_each(|_| {
        outbound.push(large(60_000));
        outbound.check_invariants();
    });
}

#[test]
fn a_browser_cannot_acknowledge_what_it_was_never_sent() {
    let mut outbound = Outbound::new(0);
    outbound.push(body());
    outbound.acknowledge(u64::MAX);
    assert_eq!(drain(&mut outbound), [1]);
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Next,
    Confirm(u64),
    Acknowledge(u64),
    Rewind(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop_oneof![9 => 0usize..300, 1 => 0usize..70_000].prop_map(Step::Push),
        8 => Just(Step::Next),
        2 => (0u64..400).prop_map(Step::Confirm),
        2 => (0u64..400).prop_map(Step::Acknowledge),
        1 => (0u64..400).prop_map(Step::Rewind),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_numbers_heard_rise_by_one(steps in prop::collection::vec(step(), 1..400)) {
        let mut outbound = Outbound::new(0);
        let (mut heard, mut broken) = (0, false);
        for step in steps {
            match step {
                Step::Push(bytes) => broken |= outbound.push(large(bytes)),
                Step::Next => if !broken && let Some((seq, _)) = outbound.next(START) {
                    prop_assert_eq!(seq, heard + 1);
                    heard = seq;
                },
                Step::Confirm(seq) => outbound.confirm(seq, 1000),
                Step::Acknowledge(seq) => outbound.acknowledge(seq),
                Step::Rewind(seq) => {
                    heard = if outbound.rewind(seq) == Replay::Full { seq } else { outbound.last() };
                    broken = false;
                }
            }
            outbound.check_invariants();
        }
    }
}
