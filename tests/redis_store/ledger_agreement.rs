//! The scripts mean what the rules say: whatever is asked, in whatever order, the ledger on Redis and the one in memory answer the
//! same and end as the same.

use std::{collections::BTreeMap, time::Duration};

use greenroom::{
    adapters::{
        clock::Clock,
        memory_ledger::MemoryLedger,
        ports::{ClaimEnd, Ledger, LedgerView, Patience, StoredChunk},
    },
    domain::recording::{
        Attached, Claim, ClaimedWork, Kept, Manifest, Noted, Number, Placed, RecordingRules, StopRefused,
        StopTaken, UNHEARD_MAX, Unplaced, caution_ms,
    },
    protocol::{
        Code, Fence, RecordId, Refusal, RoomName, UploadToken,
        chunk::{ChunkIndex, ChunkMark},
        recorder::{Made, RecordingState},
    },
};
use proptest::{prelude::*, test_runner::TestRunner};
use tokio::runtime::Runtime;

use crate::{
    ledger_kit::{Books, at, fault, finished, id, manifest_of, mark, token, unplaced},
    ledger_steps::{Step, step},
    support::{Redis, setting},
};

const HOUR: Duration = Duration::from_secs(3600);
/// The two read their clocks one after the other.
const APART_MS: u64 = 10_000;

/// What an answer comes to.
#[derive(Debug, PartialEq)]
enum Answer {
    Attached(Result<Attached, Refusal>),
    Refusable(Result<(), Refusal>),
    Placed(Result<Placed, Refusal>),
    Number(Result<(u32, bool), Refusal>),
    Late(Vec<ChunkIndex>),
    Noted(Option<Noted>),
    Stopped(Result<StopTaken, StopRefused>),
    Kept(Option<Kept>),
    Claims(Vec<Claim>),
    Held(bool),
    Manifest(Option<Box<Manifest>>),
    Nothing,
}

/// One ledger, and what it has answered.
struct Side<'a> {
    ledger: &'a dyn Ledger,
    fences: BTreeMap<RecordId, Vec<Fence>>,
    generations: BTreeMap<RecordId, Vec<u64>>,
    manifests: BTreeMap<RecordId, Vec<Manifest>>,
    numbers: BTreeMap<RecordId, Vec<Number>>,
    started_ms: u64,
}

/// The last but so many.
fn chosen<T: Clone>(seen: &BTreeMap<RecordId, Vec<T>>, id: &RecordId, number: usize) -> Option<T> {
    let seen = seen.get(id)?;
    seen.get(seen.len().checked_sub(1 + number)?).cloned()
}

fn name(which: usize) -> RecordId {
    id(["tuesday", "W-_"][which])
}

fn shown(which: usize, right: bool) -> UploadToken {
    token(&name(which), if right { 1 } else { 9 })
}

