//! The registry on Redis: each operation one script, and the index around it.

use std::sync::Arc;

use deadpool_redis::redis::{FromRedisValue, ScriptInvocation, Value, cmd, from_redis_value};
use tokio::sync::oneshot;

use super::{
    By, Question, RedisStore,
    index::{self, Left, Mine},
    keys,
    queue::RoomQueues,
    row, scripts,
    trouble::Trouble,
};
use crate::{
    adapters::ports::{PortFuture, Registry, RegistryError},
    domain::membership::{
        AdmissionRequest, Admitted, Change, Generation, RoomPicture, Row, RowUpdate, SyncRequest, TakeOver,
    },
    protocol::{Code, Incarnation, NodeId, NodeRef, Refusal, RoomName, SessionId, UserId},
};

/// Who is in which room, in Redis.
pub struct RedisRegistry {
    queues: RoomQueues,
    work: Arc<Work>,
}

/// What operations work with.
struct Work {
    store: Arc<RedisStore>,
    /// Whose index this node's sessions are in.
    node: NodeId,
}

/// An operation's answer, and what is to be forgotten once it has been given.
struct Done<T> {
    answer: T,
    left: Vec<Left>,
}

impl<T> Done<T> {
    fn clean(answer: T) -> Self {
        Self { answer, left: Vec::new() }
    }
}

type Outcome<T> = Result<Done<T>, Trouble>;
type Admission = Result<Admitted, Refusal>;

impl RedisRegistry {
    /// The registry of the node of this name.
    #[must_use]
    pub fn new(store: Arc<RedisStore>, node: NodeId) -> Self {
        Self { queues: RoomQueues::new(store.runtime.clone()), work: Arc::new(Work { store, node }) }
    }

    /// Takes a place in the room's line now, and answers when it is done.
    fn in_line<T, F>(
        &self,
        room: &RoomName,
        act: impl FnOnce(Arc<Work>) -> F,
    ) -> PortFuture<Result<T, RegistryError>>
    where
        T: Send + 'static,
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let work = self.work.clone();
        let act = act(work.clone());
        let job = async move {
            let (answer, left) = match act.await {
                Ok(Done { answer, left }) => (Ok(answer), left),
                Err(trouble) => (Err(RegistryError::from(trouble)), Vec::new()),
            };
            // Nobody waits for it any more: it is done all the same.
            let _ = tell.send(answer);
            work.forget(left).await;
        };
        let taken = self.queues.push(room, Box::pin(job));
        Box::pin(async move {
            let unavailable = |why: &str| Err(RegistryError::Unavailable(why.to_owned()));
            if !taken {
                return unavailable("too much waits for it already");
            }
            told.await.unwrap_or_else(|_| unavailable("the node stops"))
        })
    }
}

impl Registry for RedisRegistry {
    fn admit(&self, request: AdmissionRequest) -> PortFuture<Result<Admission, RegistryError>> {
        let room = request.room.clone();
        self.in_line(&room, |work| async move { work.admit(request).await })
    }

    fn mirror(&self, change: Change) -> PortFuture<Result<bool, RegistryError>> {
        let room = change.room().clone();
        self.in_line(&room, |work| async move { work.mirror(change).await })
    }

    fn sync(&self, request: SyncRequest) -> PortFuture<Result<RoomPicture, RegistryError>> {
        let room = request.room.clone();
        self.in_line(&room, |work| async move { work.sync(request).await })
    }

    fn find(&self, room: RoomName, user_id: UserId) -> PortFuture<Result<Option<Row>, RegistryError>> {
        let mut command = cmd("HGET");
        command.arg(keys::participants(&room)).arg(user_id.as_str());
        self.in_line(&room, |work| async move {
            let text: Option<Vec<u8>> = work.ask(Question::command("find", command)).await?;
            Ok(Done::clean(text.and_then(|text| row::read(&text))))
        })
    }

    fn show(&self, room: RoomName) -> PortFuture<Result<RoomPicture, RegistryError>> {
        let question = on_room(&scripts::SHOW, &room, 0, |_| {});
        self.in_line(&room, |work| async move {
            let answer = work.store.ask(By::Rooms, question).await?;
            Ok(Done::clean(row::picture(answer)?))
        })
    }

