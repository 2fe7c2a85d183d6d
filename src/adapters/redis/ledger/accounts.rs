//! How an account begins, goes on, is claimed and ends.

use std::time::Duration;

use deadpool_redis::redis::{Value, cmd};
use uuid::Uuid;

use super::{
    super::{Question, keys, scripts, trouble::Trouble},
    Work,
    answer::{Answer, Fixed, code, put_manifest, read, text},
    call::ms,
    entries::Entered,
    refused, unknown,
};
use crate::{
    adapters::ports::{ClaimEnd, LedgerView, Loss},
    domain::recording::{Attached, Finished, Kept, Manifest, StopRefused, StopTaken},
    protocol::{
        Code, Fence, NodeId, RecordId, Refusal, TokenDigest, UploadToken,
        recorder::{Made, RecordingState},
    },
};

/// How the name of a loss of data begins. No server is named so.
const LOST: &str = "lost ";

type Refusable<T> = Result<Result<T, Refusal>, Trouble>;

impl Work {
    /// Masters of a cluster have a clock each; it is always the same one that is asked.
    pub async fn now_ms(&self) -> Result<u64, Trouble> {
        let question = Question::script(&scripts::RECORDINGS_NOW, |call| {
            call.key(keys::ACTIVE);
        });
        self.store.ask_ledger(question).await
    }

    /// An account of another recording under this name stands, and counts for nobody else's bound.
    pub async fn open(&self, manifest: Manifest, owner_max: u32) -> Refusable<Attached> {
        let id = manifest.record_id.clone();
        if self.token(&id).await?.is_some_and(|token| token != manifest.token) {
            return Ok(Err(Code::RecordIdTaken.into()));
        }
        if let Some(owner) = &manifest.owner
            && !self.admit_owner(owner, &manifest, owner_max).await?
        {
            return Ok(Err(Code::TooManyRecordings.into()));
        }
        self.enter_active(&id, self.idle_ms).await?;
        self.enter(Entered::from(&manifest).without_owner(), manifest.fence).await?;
        let opened = manifest.clone();
        let question = self.on(&scripts::RECORDING_OPEN, &id, |call| put_manifest(call, opened));
        let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
        let no: String = answer.take()?;
        if no.is_empty() {
            let (attached, due_ms) = answer.attached()?;
            self.due_sooner(&id, due_ms).await;
            // Somebody who found no account may have taken it for one that leads nowhere.
            self.align(&attached.manifest).await;
            return Ok(Ok(attached));
        }
        // Another of this name was opened at the same moment.
        self.align_lost(&manifest).await;
        self.due_sooner(&id, Some(0)).await;
        refused(&no)
    }

    pub async fn attach(&self, token: &UploadToken) -> Refusable<Attached> {
        let id = token.record_id();
        let mut is_entered = false;
        loop {
            let question = self.on(&scripts::RECORDING_ATTACH, id, |call| {
                call.arg(token.digest().to_hex()).arg(u8::from(is_entered));
            });
            let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
            match answer.take::<String>()?.as_str() {
                "" => {
                    let (attached, due_ms) = answer.attached()?;
                    self.due_sooner(id, due_ms).await;
                    return Ok(Ok(attached));
                }
                "indexes" => {
                    self.enter_again(&mut answer).await?;
                    is_entered = true;
                }
                no => return refused(no),
            }
        }
    }

    /// Before a recording begins anew, it is entered wherever it must be found; `{fixed, fence}` says where.
    pub(super) async fn enter_again(&self, answer: &mut Answer) -> Result<(), Trouble> {
        let fixed: Fixed = read(&answer.take::<String>()?)?;
        let fence = Fence(answer.some_number()?);
        self.enter((&fixed).into(), fence).await
    }

    async fn token(&self, id: &RecordId) -> Result<Option<TokenDigest>, Trouble> {
        let mut command = cmd("HMGET");
        command.arg(keys::recording(id)).arg("state").arg("token");
        let (state, token): (Option<String>, Option<String>) =
            self.store.ask_ledger(Question::command("recording_token", command)).await?;
        Ok(state.and(token).and_then(|token| TokenDigest::parse(&token)))
    }

    pub async fn authorise(&self, token: &UploadToken) -> Refusable<()> {
        let Some(right) = self.token(token.record_id()).await? else { return Ok(unknown()) };
        Ok(if right.matches(&token.digest()) { Ok(()) } else { Err(Code::Unauthorised.into()) })
    }

