//! The scripts mean what the rules say: whatever is asked, in whatever order, Redis and the registry in memory answer the same.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use greenroom::{
    adapters::{
        clock::Clock,
        memory::MemoryRegistry,
        ports::{Leases as _, PortFuture, Registry, RegistryError},
    },
    domain::membership::{
        AdmissionRequest, Admitted, Change, RoomLock, RoomPicture, Row, RowUpdate, SyncRequest, TakeOver,
    },
    protocol::{
        NodeRef, Refusal, ResumeToken, RoomName, SessionId, UserId, command::Username, event::Presence,
        metadata::Metadata,
    },
};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::{
    kit::{Part, node, room},
    support::{Redis, setting},
};

const USERS: [&str; 4] = ["ada", "bob", "7", "E-_"];
const HOUR: Duration = Duration::from_secs(3600);

/// Something to ask. Numbers choose among what has been seen before, so that both registries are asked for the same.
#[derive(Debug, Clone)]
enum Step {
    Admit {
        user: usize,
        home: usize,
        participants_max: usize,
        says: Says,
    },
    Update {
        seen: usize,
        revision: u64,
        suspect: bool,
        says: Says,
    },
    TakeBack {
        seen: usize,
    },
    Withdraw {
        seen: usize,
    },
    SetLocked(RoomLock),
    Ban {
        user: usize,
        long: bool,
    },
    Sync {
        home: usize,
        mine: Vec<(usize, u64, bool)>,
        keep: Vec<usize>,
        lock: RoomLock,
        dead: Vec<usize>,
        long: bool,
    },
    TakeOver {
        seen: usize,
        home: usize,
        suspect: bool,
    },
    Find {
        user: usize,
    },
}

/// What participants say of themselves.
#[derive(Debug, Clone)]
struct Says {
    username: String,
    metadata: Map<String, Value>,
}

fn says() -> impl Strategy<Value = Says> {
    let username = prop_oneof![
        Just(r#"a","metadata":{"x":[]},"y":""#.to_owned()),
        Just(r"back\slash\".to_owned()),
        Just(r#"\""#.to_owned()),
        "\\PC{1,20}",
    ];
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!([])),
        Just(json!("\u{0}\"\\/\u{7f}é🎥\n")),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300).prop_map(Value::from),
        Just(json!(null)),
    ];
    let value = leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..4)
                .prop_map(|map| Value::from(Map::from_iter(map))),
        ]
    });
    let metadata = prop::collection::btree_map("\\PC{0,6}", value, 0..4).prop_map(Map::from_iter);
    (username, metadata).prop_map(|(username, metadata)| Says { username, metadata })
}

fn lock() -> impl Strategy<Value = RoomLock> {
    (any::<bool>(), 0..6_u64).prop_map(|(locked, version)| RoomLock { locked, version })
}

fn step() -> impl Strategy<Value = Step> {
    let (seen, home) = (0..12_usize, 0..4_usize);
    let mine = prop::collection::vec((seen.clone(), 0..3_u64, prop::bool::weighted(0.3)), 0..4);
    prop_oneof![
        6 => (0..4_usize, home.clone(), 1..5_usize, says()).prop_map(|(user, home, participants_max, says)| {
            Step::Admit { user, home, participants_max, says }
        }),
        4 => (seen.clone(), 0..4_u64, any::<bool>(), says()).prop_map(|(seen, revision, suspect, says)| {
            Step::Update { seen, revision, suspect, says }
        }),
        1 => seen.clone().prop_map(|seen| Step::TakeBack { seen }),
        3 => seen.clone().prop_map(|seen| Step::Withdraw { seen }),
        1 => lock().prop_map(Step::SetLocked),
        1 => (0..4_usize, any::<bool>()).prop_map(|(user, long)| Step::Ban { user, long }),
        5 => (
            home.clone(), mine, prop::collection::vec(seen.clone(), 0..3), lock(),
            prop::collection::vec(0..4_usize, 0..3), any::<bool>(),
        ).prop_map(|(home, mine, keep, lock, dead, long)| Step::Sync { home, mine, keep, lock, dead, long }),
        6 => (seen, home, any::<bool>()).prop_map(|(seen, home, suspect)| Step::TakeOver { seen, home, suspect }),
        1 => (0..4_usize).prop_map(|user| Step::Find { user }),
    ]
}