    fn take_over(&self, request: TakeOver) -> PortFuture<Result<Admission, RegistryError>> {
        let room = request.room.clone();
        self.in_line(&room, |work| async move { work.take_over(request).await })
    }
}

impl Work {
    async fn ask<T: FromRedisValue>(&self, question: Question) -> Result<T, Trouble> {
        let answer = self.store.ask(By::Rooms, question).await?;
        Ok(from_redis_value(answer)?)
    }

    async fn admit(&self, request: AdmissionRequest) -> Outcome<Admission> {
        let AdmissionRequest { room, user_id, node, session, username, metadata, proof, participants_max } =
            request;
        let ends = self.store.may_write(Some(&node))?;
        let mine =
            Mine { node: &node, room: &room, session, user_id: &user_id, username: &username, generation: 0 };
        self.put(&node.id, [mine].into_iter()).await?;
        let question = on_room(&scripts::ADMIT, &room, ends, |call| {
            call.arg(user_id.as_str()).arg(node.id.as_str()).arg(node.incarnation.0).arg(session.to_string());
            call.arg(row::tail(&proof, &username, &metadata)).arg(participants_max);
        });
        // Twice is harmless: the session then replaces itself.
        match entered(self.store.ask(By::Rooms, question).await?, &user_id)? {
            Entered::Refused { refusal, .. } => {
                let left = Left { node: node.id, session, generation_max: 0 };
                Ok(Done { answer: Err(refusal), left: vec![left] })
            }
            Entered::In { admitted, before } => {
                // Another session of the participant is over, wherever it was.
                let generation_max = admitted.row.generation;
                let over = before.filter(|replaced| *replaced != session).zip(admitted.replaced.as_ref());
                let left =
                    over.map(|(session, home)| Left { node: home.id.clone(), session, generation_max });
                let left = left.into_iter().collect();
                Ok(Done { answer: Ok(*admitted), left })
            }
        }
    }

    async fn take_over(&self, request: TakeOver) -> Outcome<Admission> {
        let TakeOver { room, user_id, row, expected } = request;
        let Row { node, session, username, .. } = &row;
        let ends = self.store.may_write(Some(node))?;
        let mine =
            Mine { node, room: &room, session: *session, user_id: &user_id, username, generation: expected };
        self.put(&node.id, [mine].into_iter()).await?;
        let question = on_room(&scripts::TAKE_OVER, &room, ends, |call| {
            call.arg(user_id.as_str()).arg(node.id.as_str()).arg(node.incarnation.0).arg(session.to_string());
            call.arg(expected).arg(row::presence(row.state));
            call.arg(row::tail(&row.proof, username, &row.metadata));
        });
        // Not twice: the second time the session has moved already, and that would be the answer.
        match entered(self.store.ask(By::Rooms, question.once()).await?, &user_id)? {
            Entered::Refused { refusal, here } => {
                let left = Left { node: node.id.clone(), session: *session, generation_max: expected };
                Ok(Done { answer: Err(refusal), left: (!here).then_some(left).into_iter().collect() })
            }
            Entered::In { admitted, before } => {
                let moved = admitted.replaced.as_ref().filter(|home| home.id != node.id).zip(before);
                let left = moved.map(|(home, session)| Left {
                    node: home.id.clone(),
                    session,
                    generation_max: expected,
                });
                let left = left.into_iter().collect();
                Ok(Done { answer: Ok(*admitted), left })
            }
        }
    }