    pub async fn stop(
        &self,
        token: &UploadToken,
        made: Made,
    ) -> Result<Result<StopTaken, StopRefused>, Trouble> {
        let id = token.record_id();
        let question = self.on(&scripts::RECORDING_STOP, id, |call| {
            call.arg(token.digest().to_hex()).arg(text(made.chunks)).arg(text(made.bytes));
        });
        let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
        let no: String = answer.take()?;
        if no.is_empty() {
            let (chunks, due_ms, manifest) = (answer.take()?, answer.number()?, answer.manifest()?);
            self.due_sooner(id, due_ms).await;
            self.align(&manifest).await;
            return Ok(Ok(StopTaken { manifest, chunks }));
        }
        let refused = match code(&no)? {
            Code::ChunksMissing => {
                let (expected, missing): (u32, Vec<u32>) = (answer.take()?, answer.take()?);
                let manifest = Some(Box::new(answer.manifest()?));
                let refusal = Code::ChunksMissing.into();
                StopRefused { refusal, missing: Some((missing, expected)), manifest }
            }
            Code::BytesDiffer => {
                let stored = format!("{} are stored", answer.some_number()?);
                Refusal::because(Code::BytesDiffer, stored).into()
            }
            Code::Malformed => Refusal::because(Code::Malformed, "`chunks` is not how many were sent").into(),
            code => Refusal::from(code).into(),
        };
        Ok(Err(refused))
    }

    pub async fn keep(&self, id: &RecordId, generation: u64) -> Result<Option<Kept>, Trouble> {
        let question = self.on(&scripts::RECORDING_KEEP, id, |call| {
            call.arg(generation);
        });
        let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
        if !answer.take::<String>()?.is_empty() {
            return Ok(None);
        }
        let (is_present, state): (bool, String) = (answer.take()?, answer.take()?);
        let state = RecordingState::parse(&state);
        let state = state.ok_or_else(|| Trouble::Unexpected("no state of a recording".to_owned()))?;
        let (revision, percent) = (answer.some_number()?, percent(answer.number()?));
        let due_ms = answer.number()?;
        self.due_sooner(id, due_ms).await;
        Ok(Some(Kept { is_present, state, revision, percent }))
    }

    pub async fn detach(&self, id: &RecordId, generation: u64) -> Result<(), Trouble> {
        let question = self.on(&scripts::RECORDING_DETACH, id, |call| {
            call.arg(generation);
        });
        let due: String = self.store.ask_ledger(question).await?;
        self.due_sooner(id, due.parse().ok()).await;
        Ok(())
    }

    pub async fn keep_claim(
        &self,
        id: &RecordId,
        fence: Fence,
        percent: Option<u8>,
    ) -> Result<bool, Trouble> {
        let question = self.on(&scripts::RECORDING_KEEP_CLAIM, id, |call| {
            call.arg(fence.0).arg(text(percent));
        });
        self.store.ask_ledger(question).await
    }

    pub async fn holds(&self, id: &RecordId, fence: Fence) -> Result<bool, Trouble> {
        let mut command = cmd("HMGET");
        command.arg(keys::recording(id)).arg("state").arg("claimed_by").arg("fence");
        let (state, by, held): (Option<String>, Option<String>, Option<u64>) =
            self.store.ask_ledger(Question::command("recording_holds", command)).await?;
        Ok(state.and(by).is_some() && held == Some(fence.0))
    }

    pub async fn publish(
        &self,
        id: &RecordId,
        fence: Fence,
        finished: Finished,
    ) -> Result<Option<Manifest>, Trouble> {
        let question = self.on(&scripts::RECORDING_PUBLISH, id, |call| {
            call.arg(fence.0).arg(finished.chunks).arg(super::super::row::json(&finished));
        });
        let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
        if answer.is_empty() {
            return Ok(None);
        }
        let (manifest, due_ms) = (answer.manifest()?, answer.number()?);
        self.due_sooner(id, due_ms).await;
        Ok(Some(manifest))
    }

    pub async fn settle(
        &self,
        id: &RecordId,
        fence: Fence,
        end: ClaimEnd,
    ) -> Result<Option<Manifest>, Trouble> {
        let (how, after, fault) = match end {
            ClaimEnd::Ready { keep } => ("ready", keep, None),
            ClaimEnd::TryAgain { pause, fault } => ("again", pause, fault),
            ClaimEnd::Failed(fault) => ("failed", Duration::ZERO, Some(fault)),
        };
        let fault = fault.as_ref().map_or_else(String::new, super::super::row::json);
        let question = self.on(&scripts::RECORDING_SETTLE, id, |call| {
            call.arg(fence.0).arg(how).arg(ms(after)).arg(fault);
        });
        let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
        if answer.is_empty() {
            return Ok(None);
        }
        let due_ms = answer.number()?;
        self.due_sooner(id, due_ms).await;
        answer.manifest().map(Some)
    }

    pub async fn retry(&self, id: &RecordId) -> Result<bool, Trouble> {
        let question = self.on(&scripts::RECORDING_RETRY, id, |_| {});
        let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
        if answer.is_empty() {
            return Ok(false);
        }
        let due_ms = answer.number()?;
        self.due_sooner(id, due_ms).await;
        Ok(true)
    }