/// Homes of sessions: two nodes, one of them in three lives.
fn home(number: usize) -> NodeRef {
    [node("n-1.a", 1), node("n-1.a", 2), node("n-1.a", 3), node("n2", 1)][number].clone()
}

fn presence(suspect: bool) -> Presence {
    if suspect { Presence::Suspect } else { Presence::Present }
}

fn metadata(says: &Says) -> Metadata {
    serde_json::from_value(Value::Object(says.metadata.clone())).expect("an object")
}

/// One registry and all rows that it has answered, in the order in which they came.
struct Side<'a> {
    registry: &'a dyn Registry,
    room: RoomName,
    seen: Vec<(UserId, Row)>,
    /// Called with the home that writes, before it does.
    grant: Box<dyn Fn(&NodeRef) + 'a>,
}

/// What an answer comes to.
#[derive(Debug, PartialEq)]
enum Answer {
    Admission(Result<Admitted, Refusal>),
    Applied(bool),
    Picture(RoomPicture),
    Row(Option<Row>),
    Nothing,
}

impl Side<'_> {
    fn chosen(&self, number: usize) -> Option<&(UserId, Row)> {
        self.seen.get(self.seen.len().checked_sub(1 + number)?)
    }

    async fn take(&mut self, step: &Step, session: SessionId) -> Answer {
        let answer = self.ask(step, session).await;
        let rows = match &answer {
            Answer::Admission(Ok(admitted)) => &admitted.picture.rows,
            Answer::Picture(picture) => &picture.rows,
            _ => return answer,
        };
        for (user_id, row) in rows {
            if !self.seen.iter().any(|seen| (&seen.0, &seen.1) == (user_id, row)) {
                self.seen.push((user_id.clone(), row.clone()));
            }
        }
        answer
    }

    async fn ask(&self, step: &Step, session: SessionId) -> Answer {
        let room = self.room.clone();
        let user = |number: usize| UserId::parse(USERS[number]).expect("valid");
        match step {
            Step::Admit { user: number, home: at, participants_max, says } => {
                let user_id = user(*number);
                (self.grant)(&home(*at));
                let username = Username::parse(&says.username).ok().flatten();
                let username = username.unwrap_or_else(|| Username::from(&user_id));
                let proof = ResumeToken::new([u8::try_from(*number).expect("few"); 32]).digest();
                let (node, metadata, participants_max) = (home(*at), metadata(says), *participants_max);
                let request = AdmissionRequest {
                    room,
                    user_id,
                    node,
                    session,
                    username,
                    metadata,
                    proof,
                    participants_max,
                };
                Answer::Admission(self.registry.admit(request).await.expect("an answer"))
            }
            Step::Update { seen, revision, suspect, says } => {
                let Some((user_id, row)) = self.chosen(*seen) else { return Answer::Nothing };
                self.mirror(Change::Update(RowUpdate {
                    room,
                    user_id: user_id.clone(),
                    generation: row.generation,
                    revision: row.revision + revision,
                    state: presence(*suspect),
                    metadata: metadata(says),
                }))
                .await
            }
            Step::TakeBack { seen } => {
                let Some((user_id, row)) = self.chosen(*seen) else { return Answer::Nothing };
                self.mirror(Change::TakeBack { room, user_id: user_id.clone(), session: row.session }).await
            }
            Step::Withdraw { seen } => {
                let Some((user_id, row)) = self.chosen(*seen) else { return Answer::Nothing };
                let (user_id, session, generation) = (user_id.clone(), row.session, row.generation);
                self.mirror(Change::Withdraw { room, user_id, session, generation }).await
            }
            Step::SetLocked(lock) => self.mirror(Change::SetLocked { room, lock: *lock }).await,
            Step::Ban { user: number, long } => {
                let duration = if *long { HOUR } else { Duration::ZERO };
                self.mirror(Change::Ban { room, user_id: user(*number), duration }).await
            }
            Step::Sync { .. } => Answer::Picture(self.sync(step, session).await),
            Step::TakeOver { seen, home: at, suspect } => {
                let Some((user_id, row)) = self.chosen(*seen).cloned() else { return Answer::Nothing };
                (self.grant)(&home(*at));
                let expected = row.generation;
                let row = Row { node: home(*at), state: presence(*suspect), until: None, ..row };
                let request = TakeOver { room, user_id, row, expected };
                Answer::Admission(self.registry.take_over(request).await.expect("an answer"))
            }
            Step::Find { user: number } => {
                Answer::Row(self.registry.find(room, user(*number)).await.expect("an answer"))
            }
        }
    }

    async fn mirror(&self, change: Change) -> Answer {
        Answer::Applied(self.registry.mirror(change).await.expect("an answer"))
    }

    async fn sync(&self, step: &Step, twin: SessionId) -> RoomPicture {
        let Step::Sync { home: at, mine, keep, lock, dead, long } = step else { unreachable!("a sync") };
        let node = home(*at);
        (self.grant)(&node);
        let mut twin = Some(twin);
        let mut held: BTreeMap<UserId, Row> = BTreeMap::new();
        for (seen, later, is_twin) in mine {
            if let Some((user_id, mut row)) = self.chosen(*seen).cloned() {
                if *is_twin && let Some(twin) = twin.take() {
                    // Let in apart from the other one, while the node was cut off.
                    row.session = twin;
                }
                let row = Row { node: node.clone(), revision: row.revision + later, until: None, ..row };
                held.insert(user_id, row);
            }
        }
        let request = SyncRequest {
            room: self.room.clone(),
            node,
            mine: held.into_iter().collect(),
            keep: keep.iter().filter_map(|seen| Some(self.chosen(*seen)?.1.session)).collect(),
            lock: *lock,
            dead: dead.iter().map(|&number| home(number)).collect(),
            grace: if *long { HOUR } else { Duration::ZERO },
        };
        self.registry.sync(request).await.expect("an answer")
    }
}