    async fn sync(&self, request: SyncRequest) -> Outcome<RoomPicture> {
        let homes = request.mine.iter().map(|(_, row)| &row.node);
        let ends = homes.map(Some).chain([None]).try_fold(0, |_, home| self.store.may_write(home))?;
        if !request.mine.is_empty() {
            let mine = request.mine.iter().map(|(user_id, row)| Mine {
                node: &row.node,
                room: &request.room,
                session: row.session,
                user_id,
                username: &row.username,
                generation: row.generation,
            });
            self.put(&request.node.id, mine).await?;
        }
        let question = on_room(&scripts::SYNC, &request.room, ends, |call| sync_args(call, &request));
        let (answer, gone, displaced, restored): (Value, Vec<[String; 3]>, Vec<[String; 3]>, bool) =
            self.ask(question).await?;
        let displaced: Vec<_> = displaced.iter().filter_map(displaced_session).collect();
        let mut removed: Vec<_> = gone.iter().filter_map(removed_row).collect();
        removed.sort();
        let homes = displaced.iter().map(|(home, _)| home.clone()).collect();
        let picture = RoomPicture { displaced: homes, removed, restored, ..row::picture(answer)? };
        let node = &request.node.id;
        let is_here = |user_id, session| {
            picture.rows.get(user_id).is_some_and(|row: &Row| row.session == session && row.node.id == *node)
        };
        let left_here = |(session, generation_max)| Left { node: node.clone(), session, generation_max };
        let not_here = request.mine.iter().filter(|(user_id, row)| !is_here(user_id, row.session));
        let not_here = not_here.map(|(_, row)| left_here((row.session, row.generation)));
        let gone = picture.removed.iter().map(|(_, session, _)| left_here((*session, Generation::MAX)));
        let over = displaced.into_iter().map(|(home, session)| Left {
            node: home.id,
            session,
            generation_max: picture.last_generation,
        });
        let left = not_here.chain(gone).chain(over).collect();
        Ok(Done { answer: picture, left })
    }

    async fn mirror(&self, change: Change) -> Outcome<bool> {
        let ends = self.store.may_write(None)?;
        let question = match change {
            Change::Update(update) => update_question(&update, ends),
            Change::TakeBack { room, user_id, session } => {
                return self.withdraw(withdraw_question(&room, ends, &user_id, session, None), session).await;
            }
            Change::Withdraw { room, user_id, session, generation } => {
                let question = withdraw_question(&room, ends, &user_id, session, Some(generation));
                return self.withdraw(question, session).await;
            }
            Change::SetLocked { room, lock } => on_room(&scripts::SET_LOCKED, &room, ends, |call| {
                call.arg(u8::from(lock.locked)).arg(lock.version);
            }),
            Change::Ban { room, user_id, duration } => {
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                on_room(&scripts::BAN, &room, ends, |call| {
                    call.arg(user_id.as_str()).arg(duration_ms);
                })
            }
        };
        self.ask(question).await.map(Done::clean)
    }

    async fn withdraw(&self, question: Question, session: SessionId) -> Outcome<bool> {
        let (answer, stays): (bool, bool) = self.ask(question).await?;
        // A session that stays has moved, and whoever took it over has forgotten it here.
        let left =
            (!stays).then(|| Left { node: self.node.clone(), session, generation_max: Generation::MAX });
        Ok(Done { answer, left: left.into_iter().collect() })
    }

    async fn put<'a>(&self, node: &NodeId, entries: impl Iterator<Item = Mine<'a>>) -> Result<(), Trouble> {
        let question = index::put(node, self.store.clock.now().wall_ms, entries);
        self.store.ask(By::Rooms, question).await.map(drop)
    }

    /// Entries that stay lead nowhere, and go with the node: the index is a superset.
    async fn forget(&self, left: Vec<Left>) {
        for Left { node, session, generation_max } in left {
            let question = index::forget(&node, Incarnation(u64::MAX), generation_max, &[session]);
            if self.store.ask(By::Rooms, question).await.is_err() {
                return;
            }
        }
    }
}

/// What a script says of somebody who wants in.
enum Entered {
    Refused {
        refusal: Refusal,
        /// The session is at the node that asked all the same.
        here: bool,
    },
    In {
        admitted: Box<Admitted>,
        /// The session that it replaced, or that has moved.
        before: Option<SessionId>,
    },
}

