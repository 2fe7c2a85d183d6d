//! When recordings are due: an index of times at which to look, and the claims of what is found.
//!
//! **A time in the index is never later than the deadline**, which stands in the account. A deadline that is pushed on needs no word
//! to the index; one that becomes sooner is told it afterwards. Whoever looks finds what is not due yet, and sets the time to look
//! again. The two stand in two slots, so a deadline may become sooner in between: the time is changed only if it is still what was
//! found, and then the account is looked at once more.

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::{Value, cmd};
use futures_util::future::join_all;
use tracing::debug;
use uuid::Uuid;

use super::{
    super::{Question, keys, scripts, trouble::Trouble},
    Work,
    answer::Answer,
    call::ms,
    owed::Debt,
};
use crate::{
    domain::recording::{Claim, ClaimedWork},
    protocol::RecordId,
};

/// Recordings that one sweep finds at most.
const FOUND_MAX: usize = 512;
/// How many it looks at at one time.
const LOOKED_AT_ONCE: usize = 16;
/// When one is looked at again that waits for somebody and has no deadline. It stays in the index, so that it is found there when
/// it has one again, whoever dies at that. Unit: ms.
const LOOKED_AGAIN_MS: u64 = 60_000;

/// What looking at a recording came to.
enum Found {
    Claimed(Box<Claim>),
    /// It is to be looked at again at this time.
    Later(u64),
    Unknown,
}

impl Work {
    /// Claims what has been due for so long, at most so many. What was claimed is answered also where Redis was lost on the way.
    pub async fn claim_due(self: &Arc<Self>, limit: usize, since: Duration) -> Result<Vec<Claim>, Trouble> {
        self.pay_all().await;
        let mut claims = Vec::new();
        let unheard = self.owed.all(|debt| debt.claim.is_some());
        // Where there is no room for it, a claim that nobody has heard of ends by its term.
        self.few_at_once(
            unheard,
            limit,
            &mut claims,
            |id| async move { self.claim_if_due(&id, since).await },
        )
        .await;
        let question = Question::script(&scripts::RECORDINGS_DUE, |call| {
            call.key(keys::ACTIVE).arg(FOUND_MAX).arg(ms(since));
        });
        let found: Vec<String> = match self.store.ask_ledger(question).await {
            Err(error) if claims.is_empty() => return Err(error),
            found => found.unwrap_or_default(),
        };
        let found: Vec<_> = found
            .chunks_exact(2)
            .filter_map(|pair| Some((RecordId::parse(pair.first()?).ok()?, pair.get(1)?.clone())))
            .collect();
        // After trouble the next sweep goes on, in another order: one master of a cluster may be away, and the others not.
        match self.few_at_once(found, limit, &mut claims, |(id, score)| self.look(id, score, since)).await {
            Some(error) if claims.is_empty() => Err(error),
            _ => Ok(claims),
        }
    }

    /// Claims this one, if it has been due for so long. What there is in the index of it is moved on by the next sweep.
    pub async fn claim_if_due(&self, id: &RecordId, since: Duration) -> Result<Option<Claim>, Trouble> {
        let found = self.claim(id, since).await?;
        Ok(if let Found::Claimed(claim) = found { Some(*claim) } else { None })
    }

    /// Asks for claims of these in any order, since several nodes sweep at one time, and a few at once, until there are so many
    /// or something has gone wrong: what that was.
    async fn few_at_once<I, F>(
        &self,
        mut of: Vec<I>,
        limit: usize,
        claims: &mut Vec<Claim>,
        ask: impl Fn(I) -> F,
    ) -> Option<Trouble>
    where
        F: Future<Output = Result<Option<Claim>, Trouble>>,
    {
        super::shuffle(&mut of);
        let mut trouble = None;
        while claims.len() < limit && !of.is_empty() && trouble.is_none() {
            let few = LOOKED_AT_ONCE.min(limit - claims.len()).min(of.len());
            for asked in join_all(of.drain(..few).map(&ask)).await {
                match asked {
                    Ok(claim) => claims.extend(claim),
                    Err(error) => trouble = Some(error),
                }
            }
        }
        trouble
    }

    /// Claims a recording, or sets the time to look at it again.
    async fn look(&self, id: RecordId, score: String, since: Duration) -> Result<Option<Claim>, Trouble> {
        let at = match self.claim(&id, since).await? {
            Found::Claimed(claim) => return Ok(Some(*claim)),
            Found::Unknown => {
                // Entered before its account is there, it stands at a later time.
                self.move_on(&id, &score, None).await?;
                return Ok(None);
            }
            Found::Later(at) => at,
        };
        self.move_on(&id, &score, Some(at)).await?;
        match self.claim(&id, since).await? {
            Found::Claimed(claim) => Ok(Some(*claim)),
            Found::Later(sooner) if sooner < at => self.look_at(&id, sooner).await.map(|()| None),
            Found::Later(_) | Found::Unknown => Ok(None),
        }
    }