impl Side<'_> {
    async fn take(&mut self, step: &Step) -> Answer {
        let answer = self.ask(step).await;
        let mut seen = |manifest: &Manifest| {
            let id = manifest.record_id.clone();
            self.manifests.entry(id.clone()).or_default().push(manifest.clone());
            id
        };
        match &answer {
            Answer::Attached(Ok(attached)) => {
                let id = seen(&attached.manifest);
                self.generations.entry(id).or_default().push(attached.generation);
            }
            Answer::Claims(claims) => {
                for claim in claims {
                    let id = seen(&claim.manifest);
                    self.fences.entry(id).or_default().push(claim.manifest.fence);
                }
            }
            Answer::Stopped(Ok(taken)) => drop(seen(&taken.manifest)),
            Answer::Manifest(Some(manifest)) => drop(seen(manifest)),
            _ => {}
        }
        answer
    }

    async fn ask(&mut self, step: &Step) -> Answer {
        let ledger = self.ledger;
        match step.clone() {
            Step::Open { .. } => self.open(step.clone()).await,
            Step::Attach { which, right } => {
                Answer::Attached(ledger.attach(shown(which, right)).await.expect("an answer"))
            }
            Step::Authorise { which, right } => {
                Answer::Refusable(ledger.authorise(shown(which, right)).await.expect("an answer"))
            }
            Step::Admit { which, right, length, may_begin, by } => {
                let chunk = self.unplaced(which, length, may_begin, by);
                Answer::Refusable(ledger.admit(shown(which, right), chunk).await.expect("an answer"))
            }
            Step::Place { which, right, index, other, may_begin } => {
                let mut mark = mark(index);
                mark.crc += u32::from(other);
                let placed = ledger.place(shown(which, right), at(index), mark, may_begin).await;
                Answer::Placed(placed.expect("an answer"))
            }
            Step::Number { .. } | Step::GiveBack { .. } | Step::NoteNumbered { .. } | Step::Fill { .. } => {
                self.ask_of_numbers(step.clone()).await
            }
            Step::Note { which, right, index, http } => {
                let patience = if http { Patience::Http } else { Patience::Socket };
                let noted = ledger.note(shown(which, right), at(index), mark(index), patience).await;
                Answer::Noted(noted.expect("an answer"))
            }
            Step::Stop { which, right, chunks, bytes } => {
                let stopped = ledger.stop(shown(which, right), Made { chunks, bytes }).await;
                Answer::Stopped(stopped.expect("an answer"))
            }
            Step::Keep { which, seen } => {
                let Some(generation) = chosen(&self.generations, &name(which), seen) else {
                    return Answer::Nothing;
                };
                Answer::Kept(ledger.keep(name(which), generation).await.expect("an answer"))
            }
            Step::Detach { which, seen } => {
                if let Some(generation) = chosen(&self.generations, &name(which), seen) {
                    ledger.detach(name(which), generation).await.expect("an answer");
                }
                Answer::Nothing
            }
            _ => self.ask_of_claims(step.clone()).await,
        }
    }

    /// A chunk of one of its recorders, or of none.
    fn unplaced(&self, which: usize, length: u32, may_begin: bool, by: Option<usize>) -> Unplaced {
        let generation = by.and_then(|seen| chosen(&self.generations, &name(which), seen));
        Unplaced { length, may_begin, generation }
    }

    async fn ask_of_numbers(&mut self, step: Step) -> Answer {
        let ledger = self.ledger;
        let given = |which, seen| chosen(&self.numbers, &name(which), seen);
        match step {
            Step::Number { which, length, may_begin, by } => {
                let chunk = self.unplaced(which, length, may_begin, by);
                let number = ledger.number(shown(which, true), chunk).await.expect("an answer");
                self.numbers.entry(name(which)).or_default().extend(number.clone());
                Answer::Number(number.map(|number| (number.index.get(), number.others_are_late)))
            }
            Step::GiveBack { which, seen } => {
                let Some(number) = given(which, seen) else { return Answer::Nothing };
                Answer::Held(ledger.give_back(name(which), number).await.expect("an answer"))
            }
            Step::NoteNumbered { which, right, seen, http } => {
                let Some(number) = given(which, seen) else { return Answer::Nothing };
                let patience = if http { Patience::Http } else { Patience::Socket };
                let mark = mark(number.index.get());
                let noted = ledger.note_numbered(shown(which, right), number, mark, patience).await;
                Answer::Noted(noted.expect("an answer"))
            }
            Step::Fill { which, right, index } => {
                let late = ledger.late_numbers(&name(which)).await.expect("an answer");
                let voids = late.iter().copied().chain(index.map(at)).collect();
                ledger.fill(name(which), shown(which, right).digest(), voids).await.expect("an answer");
                Answer::Late(late)
            }
            _ => unreachable!("of numbers"),
        }
    }

    async fn ask_of_claims(&self, step: Step) -> Answer {
        let ledger = self.ledger;
        let fence = |which, seen| chosen(&self.fences, &name(which), seen);
        match step {
            Step::ClaimDue { since } => {
                let mut claims = ledger.claim_due(8, since).await.expect("an answer");
                claims.sort_by_key(|claim| claim.manifest.record_id.clone());
                Answer::Claims(claims)
            }
            Step::Claim { which } => {
                let claim = ledger.claim(&name(which)).await.expect("an answer");
                Answer::Claims(claim.into_iter().collect())
            }
            Step::KeepClaim { which, seen, percent } => {
                let Some(fence) = fence(which, seen) else { return Answer::Nothing };
                Answer::Held(ledger.keep_claim(name(which), fence, percent).await.expect("an answer"))
            }
            Step::Holds { which, seen } => {
                let Some(fence) = fence(which, seen) else { return Answer::Nothing };
                Answer::Held(ledger.holds(name(which), fence).await.expect("an answer"))
            }
            Step::Publish { which, seen, chunks } => {
                let Some(fence) = fence(which, seen) else { return Answer::Nothing };
                let published = ledger.publish(name(which), fence, finished(&name(which), chunks)).await;
                Answer::Manifest(published.expect("an answer").map(Box::new))
            }
            Step::Settle { which, seen, how, soon, says } => {
                let Some(fence) = fence(which, seen) else { return Answer::Nothing };
                let pause = if soon { Duration::ZERO } else { HOUR };
                let end = match how {
                    0 => ClaimEnd::Ready { keep: pause },
                    1 => ClaimEnd::TryAgain { pause, fault: says.then(fault) },
                    _ => ClaimEnd::Failed(fault()),
                };
                let settled = ledger.settle(name(which), fence, end).await;
                Answer::Manifest(settled.expect("an answer").map(Box::new))
            }
            Step::Release { which, seen } => {
                let Some(fence) = fence(which, seen) else { return Answer::Nothing };
                let released = ledger.release(name(which), fence).await;
                Answer::Manifest(released.expect("an answer").map(Box::new))
            }
            Step::Retry { which } => Answer::Held(ledger.retry(&name(which)).await.expect("an answer")),
            Step::ForgetChunks { which, seen } => {
                let Some(fence) = fence(which, seen) else { return Answer::Nothing };
                Answer::Held(ledger.forget_chunks(&name(which), fence).await.expect("an answer"))
            }
            Step::Close { which, right } => {
                let which_token = right.map(|right| shown(which, right).digest());
                let closed = ledger.close(&name(which), which_token).await;
                Answer::Manifest(closed.expect("an answer").map(Box::new))
            }
            _ => self.restore(step).await,
        }
    }

    async fn open(&self, step: Step) -> Answer {
        let Step::Open { which, other_token, owner, owner_max, room, old } = step else {
            unreachable!("open")
        };
        let ledger = self.ledger;
        let token = if other_token { token(&name(which), 2) } else { shown(which, true) };
        let known = ledger.show(&name(which)).await.expect("an answer");
        if known.is_some_and(|view| view.manifest.token == token.digest()) {
            // Who opens it twice, because the answer was lost, is told again: in memory none is lost.
            return Answer::Nothing;
        }
        let mut manifest = manifest_of(&token, self.started_ms - if old { 2 * 3_600_000 } else { 0 });
        manifest.owner = [None, Some("ada"), Some("7")][owner].map(crate::kit::user);
        manifest.room = room.then(|| crate::kit::room("blue"));
        Answer::Attached(ledger.open(manifest, owner_max).await.expect("an answer"))
    }

    async fn restore(&self, step: Step) -> Answer {
        let Step::Restore { which, seen, revision, state, chunks, foreign } = step else {
            unreachable!("restore")
        };
        let Some(mut manifest) = chosen(&self.manifests, &name(which), seen) else {
            return Answer::Nothing;
        };
        // What never changes of a recording is the same whoever knows it, as its token is.
        let known = self.ledger.show(&name(which)).await.expect("an answer").map(|view| view.manifest);
        if let Some(known) = known.filter(|known| known.token == manifest.token) {
            (manifest.room, manifest.owner) = (known.room, known.owner);
        }
        manifest.revision += revision;
        if state >= 5 {
            // Nodes have died at it, too many or nearly so.
            manifest.unheard = UNHEARD_MAX + 1 - u32::try_from(revision).expect("small");
        }
        if let Some(state) = RecordingState::ALL.get(state % 5) {
            manifest.state = *state;
            manifest.stopped &= *state != RecordingState::Recording;
        }
        if foreign {
            manifest.token = token(&name(which), 3).digest();
        }
        let mut chunks: Vec<_> = chunks
            .iter()
            .map(|&n| StoredChunk { index: at(n), mark: stored(n, manifest.revision) })
            .collect();
        chunks.sort_by_key(|chunk| chunk.index);
        chunks.dedup();
        self.ledger.restore(manifest, chunks).await.expect("an answer");
        Answer::Nothing
    }
}