/// Two countings that mean the same: whenever one has given a number, the other has given its partner, and in the same order.
#[derive(Default)]
struct Pairing(BTreeMap<u64, u64>);

impl Pairing {
    fn pair(&mut self, one: &mut u64, other: u64) {
        let partner = *self.0.entry(*one).or_insert(other);
        assert_eq!(partner, other, "{one} has two partners");
        assert!(self.0.values().is_sorted_by(|a, b| a < b), "another order: {:?}", self.0);
        *one = other;
    }
}

#[derive(Default)]
struct Pairings {
    generations: Pairing,
    joined_at: Pairing,
}

impl Pairings {
    /// Puts the partners of a row's numbers in their place, so that the rest can be compared.
    fn row(&mut self, one: &mut Row, other: &Row) {
        self.generations.pair(&mut one.generation, other.generation);
        self.joined_at.pair(&mut one.joined_at, other.joined_at);
        if one.until.is_some() {
            one.until = one.until.and(other.until);
        }
    }

    fn picture(&mut self, one: &mut RoomPicture, other: &RoomPicture) {
        self.generations.pair(&mut one.last_generation, other.last_generation);
        for (user_id, row) in &mut one.rows {
            if let Some(other) = other.rows.get(user_id) {
                self.row(row, other);
            }
        }
        for (removed, other) in one.removed.iter_mut().zip(&other.removed) {
            self.generations.pair(&mut removed.2, other.2);
        }
        if let (Some(due), Some(other)) = (&mut one.due_in, other.due_in)
            && due.abs_diff(other) < Duration::from_secs(20)
        {
            *due = other;
        }
    }

    fn answer(&mut self, one: &mut Answer, other: &Answer) {
        match (one, other) {
            (Answer::Admission(Ok(one)), Answer::Admission(Ok(other))) => {
                self.row(&mut one.row, &other.row);
                self.picture(&mut one.picture, &other.picture);
            }
            (Answer::Picture(one), Answer::Picture(other)) => self.picture(one, other),
            (Answer::Row(Some(one)), Answer::Row(Some(other))) => self.row(one, other),
            _ => {}
        }
    }
}