/// Reads `{code, whether it is here}`, or `{'', home, incarnation and session before, picture}`.
fn entered(answer: Value, user_id: &UserId) -> Result<Entered, Trouble> {
    let unexpected = |what: &str| Trouble::Unexpected(what.to_owned());
    let Value::Array(answer) = answer else { return Err(unexpected("not a list")) };
    let mut parts = answer.into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    let code: String = from_redis_value(next())?;
    let code = match code.as_str() {
        "" => None,
        "banned" => Some(Code::Banned),
        "room_locked" => Some(Code::RoomLocked),
        "room_full" => Some(Code::RoomFull),
        "session_unknown" => Some(Code::SessionUnknown),
        _ => return Err(unexpected("an unknown refusal")),
    };
    if let Some(code) = code {
        return Ok(Entered::Refused { refusal: code.into(), here: from_redis_value(next())? });
    }
    let (home, life, session): (String, String, String) =
        (from_redis_value(next())?, from_redis_value(next())?, from_redis_value(next())?);
    let picture = row::picture(next())?;
    let row = picture.rows.get(user_id).cloned().ok_or_else(|| unexpected("no row of who was let in"))?;
    let home = NodeId::parse(&home).ok().zip(life.parse().ok());
    let replaced = home.map(|(id, life)| NodeRef { id, incarnation: Incarnation(life) });
    let admitted = Box::new(Admitted { row, picture, replaced });
    Ok(Entered::In { admitted, before: SessionId::parse(&session) })
}

/// Reads a row that a sync has taken away: `{user, session, generation}`.
fn removed_row([user_id, session, generation]: &[String; 3]) -> Option<(UserId, SessionId, Generation)> {
    Some((UserId::parse(user_id).ok()?, SessionId::parse(session)?, generation.parse().ok()?))
}

/// Reads a session that a sync has displaced: `{node, incarnation, session}`.
fn displaced_session([node, life, session]: &[String; 3]) -> Option<(NodeRef, SessionId)> {
    let home = NodeRef { id: NodeId::parse(node).ok()?, incarnation: Incarnation(life.parse().ok()?) };
    Some((home, SessionId::parse(session)?))
}

/// A call of a script on a room, with the arguments that every one of them has.
fn on_room(
    script: &'static scripts::Script,
    room: &RoomName,
    lease_ends_ms: u64,
    arguments: impl FnOnce(&mut ScriptInvocation<'static>),
) -> Question {
    Question::script(script, |call| {
        call.key(keys::participants(room)).key(keys::meta(room)).arg(lease_ends_ms);
        arguments(call);
    })
}

fn update_question(update: &RowUpdate, ends: u64) -> Question {
    on_room(&scripts::UPDATE, &update.room, ends, |call| {
        call.arg(update.user_id.as_str()).arg(update.generation).arg(update.revision);
        call.arg(row::presence(update.state)).arg(row::json(&update.metadata));
    })
}

fn withdraw_question(
    room: &RoomName,
    ends: u64,
    user_id: &UserId,
    session: SessionId,
    generation: Option<Generation>,
) -> Question {
    on_room(&scripts::WITHDRAW, room, ends, |call| {
        let generation = generation.map_or_else(String::new, |generation| generation.to_string());
        call.arg(user_id.as_str()).arg(session.to_string()).arg(generation);
    })
}

fn sync_args(call: &mut ScriptInvocation<'static>, request: &SyncRequest) {
    let SyncRequest { node, mine, keep, lock, dead, grace, .. } = request;
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    call.arg(node.id.as_str()).arg(node.incarnation.0).arg(u8::from(lock.locked)).arg(grace_ms);
    call.arg(lock.version);
    call.arg(dead.len());
    for NodeRef { id, incarnation } in dead {
        call.arg(id.as_str()).arg(incarnation.0);
    }
    call.arg(keep.len());
    for session in keep {
        call.arg(session.to_string());
    }
    call.arg(mine.len());
    for (user_id, row) in mine {
        call.arg(user_id.as_str()).arg(row.node.id.as_str()).arg(row.node.incarnation.0);
        call.arg(row.session.to_string()).arg(row.generation).arg(row.revision);
        call.arg(row::presence(row.state)).arg(row.joined_at);
        call.arg(row::tail(&row.proof, &row.username, &row.metadata));
    }
}