    /// Closes an account, if it is that of this claim and of this token. Whoever was not answered and asks again is told what
    /// the first time came to.
    pub async fn close(
        &self,
        id: &RecordId,
        fence: Option<Fence>,
        token: Option<TokenDigest>,
    ) -> Result<Option<Manifest>, Trouble> {
        let shown = self.show(id).await?;
        let is_gone = shown.is_none();
        let is_held = |view: &LedgerView| fence.is_none() || view.claimed_by.is_some();
        let before = match shown {
            Some(view) => Some(view).filter(is_held).map(|view| view.manifest),
            None => self.owed.last_of(id),
        };
        let before = before.filter(|manifest| {
            token.is_none_or(|token| manifest.token == token)
                && fence.is_none_or(|fence| manifest.fence == fence)
        });
        let (closed, asked_twice) = match self.ask_to_close(id, fence, token).await {
            Ok(closed) => closed,
            Err(error) => {
                if let Some(last) = before.filter(|_| error != Trouble::NotAsked) {
                    self.owed.closing(last);
                }
                return Err(error);
            }
        };
        self.owed.closed(id);
        // The first time it may have been done.
        let closed = closed.or(before.filter(|_| asked_twice || is_gone));
        if let Some(manifest) = &closed {
            self.leave(manifest, Fence(manifest.fence.0.saturating_add(1))).await;
        }
        Ok(closed)
    }

    /// Whether it had to be asked twice, too.
    async fn ask_to_close(
        &self,
        id: &RecordId,
        fence: Option<Fence>,
        token: Option<TokenDigest>,
    ) -> Result<(Option<Manifest>, bool), Trouble> {
        let question = || {
            self.on(&scripts::RECORDING_CLOSE, id, |call| {
                call.arg(text(fence.map(|fence| fence.0)));
                call.arg(token.map_or_else(String::new, |token| token.to_hex()));
            })
        };
        let (closed, asked_twice) = match self.store.ask_ledger(question().once()).await {
            Err(Trouble::Lost(_)) => (self.store.ask_ledger(question()).await?, true),
            closed => (closed?, false),
        };
        let mut closed = Answer::of(closed)?;
        let closed = if closed.is_empty() { None } else { Some(closed.manifest()?) };
        Ok((closed, asked_twice))
    }

    pub async fn show(&self, id: &RecordId) -> Result<Option<LedgerView>, Trouble> {
        let question = self.on(&scripts::RECORDING_SHOW, id, |_| {});
        let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
        if answer.is_empty() {
            return Ok(None);
        }
        let (next_index, chunks, bytes) = (answer.take()?, answer.take()?, answer.some_number()?);
        let by: String = answer.take()?;
        let (claimed_by, percent) = (NodeId::parse(&by).ok(), percent(answer.number()?));
        Ok(Some(LedgerView { manifest: answer.manifest()?, next_index, chunks, bytes, claimed_by, percent }))
    }

    /// A server that was started again, or that has taken over, may have lost its last changes.
    pub async fn is_whole(&self) -> Result<bool, Trouble> {
        let mut command = cmd("GET");
        command.arg(keys::WHOLE);
        let whole: Option<String> =
            self.store.ask_ledger(Question::command("recordings_whole", command)).await?;
        let Some(before) = whole.filter(|whole| !whole.starts_with(LOST)) else { return Ok(false) };
        // Where servers do not say, they are taken for the same.
        Ok(self.store.lives().await.is_none_or(|lives| lives == before))
    }

    /// A name that stands among the data, so that it is lost with them.
    pub async fn loss(&self) -> Result<Loss, Trouble> {
        let lives = self.store.lives().await.unwrap_or_default();
        let question = Question::script(&scripts::RECORDINGS_LOSS, |call| {
            call.key(keys::WHOLE).arg(LOST).arg(lives).arg(Uuid::new_v4().to_string());
        });
        self.store.ask_ledger(question).await.map(Loss)
    }

    pub async fn set_whole(&self, loss: &Loss) -> Result<(), Trouble> {
        let question = Question::script(&scripts::RECORDINGS_WHOLE, |call| {
            call.key(keys::WHOLE).arg(LOST).arg(loss.0.as_str());
        });
        self.store.ask_ledger::<Value>(question).await.map(drop)
    }

    pub async fn leads(&self, what: &'static str, term: Duration) -> Result<bool, Trouble> {
        let question = Question::script(&scripts::CLAIM, |call| {
            call.key(keys::lead(what)).arg(self.node.as_str()).arg(ms(term).max(1));
        });
        self.store.ask_ledger(question).await
    }
}

fn percent(number: Option<u64>) -> Option<u8> {
    number.and_then(|percent| u8::try_from(percent).ok())
}