/// Now and then there is a void.
fn stored(index: u32, revision: u64) -> ChunkMark {
    if (u64::from(index) + revision).is_multiple_of(4) { ChunkMark::VOID } else { mark(index) }
}

/// Puts the times of one in the place of the other's, where they are about the same, so that the rest can be compared.
fn near(one: &mut u64, other: u64) {
    if one.abs_diff(other) < APART_MS {
        *one = other;
    }
}

fn near_some(one: &mut Option<u64>, other: Option<u64>) {
    if let (Some(one), Some(other)) = (one, other) {
        near(one, other);
    }
}

fn near_manifest(one: &mut Manifest, other: &Manifest) {
    near(&mut one.fence.0, other.fence.0);
    near_some(&mut one.ended_ms, other.ended_ms);
    near_some(&mut one.keep_until_ms, other.keep_until_ms);
    if let (Some(one), Some(other)) = (&mut one.finished, &other.finished) {
        near(&mut one.ready_ms, other.ready_ms);
    }
}

fn near_answer(one: &mut Answer, other: &Answer) {
    match (one, other) {
        (Answer::Attached(Ok(one)), Answer::Attached(Ok(other))) => {
            near(&mut one.generation, other.generation);
            near_manifest(&mut one.manifest, &other.manifest);
        }
        (Answer::Stopped(Ok(one)), Answer::Stopped(Ok(other))) => {
            near_manifest(&mut one.manifest, &other.manifest);
        }
        (Answer::Stopped(Err(one)), Answer::Stopped(Err(other))) => {
            if let (Some(one), Some(other)) = (&mut one.manifest, &other.manifest) {
                near_manifest(one, other);
            }
        }
        (Answer::Claims(one), Answer::Claims(other)) => {
            for (one, other) in one.iter_mut().zip(other) {
                near_manifest(&mut one.manifest, &other.manifest);
            }
        }
        (Answer::Manifest(Some(one)), Answer::Manifest(Some(other))) => near_manifest(one, other),
        // Redis remembers since when numbers may be late, and looks at each only when somebody asks which.
        (Answer::Number(Ok((_, one))), Answer::Number(Ok((_, other)))) => *one |= *other,
        _ => {}
    }
}