/// Takes the steps on both sides and compares whatever can be seen of them.
async fn agree(redis: Option<&Redis>, parts: &[Arc<Part>; 2], steps: Vec<Step>) {
    let name = format!("room-{}", Uuid::new_v4().simple());
    let memory = MemoryRegistry::new(Clock::start());
    let mut rules = Side { registry: &memory, room: room(&name), seen: vec![], grant: Box::new(|_| {}) };
    let registry = ByHome(parts.clone());
    let grant = |node: &NodeRef| registry.of(node).leases.granted(node, crate::kit::in_an_hour());
    let mut scripts = Side { registry: &registry, room: room(&name), seen: vec![], grant: Box::new(grant) };
    let mut pairings = Pairings::default();
    for step in steps {
        let session = crate::kit::new_session();
        let mut expected = rules.take(&step, session).await;
        let found = scripts.take(&step, session).await;
        pairings.answer(&mut expected, &found);
        assert_eq!(expected, found, "{step:?}");
        let mut expected = memory.show(room(&name)).await.expect("an answer");
        let found = registry.show(room(&name)).await.expect("an answer");
        pairings.picture(&mut expected, &found);
        assert_eq!(expected, found, "after {step:?}");
        if let Some(redis) = redis {
            look(redis, &name, &found);
        }
        // The index leads to all of it (C-6).
        for part in parts {
            let indexed = part.indexed(&part.node).await;
            for row in found.rows.values().filter(|row| row.node.id == part.node.id) {
                assert!(indexed.contains(&row.session), "{row:?} is not in the index after {step:?}");
            }
        }
    }
}

/// What stands in Redis is what others are told to expect there.
fn look(redis: &Redis, name: &str, picture: &RoomPicture) {
    let key = format!("rooms:{{{name}}}:participants");
    let stored: BTreeMap<String, String> = redis.run(&["HGETALL", &key]);
    let stored: BTreeMap<String, Value> =
        stored.into_iter().map(|(user, row)| (user, serde_json::from_str(&row).expect("JSON"))).collect();
    let told = picture.rows.iter().map(|(user, row)| (user.to_string(), json!(row)));
    assert_eq!(stored, told.collect());
    let meta: bool = redis.run(&["EXISTS", &format!("rooms:{{{name}}}:meta")]);
    assert_eq!(meta, !picture.rows.is_empty(), "a room that nobody is in is forgotten");
}

/// Each node asks for itself.
struct ByHome([Arc<Part>; 2]);

impl ByHome {
    fn of(&self, node: &NodeRef) -> &Part {
        self.0.iter().find(|part| part.node.id == node.id).expect("one of them")
    }
}

impl Registry for ByHome {
    fn admit(
        &self,
        request: AdmissionRequest,
    ) -> PortFuture<Result<Result<Admitted, Refusal>, RegistryError>> {
        self.of(&request.node).registry.admit(request)
    }

    fn mirror(&self, change: Change) -> PortFuture<Result<bool, RegistryError>> {
        self.0[0].registry.mirror(change)
    }

    fn sync(&self, request: SyncRequest) -> PortFuture<Result<RoomPicture, RegistryError>> {
        self.of(&request.node).registry.sync(request)
    }

    fn find(&self, room: RoomName, user_id: UserId) -> PortFuture<Result<Option<Row>, RegistryError>> {
        self.0[1].registry.find(room, user_id)
    }

    fn show(&self, room: RoomName) -> PortFuture<Result<RoomPicture, RegistryError>> {
        self.0[1].registry.show(room)
    }

    fn take_over(&self, request: TakeOver) -> PortFuture<Result<Result<Admitted, Refusal>, RegistryError>> {
        self.of(&request.row.node).registry.take_over(request)
    }
}

#[test]
fn whatever_is_asked_redis_answers_as_the_rules_do() {
    if !Redis::is_here() {
        return;
    }
    let redis = Redis::start();
    let runtime = Runtime::new().expect("a runtime");
    let parts = runtime.block_on(async { ["n-1.a", "n2"].map(|name| Arc::new(Part::on(&redis, name))) });
    let cases = setting("REDIS_CASES").and_then(|cases| cases.parse().ok()).unwrap_or(64);
    agree_on_all(cases, &runtime, Some(&redis), &parts);
}

/// Takes so many random ways. The server is looked into where it has all keys.
pub fn agree_on_all(cases: u32, runtime: &Runtime, redis: Option<&Redis>, parts: &[Arc<Part>; 2]) {
    let mut runner =
        TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let outcome = runner.run(&prop::collection::vec(step(), 1..40), |steps| {
        runtime.block_on(agree(redis, parts, steps));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