    async fn claim(&self, id: &RecordId, since: Duration) -> Result<Found, Trouble> {
        // What was not answered may be executed yet: it must not stand in the way of what is asked now.
        let asked = self.owed.of(id).and_then(|debt| debt.claim);
        let request = asked.unwrap_or_else(Uuid::new_v4);
        let found = self.claim_for(id, request, since).await;
        match &found {
            Ok(_) if asked.is_some() => self.owed.paid(id, &Debt { claim: asked, ..Debt::default() }),
            Err(error) if *error != Trouble::NotAsked => self.owed.claim(id, request),
            _ => {}
        }
        found
    }

    /// Asked again for the same request, the claim that it has led to is the answer.
    async fn claim_for(&self, id: &RecordId, request: Uuid, since: Duration) -> Result<Found, Trouble> {
        let question = self.on(&scripts::RECORDING_CLAIM, id, |call| {
            call.arg(self.node.as_str()).arg(request.to_string()).arg(ms(since));
        });
        let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
        let what: String = answer.take()?;
        let work = match what.as_str() {
            "unknown" => return Ok(Found::Unknown),
            "later" => {
                let (due_ms, now_ms) = (answer.number()?, answer.some_number()?);
                return Ok(Found::Later(due_ms.unwrap_or(now_ms + LOOKED_AGAIN_MS)));
            }
            work => work,
        };
        let (expected, chunks) = (answer.take()?, answer.take()?);
        let manifest = answer.manifest()?;
        let work = match work {
            "finalise" => ClaimedWork::Finalise { expected, chunks },
            "publish" => ClaimedWork::Publish { chunks },
            "give_up" => ClaimedWork::GiveUp,
            "forget" => ClaimedWork::Forget,
            _ => return Err(Trouble::Unexpected("an unknown claim".to_owned())),
        };
        // Where it has begun anew since, that was entered under this fence.
        self.leave(&manifest, manifest.fence).await;
        Ok(Found::Claimed(Box::new(Claim { manifest, work })))
    }

    async fn move_on(&self, id: &RecordId, score: &str, at: Option<u64>) -> Result<(), Trouble> {
        let question = Question::script(&scripts::RECORDINGS_MOVE, |call| {
            call.key(keys::ACTIVE).arg(id.as_str()).arg(score).arg(super::answer::text(at));
        });
        self.store.ask_ledger::<Value>(question).await.map(drop)
    }

    /// Has it looked at by then at the latest.
    async fn look_at(&self, id: &RecordId, at_ms: u64) -> Result<(), Trouble> {
        let mut command = cmd("ZADD");
        command.arg(keys::ACTIVE).arg("LT").arg(at_ms).arg(id.as_str());
        self.store.ask_ledger::<Value>(Question::command("recordings_sooner", command)).await.map(drop)
    }

    /// The same after its deadline has become sooner. What was asked was done, so an index that cannot be told of it is told later.
    pub async fn due_sooner(&self, id: &RecordId, due_ms: Option<u64>) {
        let Some(due_ms) = due_ms else { return };
        if self.owed.index_rests() {
            return self.owed.due(id);
        }
        if self.look_at(id, due_ms).await.is_err() {
            self.owed.index_rest();
            self.owed.due(id);
        }
    }

    /// Enters a recording before its account is there.
    pub async fn enter_active(&self, id: &RecordId, after_ms: u64) -> Result<(), Trouble> {
        let question = Question::script(&scripts::RECORDINGS_ENTER, |call| {
            call.key(keys::ACTIVE).arg(id.as_str()).arg(after_ms);
        });
        self.store.ask_ledger::<Value>(question).await.map(drop)
    }

    /// Does what is owed of all recordings, but for their claims.
    async fn pay_all(&self) {
        let due = self.owed.take_due(FOUND_MAX);
        if let Err(error) = self.look_at_all(&due).await {
            debug!(%error, "when some are due could not be told yet");
            due.iter().for_each(|id| self.owed.due(id));
        }
        let mut numbers = self.owed.all(|debt| !debt.numbers.is_empty());
        numbers.retain(|id| !self.owed.rests(id));
        let pay = |id| async move { self.pay(&id).await.map(|()| None) };
        if let Some(error) = self.few_at_once(numbers, usize::MAX, &mut Vec::new(), pay).await {
            debug!(%error, "numbers could not be given back yet");
        }
    }

    /// Has all of these looked at now.
    async fn look_at_all(&self, ids: &[RecordId]) -> Result<(), Trouble> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut command = cmd("ZADD");
        command.arg(keys::ACTIVE).arg("LT");
        for id in ids {
            command.arg(0).arg(id.as_str());
        }
        self.store.ask_ledger::<Value>(Question::command("recordings_sooner", command)).await.map(drop)
    }

    /// Gives back the numbers of a recording that nobody has heard of, before anything else is asked of it.
    pub async fn pay(&self, id: &RecordId) -> Result<(), Trouble> {
        let Some(turn) = self.owed.turn(id) else { return Ok(()) };
        let _paying = turn.lock().await;
        let numbers = self.owed.of(id).unwrap_or_default().numbers;
        if !numbers.is_empty() && self.owed.rests(id) {
            return Err(Trouble::NotAsked);
        }
        for request in &numbers {
            let paid = self.give_back(id, *request).await;
            paid.inspect_err(|_| self.owed.rest(id))?;
        }
        self.owed.paid(id, &Debt { numbers, ..Debt::default() });
        Ok(())
    }
}