/// Everything that can be seen of a ledger.
async fn seen_of(ledger: &dyn Ledger) -> (Vec<(Option<LedgerView>, Vec<u32>)>, Vec<RoomName>) {
    let mut accounts = Vec::new();
    for which in 0..2 {
        let view = ledger.show(&name(which)).await.expect("an answer");
        let missing = ledger.missing(&name(which)).await.expect("an answer");
        accounts.push((view, missing));
    }
    let rooms = ledger.recorded_rooms().await.expect("an answer");
    (accounts, rooms.iter().cloned().collect())
}

/// Every account that waits for a time is in the index, to be looked at by then (C-6).
async fn look(redis: &Redis, ledger: &dyn Ledger, step: &Step) {
    for which in 0..2 {
        let key = format!("recording:{{{}}}", name(which));
        let fields: (Option<String>, Option<u64>, Option<u64>) =
            redis.run(&["HMGET", &key, "state", "deadline", "claimed_until"]);
        let (Some(_), deadline, claimed) = fields else { continue };
        let Some(view) = ledger.show(&name(which)).await.expect("an answer") else { continue };
        let lapses = claimed.map(|until| until + caution_ms(&view.manifest));
        let Some(due_ms) = lapses.or(deadline) else { continue };
        let score: Option<u64> = redis.run(&["ZSCORE", "recordings:active", name(which).as_str()]);
        let score = score.unwrap_or(u64::MAX);
        assert!(score <= due_ms, "{which} is due at {due_ms}, looked at {score}, after {step:?}");
    }
}

async fn agree(redis: &Redis, rules: RecordingRules, steps: Vec<Step>) {
    redis.empty();
    let books = Books::under(rules, redis, "n1");
    let memory = MemoryLedger::new(books.node.clone(), Clock::start(), rules);
    let started_ms = memory.now_ms().await.expect("an answer");
    let side = |ledger| Side {
        ledger,
        fences: BTreeMap::new(),
        generations: BTreeMap::new(),
        manifests: BTreeMap::new(),
        numbers: BTreeMap::new(),
        started_ms,
    };
    let (mut reference, mut scripts) = (side(&memory), side(&books.ledger));
    for step in steps {
        let mut expected = reference.take(&step).await;
        let found = scripts.take(&step).await;
        near_answer(&mut expected, &found);
        assert_eq!(expected, found, "{step:?}");
        let mut expected = seen_of(&memory).await;
        let found = seen_of(&books.ledger).await;
        for ((one, _), (other, _)) in expected.0.iter_mut().zip(&found.0) {
            if let (Some(one), Some(other)) = (one, other) {
                near_manifest(&mut one.manifest, &other.manifest);
            }
        }
        assert_eq!(expected, found, "after {step:?}");
        look(redis, &books.ledger, &step).await;
    }
}

#[test]
fn whatever_is_asked_of_an_account_redis_answers_as_the_rules_do() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let runtime = Runtime::new().expect("a runtime");
    let cases = setting("REDIS_CASES").and_then(|cases| cases.parse().ok()).unwrap_or(300);
    let mut runner =
        TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let now_or_in_an_hour = || prop_oneof![Just(Duration::ZERO), Just(HOUR)];
    let ways = (now_or_in_an_hour(), now_or_in_an_hour(), prop::collection::vec(step(), 1..40));
    let outcome = runner.run(&ways, |(grace, lease, steps)| {
        let rules = RecordingRules { grace, lease, bytes_max: 1000, duration_max: HOUR };
        runtime.block_on(agree(&redis, rules, steps));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// The way that recordings mostly take, on whatever servers there are.
pub async fn take_the_main_way(books: &Books, name: &str, owner: &str) {
    let (id, ledger) = (id(name), &books.ledger);
    let token = token(&id, 1);
    let mut manifest = manifest_of(&token, ledger.now_ms().await.expect("answers"));
    manifest.owner = Some(crate::kit::user(owner));
    manifest.room = Some(crate::kit::room(name));
    ledger.open(manifest, 100).await.expect("answers").expect("opened");
    for expected in 0..3 {
        let number = ledger.number(token.clone(), unplaced(10)).await.expect("answers").expect("given out");
        assert_eq!(number.index.get(), expected);
        let noted = ledger.note_numbered(token.clone(), number, mark(expected), Patience::Http).await;
        assert_eq!(noted, Ok(Some(Noted::InTime)));
    }
    let rooms = ledger.recorded_rooms().await.expect("answers");
    assert!(rooms.contains(&crate::kit::room(name)));
    ledger.stop(token.clone(), Made::default()).await.expect("answers").expect("nothing is missing");
    let claims = ledger.claim_due(100, Duration::ZERO).await.expect("answers");
    let claim = claims.iter().find(|claim| claim.manifest.record_id == id).expect("due");
    assert_eq!(claim.work, ClaimedWork::Finalise { expected: 3, chunks: 3 });
    let fence = claim.manifest.fence;
    assert!(ledger.publish(id.clone(), fence, finished(&id, 3)).await.expect("answers").is_some());
    let end = ClaimEnd::Ready { keep: Duration::ZERO };
    assert!(ledger.settle(id.clone(), fence, end).await.expect("answers").is_some());
    let claims = ledger.claim_due(100, Duration::ZERO).await.expect("answers");
    let claim = claims.iter().find(|claim| claim.manifest.record_id == id).expect("due");
    assert_eq!(claim.work, ClaimedWork::Forget);
    assert!(ledger.release(id.clone(), claim.manifest.fence).await.expect("answers").is_some());
    let gone = ledger.authorise(token).await.expect("answers").expect_err("gone");
    assert_eq!(gone.code, Code::RecordingUnknown);
    assert!(!ledger.recorded_rooms().await.expect("answers").contains(&crate::kit::room(name)));
}
